"""smolagents as shipped: a `ToolCallingAgent` on its own `TransformersModel`, one review at a time.

The agent has all of the evidence in its task, so that one step, its final answer, is enough; a step whose tool call
does not parse is told so and repeated, as smolagents does, up to `MAX_STEPS`.
"""

from __future__ import annotations

import json
from typing import Any

from evals.peers.protocol import Answer, Job, Task, serve

#: As many tries as a reviewer of the panel has.
MAX_STEPS = 3


class Smolagents:
    def __init__(self, job: Job) -> None:
        import smolagents
        import torch
        import transformers

        torch.set_num_threads(job.threads)
        self.software = f"smolagents {smolagents.__version__}, transformers {transformers.__version__}"
        self._smolagents = smolagents
        # do_sample must be set, or the checkpoint's generation config decides; greedy is what the others do, too
        self._model = smolagents.TransformersModel(
            model_id=str(job.model), device_map="cpu", torch_dtype="float32", max_new_tokens=1, do_sample=False
        )

    def warm_up(self, job: Job) -> None:
        self._model.kwargs["max_new_tokens"] = 8
        spoken = ((message["role"], message["content"]) for message in job.warm_up.messages)
        self._model.generate([{"role": role, "content": [{"type": "text", "text": text}]} for role, text in spoken])

    def prepare(self, task: Task) -> None:
        pass

    def review(self, task: Task) -> Answer:
        system, user = (message["content"] for message in task.messages)
        self._model.kwargs["max_new_tokens"] = task.max_tokens
        agent = self._smolagents.ToolCallingAgent(
            tools=[],
            model=self._model,
            instructions=system,
            max_steps=MAX_STEPS,
            verbosity_level=self._smolagents.LogLevel.OFF,
            return_full_result=True,
        )
        result: Any = agent.run(user)
        text = result.output if isinstance(result.output, str) else json.dumps(result.output, ensure_ascii=False)
        usage = result.token_usage
        return Answer(text, usage.input_tokens, usage.output_tokens)


if __name__ == "__main__":
    serve(__doc__, Smolagents)

"""Outlines on transformers: a JSON schema per review, one review at a time.

A schema takes seconds to compile; that is done outside of the time that counts, since it could be kept.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from evals.peers.protocol import Answer, Job, Task, serve


class Outlines:
    def __init__(self, job: Job) -> None:
        import outlines
        import torch
        import transformers

        torch.set_num_threads(job.threads)
        self.software = f"outlines {version('outlines')}, transformers {transformers.__version__}"
        self._outlines = outlines
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(job.model)
        model = transformers.AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
        self._model = outlines.from_transformers(model, self._tokenizer)
        self._generators: dict[str, Any] = {}

    def warm_up(self, job: Job) -> None:
        self._generator(job.warm_up)(self._prompt(job.warm_up), max_new_tokens=8, do_sample=False)

    def prepare(self, task: Task) -> None:
        self._generator(task)

    def review(self, task: Task) -> Answer:
        prompt = self._prompt(task)
        text = self._generator(task)(prompt, max_new_tokens=task.max_tokens, do_sample=False)
        return Answer(text, self._count(prompt), self._count(text))

    def _generator(self, task: Task) -> Any:
        schema = json.dumps(task.schema)
        if schema not in self._generators:
            self._generators[schema] = self._outlines.Generator(self._model, self._outlines.types.JsonSchema(schema))
        return self._generators[schema]

    def _prompt(self, task: Task) -> str:
        turns = list(task.messages)
        return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))


if __name__ == "__main__":
    serve(__doc__, Outlines)

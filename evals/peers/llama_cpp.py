"""llama.cpp through llama-cpp-python, with a grammar made from the JSON schema, one review at a time.

llama-cpp-python keeps what it computed for the last prompt and goes on from the part that the next one shares with it.
"""

from __future__ import annotations

from typing import Any

from evals.peers.protocol import Answer, Job, Task, serve

CONTEXT = 4096


class LlamaCpp:
    def __init__(self, job: Job) -> None:
        import llama_cpp

        self.software = f"llama-cpp-python {llama_cpp.__version__}"
        self._model: Any = llama_cpp.Llama(
            str(job.model), n_ctx=CONTEXT, n_threads=job.threads, n_threads_batch=job.threads, verbose=False
        )

    def warm_up(self, job: Job) -> None:
        self._complete(job.warm_up, 8)

    def prepare(self, task: Task) -> None:
        pass

    def review(self, task: Task) -> Answer:
        answer = self._complete(task, task.max_tokens)
        usage = answer["usage"]
        text = answer["choices"][0]["message"]["content"] or ""
        return Answer(text, usage["prompt_tokens"], usage["completion_tokens"])

    def _complete(self, task: Task, max_tokens: int) -> Any:
        return self._model.create_chat_completion(
            list(task.messages),
            response_format={"type": "json_object", "schema": task.schema},
            max_tokens=max_tokens,
            temperature=0.0,
        )


if __name__ == "__main__":
    serve(__doc__, LlamaCpp)

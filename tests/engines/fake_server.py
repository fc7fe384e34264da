"""An OpenAI-compatible server on loopback that does what a test tells it to.

Its tokens are words with the space before them, and single marks; the log-probability of a token is minus its length.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What goes back: `body` as JSON, or bytes as they are; `cut` bytes of it are promised and never sent."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int = 0


@dataclass(frozen=True)
class Asked:
    path: str
    body: Body
    headers: dict[str, str]


def tokens(text: str) -> list[str]:
    return re.findall(r" ?\w+|\W", text)


def chat_reply(content: str, finish: str = "stop", **choice: Any) -> Reply:
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 7, "completion_tokens": len(tokens(content))}
    return Reply({"choices": [{"message": message, "finish_reason": finish, **choice}], "usage": usage})


OWNERS = {
    "llama-cpp-python": "me", "llama.cpp": "llamacpp", "vllm": "vllm", "ollama": "library",
    "lmstudio": "organization_owner", "other": "somebody",
}  # fmt: skip


class FakeServer:
    """A server of one kind; `chat` answers chats, `queue` what comes first, whatever it is asked."""

    def __init__(self, kind: str, model: str = "toy") -> None:
        self.kind, self.model = kind, model
        self.asked: list[Asked] = []
        self.queue: list[Reply] = []
        self.chat: Callable[[Body], Reply] = lambda body: chat_reply("")
        self.routes: dict[str, Callable[[Body], Reply]] = {
            "/v1/models": lambda _: Reply({"data": [{"id": self.model, "owned_by": OWNERS[kind]}]}),
            "/v1/chat/completions": lambda body: self.chat(body),
            "/v1/completions": self.complete,
        }
        versions: dict[str, dict[str, Any]] = {
            "llama-cpp-python": {"/openapi.json": {"info": {"version": "0.3.36"}}},
            "llama.cpp": {"/props": {"build_info": "b6000-abc"}},
            "vllm": {"/version": {"version": "0.12.0"}},
            "ollama": {"/api/version": {"version": "0.13.1"}},
        }
        for path, body in versions.get(kind, {}).items():
            self.routes[path] = lambda _, body=body: Reply(body)
        if kind in ("llama-cpp-python", "llama.cpp"):
            python = kind == "llama-cpp-python"
            self._ids: list[str] = []
            self.routes["/extras/tokenize" if python else "/tokenize"] = lambda body: Reply(
                {"tokens": [self._id(token) for token in tokens(body["input" if python else "content"])]}
            )
            self.routes["/extras/detokenize" if python else "/detokenize"] = lambda body: Reply(
                {"text" if python else "content": "".join(self._ids[i] for i in body["tokens"])}
            )
        self.working = self.most_at_once = 0
        self._lock = threading.Lock()
        self.url = ""

    def _id(self, token: str) -> int:
        with self._lock:
            if token not in self._ids:
                self._ids.append(token)
            return self._ids.index(token)

    def bodies(self, path: str = "/v1/chat/completions") -> list[Body]:
        return [asked.body for asked in self.asked if asked.path == path]

    def complete(self, body: Body) -> Reply:
        """A plain completion that tells log-probabilities, in the way that servers of this kind do."""
        prompt = tokens(body["prompt"])
        written = [" Paris"]
        if "grammar" in body:
            written = tokens(json.loads(re.fullmatch(r"root ::= (.*)\n", body["grammar"])[1]))  # type: ignore[index]
        listed = (prompt if body.get("echo") else []) + written
        values = [-float(len(token)) for token in listed]
        top = {" Paris": -6.0, " good": -1.25, " bad": -2.5}
        if self.kind == "llama.cpp":
            entries: list[dict[str, Any]] = [
                {"token": token, "logprob": value} for token, value in zip(listed, values, strict=True)
            ]
            entries[0]["top_logprobs"] = [{"token": token, "logprob": value} for token, value in top.items()]
            told: dict[str, Any] = {"content": entries}
        else:
            told = {"tokens": listed, "token_logprobs": values, "top_logprobs": [dict(top) for _ in listed]}
            if body.get("echo"):
                told["token_logprobs"][0] = told["top_logprobs"][0] = None
        return Reply({"choices": [{"text": "", "logprobs": told}], "usage": {"prompt_tokens": len(prompt)}})

    def reply(self, path: str, body: Body) -> Reply:
        with self._lock:
            if self.queue:
                return self.queue.pop(0)
        route = self.routes.get(path)
        return route(body) if route else Reply({"error": {"message": "no such route"}}, 404)


@contextmanager
def serving(fake: FakeServer) -> Iterator[FakeServer]:
    """Let `fake` answer at `fake.url` while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self) -> None:
            self.answer({})

        def answer(self, body: Body) -> None:
            with fake._lock:
                fake.asked.append(Asked(self.path, body, dict(self.headers)))
                fake.working += 1
                fake.most_at_once = max(fake.most_at_once, fake.working)
            try:
                reply = fake.reply(self.path, body)
                time.sleep(reply.delay)
            finally:
                with fake._lock:
                    fake.working -= 1
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) - reply.cut])
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has given up
            if reply.cut:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gives up in the middle is what some tests are about."""

    server = Quiet(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""An engine that runs in this process: a tokenizer, a model, and the decoding loop between them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from panel.engines.codec import Codec
from panel.engines.decoding import generate, score
from panel.engines.rows import Forward, Rows
from panel.requests import Completion, EngineInfo, GenerateRequest, ScoreRequest, Scores

_Asked = TypeVar("_Asked", GenerateRequest, ScoreRequest)
_Answer = TypeVar("_Answer", Completion, Scores)

#: Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Of Linux's mman.h.
_MADV_DONTNEED = 4


def give_memory_back() -> None:
    """Let glibc return large blocks to the system as soon as they are freed.

    By default it learns from what is freed to keep ever larger blocks in its heaps; caches of keys and values, whose
    sizes differ from batch to batch, then leave holes that nothing fits into. The same six batches, one after the
    other, grew by 160 MB with that and by nothing without (see evals/LOG.md).
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            library.mallopt(parameter, 1 << 20)


def let_go(path: Path) -> None:
    """Take a file that is mapped into this process out of its resident memory; what is read again comes back."""
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None, use_errno=True)
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        addresses, *_, name = line.split(maxsplit=5)
        if name == str(path):
            start, stop = (int(address, 16) for address in addresses.split("-"))
            library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), _MADV_DONTNEED)


class LocalEngine:
    """`panel.requests.Engine` over a model of ours; one batch at a time, from any thread.

    Args:
        new_forward: makes a `Forward` with a cache of its own, over the one set of weights.
    """

    def __init__(self, info: EngineInfo, codec: Codec, new_forward: Callable[[], Forward]) -> None:
        self.codec = codec
        self._info = info
        self._new_forward = new_forward
        self._rows: Rows | None = None
        # One thread for all of them: a runtime keeps working memory for every thread that calls it, and reviewers come
        # in eights. Called from theirs, OpenVINO held 7.3 GB after two comparisons; called from one, 4.3 GB.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")

    @property
    def info(self) -> EngineInfo:
        return self._info

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        return self._work(generate, requests)

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        return self._work(score, requests)

    def _work(
        self, task: Callable[[Rows, Codec, Sequence[_Asked]], list[_Answer]], asked: Sequence[_Asked]
    ) -> list[_Answer]:
        def work() -> list[_Answer]:
            rows, self._rows = self._rows or Rows(self._new_forward()), None
            answers = task(rows, self.codec, asked)
            self._rows = rows  # not after an error: rows may then be half written
            return answers

        return self._worker.submit(work).result()

    def count_tokens(self, text: str) -> int:
        return len(self.codec.encode(text))

    def ordinary_words(self) -> frozenset[str]:
        return frozenset(self.codec.words)

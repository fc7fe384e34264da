"""The ceiling: openvino-genai's own pipeline on the same model file, with as many tokens as a round of ours needs.

No agent, no grammar, nothing to wait for: all requests of a round are handed over at once, each as long as what is new
in it (work.py), and the pipeline batches them as it likes. Its settings are tried on the first round, and the fastest
are kept.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.peers.protocol import Lines, parser, peak_bytes

#: Gigabytes for keys and values: enough that no request waits for room.
CACHE_GB = 3
#: The pipeline's own precision, and the one that the panel insists on.
PRECISIONS: dict[str, dict[str, str]] = {
    "its own precision": {},
    "f32": {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"},
}
BATCHED_TOKENS = (256, 2048)


def open_pipeline(folder: Path, precision: str, batched: int) -> Any:
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = CACHE_GB
    scheduler.max_num_batched_tokens = batched
    scheduler.enable_prefix_caching = False  # the requests have nothing in common any more
    return openvino_genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU", PRECISIONS[precision])


def run_round(pipeline: Any, requests: Sequence[tuple[int, int]], vocabulary: int) -> float:
    """Seconds for one round; raises `RuntimeError` where the pipeline wrote another number of tokens."""
    import numpy as np
    import openvino
    import openvino_genai

    random = np.random.default_rng(0)
    prompts = [openvino.Tensor(random.integers(100, vocabulary, (1, read), dtype=np.int64)) for read, _ in requests]
    configs = []
    for _, written in requests:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = written, True, False
        configs.append(config)
    clock = time.perf_counter()
    results = pipeline.generate(prompts, configs)
    seconds = time.perf_counter() - clock
    done, wanted = sum(len(result.m_generation_ids[0]) for result in results), sum(n for _, n in requests)
    if done != wanted:
        raise RuntimeError(f"the pipeline wrote {done} tokens instead of {wanted}")
    return seconds


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--work", type=Path, required=True, help="file written by evals.peers.review_panel")
    known = options.parse_args()
    lines = Lines(known.started)
    import openvino_genai

    folder = Path(known.model)
    vocabulary = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    rounds = [work["requests"] for work in json.loads(known.work.read_text(encoding="utf-8"))]
    ready, tried = False, {}
    for precision in PRECISIONS:
        for batched in BATCHED_TOKENS:
            pipeline = open_pipeline(folder, precision, batched)
            loaded = lines.now()
            run_round(pipeline, rounds[0][:8], vocabulary)
            if not ready:
                software = f"openvino-genai {openvino_genai.__version__.split('-')[0]}"
                lines.write("ready", software=software, load_s=loaded, warm_up_s=lines.now() - loaded)
                ready = True
            tried[precision, batched] = seconds = run_round(pipeline, rounds[0], vocabulary)
            lines.write("setting", name=f"{precision}, {batched} tokens a batch", seconds=seconds)
            del pipeline
            gc.collect()
    best = min(tried, key=lambda setting: tried[setting])
    pipeline = open_pipeline(folder, *best)
    run_round(pipeline, rounds[0][:8], vocabulary)
    for requests in rounds:
        seconds = run_round(pipeline, requests, vocabulary)
        read, written = (sum(column) for column in zip(*requests, strict=True))
        lines.write("round", seconds=seconds, reviews=0, prompt_tokens=read, completion_tokens=written)
    lines.write("done", peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()

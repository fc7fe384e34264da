"""Train the adapter of the embedded model: to weigh facts as the four reviewers do, and to draft beats from facts.

    make adapter                                      everything: packages, training, conversion, figures
    python -m evals.adapter.train --out FOLDER        the adapter alone (needs torch and peft)

One LoRA adapter (Hu et al. 2021) learns both. Weighing: after "Fact (kind): … For <audience>, this is" the log-odds of
" good" against " bad" go to 1, 0 or 1/2 (no bearing) by binary cross-entropy; the four audiences of one fact share its
computation. Drafting: the beats of beats.csv, by the cross-entropy of the words after the stem. Nothing but the train
split, facts.csv and beats.csv is read. The same seed on the same machine gives the same adapter.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evals.adapter.lesson import BeatExample, Fact, Lesson, data_sha256, load_beats, load_facts
from evals.adapter.spoil import empty_facts, spoiled
from panel.engines.adapter import CONFIG, WEIGHTS
from panel.engines.embedded import BASE, EMBEDDED, pull_embedded
from panel.files import write_atomic


@dataclass(frozen=True)
class Recipe:
    """Everything that the result depends on beside the data."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    learning_rate: float = 5e-4
    steps: int = 800
    beat_epochs: int = 3
    facts_per_batch: int = 8
    beats_per_batch: int = 6
    spoiled_share: float = 0.2
    empty_facts: int = 150
    seed: int = 0


def train(out: Path, recipe: Recipe, limit: int | None = None) -> None:
    """Train, and write adapter_config.json, adapter_model.safetensors and recipe.json into `out`.

    Args:
        limit: stop after this many steps (a trial run).
    """
    import torch

    rng = random.Random(recipe.seed)  # noqa: S311 - the order of training data is no secret
    folder = pull_embedded(_say, source=BASE)
    lesson = Lesson(folder, rank=recipe.rank, alpha=recipe.alpha, dropout=recipe.dropout, seed=recipe.seed)
    beats = load_beats(lesson.codec, lesson.prompts, {p.slug: p for p in lesson.personas})
    facts = load_facts() + empty_facts(recipe.empty_facts, rng)
    beats_per_step = recipe.beat_epochs * len(beats) / recipe.beats_per_batch / recipe.steps  # in batches
    parameters = [p for p in lesson.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.1
    )
    weighing = _fact_batches(facts, recipe.facts_per_batch, rng)
    drafting = _beat_batches(beats, recipe.beats_per_batch, rng)
    due, started = 0.0, time.monotonic()
    losses: dict[str, list[float]] = {"weighing": [], "drafting": []}
    lesson.model.train()
    for step in range(1, min(recipe.steps, limit or recipe.steps) + 1):
        batch = [
            replace(fact, text=spoiled(fact.text, rng)) if rng.random() < recipe.spoiled_share else fact
            for fact in next(weighing)
        ]
        loss = lesson.weighing_loss(batch)
        losses["weighing"].append(loss.item())
        loss.backward()
        due += beats_per_step
        while due >= 1:
            due -= 1
            loss = lesson.drafting_loss(next(drafting))
            losses["drafting"].append(loss.item())
            loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            recent = ", ".join(f"{name} {sum(v[-20:]) / len(v[-20:]):.3f}" for name, v in losses.items())
            left = (time.monotonic() - started) / step * (recipe.steps - step)
            _say(f"step {step} of {recipe.steps}, {left / 60:.0f} min left, loss: {recent}")
    lesson.model.eval()
    _save(out, lesson.model, recipe, {k: v[-1] for k, v in losses.items() if v}, time.monotonic() - started)


def _save(out: Path, model: Any, recipe: Recipe, losses: dict[str, float], seconds: float) -> None:
    """In PEFT's own format, the factors in F16, and what made them beside it."""
    import peft
    import torch
    from safetensors.torch import save

    out.mkdir(parents=True, exist_ok=True)
    state = {k: v.to(torch.float16).contiguous() for k, v in peft.get_peft_model_state_dict(model).items()}
    (out / WEIGHTS).write_bytes(save(dict(sorted(state.items())), metadata={"format": "pt"}))
    config = model.peft_config["default"].to_dict()
    kept = (
        "peft_type",
        "task_type",
        "r",
        "lora_alpha",
        "lora_dropout",
        "bias",
        "target_modules",
        "use_dora",
        "use_rslora",
    )
    plain = {key: sorted(config[key]) if isinstance(config[key], set) else config[key] for key in kept}
    plain |= {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "base_model_name_or_path": BASE.name,
    }
    write_atomic(out / CONFIG, json.dumps(plain, indent=1) + "\n")
    about = {
        "schema": "adapter-recipe/1",
        "command": "python -m evals.adapter.train",
        "base": BASE.requirement,
        "base_sha256": BASE.sha256,
        "data_sha256": data_sha256(),
        "recipe": asdict(recipe),
        "torch": torch.__version__.split("+")[0],
        "peft": peft.__version__,
        "minutes": round(seconds / 60, 1),
        "last_loss": {name: round(value, 4) for name, value in losses.items()},
    }
    write_atomic(out / "recipe.json", json.dumps(about, indent=1) + "\n")
    _say(f"written to {out}")


def _fact_batches(facts: list[Fact], size: int, rng: random.Random) -> Iterator[list[Fact]]:
    """Shuffled, with facts of about one length together (padding is wasted work), for ever."""
    while True:
        order = rng.sample(facts, len(facts))
        stretches = [order[i : i + 16 * size] for i in range(0, len(order), 16 * size)]
        ordered = [sorted(stretch, key=lambda fact: len(fact.text)) for stretch in stretches]
        batches = [stretch[i : i + size] for stretch in ordered for i in range(0, len(stretch), size)]
        yield from rng.sample(batches, len(batches))


def _beat_batches(beats: list[BeatExample], size: int, rng: random.Random) -> Iterator[list[BeatExample]]:
    """Shuffled, each batch of one persona (whose voice is then computed once), for ever."""
    while True:
        order = sorted(rng.sample(beats, len(beats)), key=lambda beat: beat.persona)  # a stable sort
        batches = [
            group[i : i + size]
            for group in (list(g) for _, g in itertools.groupby(order, key=lambda beat: beat.persona))
            for i in range(0, len(group), size)
        ]
        yield from rng.sample(batches, len(batches))


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evals.adapter.train", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=EMBEDDED.adapter, help="folder that the adapter is written to")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    parser.add_argument("--steps", type=int, help="stop after this many steps, to try things out")
    arguments = parser.parse_args()
    recipe = Recipe(seed=arguments.seed, learning_rate=arguments.learning_rate)
    train(arguments.out, recipe, arguments.steps)


if __name__ == "__main__":
    main()

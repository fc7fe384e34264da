"""What the adapter learns from, and the two losses that it learns by."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from panel.draft import draft_messages
from panel.engines.codec import Codec
from panel.gold import load_cases
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.records import PERSONA_SLUGS, Persona
from panel.weigh import LABELS

HERE = Path(__file__).parent
CASES = HERE.parent / "cases"
SIGNS = {"+": 1, "0": 0, "-": -1}


@dataclass(frozen=True)
class Fact:
    """One fact with its sign (−1, 0, 1) for each persona, in the panel's order."""

    kind: str
    text: str
    signs: tuple[int, ...]


@dataclass(frozen=True)
class BeatExample:
    """Token ids of a prompt with its stem, and of the words that should follow."""

    persona: str
    prompt: list[int]
    answer: list[int]


def load_facts() -> list[Fact]:
    """The facts of the train cases, and those of facts.csv."""
    facts = [
        Fact(item.kind, item.text, tuple(case.gold.pulls[item.id][slug] for slug in PERSONA_SLUGS))
        for case in load_cases(CASES, "train")
        for item in case.dossier.evidence
    ]
    with (HERE / "facts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return facts + [Fact(row["kind"], row["text"], tuple(SIGNS[sign] for sign in row["signs"])) for row in rows]


def load_beats(codec: Codec, prompts: Prompts, personas: dict[str, Persona]) -> list[BeatExample]:
    """beats.csv as the drafting stop would ask for them."""
    cases = {case.dossier.slug: case.dossier for case in load_cases(CASES, "train")}
    examples = []
    with (HERE / "beats.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            dossier, persona = cases[row["tool"]], personas[row["persona"]]
            spec = next(spec for spec in persona.beats if spec.name == row["beat"])
            fact = next(item.text for item in dossier.evidence if item.id == row["evidence"])
            messages = draft_messages(prompts, persona, dossier.name, [fact], spec.question, tuned=True)
            prompt, answer = codec.encode_chat(messages, row["stem"]), codec.encode(f" {row['text']}")
            examples.append(BeatExample(persona.slug, prompt, answer))
    return examples


def data_sha256() -> str:
    """Hash of all that is learned from, with the prompts, audiences and voices that it is learned in."""
    prompts = Prompts().folder
    digest = hashlib.sha256()
    for name in ("weigh_tuned", "draft_system", "draft"):
        digest.update((prompts / f"{name}.j2").read_bytes())
    for persona in load_personas():
        questions = [[beat.name, beat.question] for beat in persona.beats]
        digest.update(json.dumps([persona.audience, persona.voice, questions], ensure_ascii=False).encode())
    for fact in load_facts():
        digest.update(json.dumps(asdict(fact), ensure_ascii=False).encode())
    for name in ("beats.csv", "remarks.yaml", "spoil.py"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


class Lesson:
    """The model with its adapter, and the two losses."""

    def __init__(self, folder: Path, *, rank: int, alpha: int, dropout: float, seed: int) -> None:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        torch.manual_seed(seed)
        base = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        self.model: Any = get_peft_model(base, config)
        self._decoder: Any = self.model.base_model.model.model
        self._head: Any = self.model.base_model.model.lm_head.weight
        self.codec = Codec(folder)
        self.prompts = Prompts()
        self.personas = load_personas()
        self._labels = [self.codec.encode(label)[0] for label in LABELS]

    def weighing_loss(self, facts: list[Fact]) -> Any:
        """Mean over facts and personas of the binary cross-entropy against (sign + 1) / 2."""
        import torch

        rows = [
            [
                self.codec.encode(
                    self.prompts.render("weigh_tuned", audience=p.audience, kind=fact.kind, fact=fact.text)
                )
                for p in self.personas
            ]
            for fact in facts
        ]
        states, places = self._states(rows, [_common(row) for row in rows])
        ends = torch.tensor([[place[-1] for place in row] for row in places])
        last = states[torch.arange(len(rows))[:, None], ends]
        odds = last @ (self._head[self._labels[0]] - self._head[self._labels[1]])
        wanted = torch.tensor([[(sign + 1) / 2 for sign in fact.signs] for fact in facts])
        return torch.nn.functional.binary_cross_entropy_with_logits(odds, wanted)

    def drafting_loss(self, examples: list[BeatExample]) -> Any:
        """Mean over the answers' tokens of the cross-entropy. The examples should start alike (one persona)."""
        import torch

        shared = _common([e.prompt for e in examples]) if len(examples) > 1 else 0
        states, (places,) = self._states([[e.prompt + e.answer for e in examples]], [shared])
        columns, wanted = [], []
        for example, place in zip(examples, places, strict=True):
            columns += place[-len(example.answer) - 1 : -1]
            wanted += example.answer
        return torch.nn.functional.cross_entropy(states[0, columns] @ self._head.T, torch.tensor(wanted))

    def _states(self, rows: list[list[list[int]]], shared: list[int]) -> tuple[Any, list[list[list[int]]]]:
        """Run the decoder over rows of token sequences; the first `shared` tokens of a row's are computed once.

        A row is laid out as its shared prefix and then each sequence's own rest, which sees the prefix and itself
        alone, at the positions that it would have on its own.

        Returns:
            The last hidden states [B, T, width], and for each sequence the columns in which its own rest stands.
        """
        import torch

        rests = [[sequence[n:] for sequence in row] for row, n in zip(rows, shared, strict=True)]
        width = max(n + sum(map(len, rest)) for n, rest in zip(shared, rests, strict=True))
        ids, positions = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
        seen = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)  # padding sees itself: no empty softmax
        places: list[list[list[int]]] = []
        for b, (row, n) in enumerate(zip(rows, shared, strict=True)):
            ids[b, :n], positions[b, :n] = torch.tensor(row[0][:n]), torch.arange(n)
            seen[b, :n, :n] = torch.ones(n, n).tril().bool()
            start, columns = n, []
            for rest in rests[b]:
                here = slice(start, start + len(rest))
                ids[b, here], positions[b, here] = torch.tensor(rest), torch.arange(n, n + len(rest))
                seen[b, here, :n] = True
                seen[b, here, here] = torch.ones(len(rest), len(rest)).tril().bool()
                columns.append(list(range(start, start + len(rest))))
                start += len(rest)
            places.append(columns)
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]
        output = self._decoder(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
        return output[0], places


def _common(sequences: list[list[int]]) -> int:
    """Length of the longest prefix that all of them share, and that is the whole of none."""
    shortest = min(map(len, sequences)) - 1
    return next((i for i in range(shortest) if len({s[i] for s in sequences}) > 1), shortest)

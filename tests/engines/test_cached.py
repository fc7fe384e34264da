"""An engine that asks only for what nobody has asked before: keys, hits, misses, replays."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import panel.engines
from panel.engines import cached, open_cached
from panel.engines.answers import AnswerStore
from panel.engines.cached import CachedEngine, Mode, completion_from_json, scores_from_json, to_json
from panel.engines.embedded import SOURCES
from panel.engines.identity import Identity
from panel.engines.scripted import ScriptedEngine
from panel.errors import EngineError, MissingAnswers, SetupError
from panel.records import Comparison, Dossier, Persona
from panel.requests import (
    Completion,
    Engine,
    EngineInfo,
    GenerateRequest,
    Grammar,
    Message,
    Sampling,
    ScoreRequest,
    Scores,
)  # fmt: skip
from panel.run import compare
from tests import scripted as script

IDENTITY = Identity(
    EngineInfo("scripted", "1", "scripted", "0" * 64, ""), {"precision": "f32", "file tokenizer.json": "abc"}
)
DRAFT = GenerateRequest(
    key="draft/builder/lanternfish/primitive/0/1",
    messages=(Message("system", "You are brief."), Message("user", "Go on.")),
    grammar=Grammar("words", '{"terms": [], "max_words": 3}'),
    sampling=Sampling(0.6, 0.92, 56),
    seed=3,
    opening="It is",
)
WEIGH = ScoreRequest("weigh/builder/lanternfish/E1", "For a builder, this is", (" good", " bad"))


def scripted_engine() -> ScriptedEngine:
    """What it writes and rates hangs on all of a request."""
    return ScriptedEngine(
        lambda request: f"answer to {hash_of(request)}", lambda prompt, word: hash_of((prompt, word)) / 7
    )


def hash_of(value: object) -> int:
    return sum(i * ord(c) for i, c in enumerate(repr(value), 1)) % 100_003


@pytest.fixture
def engine() -> ScriptedEngine:
    return scripted_engine()


@pytest.fixture
def opened(answers_file: Path, engine: ScriptedEngine) -> Callable[..., CachedEngine]:
    """A cached engine on the test's file, over `engine` unless told otherwise."""

    def make(model: Engine | None = None, mode: Mode = "use", identity: Identity = IDENTITY) -> CachedEngine:
        return CachedEngine(identity, lambda: model or engine, AnswerStore(answers_file), mode=mode)

    return make


def no_model() -> Engine:
    pytest.fail("a model was loaded")


# ------------------------------------------------------------------------------------------------- hits and misses


def test_the_second_time_no_model_is_loaded(opened: Callable[..., CachedEngine], engine: ScriptedEngine) -> None:
    first = opened()
    drafts, scores = first.generate([DRAFT]), first.score([WEIGH])
    tokens, words = first.count_tokens("three words here"), first.ordinary_words()
    assert (drafts, scores) == (scripted_engine().generate([DRAFT]), scripted_engine().score([WEIGH]))
    assert (tokens, words) == (3, engine.ordinary_words())
    first.close()
    again = opened()
    again._open = no_model
    assert (again.generate([DRAFT]), again.score([WEIGH])) == (drafts, scores)
    assert (again.count_tokens("three words here"), again.ordinary_words()) == (tokens, words)
    assert again.info == engine.info
    assert not again.opened
    assert len(engine.generated) == len(engine.scored) == 1


def test_only_what_is_missing_is_asked_for_and_in_one_batch(
    opened: Callable[..., CachedEngine], engine: ScriptedEngine
) -> None:
    batches: list[list[str]] = []
    real = engine.generate

    def generate(requests: Sequence[GenerateRequest]) -> list[Completion]:
        batches.append([request.opening for request in requests])
        return real(requests)

    engine.generate = generate  # type: ignore[method-assign]
    cache = opened()
    requests = [replace(DRAFT, opening=str(n)) for n in range(6)]
    cache.generate([requests[1], requests[4]])
    answers = cache.generate(requests)
    assert batches == [["1", "4"], ["0", "2", "3", "5"]]
    assert answers == scripted_engine().generate(requests), "in the order asked"


def test_the_same_request_twice_in_a_batch_is_asked_once(
    opened: Callable[..., CachedEngine], engine: ScriptedEngine
) -> None:
    other = replace(WEIGH, key="weigh/builder/bramble/E7")
    cache = opened()
    first, second = cache.score([WEIGH, other])
    assert first == second
    assert len(engine.scored) == 1
    count = cache.counts["weigh/builder"]
    assert (count.kept, count.computed) == (1, 1)


def test_nothing_asked_nothing_loaded(opened: Callable[..., CachedEngine]) -> None:
    cache = opened()
    assert (cache.generate([]), cache.score([])) == ([], [])
    assert not cache.opened


def test_counts_by_family_and_persona(opened: Callable[..., CachedEngine]) -> None:
    cache = opened()
    other = replace(DRAFT, key="draft/futurist/lanternfish/thesis/0/1")
    cache.generate([DRAFT, other])
    cache.generate([DRAFT])
    cache.score([WEIGH])
    shown = {name: (count.kept, count.computed) for name, count in cache.counts.items()}
    assert shown == {"draft/builder": (1, 1), "draft/futurist": (0, 1), "weigh/builder": (0, 1)}
    # the scripted engine counts the words that it writes: "answer to 123"
    assert cache.total() == cached.Count(kept=1, computed=3, tokens=6)


def test_fresh_asks_for_everything_and_keeps_it(opened: Callable[..., CachedEngine]) -> None:
    opened(ScriptedEngine(lambda _: "old")).generate([DRAFT])
    new = ScriptedEngine(lambda _: "new")
    cache = opened(new, mode="fresh")
    assert [c.text for c in cache.generate([DRAFT]) + cache.generate([DRAFT])] == ["new", "new"]
    assert len(new.generated) == 2
    assert cache.count_tokens("x") == 1
    assert opened().generate([DRAFT])[0].text == "new"


def test_of_two_that_compute_the_same_both_go_on_with_the_first(opened: Callable[..., CachedEngine]) -> None:
    late = opened()

    def overtaken(request: GenerateRequest) -> str:
        opened(ScriptedEngine(lambda _: "the first")).generate([request])
        return "the second"

    late = opened(ScriptedEngine(overtaken))
    assert late.generate([DRAFT])[0].text == "the first"


def test_an_engine_that_cannot_be_opened_is_tried_once(answers_file: Path) -> None:
    tries: list[int] = []

    def fail() -> Engine:
        tries.append(1)
        raise SetupError("the model is gone", fix="fetch it")

    cache = CachedEngine(IDENTITY, fail, AnswerStore(answers_file))
    for _ in range(3):
        with pytest.raises(SetupError, match="the model is gone"):
            cache.generate([DRAFT])
    assert tries == [1]


def test_an_engine_that_is_not_what_it_was_said_to_be(opened: Callable[..., CachedEngine]) -> None:
    """Its answers would be kept under another's key."""
    cache = opened(ScriptedEngine(lambda _: "", name="another"))
    with pytest.raises(EngineError, match="calls itself"):
        cache.generate([DRAFT])
    assert AnswerStore(cache._store.path).kept() == []


def test_an_error_of_the_engine_is_not_kept(opened: Callable[..., CachedEngine], engine: ScriptedEngine) -> None:
    def broken(_: Sequence[GenerateRequest]) -> list[Completion]:
        raise EngineError("the cable is out")

    cache = opened()
    real, engine.generate = engine.generate, broken  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="the cable is out"):
        cache.generate([DRAFT])
    engine.generate = real  # type: ignore[method-assign]
    assert cache.generate([DRAFT]) == scripted_engine().generate([DRAFT])


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '["a",1,2]', '["a",1,2,3,"x","stop"]', '["a",1,2,3,-0.5,"end"]', "[[0.5],1]", "[["]
)
def test_what_is_no_answer_is_asked_for_again(opened: Callable[..., CachedEngine], text: str) -> None:
    """Also where its checksum is right."""
    cache = opened()
    drafts, scores = cache.generate([DRAFT]), cache.score([WEIGH])
    with sqlite3.connect(cache._store.path) as db:
        keys = [key for (key,) in db.execute("SELECT key FROM answers")]
    cache._store.put(b"", dict.fromkeys(keys, ("spoiled", text)), replace=keys)
    again = opened()
    assert (again.generate([DRAFT]), again.score([WEIGH])) == (drafts, scores)
    assert again.total().computed == 2
    third = opened()
    third._open = no_model
    assert (third.generate([DRAFT]), third.score([WEIGH])) == (drafts, scores), "and is written again"


def test_token_counts_and_words_that_cannot_be_read_are_asked_for_again(opened: Callable[..., CachedEngine]) -> None:
    cache = opened()
    tokens, words = cache.count_tokens("a b"), cache.ordinary_words()
    with sqlite3.connect(cache._store.path) as db:
        keys = [key for (key,) in db.execute("SELECT key FROM answers")]
    cache._store.put(b"", dict.fromkeys(keys, ("spoiled", "ü")), replace=keys)
    again = opened()
    assert (again.count_tokens("a b"), again.ordinary_words()) == (tokens, words)
    assert again.opened


@pytest.mark.parametrize("logprob", [0.0, -1.5, -0.1 - 0.2, -1e-300, -123456.789, float("-inf")])
def test_answers_come_back_to_the_last_bit(logprob: float) -> None:
    completion = Completion(' "quoted" – ✓\n', 12, 3, 1, logprob, "length")
    assert completion_from_json(to_json(completion), DRAFT) == completion
    scores = Scores((logprob, -1 / 3), 7)
    assert scores_from_json(to_json(scores), WEIGH) == scores
    assert scores_from_json(to_json(scores), replace(WEIGH, candidates=(" good",))) is None


# ------------------------------------------------------------------------------------------------------------ keys


def with_info(**changes: str) -> Identity:
    return Identity(replace(IDENTITY.info, **changes), IDENTITY.settings)


@pytest.mark.parametrize(
    "changed",
    [
        with_info(engine="other"),
        with_info(engine_version="2"),
        with_info(model_sha256="1" * 64),
        with_info(adapter_sha256="1" * 64),
        Identity(IDENTITY.info, {**IDENTITY.settings, "precision": "bf16"}),
        Identity(IDENTITY.info, {**IDENTITY.settings, "file tokenizer.json": "abd"}),
        Identity(IDENTITY.info, {**IDENTITY.settings, "new": "setting"}),
        Identity(IDENTITY.info, {"precision": "f32"}),
    ],
)
def test_another_engine_model_or_setting_is_asked_anew(opened: Callable[..., CachedEngine], changed: Identity) -> None:
    opened().generate([DRAFT])
    opened().score([WEIGH])
    other = scripted_engine()
    other._info = changed.info
    cache = opened(other, identity=changed)
    cache.generate([DRAFT])
    cache.score([WEIGH])
    cache.count_tokens("x")
    assert (len(other.generated), len(other.scored), cache.total().kept) == (1, 1, 0)


GREEDY = replace(DRAFT, sampling=Sampling(0.0, 0.92, 56))
INGREDIENTS: dict[str, list[tuple[Any, Any]]] = {
    "GenerateRequest.key": [(DRAFT, replace(DRAFT, key="draft/builder/lanternfish/primitive/0/2"))],
    "GenerateRequest.messages": [
        (DRAFT, replace(DRAFT, messages=DRAFT.messages[1:])),
        (DRAFT, replace(DRAFT, messages=DRAFT.messages[::-1])),
    ],
    "Message.role": [(DRAFT, replace(DRAFT, messages=(Message("user", "You are brief."), DRAFT.messages[1])))],
    "Message.content": [(DRAFT, replace(DRAFT, messages=(DRAFT.messages[0], Message("user", "Go on. "))))],
    "GenerateRequest.grammar": [(DRAFT, replace(DRAFT, grammar=Grammar("lark", "start: /x/")))],
    "Grammar.kind": [(DRAFT, replace(DRAFT, grammar=replace(DRAFT.grammar, kind="json_schema")))],
    "Grammar.text": [(DRAFT, replace(DRAFT, grammar=replace(DRAFT.grammar, text='{"terms": [], "max_words": 4}')))],
    "Grammar.schema": [(DRAFT, replace(DRAFT, grammar=replace(DRAFT.grammar, schema="{}")))],
    "GenerateRequest.sampling": [(DRAFT, GREEDY)],
    "Sampling.temperature": [(DRAFT, replace(DRAFT, sampling=replace(DRAFT.sampling, temperature=0.61)))],
    "Sampling.top_p": [(DRAFT, replace(DRAFT, sampling=replace(DRAFT.sampling, top_p=0.93)))],
    "Sampling.max_tokens": [(GREEDY, replace(GREEDY, sampling=replace(GREEDY.sampling, max_tokens=57)))],
    "GenerateRequest.seed": [(DRAFT, replace(DRAFT, seed=4)), (GREEDY, replace(GREEDY, seed=4))],
    "GenerateRequest.opening": [(DRAFT, replace(DRAFT, opening="It was"))],
    "ScoreRequest.prompt": [(WEIGH, replace(WEIGH, prompt="For a builder, that is"))],
    "ScoreRequest.candidates": [
        (WEIGH, replace(WEIGH, candidates=(" bad", " good"))),
        (WEIGH, replace(WEIGH, candidates=(" good",))),
        (WEIGH, replace(WEIGH, candidates=(" go", "od bad"))),
    ],
}
#: The answer does not depend on these.
NO_INGREDIENTS: dict[str, tuple[Any, Any]] = {
    "GenerateRequest.continues": (DRAFT, replace(DRAFT, continues=True)),
    "GenerateRequest.key": (GREEDY, replace(GREEDY, key="draft/futurist/bramble/thesis/0/0")),
    "ScoreRequest.key": (WEIGH, replace(WEIGH, key="weigh/builder/bramble/E9")),
    "Sampling.temperature": (GREEDY, replace(GREEDY, sampling=Sampling(0, 0.92, 56))),
}


def ask(cache: CachedEngine, request: Any) -> None:
    if isinstance(request, GenerateRequest):
        cache.generate([request])
    else:
        cache.score([request])


@pytest.mark.parametrize(("one", "other"), [pair for pairs in INGREDIENTS.values() for pair in pairs], ids=lambda _: "")
def test_another_ingredient_is_asked_anew(opened: Callable[..., CachedEngine], one: Any, other: Any) -> None:
    cache = opened()
    ask(cache, one)
    ask(cache, other)
    assert cache.total().computed == 2


@pytest.mark.parametrize(("one", "other"), NO_INGREDIENTS.values(), ids=NO_INGREDIENTS.keys())
def test_what_the_answer_does_not_depend_on(opened: Callable[..., CachedEngine], one: Any, other: Any) -> None:
    cache = opened()
    ask(cache, one)
    ask(cache, other)
    assert (cache.total().computed, cache.total().kept) == (1, 1)


def test_what_people_call_the_model_is_no_ingredient(
    opened: Callable[..., CachedEngine], engine: ScriptedEngine
) -> None:
    opened().generate([DRAFT])
    cache = opened(identity=with_info(model="renamed"))
    cache._open = no_model
    assert cache.generate([DRAFT]) == scripted_engine().generate([DRAFT])


def test_every_field_of_a_request_has_been_thought_about() -> None:
    kinds = (GenerateRequest, ScoreRequest, Message, Grammar, Sampling)
    fields = {f"{kind.__name__}.{field.name}" for kind in kinds for field in dataclasses.fields(kind)}
    assert fields == INGREDIENTS.keys() | NO_INGREDIENTS.keys()


def test_a_score_and_a_completion_never_share_a_key(opened: Callable[..., CachedEngine]) -> None:
    cache = opened()
    cache.count_tokens("")
    cache.ordinary_words()
    assert sum(kept.answers for kept in cache._store.kept()) == 2


# ---------------------------------------------------------------------------------------------------------- replay


def test_a_replay_says_what_is_missing(opened: Callable[..., CachedEngine], answers_file: Path) -> None:
    opened().generate([DRAFT])
    cache = opened(mode="replay")
    cache._open = no_model
    assert cache.generate([DRAFT]) == scripted_engine().generate([DRAFT])
    requests = [DRAFT, *(replace(DRAFT, key=f"draft/futurist/bramble/thesis/0/{n}", opening="So") for n in (0, 1))]
    with pytest.raises(MissingAnswers) as caught:
        cache.generate(requests)
    assert caught.value.names == ("draft/futurist/bramble/thesis/0/0", "draft/futurist/bramble/thesis/0/1")
    message = str(caught.value)
    assert message.startswith(f"{answers_file}: 2 of the model's answers are missing")
    assert "(bramble · futurist: 2 draft)" in message
    assert f"Fix: run the same command without --replay and with --answers {answers_file}" in message
    for asked in (lambda: cache.count_tokens("new"), cache.ordinary_words):
        with pytest.raises(MissingAnswers, match=r"token count|word list"):
            asked()


def test_the_message_stays_short(tmp_path: Path) -> None:
    names = [f"weigh/{persona}/tool-{n}/E{e}" for n in range(30) for persona in ("builder", "futurist") for e in (1, 2)]
    error = MissingAnswers([*names, "step/builder/tool-0/00"], path=tmp_path)
    assert "121 of the model's answers" in str(error)
    assert "tool-0 · builder: step 00, 2 weigh; tool-0 · futurist: 2 weigh" in str(error)
    assert "; 52 more)" in str(error)
    both = MissingAnswers.together([error, MissingAnswers(["weigh/builder/x/E1"], path=tmp_path)])
    assert len(both.names) == 122


# --------------------------------------------------------------------------------------------------- keeping bounds


def test_a_file_that_has_grown_too_large_is_pruned_at_the_end(
    opened: Callable[..., CachedEngine], monkeypatch: pytest.MonkeyPatch, answers_file: Path
) -> None:
    monkeypatch.setattr(cached, "MAX_BYTES", 100_000)
    cache = opened()
    for start in range(0, 600, 50):
        cache.generate([replace(DRAFT, seed=seed) for seed in range(start, start + 50)])
    cache.close()
    assert 20_000 < answers_file.stat().st_size <= 80_000


# ------------------------------------------------------------------------------------------------------- whole runs


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, dossier: Dossier, other_dossier: Dossier, prompts: Any, tmp_path: Path
) -> Callable[..., tuple[Comparison, CachedEngine]]:
    """Reviews both tools on a scripted engine with a cache, and nothing of an earlier run but answers."""

    def compared(
        personas: Sequence[Persona], engine: ScriptedEngine | None = None, **options: Any
    ) -> tuple[Comparison, CachedEngine]:
        engine = engine or script.scripted_engine(personas)
        monkeypatch.setattr(panel.engines, "find_engine", lambda *_, **__: (Identity(engine.info, {}), lambda: engine))
        cache = open_cached("scripted", "small", **options)
        outcome = compare([dossier, other_dossier], personas, prompts, cache, out=tmp_path / "out", fresh=True)
        cache.close()
        return outcome.record, cache

    monkeypatch.setattr(panel.engines, "ENGINE_NAMES", ("scripted",))
    return compared


def untimed(record: Comparison) -> Any:
    data = record.model_dump(mode="json", exclude={"created"})
    for tool in data["tools"]:
        for review in tool["reviews"]:
            del review["provenance"]["seconds"]
    return data


Run = Callable[..., tuple[Comparison, CachedEngine]]


def test_a_second_run_computes_nothing_and_says_the_same(run: Run, personas: tuple[Persona, ...]) -> None:
    first, computed = run(personas)
    second, kept = run(personas, ScriptedEngine(lambda _: pytest.fail("asked"), lambda *_: pytest.fail("asked")))
    assert untimed(first) == untimed(second)
    assert computed.total().computed > 100
    assert (kept.total().computed, kept.opened) == (0, False)


def by_persona(cache: CachedEngine) -> dict[str, int]:
    """Model calls computed, by persona."""
    found: dict[str, int] = {}
    for name, count in cache.counts.items():
        persona = name.split("/")[1]
        found[persona] = found.get(persona, 0) + count.computed
    return found


@pytest.mark.parametrize("slug", ["builder", "competitor-analyst", "futurist", "business-buyer"])
@pytest.mark.parametrize("field", ["voice", "audience"])
def test_an_edited_persona_is_all_that_is_computed_again(
    run: Run, personas: tuple[Persona, ...], slug: str, field: str
) -> None:
    """Counted in model calls: a quarter of the work, and of the weighing none where only the prose was edited."""
    _, whole = run(personas)
    edited = [p.model_copy(update={field: getattr(p, field) + " indeed"}) if p.slug == slug else p for p in personas]
    _, part = run(edited)
    before, after = by_persona(whole), by_persona(part)
    assert {persona for persona, calls in after.items() if calls} == {slug}
    assert after[slug] <= before[slug]
    weighed = part.counts[f"weigh/{slug}"].computed
    assert weighed == (0 if field == "voice" else whole.counts[f"weigh/{slug}"].computed)
    assert part.total().computed <= 0.3 * whole.total().computed
    # the longest reviews have 5 beats of the panel's 18, so no persona is much more than a quarter
    assert 0.2 < before[slug] / whole.total().computed < 0.3


def test_no_request_of_one_persona_depends_on_the_others(run: Run, personas: tuple[Persona, ...]) -> None:
    """What the panel asks for one persona is the same when it is asked for that persona alone."""
    together = script.scripted_engine(personas)
    run(personas, together, mode="fresh")
    alone: list[Any] = []
    for persona in personas:
        engine = script.scripted_engine(personas)
        run([persona], engine, mode="fresh")
        alone += [*engine.generated, *engine.scored]
    asked = [*together.generated, *together.scored]
    assert {cached_fields(r) for r in asked} == {cached_fields(r) for r in alone}


def cached_fields(request: Any) -> str:
    return repr(cached.request_fields(request))


def test_a_replay_is_the_record_without_a_model(
    run: Run, personas: tuple[Persona, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = run(personas)
    second, cache = run(personas, ScriptedEngine(lambda _: pytest.fail("asked")), mode="replay")
    assert untimed(first) == untimed(second)
    assert not cache.opened


def test_a_replay_of_something_else_names_every_review_that_lacks_answers(
    run: Run, personas: tuple[Persona, ...], answers_file: Path
) -> None:
    run(personas)
    edited = [p.model_copy(update={"voice": p.voice + "!"}) if p.slug == "futurist" else p for p in personas]
    with pytest.raises(MissingAnswers) as caught:
        run(edited, mode="replay")
    assert caught.value.names == ("step/futurist/bramble/00", "step/futurist/lanternfish/00")
    with sqlite3.connect(answers_file) as db:
        db.execute("DELETE FROM answers WHERE name LIKE 'weigh/builder/%/E3' OR name LIKE 'draft/builder/%/1'")
    with pytest.raises(MissingAnswers) as caught:
        run(personas, mode="replay")
    assert "weigh/builder/lanternfish/E3" in caught.value.names or "weigh/builder/bramble/E3" in caught.value.names


def test_a_replay_speaks_for_the_model_that_was_used_last(
    run: Run, personas: tuple[Persona, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(personas, script.scripted_engine(personas, name="old"))
    new, _ = run(personas, script.scripted_engine(personas, skips=["builder"], adapter_sha256="b" * 64, name="new"))
    assert untimed(run(personas, mode="replay")[0]) == untimed(new)


def test_a_replay_of_a_model_that_was_never_asked(answers_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    AnswerStore(answers_file).close()
    with pytest.raises(SetupError, match="has no answers of org/name on openvino"):
        open_cached("openvino", "org/name", mode="replay")
    with pytest.raises(SetupError, match="unknown engine 'abacus'"):
        open_cached("abacus", "embedded", mode="replay")


def test_answers_of_another_adapter_are_no_answers_of_the_embedded_model(answers_file: Path) -> None:
    """Its hashes are known without it: a replay must not speak for a model that is no longer the panel's."""
    store = AnswerStore(answers_file)
    store.remember("embedded", Identity(EngineInfo("openvino", "1", "embedded", "a" * 64, "b" * 64), {}))
    store.close()
    with pytest.raises(SetupError, match="has answers of another version of embedded only"):
        open_cached("openvino", "embedded", mode="replay")


def test_a_replay_of_another_precision(answers_file: Path) -> None:
    """It is another model, though it was made from the embedded one."""
    source = SOURCES["embedded"]
    info = EngineInfo("openvino", "1", "embedded (int8)", "c" * 64, source.adapter_sha256)
    store = AnswerStore(answers_file)
    store.remember("embedded int8", Identity(info, {"published": source.sha256}))
    store.close()
    assert open_cached("openvino", "embedded", precision="int8", mode="replay").info == info
    for precision in ("auto", "int4"):
        with pytest.raises(SetupError, match="has no answers of embedded"):
            open_cached("openvino", "embedded", precision=precision, mode="replay")

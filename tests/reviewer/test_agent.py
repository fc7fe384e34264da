"""A review from start to end on a scripted engine: what a good one leaves behind, and every way to fail one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from panel.assets import asset_folder
from panel.draft import ROUNDS
from panel.engines.scripted import ScriptedEngine
from panel.errors import EngineError, SetupError
from panel.prompts import Prompts
from panel.records import BEAT_NAMES, Dossier, Persona
from panel.requests import GenerateRequest
from panel.reviewer import Reviewed, run_review
from panel.reviewer.desk import MAX_STEPS, TRIES
from tests import scripted as script
from tests.reviewer.test_model import hostile

Review = Callable[..., Reviewed]
GIBBERISH = " zzz."


@pytest.fixture
def review(persona: Callable[[str], Persona], dossier: Dossier, prompts: Prompts, scripted: ScriptedEngine) -> Review:
    def do(
        slug: str = "builder",
        engine: ScriptedEngine = scripted,
        dossier: Dossier = dossier,
        prompts: Prompts = prompts,
        **options: object,
    ) -> Reviewed:
        return run_review(persona(slug), dossier, engine, prompts, **options)  # type: ignore[arg-type]

    return do


def drafts_with(replace: Callable[[GenerateRequest], str | None]) -> ScriptedEngine:
    """The scripted engine, but for the requests that `replace` has an answer to."""

    def write(request: GenerateRequest) -> str:
        other = replace(request)
        return script.write(request) if other is None else other

    return script.scripted_engine(write=write)


# --------------------------------------------------------------------------------------------------- a good review


@pytest.mark.parametrize("loop", ["led", "free"])
@pytest.mark.parametrize("slug", BEAT_NAMES)
def test_a_review_says_what_it_rests_on(
    review: Review, slug: str, loop: str, persona: Callable[[str], Persona]
) -> None:
    steps: list[str] = []
    done = review(slug, loop=loop, on_step=steps.append)
    found = done.review
    assert (found.status, found.decision, found.reason, found.persona) == ("scored", "ship", None, slug)
    assert tuple(beat.name for beat in found.beats) == BEAT_NAMES[slug]
    assert found.quote == " ".join(beat.text for beat in found.beats)
    assert [pull.evidence for pull in found.pulls] == [f"E{n}" for n in range(1, 11)]
    read = {i for step in done.trace["steps"] if step["tool"] == "read_evidence" for i in step["arguments"]["ids"]}
    for beat, spec in zip(found.beats, persona(slug).beats, strict=True):
        assert beat.cites
        assert set(beat.cites) <= read
        assert beat.text.startswith(spec.stem["ship"].split("{")[0])
    assert steps[0] == "weigh_evidence"
    assert steps[-1] == "final_answer"
    assert len(steps) == found.provenance.steps <= MAX_STEPS


def test_a_skip_argues_for_a_skip(review: Review, personas: tuple[Persona, ...]) -> None:
    found = review(engine=script.scripted_engine(personas, skips=["builder"])).review
    assert found.decision == "skip"
    assert found.p_ship is not None
    assert found.p_ship < 0.1
    for beat, spec in zip(found.beats, personas[0].beats, strict=True):
        assert beat.text.startswith(spec.stem["skip"])


def test_each_persona_uses_its_own_tools(review: Review) -> None:
    def tools(slug: str) -> set[str]:
        return {step["tool"] for step in review(slug).trace["steps"]}

    assert "list_rivals" in tools("competitor-analyst")
    assert "price" in tools("business-buyer")
    assert {"list_rivals", "price"}.isdisjoint(tools("builder"))


def test_the_provenance_is_what_it_was_made_with(review: Review, scripted: ScriptedEngine, prompts: Prompts) -> None:
    from panel.dossier import dossier_sha256

    done = review(seed=5)
    made = done.review.provenance
    assert (made.engine, made.model, made.model_sha256, made.seed) == ("scripted", "scripted", "0" * 64, 5)
    assert made.prompt_sha256 == prompts.sha256
    assert made.dossier_sha256 == dossier_sha256(Dossier.model_validate(yaml.safe_load(script.DOSSIER)))
    assert {request.seed for request in scripted.generated} == {5}
    assert made.completion_tokens == sum(step["completion_tokens"] for step in done.trace["steps"]) > 0
    keys = [request.key for request in scripted.generated]
    assert len(set(keys)) == len(keys)


def test_the_trace_holds_every_step(review: Review, scripted: ScriptedEngine) -> None:
    done = review()
    assert done.trace["schema"] == "trace/1"
    asked = [request for request in scripted.generated if request.key.startswith("step/")]
    assert len(done.trace["steps"]) == len(asked)
    for step, request in zip(done.trace["steps"], asked, strict=True):
        assert [(m["role"], m["content"]) for m in step["prompt"]] == [(m.role, m.content) for m in request.messages]
        assert json.loads(step["raw"])["name"] == step["tool"] in step["options"]
        assert step["error"] is None
        assert step["observation"]
    last = done.trace["steps"][-1]
    assert [draft["text"] for draft in last["drafts"]] == [beat["text"] for beat in last["arguments"]["beats"]]


# ------------------------------------------------------------------------------------------- untrusted text (4, 5)


def test_a_dossier_is_never_a_template(review: Review, scripted: ScriptedEngine) -> None:
    """smolagents renders its system prompt with a Jinja that is not sandboxed."""
    data = yaml.safe_load(script.DOSSIER)
    data["name"], data["tagline"] = "{{ 7*7 }}", "{% raw %} {{ self }} {% for x in y %}"
    data["evidence"][0]["text"] = "Queries run {{ 7*7 }} in parallel {% raw %}."
    data["rivals"] = ["{{ cycler.__init__.__globals__ }}"]
    found = review("competitor-analyst", dossier=Dossier.model_validate(data))
    assert found.review.status == "scored", found.review.reason
    asked = "\n".join(m.content for request in scripted.generated for m in request.messages)
    asked += "\n".join(request.prompt for request in scripted.scored)
    assert "Review this tool: {{ 7*7 }}. {% raw %} {{ self }}" in asked
    assert "Queries run {{ 7*7 }} in parallel {% raw %}." in asked
    assert "{{ cycler.__init__.__globals__ }}" in asked
    assert "49" not in asked
    assert "<class" not in asked


def test_a_voice_is_never_a_template(
    persona: Callable[[str], Persona], dossier: Dossier, scripted: ScriptedEngine, prompts: Prompts
) -> None:
    odd = persona("builder").model_copy(update={"voice": "Says {{ 7*7 }} and {% raw %}."})
    assert run_review(odd, dossier, scripted, prompts).review.status == "scored"
    assert "Says {{ 7*7 }} and {% raw %}." in scripted.generated[0].messages[0].content


def test_nothing_of_a_dossier_is_in_the_system_prompt(
    review: Review, scripted: ScriptedEngine, dossier: Dossier
) -> None:
    review()
    for request in scripted.generated:
        if request.key.startswith("step/"):
            system = [m.content for m in request.messages if m.role == "system"]
            assert len(system) == 1
            assert dossier.name not in system[0]
            assert not any(item.text in system[0] for item in dossier.evidence)


@pytest.mark.parametrize("slug", BEAT_NAMES)
def test_names_full_of_braces_and_quotes_do_no_harm(review: Review, slug: str) -> None:
    found = review(slug, dossier=hostile()).review
    assert found.status == "scored", found.reason


# ----------------------------------------------------------------------------------------- tools that refuse (2, 6)


def test_what_a_tool_refuses_comes_back_to_the_model(review: Review) -> None:
    """The first reading asks for what is not there; the next step is told so, and the review goes on."""
    asked: list[GenerateRequest] = []

    def once(request: GenerateRequest) -> str | None:
        asked.append(request)
        if request.key.endswith("/02"):
            return '{"name": "read_evidence", "arguments": {"ids": ["E77"]}}'
        return None

    done = review(engine=drafts_with(once))
    assert done.review.status == "scored"
    refused = done.trace["steps"][2]
    assert "no evidence E77; read one of E1" in refused["error"]
    assert (refused["tool"], refused["arguments"]) == ("read_evidence", {"ids": ["E77"]})
    assert "no evidence E77; read one of E1" in asked[3].messages[-1].content


@pytest.mark.parametrize(
    "call",
    [
        '{"name": "read_evidence", "arguments": {"ids": ["E77"]}}',
        '{"name": "read_evidence", "arguments": {"ids": "E1"}}',
        '{"name": "web_search", "arguments": {}}',
    ],
)
def test_a_review_without_an_end_is_unscored(review: Review, call: str) -> None:
    """smolagents skips its checks at the step limit, and asks for a last word there: neither makes a review."""
    engine = drafts_with(lambda request: None if request.key.endswith("/00") else call)
    found = review(engine=engine).review
    assert (found.status, found.decision, found.p_ship, found.beats, found.quote) == ("unscored", None, None, (), "")
    assert found.reason == f"no valid answer in {MAX_STEPS} steps"
    assert len(found.pulls) == 10, "what was weighed is known all the same"
    assert found.provenance.steps == MAX_STEPS == len([r for r in engine.generated if r.key.startswith("step/")])


def test_an_answer_before_its_time_is_refused(review: Review) -> None:
    """Where an engine does not keep to the grammar."""
    early = '{"name": "final_answer", "arguments": {"decision": "ship"}}'
    found = review(engine=drafts_with(lambda r: early if r.key.startswith("step/") else None)).review
    assert found.status == "unscored"
    assert found.reason is not None
    assert "before the evidence was weighed" in found.reason


# ------------------------------------------------------------------------------------------------ drafts that fail


def test_only_what_was_wrong_is_written_again(review: Review) -> None:
    engine = drafts_with(lambda r: GIBBERISH if "/dx-bet/0/" in r.key else None)
    done = review(engine=engine)
    assert done.review.status == "scored"
    rounds = {tuple(request.key.split("/")[3:5]) for request in engine.generated if request.key.startswith("draft/")}
    assert rounds == {(name, "0") for name in BEAT_NAMES["builder"]} | {("dx-bet", "1")}
    assert [step["tool"] for step in done.trace["steps"]][-2:] == ["final_answer"] * 2
    assert "dx-bet: " in done.trace["steps"][-2]["error"]
    assert done.review.provenance.tries == 2  # type: ignore[attr-defined]


def test_a_beat_that_will_not_do_quotes_its_evidence(review: Review, dossier: Dossier) -> None:
    """Gibberish in every round of drafting, then word for word."""
    failing = tuple(f"/dx-bet/{attempt}/" for attempt in range(len(ROUNDS)))
    engine = drafts_with(lambda r: GIBBERISH if any(part in r.key for part in failing) else None)
    found = review(engine=engine).review
    assert found.status == "scored", found.reason
    beat = found.beats[1]
    assert [b.verbatim for b in found.beats] == [False, True, False, False, False]
    cited = next(item.text for item in dossier.evidence if item.id == beat.cites[0])
    assert beat.text.casefold().endswith(cited.casefold())


def test_gibberish_to_the_end_is_unscored_and_says_why(review: Review) -> None:
    engine = drafts_with(lambda r: GIBBERISH if r.key.startswith("draft/") else None)
    found = review(engine=engine).review
    assert found.status == "unscored"
    assert found.reason is not None
    assert found.reason.startswith(f"no valid answer in {TRIES} tries: ")
    assert all(name in found.reason for name in BEAT_NAMES["builder"])
    assert "\n" not in found.reason
    assert found.beats == ()
    assert found.provenance.tries == TRIES  # type: ignore[attr-defined]


def test_an_invented_name_does_not_pass(review: Review) -> None:
    """An engine without grammars would invent; what it invents is found after the fact."""
    engine = drafts_with(lambda r: " it belongs to Oracle since 2019." if r.key.startswith("draft/") else None)
    found = review(engine=engine).review
    assert found.status == "unscored"


# --------------------------------------------------------------------------------------------- engines that fail


def broken(place: str) -> ScriptedEngine:
    """Fails at the requests whose key starts with `place`."""

    def write(request: GenerateRequest) -> str:
        if request.key.startswith(place):
            raise EngineError("out of memory", hint="Use a smaller model.")
        return script.write(request)

    def rate(prompt: str, candidate: str) -> float:
        if place == "weigh":
            raise EngineError("out of memory", hint="Use a smaller model.")
        return 8.0 if candidate == " good" else 0.0

    return ScriptedEngine(write, rate)


@pytest.mark.parametrize("place", ["step/builder/lanternfish/00", "step/builder/lanternfish/03", "weigh", "draft"])
def test_an_engine_that_fails_is_a_reason_and_ends_the_review(review: Review, place: str) -> None:
    engine = broken(place)
    found = review(engine=engine).review
    assert (found.status, found.decision) == ("unscored", None)
    assert found.reason == "out of memory. Use a smaller model."
    assert found.provenance.steps < MAX_STEPS, "what cannot be mended is not tried again"


@pytest.mark.parametrize(
    "raw", ["", "I think this is fine.", '{"name": "weigh_evidence", "argum', "[]", '{"name": 1}', "7"]
)
def test_an_engine_that_writes_no_call_is_a_reason(review: Review, raw: str) -> None:
    found = review(engine=ScriptedEngine(lambda r: raw)).review
    assert found.status == "unscored"
    assert found.reason is not None
    assert found.reason.startswith("the engine wrote no tool call")


@pytest.mark.parametrize("template", ["task", "weigh", "draft", "system"])
def test_a_template_that_lacks_a_value_is_the_set_up_and_no_reviewer(
    review: Review, tmp_path: Path, template: str
) -> None:
    folder = Path(shutil.copytree(asset_folder("prompts"), tmp_path / "prompts"))
    path = folder / f"{template}.j2"
    path.write_text(path.read_text(encoding="utf-8") + "{{ nowhere }}", encoding="utf-8")
    with pytest.raises(SetupError, match="'nowhere' is undefined"):
        review(prompts=Prompts(folder))

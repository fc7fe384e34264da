"""Calibrations: which one is meant by a key, that a file keeps them, and that a fit says what its cases say."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import panel.weigh
from panel.assets import asset_folder
from panel.calibrate import (
    DEADBAND,
    FILE,
    Calibrations,
    Entry,
    calibrated,
    calibration_key,
    fit,
    load_calibrations,
    save,
)
from panel.decide import decide
from panel.engines.embedded import EMBEDDED
from panel.errors import SetupError
from panel.gold import Case, Gold
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.records import KINDS, PERSONA_SLUGS, Calibration, Dossier, Evidence, Persona, Pull
from panel.requests import EngineInfo
from panel.weigh import weighing_of
from tests.scripted import DOSSIER, LEANING

PERSONAS = load_personas()
PROMPTS = Prompts()
INFO = EngineInfo("openvino", "1", "a-model", "a" * 64, "b" * 64)
FITTED = Calibration(fitted=True, neutral=-0.25, deadband=0.4, intercept=-1.125, strengths=0.75, weaknesses=1.5)


def key(persona: Persona, info: EngineInfo = INFO, prompts: Prompts = PROMPTS) -> str:
    """The key as a run computes it."""
    return calibration_key(persona, info, weighing_of(prompts, persona, info))


def choose(personas: Sequence[Persona], info: EngineInfo, known: Calibrations) -> list[Persona]:
    """`calibrated` as a run calls it."""
    return calibrated(personas, info, known, lambda persona: weighing_of(PROMPTS, persona, info))


def entry(key: str, **fields: Any) -> Entry:
    values = {"persona": "builder", "model": "a-model", "engine": "openvino", "cases": 35, "calibration": FITTED}
    return Entry(**{"key": key} | values | fields)


# --------------------------------------------------------------------------------------------------------- key


@pytest.mark.parametrize("info", [INFO, replace(INFO, adapter_sha256="")], ids=["tuned", "untuned"])
@pytest.mark.parametrize(
    "change", [{"model_sha256": "c" * 64}, {"adapter_sha256": "c" * 64}, {"engine": "transformers"}]
)
def test_the_key_follows_model_adapter_and_engine(info: EngineInfo, change: dict[str, str]) -> None:
    for persona in PERSONAS:
        assert key(persona, replace(info, **change)) != key(persona, info)


@pytest.mark.parametrize("change", [{"engine_version": "2"}, {"model": "what people call it"}])
def test_the_key_does_not_follow_names_and_versions(change: dict[str, str]) -> None:
    assert key(PERSONAS[0], replace(INFO, **change)) == key(PERSONAS[0])


def test_the_key_follows_what_weighing_reads_of_a_persona() -> None:
    builder = PERSONAS[0]
    before = key(builder)
    for kind in KINDS:
        lens = builder.lens | {kind: builder.lens[kind] + 0.1}  # type: ignore[index]
        assert key(builder.model_copy(update={"lens": lens})) != before
    assert key(builder.model_copy(update={"audience": "somebody else"})) != before
    assert len({key(persona) for persona in PERSONAS}) == 4
    assert len(before) == 16


@pytest.mark.parametrize("adapter", ["", "b" * 64], ids=["untuned", "tuned"])
def test_the_key_follows_the_prompt_that_is_asked(tmp_path: Path, adapter: str) -> None:
    """And no other one: a tuned model is not asked with `weigh`, an untuned one not with `weigh_tuned`."""
    info = replace(INFO, adapter_sha256=adapter)
    before = key(PERSONAS[0], info)
    asked = {}
    for name in ("weigh", "weigh_tuned", "draft", "system"):
        folder = Path(shutil.copytree(asset_folder("prompts"), tmp_path / name))
        path = folder / f"{name}.j2"
        path.write_text("So: " + path.read_text(encoding="utf-8"), encoding="utf-8")
        asked[name] = key(PERSONAS[0], info, Prompts(folder)) != before
    assert [name for name, follows in asked.items() if follows] == ["weigh_tuned" if adapter else "weigh"]


def test_the_key_follows_the_version_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(PERSONAS[0])
    monkeypatch.setattr(panel.weigh, "WEIGHING", panel.weigh.WEIGHING + 1)
    assert key(PERSONAS[0]) != before


def test_the_key_does_not_follow_what_weighing_does_not_read() -> None:
    """Stems, what is said where there is nothing to say, the voice, and a calibration that is there already."""
    builder = PERSONAS[0]
    beat = builder.beats[0].model_copy(update={"stem": {"ship": ("So:",), "skip": ("No:",)}, "silent": "Silence."})
    other = builder.model_copy(
        update={
            "voice": "Another voice.",
            "name": "Other",
            "beats": (beat, *builder.beats[1:]),
            "terms": ("XML",),
            "calibration": FITTED,
            "lens": dict(reversed(builder.lens.items())),
        }
    )
    assert key(other) == key(builder)


def test_the_key_follows_examples_where_the_model_is_shown_them() -> None:
    builder = PERSONAS[0]
    fewer = builder.model_copy(update={"examples": builder.examples[:2]})
    turned = builder.model_copy(update={"examples": builder.examples[::-1]})
    untuned = replace(INFO, adapter_sha256="")
    assert len({key(persona, untuned) for persona in (builder, fewer, turned)}) == 3
    assert len({key(persona) for persona in (builder, fewer, turned)}) == 1


def test_a_whole_number_is_no_other_weight() -> None:
    """`security: 1` and `security: 1.0` are the same persona."""
    lenses = dict.fromkeys(KINDS, 1), dict.fromkeys(KINDS, 1.0)
    assert len({key(PERSONAS[0].model_copy(update={"lens": lens})) for lens in lenses}) == 1


# -------------------------------------------------------------------------------------------------------- choice


def test_a_persona_gets_the_calibration_of_its_key() -> None:
    known = Calibrations(schema="calibrations/1", entries=(entry(key(PERSONAS[2])), entry("0" * 16)))
    found = choose(PERSONAS, INFO, known)
    assert [persona.calibration for persona in found] == [Calibration(), Calibration(), FITTED, Calibration()]
    assert [persona.model_copy(update={"calibration": Calibration()}) for persona in found] == list(PERSONAS)
    elsewhere = choose(PERSONAS, replace(INFO, engine="transformers"), known)
    assert not any(persona.calibration.fitted for persona in elsewhere)


def test_one_that_is_there_already_is_not_kept_for_another_model() -> None:
    """It belongs to a model; on another one it would be wrong without a word."""
    one = PERSONAS[0].model_copy(update={"calibration": FITTED})
    (found,) = choose([one], INFO, Calibrations(schema="calibrations/1"))
    assert found.calibration == Calibration()


def test_the_default_says_that_it_is_one() -> None:
    assert Calibration().fitted is False
    assert Calibration() == Calibration(neutral=0, deadband=DEADBAND, intercept=0, strengths=1, weaknesses=1)
    assert FITTED.fitted is True


# ---------------------------------------------------------------------------------------------------------- file


def test_a_folder_without_the_file_has_none(tmp_path: Path) -> None:
    assert load_calibrations(tmp_path).entries == ()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    entries = [entry(f"{n:016x}", persona=slug) for n, slug in enumerate(PERSONA_SLUGS)]
    assert save(tmp_path, entries) == tmp_path / FILE
    assert set(load_calibrations(tmp_path).entries) == set(entries)


def test_saving_keeps_the_others_and_replaces_its_own(tmp_path: Path) -> None:
    old, kept = entry("a" * 16, cases=12), entry("b" * 16, model="another")
    save(tmp_path, [old, kept])
    new = entry("a" * 16, cases=35, calibration=Calibration(fitted=True, intercept=2.0))
    save(tmp_path, [new, entry("c" * 16)])
    found = {one.key: one for one in load_calibrations(tmp_path).entries}
    assert found == {"a" * 16: new, "b" * 16: kept, "c" * 16: entry("c" * 16)}


def test_the_file_does_not_depend_on_the_order_of_saving(tmp_path: Path) -> None:
    entries = [entry(f"{n:016x}", persona=slug, model=m) for n, (slug, m) in
               enumerate(itertools.product(PERSONA_SLUGS, ("one", "two")))]  # fmt: skip
    save(tmp_path, entries)
    text = (tmp_path / FILE).read_text(encoding="utf-8")
    save(tmp_path, entries[3:5])
    assert (tmp_path / FILE).read_text(encoding="utf-8") == text
    (tmp_path / FILE).unlink()
    for one in reversed(entries):
        save(tmp_path, [one])
    assert (tmp_path / FILE).read_text(encoding="utf-8") == text


_NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
_ENTRIES = st.builds(
    Entry,
    # all digits, or digits and an e, are numbers to YAML
    key=st.text("0123456789", min_size=16, max_size=16) | st.text("0123456789abcdef", min_size=16, max_size=16),
    persona=st.sampled_from(PERSONA_SLUGS),
    model=st.sampled_from(["org/name@main", "no", "1e5", "null", "a: b", "x" * 300, "Modèle 7B, 4 bit", "#1", "'\""]),
    engine=st.sampled_from(["openvino", "transformers"]),
    cases=st.integers(0, 1000),
    calibration=st.builds(
        Calibration, fitted=st.booleans(), neutral=_NUMBERS, deadband=st.floats(0, 10), intercept=_NUMBERS,
        strengths=st.floats(1e-9, 1e9), weaknesses=st.floats(1e-9, 1e9),
    ),
)  # fmt: skip


@given(st.lists(_ENTRIES, min_size=1, max_size=5, unique_by=lambda one: one.key))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_saved_is_loaded_bit_for_bit(tmp_path: Path, entries: list[Entry]) -> None:
    (tmp_path / FILE).unlink(missing_ok=True)
    save(tmp_path, entries)
    assert {one.key: one for one in load_calibrations(tmp_path).entries} == {one.key: one for one in entries}


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ("calibrations/1", "calibrations/2", "schema", "'calibrations/2' does not fit"),
        ("persona: builder", "persona: chef", "entries.0.persona", "'chef' is not known here"),
        ("strengths: 0.75", "strengths: 0", "entries.0.calibration.strengths", "greater than 0"),
        ("weaknesses: 1.5", "weaknesses: -1", "entries.0.calibration.weaknesses", "greater than 0"),
        ("deadband: 0.4", "deadband: -0.4", "entries.0.calibration.deadband", "greater than or equal to 0"),
        ("neutral: -0.25", "neutral: .nan", "entries.0.calibration.neutral", "finite"),
        ("neutral: -0.25", "zero: -0.25", "entries.0.calibration.zero", "this field is not known"),
        ("engine: openvino, ", "", "entries.0.engine", "this field is missing"),
    ],
)
def test_a_spoilt_file_is_refused(tmp_path: Path, old: str, new: str, field: str, says: str) -> None:
    path = save(tmp_path, [entry("a" * 16)])
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(SetupError) as caught:
        load_calibrations(tmp_path)
    assert (caught.value.path, caught.value.field) == (path, field)
    assert says in str(caught.value)
    with pytest.raises(SetupError):  # and it is not overwritten
        save(tmp_path, [entry("b" * 16)])
    assert path.read_text(encoding="utf-8") == text.replace(old, new)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be"):
        save(tmp_path / "file" / "personas", [entry("a" * 16)])


# ----------------------------------------------------------------------------------------------------- what we ship


def test_our_personas_are_calibrated_for_the_embedded_model() -> None:
    """After a change of the adapter, of an audience or of a lens: review-panel personas calibrate."""
    info = EngineInfo("openvino", "", EMBEDDED.name, EMBEDDED.sha256, EMBEDDED.adapter_sha256)
    found = choose(PERSONAS, info, load_calibrations(asset_folder("personas")))
    assert [persona.slug for persona in found if not persona.calibration.fitted] == []


def test_with_each_of_our_calibrations_the_scripted_reviewer_ships_what_it_likes(dossier: Dossier) -> None:
    """`LEANING` is what tests mean by liking and disliking everything: no calibration may turn it around."""
    entries = load_calibrations(asset_folder("personas")).entries
    assert {one.persona for one in entries} == set(PERSONA_SLUGS)
    for one in entries:
        persona = next(p for p in PERSONAS if p.slug == one.persona)
        persona = persona.model_copy(update={"calibration": one.calibration})
        for sign, decision in ((1, "ship"), (-1, "skip")):
            leaning = sign * LEANING - one.calibration.neutral
            pulls = [Pull(evidence=item.id, log_odds=leaning) for item in dossier.evidence]
            assert decide(persona, dossier.evidence, pulls)[0] == decision


# ----------------------------------------------------------------------------------------------------------- fit


def case(number: int, ship: bool, signs: Sequence[int]) -> Case:
    """One tool: a fact of each kind, signed in the order of the kinds, of which no two are alike."""
    evidence = tuple(
        Evidence(id=f"E{n}", kind=kind, text=f"{kind} {number} {n}", source="x")  # type: ignore[arg-type]
        for n, kind in enumerate(KINDS[: len(signs)], start=1)
    )
    dossier = Dossier.model_validate(yaml.safe_load(DOSSIER)).model_copy(
        update={"slug": f"t{number}", "evidence": evidence}
    )
    gold = Gold.model_validate(
        {
            "schema": "gold/1",
            "verdicts": dict.fromkeys(PERSONA_SLUGS, "ship" if ship else "skip"),
            "pulls": {f"E{n}": dict.fromkeys(PERSONA_SLUGS, sign) for n, sign in enumerate(signs, start=1)},
        }
    )
    return Case(dossier, gold)


def pulls(*log_odds: float) -> list[Pull]:
    return [Pull(evidence=f"E{n}", log_odds=value) for n, value in enumerate(log_odds, start=1)]


def told_apart(seed: int, count: int = 24, zero: float = 0.0) -> tuple[list[Case], list[list[Pull]]]:
    """Half of the tools ship, with 5 or 6 good facts of 8; the others have 2 or 3. The rest of the 8 is bad, and 2 more
    are idle. Pulls are `zero` plus the sign times 1.5, with a noise of 0.2."""
    rng = random.Random(seed)  # noqa: S311
    cases, rows = [], []
    for number in range(count):
        ship = number % 2 == 0
        good = rng.randint(5, 6) if ship else rng.randint(2, 3)
        signs = [1] * good + [-1] * (8 - good) + [0, 0]
        rng.shuffle(signs)
        cases.append(case(number, ship, signs))
        rows.append(pulls(*(round(zero + 1.5 * sign + rng.gauss(0, 0.2), 3) for sign in signs)))
    return cases, rows


def moved(row: Sequence[Pull], by: float) -> list[Pull]:
    return [pull.model_copy(update={"log_odds": pull.log_odds - by}) for pull in row]


@pytest.mark.parametrize("slug", PERSONA_SLUGS)
@pytest.mark.parametrize("zero", [0.0, -0.7])
def test_a_fit_on_what_can_be_told_apart_tells_it_apart(
    persona: Callable[[str], Persona], slug: str, zero: float
) -> None:
    """Also on tools that it was not fitted on, and wherever the model puts its zero."""
    found = fit(persona(slug), *told_apart(0, zero=zero))
    assert found.fitted
    assert found.deadband == DEADBAND
    assert found.neutral == pytest.approx(zero, abs=0.1)
    assert min(found.strengths, found.weaknesses) > 0
    one = persona(slug).model_copy(update={"calibration": found})
    cases, rows = told_apart(1, zero=zero)
    right = [
        decide(one, c.dossier.evidence, moved(row, found.neutral))[0] == c.gold.verdicts[one.slug]
        for c, row in zip(cases, rows, strict=True)
    ]
    assert sum(right) >= 0.9 * len(right)


def test_the_zero_is_the_mean_of_what_has_no_bearing(persona: Callable[[str], Persona]) -> None:
    """(0.3 + 0.5 − 0.1) / 3 = 0.233. A piece that was not weighed says nothing of it, nor do those that bear."""
    cases = [case(1, True, [1, 0, 0, 0]), case(2, False, [-1, 0])]
    unweighed = Pull(evidence="E4", log_odds=0.0, weighed=False)
    rows = [[*pulls(2.0, 0.3, 0.5), unweighed], pulls(-2.0, -0.1)]
    assert fit(persona("builder"), cases, rows).neutral == 0.233


def test_without_idle_facts_the_zero_is_where_the_model_puts_it(persona: Callable[[str], Persona]) -> None:
    cases = [case(1, True, [1, 1]), case(2, False, [-1, -1])]
    assert fit(persona("builder"), cases, [pulls(2.0, 1.0), pulls(-2.0, -1.0)]).neutral == 0.0


def test_what_was_not_weighed_is_not_moved(persona: Callable[[str], Persona]) -> None:
    """With the zero at 5, a 0.0 that stands for nothing would else be a pull of −5 in the tools that ship."""
    shape = [(True, [1, 1, 0]), (False, [-1, -1, 0]), (True, [1, 0, 0]), (False, [-1, 0, 0])]
    rows = [pulls(*(5.0 + sign for sign in signs)) for _, signs in shape]
    expected = fit(persona("builder"), [case(n, *one) for n, one in enumerate(shape)], rows)
    assert expected.neutral == 5.0
    longer = [(ship, [*signs, 0] if ship else signs) for ship, signs in shape]
    nothing = Pull(evidence="E4", log_odds=0.0, weighed=False)
    rows = [[*row, nothing] if ship else row for (ship, _), row in zip(shape, rows, strict=True)]
    assert fit(persona("builder"), [case(n, *one) for n, one in enumerate(longer)], rows) == expected


def test_one_verdict_teaches_nothing(persona: Callable[[str], Persona]) -> None:
    cases, rows = told_apart(0)
    ships = [(c, row) for c, row in zip(cases, rows, strict=True) if c.gold.verdicts["futurist"] == "ship"]
    with pytest.raises(SetupError, match="futurist has the same verdict in all 12 cases") as caught:
        fit(persona("futurist"), [c for c, _ in ships], [row for _, row in ships])
    assert "--cases" in caught.value.fix
    with pytest.raises(SetupError, match="the same verdict in all 0 cases"):
        fit(persona("futurist"), [], [])


def test_the_verdicts_of_another_persona_do_not_matter(persona: Callable[[str], Persona]) -> None:
    cases, rows = told_apart(0)
    turned = {"ship": "skip", "skip": "ship"}
    others = [
        Case(c.dossier, c.gold.model_copy(update={"verdicts": {
            slug: verdict if slug == "builder" else turned[verdict] for slug, verdict in c.gold.verdicts.items()
        }}))
        for c in cases
    ]  # fmt: skip
    assert fit(persona("builder"), others, rows) == fit(persona("builder"), cases, rows)
    assert fit(persona("futurist"), others, rows) != fit(persona("futurist"), cases, rows)


def test_how_many_tools_are_good_is_not_learned(persona: Callable[[str], Persona]) -> None:
    """Four times as many ships of the same sort: the two classes weigh the same, so that a tool half-way between them
    is still half-way."""
    good, bad = (True, [1, 1, 1, -1]), (False, [1, -1, -1, -1])
    shape = [good, bad] * 4 + [good] * 12
    cases = [case(n, *one) for n, one in enumerate(shape)]
    rows = [pulls(*signs) for _, signs in shape]
    even = persona("builder").model_copy(update={"lens": dict.fromkeys(KINDS, 1.0)})
    found = fit(even, cases, rows)
    middle = even.model_copy(update={"calibration": found})
    p_ship = decide(middle, case(0, True, [1, 1, -1, -1]).dossier.evidence, pulls(1, 1, -1, -1))[1]
    assert 0.4 < p_ship < 0.6


def test_where_strengths_tell_nothing_both_sums_get_one_weight(persona: Callable[[str], Persona]) -> None:
    """Tools that ship have fewer strengths here than those that are skipped, but far fewer weaknesses: a fit of two
    weights would hold a strength against a tool."""
    shape = [(True, [1, 0, 0, 0, 0, 0]), (False, [1, 1, -1, -1, -1, -1])] * 6
    cases = [case(n, *one) for n, one in enumerate(shape)]
    found = fit(persona("builder"), cases, [pulls(*(1.5 * sign for sign in signs)) for _, signs in shape])
    assert found.strengths == found.weaknesses > 0


def test_the_order_of_the_cases_does_not_matter(persona: Callable[[str], Persona]) -> None:
    cases, rows = told_apart(3)
    there, back = fit(persona("builder"), cases, rows), fit(persona("builder"), cases[::-1], rows[::-1])
    for name in ("neutral", "intercept", "strengths", "weaknesses"):
        assert getattr(back, name) == pytest.approx(getattr(there, name), abs=0.005)

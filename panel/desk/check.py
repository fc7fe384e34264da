"""What the rules that drafts are held to say of a text: the machine's, or one that an editor is typing.

The rules are those of `panel.grounding` and `panel.validate`; here they only gain places in the text, and a memory,
because an editor's page asks for the same sentences again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from panel.desk.types import MAX_QUOTE, Checked, DossierVersion, Span
from panel.draft import stems_of
from panel.grounding import Grounds, find_ungrounded, grounds
from panel.records import Beat, Decision, Persona, Review
from panel.validate import check_beat, check_review

Known = TypeVar("Known")

_REMEMBERED = 20_000  # texts checked; a few megabytes

#: What is said of a text for which there is nothing to check it against, or too much to check.
NO_DOSSIER = "stands in a record whose card is no valid dossier, so nothing can be checked against it"
TOO_LONG = f"is longer than {MAX_QUOTE} characters"


@cache
def _ordinary() -> frozenset[str]:
    return frozenset(resources.files("panel").joinpath("ordinary_words.txt").read_text(encoding="utf-8").split())


class Checker:
    """Checks texts against dossiers, for one panel of personas. May be used from any thread."""

    def __init__(self, personas: Sequence[Persona]) -> None:
        self.personas: dict[str, Persona] = {persona.slug: persona for persona in personas}
        self._checked: dict[tuple[object, ...], Any] = {}

    def beat(
        self, persona: str, version: DossierVersion | None, beat: Beat, *, machine: bool, before: Sequence[str] = ()
    ) -> Checked:
        """A beat against what it cites.

        Args:
            machine: whether the text is as the model drafted it; only then may it be silent or a quotation.
            before: the beats that stand before it, which it may not repeat.
        """
        if version is None or len(beat.text) > MAX_QUOTE:
            return Checked((), (NO_DOSSIER if version is None else TOO_LONG,))
        key = (persona, version.sha256, beat.text, beat.cites, beat.verbatim, beat.silent, machine, tuple(before))
        return self._remember(key, lambda: self._beat(persona, version, beat, machine, before))

    def _beat(self, persona: str, version: DossierVersion, beat: Beat, machine: bool, before: Sequence[str]) -> Checked:
        stems = self._openings(persona, version, beat.name)
        evidence = {item.id: item for item in version.dossier.evidence}
        if not machine:
            beat = beat.model_copy(update={"verbatim": False, "silent": False})
        stem = beat.text if beat.silent else _opening(beat.text, stems)
        rests = [text.removeprefix(_opening(text, stems)) for text in before]
        cited = self._ground(persona, version, beat.cites)
        found = check_beat(beat, stem, evidence, cited, rests)
        whole = self._ground(persona, version, None)
        spans = _spans(beat.text, stems if not beat.silent else [stem], whole, cited, ", ".join(beat.cites))
        # the words that it should not name are told by their places
        return Checked(spans, tuple(p.message for p in found if not p.message.startswith("names ")))

    def quote(self, persona: str, version: DossierVersion | None, text: str) -> Checked:
        """A quote that an editor wrote as a whole, against all of the dossier."""
        if version is None or len(text) > MAX_QUOTE:
            return Checked((), (NO_DOSSIER if version is None else TOO_LONG,))
        by_beat = self._stems(persona, version).values()
        stems = [stem for by_decision in by_beat for each in by_decision.values() for stem in each]
        whole = self._ground(persona, version, None)
        return Checked(_spans(text, stems, whole, whole, ""), ())

    def beside(self, versions: Iterable[DossierVersion | None], text: str, allowed: str) -> Checked:
        """A text that speaks of all tools, against all of their dossiers and the panel's own figures in `allowed`."""
        known = list(versions)
        if None in known or len(text) > MAX_QUOTE:
            return Checked((), (NO_DOSSIER if None in known else TOO_LONG,))
        persona = next(iter(self.personas))
        parts = [self._ground(persona, version, None) for version in known if version is not None]
        whole = Grounds((), (), frozenset(token for part in parts for token in part.tokens))
        return Checked(_spans(text, [allowed], whole, whole, ""), ())

    def review(self, review: Review, version: DossierVersion | None) -> dict[str, tuple[str, ...]]:
        """What is wrong with a review as a whole, by beat ("" for all of it): beats missing, or arguing otherwise."""
        persona, decision = self.personas.get(review.persona), review.decision
        if persona is None or version is None or decision is None:
            return {}
        pulls = tuple((pull.evidence, pull.log_odds) for pull in review.pulls)
        said = tuple((beat.name, beat.text, beat.cites) for beat in review.beats)
        key = (review.persona, version.sha256, decision, said, pulls)

        def work() -> dict[str, tuple[str, ...]]:
            known = self._stems(review.persona, version)
            stems: dict[str, str] = {}
            for beat in review.beats:
                by_decision = known.get(beat.name, {})
                own = by_decision.get(decision, ())
                opposed = [stem for other, each in by_decision.items() if other != decision for stem in each]
                # an editor may open a sentence with any words, but not with those of the other decision
                against = _opening(beat.text, opposed) and not _opening(beat.text, own)
                stems[beat.name] = own[0] if against and own else _opening(beat.text, own)
            found: dict[str, tuple[str, ...]] = {}
            for problem in check_review(persona, decision, stems, review.beats, dict(pulls)):
                found[problem.beat] = (*found.get(problem.beat, ()), problem.message)
            return found

        return self._remember(key, work)

    def _openings(self, persona: str, version: DossierVersion, beat: str) -> list[str]:
        """Everything that a reviewer may open this beat with, whatever its decision."""
        return [stem for stems in self._stems(persona, version).get(beat, {}).values() for stem in stems]

    def _stems(self, persona: str, version: DossierVersion) -> dict[str, dict[Decision, tuple[str, ...]]]:
        """By beat and decision; nothing for a persona that is not of this panel."""
        known = self.personas.get(persona)
        return self._remember(
            ("stems", persona, version.sha256),
            lambda: {spec.name: stems_of(spec, version.dossier) for spec in known.beats} if known else {},
        )

    def _ground(self, persona: str, version: DossierVersion, cites: tuple[str, ...] | None) -> Grounds:
        known = self.personas.get(persona) or next(iter(self.personas.values()))
        return self._remember(
            ("grounds", persona, version.sha256, cites), lambda: grounds(version.dossier, known, _ordinary(), cites)
        )

    def _remember(self, key: tuple[object, ...], work: Callable[[], Known]) -> Known:
        found: Known | None = self._checked.get(key)
        if found is None:
            found = work()
            if len(self._checked) >= _REMEMBERED:
                self._checked.clear()
            self._checked[key] = found
        return found


def _opening(text: str, stems: Iterable[str]) -> str:
    """The longest of `stems` that `text` starts with, "" for none."""
    return max((stem for stem in stems if text.startswith(stem)), key=len, default="")


def _spans(text: str, allowed: Sequence[str], whole: Grounds, cited: Grounds, cites: str) -> tuple[Span, ...]:
    """What is said of each begins with the word itself."""
    unknown = {match.start() for match in find_ungrounded(text, whole, allowed)}
    spans = []
    for match in find_ungrounded(text, cited, allowed):
        start, end, word = match.start(), match.end(), match.group()
        if start in unknown:
            spans.append(Span(start, end, word, f"{word} is not in the dossier", "ungrounded"))
        else:
            spans.append(Span(start, end, word, f"{word} is not in {cites or 'anything it cites'}", "uncited"))
    return tuple(spans)

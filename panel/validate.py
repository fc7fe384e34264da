"""Is what was drafted true to its evidence? Every check here is plain text work: no model, no file.

A problem is one sentence that a reviewer (or an editor) can act on.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from panel.grounding import NOUN_FOR_CLAUSE, Grounds, ungrounded, wants_noun
from panel.records import Beat, Decision, Evidence, Persona

#: Share of a beat's content words that its cited evidence must have.
SUPPORT = 0.6

_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|without|cannot|neither|nor|lacks?|hardly)\b|n['’]t\b"
    r"|\b(?:instead of|in place of|rather than)\b",
    re.IGNORECASE,
)

#: Pronouns that can only be subjects.
_SUBJECTS = re.compile(r"(?:it|they|he|she|we)\b", re.IGNORECASE)
#: What may put a clause behind a noun: "the fact that, as a guest, it breaks".
_JOINS = re.compile(r"\b(?:that|which|who|where|when|if|how)\b", re.IGNORECASE)

#: What advertisements and models say of anything.
_BOILERPLATE = re.compile(
    r"\b(?:in today's|ever-(?:changing|evolving)|fast-paced|game.?chang\w+|cutting.edge|state.of.the.art|"
    r"next.level|world.class|"
    r"seamless\w*|best.in.class|wide (?:range|variety|array) of|designed to (?:help|be|make)|(?:plays|"
    r"play) an? \w+ role|"
    r"it is (?:important|worth) (?:to|noting)|(?:powerful|great|useful|valuable|good|important) (?:tool|"
    r"solution|product|"
    r"choice|option|feature|way)|(?:makes?|making) it (?:easy|easier|possible|a great)|(?:meets?|"
    r"needs?) of (?:the|its|their) "
    r"users?|easy to use|user.friendly|at the end of the day|when it comes to|take\w* .{0,20}to the next|unlock\w*|"
    r"empower\w*|revolution\w*)\b",
    re.IGNORECASE,
)

# Words that carry a sentence and no fact. A closed class, so a list is honest here.
_FUNCTION_WORDS = frozenset(
    "a an and are as at be been being but by can could did do does for from had has have he her his how if in into is "
    "it its just may might more most much must no none nor not of on one only or other our out over own same she so "
    "some such than that the their them then there these they this those to too under until up very was we were what "
    "when where which while who will with would you your also all any because both each even every few here like made "
    "make makes many no now still use used uses using well without work works way thing things tool product user "
    "users company companies people".split()
)


@dataclass(frozen=True)
class Problem:
    """What is wrong, and with which beat ("" for the whole review). A `doubt` is the model's, not a rule's."""

    beat: str
    message: str
    doubt: bool = False


def content_words(text: str) -> list[str]:
    """The words of `text` that say something, lower-case, cut to a rough stem."""
    words = re.findall(r"[^\W_][\w'-]*", text.lower())
    return [_stem(w) for w in words if w not in _FUNCTION_WORDS and (len(w) > 2 or w.isdigit())]


def _stem(word: str) -> str:
    """machine, machines → machin; plan, planned → plan; company, companies → company. Plurals first."""
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 4 and word.endswith(("sses", "xes", "ches", "shes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    return word.removesuffix("e")[:7] if len(word) > 3 else word


def support(text: str, evidence: Sequence[Evidence]) -> float:
    """Share of the content words of `text` that stand in the cited `evidence`; 0 for a text without any."""
    words = content_words(text)
    known = set(content_words(" ".join(item.text for item in evidence)))
    return sum(w in known for w in words) / len(words) if words else 0.0


def check_beat(
    beat: Beat, stem: str, evidence: Mapping[str, Evidence], ground: Grounds, others: Sequence[str] = ()
) -> list[Problem]:
    """What is wrong with one beat.

    Args:
        stem: what the beat starts with; only what follows it was written by the model.
        evidence: the dossier's evidence by id.
        ground: the vocabulary of the evidence that the beat cites.
        others: texts of other beats that this one may not repeat.
    """
    problems: list[str] = []
    if beat.silent:  # says nothing about the tool, in words that are its persona's
        wrong = bool(beat.cites) or beat.text != stem
        return [Problem(beat.name, "should only say that the dossier does not tell")] if wrong else []
    rest = beat.text.removeprefix(stem).strip()
    cited = [evidence[c] for c in beat.cites if c in evidence]
    problems += [f"cites {c}, which is not in the dossier" for c in beat.cites if c not in evidence]
    if not beat.cites:
        problems.append("cites nothing")
    missing = ungrounded(beat.text, ground, allowed=[stem])
    if missing:
        problems.append(f"names {', '.join(missing)}, which {', '.join(beat.cites) or 'nothing it cites'} does not")
    if beat.verbatim:  # whatever else may be wrong with the sentence, the evidence says it so
        quoted = rest.removeprefix(NOUN_FOR_CLAUSE) if wants_noun(stem) else rest
        if not any(_same_words(quoted, item.text) for item in cited):
            problems.append(f"does not quote {', '.join(beat.cites)} word for word")
        return [Problem(beat.name, message) for message in problems]
    words = re.findall(r"[\w'-]+", rest.lower())
    if len(content_words(rest)) < 2:
        problems.append("says nothing after its opening words")
    elif cited and support(rest, cited) < SUPPORT:
        problems.append(f"is not supported by {', '.join(beat.cites)}")
    if _degenerate(words):
        problems.append("repeats itself")
    else:
        problems += _stutter(rest, cited)
    if _echo(rest, stem):
        problems.append("only repeats its opening words")
    if _clause_for_noun(rest, stem, cited):
        problems.append(f"goes on with a clause, where {stem.split()[-1]!r} wants a noun")
    phrase = boilerplate(rest)
    if phrase:
        problems.append(f"says {phrase!r}, which fits any tool")
    problems += _negation(rest, cited)
    if not rest.endswith("."):
        problems.append("does not end")
    if any(_overlap(rest, other) for other in others):
        problems.append("says what another beat says")
    elif any(_same_end(rest, other) for other in others):
        problems.append("ends as another beat does")
    return [Problem(beat.name, message) for message in problems]


def boilerplate(text: str) -> str | None:
    """The first phrase of `text` that advertisements and models say of anything, or None."""
    found = _BOILERPLATE.search(text)
    return found.group() if found else None


def _same_words(one: str, other: str) -> bool:
    return one.rstrip(".!? ").casefold() == other.rstrip(".!? ").casefold()


def _degenerate(words: Sequence[str]) -> bool:
    """A word three times in a row's reach, or a run of three words twice."""
    if any(a == b for a, b in itertools.pairwise(words)):
        return True
    runs = Counter(tuple(words[i : i + 3]) for i in range(len(words) - 2))
    counts = Counter(w for w in words if w not in _FUNCTION_WORDS)
    return any(n > 1 for n in runs.values()) or any(n > 2 for n in counts.values())


def _stutter(rest: str, cited: Sequence[Evidence]) -> list[str]:
    """Words that come more often than in the evidence: "tables deleted on the upgrade to 0.9 deleted"."""
    known = Counter(content_words(" ".join(item.text for item in cited)))
    again = [word for word, count in Counter(content_words(rest)).items() if count > max(1, known[word])]
    return [f"says {', '.join(again)} more often than its evidence"] if again else []


def _echo(rest: str, stem: str) -> bool:
    said = set(content_words(stem))
    words = content_words(rest)
    return len(said) > 1 and bool(words) and sum(w in said for w in words) * 2 > len(words)


def _clause_for_noun(rest: str, stem: str, cited: Sequence[Evidence]) -> bool:
    """A whole clause after a word that no clause can follow: "with Apache 2.0 covers the weights", "over today, it
    breaks". It is known by its subject, or by being the evidence's own.
    """
    if not wants_noun(stem):
        return False
    openings = [re.split(r"[,;:.!?](?:\s|$)", item.text, maxsplit=1)[0] for item in cited]
    if any(len(words.split()) > 2 and re.match(rf"{re.escape(words)}\b", rest, re.IGNORECASE) for words in openings):
        return True
    first, _, then = rest.partition(", ")
    return bool(_SUBJECTS.match(rest) or (_SUBJECTS.match(then) and not _JOINS.search(first)))


def _negation(rest: str, cited: Sequence[Evidence]) -> list[str]:
    """A denial in the evidence that the beat drops, or one that it adds: clause by clause, each with the clause of
    the evidence that shares most words with it."""
    for item in cited:
        known = [(set(content_words(clause)), _denials(clause)) for clause in _clauses(item.text)]
        for clause in _clauses(rest):
            words = set(content_words(clause))
            close, denials = max(known, key=lambda other: len(words & other[0]), default=(set(), 0))
            if len(words & close) >= min(2, len(close)) and len(words & close) and _denials(clause) % 2 != denials % 2:
                return [f"turns the sense of {item.id} around"]
    return []


def _clauses(text: str) -> list[str]:
    return [clause for clause in re.split(r"[,;:]| and | but | so | which | while ", text) if content_words(clause)]


def _same_end(one: str, other: str) -> bool:
    """Whether both close with the same clause, of three words or more, after a comma."""
    a, b = (text.rstrip(".! ").lower().rpartition(",")[2].split() for text in (one, other))
    return len(a) >= 3 and a == b and "," in one and "," in other


def _denials(clause: str) -> int:
    return len(_NEGATION.findall(clause))


def _overlap(one: str, other: str) -> bool:
    a, b = set(content_words(one)), set(content_words(other))
    return bool(a and b) and len(a & b) >= 0.8 * len(a | b)


def check_review(
    persona: Persona,
    decision: Decision,
    stems: Mapping[str, str],
    beats: Sequence[Beat],
    pulls: Mapping[str, float] = MappingProxyType({}),
) -> list[Problem]:
    """What is wrong with a review as a whole: beats missing, in another order, or arguing for the other decision.

    Args:
        stems: what each beat should start with.
        pulls: log-odds by evidence id; a beat may not rest on evidence that pulls the other way.
    """
    problems = []
    signs = {"decision": 1 if decision == "ship" else -1, "strength": 1, "weakness": -1}
    about = {spec.name: spec.about for spec in persona.beats}
    wanted = [spec.name for spec in persona.beats]
    if [b.name for b in beats] != wanted:
        problems.append(Problem("", f"answers {[b.name for b in beats]} instead of {wanted}"))
    for beat in beats:
        stem = stems.get(beat.name, "")
        if not beat.text.startswith(stem):
            problems.append(Problem(beat.name, f"does not argue for {decision}: it should start with {stem!r}"))
        sign = signs[about.get(beat.name, "decision")]
        against = [cite for cite in beat.cites if pulls.get(cite, 0.0) * sign < 0]
        if against:
            problems.append(Problem(beat.name, f"rests on {', '.join(against)}, which pulls the other way"))
    return problems

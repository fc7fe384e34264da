"""JUnit XML: a suite per persona, a case per persona × probe.

Attributes are those that both the schema of Jenkins and the readers for GitHub know (github.com/testmoapp/junitxml
describes what they have in common). There is no time in it: the same run gives the same bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree

from evals.report.checks import Check, Status, checks
from evals.report.names import persona_name
from evals.stability.record import Stability
from evals.stability.verdict import Gate
from panel.records import strip_unprintable

_TAGS = {"failed": "failure", "error": "error", "skipped": "skipped"}
#: What no XML 1.0 document may hold, not even as a reference.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(run: Stability, gate: Gate | None = None) -> str:
    everything = checks(run, gate)
    totals = _counts(everything)
    del totals["skipped"]  # the schema has it on suites alone
    root = ElementTree.Element("testsuites", {"name": "review-panel stability", **totals})
    for who in dict.fromkeys(check.persona for check in everything):
        own = [check for check in everything if check.persona == who]
        suite = ElementTree.SubElement(root, "testsuite", {"name": _plain(persona_name(who)), **_counts(own)})
        for check in own:
            _case(suite, check)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _counts(own: Sequence[Check]) -> dict[str, str]:
    said = Counter(check.status for check in own)
    counted: dict[str, Status] = {"failures": "failed", "errors": "error", "skipped": "skipped"}
    return {"tests": str(len(own)), **{name: str(said[status]) for name, status in counted.items()}}


def _case(suite: ElementTree.Element, check: Check) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", {"classname": f"review-panel.{check.persona}", "name": _plain(check.probe)}
    )
    if check.status != "passed":
        told = {"message": _plain(check.sentences[0]), "type": check.kind or check.status}
        ElementTree.SubElement(case, _TAGS[check.status], told).text = _plain("\n".join((*check.sentences, check.told)))
    if check.told:
        ElementTree.SubElement(case, "system-out").text = _plain(check.told)


def _plain(text: str) -> str:
    return _NO_XML.sub("", strip_unprintable(text)).strip()

"""Gold that is dealt out anew is the same gold, on other tools."""

from __future__ import annotations

import random

from evals.tuning import dealt
from tests.evals.world import world


def test_the_same_verdicts_go_to_other_tools() -> None:
    cases = world()
    found = dealt(cases, random.Random(1))  # noqa: S311
    assert [case.dossier for case in found] == [case.dossier for case in cases]
    assert [case.gold.pulls for case in found] == [case.gold.pulls for case in cases]
    before, after = ([sorted(case.gold.verdicts.items()) for case in some] for some in (cases, found))
    assert sorted(after) == sorted(before)
    assert after != before
    assert dealt(cases, random.Random(1)) == found  # noqa: S311

"""The statistics that judge runs: pure functions of verdicts and p_ship, each tested on judges with known answers.

flips.py        does a verdict stay the same: mode, entropy, flips, direction, McNemar
paired.py       two runs cell by cell: differences, Holm, what could have been found
agreement.py    do personas say the same: Krippendorff's alpha, correlation, what a persona adds
gold.py         right or wrong: Brier score, calibration curve, confusion
coverage.py     do the intervals hold what they promise (`python -m evals.statistics.coverage`)
"""

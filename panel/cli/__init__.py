"""The command line: `review-panel`. Nothing but parsing, printing and exit codes.

Exit codes: 0 done; 1 done, with unscored reviews or a failed gate; 2 the input or the set-up is wrong; 130 stopped by
Ctrl-C. The gate of `eval` has more: 3 inconclusive, 4 unreliable baseline, 5 not comparable.
"""

from panel.cli.app import main

__all__ = ["main"]

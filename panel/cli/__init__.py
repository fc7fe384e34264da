"""The command line: `review-panel`. Nothing but parsing, printing and exit codes.

Exit codes: 0 done; 1 done, with unscored reviews; 2 the input or the set-up is wrong; 130 stopped by Ctrl-C.
"""

from panel.cli.app import main

__all__ = ["main"]

"""Studies: one strategy with many parameters on the same bars.

Belongs here: which parameters are tried, what each trial comes to, and the proof that it is Backtrader's own result.
Does not belong here: running one trial (see `research.engine`), the terminal.
"""

from research.study.grid import GridResult, run_grid
from research.study.ranges import parse_ranges

__all__ = ["GridResult", "parse_ranges", "run_grid"]

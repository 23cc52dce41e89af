"""Studies: one strategy with many parameters on the same bars.

Belongs here: which parameters are tried, what each trial comes to, and the proof that it is Backtrader's own result.
Does not belong here: running one trial (see `research.engine`), the terminal.
"""

from research.study.grid import GridResult, grid_points, run_grid
from research.study.ranges import parse_ranges
from research.study.trial import check_metric, is_compiled
from research.study.workers import local_workers

__all__ = [
    "GridResult",
    "check_metric",
    "grid_points",
    "is_compiled",
    "local_workers",
    "parse_ranges",
    "run_grid",
]

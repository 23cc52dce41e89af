"""Studies: one strategy with many parameters on the same bars.

Belongs here: which parameters are tried, what each trial comes to, and the proof that it is Backtrader's own result.
Does not belong here: running one trial (see `research.engine`), statistics over the trials, the terminal.
"""

from research.study.batch import Batch, Criterion, batch_table, load_batch, rejections
from research.study.estimate import Estimate, estimate
from research.study.grid import GridResult, grid_points, run_grid
from research.study.objective import Objective, check_metric
from research.study.outcome import FoldOutcome, Progress, SearchResult, StudyTrial, TrialState
from research.study.ranges import parse_ranges
from research.study.records import (
    StudyRecord,
    TrialsEver,
    list_studies,
    load_study,
    record_hold_out,
    save_assessment,
    studies_folder,
    study_folder,
    trials_ever,
)
from research.study.run import run_study
from research.study.search import search
from research.study.space import Dimension, SearchSpace
from research.study.specification import Penalties, Pruning, StudySpecification, load_specification
from research.study.trial import is_compiled
from research.study.workers import local_workers

__all__ = [
    "Batch",
    "Criterion",
    "Dimension",
    "Estimate",
    "FoldOutcome",
    "GridResult",
    "Objective",
    "Penalties",
    "Progress",
    "Pruning",
    "SearchResult",
    "SearchSpace",
    "StudyRecord",
    "StudySpecification",
    "StudyTrial",
    "TrialState",
    "TrialsEver",
    "batch_table",
    "check_metric",
    "estimate",
    "grid_points",
    "is_compiled",
    "list_studies",
    "load_batch",
    "load_specification",
    "load_study",
    "local_workers",
    "parse_ranges",
    "record_hold_out",
    "rejections",
    "run_grid",
    "run_study",
    "save_assessment",
    "search",
    "studies_folder",
    "study_folder",
    "trials_ever",
]

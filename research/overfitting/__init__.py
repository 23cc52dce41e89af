"""How far the result of a study can be trusted: honest statistics.

Belongs here: pure functions on returns, trials and parameters. Does not belong here: running backtests, files, Dagster.
"""

from research.overfitting.bootstrap import block_length, resampled_rows
from research.overfitting.clustering import Clusters, cluster_trials
from research.overfitting.cscv import Overfitting, probability_of_overfitting
from research.overfitting.monte_carlo import Band, Futures, of_returns, of_trades
from research.overfitting.multiple_testing import Superiority, superior_ability
from research.overfitting.sensitivity import Endurance, endurance
from research.overfitting.sharpe import (
    Moments,
    deflated_sharpe,
    expected_maximum,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
    sharpe_ratios,
)
from research.overfitting.surface import Drift, Plateau, drift, plateau, unread_parameters
from research.overfitting.verdict import CHECKS, GRAVITY, Finding, Limits, Severity, Thresholds, judge, load_thresholds

__all__ = [
    "CHECKS",
    "GRAVITY",
    "Band",
    "Clusters",
    "Drift",
    "Endurance",
    "Finding",
    "Futures",
    "Limits",
    "Moments",
    "Overfitting",
    "Plateau",
    "Severity",
    "Superiority",
    "Thresholds",
    "block_length",
    "cluster_trials",
    "deflated_sharpe",
    "drift",
    "endurance",
    "expected_maximum",
    "judge",
    "load_thresholds",
    "minimum_track_record",
    "moments",
    "of_returns",
    "of_trades",
    "plateau",
    "probabilistic_sharpe",
    "probability_of_overfitting",
    "resampled_rows",
    "sharpe_ratios",
    "superior_ability",
    "unread_parameters",
]

"""The backtest engine: an experiment and its bars in, what happened out.

Belongs here: running, on the fastest engine that gives Backtrader's own result bit for bit. Does not belong here:
loading bars, metrics, files.
"""

from research.engine.choice import Engine, engine_named
from research.engine.run import PreparedRun, Rig, limits_of, prepare_run, replay, run_backtest, strategy_of

__all__ = [
    "Engine",
    "PreparedRun",
    "Rig",
    "engine_named",
    "limits_of",
    "prepare_run",
    "replay",
    "run_backtest",
    "strategy_of",
]

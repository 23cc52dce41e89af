"""SMACrossover on the bars of a work.

Belongs here: the prepared run. Does not belong here: works, running it.
"""

from collections.abc import Mapping
from datetime import date

from research.engine import PreparedRun, strategy_of
from research.experiment import Experiment
from research.feed import SymbolBars
from risk.limits import Limits
from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution

_STRATEGY = "strategies.sma_crossover.SMACrossover"


def crossover(bars: Mapping[str, SymbolBars], resolution: Resolution, cash: float, **params: int) -> PreparedRun:
    """With the costs and limits of an experiment that says nothing about them."""
    chosen = params or {"sma_short": 10, "sma_long": 30}
    experiment = Experiment(
        name="bench", strategy=_STRATEGY, params=chosen, symbols=tuple(bars), start=date(2000, 1, 1),
        end=date(2030, 1, 1), resolution=resolution, cash=cash,
    )  # fmt: skip
    strategy, complete = strategy_of(experiment)
    return PreparedRun(
        experiment, strategy, complete, Limits.default(), experiment.costs.build(), get_calendar("XNYS"), bars
    )

"""Random markets, declarations, costs and limits, and the same run on Backtrader's loop and on the kernel.

Belongs here: what the tests of the kernel share. Does not belong here: tests.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from research.engine import PreparedRun, replay
from research.engine.choice import Engine
from research.engine.kernel import Kernel, KernelRun, records_of, run_output
from research.engine.verify import EngineDifference, first_difference
from research.run_output import RunOutput
from research.study.trial import with_params
from risk.states import HaltState
from strategies.base_strategy import BaseStrategy
from strategies.declaration import Signals
from tests.unit.research.scenarios import prepared, table
from warehouse.calendar import get_calendar

_CALENDAR = get_calendar("XNYS")
_MINUTE = np.timedelta64(1, "m")


@dataclass(frozen=True, slots=True)
class Case:
    """One run: what it is made of follows from the seed."""

    seed: int
    symbols: int = 1
    minute: bool = False
    gaps: bool = False
    shorts: bool = False
    exits: bool = False  # stops, trails, take-profits
    thin: bool = False  # volumes so small that orders are carried over
    costs: Any = "none"
    limits: Any = "none"
    busy: float = 0.15  # part of the bars at which something is declared

    @property
    def prepared(self) -> PreparedRun:
        """The run, ready for any engine."""
        rng = np.random.default_rng(self.seed)
        tables = [_bars(self, rng, chr(ord("A") + number)) for number in range(self.symbols)]
        ready = prepared(declaring(self), *tables, costs=self.costs, limits=self.limits, cash=_cash(rng))
        params = ready.strategy.space.defaults | {
            "allow_short": self.shorts,
            "target_fraction": float(rng.choice([0.3, 0.95, 1.0])),
            "cash_reserve": float(rng.choice([0.0, 0.05])),
        }
        return with_params(ready, params)


def _cash(rng):
    return float(rng.choice([1_000.0, 10_000.0, 100_000.0, 54_321.98]))


def _bars(case, rng, symbol):
    count = int(rng.integers(25, 60))
    resolution = float(rng.choice([0.01, 0.5, 0.0001]))
    close = 20.0 * np.exp(np.cumsum(rng.normal(0, 0.03, count)))
    opens = np.where(rng.random(count) < 0.3, np.r_[close[0], close[:-1]], close * np.exp(rng.normal(0, 0.02, count)))
    close, opens = (np.maximum(np.round(prices / resolution), 1) * resolution for prices in (close, opens))
    if rng.random() < 0.2:
        opens[5:12] = close[5:12] = close[5]
    high = np.maximum(opens, close) + resolution * rng.integers(0, 60, count) * (rng.random(count) < 0.8)
    low = np.minimum(opens, close) - np.minimum(resolution * rng.integers(0, 60, count), np.minimum(opens, close) / 3)
    volume = np.round(np.exp(rng.normal(7 if case.thin else 14, 1.5, count)))
    stamps, keep = _stamps(case, rng, count), np.ones(count, bool)
    if case.gaps:
        keep = rng.random(count) < 0.85
        keep[: int(rng.integers(0, 12))] = False
        keep[-3] = True
    columns = [column[keep] for column in (opens, high, low, close, volume)]
    return table(symbol, stamps[keep], *columns, resolution="1m" if case.minute else "1d")


def _stamps(case, rng, count):
    days = _CALENDAR.days[-900:-500]
    closes = _CALENDAR.closes[np.isin(_CALENDAR.days, days)].astype("datetime64[us]")
    if not case.minute:
        return closes[:count]
    # a few sessions of some minutes each, the last ones near the close
    starts = closes[:12, None] - _MINUTE * 9 + _MINUTE * np.arange(10)[None, :]
    return starts.ravel()[:count]


def declaring(case):
    """A strategy class with a random declaration, a pure function of a symbol's name and bars."""

    class Declaring(BaseStrategy):
        @classmethod
        def signals(cls, bars, p):
            rng = np.random.default_rng([case.seed, ord(bars.symbol)])
            count = len(bars)
            flags = [rng.random(count) < case.busy for _ in range(4)]
            if rng.random() < 0.3:
                flags[2] = flags[3] = np.zeros(count, bool)
            away = {}
            if case.exits:
                scale = bars.close * float(rng.choice([0.01, 0.03]))
                for name, chance in (("stop", 0.8), ("trail", 0.5), ("take_profit", 0.5)):
                    if rng.random() < chance:
                        away[name] = scale * rng.uniform(0.3, 2.0, count)
            ready = int(rng.integers(0, 15))
            return Signals(ready, *flags, **away, exits_first=bool(rng.random() < 0.3))

    return Declaring


def on_kernel(ready: PreparedRun) -> tuple[KernelRun, RunOutput | None]:
    """The run on the kernel; its output also where limits acted, without their words."""
    kernel = Kernel.prepare(ready)
    run = kernel.run(ready.params)
    records = records_of(kernel, replace(run, acted=False), ready)
    return run, None if records is None else run_output(records, ready)


def difference(ready: PreparedRun) -> tuple[EngineDifference | str | None, KernelRun]:
    """The first difference between Backtrader's loop and the kernel, and the kernel's run."""
    run, output = on_kernel(ready)
    if run.uncertain is not None:
        return None, run
    vanilla = replay(ready, engine=Engine.VANILLA)
    if bool(vanilla.risk_events) != run.acted:
        return f"acted: {run.acted}, but {len(vanilla.risk_events)} risk events", run
    if vanilla.final_halt.severity != run.halt:
        return f"halt: {run.halt} instead of {vanilla.final_halt}", run
    if run.acted:
        vanilla, output = _without_words(vanilla), _without_words(output)
    return first_difference(vanilla, output), run


def _without_words(output):
    return replace(output, orders=output.orders.drop_columns("reason"), risk_events=(), final_halt=HaltState.ACTIVE)

"""The same parameters under other circumstances: dearer, later, begun on another day.

Belongs here: the runs and what each one measures. Does not belong here: whether that is bad (see
`research.overfitting`), multiplying costs and delaying orders themselves (see `broker.costs`, `delay`).

An edge that is there does not hang on the third decimal of a fee, on the very next bar, or on the day on which the
backtest happened to begin.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from research.engine import PreparedRun, replay
from research.errors import ResearchError
from research.feed import SymbolBars
from research.run_output import RunOutput

Measure = Callable[[RunOutput], float | None]

COST_MULTIPLES = (0, 1, 2, 4)
START_SHIFTS = 8
_FARTHEST = 21  # sessions: about a month
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Variant:
    """One run. `value` is None where it measured nothing, with a `reason` in one sentence."""

    kind: str  # "costs" | "delay" | "start"
    amount: int  # multiple of the costs, bars of delay, sessions by which the start is moved
    value: float | None
    reason: str | None = None


def with_costs(prepared: PreparedRun, measure: Measure, multiples: Sequence[int] = COST_MULTIPLES) -> list[Variant]:
    """Commission, fees and slippage so many times as high; interest and what can be filled stay."""
    return [_ran("costs", times, replace(prepared, costs=prepared.costs.scaled(times)), measure) for times in multiples]


def with_delay(prepared: PreparedRun, measure: Measure, bars: int = 1) -> Variant:
    """Every order reaches the market so many bars later."""
    return _ran("delay", bars, replace(prepared, delay=bars), measure)


def with_other_starts(
    prepared: PreparedRun, measure: Measure, *, count: int = START_SHIFTS, seed: int = 0
) -> list[Variant]:
    """The start moved forward by some sessions, at most a month and at most a tenth of the range."""
    sessions = np.unique(np.concatenate([bars.sessions for bars in prepared.bars.values()]))
    farthest = min(_FARTHEST, len(sessions) // 10)
    generator = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    shifts = sorted(generator.sample(range(1, farthest + 1), min(count, farthest)))
    return [_ran("start", shift, _begun_later(prepared, int(sessions[shift])), measure) for shift in shifts]


def _ran(kind: str, amount: int, prepared: PreparedRun, measure: Measure) -> Variant:
    empty = next((name for name, bars in prepared.bars.items() if not len(bars)), None)
    if empty is not None:
        return Variant(kind, amount, None, f"{empty} has no bars left.")
    try:
        value = measure(replay(prepared))
    except ResearchError as error:
        return Variant(kind, amount, None, str(error))
    return Variant(kind, amount, value, None if value is not None else "The run gives no such figure.")


def _begun_later(prepared: PreparedRun, day: int) -> PreparedRun:
    """The run from a session (a day number) on; bars before it are gone for the indicators too."""
    experiment = prepared.experiment.model_copy(update={"start": _EPOCH + timedelta(days=day)})
    return replace(prepared, experiment=experiment, bars={n: since(bars, day) for n, bars in prepared.bars.items()})


def since(bars: SymbolBars, day: int) -> SymbolBars:
    """The bars of the sessions from a day number on."""
    at = int(np.searchsorted(bars.sessions, day))
    return SymbolBars(
        bars.symbol, bars.ts[at:], bars.sessions[at:],
        bars.open[at:], bars.high[at:], bars.low[at:], bars.close[at:], bars.volume[at:],
    )  # fmt: skip

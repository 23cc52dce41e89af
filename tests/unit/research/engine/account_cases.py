"""Random experiments: bars of an exchange, costs, risk limits, and a strategy that declares random decisions.

Belongs here: what such a case is, making one from a seed, running it on an engine, making it smaller. Does not belong
here: cases of plain Backtrader (see `cases`).
"""

import datetime as dt
import functools
import math
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from broker.errors import BrokerError
from research.engine import replay
from research.engine.choice import Engine
from research.engine.kernel import Kernel, records_of, run_output
from research.engine.run import limits_of
from research.errors import IneligibleError, ResearchError
from strategies.base_strategy import BaseStrategy
from strategies.declaration import Signals
from strategies.errors import ParameterError
from strategies.parameters import Choice, Float, Int, ParameterSpace
from strategies.registry import LIBRARY, load_strategy
from tests.unit.research.engine.cases import Case, Step, case_of
from tests.unit.research.engine.recording import Recording
from tests.unit.research.engine.scripted import CAUGHT, strategy_class
from tests.unit.research.scenarios import prepared, table
from warehouse.calendar import get_calendar


class Declared(BaseStrategy):
    """Declares decisions that chance makes, the same ones at a bar however many bars follow it."""

    space = ParameterSpace(
        {
            "chance": Int(0, 10, default=0, valid=(0, 10**9)),
            "often": Float(0.0, 1.0, default=0.1, valid=(0.0, 1.0)),
            "ready": Int(0, 50, default=0, valid=(0, 10**6)),
            "stop": Float(0.0, 1.0, default=None, valid=(-10.0, 10.0), optional=True),
            "trail": Float(0.0, 1.0, default=None, valid=(-10.0, 10.0), optional=True),
            "profit": Float(0.0, 1.0, default=None, valid=(-10.0, 10.0), optional=True),
            "odd": Choice(False, True),
            "exits_first": Choice(False, True),
        }
    )

    @classmethod
    def signals(cls, bars, p):
        chance = np.random.default_rng([p.chance, *bars.symbol.encode()])
        draws = chance.random((len(bars), 8))
        decisions = draws[:, :4] < p.often * np.array([1.0, 0.7, 0.8, 0.8])
        parts = ((4, p.stop), (5, p.trail), (6, p.profit))
        distances = [cls._distance(bars, draws[:, column], part) for column, part in parts]
        if p.odd and distances[0] is not None:
            distances[0][draws[:, 7] < 0.1] = math.nan
        return Signals(p.ready, *(np.array(column) for column in decisions.T), *distances, exits_first=p.exits_first)

    @staticmethod
    def _distance(bars, draws, part):
        return None if part is None else bars.close * part * (0.5 + draws.round(1))


@dataclass(frozen=True, slots=True)
class AccountCase:
    """One experiment: bars (open, high, low, close, volume by symbol and moment) and everything else of it."""

    stamps: tuple[tuple[dt.datetime, ...], ...]
    rows: tuple[tuple[tuple[float, ...], ...], ...]
    intraday: bool
    strategy: str  # "declared", "scripted" or the dotted path of one of the library
    params: dict[str, Any]
    costs: dict[str, Any]
    limits: dict[str, Any]
    cash: float
    script: Case | None = None


# ------------------------------------------------------------------------------------------------------------- making
def account_case(seed: int, kind: str = "declared", bars: int = 60) -> AccountCase:
    """The experiment of a seed.

    Args:
        seed: any whole number.
        kind: "declared" for the strategy above, "library" for one that ships, "scripted" for one of `cases`.
        bars: about how many bars a symbol has.
    """
    draw = random.Random(seed)  # noqa: S311
    intraday = draw.random() < 0.35
    clock = _minutes(draw, bars) if intraday else _days(draw, bars)
    count = draw.choice((1, 1, 2, 2, 3, 4))
    holes = draw.random() < 0.25
    stamps = tuple(_kept(draw, clock, holes) for _ in range(count))
    case = AccountCase(
        stamps=stamps,
        rows=tuple(_rows(draw, len(own)) for own in stamps),
        intraday=intraday,
        strategy=draw.choice(LIBRARY) if kind == "library" else kind,
        params={},
        costs=_costs(draw),
        limits=_limits(draw, intraday),
        cash=draw.choice((100_000.0, 10_000.0, 1_000_000.0, 2_500.5)),
        script=_script(seed, count) if kind == "scripted" else None,
    )
    return replace(case, params=_params(draw) if kind == "declared" else _params_of(draw, case.strategy))


@functools.cache
def _sessions():
    return get_calendar("XNYS").sessions(dt.date(2024, 1, 2), dt.date(2024, 12, 31))


def _days(draw: random.Random, bars: int) -> list[dt.datetime]:
    first = draw.randrange(40)
    days = _sessions()[first : first + max(2, round(bars * draw.choice((0.1, 0.5, 1, 1, 2))))]
    return [get_calendar("XNYS").close_utc(day).replace(tzinfo=None) for day in days]


def _minutes(draw: random.Random, bars: int) -> list[dt.datetime]:
    """A few sessions, one of which ends early, with bars at the open, now and then, and up to the close."""
    first = draw.choice((0, 3, 125))  # 2024-07-03 closes at 13:00 New York
    days = _sessions()[first : first + draw.choice((1, 2, 3, 4))]
    each = max(2, bars // len(days))
    moments = []
    for day in days:
        close = get_calendar("XNYS").close_utc(day).replace(tzinfo=None)
        opened = dt.datetime.combine(day, dt.time(14, 30))
        late = [close - dt.timedelta(minutes=minute) for minute in range(each // 2)]
        early = [opened + dt.timedelta(minutes=minute + 1) for minute in range(each - len(late))]
        moments += sorted({*early, *late})
    return sorted(set(moments))


def _kept(draw: random.Random, clock: list[dt.datetime], holes: bool) -> tuple[dt.datetime, ...]:
    begin = draw.randrange(len(clock)) if draw.random() < 0.25 else 0
    own = clock[begin:]
    if holes:
        own = [moment for moment in own if draw.random() < 0.8] or own[:1]
        own = own[: draw.randint(1, len(own))] if draw.random() < 0.3 else own
    return tuple(own)


def _rows(draw: random.Random, count: int) -> tuple[tuple[float, ...], ...]:
    tick = draw.choice((0.01, 0.01, 0.25, 1.0))
    reach = draw.choice((0, 1, 5, 40, 200))
    level = draw.choice((300, 2_000, 10_000, 40_000))
    wild = draw.random() < 0.15
    rows = []
    for _ in range(count):
        opened = max(2, level + (draw.randint(-reach, reach) if draw.random() < 0.6 else 0))
        if wild and draw.random() < 0.1:
            opened = max(2, round(opened * draw.choice((0.5, 0.8, 1.3, 2.0))))
        closed = max(2, opened + draw.randint(-reach, reach))
        high = max(opened, closed) + draw.randint(0, reach)
        low = max(1, min(opened, closed) - draw.randint(0, reach))
        volume = draw.choice((0.0, 10.0, 250.0, 1e4, 1e5, 1e7, 1e7))
        rows.append((*(round(price * tick, 6) for price in (opened, high, low, closed)), volume))
        level = closed
    return tuple(rows)


def _params(draw: random.Random) -> dict[str, Any]:
    params: dict[str, Any] = {
        "chance": draw.randrange(10**6),
        "often": draw.choice((0.02, 0.1, 0.3, 0.8)),
        "ready": draw.choice((0, 0, 1, 5, 20, 10**5)),
        "exits_first": draw.random() < 0.5,
        "allow_short": draw.random() < 0.6,
        "odd": draw.random() < 0.1,
    }
    for name in ("stop", "trail", "profit"):
        if draw.random() < 0.5:
            params[name] = draw.choice((0.001, 0.01, 0.01, 0.05, 0.05, 0.3, 0.0, -0.01, 1.5))
    for name, values in _SIZING.items():
        if draw.random() < 0.25:
            params[name] = draw.choice(values)
    return params


def _params_of(draw: random.Random, dotted: str) -> dict[str, Any]:
    """Parameters of a strategy of the library, with periods that fit into few bars."""
    if dotted not in LIBRARY:
        return {}
    space = load_strategy(dotted).space
    while True:
        params = {name: _value(draw, space.parameters[name]) for name in space.tuned}
        params |= {name: draw.choice(values) for name, values in _SIZING.items() if draw.random() < 0.15}
        params["allow_short"] = draw.random() < 0.6
        try:
            space.validate({**space.defaults, **params})
        except ParameterError:
            continue
        return params


def _value(draw: random.Random, parameter: Any) -> Any:
    if isinstance(parameter, Int):
        least = (parameter.valid or (parameter.low, parameter.high))[0]
        return least + draw.randrange(9) if draw.random() < 0.8 else parameter.low
    if isinstance(parameter, Float):
        return round(draw.uniform(parameter.low, parameter.high), draw.choice((1, 2, 9)))
    return draw.choice(parameter.options)


_SIZING = {
    "target_fraction": (0.1, 0.5, 1.0, 1.9, 4.0),
    "cash_reserve": (0.0, 0.3),
    "max_position_size": (0.05, 0.4, 2.0),
    "max_concentration": (0.1, 0.5, 3.0),
    "max_gross_exposure": (0.3, 0.9, 1.5),
    "max_daily_loss": (0.005, 0.02),
    "max_drawdown": (0.02, 0.1),
}


def _costs(draw: random.Random) -> dict[str, Any]:
    return {
        "model": draw.choice(("ibkr_fixed", "ibkr_tiered", "none", "ibkr_fixed")),
        "slippage": draw.choice((
            {"kind": "none"}, {"kind": "bps"}, {"kind": "bps", "bps": 30.0}, {"kind": "half_spread", "spread_bps": 7.0},
            {"kind": "volume_share"}, {"kind": "volume_share", "impact": 0.9},
        )),
        "participation": draw.choice((None, None, 0.1, 0.01, 1.0)),
        "borrow_rate": draw.choice((0.0, 0.0025, 0.2)),
        "margin_rate": draw.choice((0.0, 0.06, 0.3)),
        "cash_rate": draw.choice((0.0, 0.0, 0.04)),
    }  # fmt: skip


_LIMITS = {
    "max_position_shares": (10, 100, 333.5),
    "max_position_value": (1_000.0, 20_000.0),
    "max_position_fraction": (0.1, 0.6, 1.0),
    "max_gross_exposure": (0.3, 1.0, 2.0),
    "max_net_exposure": (0.3, 1.0),
    "max_order_value": (500.0, 10_000.0),
    "price_collar": (0.01, 0.2),
    "max_orders_per_minute": (1, 3),
    "max_orders_per_session": (1, 2, 5),
    "max_open_orders": (1, 2),
    "allow_shorting": (False, True),
    "max_daily_loss": (50.0, 2_000.0),
    "max_daily_loss_fraction": (0.002, 0.05),
    "on_daily_loss": ("HALT_ENTRIES", "REDUCE_ONLY", "FLATTEN"),
    "max_drawdown": (0.01, 0.2),
    "on_drawdown": ("HALT_ENTRIES", "REDUCE_ONLY", "FLATTEN"),
    "max_consecutive_losses": (1, 2, 4),
    "cooldown_minutes": (1.0, 60.0, 5_000.0),
    "flat_before_close_minutes": (5.0, 20.0, 500.0),
}


def _limits(draw: random.Random, intraday: bool) -> dict[str, Any]:
    share = draw.choice((0.0, 0.0, 0.08, 0.3))
    limits = {name: draw.choice(values) for name, values in _LIMITS.items() if draw.random() < share}
    if intraday and share and draw.random() < 0.3:
        limits["flat_before_close_minutes"] = draw.choice((5.0, 20.0))
    return limits


_NOT_HERE = ("change", "fail", "setsizer")  # what our broker forbids or has no use for


def _script(seed: int, symbols: int) -> Case:
    case = case_of(seed, exotic=0.0)
    steps = [step for step in case.steps if step.kind not in _NOT_HERE]
    return replace(
        case,
        steps=tuple(_about(step, symbols) for step in steps),
        indicators=tuple(words for words in case.indicators if _feeds(words) <= {0}),
        analyzers=(),
        broker=(),
        cerebro=(),
        extras=(),
        sizer=None,
    )


def _about(step: Step, symbols: int) -> Step:
    if "data" not in step.args:
        return step
    return replace(step, args={**step.args, "data": step.args["data"] % symbols})


def _feeds(words: Any) -> set[int]:
    """The feeds that an expression reads."""
    if not isinstance(words, tuple):
        return set()
    own = {words[1]} if words[0] == "line" else {words[2]} if words[0] == "bars" else set()
    return own.union(*(_feeds(part) for part in words[1:]))


# ------------------------------------------------------------------------------------------------------------ running
def prepare(case: AccountCase, recording: Recording) -> Any:
    """The case as what engines take."""
    resolution = "1m" if case.intraday else "1d"
    tables = [
        table(f"S{number}", pd.DatetimeIndex(own), *zip(*rows, strict=True), resolution=resolution)
        for number, (own, rows) in enumerate(zip(case.stamps, case.rows, strict=True))
    ]
    strategy, params = Declared if case.strategy == "declared" else case.strategy, {}
    if case.strategy in LIBRARY:
        strategy = load_strategy(case.strategy)
    elif case.strategy == "scripted":
        strategy, params = strategy_class(case.script.hooks), {"case": case.script, "recording": recording}
    ready = prepared(strategy, *tables, params=params, costs=case.costs, limits=case.limits or "none", cash=case.cash)
    if case.strategy == "scripted":
        return ready
    full = strategy.space.validate({**strategy.space.defaults, **case.params})
    return replace(ready, params=full, limits=limits_of(ready.experiment, strategy, full))


def carry_out(case: AccountCase, engine: Engine) -> tuple[Recording, str | None]:
    """Run a case: everything that came out of it, and the engine that ran it (None where none did).

    Raises:
        IneligibleError: the engine cannot run it.
    """
    recording = Recording()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            output = replay(prepare(case, recording), engine=engine)
        except IneligibleError:
            raise
        except ResearchError as error:
            recording.note("refused", type(error).__name__, str(error))
            return recording, None
        except (*CAUGHT, BrokerError) as error:
            recording.note("fails", type(error).__name__)
            return recording, None
    write_output(recording, output)
    return recording, output.engine


def carry_out_numbers(case: AccountCase) -> tuple[Recording, Recording] | None:
    """What came out of a case on Backtrader's loop and on the kernel, without the risk guard's words.

    The kernel keeps none, so that a run in which a limit acted is no result of it; a study uses its numbers. None where
    the kernel is not certain.
    """
    ready = prepare(case, Recording())
    kernel = Kernel.prepare(ready)
    run = kernel.run(ready.params)
    if run.uncertain is not None:
        return None
    expected, found = Recording(), Recording()
    output = replay(ready, engine=Engine.VANILLA)
    write_output(expected, output, words=False)
    expected.note("halt", output.final_halt.severity)
    records = records_of(kernel, replace(run, acted=False), ready)
    write_output(found, run_output(records, ready), words=False)
    found.note("halt", run.halt)
    return expected, found


def write_output(recording: Recording, output: Any, *, words: bool = True) -> None:
    """Every table row by row, and every other field, but for which engine it was."""
    left_out = {"engine", "engine_reason"} | (set() if words else {"risk_events", "final_halt"})
    for name in (field.name for field in fields(output) if field.name not in left_out):
        value = getattr(output, name)
        if hasattr(value, "to_pylist"):
            recording.note(f"{name} columns", str(value.schema))
            value = tuple(value.drop_columns([] if words or name != "orders" else ["reason"]).to_pylist())
        if isinstance(value, tuple):
            for item in value:
                recording.note(name, item)
        else:
            recording.note(name, value)


# ---------------------------------------------------------------------------------------------------------- shrinking
def smaller(case: AccountCase) -> Iterator[AccountCase]:
    """Experiments that are a little simpler, the boldest first."""
    yield from _fewer_symbols(case)
    yield from _fewer_bars(case)
    for name in ("limits", "params"):
        words = getattr(case, name)
        for key in words:
            yield replace(case, **{name: {other: value for other, value in words.items() if other != key}})
    plain = {"model": "none", "slippage": {"kind": "none"}, "participation": None, "borrow_rate": 0.0,
             "margin_rate": 0.0, "cash_rate": 0.0}  # fmt: skip
    for key, value in plain.items():
        if case.costs[key] != value:
            yield replace(case, costs={**case.costs, key: value})
    if case.script is not None:
        from tests.unit.research.engine import shrinking

        for script in shrinking.smaller(case.script):
            if script.series == case.script.series:
                yield replace(case, script=script)


def _fewer_symbols(case: AccountCase) -> Iterator[AccountCase]:
    for number in range(len(case.stamps)) if len(case.stamps) > 1 else ():
        kept = [other for other in range(len(case.stamps)) if other != number]
        yield replace(case, stamps=tuple(case.stamps[i] for i in kept), rows=tuple(case.rows[i] for i in kept))


def _fewer_bars(case: AccountCase) -> Iterator[AccountCase]:
    moments = sorted({moment for own in case.stamps for moment in own})
    width = len(moments) // 2
    while width:
        for begin in (len(moments) - width, 0):
            gone = set(moments[begin : begin + width])
            pairs = [
                [(stamp, row) for stamp, row in zip(own, rows, strict=True) if stamp not in gone]
                for own, rows in zip(case.stamps, case.rows, strict=True)
            ]
            if all(pairs):
                stamps, rows = zip(*(zip(*pair, strict=True) for pair in pairs), strict=True)
                yield replace(case, stamps=tuple(stamps), rows=tuple(rows))
        width //= 2

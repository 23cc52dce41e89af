"""Random runs of Backtrader, each one made from a seed: bars, a script of what the strategy does, and the settings.

Belongs here: what a case is, and making one. Does not belong here: carrying it out (see
`scripted`), comparing (see `recording`), making it smaller (see `shrinking`).

A case is data, and its `repr` is the code that makes it again. Prices are whole numbers of ticks, so that an order's
price often equals an open, a high or a low exactly, which is where engines differ first.
"""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

HOOKS = ("start", "prenext", "nextstart", "next", "stop", "notify_order", "notify_trade", "notify_cashvalue",
         "notify_fund", "notify_data", "notify_store")  # fmt: skip
BUSY_HOOKS = ("next", "next", "next", "next", "next", "next", "notify_order", "notify_order", "notify_trade",
              "prenext", "nextstart", "start", "stop", "notify_cashvalue", "notify_fund")  # fmt: skip
LINES = ("open", "high", "low", "close", "volume", "openinterest", "datetime")
EXECUTIONS = ("Market", "Market", "Limit", "Limit", "Stop", "StopLimit", "StopTrail", "StopTrailLimit", "Close", None)
ANALYZERS = ("TimeReturn", "DrawDown", "TradeAnalyzer", "SQN", "Transactions", "PositionsValue", "GrossLeverage",
             "Returns", "VWR", "PeriodStats", "TimeDrawDown", "LogReturnsRolling", "Calmar",
             "SharpeRatio", "PyFolio", "Watcher", "Watcher", "Glance")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one symbol: rows of (open, high, low, close, volume, open interest)."""

    name: str
    stamps: tuple[dt.datetime, ...]
    rows: tuple[tuple[float, ...], ...]
    minutes: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Something that the strategy does in the `count`-th call (from 0) of one of its hooks."""

    hook: str
    count: int
    kind: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One run: what `scripted.carry_out` needs."""

    series: tuple[Series, ...]
    steps: tuple[Step, ...] = ()
    hooks: frozenset[str] = frozenset({"next"})
    indicators: tuple[Any, ...] = ()
    analyzers: tuple[tuple[str, dict[str, Any]], ...] = ()
    sizer: tuple[str, dict[str, Any]] | None = None
    broker: tuple[tuple[str, dict[str, Any]], ...] = ()
    cerebro: tuple[tuple[str, Any], ...] = ()
    extras: tuple[str, ...] = ()  # what the fast loop is not made for: timers, more strategies, resampling, observers
    careful: bool = True  # errors of single steps are caught by the strategy


# ------------------------------------------------------------------------------------------------------------- making
def case_of(seed: int, *, bars: int = 40, steps: int = 24, exotic: float = 0.08) -> Case:
    """The case of a seed: the same one everywhere and always.

    Args:
        seed: any whole number.
        bars: about how many bars a series has.
        steps: about how many things the strategy does.
        exotic: share of cases with something that only Backtrader's own loop can do.
    """
    draw = random.Random(seed)  # noqa: S311
    series = _market(draw, bars)
    hooks = frozenset(hook for hook in HOOKS if draw.random() < draw.choice((0.1, 0.5, 0.9))) | {"next"}
    if draw.random() < 0.03:
        hooks -= {"next"}
    count = max(len(one.stamps) for one in series)
    busy = [hook for hook in BUSY_HOOKS if hook in hooks] or ["next"]
    amount = draw.choice((2, steps // 2, steps, 3 * steps))
    made = tuple(_step(draw, draw.choice(busy), count, len(series)) for _ in range(amount))
    odd = draw.random() < exotic
    return Case(
        series=series,
        steps=tuple(sorted(made, key=lambda step: (step.hook, step.count))),
        hooks=hooks,
        indicators=tuple(_indicators(draw, series)),
        analyzers=tuple(_analyzer(draw) for _ in range(draw.choice((0, 0, 1, 2, 4)))),
        sizer=draw.choice((None, None, *SIZERS)),
        broker=tuple(_broker(draw)),
        cerebro=tuple(_cerebro(draw, odd)),
        extras=tuple({draw.choice(EXTRAS) for _ in range(draw.choice((0, 1, 1, 2)))}) if odd else (),
        careful=draw.random() < 0.95,
    )


def _market(draw: random.Random, bars: int) -> tuple[Series, ...]:
    count = max(1, round(bars * draw.choice((0.05, 0.5, 1, 1, 1, 1.5))))
    minutes = draw.random() < 0.4
    first = dt.datetime.combine(dt.date(2021, draw.randint(1, 12), draw.randint(1, 28)), dt.time())
    if minutes:
        first = first.replace(hour=9, minute=30)
    clock = list(_clock(draw, first, count, minutes))
    symbols = draw.choice((1, 1, 1, 2, 2, 3, 4))
    aligned = draw.random() < 0.4
    return tuple(_series(draw, f"S{number}", _kept(draw, clock, aligned), minutes) for number in range(symbols))


def _clock(draw: random.Random, first: dt.datetime, count: int, minutes: bool) -> Iterator[dt.datetime]:
    closing = (
        dt.timedelta() if minutes else draw.choice((dt.timedelta(), dt.timedelta(hours=16), dt.timedelta(hours=21)))
    )
    moment = first
    for _ in range(count):
        yield moment + closing
        step = draw.choice((1, 1, 1, 1, 2, 5)) if draw.random() < 0.3 else 1
        moment += dt.timedelta(minutes=step) if minutes else dt.timedelta(days=step)
        if (minutes and moment.hour >= 16) or (minutes and draw.random() < 0.04):
            moment = (moment + dt.timedelta(days=1)).replace(hour=9, minute=30)


def _kept(draw: random.Random, clock: list[dt.datetime], aligned: bool) -> tuple[dt.datetime, ...]:
    """Which moments a symbol has a bar at: all, with gaps, from later on, until earlier, or only one."""
    if aligned:
        return tuple(clock)
    begin = draw.randrange(len(clock)) if draw.random() < 0.3 else 0
    end = draw.randint(begin + 1, len(clock)) if draw.random() < 0.3 else len(clock)
    share = draw.choice((1.0, 0.95, 0.7, 0.3))
    return tuple(moment for moment in clock[begin:end] if draw.random() < share) or (clock[begin],)


def _series(draw: random.Random, name: str, stamps: tuple[dt.datetime, ...], minutes: bool) -> Series:
    tick = draw.choice((0.01, 0.05, 0.25, 1.0, 0.1, 1 / 3))
    reach = draw.choice((0, 1, 3, 10, 40))
    level = draw.choice((20, 100, 100, 400, 400, 3000))
    floor = -(10**9) if draw.random() < 0.06 else 1
    holes = 0.02 if draw.random() < 0.04 else 0.0
    rows = []
    for _ in stamps:
        jump = draw.randint(-3 * reach, 3 * reach) if draw.random() < 0.1 else draw.randint(-reach, reach)
        opened = level + (jump if draw.random() < 0.6 else 0)
        closed = opened + draw.randint(-reach, reach)
        high, low = max(opened, closed) + draw.randint(0, reach), min(opened, closed) - draw.randint(0, reach)
        if draw.random() < 0.1:
            high = low = closed = opened
        prices = [max(floor, price) * tick for price in (opened, high, low, closed)]
        if draw.random() < holes:
            prices[draw.randrange(4)] = float("nan")
        volume = draw.choice((0.0, 1.0, 7.0, 50.0, 1000.0, 12345.5))
        rows.append((*prices, volume, float(draw.randrange(3))))
        level = max(floor, closed)
    return Series(name, stamps, tuple(rows), minutes)


# --------------------------------------------------------------------------------------------------------- the script
def _step(draw: random.Random, hook: str, bars: int, symbols: int) -> Step:
    count = 0 if hook in ("start", "stop", "nextstart") else draw.randrange(max(2, bars))
    if hook.startswith("notify") and draw.random() < 0.5:
        count = draw.randrange(8)
    kind = draw.choice(KINDS)
    return Step(hook, count, kind, _arguments(draw, kind, symbols))


KINDS = (
    ("buy", "sell") * 6
    + ("close", "cancel", "look", "look", "look", "look") * 2
    + ("buy_bracket", "sell_bracket", "buy_bracket", "sell_bracket", "order_target_size", "order_target_value")
    + ("order_target_percent", "family", "oco", "cancel_all", "add_cash", "change", "addinfo", "trail")
    + ("runstop", "setsizer", "settle", "fail", "reverse")
)
RARE = ("runstop", "fail", "change")


def _arguments(draw: random.Random, kind: str, symbols: int) -> dict[str, Any]:
    data = draw.randrange(symbols)
    if kind in ("buy", "sell"):
        return {"data": data, **_order(draw)}
    if kind in ("buy_bracket", "sell_bracket"):
        return {"data": data, **_bracket(draw)}
    if kind.startswith("order_target"):
        return {
            "data": data,
            "target": _target(draw, kind),
            **(_order(draw, sized=False) if draw.random() < 0.2 else {}),
        }
    return _ARGUMENTS[kind](draw, data)


def _few(draw: random.Random) -> int:
    return draw.choice((0, 0, 0, 1, 1, 2, 5))


_ARGUMENTS: dict[str, Any] = {
    "close": lambda draw, data: {"data": data, "size": draw.choice((None, None, 1, 3.5))},
    "cancel": lambda draw, data: {"which": _few(draw)},
    "cancel_all": lambda draw, data: {},
    "look": lambda draw, data: {"at": tuple(_look(draw, data) for _ in range(draw.choice((1, 2, 6))))},
    "family": lambda draw, data: {"data": data, "buys": draw.random() < 0.5, "children": tuple(
        _order(draw) for _ in range(draw.randint(1, 3))), "last": draw.random() < 0.9},
    "oco": lambda draw, data: {"data": data, "group": tuple(
        (draw.random() < 0.5, _order(draw)) for _ in range(draw.randint(2, 4)))},
    "add_cash": lambda draw, data: {"cash": draw.choice((1000.0, -500.0, 0.1, 250, -9000.0))},
    "change": lambda draw, data: draw.choice(CHANGES),
    "addinfo": lambda draw, data: {"which": _few(draw), "note": draw.choice((1, 2.5, "text"))},
    "trail": lambda draw, data: {"which": _few(draw), "by": draw.choice((-2, -1, 0, 1, 2))},
    "runstop": lambda draw, data: {"really": draw.random() < 0.1},
    "fail": lambda draw, data: {"really": draw.random() < 0.2},
    "setsizer": lambda draw, data: {"stake": draw.choice((1, 5, 2.5))},
    "settle": lambda draw, data: {"which": _few(draw)},
    "reverse": lambda draw, data: {"data": data},
}  # fmt: skip


def _order(draw: random.Random, sized: bool = True) -> dict[str, Any]:
    """Keyword arguments of an order; prices are ticks from the last close (see `scripted`)."""
    execution = draw.choice(EXECUTIONS)
    args: dict[str, Any] = {"exectype": execution}
    if sized:
        args["size"] = draw.choice(
            (None, 1, 1, 2, 5, 10, 10, 100, 0, 0.5, 3.25, 1000, 10**6 if draw.random() < 0.3 else 4)
        )
    if execution not in ("Market", "Close", None) or draw.random() < 0.05:
        args["price"] = draw.choice((None, -6, -3, -2, -1, 0, 0, 1, 2, 3, 6)) if draw.random() < 0.95 else 0.0
    if execution in ("StopLimit", "StopTrailLimit") or draw.random() < 0.02:
        args["plimit"] = draw.choice((None, -4, -2, -1, 0, 1, 2, 4))
    if execution in ("StopTrail", "StopTrailLimit"):
        args[draw.choice(("trailamount", "trailpercent"))] = draw.choice((0.01, 0.02, 0.1, 0.5, 1.0, 2))
    if draw.random() < 0.3:
        args["valid"] = draw.choice(
            (0, 1.0, 2.5, dt.timedelta(), dt.timedelta(days=2), dt.timedelta(minutes=3), "date", "datetime", "past")
        )
    if draw.random() < 0.15:
        args["tradeid"] = draw.choice((1, 2, "mine"))
    if draw.random() < 0.08:
        args["oco_with"] = draw.randrange(4)
    if draw.random() < 0.05:
        args["note"] = "held"
    if draw.random() < 0.03:
        args["transmit"] = False
    return args


def _bracket(draw: random.Random) -> dict[str, Any]:
    args: dict[str, Any] = {
        "size": draw.choice((1, 5, 10, None, 2.5)),
        "price": draw.choice((None, -1, 0, 1)),
        "limit": draw.choice((1, 2, 4, 12)),
        "stop": draw.choice((1, 2, 4, 12)),
        "exectype": draw.choice(("Market", "Limit", "Limit", "Stop", "StopLimit")),
    }
    if draw.random() < 0.2:
        args["stopexec"] = draw.choice(("StopTrail", "StopLimit", "Stop", None))
    if draw.random() < 0.2:
        args["limitexec"] = draw.choice((None, "Limit", "StopTrailLimit"))
    if draw.random() < 0.3:
        args["valid"] = draw.choice((0, dt.timedelta(days=3), dt.timedelta(minutes=2)))
    if draw.random() < 0.2:
        args["tradeid"] = 3
    if draw.random() < 0.2:
        args["oco_with"] = draw.randrange(3)
    return args


def _target(draw: random.Random, kind: str) -> Any:
    if kind == "order_target_size":
        return draw.choice((0, 1, 10, -10, 2.5, 100))
    if kind == "order_target_value":
        return draw.choice((0.0, 1000.0, -2000.0, 50.5))
    return draw.choice((0.0, 0.1, -0.3, 0.95, 2.0))


CHANGES: tuple[dict[str, Any], ...] = (
    {"what": "commission", "commission": 0.003},
    {"what": "commission", "commission": 1.5, "mult": 5.0, "margin": 40.0},
    {"what": "slippage", "perc": 0.01},
    {"what": "slippage", "fixed": 0.2},
    {"what": "checksubmit", "on": False},
    {"what": "checksubmit", "on": True},
    {"what": "shortcash", "on": False},
    {"what": "fundmode", "on": True},
    {"what": "filler", "size": 2},
    {"what": "cash", "cash": 777.0},
    {"what": "coc", "on": True},
)


def _look(draw: random.Random, data: int) -> tuple[Any, ...]:
    """Something to read; the first word says what."""
    kind = draw.choice(LOOKS)
    if kind in ("line", "line", "line_of_lines", "alias", "slice", "line_len", "tick"):
        return kind, data, draw.choice(LINES[:-1]), draw.choice((0, 0, 0, -1, -2, -7, 1, 3, -100, 100))
    if kind == "get":
        return kind, data, draw.choice(LINES), draw.choice((0, -1, -5, 1)), draw.choice((1, 2, 5, 30))
    if kind == "moment":
        return (
            kind,
            data,
            draw.choice(("datetime", "date", "time", "dt", "tm", "tm_raw", "float")),
            draw.choice((0, 0, -1, 1)),
        )
    if kind in ("indicator", "compare", "sum", "indicator_get"):
        return kind, data, draw.randrange(6), draw.randrange(3), draw.choice((0, 0, 0, -1, -3, 1))
    if kind in ("order", "status", "open"):
        return kind, _few(draw)
    return kind, data


LOOKS = ("line", "line", "line", "line_of_lines", "alias", "slice", "line_len", "tick", "get", "moment", "moment",
         "indicator", "indicator", "compare", "sum", "indicator_get", "order", "order", "status", "open", "len",
         "value", "value", "value_of", "lever", "cash", "fund", "position", "position", "positions", "mine", "trades",
         "names", "all_lines", "market")  # fmt: skip

SIZERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("FixedSize", {"stake": 7}),
    ("PercentSizer", {"percents": 30}),
    ("PercentSizerInt", {"percents": 140}),
    ("AllInSizer", {}),
    ("FixedReverser", {"stake": 3}),
    ("FixedSizeTarget", {"stake": 4}),
    ("Curious", {}),
)


# ------------------------------------------------------------------------------------------------------- the settings
def _broker(draw: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "setcash", {"cash": draw.choice((10_000.0, 1_000.0, 1e6, 100, 12_345.67))}
    if draw.random() < 0.7:
        yield "commission", draw.choice(COMMISSIONS)
    if draw.random() < 0.15:
        yield "commission", {**draw.choice(COMMISSIONS), "name": "S0"}
    if draw.random() < 0.3:
        amount = draw.choice(({"perc": 0.01}, {"fixed": 0.3}, {"fixed": 1.0}, {"perc": 0.0005}))
        yield (
            "slippage",
            {**amount, **{f"slip_{name}": draw.random() < 0.5 for name in ("open", "limit", "match", "out")}},
        )
    for name, share in (("checksubmit", 0.15), ("shortcash", 0.15), ("int2pnl", 0.1)):
        if draw.random() < share:
            yield name, {"on": False}
    for name, share in (("eosbar", 0.1), ("fundmode", 0.15), ("coc", 0.03), ("coo", 0.02)):
        if draw.random() < share:
            yield name, {"on": True}
    if draw.random() < 0.15:
        yield "filler", draw.choice(({"size": 3}, {"perc": 10.0}, {"point": 0.25}, {"function": True}))


COMMISSIONS: tuple[dict[str, Any], ...] = (
    {"commission": 0.001},
    {"commission": 0.0},
    {"commission": 0.07, "commtype": "fixed"},
    {"commission": 0.5, "percabs": False},
    {"commission": 2.0, "mult": 10.0, "margin": 30.0},
    {"commission": 2.0, "mult": 2.0, "margin": None, "automargin": 0.5, "stocklike": False},
    {"commission": 0.001, "interest": 0.05},
    {"commission": 0.002, "interest": 0.03, "interest_long": True},
    {"commission": 0.001, "leverage": 3.0},
    {"own": "minimum"},
    {"own": "odd"},
)


def _analyzer(draw: random.Random) -> tuple[str, dict[str, Any]]:
    name = draw.choice(ANALYZERS)
    if name in ("TimeReturn", "TimeDrawDown", "LogReturnsRolling"):
        return name, {"timeframe": draw.choice(("Days", "Weeks", "Months", "Years", "NoTimeFrame"))}
    return name, {}


def _cerebro(draw: random.Random, odd: bool) -> Iterator[tuple[str, Any]]:
    if draw.random() < 0.2:
        yield "tradehistory", True
    if odd and draw.random() < 0.5:
        yield draw.choice(
            (("stdstats", True), ("preload", False), ("runonce", False), ("exactbars", 1), ("exactbars", -1),
             ("quicknotify", True), ("cheat_on_open", True), ("exactbars", -2), ("oldsync", True), ("oldbuysell", True))
        )  # fmt: skip


EXTRAS = ("timer", "second_strategy", "resample", "replay", "observer", "writer", "filter", "signals", "twins")


# --------------------------------------------------------------------------------------------------------- indicators
SIMPLE = ("SMA", "EMA", "WMA", "SMMA", "Highest", "Lowest", "StdDev", "RSI_Safe", "SumN", "Momentum", "MeanDeviation",
          "DEMA", "HMA", "TEMA", "KAMA", "ZLEMA", "PctChange", "PercentRank", "RSI", "ROC", "DPO", "TRIX",
          "UpDay", "DownDay", "Envelope", "FindFirstIndexHighest", "Average", "WeightedAverage", "ZeroLagIndicator",
          "AccDeOsc", "DV2", "HurstExponent")  # fmt: skip
TAKES_BARS = ("ATR", "TrueRange", "Stochastic", "StochasticSlow", "StochasticFull", "WilliamsR", "CCI",
              "DirectionalMovement", "ADX", "AroonUpDown", "Ichimoku", "ParabolicSAR", "UltimateOscillator", "Vortex",
              "PrettyGoodOscillator", "HeikinAshi", "PivotPoint", "AwesomeOscillator", "DirectionalIndicator",
              "WilliamsAD", "TrueStrengthIndicator", "LaguerreRSI", "BollingerBandsPct", "DMI")  # fmt: skip
OWN = ("ByNext", "ByOnce", "ByBoth", "Nested", "Bound", "Bands", "Twice", "Steps")
PAIRS = ("sub", "add", "mul", "gt", "lt", "ge", "le", "eq", "ne", "max", "min", "and", "or", "crossover",
         "crossup", "crossdown", "sum", "any", "all", "divzero", "nonzero")  # fmt: skip


def _indicators(draw: random.Random, series: tuple[Series, ...]) -> Iterator[Any]:
    """A few expressions; those that need more bars than there are make Backtrader fail: few cases."""
    shortest = min(len(one.stamps) for one in series)
    for _ in range(draw.choice((0, 1, 1, 2, 3, 5))):
        made = expression(draw, len(series))
        if reach(made) < shortest or draw.random() < 0.03:
            yield made


def reach(words: Any) -> int:
    """About how many bars an expression needs (rather too many)."""
    if not isinstance(words, tuple):
        return 0
    inner = max((reach(part) for part in words[1:]), default=0)
    if words[0] == "call":
        return inner + 4 * words[3] if words[1] in SIMPLE[13:] else inner + words[3]
    return inner + {"bars": 24, "own": 9, "bands": 5, "macd": 16, "delay": 5}.get(words[0], 1)


def expression(draw: random.Random, symbols: int, depth: int = 0, data: int | None = None) -> Any:
    """A random expression over lines: nested tuples whose first word is an operation (see `scripted.build`)."""
    if data is None:
        data = draw.randrange(symbols)
    inner = draw.randrange(symbols) if draw.random() < 0.03 else data
    kind = draw.random()
    if depth >= 3 or (depth and kind < 0.25):
        return "line", data, draw.choice(("close",) * 6 + ("open", "high", "low") * 2 + ("volume",))

    def part() -> Any:
        return expression(draw, symbols, depth + 1, inner)

    if kind < 0.5:
        return "call", draw.choice(SIMPLE[:13] if draw.random() < 0.7 else SIMPLE), part(), draw.choice((1, 2, 3, 5, 9))
    if kind < 0.58:
        return "bars", draw.choice(TAKES_BARS), data
    if kind < 0.66:
        return "own", draw.choice(OWN), part()
    if kind < 0.86:
        return draw.choice(PAIRS), part(), part()
    return draw.choice((
        ("if", part(), part(), part()), ("delay", part(), draw.choice((0, 1, 2, 5))),
        ("scale", part(), draw.choice((2, -0.5, 0))), ("bands", part(), draw.choice((3, 5))), ("macd", part()),
        ("coupled", part()), ("const", part()), ("abs", part()), ("rscale", part(), 3.0), ("unplotted", part()),
        ("div", part(), ("line", data, "close")), ("floordiv", part(), ("line", data, "close")), ("pow", part(), 2),
    ))  # fmt: skip

"""Small markets and a way to run any strategy class on them; every run proves its books.

Belongs here: what several tests of the engine share. Does not belong here: tests.
"""

import datetime as dt
import hashlib
from dataclasses import replace

import backtrader as bt
import numpy as np
import pandas as pd
import pyarrow as pa

from research.accounting import check_accounting
from research.engine import PreparedRun, replay, run_backtest
from research.experiment import Experiment
from research.feed import symbol_bars
from research.remarks import remarks
from warehouse.calendar import get_calendar
from warehouse.schema import BARS_SCHEMA

START, END = dt.date(2020, 1, 1), dt.date(2024, 12, 31)
FREE = {"model": "none", "slippage": {"kind": "none"}, "participation": None}


def table(symbol, stamps, *columns, resolution="1d"):
    """A BARS_SCHEMA table; `columns` are open, high, low, close and volume."""
    opens, highs, lows, closes, volumes = columns
    stamps = pd.DatetimeIndex(stamps)
    count = len(stamps)
    return pa.table(
        {
            "symbol": [symbol] * count,
            "resolution": [resolution] * count,
            "ts": pa.array(stamps.to_numpy().astype("datetime64[us]")).cast(pa.timestamp("us", "UTC")),
            "session": pa.array(stamps.date, pa.date32()),
            "regular": [True] * count,
            "open": np.asarray(opens, float),
            "high": np.asarray(highs, float),
            "low": np.asarray(lows, float),
            "close": np.asarray(closes, float),
            "volume": np.asarray(volumes, float),
        },
        schema=BARS_SCHEMA,
    )


def daily(symbol, rows, first="2024-01-02"):
    """Daily bars on XNYS sessions from (open, high, low, close[, volume]) rows, stamped at the close."""
    sessions = get_calendar("XNYS").sessions(dt.date.fromisoformat(first), dt.date(2025, 12, 31))[: len(rows)]
    closes = [get_calendar("XNYS").close_utc(session).replace(tzinfo=None) for session in sessions]
    columns = list(zip(*[(*row, 1e6)[:5] for row in rows], strict=True))
    return table(symbol, closes, *columns)


def minutes(symbol, rows, day="2024-01-02", first="14:31"):
    """Minute bars of one session from (open, high, low, close[, volume]) rows."""
    stamps = pd.date_range(f"{day} {first}", periods=len(rows), freq="min")
    return table(symbol, stamps, *zip(*[(*row, 1e6)[:5] for row in rows], strict=True), resolution="1m")


def flat(price, count):
    """Bars that do not move."""
    return [(price, price, price, price)] * count


def walk(symbol, count=300, seed=0, first="2020-01-02", volume=1e7):
    """Daily bars of a random walk with gaps."""
    rng = np.random.default_rng(seed)
    close = np.round(50 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, count))), 4)
    opens = np.round(close * np.exp(rng.normal(0, 0.008, count)), 4)
    high = np.maximum(opens, close) * (1 + rng.uniform(0, 0.01, count))
    low = np.minimum(opens, close) * (1 - rng.uniform(0, 0.01, count))
    return daily(symbol, list(zip(opens, high, low, close, [volume] * count, strict=True)), first)


def prepared(strategy, *tables, params=None, **fields):
    """A run of a strategy class, which need not be importable; costs are none unless given."""
    names = [bars["symbol"][0].as_py() for bars in tables]
    resolution = tables[0]["resolution"][0].as_py()
    fields = {"start": START, "end": END, "costs": FREE, "limits": "none", "resolution": resolution} | fields
    experiment = Experiment.build(strategy="tests.Made", symbols=names, **fields)
    return PreparedRun(
        experiment=experiment,
        strategy=strategy,
        params=params or {},
        limits=experiment.limits,
        costs=experiment.costs.build(),
        calendar=get_calendar(experiment.calendar),
        bars={
            name: symbol_bars(name, bars, experiment.start, experiment.end)
            for name, bars in zip(names, tables, strict=True)
        },
    )


def run(strategy, *tables, **fields):
    """The output of a run, after its books were proven."""
    ready = prepared(strategy, *tables, **fields)
    output = replay(ready)
    assert check_accounting(output, ready.bars, participation=ready.costs.participation.fraction) == ()
    return replace(output, warnings=remarks(ready.experiment, output, ready.bars, None))


def library_run():
    """The crossover of the library on two random walks, with the default costs and limits."""
    experiment = Experiment.build(
        strategy="strategies.sma_crossover.SMACrossover",
        params={"sma_short": 5, "sma_long": 20},
        symbols=["A", "B"],
        start=START,
        end=END,
    )
    return run_backtest(experiment, {"A": walk("A", seed=1), "B": walk("B", seed=2)})


def digest(output):
    """One hash over every table and number of a run."""
    tables = (output.equity, output.orders, output.fills, output.trades, output.open_trades)
    text = "".join(str(table.to_pydict()) for table in tables)
    rest = (output.risk_events, output.warnings, output.commission, output.slippage, output.financing)
    return hashlib.sha256(f"{text}{rest}".encode()).hexdigest()


def vanilla(strategy, *tables, cash=100_000.0, **params):
    """The same strategy on Backtrader as it comes: fills, equity curve, cash curve."""
    cerebro = bt.Cerebro(stdstats=False)
    for bars in tables:
        frame = bars.select(["open", "high", "low", "close", "volume"]).to_pandas()
        frame.index = pd.DatetimeIndex(bars["ts"].to_pandas().dt.tz_localize(None))
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=bars["symbol"][0].as_py())
    cerebro.broker.setcash(cash)
    cerebro.addstrategy(strategy, **params)
    cerebro.addobserver(bt.observers.Broker)
    cerebro.addanalyzer(Executions)
    result = cerebro.run()[0]
    value, money = (getattr(result.observers.broker.lines, name).array.tolist() for name in ("value", "cash"))
    length = len(result)
    return result.analyzers.executions.fills, value[:length], money[:length]


class Executions(bt.Analyzer):
    """Every execution as (moment, symbol, signed size, price)."""

    def start(self):
        self.fills = []

    def notify_order(self, order):
        for bit in order.executed.iterpending():
            self.fills.append((bt.num2date(bit.dt), order.data._name, bit.size, bit.price))


def fills_of(output):
    """The same of one of our runs."""
    return [
        (
            row["ts"].replace(tzinfo=None),
            row["symbol"],
            row["quantity"] * (1 if row["side"] == "buy" else -1),
            row["price"],
        )
        for row in output.fills.to_pylist()
    ]


class Script(bt.Strategy):
    """Does what `plan` says at each bar number (0 is the first bar): a mapping bar -> function of the strategy."""

    params = (("plan", None),)

    def __init__(self):
        self.told = []

    def next(self):
        step = self.p.plan.get(len(self) - 1)
        if step is not None:
            step(self)

    def notify_order(self, order):
        self.told.append((len(self) - 1, order.getstatusname(), order.executed.size))

"""One backtest of SMACrossover on AAPL: `research` with risk and costs against plain Backtrader with its defaults.

Belongs here: the engine ratio. Does not belong here: correctness (see tests/unit/research).
"""

import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import backtrader as bt
import pandas as pd
import pyarrow as pa
from sample_data import clean_sample

from research.engine import run_backtest
from research.experiment import Experiment
from strategies.sma_crossover import SMACrossover
from warehouse.resolution import Resolution

ROUNDS = 9


def measure() -> Iterator[tuple[str, list[float], float]]:
    """Ratio of seconds, ours to plain Backtrader's, the pair run back to back `ROUNDS` times after a warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        bars = clean_sample(Path(folder), ["AAPL"]).read_bars("AAPL", Resolution.DAILY)
    experiment = Experiment(
        name="bench",
        strategy="strategies.sma_crossover.SMACrossover",
        symbols=("AAPL",),
        start=date(2000, 3, 1),
        end=date(2013, 3, 1),
    )
    frame = _frame(bars)
    _ours(experiment, bars), _plain(frame)
    ratios = [_ours(experiment, bars) / _plain(frame) for _ in range(ROUNDS)]
    yield "SMACrossover on AAPL (3,270 bars), seconds ours / plain Backtrader", ratios, 0.7


def _ours(experiment: Experiment, bars: pa.Table) -> float:
    start = time.perf_counter()
    run_backtest(experiment, {"AAPL": bars})
    return time.perf_counter() - start


def _plain(frame: pd.DataFrame) -> float:
    start = time.perf_counter()
    cerebro = bt.Cerebro()
    cerebro.adddata(bt.feeds.PandasData(dataname=frame), name="AAPL")
    cerebro.broker.setcash(100_000)
    cerebro.addstrategy(SMACrossover)
    cerebro.run()
    return time.perf_counter() - start


def _frame(bars: pa.Table) -> pd.DataFrame:
    frame = bars.select(["ts", "open", "high", "low", "close", "volume"]).to_pandas().set_index("ts")
    frame.index = frame.index.tz_localize(None)
    return frame

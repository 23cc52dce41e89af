"""A small market, a made-up run on it, and the result of measuring that run."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from research.run_output import EQUITY_SCHEMA, FILLS_SCHEMA, ORDERS_SCHEMA, TRADES_SCHEMA, RunOutput
from risk.states import HaltState
from warehouse.schema import BARS_SCHEMA

if TYPE_CHECKING:
    from research.experiment import Experiment
    from research.result import BacktestResult

NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_bars(symbol: str, seed: int, sessions: int, first: str = "2001-01-02", drift: float = 0.0003) -> pa.Table:
    """Daily bars of a random walk."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range(first, periods=sessions)
    close = 50.0 * np.cumprod(1.0 + rng.normal(drift, 0.015, sessions))
    open_ = close * (1.0 + rng.normal(0, 0.004, sessions))
    return (
        pa.table(
            {
                "symbol": pa.array([symbol] * sessions),
                "resolution": pa.array(["1d"] * sessions),
                "ts": pa.array((days + pd.Timedelta(hours=21)).to_numpy().astype("datetime64[us]")),
                "session": pa.array(days.date),
                "regular": pa.array([True] * sessions),
                "open": open_,
                "high": np.maximum(open_, close) * 1.004,
                "low": np.minimum(open_, close) * 0.996,
                "close": close,
                "volume": np.full(sessions, 1e6),
            }
        )
        .cast(pa.schema([f.with_type(pa.timestamp("us")) if f.name == "ts" else f for f in BARS_SCHEMA]))
        .cast(BARS_SCHEMA)
    )


def make_output(bars: pa.Table, cash: float = 10_000.0, hold: int = 25) -> RunOutput:
    """Buy 100 shares at every 2 * `hold`-th close, sell `hold` sessions later, 1.00 a fill; the last one stays open."""
    symbol = bars["symbol"][0].as_py()
    close, ts, session = bars["close"].to_numpy(), bars["ts"].to_pylist(), bars["session"].to_pylist()
    fills, trades, open_trades = [], [], []
    position, money, equity = 0.0, cash, []
    for at, price in enumerate(close):
        if at % hold == 1:
            side = "sell" if position else "buy"
            fills.append((ts[at], session[at], symbol, side, 100.0, price, 1.0, 0.5, len(fills) + 1))
            money += (100.0 * price if position else -100.0 * price) - 1.0
            position = 0.0 if position else 100.0
        equity.append((ts[at], session[at], money + position * price, money, position * price, position * price, 0.0))
    for buy, sell in zip(fills[::2], [*fills[1::2], None], strict=False):
        exit_price = sell[5] if sell else None
        gross = 100.0 * ((exit_price or close[-1]) - buy[5])
        costs = 2.0 if sell else 1.0
        row = (
            symbol, "long", buy[0], sell[0] if sell else None, 100.0, buy[5], exit_price, gross, costs, gross - costs,
            (gross - costs) / (100.0 * buy[5]), hold, 2 if sell else 1,
        )  # fmt: skip
        (trades if sell else open_trades).append(row)
    return RunOutput(
        starting_cash=cash,
        equity=_table(equity, EQUITY_SCHEMA),
        orders=_table([], ORDERS_SCHEMA),
        fills=_table(fills, FILLS_SCHEMA),
        trades=_table(trades, TRADES_SCHEMA),
        open_trades=_table(open_trades, TRADES_SCHEMA),
        risk_events=(),
        warnings=(),
        final_halt=HaltState.ACTIVE,
        open_profit=sum(row[7] for row in open_trades),
        commission=float(len(fills)),
        slippage=0.5 * len(fills),
        financing=0.0,
        deposits=0.0,
    )


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


@pytest.fixture(scope="session")
def lab() -> SimpleNamespace:
    """The builders of this file: `bars`, `output`, `experiment`, `result`."""

    def experiment(**fields: Any) -> "Experiment":
        from research.experiment import Experiment

        basis = {
            "name": "demo", "strategy": "strategies.sma_crossover.SMACrossover", "symbols": ["A"],
            "start": "2001-01-02", "end": "2003-12-31", "cash": 10_000.0,
        }  # fmt: skip
        return Experiment.build(**{**basis, **fields})

    def result(sessions: int = 600, **fields: Any) -> "BacktestResult":
        from research.evaluation import evaluate

        bars = {"A": make_bars("A", 1, sessions)}
        benchmark = make_bars("B", 2, sessions) if fields.get("benchmark") else None
        return evaluate(
            experiment(**fields), make_output(bars["A"]), bars, benchmark, {"A": "v1"}, code="code", now=NOW
        )

    return SimpleNamespace(bars=make_bars, output=make_output, experiment=experiment, result=result, now=NOW)

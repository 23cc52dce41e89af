"""From what the engine produced to a result that can be kept.

Belongs here: putting metrics, benchmark, regimes, provenance and warnings together under one id.
Does not belong here: the formulas, running the experiment, files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from research.benchmark import Benchmark, hold_equally, hold_symbol
from research.daily import daily_returns, session_closes
from research.experiment import Experiment
from research.fingerprint import backtest_id, code_version, environment
from research.measured import Figure, Measured, Missing
from research.metric_catalog import METRICS
from research.metrics import (
    Scale,
    activity_metrics,
    by_month,
    by_year,
    relative_metrics,
    return_metrics,
    trade_metrics,
)
from research.regimes import UNKNOWN_REGIME, by_regime, classify
from research.result import DAILY_SCHEMA, RISK_EVENTS_SCHEMA, BacktestResult, without_nan
from research.run_output import RunOutput
from risk.events import RiskEvent
from strategies.registry import load_strategy

_LISTED_EVENTS = 100
"""Risk events shown in the page; all of them are in the table."""


def evaluate(
    experiment: Experiment,
    output: RunOutput,
    bars: Mapping[str, pa.Table],
    benchmark: pa.Table | None,
    data_versions: Mapping[str, str],
    *,
    code: str | None = None,
    quality_errors: Mapping[str, Sequence[str]] | None = None,
    now: datetime | None = None,
) -> BacktestResult:
    """Measure a run.

    Args:
        experiment: what was run.
        output: what came of it.
        bars: the symbols' bars (`BARS_SCHEMA`), as the run got them.
        benchmark: bars of `experiment.benchmark`, earlier ones too if there are any (they tell the first regimes);
            None compares with equal parts of the symbols.
        data_versions: content hash of each symbol's bars, the benchmark's included.
        code: version of the code, when the caller has it already (see `research.fingerprint.code_version`).
        quality_errors: standing quality ERROR rules by symbol, overridden by `experiment.allow_quality_errors`.
        now: when the run finished, UTC; the clock's time when not given. It is no part of the id.

    Raises:
        ResearchError: the run has no equity, or the strategy's source cannot be read.
    """
    market = _Market.of(experiment, output, bars, benchmark)
    tables = _tables(output, market)
    specification = experiment.specification()
    version = code or code_version(load_strategy(experiment.strategy))
    identity = {
        "id": backtest_id(specification, data_versions, version),
        "name": experiment.name,
        "specification": specification,
        "data_versions": dict(sorted(data_versions.items())),
        "code_version": version,
    }
    findings = _findings(experiment, output, market)
    circumstances = {
        "engine": output.engine,
        "engine_reason": output.engine_reason,
        "quality_override": _override(experiment, quality_errors),
        "environment": environment(),
        "created_at": (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
    }
    return BacktestResult(identity | findings | circumstances, tables)


class _Market:
    """Session curves of the strategy, of its benchmark and of holding the symbols, on the same sessions."""

    def __init__(self, closes: pd.Series, start: float, held: Benchmark, benchmark: Benchmark, scale: Scale) -> None:
        self.closes, self.start, self.scale = closes, start, scale
        self.held, self.benchmark = held, benchmark
        self.returns = daily_returns(closes, start)
        self.regimes = classify(benchmark.history, pd.DatetimeIndex(closes.index))

    @classmethod
    def of(
        cls, experiment: Experiment, output: RunOutput, bars: Mapping[str, pa.Table], benchmark: pa.Table | None
    ) -> "_Market":
        closes = session_closes(output.equity)
        sessions = pd.DatetimeIndex(closes.index)
        held = hold_equally(bars, sessions)
        chosen = held
        if experiment.benchmark is not None and benchmark is not None:
            chosen = hold_symbol(experiment.benchmark, benchmark, sessions)
        return cls(closes, output.starting_cash, held, chosen, Scale(experiment.annualization, experiment.risk_free))


def _findings(experiment: Experiment, output: RunOutput, market: _Market) -> dict[str, Any]:
    metrics = _metrics(output, market)
    comparisons = {
        "benchmark": market.benchmark.metrics(market.scale),
        "buy_and_hold": market.held.metrics(market.scale),
    }
    periods = {
        "by_year": by_year(market.closes, market.start, market.benchmark.levels, market.scale),
        "by_month": by_month(market.closes, market.start, market.benchmark.levels),
        "by_regime": by_regime(market.returns, market.regimes, market.benchmark.returns, market.scale),
    }
    reasons = dict(metrics.reasons)
    for name, measured in comparisons.items():
        reasons |= {f"{name}.{key}": why for key, why in measured.reasons.items()}
    for table, rows in periods.items():
        reasons |= {f"{table}.{row}.{key}": why for row, one in rows.items() for key, why in one.reasons.items()}
    events = without_nan(_event_summary(output.risk_events), "risk_events", reasons)
    names = {"benchmark": market.benchmark.name, "buy_and_hold": market.held.name}
    return {
        "metrics": metrics.values,
        "null_reasons": reasons,
        **{name: {"name": names[name], **measured.values} for name, measured in comparisons.items()},
        **{table: _records(table.removeprefix("by_"), rows) for table, rows in periods.items()},
        "warnings": _warnings(experiment, output, market),
        "final_halt": output.final_halt.value,
        "risk_events": events,
    }


def _metrics(output: RunOutput, market: _Market) -> Measured:
    sessions = len(market.closes)
    measured = (
        return_metrics(market.closes, market.start, market.scale)
        | activity_metrics(output.equity, output.fills, market.scale, sessions)
        | trade_metrics(output.trades, sessions, market.scale)
        | relative_metrics(market.returns, market.benchmark.returns, market.scale)
    )
    measured |= Measured.of(_money(output, measured.values["gross_profit"]))
    return Measured({key: measured.values[key] for key in METRICS}, measured.reasons)


def _money(output: RunOutput, gross_profit: float | None) -> dict[str, Figure]:
    earned = gross_profit is not None and gross_profit > 0.0
    return {
        "final_equity": output.final_equity,
        "net_profit": output.final_equity - output.starting_cash,
        "open_profit": float(np.sum(output.open_trades["net_profit"].to_numpy())),
        "fees": output.commission,
        "slippage": output.slippage,
        "financing": output.financing,
        "fees_to_gross_profit": output.commission / gross_profit
        if earned and gross_profit
        else Missing("closed trades made no gross profit"),
    }


def _records(key: str, rows: Mapping[str, Measured]) -> list[dict[str, Any]]:
    return [{key: int(name) if key == "year" else name, **row.values} for name, row in rows.items()]


def _warnings(experiment: Experiment, output: RunOutput, market: _Market) -> list[str]:
    found = [*output.warnings, *market.benchmark.warnings]
    unknown = int((market.regimes == UNKNOWN_REGIME).sum())
    if unknown == len(market.regimes):
        found.append(f"by_regime: {market.benchmark.name} has too few bars before the backtest to tell any regime.")
    if experiment.benchmark is not None and market.benchmark is market.held:
        found.append(f"benchmark: no bars of {experiment.benchmark} were given, compared with {market.held.name}.")
    return list(dict.fromkeys(found))


def _override(experiment: Experiment, errors: Mapping[str, Sequence[str]] | None) -> dict[str, Any] | None:
    if experiment.allow_quality_errors is None:
        return None
    standing = {symbol: sorted(rules) for symbol, rules in sorted((errors or {}).items()) if rules}
    return {"reason": experiment.allow_quality_errors, "errors": standing}


def _event_summary(events: Sequence[RiskEvent]) -> dict[str, Any]:
    rows = _event_rows(events)
    limits = sorted({str(row["limit"]) for row in rows})
    return {
        "count": len(rows),
        "by_limit": {limit: sum(1 for row in rows if str(row["limit"]) == limit) for limit in limits},
        "listed": min(len(rows), _LISTED_EVENTS),
        "events": [{**row, "ts": row["ts"].isoformat()} for row in rows[:_LISTED_EVENTS]],
    }


def _event_rows(events: Sequence[RiskEvent]) -> list[dict[str, Any]]:
    """Events as plain values; enumerations become their text."""
    rows = []
    for event in events:
        fields = asdict(event)
        rows.append(
            {name: _text(fields[name]) if name in _TEXTS else fields[name] for name in RISK_EVENTS_SCHEMA.names}
        )
    return rows


_TEXTS = frozenset(field.name for field in RISK_EVENTS_SCHEMA if pa.types.is_string(field.type))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _tables(output: RunOutput, market: _Market) -> dict[str, pa.Table]:
    return {
        "equity": output.equity,
        "orders": output.orders,
        "fills": output.fills,
        "trades": output.trades,
        "open_trades": output.open_trades,
        "risk_events": pa.Table.from_pylist(_event_rows(output.risk_events), schema=RISK_EVENTS_SCHEMA),
        "daily": _daily(market),
    }


def _daily(market: _Market) -> pa.Table:
    columns = (
        pa.array(pd.DatetimeIndex(market.closes.index).to_numpy().astype("datetime64[D]"), pa.date32()),
        pa.array(market.closes.to_numpy(), pa.float64()),
        pa.array(market.returns.to_numpy(), pa.float64()),
        pa.array(market.benchmark.levels.to_numpy(), pa.float64(), from_pandas=True),
        pa.array(market.benchmark.returns.to_numpy(), pa.float64(), from_pandas=True),
        pa.array(market.regimes.tolist(), pa.string()),
    )
    return pa.table(columns, schema=DAILY_SCHEMA)

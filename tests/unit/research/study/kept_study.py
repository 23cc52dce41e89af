"""A study as it is kept, made up: its record as the contract of `research.study.records` has it."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from research.study.outcome import FoldOutcome, StudyTrial, TrialState
from research.study.records import save_page, save_tables, tables_of
from research.study.specification import StudySpecification
from warehouse.files import write_bytes, write_parquet

SESSIONS = [day.date() for day in pd.bdate_range("2001-01-02", periods=80)]


def metrics(value):
    return {
        "sharpe_ratio": value, "total_return": value / 10, "annual_return": value / 20, "max_drawdown": -0.2,
        "trades": 12.0, "trades_per_year": 9.0, "gross_exposure": 0.5, "fees": 30.0, "win_rate": 0.5,
    }  # fmt: skip


def trials(count=30, folds=2):
    rng = np.random.default_rng(5)
    made = []
    for number in range(count):
        params = {"sma_short": int(rng.integers(5, 30)), "sma_long": int(rng.integers(40, 120))}
        value = float(rng.normal())
        parts = tuple(
            FoldOutcome(at, date(2001, 1 + at, 2), date(2001, 1 + at, 28), value + at / 10, metrics(value))
            for at in range(folds)
        )
        made.append(
            StudyTrial(
                number, params, TrialState.COMPLETE, value, (value,), value, metrics=metrics(value), folds=parts,
                returns=rng.normal(0.001 * value, 0.01, len(SESSIONS)), engine="kernel",
                finished_at=datetime(2024, 1, 1, 0, number, tzinfo=UTC),
            )
        )  # fmt: skip
    made.append(replace(made[0], number=count, state=TrialState.PRUNED, value=None, values=(), returns=None))
    return made


def keep(results, name="demo", *, symbols=("A",), objective="sharpe_ratio", made=None, **page):
    """Write a study and return its trials."""
    made = trials() if made is None else made
    specification = StudySpecification.build(
        name=name,
        objective=objective,
        space="sma_short:5-30,sma_long:40-120",
        experiment={
            "strategy": "strategies.sma_crossover.SMACrossover", "symbols": list(symbols), "start": "2001-01-02",
            "end": "2001-12-31",
        },
    )  # fmt: skip
    known = [trial for trial in made if trial.value is not None]
    best = max(known, key=lambda trial: trial.value) if known else None
    save_tables(results, name, tables_of(made, SESSIONS))
    document = {
        "name": name,
        "specification": specification.document(),
        "state": "complete",
        "trials_run": len(made),
        "best": best
        and {
            "number": best.number, "value": best.value, "params": dict(best.params), "metrics": dict(best.metrics)
        },
        "hold_out": {"start": "2001-10-01", "end": "2001-12-31", "looked_at": None, "metrics": None},
        "assessment": None,
    }  # fmt: skip
    save_page(results, {**document, **page})
    return made


def keep_walk_forward(results, name="demo"):
    """Write a finished walk-forward of the name."""
    folder = results / "walkforward" / name
    rng = np.random.default_rng(6)
    returns = rng.normal(0, 0.01, 40)
    equity = {
        "session": pa.array(SESSIONS[40:], pa.date32()), "equity": 1000 * np.cumprod(1 + returns), "return": returns,
        "window": [0] * 20 + [1] * 20,
    }  # fmt: skip
    window = {
        "train_start": date(2001, 1, 2), "train_end": date(2001, 2, 26), "test_start": date(2001, 2, 27),
        "test_end": date(2001, 3, 26), "params": '{"sma_short":9}', "searched": 1.0, "tested": 0.4, "efficiency": 0.4,
        "out_of_sample_return": 0.03, "reason": None,
    }  # fmt: skip
    write_parquet(folder / "equity.parquet", pa.table(equity))
    write_parquet(folder / "windows.parquet", pa.Table.from_pylist([{"window": at, **window} for at in range(2)]))
    write_bytes(folder / "walkforward.json", b'{"name": "demo", "summary": {"efficiency": 0.4}, "metrics": {}}')

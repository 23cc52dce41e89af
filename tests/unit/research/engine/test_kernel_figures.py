"""Figures of the kernel's runs against `research.metrics` on the same runs' tables."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.daily import session_closes
from research.engine.kernel.figures import FIGURES
from research.errors import ResearchError
from research.measured import Measured
from research.metrics import Scale, activity_metrics, return_metrics, trade_metrics
from tests.unit.research.engine.declared_cases import Case, on_kernel

CASES = st.builds(
    Case,
    st.integers(0, 2**32),
    symbols=st.sampled_from([1, 2, 3]),
    minute=st.booleans(),
    gaps=st.booleans(),
    shorts=st.booleans(),
    exits=st.booleans(),
    thin=st.booleans(),
    costs=st.sampled_from(["ibkr_fixed", "none", {"model": "ibkr_fixed", "cash_rate": 0.05, "borrow_rate": 0.1}]),
    busy=st.sampled_from([0.02, 0.2, 0.6]),
)


def measured(experiment, output):
    """Every figure as `research.evaluation` measures it."""
    closes, scale = session_closes(output.equity), Scale(experiment.annualization, experiment.risk_free)
    sessions = len(closes)
    found = (
        return_metrics(closes, output.starting_cash, scale)
        | activity_metrics(output.equity, output.fills, scale, sessions)
        | trade_metrics(output.trades, sessions, scale)
    )
    gross = found.values["gross_profit"]
    money = {
        "final_equity": output.final_equity,
        "net_profit": output.final_equity - output.starting_cash,
        "open_profit": float(sum(output.open_trades["net_profit"].to_pylist())),
        "fees": output.commission,
        "slippage": output.slippage,
        "financing": output.financing,
        "fees_to_gross_profit": output.commission / gross if gross and gross > 0.0 else math.nan,
    }
    return (found | Measured.of(money)).values


@given(CASES)
@settings(max_examples=60)
def test_figures_are_those_of_the_full_measurement(case):
    ready = case.prepared
    run, output = on_kernel(ready)
    if run.uncertain is not None:
        return
    found, expected = run.metrics(sorted(FIGURES)), measured(ready.experiment, output)
    for name in FIGURES:
        if expected[name] is None:
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(expected[name], rel=1e-12, abs=1e-12), name


def test_only_what_was_asked_for_is_told():
    run, _ = on_kernel(Case(5).prepared)
    assert list(run.metrics(["trades", "sharpe_ratio"])) == ["trades", "sharpe_ratio"]


def test_a_run_without_a_trade_has_no_trade_figures():
    run, _ = on_kernel(Case(5, busy=0.0).prepared)
    assert run.metrics(["trades", "win_rate", "sharpe_ratio", "total_return", "exposure"]) == {
        "trades": 0, "win_rate": None, "sharpe_ratio": None, "total_return": 0.0, "exposure": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["alpha", "max_drawdown_peak", "sharp_ratio"])
def test_what_a_run_alone_cannot_tell_is_refused(name):
    run, _ = on_kernel(Case(5).prepared)
    with pytest.raises(ResearchError, match=f"^metric: '{name}' is not one that a run alone can tell"):
        run.metrics([name])

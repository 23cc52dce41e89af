"""What speaks against trading an experiment is named, and nothing where its backtest speaks for it."""

from datetime import timedelta

import pytest

from research.ranking import Gates
from research.readiness import FRESH, reasons_against
from research.result import BacktestResult, save_result

OFF = Gates(**dict.fromkeys(Gates.model_fields))


@pytest.fixture
def backtest(lab, tmp_path):
    """The latest backtest of an experiment, changed and saved."""

    def made(**changes):
        result = lab.result()
        changed = BacktestResult({**result.page, **changes}, result.tables)
        save_result(changed, tmp_path)
        return changed

    return made


@pytest.fixture
def experiment(lab):
    return lab.experiment()


def test_a_backtest_of_what_is_traded_speaks_for_it(backtest, experiment, tmp_path):
    page = backtest()
    assert reasons_against(experiment, tmp_path, OFF, page.created_at) == ()


def test_without_a_backtest_the_command_that_makes_one_is_named(lab, tmp_path, backtest):
    other = lab.experiment(name="other")
    page = backtest()
    assert reasons_against(other, tmp_path, OFF, page.created_at) == (
        "other has no backtest; run `barloom backtest --experiment other`.",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"specification": {}}, "the latest backtest of demo is of another specification."),
        ({"quality_override": {"reason": "known"}}, "the latest backtest of demo used bars with a quality ERROR."),
        ({"final_halt": "FLATTEN"}, "the latest backtest of demo ended halted: FLATTEN."),
    ],
)
def test_each_fault_of_a_backtest_is_a_reason(backtest, experiment, tmp_path, change, reason):
    page = backtest(**change)
    assert reasons_against(experiment, tmp_path, OFF, page.created_at) == (reason,)


def test_a_backtest_grows_old(backtest, experiment, tmp_path):
    page = backtest()
    assert reasons_against(experiment, tmp_path, OFF, page.created_at + FRESH) == ()
    (reason,) = reasons_against(experiment, tmp_path, OFF, page.created_at + FRESH + timedelta(seconds=1))
    assert reason == "the latest backtest of demo is older than 35 days."


def test_the_gates_of_the_leaderboard_hold(backtest, experiment, tmp_path):
    page = backtest()
    (reason,) = reasons_against(experiment, tmp_path, Gates(**{**OFF.model_dump(), "trades": 10_000}), page.created_at)
    assert reason.startswith("the latest backtest of demo does not pass: Trades ")
    assert reason.endswith(" is below 10,000.")

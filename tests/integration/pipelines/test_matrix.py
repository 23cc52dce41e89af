"""Backtests side by side in processes: the same results, and a lost one loses no other."""

import os
import pickle

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines import backtesting
from pipelines.backtesting import BacktestOrder, order_takers
from pipelines.cli.app import run
from pipelines.cli.portfolios import shortlisted
from pipelines.errors import PipelineError
from pipelines.keys import SYMBOL_ASSETS
from pipelines.runs import Outcome, materialize_experiments, materialize_leaderboard, materialize_symbols
from research.errors import IneligibleError
from research.experiment import load_experiment
from research.leaderboard import leaderboard_file
from research.result import CIRCUMSTANCES, TABLES, load_result

pytestmark = pytest.mark.integration

QUICK = {
    "strategy": "strategies.sma_crossover.SMACrossover",
    "params": {"sma_short": 5, "sma_long": 20},
    "symbols": ["FB"],
    "start": "2012-05-18",
    "end": "2012-12-31",
}


@pytest.fixture
def desk(project):
    """A project with judged bars of FB and three quick experiments."""
    project.settings.experiments_dir.mkdir()
    for short in (4, 5, 6):
        write(project, f"quick{short}", {**QUICK, "params": {"sma_short": short + 1, "sma_long": 20}})
    assert materialize_symbols(project.instance, SYMBOL_ASSETS, ["FB"], defs=project.defs).success
    return project


def write(project, name, document):
    (project.settings.experiments_dir / f"{name}.yaml").write_text(yaml.safe_dump(document))


def backtest(project, *names, **config):
    options = {"tearsheet": False, **config}
    return materialize_experiments(project.instance, names, config=options, defs=project.defs)


def kept(desk, outcome):
    """Everything of the results that must be the same, by name."""
    found = {}
    for step in outcome.progress:
        result = load_result(desk.settings.results_dir, step.facts["id"])
        page = {key: value for key, value in result.page.items() if key not in CIRCUMSTANCES}
        found[step.name] = (page, {name: result.tables[name] for name in TABLES})
    return found


def test_processes_come_to_the_same_as_one_after_the_other(desk):
    names = ["quick4", "quick5", "quick6"]
    serial = kept(desk, backtest(desk, *names))
    again = backtest(desk, *names, workers=2, rerun=True)
    assert [step.outcome for step in again.progress] == [Outcome.DONE] * 3
    assert kept(desk, again) == serial
    assert [step.outcome for step in backtest(desk, *names, workers=2).progress] == [Outcome.UNCHANGED] * 3


def test_one_that_fails_in_its_process_says_why_and_loses_no_other(desk):
    write(desk, "quick3", {**QUICK, "symbols": ["NONE"]})
    write(desk, "quick7", {**QUICK, "limits": "default"})
    outcome = backtest(desk, "quick3", "quick4", "quick5", "quick7", workers=2, engine="fast")
    assert list(outcome.failures) == ["quick3"]
    assert "NONE" in outcome.failures["quick3"]
    assert sorted(step.name for step in outcome.progress if step.error is None) == ["quick4", "quick5", "quick7"]


class Deadly:
    """An experiment that ends the process in which it arrives, as a lack of memory does."""

    name = "deadly"

    def __reduce__(self):
        return os._exit, (1,)


def test_a_process_that_dies_loses_only_its_own(desk):
    settings = desk.settings
    quick = load_experiment(settings.experiments_dir / "quick4.yaml")

    def order(experiment):
        return BacktestOrder(experiment, settings.data_dir, settings.results_dir, engine="auto")

    with order_takers(2) as carry_out:
        with pytest.raises(PipelineError, match="deadly: its process ended before it was done"):
            carry_out(order(Deadly()))
        assert carry_out(order(quick)).result.name == "quick4"  # the pool is gone, the work is done


def test_one_worker_needs_no_process(desk, monkeypatch):
    monkeypatch.setattr(backtesting, "_by_a_process", None)
    assert backtest(desk, "quick4").success


def test_an_error_with_arguments_of_its_own_survives_the_way_back():
    error = pickle.loads(pickle.dumps(IneligibleError("kernel", "x", "it has timers")))  # noqa: S301
    assert str(error) == "engine: kernel cannot run x: it has timers"
    assert error.why == "it has timers"


def test_the_ranking_file_of_the_settings_is_the_leaderboards(desk):
    names = ["quick4", "quick5", "quick6"]
    backtest(desk, *names)
    rules = desk.folder / "ranking.yaml"
    rules.write_text("shortlist: {most: 2, minimum_score: 0, correlation: 1.0}\nweights: {sharpe: 0}\n")
    ranked = type(desk)(desk.folder, desk.instance, ranking_file=rules)
    assert materialize_leaderboard(desk.instance, defs=ranked.defs).success
    rows = pq.read_table(leaderboard_file(desk.settings.results_dir)).to_pylist()
    assert [row["score_sharpe"] for row in rows] == [0.0] * 3
    assert [row["left_out"] for row in rows] == [None, None, "the list holds 2 better ones"]
    ids = shortlisted(desk.settings.results_dir, None, ())
    assert ids == [row["id"] for row in rows[:2]]


def test_strategies_times_symbols_end_in_one_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = (
        "backtest --strategy strategies.sma_crossover.SMACrossover strategies.breakout.DonchianBreakout"
        " --symbols FB GOOG --each --start 2012-06-01 --end 2012-12-31 --workers 2 --export-csv m.csv"
    )
    assert run(line.split()) == 0
    told = capsys.readouterr().out
    assert told.count("SMACrossover") == told.count("DonchianBreakout") == 2
    (path,) = (tmp_path / "results" / "matrix").glob("*.parquet")
    table = pq.read_table(path)
    assert table["outcome"].to_pylist() == ["done"] * 4
    assert table["symbols"].to_pylist() == ["FB", "GOOG", "FB", "GOOG"]
    assert (tmp_path / "m.csv").read_text().count("\n") == 5

    assert run([*line.split()[:-2], "--csv"]) == 0
    again = capsys.readouterr().out.splitlines()
    assert len(again) == 5
    assert ",unchanged," in again[1]

    ids = table["id"].to_pylist()
    portfolio = ["--portfolio", "risk_parity", "--window", "40"]
    assert run(["compare", *ids[:3], *portfolio]) == 0
    told = capsys.readouterr().out
    assert "Portfolio" in told
    assert "realised risk" in told
    assert next((tmp_path / "results" / "portfolios").glob("*/portfolio.html")).exists()
    assert run(["compare", *ids, *portfolio]) == 2
    assert "4 positions are more than the 3" in capsys.readouterr().err


def test_a_combination_without_bars_is_a_failed_line_and_exit_code_1(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = (
        "backtest --strategy strategies.sma_crossover.SMACrossover --symbols FB NONE --each"
        " --start 2012-06-01 --end 2012-12-31 --workers 1"
    )
    assert run(line.split()) == 1
    captured = capsys.readouterr()
    assert "failed" in captured.out
    assert "NONE" in captured.err
    (path,) = (tmp_path / "results" / "matrix").glob("*.parquet")
    rows = {row["symbols"]: row for row in pq.read_table(path).to_pylist()}
    assert rows["FB"]["outcome"] == "done"
    assert rows["NONE"]["outcome"] == "failed"
    assert "NONE" in rows["NONE"]["error"]

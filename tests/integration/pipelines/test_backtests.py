"""From an experiment's file to a result and the leaderboard, through the production graph on the sample data."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from pipelines.keys import SYMBOL_ASSETS
from pipelines.resources import CalendarResource
from pipelines.runs import (
    Outcome,
    materialize_experiments,
    materialize_leaderboard,
    materialize_symbols,
    record_experiment,
    run_proof,
)
from research.engine.verify import EngineDifference, EngineRun
from research.experiment import Experiment, load_experiment
from research.result import load_result
from research.tracking import StoreUnreachableError

pytestmark = pytest.mark.integration

SHIPPED = Path(__file__).parents[3] / "experiments"
QUICK = {
    "strategy": "strategies.sma_crossover.SMACrossover",
    "params": {"sma_short": 5, "sma_long": 20},
    "symbols": ["FB"],
    "start": "2012-05-18",
    "end": "2012-12-31",
}


@pytest.fixture
def desk(project):
    """A project with judged bars of FB and one quick experiment."""
    write(project, "quick", QUICK)
    assert materialize_symbols(project.instance, SYMBOL_ASSETS, ["FB"], defs=project.defs).success
    return project


def write(project, name, document):
    project.settings.experiments_dir.mkdir(exist_ok=True)
    (project.settings.experiments_dir / f"{name}.yaml").write_text(yaml.safe_dump(document))


def backtest(project, *names, **config):
    options = {"tearsheet": False, **config}
    return materialize_experiments(project.instance, names or ["quick"], config=options, defs=project.defs)


def test_a_result_is_kept_under_the_id_that_the_run_reports(desk):
    outcome = backtest(desk)
    (step,) = outcome.progress
    result = load_result(desk.settings.results_dir, step.facts["id"])
    assert outcome.success
    assert result.name == "quick"
    assert result.metrics["total_return"] == step.facts["total_return"]
    assert Path(step.facts["chart"]).exists()


def test_a_result_that_stands_is_not_computed_again(desk):
    first, second = backtest(desk).progress[0], backtest(desk).progress[0]
    assert (first.outcome, second.outcome) == (Outcome.DONE, Outcome.UNCHANGED)
    assert first.facts["id"] == second.facts["id"]


def test_rerun_computes_again_and_comes_to_the_same(desk):
    first = backtest(desk).progress[0]
    page = desk.settings.results_dir / "backtests" / f"{first.facts['id']}.json"
    before = json.loads(page.read_text())
    page.write_text(json.dumps({**before, "created_at": "2001-01-01T00:00:00+00:00"}))
    assert backtest(desk).progress[0].outcome is Outcome.UNCHANGED
    assert backtest(desk, rerun=True).progress[0].outcome is Outcome.DONE
    after = json.loads(page.read_text())
    assert after["created_at"] >= before["created_at"]
    assert {**before, "created_at": ""} == {**after, "created_at": ""}


def test_a_page_that_is_missing_is_drawn_without_computing_again(desk):
    first = backtest(desk).progress[0]
    Path(first.facts["chart"]).unlink()
    second = backtest(desk).progress[0]
    assert second.outcome is Outcome.UNCHANGED
    assert Path(second.facts["chart"]).exists()


def test_new_bars_after_the_experiments_end_do_not_make_it_another_backtest(desk):
    short = {"raw_bars": {"start": "2012-05-18", "end": "2012-12-31"}}
    shutil.rmtree(desk.settings.data_dir)
    materialize_symbols(desk.instance, SYMBOL_ASSETS, ["FB"], run_config=short, defs=desk.defs)
    first = backtest(desk).progress[0]
    materialize_symbols(desk.instance, SYMBOL_ASSETS, ["FB"], defs=desk.defs)
    assert backtest(desk).progress[0].facts["id"] == first.facts["id"]


@pytest.mark.parametrize(
    "config",
    [
        {"params": '{"sma_long": 30}'},
        {"cash": 5000.0},
        {"cost_model": "none"},
        {"start": "2012-06-01"},
        {"end": "2012-11-30"},
    ],
    ids=lambda config: next(iter(config)),
)
def test_every_option_of_the_launchpad_changes_what_runs(desk, config):
    plain, changed = backtest(desk).progress[0], backtest(desk, **config).progress[0]
    specification = load_result(desk.settings.results_dir, changed.facts["id"]).specification
    assert plain.facts["id"] != changed.facts["id"]
    name, value = next(iter(config.items()))
    found = {"params": json.dumps({"sma_long": specification["params"]["sma_long"]}),
             "cost_model": specification["costs"]["model"]}.get(name, specification.get(name))  # fmt: skip
    assert found == value


def test_the_engine_of_the_launchpad_runs_and_a_stored_result_of_another_is_computed_again(desk):
    first = backtest(desk, engine="vanilla").progress[0]
    second = backtest(desk, engine="fast").progress[0]
    third = backtest(desk, engine="auto").progress[0]
    assert [step.outcome for step in (first, second, third)] == [Outcome.DONE, Outcome.DONE, Outcome.UNCHANGED]
    assert {step.facts["id"] for step in (first, second, third)} == {first.facts["id"]}
    assert [step.facts["engine"] for step in (first, second, third)] == [
        "vanilla. The engine vanilla was asked for.",
        "fast. The engine fast was asked for.",
        "fast. The engine fast was asked for.",
    ]


def test_an_engine_that_does_not_exist_is_told(desk):
    assert "engine: 'fsat' is not one of auto" in backtest(desk, engine="fsat").failures["quick"]


def test_every_engine_is_proven_by_a_run_of_the_graph(desk, monkeypatch):
    monkeypatch.setattr("pipelines.definitions.defs", desk.defs)
    proof = run_proof(desk.instance, "verify_engine", "run_engines", {"experiment": "quick"})
    assert proof.error is None
    assert [(run.engine, run.verdict) for run in proof.found[:2]] == [
        ("vanilla", "the reference"),
        ("fast", "identical"),
    ]


def test_an_engine_that_comes_to_something_else_fails_its_proof(desk, monkeypatch):
    wrong = EngineRun("fast", 0.1, None, EngineDifference("deposits", None, "0.0", "1.0"))
    monkeypatch.setattr("research.engine.verify.verify_engines", lambda *_: [wrong])
    monkeypatch.setattr("pipelines.definitions.defs", desk.defs)
    proof = run_proof(desk.instance, "verify_engine", "run_engines", {"experiment": "quick"})
    assert proof.found == [wrong]
    assert "fast: deposits is 1.0, vanilla has 0.0" in proof.error


def test_a_wrong_option_is_told_and_nothing_runs(desk):
    outcome = backtest(desk, params="[1]")
    assert outcome.failures == {"quick": "params: '[1]' is not a JSON object."}
    assert not (desk.settings.results_dir / "backtests").exists()


def test_one_broken_experiment_does_not_lose_the_other(desk):
    write(desk, "broken", {**QUICK, "strategy": "strategies.sma_crossover.SMACrosover"})
    outcome = backtest(desk, "broken", "quick")
    assert not outcome.success
    assert list(outcome.failures) == ["broken"]
    assert "SMACrossover" in outcome.failures["broken"]
    assert [step.name for step in outcome.progress if step.error is None] == ["quick"]


def test_bars_with_a_standing_error_are_refused_until_the_experiment_says_why_not(desk):
    rules = desk.folder / "strict.yaml"
    rules.write_text("series_ended: {severity: ERROR, threshold: 0}\n")
    strict = type(desk)(desk.folder, desk.instance, quality_file=rules)
    strict.resources["calendar"] = CalendarResource()  # today, years after the sample's last bar
    strict.rebuild()
    judged = materialize_symbols(strict.instance, ["quality_report"], ["FB"], defs=strict.defs)
    assert not judged.success
    refused = backtest(strict)
    assert "quality ERROR stands (series_ended)" in refused.failures["quick"]
    allowed = backtest(strict, allow_quality_errors="the sample ends in 2013")
    assert allowed.success
    result = load_result(strict.settings.results_dir, allowed.progress[0].facts["id"])
    assert result.page["quality_override"] == {
        "reason": "the sample ends in 2013",
        "errors": {"FB": ["series_ended"]},
    }


def test_bars_cleaned_after_they_were_judged_are_refused(desk):
    config = {"raw_bars": {"start": "2012-06-01"}}
    shutil.rmtree(desk.settings.data_dir / "raw")
    materialize_symbols(desk.instance, SYMBOL_ASSETS[:3], ["FB"], run_config=config, defs=desk.defs)
    outcome = backtest(desk)
    assert "its quality report is of other 1d bars" in outcome.failures["quick"]


def test_an_experiment_without_bars_says_which_symbol(desk):
    write(desk, "nobars", {**QUICK, "symbols": ["FB", "AAPL"]})
    assert "AAPL" in backtest(desk, "nobars").failures["nobars"]


def test_an_experiment_named_on_the_command_line_is_recorded_once(desk):
    experiment = Experiment.build(**{**QUICK, "name": "adhoc"})
    assert record_experiment(experiment, desk.settings) == "adhoc"
    assert record_experiment(experiment, desk.settings) == "adhoc"
    assert load_experiment(desk.settings.results_dir / "experiments" / "adhoc.yaml") == experiment
    assert backtest(desk, "adhoc").success


def test_a_recorded_experiment_never_changes_one_of_the_users(desk):
    text = (desk.settings.experiments_dir / "quick.yaml").read_text()
    other = Experiment.build(**{**QUICK, "name": "quick", "cash": 7.0})
    name = record_experiment(other, desk.settings)
    assert name.startswith("quick-")
    assert record_experiment(other, desk.settings) == name
    assert (desk.settings.experiments_dir / "quick.yaml").read_text() == text


def test_the_leaderboard_ranks_what_there_is(desk):
    backtest(desk)
    outcome = materialize_leaderboard(desk.instance, defs=desk.defs)
    (step,) = outcome.progress
    assert (step.asset, step.name, step.facts["rows"]) == ("leaderboard", "", 1)
    assert Path(step.facts["file"]).exists()


def test_the_shipped_experiments_are_what_they_say(project):
    shutil.copytree(SHIPPED, project.settings.experiments_dir)
    names = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    symbols = ["AAPL", "GOOG", "IBM", "MSFT"]
    assert materialize_symbols(project.instance, SYMBOL_ASSETS, symbols, defs=project.defs).success
    outcome = backtest(project, *names)
    found = {step.name: load_result(project.settings.results_dir, step.facts["id"]) for step in outcome.progress}
    assert outcome.success
    assert sorted(found) == ["risk_drawdown", "sma_aapl", "sma_portfolio"]
    assert len(found["sma_aapl"].specification["symbols"]) == 1
    assert len(found["sma_portfolio"].specification["symbols"]) == 4
    assert found["sma_portfolio"].page["benchmark"]["total_return"] is not None
    assert found["risk_drawdown"].page["risk_events"]["by_limit"]["max_drawdown"] >= 1
    assert found["sma_aapl"].page["risk_events"]["count"] == 0


def test_a_tracked_backtest_and_its_run_of_the_graph_name_each_other(desk):
    from mlflow.tracking import MlflowClient

    (step,) = backtest(desk, mlflow=True).progress
    (again,) = backtest(desk, mlflow=True).progress
    experiment, run = re.fullmatch(r".*/#/experiments/(\d+)/runs/(\w+)", step.facts["mlflow_run"]).groups()
    client = MlflowClient(tracking_uri=f"sqlite:///{desk.settings.results_dir}/mlflow/mlflow.db")
    tracked = client.get_run(run)
    assert again.facts["mlflow_run"] == step.facts["mlflow_run"]
    assert [found.info.run_id for found in client.search_runs([experiment])] == [run]
    assert tracked.data.tags["backtest_id"] == step.facts["id"]
    assert tracked.data.metrics["total_return"] == step.facts["total_return"]
    assert desk.instance.get_run_by_id(tracked.data.tags["dagster_run_id"]).is_success
    assert "chart.html" in {file.path for file in client.list_artifacts(run)}


def test_a_backtest_whose_tracking_server_is_down_succeeds_and_waits(desk, monkeypatch):
    monkeypatch.setenv("BARLOOM_MLFLOW_URI", "http://u:geheim@127.0.0.1:9")
    outcome = backtest(desk, mlflow=True)
    (step,) = outcome.progress
    assert outcome.success
    assert "waits in the outbox" in step.facts["mlflow_waits"]
    assert "geheim" not in repr(step.facts)
    assert len(list((desk.settings.results_dir / "mlflow" / "outbox").glob("*.json"))) == 1


def test_a_backtest_is_not_tracked_unless_it_is_asked_for(desk):
    assert not {"mlflow_run", "mlflow_waits"} & backtest(desk).progress[0].facts.keys()
    assert not (desk.settings.results_dir / "mlflow").exists()


def test_a_server_that_never_answers_holds_up_one_backtest_of_many(desk, monkeypatch):
    names = [f"quick{at}" for at in range(4)]
    for at, name in enumerate(names):
        write(desk, name, {**QUICK, "cash": 1000.0 + at})
    waited = []
    monkeypatch.setattr(
        "research.tracking.outbox.open_store",
        lambda *_, **__: waited.append(1) or (_ for _ in ()).throw(StoreUnreachableError("silent.")),
    )
    outcome = backtest(desk, *names, mlflow=True)
    assert outcome.success
    assert len(waited) == 1
    assert all("silent" in step.facts["mlflow_waits"] for step in outcome.progress)
    assert len(list((desk.settings.results_dir / "mlflow" / "outbox").glob("*.json"))) == 4

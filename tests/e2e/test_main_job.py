"""The README's commands, in their order, on the shipped bars: each test continues where the one before it stopped."""

import json
import re

import dagster as dg
import pyarrow.parquet as pq
import pytest

from pipelines.runs import open_instance

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def first_demo(barloom):
    done = barloom("demo", timeout=400)
    assert done.returncode == 0, done.stderr
    return done


def _files(project):
    kept = [*project.glob("data/**/*"), *project.glob("results/backtests/**/*")]
    return {path: path.stat().st_mtime_ns for path in kept if path.is_file() and path.suffix != ".duckdb"}


def test_demo_ends_with_three_backtests_against_buy_and_hold_and_their_tear_sheets(first_demo, project):
    for name in ("sma_aapl", "sma_portfolio", "risk_drawdown"):
        assert name in first_demo.stdout
    assert first_demo.stdout.count("buy and hold") == 3
    sheets = re.findall(r"results/backtests/[0-9a-f-]+/tearsheet\.html", first_demo.stdout)
    assert len(sheets) == 3
    assert all((project / sheet).stat().st_size > 10_000 for sheet in sheets)


def test_one_of_the_demo_backtests_trips_a_risk_limit(first_demo, project):
    pages = [json.loads(path.read_text()) for path in (project / "results/backtests").glob("*.json")]
    halted = [page["name"] for page in pages if page["final_halt"] != "ACTIVE"]
    assert halted == ["risk_drawdown"]


def test_a_second_demo_changes_no_file(first_demo, barloom, project):
    before = _files(project)
    assert barloom("demo").returncode == 0
    assert _files(project) == before


def test_the_predecessors_backtest_line_works_word_for_word(first_demo, barloom, project):
    line = (
        "backtest --strategy strategies.sma_crossover.SMACrossover --symbols AAPL MSFT "
        "--start 2000-03-01 --end 2012-12-31 --cash 100000"
    )
    done = barloom(*line.split())
    assert done.returncode == 0, done.stderr
    page = json.loads((project / re.search(r"results/backtests/[0-9a-f-]+\.json", done.stdout)[0]).read_text())
    assert page["specification"]["symbols"] == ["AAPL", "MSFT"]
    assert page["metrics"]["max_drawdown"] < 0 < page["metrics"]["fees"]


def test_a_result_reproduces_and_its_files_have_the_promised_names(first_demo, barloom, project):
    page = next((project / "results/backtests").glob("*.json"))
    backtest_id = page.stem
    done = barloom("reproduce", backtest_id)
    assert (done.returncode, done.stdout.strip()) == (0, f"{backtest_id}: identical"), done.stderr
    folder = page.with_suffix("")
    assert {"ts", "equity", "cash"} <= set(pq.read_schema(folder / "equity.parquet").names)
    fills = pq.read_schema(folder / "fills.parquet").names
    assert {"ts", "symbol", "side", "quantity", "price", "commission"} <= set(fills)


def test_sql_sees_the_backtests(first_demo, barloom):
    done = barloom("sql", "SELECT count(DISTINCT name) AS n FROM backtests", "--json")
    assert json.loads(done.stdout)[0]["n"] >= 3


def test_no_look_ahead_is_found_in_a_shipped_experiment(first_demo, barloom):
    done = barloom("check-lookahead", "--experiment", "sma_aapl", "--cuts", "4")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "no look-ahead found at 4 cuts" in done.stdout


def test_every_engine_gives_a_shipped_experiment_the_same_result(first_demo, barloom):
    done = barloom("verify-engine", "sma_aapl")
    assert done.returncode == 0, done.stderr + done.stdout
    rows = dict(re.findall(r"^ (vanilla|fast|kernel) +[\d.]+ +(.*?) *$", done.stdout, re.MULTILINE))
    assert rows == {"vanilla": "the reference", "fast": "identical", "kernel": "identical"}


def test_a_grid_of_parameters_ends_in_a_proven_ranking(first_demo, barloom):
    line = (
        "optimize --strategy strategies.sma_crossover.SMACrossover --symbols AAPL --start 2000-03-01 --end 2013-03-01"
        " --param-ranges sma_short:10-30:10,sma_long:20-40:10"
    )
    shown = barloom(*line.split(), "--workers", "2", "--top", "2", "--study-name", "grid")
    assert shown.returncode == 0, shown.stderr
    assert "6 complete (grid on kernel), 3 left out by constraints" in shown.stdout
    assert "6 trials run again on Backtrader: identical" in shown.stdout
    every = barloom(*line.split(), "--study-name", "grid", "--csv").stdout.splitlines()
    assert every[0].startswith("number,state,value,penalty,reason,engine,seconds,sma_short,sma_long,")
    assert [row.split(",")[7:9] for row in every[1:]] == [
        ["10", "20"], ["10", "30"], ["10", "40"], ["20", "30"], ["20", "40"], ["30", "40"]
    ]  # fmt: skip


def test_the_engine_that_was_asked_for_runs_or_says_why_it_cannot(first_demo, barloom):
    what = "--strategy strategies.momentum.CrossSectionalRotation --symbols AAPL MSFT"
    line = f"backtest {what} --start 2004-01-05 --end 2005-12-30"
    made = barloom(*line.split(), "--engine", "vanilla")
    assert made.returncode == 0, made.stderr
    assert "engine vanilla. The engine vanilla was asked for." in made.stdout
    refused = barloom(*line.split(), "--engine", "kernel")
    assert refused.returncode == 2
    assert "engine: kernel cannot run" in refused.stderr


PEEKS = """
import backtrader as bt


class Peek(bt.Strategy):
    def next(self):
        try:
            rises = self.data.close[1] > self.data.close[0]
        except IndexError:
            return
        if rises and not self.position:
            self.buy(size=10)
        elif not rises and self.position:
            self.close()
"""


def test_a_strategy_that_peeks_one_bar_is_found_and_the_run_shows_it(first_demo, barloom, project):
    (project / "peek.py").write_text(PEEKS)
    made = barloom(
        "backtest", "--strategy", "peek.Peek", "--symbols", "IBM", "--start", "2005-01-03", "--end", "2005-12-30",
        "--name", "peek",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    done = barloom("check-lookahead", "--experiment", "peek", "--cuts", "4")
    assert done.returncode == 1
    assert "peek: decisions change when the future is taken away" in done.stderr
    with open_instance(project) as instance:
        last = instance.get_runs(limit=1)[0]
        assert (last.job_name, last.status) == ("check_lookahead", dg.DagsterRunStatus.FAILURE)


def test_no_cuts_are_refused_in_one_sentence(first_demo, barloom):
    done = barloom("check-lookahead", "--experiment", "sma_aapl", "--cuts", "0")
    assert (done.returncode, done.stderr.strip()) == (2, "barloom: cuts: 0 must be at least 1.")


def test_a_new_strategy_passes_its_own_test_and_runs_from_the_working_directory(first_demo, barloom, project):
    made = barloom("new", "strategy", "MyBreakout")
    assert made.returncode == 0, made.stderr
    module = re.search(r"wrote (\S*/)?(?P<stem>\w+)\.py", made.stdout)["stem"]
    done = barloom(
        "backtest", "--strategy", f"{module}.MyBreakout", "--symbols", "IBM",
        "--start", "2000-03-01", "--end", "2004-12-31",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_failing_symbol_does_not_lose_the_others_and_the_exit_code_says_so(first_demo, barloom):
    done = barloom("download", "--symbols", "IBM", "NOPE", "--start", "2010-01-04", "--end", "2010-12-31")
    assert done.returncode == 1
    assert "NOPE: symbol: 'NOPE' is not in the sample data" in done.stderr
    assert "IBM" in done.stdout

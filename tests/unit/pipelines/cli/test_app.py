"""What an error looks like to a person, and which exit code it has."""

import contextlib
import json
import sqlite3
from datetime import UTC, datetime

import pytest

from pipelines.cli.app import build_app, run
from warehouse.errors import InvalidRequestError
from warehouse.ledger.records import AlarmRaised, Scope
from warehouse.ledger.store import Ledger

GRID = (
    "optimize --strategy strategies.sma_crossover.SMACrossover --symbols A --start 2020-01-01 --end 2020-02-01"
    " --param-ranges "
)
EACH = (
    "backtest --each --strategy strategies.sma_crossover.SMACrossover --symbols A B --start 2020-01-01"
    " --end 2020-02-01 "
)


@pytest.fixture(autouse=True)
def _empty_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("downlod --symbols AAPL", 'Did you mean "download"?'),
        ("download --symbols AAPL --start 2020-13-01", '"2020-13-01"'),
        (
            "download --symbols AAPL --start 2020-02-01 --end 2020-01-01",
            "end: 2020-01-01 lies before start 2020-02-01.",
        ),
        ("download --symbols AAPL --resolution weekly", "resolution: 'weekly' is not one of"),
        ("download --smybols AAPL", "--smybols"),
        ("download --symbols AAPL --source yahoo", "yahoo"),
        ("download --symbols AAPL --source files", "source: 'files' needs BARLOOM_FILES_SPEC"),
        ("download --symbols AAPL --resolution 5s", "resolution: 5s bars are not downloaded, `barloom gateway record`"),
        ("download --symbols AAPL A@ --source ib", "symbol: 'A@' must have a name before"),
        ("gateway record --symbols A@", "symbol: 'A@' must have a name before"),
        ("gateway record --symbols AAPL --minutes 0", "minutes: 0 is not above 0."),
        ("gateway record --symbols AAPL --port 1", "127.0.0.1:1 cannot be reached"),
        ("gateway record --symbols AAPL --port 4001", "port: 4001 is IB's port for live trading"),
        ("backtest --symbols AAPL", "--strategy, --symbols, --start and --end are needed"),
        ("backtest --experiment nothing", "experiment: 'nothing' has no file"),
        (
            "backtest --strategy a.B --symbols A --start 2020-01-01 --end 2020-02-01 --params-file none.json",
            "none.json: No such file or directory.",
        ),
        (
            "backtest --strategy strategies.sma_crossover.SMACrossver --symbols A --start 2020-01-01 --end 2020-02-01",
            "Did you mean SMACrossover?",
        ),
        (GRID + "sma_short", "'sma_short' is not of the form name:low-high."),
        (GRID + "sma_short:9-5", "sma_short: '9-5' holds no value."),
        (GRID + "sma_shrt:5-9", "Did you mean sma_short?"),
        (GRID + "sma_short:0-9", "sma_short must be between 1 and 1000, not 0."),
        (GRID + "sma_short:50-60,sma_long:40-45", "space: every point is forbidden by a constraint."),
        (GRID + "sma_short:5-9 --metric sharp_ratio", "did you mean sharpe_ratio"),
        (GRID + "sma_short:5-9 --top 0", "top: 0 must be at least 1."),
        ("check-lookahead --experiment none.yaml", "none.yaml cannot be read"),
        ("verify-engine none.yaml", "none.yaml cannot be read"),
        ("backtest --experiment a --engine fsat", 'Did you mean "fast"?'),
        ("compare abc", "compare: needs two ids or more, got 1."),
        ("backtest --strategy a.B c.D --symbols A --start 2020-01-01 --end 2020-02-01", "2 strategies need --each"),
        ("backtest --experiment a --each", "--each needs --strategy and --symbols"),
        ("backtest --experiment a --csv", "--csv has no effect without --each."),
        (EACH + "--workers 0", "workers: 0 must be at least 1."),
        (EACH + "--export-csv none/m.csv", "export-csv: there is no folder 'none'."),
        (EACH + "--name x", "name: 'x' cannot name 2 backtests."),
        ("compare a b --portfolio parity", "parity"),
        ("compare a b --window 60", "compare: window has no effect without --portfolio."),
        ("compare a b --portfolio equal --max-weight 1.5", "portfolio: maximum: 1.5 is wrong"),
        ("compare a --shortlist", "--shortlist chooses the backtests, 'a' cannot be named too."),
        ("compare --shortlist", "there is no leaderboard yet"),
        ("show zzz", "zzz"),
        ("sql DELETE", "sql:"),
        ("mlflow --port 0", "port: 0 must be between 1 and 65535."),
        ("mlflow sync --port 5", "--port"),
        ("mlflow snyc", "snyc"),
        ("ui", "there is no workspace.yaml"),
        ("gateway simulate", "run `barloom download"),
        ("gateway simulate --symbols AAPL", "run `barloom download --symbols AAPL` first"),
        ("gateway simulate --account U1234567", "account: 'U1234567' is no simulated account"),
        ("gateway simulate --speed fast", "speed: 'fast' is neither a number nor max."),
        ("gateway simulate --clock wall", "wall"),
        ("gateway simulate --costs free", "costs: 'free' is not one of"),
        ("gateway simulate --cash -5", "cash: -5.0 is not above 0."),
        ("gateway simulate --port 99999", "port: 99999 is not a port."),
        ("gateway simulate --port 0 --detach", "port: 0"),
        ("gateway simulate --script none.json", "none.json"),
    ],
)
def test_a_wrong_request_is_one_sentence_on_stderr_and_exit_code_2(line, sentence, capsys):
    assert run(line.split()) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.startswith("barloom: ")
    assert "Traceback" not in told


def test_debug_shows_where_an_error_comes_from():
    with pytest.raises(InvalidRequestError):
        run(["download", "--symbols", "AAPL", "--resolution", "weekly"], debug=True)


def test_a_wrong_request_changes_nothing(tmp_path):
    run(["download", "--symbols", "AAPL", "--resolution", "weekly"])
    crossover = "--strategy strategies.sma_crossover.SMACrossover --symbols A --start 2020-01-01 --end 2020-02-01"
    run(["backtest", *crossover.split(), "--params", '{"sma_shrt": 3}'])
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_ranking_file_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "r.yaml").write_text("weights: {shrape: 1}")
    monkeypatch.setenv("BARLOOM_RANKING_FILE", "r.yaml")
    assert run(["leaderboard"]) == 2
    assert "r.yaml: weights.shrape is not a known key; did you mean sharpe." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["r.yaml"]


def test_parameters_that_are_not_a_json_object_are_refused(capsys):
    line = ["backtest", "--strategy", "a.B", "--symbols", "AAPL", "--start", "2020-01-01", "--end", "2020-02-01"]
    assert run([*line, "--params", "[1]"]) == 2
    assert "params: '[1]' is not a JSON object." in capsys.readouterr().err


def test_help_names_every_command_with_a_summary(capsys):
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    for command in build_app():
        assert command.strip("-") in told


def test_sql_works_before_any_data_exists(capsys):
    assert run(["sql", "SELECT count(*) AS n FROM bars", "--json"]) == 0
    assert '"n": 0' in capsys.readouterr().out


def test_sql_reads_the_ledger_that_the_settings_name(monkeypatch, capsys, tmp_path):
    assert run(["sql", "SELECT text FROM live_alarms", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    with Ledger.open(tmp_path / "elsewhere.sqlite") as ledger:
        ledger.append(Scope("sma", "DU1"), AlarmRaised(datetime(2024, 1, 5, tzinfo=UTC), "outage", "It is dark."))
    monkeypatch.setenv("BARLOOM_LEDGER_URL", f"sqlite:///{tmp_path}/elsewhere.sqlite")
    assert run(["sql", "SELECT text FROM live_alarms", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"text": "It is dark."}]


def test_the_tables_of_a_ledger_are_made_again_from_its_events(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("BARLOOM_LEDGER_URL", f"sqlite:///{tmp_path}/ours.sqlite")
    with Ledger.open(tmp_path / "ours.sqlite") as ledger:
        ledger.append(Scope("sma", "DU1"), AlarmRaised(datetime(2024, 1, 5, tzinfo=UTC), "outage", "It is dark."))
    with contextlib.closing(sqlite3.connect(tmp_path / "ours.sqlite")) as connection, connection:
        connection.execute("DELETE FROM alarms")
    assert run(["live", "rebuild"]) == 0
    assert capsys.readouterr().out == "The ledger's tables are made again from 1 event.\n"
    assert run(["sql", "SELECT text FROM live_alarms", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"text": "It is dark."}]


def test_a_ledger_that_is_away_is_told_without_its_password(monkeypatch, capsys):
    monkeypatch.setenv("BARLOOM_LEDGER_URL", "postgresql://anna:geheim@127.0.0.1:9/trading")
    assert run(["sql", "FROM live_alarms"]) == 2
    told = capsys.readouterr().err
    assert "ledger: reading failed in postgresql://127.0.0.1:9/trading" in told
    assert "geheim" not in told


@pytest.mark.parametrize("line", ["mlflow", "mlflow sync", "backtest --experiment nothing --mlflow"])
def test_a_tracking_store_that_is_none_is_refused_before_anything_runs(line, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("BARLOOM_MLFLOW_URI", "ftp://u:geheim@lab")
    assert run(line.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith("barloom: tracking store: 'ftp://u:***@lab' is neither a server")
    assert list(tmp_path.iterdir()) == []


def test_a_tracking_server_that_is_down_is_told(monkeypatch, capsys):
    monkeypatch.setenv("BARLOOM_MLFLOW_URI", "http://u:geheim@127.0.0.1:9")
    assert run(["mlflow"]) == 2
    assert "http://u:***@127.0.0.1:9 cannot be reached" in capsys.readouterr().err


def test_a_sync_with_nothing_to_send_is_done(capsys):
    assert run(["mlflow", "sync"]) == 0
    assert capsys.readouterr().out == "0 sent, 0 left\n"


def test_a_sync_that_leaves_something_is_not_done(tmp_path, capsys):
    outbox = tmp_path / "results" / "mlflow" / "outbox"
    outbox.mkdir(parents=True)
    (outbox / "damaged.json").write_text("{")
    assert run(["mlflow", "sync"]) == 1
    told = capsys.readouterr()
    assert "0 sent, 1 left" in told.out
    assert "damaged.json cannot be read" in told.err

"""Every setting is read, checked and named in one sentence when it is wrong."""

from datetime import date
from pathlib import Path

import pytest

from pipelines.errors import SettingsError
from pipelines.settings import Settings, load_settings


def test_an_empty_environment_gives_the_defaults(tmp_path):
    settings = load_settings(tmp_path, environ={})
    assert settings == Settings()
    assert (settings.source, settings.calendar, settings.workers) == ("sample", "XNYS", 4)


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("BARLOOM_DATA_DIR", "bars", "data_dir", Path("bars")),
        ("BARLOOM_RESULTS_DIR", "out", "results_dir", Path("out")),
        ("BARLOOM_EXPERIMENTS_DIR", "lab", "experiments_dir", Path("lab")),
        ("BARLOOM_FILES_SPEC", "spec.yaml", "files_spec", Path("spec.yaml")),
        ("BARLOOM_LEAN_FOLDER", "lean", "lean_folder", Path("lean")),
        ("BARLOOM_UNIVERSE_FILE", "u.txt", "universe_file", Path("u.txt")),
        ("BARLOOM_CALENDAR", "XLON", "calendar", "XLON"),
        ("BARLOOM_QUALITY_FILE", "q.yaml", "quality_file", Path("q.yaml")),
        ("BARLOOM_HISTORY_START", "2001-02-03", "history_start", date(2001, 2, 3)),
        ("BARLOOM_OVERLAP_SESSIONS", "9", "overlap_sessions", 9),
        ("BARLOOM_WORKERS", "2", "workers", 2),
        ("BARLOOM_SOURCE_ATTEMPTS", "7", "source_attempts", 7),
        ("BARLOOM_SOURCE_RETRY_SECONDS", "0.5", "source_retry_seconds", 0.5),
        ("BARLOOM_MLFLOW_URI", "http://u:pw@host:5000", "mlflow_uri", "http://u:pw@host:5000"),
        ("BARLOOM_IB_HOST", "10.0.0.7", "ib_host", "10.0.0.7"),
        ("BARLOOM_IB_PORT", "4001", "ib_port", 4001),
        ("BARLOOM_IB_CLIENT_ID", "3", "ib_client_id", 3),
        ("BARLOOM_IB_ACCOUNT", "DU7", "ib_account", "DU7"),
        ("BARLOOM_IB_RESET", "none", "ib_reset", "none"),
        ("BARLOOM_SIMULATOR_URL", "http://127.0.0.1:4003", "simulator_url", "http://127.0.0.1:4003"),
        ("IB_TRADING_MODE", "live", "trading_mode", "live"),
        ("barloom_workers", "3", "workers", 3),
    ],
)
def test_a_variable_sets_its_field(tmp_path, variable, text, field, value):
    assert getattr(load_settings(tmp_path, environ={variable: text}), field) == value


def test_the_ledger_is_a_file_of_the_data_folder_until_a_url_names_a_database(tmp_path):
    assert load_settings(tmp_path, environ={"BARLOOM_DATA_DIR": "bars"}).ledger == Path("bars/ledger.sqlite")
    url = "postgresql://anna:geheim@host/trading"
    settings = load_settings(tmp_path, environ={"BARLOOM_LEDGER_URL": url})
    assert settings.ledger == url
    assert "geheim" not in f"{settings} {settings!r} {settings.model_dump()}"


def test_the_environment_overrules_the_env_file(tmp_path):
    (tmp_path / ".env").write_text("BARLOOM_WORKERS=2\nBARLOOM_CALENDAR=XLON\nOTHER_TOOL=1\n")
    settings = load_settings(tmp_path, environ={"BARLOOM_WORKERS": "5"})
    assert (settings.workers, settings.calendar) == (5, "XLON")


def test_a_variable_of_another_program_is_none_of_our_business(tmp_path):
    assert load_settings(tmp_path, environ={"DAGSTER_HOME": "/x", "WORKERS": "9"}) == Settings()


def test_an_empty_variable_means_the_default(tmp_path):
    assert load_settings(tmp_path, environ={"BARLOOM_WORKERS": ""}).workers == 4


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"BARLOOM_WORKER": "2"}, "BARLOOM_WORKER: there is no such setting. Did you mean BARLOOM_WORKERS?"),
        ({"BARLOOM_WORKERS": "0"}, "BARLOOM_WORKERS: '0' is refused, input should be greater than or equal to 1."),
        (
            {"BARLOOM_SOURCE": "yahoo"},
            "BARLOOM_SOURCE: 'yahoo' is refused, input should be 'sample', 'files', 'lean' or 'ib'.",
        ),
        ({"IB_TRADING_MODE": "real"}, "IB_TRADING_MODE: 'real' is refused, input should be 'paper' or 'live'."),
        (
            {"BARLOOM_TRADING_MODE": "live"},
            "BARLOOM_TRADING_MODE: there is no such setting. Did you mean IB_TRADING_MODE?",
        ),
        ({"BARLOOM_SOURCE": "lean"}, "source: 'lean' needs BARLOOM_LEAN_FOLDER, the LEAN data folder."),
        (
            {"BARLOOM_SOURCE": "files"},
            "source: 'files' needs BARLOOM_FILES_SPEC, the YAML that describes the files.",
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_its_name_and_value(tmp_path, environ, sentence):
    with pytest.raises(SettingsError) as error:
        load_settings(tmp_path, environ=environ)
    assert str(error.value) == sentence


def test_an_unknown_variable_in_the_env_file_is_an_error_too(tmp_path):
    (tmp_path / ".env").write_text("BARLOOM_CALENDER=XLON\n")
    with pytest.raises(SettingsError, match="Did you mean BARLOOM_CALENDAR"):
        load_settings(tmp_path, environ={})


def test_settings_built_in_code_do_not_look_at_the_machine(monkeypatch):
    monkeypatch.setenv("BARLOOM_WORKERS", "9")
    assert Settings().workers == 4


def test_the_password_of_a_tracking_store_is_not_in_the_text_of_the_settings():
    assert "secret" not in repr(Settings(mlflow_uri="http://u:secret@host:5000"))

"""Addresses of stores: what is one, and that no password is ever shown."""

from pathlib import Path

import pytest

from research.tracking import TrackingError, masked, tracking_place, ui_command

SECRET = "Pa55-word"  # noqa: S105


def test_without_an_address_it_is_the_store_of_the_results_folder(tmp_path):
    place = tracking_place(tmp_path)
    assert place.kind == "embedded"
    assert place.uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert place.artifacts == tmp_path / "mlflow" / "artifacts"


@pytest.mark.parametrize(
    ("uri", "kind", "used"),
    [
        ("http://127.0.0.1:5000", "server", "http://127.0.0.1:5000"),
        ("https://u:p@lab.example/mlflow", "server", "https://u:p@lab.example/mlflow"),
        ("postgresql://u:p@db/mlflow", "database", "postgresql+psycopg2://u:p@db/mlflow"),
        ("postgres://u:p@db/mlflow", "database", "postgresql+psycopg2://u:p@db/mlflow"),
        ("postgresql+psycopg2://u@db/mlflow", "database", "postgresql+psycopg2://u@db/mlflow"),
        ("sqlite:////srv/mlflow.db", "database", "sqlite:////srv/mlflow.db"),
    ],
)
def test_addresses(tmp_path, uri, kind, used):
    place = tracking_place(tmp_path, uri)
    assert (place.kind, place.uri) == (kind, used)


@pytest.mark.parametrize(
    "uri", [f"ftp://u:{SECRET}@host", "mlflow", "http://", f"http://u:{SECRET}@host:port", f"http://u:a/{SECRET}@host"]
)
def test_an_address_of_something_else_is_refused_in_one_sentence_without_its_password(tmp_path, uri):
    with pytest.raises(TrackingError, match=r"^tracking store: .*\.$") as refused:
        tracking_place(tmp_path, uri)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "uri", [f"https://u:{SECRET}@host:5000", f"postgresql://u:{SECRET}@db/x", f"postgresql://db/x?password={SECRET}"]
)
def test_a_password_is_shown_nowhere(tmp_path, uri):
    place = tracking_place(tmp_path, uri)
    for text in (place.shown, repr(place), str(place), place.run_link("1", "2"), masked(f"cannot reach {uri}, sorry")):
        assert SECRET not in text
    assert "host" in place.shown or "db" in place.shown


def test_a_password_with_an_at_sign_or_a_colon_in_it_is_masked_whole():
    assert masked("http://u:a@b:c@host/x") == "http://u:***@host/x"


def test_a_link_leads_to_the_server_or_to_the_local_ui(tmp_path):
    assert tracking_place(tmp_path, "https://u:p@lab/ml").run_link("3", "r") == "https://lab/ml/#/experiments/3/runs/r"
    assert tracking_place(tmp_path).run_link("3", "r") == "http://127.0.0.1:5000/#/experiments/3/runs/r"


def test_the_ui_listens_on_loopback_and_its_command_line_holds_no_password(tmp_path):
    words, environment = ui_command(tracking_place(tmp_path, f"postgresql://u:{SECRET}@db/x"), 5055)
    line = " ".join(words)
    assert "--host 127.0.0.1 --port 5055" in line
    assert "--allowed-hosts 127.0.0.1:5055,localhost:5055" in line
    assert SECRET not in line
    assert SECRET in environment["MLFLOW_BACKEND_STORE_URI"]


@pytest.mark.parametrize(("uri", "port"), [("http://host:5000", 5000), ("", 0), ("", 65536)])
def test_a_server_needs_no_ui_of_ours_and_a_port_is_a_port(tmp_path, uri, port):
    with pytest.raises(TrackingError):
        ui_command(tracking_place(tmp_path, uri), port)


def test_results_may_be_a_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking_place(Path("results")).uri == f"sqlite:///{tmp_path}/results/mlflow/mlflow.db"

"""The web page is not started where its port is taken."""

import socket
from pathlib import Path

import pytest

from pipelines.cli.ui import ui
from pipelines.errors import SettingsError


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_port_that_is_taken_is_one_sentence(tmp_path, monkeypatch, host, family):
    monkeypatch.chdir(tmp_path)
    Path("workspace.yaml").touch()
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError) as refused:
            ui(host=host, port=port)
    assert str(refused.value) == (
        f"port: {host}:{port} cannot be listened on (Address already in use); is there another `barloom ui`?"
    )

"""The Dagster UI in a real browser: what a newcomer looks at first, and that the history survives a restart.

Needs Chromium (`apt-get install chromium`), the one thing that neither pip nor make installs; with CI set it is
required.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.e2e.conftest import clean_environment

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="there is no Chromium on this machine"),
]
SECONDS = 1000


@contextmanager
def _ui(project):
    """`barloom ui` on a free port; ended with the signal that Ctrl-C sends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "pipelines.cli", "ui", "--port", str(port)]
    with (project / "ui.log").open("a") as log:
        # pytest may run with SIGINT ignored, which a child would inherit
        process = subprocess.Popen(
            command, cwd=project, env=clean_environment(), stdout=log, stderr=log, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/server_info", process, project)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _wait_for(url, process, project):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, (project / "ui.log").read_text()
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"no answer from {url}: {(project / 'ui.log').read_text()[-2000:]}")


@contextmanager
def _page():
    with sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.set_default_timeout(60 * SECONDS)
            yield page
        finally:
            browser.close()


def test_the_graph_and_the_metadata_show_what_the_command_line_did_and_a_restart_keeps_it(barloom, project):
    done = barloom("download", "--symbols", "IBM", "--start", "2010-01-04", "--end", "2011-12-30")
    assert done.returncode == 0, done.stderr
    with _ui(project) as url, _page() as page:
        page.goto(f"{url}/asset-groups")
        for group in ("daily_bars", "research"):
            expect(page.get_by_text(group, exact=True).first).to_be_visible(timeout=60 * SECONDS)
        page.goto(f"{url}/assets/clean_bars?view=partitions&partition=IBM")
        expect(page.get_by_text("Materialized", exact=True).first).to_be_visible(timeout=60 * SECONDS)
        expect(page.get_by_text("2010-01-04 21:00 UTC").first).to_be_visible(timeout=60 * SECONDS)
        expect(page.get_by_role("img", name="IBM adjusted close")).to_be_visible(timeout=60 * SECONDS)
        page.goto(f"{url}/assets/backtest_results")
        expect(page.get_by_text("hash of specification, bars and code").first).to_be_visible(timeout=60 * SECONDS)
    with _ui(project) as url, _page() as page:
        page.goto(f"{url}/runs")
        expect(page.get_by_text("Success").first).to_be_visible(timeout=60 * SECONDS)

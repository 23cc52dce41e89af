"""A study in a real browser: its report, and its page in the Dagster UI."""

import os

import pytest
from playwright.sync_api import expect

from tests.e2e.test_ui import CHROMIUM, SECONDS, _page, _ui

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="there is no Chromium on this machine"),
]
CHECKS = ("deflated_sharpe_ratio", "overfitting", "trades", "walk_forward", "hold_out")


@pytest.fixture(scope="module")
def study(barloom, project):
    """One study of AAPL on the shipped bars."""
    line = (
        "optimize --strategy strategies.sma_crossover.SMACrossover --symbols AAPL --start 2000-03-01 --end 2012-12-31 "
        "--param-ranges sma_short:5-25:5,sma_long:40-100:20 --study-name crossings"
    )
    done = barloom(*line.split())
    assert done.returncode == 0, done.stderr
    return project / "results" / "studies" / "crossings"


def test_the_report_opens_alone_draws_every_figure_and_no_script_fails(study):
    wrong, asked = [], []
    with _page() as page:
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        address = (study / "report.html").as_uri()
        page.goto(address)
        for name in ("history", "importances", "contour", "parallel"):
            expect(page.locator(f"#plot-{name} .main-svg").first).to_be_visible(timeout=30 * SECONDS)
        expect(page.get_by_role("heading", name="crossings")).to_be_visible()
        expect(page.get_by_text("not measured: no hold-out was looked at").first).to_be_visible()
        wide, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert (wrong, asked, wide) == ([], [address], room)


def test_the_asset_shows_the_best_trial_and_each_check_with_its_sentence(study, project):
    with _ui(project) as url, _page() as page:
        page.goto(f"{url}/assets/optimization_studies?view=partitions&partition=crossings")
        expect(page.get_by_text("Materialized", exact=True).first).to_be_visible(timeout=60 * SECONDS)
        for name in ("best_parameters", "verified_on_backtrader", "trials_ever_on_these_symbols", "report"):
            expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=60 * SECONDS)
        expect(page.get_by_role("img", name="value of each trial")).to_be_visible(timeout=60 * SECONDS)
        page.goto(f"{url}/assets/optimization_studies?view=checks&checkDetail=walk_forward")
        for name in CHECKS:
            expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=60 * SECONDS)
        expect(page.get_by_text("there is no walk-forward of this study").first).to_be_visible(timeout=60 * SECONDS)

"""A parity report as files."""

from decimal import Decimal

import pytest

from research.parity.page import COLUMNS, parity_png, steps, trade_rows, write_parity
from research.parity.tolerance import Tolerances, verdicts
from tests.unit.research.parity.orders import order
from tests.unit.research.parity.test_report import report

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def found():
    live = [order(price="101"), order("SELL", bar=4, filled=4, price="104")]
    modelled = [order(), order(bar=2), order("SELL", bar=4, price="104")]
    return report(live, modelled, [order(), order("SELL", bar=4, price="104")])


def test_the_steps_lead_from_the_backtest_to_the_live_result(found):
    names, amounts = zip(*steps(found), strict=True)
    assert (names[0], names[-1]) == ("backtest", "live")
    assert sum(amounts[:-1], Decimal(0)) == amounts[-1] == found.live_result


def test_the_table_has_a_row_a_decision_and_the_sums_at_its_end(found):
    rows = trade_rows(found)
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert len(rows) == len(found.trades) + 1
    assert rows[0][:5] == ("14:31:00", "AAPL", "BUY", "10 at 101.0000", "10 at 100.0000")
    assert rows[-1][-2] == f"{found.total:+,.2f}"


def test_page_and_picture_are_written_and_tell_what_fails(found, tmp_path):
    written = write_parity(found, verdicts(found, Tolerances()), tmp_path)
    page = written.page.read_text()
    assert written.page == tmp_path / "parity" / "sma" / "2024-01-08" / "parity.html"
    assert "Signals that were missed, late or not the backtest&#x27;s: 1; 0 may be." in page
    assert "no such order was decided live" in page
    assert written.picture.read_bytes().startswith(PNG)


def test_the_same_report_gives_the_same_files(found, tmp_path):
    judged = verdicts(found, Tolerances())
    first, second = (write_parity(found, judged, tmp_path / name) for name in ("a", "b"))
    assert first.page.read_bytes() == second.page.read_bytes()
    assert first.picture.read_bytes() == second.picture.read_bytes()


def test_a_session_without_a_trade_can_be_drawn():
    assert parity_png(report([], [])).startswith(PNG)

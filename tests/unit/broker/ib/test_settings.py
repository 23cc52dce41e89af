"""What a session may be, and which account it may trade."""

from datetime import UTC, datetime, time

import pytest

from broker.errors import GatewayError, WrongAccountError
from broker.ib.settings import ResetWindow, SessionSettings, TradingMode, choose_account

PAPER = SessionSettings()
LIVE = SessionSettings(port=4001, mode=TradingMode.LIVE)


@pytest.mark.parametrize(
    ("port", "mode"),
    [(4001, "live"), (4002, "paper"), (7496, "live"), (7497, "paper"), (4444, "paper"), (4444, "live")],
)
def test_a_port_of_ib_serves_its_own_mode_only(port, mode):
    assert SessionSettings(port=port, mode=TradingMode(mode)).port == port


@pytest.mark.parametrize(("port", "mode"), [(4001, "paper"), (4002, "live"), (7496, "paper"), (7497, "live")])
def test_a_port_of_ib_for_the_other_mode_is_refused(port, mode):
    with pytest.raises(GatewayError, match=f"port: {port} is IB's port for"):
        SessionSettings(port=port, mode=TradingMode(mode))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"port": 0}, "port: 0 is not a port."),
        ({"client_id": -1}, "client_id: -1 is below 0."),
        ({"market_data": 5}, "market_data: 5 is none of 1, 2, 3, 4."),
    ],
)
def test_a_setting_that_cannot_be_is_named(changes, sentence):
    with pytest.raises(GatewayError) as error:
        SessionSettings(**changes)
    assert str(error.value) == sentence


@pytest.mark.parametrize(("told", "settings", "chosen"), [(("DU1",), PAPER, "DU1"), (("U1",), LIVE, "U1")])
def test_the_only_account_of_a_login_is_traded(told, settings, chosen):
    assert choose_account(told, settings) == chosen


@pytest.mark.parametrize(
    ("told", "settings", "sentence"),
    [
        (("DU1",), LIVE, "account: DU1 is a paper account, but the mode is live."),
        (("U1",), PAPER, "account: U1 is no paper account, but the mode is paper."),
        (("DU1", "DU2"), PAPER, "account: the login has DU1, DU2; name the one to trade."),
        (("DU1",), SessionSettings(account="DU9"), "account: DU9 is not among the login's DU1."),
    ],
)
def test_an_account_that_does_not_fit_is_refused(told, settings, sentence):
    with pytest.raises(WrongAccountError) as error:
        choose_account(told, settings)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        (datetime(2024, 1, 9, 4, 44, tzinfo=UTC), None),
        (datetime(2024, 1, 9, 4, 45, tzinfo=UTC), datetime(2024, 1, 9, 5, 45, tzinfo=UTC)),
        (datetime(2024, 1, 9, 5, 44, tzinfo=UTC), datetime(2024, 1, 9, 5, 45, tzinfo=UTC)),
        (datetime(2024, 1, 9, 5, 45, tzinfo=UTC), None),
        (datetime(2024, 7, 9, 3, 45, tzinfo=UTC), datetime(2024, 7, 9, 4, 45, tzinfo=UTC)),  # summer time
    ],
)
def test_the_reset_window_is_the_same_hour_of_new_york_all_year(moment, end):
    assert ResetWindow().ends(moment) == end


def test_a_window_within_a_day_is_understood_as_well():
    window = ResetWindow(time(5), time(6), "UTC")
    assert window.ends(datetime(2024, 1, 9, 5, 30, tzinfo=UTC)) == datetime(2024, 1, 9, 6, tzinfo=UTC)
    assert window.ends(datetime(2024, 1, 9, 6, tzinfo=UTC)) is None


def test_a_window_is_read_from_text():
    assert ResetWindow.parse("23:30-00:15") == ResetWindow(time(23, 30), time(0, 15))
    assert ResetWindow.parse("none") is None


@pytest.mark.parametrize("text", ["", "23:45", "late-early", "25:00-26:00"])
def test_a_text_that_names_no_window_is_refused(text):
    with pytest.raises(GatewayError, match="is not like 23:45-00:45, or none"):
        ResetWindow.parse(text)

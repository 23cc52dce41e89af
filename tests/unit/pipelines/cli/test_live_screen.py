"""One screen for a deployment, on terminals of every width."""

import dataclasses
import re
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from broker.deployment.standing import Standing
from pipelines.cli.live_screen import show
from risk.headroom import Headroom
from warehouse.ledger.records import AlarmRaised, HoldingValued

STANDING = Standing(
    deployment="quick", account="DU1234567", mode="paper", experiment="sma_aapl", health="ok", wanted="on",
    holder="process 4242 on tower since 2024-01-08 14:15:02 UTC", state="READY, 1 of 1 feeds live, ACTIVE",
    beaten=2.4, supervised=3.1, session=date(2024, 1, 8), run=2, ended=None, equity=Decimal("999997.56"),
    currency="USD", day_profit=Decimal("-2.44"), profit=Decimal("120.5"), fills=1, commission=Decimal(1),
    holdings=(HoldingValued("AAPL", 9.0, 102.27), HoldingValued("MSFT", -1500.0, float("nan"))),
    orders=("SELL 9 AAPL STP at 50, working",), halt="ACTIVE",
    room=(Headroom("max_position_value", 1200.0, 920.43, "AAPL"), Headroom("max_drawdown", 0.2, 0.01),
          Headroom("max_gross_exposure", 2.0, float("nan"))),
    alarm=AlarmRaised(
        datetime(2024, 1, 8, 14, 45, tzinfo=UTC), "outage", "The session is DISCONNECTED " + "for long " * 20
    ),
)  # fmt: skip


def screen(capsys, monkeypatch, columns=80, **changes):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    show(dataclasses.replace(STANDING, **changes))
    plain = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    return [line.rstrip() for line in plain.splitlines()]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_nothing_is_wider_than_the_terminal(capsys, monkeypatch, columns):
    assert max(map(len, screen(capsys, monkeypatch, columns))) <= columns


def test_it_says_how_a_deployment_stands(capsys, monkeypatch):
    assert screen(capsys, monkeypatch)[:16] == [
        "quick (sma_aapl)                                        paper, account DU1234567",
        "─" * 80,
        "state      READY, 1 of 1 feeds live, ACTIVE, heartbeat 2 s ago",
        "wanted     on, supervised 3 s ago",
        "session    2024-01-08, run 2, process 4242 on tower",
        "equity     999,997.56 USD   this session -2.44   since switched on +120.50",
        "traded     1 fill, commission 1.00",
        "positions  9 AAPL at 102.27 = 920.43",
        "           -1,500 MSFT",
        "orders     SELL 9 AAPL STP at 50, working",
        "risk       ACTIVE",
        "           position value  ████████░░   279.57  left of 1,200.00  AAPL",
        "           drawdown        █░░░░░░░░░  19.00 %   left of 20.00 %",
        "           gross exposure  ??????????  unknown  left of 200.00 %",
        "alarm      2024-01-08 14:45:00 outage: The session is DISCONNECTED for long for",
        "           long for long for long for long for long for long for long for long",
    ]


def test_silence_is_said_first(capsys, monkeypatch):
    lines = screen(capsys, monkeypatch, health="no sign of life", beaten=7300.0, holder=None)
    assert lines[2] == "state      NO SIGN OF LIFE: heartbeat 2 h ago, nobody holds the account"


@pytest.mark.parametrize(("since", "text"), [(None, ""), (200.0, " for 3 min")])
def test_a_deployment_whose_sessions_nobody_would_start_says_so(capsys, monkeypatch, since, text):
    lines = screen(capsys, monkeypatch, health="nobody supervises it", holder=None, supervised=since)
    assert lines[2:4] == [
        "state      nobody trades it now",
        f"wanted     on, not supervised{text}: `barloom ui` starts its sessions",
    ]


def test_a_deployment_that_has_done_nothing_yet_is_shown(capsys, monkeypatch):
    names = (
        "holder",
        "state",
        "beaten",
        "supervised",
        "session",
        "run",
        "equity",
        "day_profit",
        "profit",
        "halt",
        "alarm",
    )
    nothing = dict.fromkeys(names)
    lines = screen(capsys, monkeypatch, **nothing, holdings=(), orders=(), room=(), fills=0)
    assert lines[2:] == [
        "state      nobody trades it now", "wanted     on", "session    none yet", "equity     unknown",
        "traded     0 fills, commission 1.00", "positions  none", "orders     none", "risk       unknown",
        "alarm      none",
    ]  # fmt: skip

"""`barloom gateway check`: does the gateway answer, who is it, and what to do if not.

Belongs here: the screen and the advice. Does not belong here: the questions (see `broker.ib.checkup`).
"""

import sys
from queue import Empty
from typing import TYPE_CHECKING

from pipelines.cli.tables import print_rows, say
from pipelines.gateways import Purpose, session_settings
from pipelines.settings import load_settings

if TYPE_CHECKING:
    from broker.ib.checkup import Checkup
    from broker.ib.mailbox import Mailbox
    from broker.ib.messages import Event, Notice
    from broker.ib.session import Session
    from broker.ib.settings import SessionSettings

_USUAL_SYMBOL = "SPY"
_UNREACHABLE = """Start TWS or IB Gateway and log in, or start one that trades your bars: `barloom gateway simulate`.
In TWS: File > Global Configuration > API > Settings > "Enable ActiveX and Socket Clients", socket port {port}.
IB's own ports: Gateway paper 4002, live 4001; TWS paper 7497, live 7496.
Another address: BARLOOM_IB_HOST, BARLOOM_IB_PORT; another client id, where this one is in use: BARLOOM_IB_CLIENT_ID."""
_NOT_READY = """The gateway is there but keeps something back. Look at its window: a dialog may wait for an answer, or
"Read-Only API" is ticked in the API settings, which hides orders."""
_WRONG_ACCOUNT = (
    """Set BARLOOM_IB_ACCOUNT to the account to trade, and IB_TRADING_MODE to paper or live as the login is."""
)


def check(*, host: str | None = None, port: int | None = None, symbol: str | None = None) -> int:
    """Ask the gateway who it is and what it can do; exit code 1 when something does not work. Nothing is ordered.

    Args:
        host: Where it listens; the setting unless given.
        port: Its port; the setting unless given.
        symbol: A contract whose market data and history are tried; SPY, where it is known, unless given.
    """
    from broker.errors import GatewayNotReadyError, GatewayUnreachableError, WrongAccountError
    from broker.ib.session import Session

    wanted = session_settings(load_settings(), Purpose.CHECK, host=host, port=port)
    advice: dict[type[Exception], str] = {
        GatewayUnreachableError: _UNREACHABLE.format(port=wanted.port),
        GatewayNotReadyError: _NOT_READY,
        WrongAccountError: _WRONG_ACCOUNT,
    }
    with Session(wanted) as session:
        queue = session.listen()
        try:
            return _report(session, wanted, symbol)
        except tuple(advice) as error:
            sys.stderr.write(f"{error}\n")
            for notice in _refusals(queue):
                sys.stderr.write(f"the gateway said {notice.code}: {notice.text}\n")
            sys.stderr.write(f"{advice[type(error)]}\n")
            return 1


def _report(session: "Session", wanted: "SessionSettings", symbol: str | None) -> int:
    from broker.ib.checkup import examine

    snapshot = session.open()
    found = examine(session, snapshot, symbol or _USUAL_SYMBOL)
    print_rows(["what", "answer"], _rows(found, wanted, symbol or _USUAL_SYMBOL))
    fit = found.fit and (found.known or symbol is None)
    say("The gateway is fit." if fit else "Not everything works; see above.")
    return 0 if fit else 1


def _rows(found: "Checkup", wanted: "SessionSettings", symbol: str) -> list[tuple[str, str]]:
    skew = found.clock_skew.total_seconds()
    ahead = "ahead of" if skew >= 0 else "behind"
    return [
        ("address", f"{wanted.address}, client {wanted.client_id}"),
        ("protocol", f"server version {found.server_version}, through {found.library}"),
        ("account", f"{found.account}, {wanted.mode}"),
        ("value", found.net_liquidation),
        ("state", f"{found.positions} positions, {found.open_orders} open orders"),
        ("clock", f"its clock is {abs(skew):.1f} s {ahead} ours"),
        (f"market data of {symbol}", found.market_data),
        (f"history of {symbol}", found.history),
        ("orders", "nothing was ordered; its order lists were told, so the API is not read-only"),
    ]


def _refusals(queue: "Mailbox[Event]") -> list["Notice"]:
    from broker.ib.health import WARNINGS
    from broker.ib.messages import Notice

    heard: list[Notice] = []
    while True:
        try:
            event = queue.get_nowait()
        except Empty:
            return heard
        if isinstance(event, Notice) and event.code not in WARNINGS:
            heard.append(event)

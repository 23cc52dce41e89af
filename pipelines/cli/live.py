"""`barloom live ...`: trading, and stopping it.

Belongs here: commands and their screens. Does not belong here: what they do to a broker (see `broker`).
"""

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from pipelines.cli.tables import print_json, print_rows, say
from pipelines.gateways import Purpose, session_settings
from pipelines.settings import load_settings

if TYPE_CHECKING:
    from broker.emergency import EmergencyReport

live = App(name="live", help="Trading, and stopping it.")

Flag = Annotated[bool, Parameter(negative="")]

_PATIENCE_SECONDS = 30.0


@live.command
def emergency_stop(
    *,
    host: str | None = None,
    port: int | None = None,
    seconds: float = 60.0,
    dry_run: Flag = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Cancel every order and close every position of the account, now, and prove it.

    It talks to the broker by a connection of its own and needs nothing else to be alive. Exit code 0 only when the
    broker's own complete answer shows no position and no working order; 1 otherwise, with what is left.

    Args:
        host: Where the gateway listens; the setting unless given.
        port: Its port; the setting unless given.
        seconds: After which it gives up and reports what is left.
        dry_run: Only show what would be cancelled and closed.
        as_json: Print the report as JSON.
    """
    import dataclasses

    from broker.emergency import stop_everything
    from broker.ib.session import Session

    began = time.monotonic()
    chosen = session_settings(load_settings(), Purpose.EMERGENCY, host=host, port=port)
    wanted = dataclasses.replace(chosen, reset=None, retry_most_seconds=2.0)  # it tries in the nightly reset too
    with Session(wanted) as session:
        found = session.open(min(seconds, _PATIENCE_SECONDS))
        reference = f"emergency-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        report = stop_everything(session, found, reference=reference, seconds=seconds, dry_run=dry_run)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        _print_report(report, time.monotonic() - began)
    return 0 if report.flat else 1


def _print_report(report: "EmergencyReport", seconds: float) -> None:
    would = "would be " if report.dry_run else ""
    for order in report.orders_found:
        say(f"{would}cancelled: {order}")
    if report.dry_run:
        for symbol, quantity in report.positions_found:
            say(f"would be closed: {quantity:f} {symbol}")
    elif report.closed:
        rows = [
            (
                row.symbol,
                f"{row.quantity:f}",
                f"{row.filled:f}",
                None if row.average_price is None else f"{row.average_price:f}",
            )
            for row in report.closed
        ]
        print_rows(["symbol", "to trade", "traded", "average price"], rows)
    for problem in report.problems:
        sys.stderr.write(f"{problem}\n")
    if report.flat:
        say(f"FLAT: {report.account} holds no position and no order works, said the broker after {seconds:.1f} s.")
        return
    for symbol, quantity in report.positions_left:
        sys.stderr.write(f"still held: {quantity:f} {symbol}\n")
    for order in report.orders_left:
        sys.stderr.write(f"still working: {order}\n")
    text = "Nothing was done." if report.dry_run else f"NOT FLAT after {seconds:.1f} s."
    sys.stderr.write(f"{text}\n")

"""`barloom live ...`: trading, and stopping it.

Belongs here: commands and their screens. Does not belong here: what they do to a broker (see `broker`).
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from pipelines.cli.tables import print_json, print_rows, say
from pipelines.errors import SettingsError
from pipelines.gateways import Purpose, session_settings
from pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from decimal import Decimal

    from broker.emergency import EmergencyReport
    from broker.ib.session import Session
    from pipelines.emergencies import StandDown

live = App(name="live", help="Trading, and stopping it.")

Flag = Annotated[bool, Parameter(negative="")]

_PATIENCE_SECONDS = 30.0
_SENSOR_SECONDS = 120.0
_STALE_SECONDS = 60.0
_SUPERVISED_SECONDS = 15.0  # three looks of the sensor


@live.command
def start(
    experiment: str,
    /,
    *,
    mode: Literal["paper", "live"] = "paper",
    name: str | None = None,
    confirm_live: str | None = None,
) -> int:
    """Switch an experiment on: its sessions are traded by themselves from now on, while `barloom ui` runs.

    Args:
        experiment: Name of an experiment in `experiments/`, or its file.
        mode: paper, or live for real money; it must be what IB_TRADING_MODE says.
        name: Name of the deployment; the experiment's unless given.
        confirm_live: The account, once more, where real money is traded.
    """
    from pipelines.deployments import experiment_text, operator, switch_on
    from research.experiment import load_experiment

    settings = load_settings()
    if not Path("workspace.yaml").exists():
        raise SettingsError(f"workspace: there is no workspace.yaml in {Path.cwd()}; run this in a barloom folder.")
    if mode != settings.trading_mode:
        raise SettingsError(f"mode: {mode} is asked for, but IB_TRADING_MODE is {settings.trading_mode}.")
    path = _experiment_file(settings, experiment)
    switched = switch_on(
        settings, load_experiment(path), experiment_text(path), name=name, confirm_live=confirm_live, by=operator()
    )
    for remark in switched.remarks:
        sys.stderr.write(f"mind: {remark}\n")
    if not _is_supervised(settings, switched.deployment):
        _start_supervisor()
    say(f"{switched.deployment} is on: {mode}, account {switched.account}.")
    say("Its sessions are traded while `barloom ui` (or dagster-daemon) runs; `barloom live status` shows how it goes.")
    return 0


@live.command
def stop(deployment: str, /, *, flatten: Flag = False, reason: str = "stopped by hand") -> int:
    """Switch a deployment off: its session ends within seconds, and none is begun.

    Args:
        deployment: Its name.
        flatten: Close its positions first; otherwise they and their protective orders stay.
        reason: Kept in the ledger.
    """
    return _command(deployment, "stop_flatten" if flatten else "stop_keep", reason)


@live.command
def halt(deployment: str, /, *, reason: str = "halted by hand") -> int:
    """Send no new entries until `resume`; working orders and exits go on.

    Args:
        deployment: Its name.
        reason: Kept in the ledger.
    """
    return _command(deployment, "halt", reason)


@live.command
def reduce_only(deployment: str, /, *, reason: str = "reduce-only by hand") -> int:
    """Cancel working entries and send none until `resume`; positions can only shrink.

    Args:
        deployment: Its name.
        reason: Kept in the ledger.
    """
    return _command(deployment, "reduce_only", reason)


@live.command
def resume(deployment: str, /, *, reason: str = "resumed by hand") -> int:
    """End a halt, or a stop; losses and drawdown count from here on.

    Args:
        deployment: Its name.
        reason: Kept in the ledger.
    """
    return _command(deployment, "resume", reason)


@live.command
def status(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """Show every deployment: state, heartbeat, profit, positions, orders, what is left of each limit, the last alarm.

    Exit code 1 when one that should be trading gives no sign of life, or nobody would start its sessions.

    Args:
        as_json: Print JSON.
    """
    import dataclasses

    from broker.deployment.standing import standing
    from pipelines.cli.live_screen import show
    from pipelines.deployments import open_ledger

    with open_ledger(load_settings()) as ledger:
        now = datetime.now(UTC)
        found = [standing(ledger, name, now, stale_seconds=_STALE_SECONDS) for name in sorted(ledger.deployments())]
    if as_json:
        rooms = [[{**dataclasses.asdict(limit), "left": limit.left} for limit in one.room] for one in found]
        print_json([{**dataclasses.asdict(one), "room": room} for one, room in zip(found, rooms, strict=True)])
    elif not found:
        say("Nothing is switched on; `barloom live start EXPERIMENT` does that.")
    for place, one in enumerate([] if as_json else found):
        if place:
            say("")
        show(one)
    return 1 if any(one.health != "ok" for one in found) else 0


@live.command
def report(
    deployment: str,
    /,
    *,
    session: date | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show what a deployment did in a session: fills, costs, profit, refusals, alarms, and when.

    Slippage is against the price that was decided on; above zero is a cost.

    Args:
        deployment: Its name.
        session: The exchange date; the latest session that was traded unless given.
        as_json: Print JSON.
    """
    import dataclasses

    from broker.deployment.report import session_report
    from pipelines.deployments import open_ledger, traded_session

    with open_ledger(load_settings()) as ledger:
        found = session_report(ledger, deployment, traded_session(ledger, deployment, session))
    if as_json:
        print_json(dataclasses.asdict(found))
        return 0
    say(found.sentence)
    if found.traded:
        rows = [
            (one.symbol, one.fills, f"{one.bought:f}", f"{one.sold:f}", f"{one.paid:,.2f}", f"{one.received:,.2f}",
             f"{one.commission:,.2f}", _money(one.slippage.money), _money(one.slippage.basis_points))
            for one in found.traded
        ]  # fmt: skip
        headings = ["symbol", "fills", "bought", "sold", "paid", "received", "commission", "slippage", "bp"]
        print_rows(headings, rows)
    for ts, text in found.timeline:
        say(f"{ts:%Y-%m-%d %H:%M:%S} {text}")
    return 0


@live.command
def parity(
    deployment: str,
    /,
    *,
    session: date | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Hold a session against the backtest of its day, and split the difference into its causes.

    The same strategy is run over the bars as the session saw them, and over those that the warehouse holds now. Exit
    code 1 where the difference is beyond the tolerances.

    Args:
        deployment: Its name.
        session: The exchange date; the latest session that was traded unless given.
        as_json: Print JSON.
    """
    import dataclasses

    from pipelines.parity import compare_session
    from research.parity.page import COLUMNS, trade_rows

    found = compare_session(load_settings(), deployment, session)
    if as_json:
        print_json({**dataclasses.asdict(found.report), "checks": [dataclasses.asdict(one) for one in found.verdicts]})
    else:
        say(found.report.sentence)
        for sentence in (found.report.missing, *found.report.remarks):
            if sentence:
                say(sentence)
        print_rows(COLUMNS, trade_rows(found.report))
        for one in found.verdicts:
            if not one.passed:
                say(f"beyond the tolerance: {one.sentence}")
        say(str(found.written.page))
    return 0 if all(one.passed for one in found.verdicts) else 1


def _money(amount: "Decimal | None") -> str | None:
    return None if amount is None else f"{amount:+,.2f}"


@live.command
def rebuild() -> int:
    """Make the ledger's tables again from its events, where somebody or something has changed them."""
    from pipelines.deployments import open_ledger

    with open_ledger(load_settings()) as ledger:
        count = ledger.rebuild()
    say(f"The ledger's tables are made again from {count:,} event{'' if count == 1 else 's'}.")
    return 0


def _command(deployment: str, action: str, reason: str) -> int:
    from pipelines.deployments import give_command, open_ledger, operator

    settings = load_settings()
    with open_ledger(settings) as ledger:
        give_command(ledger, deployment, action, reason, operator())
    say(f"{deployment}: {action.replace('_', ' ')} is recorded; a run takes it up within a second or two.")
    return 0


def _experiment_file(settings: Settings, experiment: str) -> Path:
    given = Path(experiment)
    path = given if given.suffix in {".yaml", ".yml"} else settings.experiments_dir / f"{experiment}.yaml"
    if not path.exists():
        raise SettingsError(f"experiment: {experiment!r} has no file {path}.")
    return path


def _is_supervised(settings: Settings, deployment: str) -> bool:
    """Whether the sensor looks after the deployment already, so that the long way through Dagster is not needed."""
    from broker.deployment.supervision import SUPERVISOR
    from pipelines.deployments import open_ledger

    with open_ledger(settings) as ledger:
        beat = ledger.last_heartbeat(deployment, SUPERVISOR)
    return beat is not None and (datetime.now(UTC) - beat.ts).total_seconds() < _SUPERVISED_SECONDS


def _start_supervisor() -> None:
    """Switch the sensor on, as it is off until the first deployment is."""
    command = [
        sys.executable, "-m", "dagster", "sensor", "start", "live_supervisor", "-w", "workspace.yaml",
        "-l", "barloom_live",
    ]  # fmt: skip
    ended = subprocess.run(  # noqa: S603 (our own command line)
        command, capture_output=True, text=True, timeout=_SENSOR_SECONDS, check=False,
        env={"DAGSTER_HOME": str(Path.cwd()), **os.environ},
    )  # fmt: skip
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SettingsError(f"live_supervisor: Dagster could not start the sensor: {last}")


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
    from broker.errors import GatewayError
    from broker.ib.session import Session
    from pipelines.emergencies import StandDown

    began = time.monotonic()
    settings = load_settings()
    chosen = session_settings(settings, Purpose.EMERGENCY, host=host, port=port)
    wanted = dataclasses.replace(chosen, reset=None, retry_most_seconds=2.0)  # it tries in the nightly reset too
    with Session(wanted) as session:
        try:
            found = session.open(min(seconds, _PATIENCE_SECONDS))
        except GatewayError as error:
            return _not_reached(StandDown(settings, wanted.account), str(error), dry_run=dry_run, as_json=as_json)
        others = StandDown(settings, found.account)
        if not dry_run:
            _stand_down(session, others)
        reference = f"emergency-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        report = stop_everything(session, found, reference=reference, seconds=seconds, dry_run=dry_run)
    if as_json:
        print_json({**dataclasses.asdict(report), "switched_off": others.stopped})
    else:
        _print_report(report, time.monotonic() - began)
    if not dry_run:
        _close_emergency(others, _outcome(report, time.monotonic() - began))
    return 0 if report.flat else 1


def _stand_down(session: "Session", others: "StandDown") -> None:
    """Cancel everything at once, then see that no run of ours trades on."""
    from broker.errors import GatewayError

    others.start()
    with suppress(GatewayError):  # it is tried again, and reported, where it matters
        session.cancel_everything()
    others.wait()


def _not_reached(others: "StandDown", reason: str, *, dry_run: bool, as_json: bool) -> int:
    """No gateway answers: the least that can be done is to let no run begin again."""
    sentence = f"NOT FLAT: nothing was cancelled or closed: {reason}"
    if as_json:
        print_json({"flat": False, "problems": [reason]})
    sys.stderr.write(f"{sentence}\n")
    if not dry_run:
        others.start().wait()
        _close_emergency(others, sentence)
    return 1


def _close_emergency(others: "StandDown", sentence: str) -> None:
    """Tell what the ledger says about the runs, and people what was done."""
    for name in others.stopped:
        sys.stderr.write(f"{name} is switched off; `barloom live resume {name}` lets it trade again.\n")
    if others.holder is not None:
        sys.stderr.write(f"{others.holder} still holds the account and may trade when it wakes up: end it.\n")
    if others.problem:
        sys.stderr.write(f"mind: a run that lives may trade on, it could not be told to end: {others.problem}\n")
    others.tell(sentence)


def _outcome(report: "EmergencyReport", seconds: float) -> str:
    if report.flat:
        return f"FLAT: {report.account} holds no position and no order works, said the broker after {seconds:.1f} s."
    positions, orders = len(report.positions_left), len(report.orders_left)
    known = "" if report.current else ", as far as the broker has answered"
    return f"NOT FLAT after {seconds:.1f} s: left are positions: {positions}, orders: {orders}{known}."


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
        say(_outcome(report, seconds))
        return
    for symbol, quantity in report.positions_left:
        sys.stderr.write(f"still held: {quantity:f} {symbol}\n")
    for order in report.orders_left:
        sys.stderr.write(f"still working: {order}\n")
    sys.stderr.write("Nothing was done.\n" if report.dry_run else f"{_outcome(report, seconds)}\n")

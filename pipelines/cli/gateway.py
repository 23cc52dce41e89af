"""`barloom gateway ...`: the gateways to Interactive Brokers, real and simulated.

Belongs here: commands that start a gateway or look at one. Does not belong here: the protocol, the simulation (see
`broker`).
"""

import math
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from pipelines.cli.tables import say
from pipelines.errors import SettingsError
from pipelines.settings import load_settings

if TYPE_CHECKING:
    from broker.simulator.server import Simulation
    from broker.simulator.settings import SimulatorSettings

gateway = App(name="gateway", help="Gateways to Interactive Brokers, real and simulated.")
gateway.command("pipelines.cli.gateway_check:check", name="check", help="Ask the gateway who it is and what it can do.")
gateway.command("pipelines.cli.gateway_record:record", name="record", help="Record five-second bars as they close.")

Symbols = Annotated[list[str] | None, Parameter(consume_multiple=True, negative_iterable="")]
Flag = Annotated[bool, Parameter(negative="")]

_START_SECONDS = 60.0


@gateway.command
def simulate(
    *,
    symbols: Symbols = None,
    port: int = 4002,
    start: date | None = None,
    clock: Literal["replay", "stepped", "live-clock"] = "replay",
    speed: str = "60",
    state: Path | None = None,
    control_port: int | None = None,
    account: str = "DU1234567",
    cash: float = 1_000_000,
    costs: str = "ibkr_fixed",
    script: Path | None = None,
    seed: int = 0,
    detach: Flag = False,
) -> int:
    """Start a look-alike of TWS and IB Gateway that trades the warehouse's bars. It is a simulation, never a market.

    Args:
        symbols: What trades; everything in the warehouse unless given.
        port: Where clients connect, on this machine only.
        start: First session played; a year before the end of the bars unless given.
        clock: `replay` plays the bars at a speed, `stepped` moves by the control API only, `live-clock` lays recorded
            days over today's wall clock.
        speed: Simulated seconds a second in replay, or `max` for as fast as possible.
        state: File that keeps orders, executions and positions over a restart; nothing is kept unless given.
        control_port: Port of the control API; none unless given.
        account: Name of the simulated account, DU and digits.
        cash: Cash of a new account.
        costs: Commissions: ibkr_fixed, ibkr_tiered or none.
        script: JSON file with commands and when they are given.
        seed: Of everything that is random.
        detach: Go on in the background; returns once clients can connect.
    """
    from decimal import Decimal

    from broker.simulator.server import Simulation
    from broker.simulator.settings import ClockMode, SimulatorSettings
    from warehouse.store import Warehouse

    settings = load_settings()
    wanted = SimulatorSettings(
        port=port,
        control_port=control_port,
        symbols=tuple(dict.fromkeys(symbols or ())),
        start=start,
        clock=ClockMode(clock),
        speed=_speed(speed),
        calendar=settings.calendar,
        account=account,
        cash=Decimal(repr(cash)),
        cost_model=costs,
        state=state,
        seed=seed,
        script=_script(script),
    )
    if detach:
        return _detach(_line(wanted, script), port, settings.data_dir / "simulator" / f"{port}.log")
    return _play(Simulation(wanted, Warehouse(settings.data_dir)))


def _play(simulation: "Simulation") -> int:
    """Serve until Ctrl-C or a signal to end."""
    import asyncio
    import logging

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    asyncio.run(_serve(simulation))
    return 0


async def _serve(simulation: "Simulation") -> None:
    import asyncio
    import signal

    from broker.simulator.settings import HOST

    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    serving, stopping = asyncio.create_task(simulation.serve()), asyncio.create_task(stopped.wait())
    while not simulation.port and not serving.done():
        await asyncio.sleep(0.01)
    if simulation.port:
        for sentence in simulation.notices:
            say(sentence)
        symbols = ", ".join(simulation.exchange.market.tape.symbols)
        say(f"account {simulation.settings.account}, {symbols}; clients connect to {HOST}:{simulation.port}")
        if simulation.control_port:
            say(f"control: http://{HOST}:{simulation.control_port}/status")
        sys.stdout.flush()
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if serving.done():
        serving.result()
    serving.cancel()
    await asyncio.wait({serving}, timeout=10)


def _line(wanted: "SimulatorSettings", script: Path | None) -> list[str]:
    """The command line that starts this simulation in the foreground."""
    given = {
        "port": wanted.port,
        "control-port": wanted.control_port,
        "start": wanted.start,
        "clock": wanted.clock.value,
        "speed": "max" if math.isinf(wanted.speed) else wanted.speed,
        "state": wanted.state,
        "account": wanted.account,
        "cash": wanted.cash,
        "costs": wanted.cost_model,
        "script": script,
        "seed": wanted.seed,
    }
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return ["gateway", "simulate", *options, *(("--symbols", *wanted.symbols) if wanted.symbols else ())]


def _detach(line: list[str], port: int, log: Path) -> int:
    """The same command as a process of its own; waits until it takes clients, or says why it ended."""
    if port == 0:
        raise SettingsError("port: 0 lets the system choose one, which nobody would know; name a port with --detach.")
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pipelines.cli", *line]
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 (our own command line)
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        if "clients connect to" in log.read_text(encoding="utf-8"):
            say(log.read_text(encoding="utf-8").strip())
            say(f"process {child.pid}; stop it with `kill {child.pid}`; it writes to {log}")
            return 0
        time.sleep(0.1)
    if child.poll() is None:
        child.terminate()
    lines = log.read_text(encoding="utf-8").strip().splitlines() or ["it said nothing"]
    sys.stderr.write(f"{lines[-1]}\n")
    return child.poll() or 1


def _speed(text: str) -> float:
    try:
        return float("inf") if text == "max" else float(text)
    except ValueError:
        raise SettingsError(f"speed: {text!r} is neither a number nor max.") from None


def _script(path: Path | None) -> tuple[dict[str, object], ...]:
    import json

    if path is None:
        return ()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(f"script: {path} is not JSON ({error}).") from None
    if not isinstance(entries, list):
        raise SettingsError(f"script: {path} must hold a list of commands.")
    return tuple(entries)

"""The simulated gateway as a child of the nursery.

Belongs here: one gateway on one state file, which shows its market's time to others. Does not belong here: commands.
"""

import asyncio
import signal
from datetime import date
from pathlib import Path

from broker.simulator.exchange import Exchange
from broker.simulator.server import Simulation
from broker.simulator.settings import ClockMode, SimulatorSettings
from broker.simulator.state import StateFile
from tests.storms.signs import Signs, Talk
from warehouse.store import Warehouse


def main(*, recording, state, signs, talk, ports, start, fill_at_once):
    """Serve until SIGTERM."""
    shown, said = Signs(signs), Talk(talk)
    stepped = Exchange.step

    def step(self):
        moved = stepped(self)
        shown.market_time = self.market.now
        return moved

    Exchange.step = step
    remember_what_is_lost()
    settings = SimulatorSettings(
        port=ports[0], control_port=ports[1], clock=ClockMode.STEPPED, state=Path(state), fill_at_once=fill_at_once,
        start=None if start is None else date.fromisoformat(start),
    )  # fmt: skip
    asyncio.run(_serve(Simulation(settings, Warehouse(Path(recording))), shown, said))


def remember_what_is_lost():
    """Executions that the gateway forgets stay in a table of their own, for the laws."""
    opened, rewritten = StateFile.open.__func__, StateFile.rewrite_executions

    def open_file(cls, *arguments):
        file = opened(cls, *arguments)
        file._connection.execute("CREATE TABLE IF NOT EXISTS forgotten (content TEXT)")
        return file

    def rewrite(self, executions):
        self._connection.execute("INSERT INTO forgotten SELECT content FROM executions")
        rewritten(self, executions)

    StateFile.open, StateFile.rewrite_executions = classmethod(open_file), rewrite


async def _serve(simulation, shown, said):
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with simulation.running():
        shown.market_time = simulation.exchange.market.now
        said.tell(what="market", port=simulation.port, control=simulation.control_port)
        await over.wait()

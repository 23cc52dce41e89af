"""A simulation on a thread of its own, for programs that want a gateway beside them.

Belongs here: the thread and the way to give it commands. Does not belong here: the simulation (see `server`).
"""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from broker.simulator.errors import SimulatorError
from broker.simulator.server import Simulation
from broker.simulator.settings import SimulatorSettings
from warehouse.store import Warehouse

T = TypeVar("T")

_START_SECONDS: Final = 30.0
_COMMAND_SECONDS: Final = 120.0


class BackgroundGateway:
    """A simulated gateway that runs while the `with` block does; `port` is where clients connect."""

    def __init__(self, settings: SimulatorSettings, warehouse: Warehouse) -> None:
        self.settings, self.warehouse = settings, warehouse
        self.simulation: Simulation | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="gateway-simulator", daemon=True)

    @property
    def port(self) -> int:
        """Where the gateway listens."""
        return self._running().port

    @property
    def control_port(self) -> int:
        """Where the control API listens."""
        return self._running().control_port

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
        """Give a command of the control API and wait for its answer.

        Raises:
            ControlError: the command is wrong.
        """
        simulation = self._running()
        simulation.check()
        return self._call(simulation.commands.run(name, arguments), _COMMAND_SECONDS)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.simulation = self._call(self._start(), _START_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.simulation is not None:
                self._call(self.simulation.stop(), _START_SECONDS)
        finally:
            self._end()

    async def _start(self) -> Simulation:
        simulation = Simulation(self.settings, self.warehouse)
        await simulation.start()
        return simulation

    def _running(self) -> Simulation:
        if self.simulation is None:
            raise SimulatorError("gateway: it has not been started.")
        return self.simulation

    def _call(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()

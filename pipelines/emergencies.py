"""What an emergency stop tells the rest: runs that they have to end, people that they have to look.

Belongs here: the ledger and the alerts around an emergency stop, in bounded time and at best effort, because these may
be what is broken. Does not belong here: stopping the account (see `broker.emergency`), printing.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Final

from pipelines.deployments import alerts_of, operator
from pipelines.settings import Settings
from warehouse.errors import WarehouseError
from warehouse.ledger.locks import AccountLock, Holder
from warehouse.ledger.records import AlarmRaised, Command, Scope
from warehouse.ledger.store import Ledger

_LEDGER_SECONDS: Final = 2.0
_RUN_SECONDS: Final = 2.0  # for a run that lives to take up that it has to end
_LOOK_SECONDS: Final = 0.1


@dataclass(slots=True)
class StandDown:
    """Ends the deployments of an account, on a thread, so that no run trades on against the stop.

    Args:
        settings: where the ledger is and who is told.
        account: whose deployments; None for all, where no gateway said which one it is.

    Attributes:
        stopped: deployments that were switched off.
        holder: the process that still holds the account, as far as the ledger knows.
        problem: why the ledger could not be asked; empty where it could.
    """

    settings: Settings
    account: str | None
    stopped: list[str] = field(default_factory=list)
    holder: Holder | None = None
    problem: str = ""
    _thread: threading.Thread | None = None

    def start(self) -> "StandDown":
        """Begin."""
        self._thread = threading.Thread(target=self._work, name="stand-down", daemon=True)
        self._thread.start()
        return self

    def wait(self, seconds: float = _LEDGER_SECONDS + _RUN_SECONDS) -> None:
        """Until the runs have ended, or some seconds are over."""
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                self.problem = f"ledger: it did not answer within {seconds:g} seconds."

    def tell(self, sentence: str) -> None:
        """Record what became of the stop, and tell people."""
        try:
            with Ledger.open(self.settings.ledger, seconds=_LEDGER_SECONDS) as ledger:
                for scope in self._scopes(ledger):
                    ledger.append(scope, AlarmRaised(datetime.now(UTC), "emergency_stop", sentence))
        except WarehouseError as error:
            self.problem = str(error)
        with alerts_of(self.settings, self.account or "barloom") as alerts:
            alerts.tell("emergency_stop", sentence)

    def _work(self) -> None:
        try:
            with Ledger.open(self.settings.ledger, seconds=_LEDGER_SECONDS) as ledger:
                self._switch_off(ledger)
                self._see_runs_end(ledger)
        except WarehouseError as error:
            self.problem = str(error)

    def _switch_off(self, ledger: Ledger) -> None:
        for scope in self._scopes(ledger):
            if ledger.desired_state(scope.deployment).may_run:
                ledger.append(scope, Command(datetime.now(UTC), "stop_keep", "emergency stop", operator()))
                self.stopped.append(scope.deployment)

    def _see_runs_end(self, ledger: Ledger) -> None:
        end = monotonic() + _RUN_SECONDS
        while True:
            accounts = {scope.account for scope in self._scopes(ledger)}
            holders = [AccountLock(ledger, account).holder() for account in accounts]
            self.holder = next((holder for holder in holders if holder is not None), None)
            if self.holder is None or monotonic() > end:
                return
            sleep(_LOOK_SECONDS)

    def _scopes(self, ledger: Ledger) -> Iterator[Scope]:
        for scope, _ in ledger.deployments().values():
            if self.account in {None, scope.account}:
                yield scope

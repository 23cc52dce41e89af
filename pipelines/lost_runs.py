"""Runs of live trading that ended, or fell silent, without a word to the ledger.

Belongs here: comparing Dagster's runs with the ledger, giving a dead run up. Does not belong here: deciding when a run
is dead or the next one starts (see `broker.deployment.supervision`).

A worker that is killed and a code server that goes away say nothing. Dagster notices the one and not the other: a run
whose code server is gone is called running for ever, and takes the place of others.
"""

from collections.abc import Sequence

import dagster as dg

from pipelines.deployments import RUN_FAILED, RunSeen, raise_alarm, run_name
from pipelines.settings import Settings
from warehouse.ledger.records import Scope
from warehouse.ledger.store import Ledger


def tell_of_lost(settings: Settings, ledger: Ledger, scope: Scope, runs: Sequence[RunSeen]) -> None:
    """Raise an alarm for every run of a session that failed or was cancelled and is not in the ledger with its end.

    Args:
        settings: where alarms go.
        ledger: of the deployment.
        scope: whose runs these are, and of which session.
        runs: the session's runs, newest first.
    """
    lost = [(len(runs) - place, run) for place, run in enumerate(runs) if run.lost]
    if not lost:
        return
    ended = {run.started.run_id for run in ledger.sessions(scope.deployment) if run.ended is not None}
    told = [one.text for one in ledger.alarms(scope.deployment, scope.session) if one.code == RUN_FAILED]
    for attempt, run in reversed(lost):
        name = run_name(run.run_id, attempt)
        if run.run_id not in ended and not any(text.startswith(name) for text in told):
            text = f"{name} of session {scope.session} is {run.status} in Dagster and left no word of its end."
            raise_alarm(settings, ledger, scope, RUN_FAILED, text)


def give_up(
    instance: dg.DagsterInstance, settings: Settings, ledger: Ledger, scope: Scope, runs: Sequence[RunSeen]
) -> None:
    """Tell people, and then Dagster, that the runs of a session which it calls running are dead."""
    for place, run in enumerate(runs):
        found = instance.get_run_by_id(run.run_id) if run.going else None
        if found is not None and not found.is_finished:
            name = run_name(run.run_id, len(runs) - place)
            text = f"{name} of session {scope.session} is given up: it is silent, and the account's lock is free."
            raise_alarm(settings, ledger, scope, RUN_FAILED, text)
            instance.report_run_failed(found, text)

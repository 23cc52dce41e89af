"""Which runs wait in Dagster's queue.

Belongs here: the run coordinator that `dagster.yaml` names. Does not belong here: how many runs may go at once, which
`dagster.yaml` says.

The queue keeps runs back while as many go as may. That is right for backtests and downloads and wrong for a session of
the exchange: with two long backtests under way it would be missed. So runs of live trading are launched at once; they
count among those that go, and what keeps two of them from one account is the account's lock.
"""

import dagster as dg
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from pipelines.keys import LIVE_JOB


class LiveFirstCoordinator(QueuedRunCoordinator):  # type: ignore[type-arg]
    """Dagster's queue, past which live trading goes; configured as its parent is."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Launch a run of live trading, queue any other."""
        run = context.dagster_run
        if run.job_name == LIVE_JOB and run.status is dg.DagsterRunStatus.NOT_STARTED:
            self._instance.launch_run(run.run_id, context.workspace)
            return self._instance.get_run_by_id(run.run_id) or run
        return super().submit_run(context)

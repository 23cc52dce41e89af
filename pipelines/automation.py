"""When derived assets follow their inputs without being asked.

Belongs here: automation conditions and the sensors that evaluate them. Does not belong here: market hours (see
`schedules`), outside state (see `sensors`).

Raw bars have no condition: what to fetch and when is the schedules' decision.
"""

from typing import Any

import dagster as dg

_INPUT_CHANGED = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
_BUSY = dg.AutomationCondition.in_progress() | dg.AutomationCondition.any_deps_in_progress()

FOLLOW_CHANGED_INPUTS = (_INPUT_CHANGED.since_last_handled() & ~_BUSY).with_label("an input has changed")
"""Request a partition whose input got other *content* since it was last handled.

- `data_version_changed`, not `updated`: a nightly update that brought nothing new must not recompute the day.
- `since_last_handled` latches the change until the partition is requested or updated. It also keeps a partition that
  fails from being requested for ever: only a further change of its inputs asks for it again.
- not while it or an input is being worked on: the run that fetches usually cleans and judges as well.
"""

_ACTIONS = dg.AssetSelection.assets("corporate_actions")

_BARS_CHANGED: dg.AutomationCondition[Any] = (  # Dagster's own types do not go together
    _INPUT_CHANGED.ignore(_ACTIONS) | (_INPUT_CHANGED & ~dg.AutomationCondition.missing())
)

FOLLOW_CHANGED_BARS = (_BARS_CHANGED.since_last_handled() & ~_BUSY).with_label(
    "bars have changed, or actions of bars that exist"
)
"""The same for clean bars. Corporate actions are of all resolutions: where a resolution has no bars of a symbol, a new
action must not ask for clean bars that cannot be made."""

_INPUT_UPDATED = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())

FOLLOW_UPDATED_INPUTS = (_INPUT_UPDATED.since_last_handled() & ~_BUSY).with_label("an input was updated")
"""For an asset that ranks whatever there is: missing inputs do not hold it back."""


def build_automation_sensors() -> list[dg.AutomationConditionSensorDefinition]:
    """One sensor a family, so that a slow family cannot delay the other.

    Bars follow by default, because it is cheap and local. Backtests follow only when somebody turns their sensor on:
    every session changes the bars, and with them the identity of every backtest that reads them.
    """
    bars = dg.AssetSelection.groups("daily_bars", "hourly_bars", "minute_bars")
    return [
        dg.AutomationConditionSensorDefinition(
            "bars_follow",
            target=bars,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description="Actions, clean bars and quality reports follow raw bars; coarse bars follow fine.",
        ),
        dg.AutomationConditionSensorDefinition(
            "research_follows",
            target=dg.AssetSelection.groups("research"),
            description="Backtests follow bars that changed, the leaderboard follows backtests.",
        ),
    ]

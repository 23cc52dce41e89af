"""What an operator wants of a deployment: the sum of its switches and commands.

Belongs here: what each command changes. Does not belong here: carrying it out; that is the job's.
"""

from collections.abc import Iterable
from dataclasses import replace

from warehouse.ledger.records import Command, DeploymentSwitched, DesiredState


def desired(wishes: Iterable[DeploymentSwitched | Command]) -> DesiredState:
    """The state that switches and commands add up to, oldest first.

    To switch a deployment on ends a stop but no halt: only `resume` lets entries go again.
    """
    state = DesiredState(enabled=False)
    for wish in wishes:
        state = _switched(state, wish) if isinstance(wish, DeploymentSwitched) else _commanded(state, wish)
    return state


def _switched(state: DesiredState, wish: DeploymentSwitched) -> DesiredState:
    return replace(state, enabled=wish.enabled, stop=None if wish.enabled else state.stop)


def _commanded(state: DesiredState, wish: Command) -> DesiredState:
    match wish.action:
        case "halt":
            return replace(state, halt="HALT_ENTRIES", reason=wish.reason)
        case "reduce_only":
            return replace(state, halt="REDUCE_ONLY", reason=wish.reason)
        case "resume":
            return replace(state, halt="ACTIVE", stop=None, reason=wish.reason)
        case "stop_keep":
            return replace(state, stop="keep", reason=wish.reason)
        case "stop_flatten":
            return replace(state, stop="flatten", reason=wish.reason)
        case "emergency":
            return replace(state, halt="FLATTEN", stop="flatten", reason=wish.reason)

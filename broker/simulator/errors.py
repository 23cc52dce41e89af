"""What can go wrong in the simulator, as one-sentence errors.

Belongs here: exception types of `broker.simulator`. Does not belong here: error messages of the wire protocol, which
are answers to a client and no exceptions (see `answers`).
"""

from broker.errors import BrokerError


class SimulatorError(BrokerError):
    """Base of every error that the simulator raises on purpose."""


class ProtocolError(SimulatorError):
    """A client sent bytes that are no message of the TWS protocol."""


class SimulatorSettingsError(SimulatorError):
    """The simulation that was asked for cannot be built."""


class ControlError(SimulatorError):
    """A command of the control API that is unknown or has a value that cannot be."""


class StateFileError(SimulatorError):
    """A state file that cannot be read as one, or belongs to another account."""

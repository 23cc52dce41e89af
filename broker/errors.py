"""What can go wrong around a broker, as one-sentence errors.

Belongs here: exception types of `broker`. Does not belong here: refusals by risk limits; those are decisions.
"""


class BrokerError(Exception):
    """Base of every error that `broker` raises on purpose; its text is one sentence for a user."""


class CostModelError(BrokerError):
    """A cost model, a slippage model or a rate that does not exist or cannot be used."""

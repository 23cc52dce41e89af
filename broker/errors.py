"""What can go wrong between barloom and a broker, as one-sentence errors.

Belongs here: exception types of `broker`. Does not belong here: messages for a terminal or a page.
"""


class BrokerError(Exception):
    """Base of every error that `broker` raises on purpose; its text is one sentence for a user."""


class UnknownCostModelError(BrokerError):
    """A cost model that does not exist."""


class InvalidFillError(BrokerError):
    """A quantity, price or number of days for which no cost can be worked out."""


class FeeTableError(BrokerError):
    """The fee table that ships with the project is damaged."""

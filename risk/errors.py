"""What can go wrong with limits, as one-sentence errors.

Belongs here: exception types of `risk`. Does not belong here: refusals of orders; those are decisions, not errors.
"""


class RiskError(Exception):
    """Base of every error that `risk` raises on purpose; its text is one sentence for a user."""


class UnknownProfileError(RiskError):
    """A named set of limits that does not exist."""


class InvalidStateError(RiskError):
    """The guard was told something that cannot be: a halt to ACTIVE, a profit that is not a number."""

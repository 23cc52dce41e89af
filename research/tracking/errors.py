"""What can go wrong in tracking, as one-sentence errors that never hold a password.

Belongs here: exception types of `research.tracking`. Does not belong here: what is done about them.
"""

from research.errors import ResearchError


class TrackingError(ResearchError):
    """What was asked of tracking cannot be done: an address, a name, a refused value."""


class StoreUnreachableError(TrackingError):
    """The store is down, too slow or went away; what was to be sent waits in the outbox."""

"""What can go wrong with strategies, as one-sentence errors.

Belongs here: exception types of `strategies`. Does not belong here: refused orders; those are decisions of `risk`.
"""

import difflib
from collections.abc import Iterable


class StrategyError(Exception):
    """Base of every error that strategies raise on purpose; its text is one sentence for a user."""


class ParameterError(StrategyError):
    """A parameter is unknown, has the wrong type, is out of range or breaks a constraint."""


class UnknownStrategyError(StrategyError):
    """A dotted path that leads to no strategy class."""


class ScaffoldError(StrategyError):
    """A new strategy that cannot be written as asked."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The near match as a sentence that can follow an error, or an empty text.

    >>> did_you_mean("sma_shrot", ["sma_short", "sma_long"])
    ' Did you mean sma_short?'
    """
    near = difflib.get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""

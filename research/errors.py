"""What can go wrong in research, as one-sentence errors.

Belongs here: exception types of `research`. Does not belong here: messages for a terminal or a page.
"""


class ResearchError(Exception):
    """Base of every error that research raises on purpose; its text is one sentence for a user."""


class ExperimentError(ResearchError):
    """An experiment's specification is wrong: a key, a value, a strategy, a parameter."""


class IneligibleError(ExperimentError):
    """The engine that was asked for cannot run the experiment; `why` is a sentence."""

    def __init__(self, engine: str, experiment: str, why: str) -> None:
        super().__init__(f"engine: {engine} cannot run {experiment}: {why}")
        self.why = why
        self._given = (engine, experiment, why)

    def __reduce__(self) -> tuple[type["IneligibleError"], tuple[str, str, str]]:
        """It must survive the way out of a worker process: an exception that does not takes the whole pool along."""
        return type(self), self._given


class StudyError(ResearchError):
    """A study cannot be run as asked, or lost a worker."""


class UnprovenError(StudyError):
    """A trial is not what Backtrader makes of it, so that none of the study may be used."""


class BarsError(ResearchError):
    """The bars handed to a backtest cannot be used: absent, empty in the range, out of order."""


class AccountingError(ResearchError):
    """A finished backtest does not add up; its numbers must not be used."""


class ParityError(ResearchError):
    """A live session cannot be held against a backtest of its day: nothing was recorded, or not enough."""


class StatisticsError(ResearchError):
    """A statistic is asked of figures that it is not defined for: a wrong shape, no number, a level out of range."""

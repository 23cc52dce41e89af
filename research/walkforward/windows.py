"""Which sessions are searched and which are tested: the windows of a walk-forward.

Belongs here: lengths, embargo and the sessions that follow from them on an exchange calendar. Does not belong here:
searching, running, stitching (see `run`).

All boundaries are counted from the same first day, so that where the step is as long as the test, the tests tile the
calendar: no session is tested twice and none between two tests is left out. A session is never tested twice, because
the stitched curve would count it twice.
"""

import calendar as months_of
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from research.errors import StudyError
from warehouse.calendar import TradingCalendar


class WalkForwardSettings(BaseModel):
    """How a range is divided. Build it with `build`, which turns a fault into one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(default=6, ge=1, description="Length of what is searched")
    test: int = Field(default=2, ge=1, description="Length of what is tested")
    step: int = Field(default=2, ge=1, description="From one window to the next")
    unit: Literal["months", "sessions"] = Field(default="months", description="Of train, test and step")
    anchored: bool = Field(default=False, description="Every train range begins at the first session")
    embargo: int = Field(default=0, ge=0, description="Sessions between train and test that belong to neither")
    keep_partial: bool = Field(default=False, description="Keep a last test that the end of the range cuts short")
    warmup: int = Field(default=500, ge=0, description="Sessions before a test that its indicators may read")

    @classmethod
    def build(cls, **fields: Any) -> Self:  # noqa: ANN401 (as a command line or a file gives them)
        """Settings from plain values.

        Raises:
            StudyError: a field is unknown or its value is wrong; the sentence names both.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            reason = fault["msg"].removeprefix("Value error, ").rstrip(".")
            given = f"{where}: {fault['input']!r} is wrong: {reason}" if where else reason
            raise StudyError(f"walk-forward: {given}.") from None

    @model_validator(mode="after")
    def _no_session_is_tested_twice(self) -> Self:
        if self.step < self.test:
            raise ValueError(f"step: {self.step} is shorter than test {self.test}, so sessions would be tested twice")
        return self


@dataclass(frozen=True, slots=True)
class Window:
    """One fold; all four days are sessions, ends included."""

    number: int  # 0, 1, ... in time
    train_start: date
    train_end: date
    test_start: date
    test_end: date
    complete: bool  # False: the range ended before the test did


@dataclass(frozen=True, slots=True)
class Schedule:
    """The windows of a range, and sentences about what of it they leave out."""

    windows: tuple[Window, ...]
    notes: tuple[str, ...]


def schedule(calendar: TradingCalendar, start: date, end: date, settings: WalkForwardSettings) -> Schedule:
    """The windows between two days, both included.

    Raises:
        StudyError: the range holds not even one train range and its test.
    """
    days = _Days(calendar, start, end)
    found = tuple(_windows(days, settings))
    kept = tuple(window for window in found if window.complete or settings.keep_partial)
    if not kept:
        unit = settings.unit
        raise StudyError(
            f"range: {start} to {end} holds {days.count} sessions, too few to train on {settings.train} {unit} and test"
            f" on {settings.test} {unit}{f' after {settings.embargo} sessions of embargo' if settings.embargo else ''}."
        )
    return Schedule(kept, tuple(_notes(found, kept, settings)))


class _Days:
    """Sessions of a range and those after it, by position."""

    def __init__(self, calendar: TradingCalendar, start: date, end: date) -> None:
        self.start = start
        self.sessions: Sequence[date] = calendar.sessions(start, calendar.last_session)
        self.count = bisect_left(self.sessions, end + timedelta(days=1))

    def position(self, lengths: int, unit: str) -> int:
        """Position of the first session that is not within so many months or sessions of the start."""
        if unit == "sessions":
            return lengths
        return bisect_left(self.sessions, add_months(self.start, lengths))


def _windows(days: _Days, settings: WalkForwardSettings) -> Iterator[Window]:
    number = 0
    while True:
        offset = number * settings.step
        first = days.position(0 if settings.anchored else offset, settings.unit)
        after_train = days.position(offset + settings.train, settings.unit)
        test = after_train + settings.embargo
        after_test = days.position(offset + settings.train + settings.test, settings.unit) + settings.embargo
        if test >= days.count:
            return
        if first < after_train and test < after_test:  # a month in which an exchange does not trade holds nothing
            last = min(after_test, days.count) - 1
            at = days.sessions
            complete = after_test <= days.count
            yield Window(number, at[first], at[after_train - 1], at[test], at[last], complete)
        number += 1


def _notes(found: Sequence[Window], kept: Sequence[Window], settings: WalkForwardSettings) -> Iterator[str]:
    last = found[-1]
    if not last.complete:
        what = "is kept, shorter than the others" if last in kept else "is left out"
        yield f"The last test, from {last.test_start}, would go on after the range ends on {last.test_end}; it {what}."
    if settings.step > settings.test:
        yield (
            f"The step of {settings.step} {settings.unit} is longer than the test of {settings.test}: sessions between"
            " two tests are in no test."
        )


def add_months(day: date, months: int) -> date:
    """The same day of a later month, or that month's last day where it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, months_of.monthrange(year, month + 1)[1]))

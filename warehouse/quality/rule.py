"""What a quality rule is, and what it answers.

Belongs here: the rule, its severity, its outcome. Does not belong here: any rule (see `integrity`,
`completeness`, `continuity`), settings, reports.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from warehouse.quality.evidence import Evidence
from warehouse.resolution import Resolution
from warehouse.schema import UTC_US


class Severity(StrEnum):
    """What the failure of a rule means for those who would use the bars."""

    INFO = "INFO"
    """Good to know."""
    WARN = "WARN"
    """A person should look at it."""
    ERROR = "ERROR"
    """The bars must not be used: backtests, studies and live sessions stop."""


@dataclass(frozen=True, slots=True)
class Offences:
    """The offending bars, sessions or absences, one entry each, in time order.

    `ts` holds UTC microseconds, or -1 where the finding is longer than a bar; `session` holds days since
    1970-01-01, or -1 where it is unknown.
    """

    ts: NDArray[np.int64]
    session: NDArray[np.int32]
    value: NDArray[np.float64]
    detail: pa.Array

    def __len__(self) -> int:
        return len(self.value)

    def columns(self) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
        """`ts`, `session`, `value` and `detail` as the findings table holds them, unknown entries null."""
        ts = pa.array(self.ts, mask=self.ts < 0).cast(UTC_US)
        session = pa.array(self.session, mask=self.session < 0).cast(pa.date32())
        return ts, session, pa.array(self.value, from_pandas=True), self.detail

    @classmethod
    def none(cls) -> "Offences":
        """No offence."""
        return cls.of((), ())

    @classmethod
    def of(
        cls,
        session: NDArray[np.integer] | Sequence[int],
        value: NDArray[np.integer] | NDArray[np.floating] | Sequence[float],
        *detail: str | pa.Array | NDArray[np.integer] | NDArray[np.floating],
        ts: NDArray[np.int64] | None = None,
    ) -> "Offences":
        """Offences whose detail is the parts of a sentence, constant or one an entry, joined."""
        days = np.asarray(session, np.int32)
        stamps = np.full(len(days), -1, np.int64) if ts is None else ts
        return cls(stamps, days, np.asarray(value, np.float64), _sentences(detail, len(days)))

    @classmethod
    def of_quarantine(cls, rows: pa.Table, detail: str = "detail") -> "Offences":
        """Quarantined bars (QUARANTINE_SCHEMA), described by one of their columns."""
        return cls(
            rows["stamp"].cast(pa.int64()).fill_null(-1).to_numpy(),
            np.full(rows.num_rows, -1, np.int32),
            rows["close"].to_numpy().astype(np.float64),
            rows[detail].combine_chunks(),
        )

    def followed_by(self, others: "Offences") -> "Offences":
        """These offences, then others."""
        return Offences(
            np.r_[self.ts, others.ts],
            np.r_[self.session, others.session],
            np.r_[self.value, others.value],
            pa.concat_arrays([self.detail, others.detail]),
        )


def _sentences(parts: Sequence[object], count: int) -> pa.Array:
    texts = [pa.scalar(part) if isinstance(part, str) else _texts(part) for part in parts]
    if count == 0 or all(isinstance(text, pa.Scalar) for text in texts):
        return pa.array(["".join(part for part in parts if isinstance(part, str))] * count, pa.string())
    return pc.binary_join_element_wise(*texts, "", null_handling="replace", null_replacement="?")


def _texts(values: object) -> pa.Array:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return array if pa.types.is_string(array.type) else array.cast(pa.string())


def number(count: float, noun: str) -> str:
    """A count with its noun.

    >>> number(0, "bar"), number(1, "bar"), number(1200, "gap")
    ('no bars', '1 bar', '1,200 gaps')
    """
    return f"{f'{count:,.0f}' if count else 'no'} {noun if count == 1 else f'{noun}s'}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule measured.

    `measured` is None when the rule could not be computed; `message` then says why. `contained` is True
    when cleaning has already taken every offending bar out of the series, so that nothing worse than a
    WARN can follow.
    """

    measured: float | None
    message: str
    offences: Offences = field(default_factory=Offences.none)
    contained: bool = False


def not_computed(why: str) -> Outcome:
    """An outcome that says that nothing was measured; `why` is one sentence."""
    return Outcome(None, why)


@dataclass(frozen=True, slots=True)
class Rule:
    """One question to a symbol's bars.

    The rule passes when what it measured is at most (or, with `at_least`, at least) the threshold.
    `intraday_threshold` is the default for resolutions below a day where it differs. Without `needs_bars` the
    rule can be computed for a symbol that has no clean bars. `share` says that what it measures is a fraction,
    which a page shows in per cent.
    """

    id: str
    description: str
    severity: Severity
    threshold: float
    check: Callable[[Evidence, float], Outcome]
    intraday_threshold: float | None = None
    at_least: bool = False
    intraday_only: bool = False
    needs_bars: bool = True
    share: bool = False

    def applies_to(self, resolution: Resolution) -> bool:
        """False when the question makes no sense at that length of bar."""
        return resolution.intraday or not self.intraday_only

    def default_threshold(self, resolution: Resolution) -> float:
        """The threshold when settings name none."""
        if resolution.intraday and self.intraday_threshold is not None:
            return self.intraday_threshold
        return self.threshold

    def passes(self, measured: float, threshold: float) -> bool:
        """True when the measured value keeps the threshold."""
        return measured >= threshold if self.at_least else measured <= threshold

"""Executions and commissions, each booked once, whatever order they come in.

Belongs here: identity of executions, corrections, commissions that wait for their execution. Does not belong here:
orders (see `tracked`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from broker.ib.messages import Commission, Execution


def parted(exec_id: str) -> tuple[str, int]:
    """An execution's lasting name and its revision: the last part of the id, 0 where there is none.

    >>> parted("0000e0d5.6541c8f8.01.02")
    ('0000e0d5.6541c8f8.01', 2)
    """
    stem, dot, last = exec_id.rpartition(".")
    return (stem, int(last)) if dot and last.isdecimal() else (exec_id, 0)


@dataclass(slots=True)
class Fill:
    """An execution as it stands now, the order it belongs to, and what it cost as far as known."""

    order_ref: str
    execution: Execution
    external: bool
    commission: Commission | None = None


@dataclass(slots=True)
class FillBook:
    """All fills of an account by the lasting name of their execution."""

    _fills: dict[str, Fill] = field(default_factory=dict)
    _commissions: dict[str, Commission] = field(default_factory=dict)  # those that wait for their execution too
    _skipped: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Fill]:
        return iter(self._fills.values())

    def get(self, exec_id: str) -> Fill | None:
        """The fill that an execution, in whatever revision, is booked as."""
        return self._fills.get(parted(exec_id)[0])

    def named(self, stem: str) -> Fill | None:
        """The fill with a lasting name."""
        return self._fills.get(stem)

    def is_news(self, execution: Execution) -> bool:
        """Whether an execution is not booked yet, or corrects one that is."""
        stem, revision = parted(execution.exec_id)
        if stem in self._skipped:
            return False
        booked = self._fills.get(stem)
        return booked is None or revision > parted(booked.execution.exec_id)[1]

    def skip(self, exec_id: str) -> None:
        """Never book an execution."""
        self._skipped.add(parted(exec_id)[0])

    def was_skipped(self, exec_id: str) -> bool:
        """Whether an execution is not to be booked."""
        return parted(exec_id)[0] in self._skipped

    def book(self, order_ref: str, execution: Execution, *, external: bool) -> None:
        """Book an execution in place of an earlier revision, if any."""
        stem, _ = parted(execution.exec_id)
        booked = self._fills.get(stem)
        commission = None if booked is None else booked.commission
        self._fills[stem] = Fill(order_ref, execution, external, commission)

    def keep(self, commission: Commission) -> None:
        """Keep a commission until its execution asks for it; that of the highest revision counts."""
        stem, revision = parted(commission.exec_id)
        kept = self._commissions.get(stem)
        if kept is None or revision >= parted(kept.exec_id)[1]:
            self._commissions[stem] = commission

    def kept(self, exec_id: str) -> Commission | None:
        """The commission that belongs to an execution, booked or not."""
        return self._commissions.get(parted(exec_id)[0])

    def attach(self, commission: Commission) -> None:
        """Book what an execution cost."""
        self.keep(commission)
        self._fills[parted(commission.exec_id)[0]].commission = commission

    def of(self, order_ref: str) -> tuple[Fill, ...]:
        """The fills of an order, as they came."""
        return tuple(fill for fill in self._fills.values() if fill.order_ref == order_ref)

    def fees(self) -> Decimal:
        """All commissions that are booked."""
        return sum((fill.commission.amount for fill in self if fill.commission is not None), Decimal())

"""What an order and a night cost, by the project's own cost model.

Belongs here: fees of orders that fill in pieces, shares of the month for tiers, interest. Does not belong here: rates
and their arithmetic (see `broker.costs`), booking (see `ledger`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from broker.costs import CostModel
from broker.simulator.ledger import ZERO, Ledger, price_of
from broker.simulator.moments import day_of
from broker.simulator.orders import Order


@dataclass(slots=True)
class Charges:
    """Counts what is charged by order, month and night. `accrued_session` is the day up to which interest is booked."""

    costs: CostModel
    accrued_session: int = -1
    _shares: dict[tuple[int, int], Decimal] = field(default_factory=dict)

    def fee(self, order: Order, quantity: Decimal, price: Decimal, session: int) -> Decimal:
        """What a fill adds to an order's charge.

        Minimum and maximum are an order's, so the whole of the session is charged less what was charged before.
        """
        if order.charged_session != session:
            order.charged, order.session_filled, order.session_value = ZERO, ZERO, ZERO
            order.charged_session = session
        before = self._shares.get(_month(session), ZERO) - order.session_filled
        order.session_filled += quantity
        order.session_value += quantity * price
        self.count(session, quantity)
        whole = self.costs.commission(
            order.session_filled * order.terms.side,
            order.session_value / order.session_filled,
            day_of(session),
            monthly_shares=max(ZERO, before),
        ).total
        fee, order.charged = whole - order.charged, whole
        return fee

    def count(self, session: int, quantity: Decimal) -> None:
        """Count shares traded in a session."""
        month = _month(session)
        self._shares[month] = self._shares.get(month, ZERO) + quantity

    def accrue(self, session: int, ledger: Ledger, prices: Mapping[str, float]) -> None:
        """Book interest for the calendar days since the last session."""
        if self.accrued_session >= 0:
            held = [(p.quantity, prices[k]) for k, p in ledger.positions.items() if p.quantity < 0 and k in prices]
            short = -sum((quantity * price_of(price) for quantity, price in held), ZERO)
            amount = self.costs.financing.accrued(float(ledger.cash), float(short), session - self.accrued_session)
            if amount:
                ledger.accrue(Decimal(repr(amount)))
        self.accrued_session = session


def _month(session: int) -> tuple[int, int]:
    """The calendar month of a session, of which tiers count the shares."""
    day = day_of(session)
    return day.year, day.month

"""A cost model: commission, slippage, participation and financing under one name.

Belongs here: the parts together, and what a result has to say about them. Does not belong here: reading settings.
"""

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from broker.costs.commission import NO_CHARGE, Charge, charge, exact
from broker.costs.fees import CommissionRates, fee_table
from broker.costs.financing import Financing
from broker.costs.participation import Participation
from broker.costs.slippage import SlippageModel
from broker.errors import InvalidFillError

_FREE = "No commissions and fees were charged (cost model none); a real account pays them."


@dataclass(frozen=True, slots=True)
class CostModel:
    """What trading costs. `rates` is None for the model that charges nothing, which its `notices` say aloud.

    `multiple` is how often every commission and fee is charged: 1 but in a test of how much an edge hangs on costs.
    """

    name: str
    rates: CommissionRates | None
    slippage: SlippageModel
    participation: Participation
    financing: Financing
    multiple: int = 1

    def commission(
        self, quantity: Decimal | float, price: Decimal | float, on: date, *, monthly_shares: Decimal | float = 0
    ) -> Charge:
        """What one order pays for its fills of one session, USD.

        Minimum and maximum are an order's: for an order filled in pieces, charge the whole so far and subtract what
        was charged before.

        Args:
            quantity: signed shares, negative for a sale.
            price: average price a share.
            on: the session.
            monthly_shares: shares traded earlier in the same calendar month, for tiers.

        Raises:
            InvalidFillError: a number is not finite, or the price or the month's shares are negative.
        """
        shares, at, before = exact("quantity", quantity), exact("price", price), exact("monthly_shares", monthly_shares)
        if at < 0:
            raise InvalidFillError(f"price: {price} is negative.")
        if before < 0:
            raise InvalidFillError(f"monthly_shares: {monthly_shares} is negative.")
        if self.rates is None or not shares:
            return NO_CHARGE
        once = charge(self.rates, fee_table(), shares, at, on=on, monthly_shares=before)
        return once if self.multiple == 1 else once.times(self.multiple)

    def scaled(self, multiple: int) -> "CostModel":
        """The same model with commission, fees and slippage so many times as high; 0 charges none of them.

        Minimum and maximum of an order are multiplied too, so what an order pays is exactly that many times as much
        before it is rounded. Participation and interest stay: they are no price of a trade.

        Raises:
            InvalidFillError: the multiple is negative.
        """
        if multiple < 0:
            raise InvalidFillError(f"multiple: {multiple} is negative.")
        slippage = self.slippage.scaled(multiple)
        if not multiple:
            return replace(self, rates=None, slippage=slippage)
        return replace(self, slippage=slippage, multiple=self.multiple * multiple)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a result must say aloud: every cost that is zero, one sentence each."""
        said = (
            _FREE if self.rates is None else None,
            self.slippage.notice,
            self.participation.notice,
            self.financing.notice,
        )
        return tuple(sentence for sentence in said if sentence)

    @property
    def notice(self) -> str | None:
        """`notices` as one text, None when every cost is charged."""
        return " ".join(self.notices) or None

    def notices_for(self, start: date, end: date) -> tuple[str, ...]:
        """`notices`, and a sentence for each end of a run that lies outside the days whose fee rates are known."""
        if self.rates is None:
            return self.notices
        fees = fee_table()
        early = f"Regulatory fees before {fees.first_day} are charged at the rates of that day."
        late = f"Regulatory fees after {fees.known_through} are charged at the last rates known then."
        outside = [early] * (start < fees.first_day) + [late] * (end > fees.known_through)
        return (*self.notices, *outside)

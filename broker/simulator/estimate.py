"""What an order would do to the account, for clients that ask before they send.

Belongs here: margin and commission of an order that is not placed. Does not belong here: whether it may be placed.
"""

from collections.abc import Mapping
from decimal import Decimal

from broker.costs import CostModel
from broker.simulator.ledger import ZERO, Ledger, price_of
from broker.simulator.market import Market
from broker.simulator.moments import day_of
from broker.simulator.orders import Order


def estimate(order: Order, ledger: Ledger, market: Market, costs: CostModel) -> Mapping[str, Decimal]:
    """Margin before, change and after, equity and commission, by IB's names of an order's state."""
    key, prices = order.instrument.key, {k: price_of(p) for k, p in market.prices().items()}
    price = prices.get(key) or price_of(order.terms.limit or 0.0)
    before = ledger.figures(prices)
    held = ledger.quantity(key)
    gross_change = (abs(held + order.terms.side * order.total) - abs(held)) * price
    initial = gross_change * before.initial_rate
    maintenance = gross_change * (ledger.rules.maintenance if ledger.rules.margin_account else Decimal(1))
    day = day_of(market.trading_day())
    fee = costs.commission(order.total * order.terms.side, price, day).total if price else ZERO
    equity = before.net_liquidation
    return {
        "initMarginBefore": before.initial_margin,
        "maintMarginBefore": before.maintenance_margin,
        "equityWithLoanBefore": equity,
        "initMarginChange": initial,
        "maintMarginChange": maintenance,
        "equityWithLoanChange": -fee,
        "initMarginAfter": before.initial_margin + initial,
        "maintMarginAfter": before.maintenance_margin + maintenance,
        "equityWithLoanAfter": equity - fee,
        "commission": fee,
    }

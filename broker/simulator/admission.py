"""Whether an order may enter the market, with IB's codes for those that may not.

Belongs here: checks of one order against contract, account and rules, as pure functions. Does not belong here: what
becomes of the order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from broker.costs.commission import exact
from broker.simulator.instruments import MARKET_RULES, Instrument
from broker.simulator.ledger import ZERO, Ledger, price_of
from broker.simulator.order_request import KINDS, Terms
from broker.simulator.orders import Order

_TIFS = ("DAY", "GTC", "GTD")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: IB's code and sentence."""

    code: int
    text: str


def rejected(reason: str) -> Refusal:
    """The code for whatever has none of its own."""
    return Refusal(201, f"Order rejected - reason:{reason}")


def check_terms(terms: Terms, instrument: Instrument, fields: Mapping[str, str], account: str) -> Refusal | None:
    """The first fault that an order has by itself."""
    if fields.get("account", "") not in {"", account}:
        return Refusal(321, f"Error validating request.-'bW' : cause - Invalid account code {fields['account']!r}.")
    if not terms.side:
        return Refusal(321, f"Error validating request.-'bW' : cause - Invalid action {fields.get('action', '')!r}.")
    if terms.kind not in KINDS:
        return Refusal(387, f"Unsupported order type for this exchange and security type: {terms.kind!r}.")
    if instrument.sec_type in {"IND", "CONTFUT"}:
        return rejected(f"{instrument.symbol}: an index or a continuous future cannot be traded.")
    if instrument.currency != "USD":
        return rejected(f"{instrument.key}: the simulated account holds USD only.")
    return _check_untraded(fields) or _check_size(terms, instrument) or _check_prices(terms, instrument)


def _check_untraded(fields: Mapping[str, str]) -> Refusal | None:
    """What changes how an order trades must not be ignored in silence."""
    for name, words in (("conditions", "Conditions"), ("algorithm", "Algorithms"), ("hedge_type", "Hedges")):
        if fields.get(name, "") not in {"", "0"}:
            return rejected(f"{words} are not simulated.")
    cash = fields.get("cash_quantity", "")
    if cash not in {"", "0", "0.0"}:
        return rejected("Cash quantities are not simulated.")
    return None


def _check_size(terms: Terms, instrument: Instrument) -> Refusal | None:
    if terms.quantity <= 0:
        return Refusal(321, "Error validating request.-'bW' : cause - The size value cannot be zero")
    if terms.quantity % instrument.size_increment:
        return Refusal(
            10318, f"This order doesn't support fractional quantity trading below {instrument.size_increment}"
        )
    if terms.tif not in _TIFS:
        return Refusal(10052, f"Invalid time in force: {terms.tif}.")
    return None


def _check_prices(terms: Terms, instrument: Instrument) -> Refusal | None:
    needed = {
        "LMT": ("limit",),
        "STP": ("aux",),
        "STP LMT": ("limit", "aux"),
    }.get(terms.kind, ())
    if terms.kind.startswith("TRAIL") and not (terms.aux or terms.trail_percent):
        return Refusal(321, "Error validating request.-'bW' : cause - Trailing amount or percentage is missing.")
    if terms.kind == "TRAIL LIMIT" and terms.limit_offset is None and terms.limit is None:
        return Refusal(321, "Error validating request.-'bW' : cause - Limit price or limit price offset is missing.")
    for name in needed:
        price = getattr(terms, name)
        if price is None or price <= 0:
            return Refusal(321, f"Error validating request.-'bW' : cause - {name} price of {terms.kind} is missing.")
        if exact(name, price) % _increment(instrument, exact(name, price)):
            return Refusal(110, "The price does not conform to the minimum price variation for this contract.")
    return None


def _increment(instrument: Instrument, price: Decimal) -> Decimal:
    if instrument.shares and price < 1:
        return Decimal("0.0001")
    return next(step for edge, step in reversed(MARKET_RULES[instrument.market_rule]) if price >= edge)


def check_short(order: Order, ledger: Ledger, working: Iterable[Order], *, shortable: bool) -> Refusal | None:
    """Whether a sale may go below zero. Children of an open bracket only close, and do not count."""
    if order.terms.side > 0 or order.parent_perm_id:
        return None
    others = sum(
        (o.remaining for o in working if _adds(o, order) and o.terms.side < 0 and o.instrument == order.instrument),
        ZERO,
    )
    left = ledger.quantity(order.instrument.key) - others - order.remaining
    if left >= 0 or (not order.instrument.shares and ledger.rules.margin_account):
        return None
    if not ledger.rules.margin_account:
        return rejected("Short selling is not allowed in a cash account.")
    return None if shortable else rejected("The contract is not available for short sale.")


def check_margin(order: Order, ledger: Ledger, working: Iterable[Order], prices: Mapping[str, float]) -> Refusal | None:
    """Whether the account could carry what would be held if this order and all others waiting were filled."""
    if order.parent_perm_id:
        return None
    known = {key: price_of(price) for key, price in prices.items()}
    figures = ledger.figures(known)
    before, after = _needed(ledger, list(working), known), _needed(ledger, [*working, order], known)
    if after <= before or after <= figures.net_liquidation:
        return None
    return rejected(
        "We are unable to accept your order. Your Available Funds are insufficient to cover the initial margin of this "
        f"order: EQUITY WITH LOAN VALUE [{figures.net_liquidation:.2f} USD], INITIAL MARGIN [{after:.2f} USD]."
    )


def _needed(ledger: Ledger, working: list[Order], prices: Mapping[str, Decimal]) -> Decimal:
    """Initial margin in the worst case: of each symbol either all purchases are filled or all sales."""
    rate = ledger.rules.initial if ledger.rules.margin_account else Decimal(1)
    keys = {*ledger.positions, *(order.instrument.key for order in working)}
    total = ZERO
    for key in keys:
        held, own = ledger.quantity(key), [o for o in working if o.instrument.key == key and not o.parent_perm_id]
        bought = held + sum((o.remaining for o in own if o.terms.side > 0), ZERO)
        sold = held - sum((o.remaining for o in own if o.terms.side < 0), ZERO)
        total += max(abs(bought), abs(sold)) * _price(key, own, prices) * rate
    return total


def _price(key: str, orders: Iterable[Order], prices: Mapping[str, Decimal]) -> Decimal:
    """The dearest price that counts; a limit below the market does not make an order cheaper."""
    limits = [price_of(o.terms.limit) for o in orders if o.terms.limit is not None and o.terms.side > 0]
    return max([prices.get(key, ZERO), *([] if key in prices else limits)], default=ZERO)


def _adds(other: Order, order: Order) -> bool:
    return (
        other is not order
        and not other.parent_perm_id
        and not (other.terms.oca_group and other.terms.oca_group == order.terms.oca_group)
    )

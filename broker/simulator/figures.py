"""The account's figures under the names that IB gives them.

Belongs here: names, order and text forms. Does not belong here: the arithmetic (see `ledger`).
"""

from decimal import ROUND_HALF_EVEN, Decimal

from broker.simulator.framing import Field
from broker.simulator.ledger import Figures, Ledger

CURRENCY = "USD"
_CENT = Decimal("0.01")

Figure = tuple[str, Field, str]


def cents(amount: Decimal) -> Decimal:
    """An amount as the account page shows it."""
    return amount.quantize(_CENT, rounding=ROUND_HALF_EVEN)


def in_cents(figures: Figures) -> Figures:
    """The figures with every part in cents, so that what is shown adds up as shown."""
    return Figures(
        cents(figures.cash), cents(figures.stock_value), cents(figures.gross_value), cents(figures.initial_margin),
        cents(figures.maintenance_margin), cents(figures.unrealised), cents(figures.realised), figures.initial_rate,
    )  # fmt: skip


def account_figures(ledger: Ledger, exact: Figures) -> list[Figure]:
    """Key, value and currency of everything that account updates carry."""
    figures = in_cents(exact)
    kind = "INDIVIDUAL" if ledger.rules.margin_account else "CASH"
    money = {
        "NetLiquidation": figures.net_liquidation,
        "TotalCashValue": figures.cash,
        "SettledCash": figures.cash,
        "AccruedCash": Decimal(0),
        "EquityWithLoanValue": figures.net_liquidation,
        "PreviousDayEquityWithLoanValue": figures.net_liquidation,
        "GrossPositionValue": figures.gross_value,
        "InitMarginReq": figures.initial_margin,
        "MaintMarginReq": figures.maintenance_margin,
        "AvailableFunds": figures.available,
        "ExcessLiquidity": figures.excess,
        "FullInitMarginReq": figures.initial_margin,
        "FullMaintMarginReq": figures.maintenance_margin,
        "FullAvailableFunds": figures.available,
        "FullExcessLiquidity": figures.excess,
        "BuyingPower": figures.buying_power,
        "StockMarketValue": figures.stock_value,
        "UnrealizedPnL": figures.unrealised,
        "RealizedPnL": figures.realised,
        "CashBalance": figures.cash,
        "TotalCashBalance": figures.cash,
    }
    leverage = figures.gross_value / figures.net_liquidation if figures.net_liquidation > 0 else Decimal(0)
    rows: list[Figure] = [("AccountCode", "", ""), ("AccountType", kind, ""), ("AccountReady", "true", "")]
    rows += [(key, cents(value), CURRENCY) for key, value in money.items()]
    base = ("CashBalance", "TotalCashBalance", "NetLiquidation", "StockMarketValue", "UnrealizedPnL", "RealizedPnL")
    names = {"NetLiquidation": "NetLiquidationByCurrency"}
    rows += [(names.get(key, key), cents(money[key]), "BASE") for key in base]
    rows += [("Leverage", leverage.quantize(_CENT), ""), ("Cushion", _cushion(figures), "")]
    rows += [("Currency", CURRENCY, CURRENCY), ("ExchangeRate", "1.00", CURRENCY), ("DayTradesRemaining", "-1", "")]
    return rows


def _cushion(figures: Figures) -> Decimal:
    if figures.net_liquidation <= 0:
        return Decimal(0)
    return (figures.excess / figures.net_liquidation).quantize(Decimal("0.0001"))

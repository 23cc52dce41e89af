"""What a deployment did in one session, from the ledger alone.

Belongs here: reading the session's records into one report. Does not belong here: drawing, sending, Dagster.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from warehouse.ledger.records import (
    AlarmRaised,
    EquitySnapshot,
    Fill,
    Intent,
    PositionStated,
    RiskDecided,
    SessionEnded,
    SessionStarted,
)
from warehouse.ledger.store import Ledger

_NONE = Decimal(0)
_BASIS_POINTS = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Slipped:
    """What one fill cost against the price that was decided on.

    `decided` is the close of the bar that was decided on, or the price at which a stop or limit order waited; None for
    a fill without an intent of ours. `money` is above 0 where the fill was worse; `value` is shares times `decided`.
    """

    ts: datetime
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    decided: Decimal | None

    @property
    def money(self) -> Decimal | None:
        """The cost, in the symbol's currency."""
        if self.decided is None:
            return None
        worse = self.price - self.decided if self.side == "BUY" else self.decided - self.price
        return worse * self.quantity

    @property
    def value(self) -> Decimal | None:
        """What the fill was worth at the price that was decided on."""
        return None if self.decided is None else self.decided * self.quantity


@dataclass(frozen=True, slots=True)
class Slippage:
    """What some fills cost together against the prices that were decided on.

    `money` above 0 is a cost; `basis_points` are of the value at the prices that were decided on. Both are None where
    no fill has such a price; `unknown` counts the fills that have none.
    """

    money: Decimal | None
    basis_points: Decimal | None
    unknown: int

    @classmethod
    def of(cls, fills: Iterable[Slipped]) -> "Slippage":
        """The sum over fills."""
        known, unknown = [], 0
        for one in fills:
            if one.money is None or one.value is None:
                unknown += 1
            else:
                known.append((one.money, one.value))
        if not known:
            return cls(None, None, unknown)
        money, value = (sum(column, _NONE) for column in zip(*known, strict=True))
        points = None if not value else (money / value * _BASIS_POINTS).quantize(Decimal("0.01"))
        return cls(money, points, unknown)

    @property
    def sentence(self) -> str:
        """In money and basis points."""
        if self.money is None:
            return "unknown slippage"
        points = "" if self.basis_points is None else f" ({self.basis_points:+.1f} bp)"
        return f"slippage {self.money:+,.2f}{points}"


@dataclass(frozen=True, slots=True)
class Traded:
    """What was traded of one symbol: shares, money (price times shares), commissions and slippage."""

    symbol: str
    fills: int
    bought: Decimal
    sold: Decimal
    paid: Decimal
    received: Decimal
    commission: Decimal
    commissions_missing: int
    slippage: Slippage


@dataclass(frozen=True, slots=True)
class SessionReport:
    """One session of a deployment. Money in the account's currency; what was not recorded is None.

    `profit` is the change of the account's equity between the first and the last live bar, whoever traded.
    `refusals` and `alarms` as (moment, text); `timeline` holds everything that a person would want to see in order.
    `equity` was recorded after each live bar, `slipped` has one row a fill.
    """

    deployment: str
    account: str
    session: date
    runs: tuple[str, ...]
    outcome: str
    traded: tuple[Traded, ...]
    commission: Decimal
    slippage: Slippage
    slipped: tuple[Slipped, ...]
    equity: tuple[tuple[datetime, Decimal], ...]
    positions: tuple[tuple[str, Decimal], ...]
    refusals: tuple[tuple[datetime, str], ...]
    alarms: tuple[tuple[datetime, str], ...]
    timeline: tuple[tuple[datetime, str], ...]

    @property
    def profit(self) -> Decimal | None:
        """Change of equity over the session."""
        return self.equity[-1][1] - self.equity[0][1] if self.equity else None

    @property
    def sentence(self) -> str:
        """The report in one line."""
        profit = "unknown profit" if self.profit is None else f"profit {self.profit:+,.2f}"
        fills = sum(one.fills for one in self.traded)
        return (
            f"{self.deployment}, session {self.session}: {self.outcome}; {fills} fills, {profit}, commission"
            f" {self.commission:,.2f}, {self.slippage.sentence}, {len(self.refusals)} refusals,"
            f" {len(self.alarms)} alarms."
        )


def session_report(ledger: Ledger, deployment: str, session: date) -> SessionReport:
    """The report of a session, as far as it was recorded.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    recorded = [one for one in ledger.events(deployment) if one.scope.session == session]
    account = recorded[0].scope.account if recorded else ""
    records = [one.record for one in recorded]
    fills = [one for one in ledger.fills(account, session) if one.scope.deployment == deployment]
    slipped = tuple(_slipped(ledger, fills))
    ends = [one for one in records if isinstance(one, SessionEnded)]
    refused = [one for one in records if isinstance(one, RiskDecided) and one.what in {"refused", "shrunk"}]
    alarms = [one for one in records if isinstance(one, AlarmRaised)]
    return SessionReport(
        deployment=deployment,
        account=account,
        session=session,
        runs=tuple(f"{run.attempt}: {run.run_id}" for run in records if isinstance(run, SessionStarted)),
        outcome=ends[-1].outcome if ends else "no run has ended",
        traded=_traded(fills, slipped),
        commission=sum((one.commission.amount for one in fills if one.commission is not None), _NONE),
        slippage=Slippage.of(slipped),
        slipped=slipped,
        equity=tuple((one.ts, one.equity) for one in records if isinstance(one, EquitySnapshot)),
        positions=_positions([one for one in records if isinstance(one, PositionStated) and one.source == "ours"]),
        refusals=tuple((one.ts, f"{one.symbol}: {one.reason}") for one in refused),
        alarms=tuple((one.ts, f"{one.code}: {one.text}") for one in alarms),
        timeline=_timeline(records, fills),
    )


def _slipped(ledger: Ledger, fills: Sequence[Fill]) -> Iterable[Slipped]:
    intents: dict[str, Intent | None] = {}
    for told in (one.filled for one in fills):
        if told.order_ref not in intents:
            found = ledger.intent(told.order_ref)
            intents[told.order_ref] = None if found is None else found.intent
        intent = intents[told.order_ref]
        yield Slipped(
            told.executed, told.symbol, told.side, told.quantity, told.price,
            None if intent is None else price_decided(intent),
        )  # fmt: skip


def price_decided(intent: Intent) -> Decimal | None:
    """The price at which an order was meant to trade: its own where it waits for one, else what the strategy saw."""
    own = intent.stop_price if intent.stop_price is not None else intent.limit_price
    return intent.decision_price if own is None else own


def _traded(fills: Sequence[Fill], slipped: Sequence[Slipped]) -> tuple[Traded, ...]:
    rows = []
    for symbol in sorted({one.filled.symbol for one in fills}):
        own = [one for one in fills if one.filled.symbol == symbol]
        buys = [one.filled for one in own if one.filled.side == "BUY"]
        sales = [one.filled for one in own if one.filled.side == "SELL"]
        rows.append(
            Traded(
                symbol,
                len(own),
                sum((one.quantity for one in buys), _NONE),
                sum((one.quantity for one in sales), _NONE),
                sum((one.quantity * one.price for one in buys), _NONE),
                sum((one.quantity * one.price for one in sales), _NONE),
                sum((one.commission.amount for one in own if one.commission is not None), _NONE),
                sum(one.commission is None for one in own),
                Slippage.of(one for one in slipped if one.symbol == symbol),
            )
        )
    return tuple(rows)


def _positions(stated: Sequence[PositionStated]) -> tuple[tuple[str, Decimal], ...]:
    latest = {one.symbol: one.quantity for one in stated}
    return tuple((symbol, quantity) for symbol, quantity in sorted(latest.items()) if quantity)


def _timeline(records: Sequence[object], fills: Sequence[Fill]) -> tuple[tuple[datetime, str], ...]:
    lines: list[tuple[datetime, str]] = []
    for one in records:
        if isinstance(one, SessionStarted):
            lines.append((one.ts, f"run {one.attempt} begins"))
        elif isinstance(one, SessionEnded):
            lines.append((one.ts, f"run {one.attempt} ends: {one.outcome}, {one.reason}"))
        elif isinstance(one, RiskDecided):
            lines.append((one.ts, f"risk {one.what}: {one.reason}"))
        elif isinstance(one, AlarmRaised):
            lines.append((one.ts, f"alarm {one.code}: {one.text}"))
    for fill in fills:
        told = fill.filled
        lines.append((told.executed, f"{told.side} {told.quantity:f} {told.symbol} at {told.price:f}"))
    return tuple(sorted(lines))

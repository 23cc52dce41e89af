"""The ledger's tables as this version of barloom writes them.

Belongs here: tables and how values lie in them. Does not belong here: how an older database becomes one with these
tables, and the views (see `migrations`).

`events` holds everything, as it was appended. The other tables repeat some of its kinds in columns, for queries; they
can be made again from it. A column has the name of the record's field. Decimals are text: SQLite has no exact type.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

REVISION = "0002"
"""The revision of the migrations that gives these tables."""

metadata = MetaData()

Number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows itself only where the type is INTEGER


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC, microseconds; in SQLite a text that sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """As UTC."""
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """As UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class DecimalText(TypeDecorator[Decimal]):
    """A Decimal as the text that gives it back with all its digits."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        """As text."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        """As Decimal."""
        return None if value is None else Decimal(value)


events = Table(
    "events",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("ts", UtcDateTime, nullable=False),
    Column("deployment", String(20), nullable=False),
    Column("account", Text, nullable=False),
    Column("session", Date),
    Column("kind", String(20), nullable=False),
    Column("ref", Text),
    Column("payload", Text, nullable=False),
    Index("events_by_deployment", "deployment", "kind", "id"),
    Index("events_by_account", "account", "kind", "id"),
    sqlite_autoincrement=True,  # a number is never given twice
)


def _of_events(name: str, *columns: Any) -> Table:  # noqa: ANN401 (columns and constraints)
    """A table that repeats events of one kind."""
    return Table(
        name,
        metadata,
        Column("event_id", Number, ForeignKey("events.id"), primary_key=True, autoincrement=False),
        Column("ts", UtcDateTime, nullable=False),
        Column("deployment", String(20), nullable=False),
        Column("account", Text, nullable=False),
        Column("session", Date),
        *columns,
    )


def _column(name: str, kind: Any, *, null: bool = False) -> Column[Any]:  # noqa: ANN401 (a type or its class)
    return Column(name, kind, nullable=null)


deployments = _of_events(
    "deployments",
    _column("enabled", Boolean),
    _column("experiment", Text),
    _column("mode", Text),
    _column("experiment_yaml", Text),
    _column("fingerprint", Text),
    _column("by", Text),
    Index("deployments_by_name", "deployment", "event_id"),
)

session_starts = _of_events(
    "session_starts",
    _column("run_id", Text),
    _column("attempt", Integer),
    UniqueConstraint("deployment", "run_id", "attempt", name="session_starts_once"),
)

session_ends = _of_events(
    "session_ends",
    _column("run_id", Text),
    _column("attempt", Integer),
    _column("outcome", Text),
    _column("reason", Text),
    UniqueConstraint("deployment", "run_id", "attempt", name="session_ends_once"),
)

intents = _of_events(
    "intents",
    _column("order_ref", String(40)),
    _column("symbol", Text),
    _column("con_id", BigInteger),
    _column("side", Text),
    _column("quantity", DecimalText),
    _column("order_type", Text),
    _column("bar_ts", UtcDateTime),
    _column("limit_price", DecimalText, null=True),
    _column("stop_price", DecimalText, null=True),
    _column("tif", Text),
    _column("parent_ref", Text),
    _column("reason", Text),
    _column("decision_price", DecimalText, null=True),
    UniqueConstraint("order_ref", name="intents_once"),
    Index("intents_by_account", "account", "event_id"),
)

order_changes = _of_events(
    "order_changes",
    _column("order_ref", Text),
    _column("change", Text),
    _column("state", Text, null=True),
    _column("done", Boolean),
    _column("reason", Text),
    _column("code", Integer, null=True),
    _column("perm_id", BigInteger, null=True),
    Index("order_changes_by_order", "account", "order_ref", "event_id"),
)

fills = _of_events(
    "fills",
    _column("executed", UtcDateTime),
    _column("exec_id", Text),
    _column("execution", Text),
    _column("revision", Integer),
    _column("order_ref", Text),
    _column("symbol", Text),
    _column("con_id", BigInteger),
    _column("currency", Text),
    _column("side", Text),
    _column("quantity", DecimalText),
    _column("price", DecimalText),
    _column("exchange", Text),
    _column("external", Boolean),
    UniqueConstraint("account", "exec_id", name="fills_once"),
    UniqueConstraint("account", "execution", "revision", name="fills_one_a_revision"),
    Index("fills_by_order", "account", "order_ref"),
)

commissions = _of_events(
    "commissions",
    _column("exec_id", Text),
    _column("execution", Text),
    _column("revision", Integer),
    _column("amount", DecimalText),
    _column("currency", Text),
    _column("realized", DecimalText, null=True),
    Index("commissions_by_execution", "account", "execution", "revision", "event_id"),
)

positions = _of_events(
    "positions",
    _column("source", Text),
    _column("symbol", Text),
    _column("con_id", BigInteger),
    _column("currency", Text),
    _column("quantity", DecimalText),
    _column("average_cost", DecimalText, null=True),
    Index("positions_by_contract", "account", "source", "con_id", "event_id"),
)

cash = _of_events(
    "cash",
    _column("currency", Text),
    _column("amount", DecimalText),
    Index("cash_by_currency", "account", "currency", "event_id"),
)

equity = _of_events(
    "equity",
    _column("currency", Text),
    _column("equity", DecimalText),
    _column("cash", DecimalText, null=True),
    _column("gross_value", DecimalText, null=True),
    _column("unrealized", DecimalText, null=True),
    _column("realized", DecimalText, null=True),
)

risk_events = _of_events(
    "risk_events",
    _column("what", Text),
    _column("symbol", Text, null=True),
    _column("limit", Text),
    _column("limit_value", Double, null=True),
    _column("measured", Double, null=True),
    _column("quantity_requested", Double, null=True),
    _column("quantity_allowed", Double, null=True),
    _column("state", Text),
    _column("reason", Text),
)

commands = _of_events(
    "commands",
    _column("action", Text),
    _column("reason", Text),
    _column("by", Text),
    Index("commands_by_deployment", "deployment", "event_id"),
)

answers = _of_events(
    "answers",
    Column("command", Number, ForeignKey("commands.event_id"), nullable=False),
    _column("outcome", Text),
    _column("text", Text),
    UniqueConstraint("command", name="answers_once"),
)

alarms = _of_events(
    "alarms",
    _column("code", Text),
    _column("text", Text),
    _column("order_ref", Text),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("deployment", String(20), primary_key=True),
    Column("component", String(40), primary_key=True),
    Column("ts", UtcDateTime, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("host", Text, nullable=False),
    Column("status", Text, nullable=False),
)

BY_KIND: dict[str, Table] = {
    "deployment": deployments,
    "session_start": session_starts,
    "session_end": session_ends,
    "intent": intents,
    "order": order_changes,
    "fill": fills,
    "commission": commissions,
    "position": positions,
    "cash": cash,
    "equity": equity,
    "risk_event": risk_events,
    "command": commands,
    "answer": answers,
    "alarm": alarms,
}
"""The table that repeats a kind of event; `book`, `risk_state`, `strategy_state` and `trading_begin` have none."""

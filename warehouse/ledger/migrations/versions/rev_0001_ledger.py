# ruff: noqa: E501 - views are easier to compare in one line a table
"""The first tables of the ledger, its views, and the triggers that keep events as they are.

Belongs here: the steps of one revision, spelled out, so that later changes of the tables' code do not change them.
Does not belong here: anything that later revisions add.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)

VIEWS = {
    "live_deployments": """
        SELECT deployment, account, ts, enabled, experiment, mode, fingerprint, "by"
        FROM deployments AS d
        WHERE event_id = (SELECT max(o.event_id) FROM deployments AS o WHERE o.deployment = d.deployment)""",
    "live_sessions": """
        SELECT s.deployment, s.account, s.session, s.run_id, s.attempt, s.ts AS started, e.ts AS ended, e.outcome, e.reason
        FROM session_starts AS s
        LEFT JOIN session_ends AS e
            ON e.deployment = s.deployment AND e.run_id = s.run_id AND e.attempt = s.attempt""",
    "live_intents": """
        SELECT deployment, account, session, ts, order_ref, parent_ref, symbol, con_id, side, quantity, order_type,
               limit_price, stop_price, tif, bar_ts, reason
        FROM intents""",
    "live_fills": """
        SELECT f.deployment, f.account, f.session, f.executed AS ts, f.exec_id, f.revision, f.order_ref, f.symbol, f.con_id,
               f.side, f.quantity, f.price, f.currency, f.exchange, f.external,
               c.amount AS commission, c.currency AS commission_currency, c.realized, f.ts AS recorded
        FROM fills AS f
        LEFT JOIN commissions AS c ON c.event_id = (
            SELECT o.event_id FROM commissions AS o
            WHERE o.account = f.account AND o.execution = f.execution
            ORDER BY o.revision DESC, o.event_id DESC LIMIT 1)
        WHERE f.revision = (
            SELECT max(o.revision) FROM fills AS o WHERE o.account = f.account AND o.execution = f.execution)""",
    "live_orders": """
        SELECT e.deployment, r.account, e.session, r.order_ref, i.ts AS intended, i.symbol, i.side, i.quantity, i.order_type,
               i.limit_price, i.stop_price, c.state, c.done, c.reason, c.code, c.ts AS changed, p.perm_id,
               f.filled, f.average_price
        FROM (
            SELECT account, order_ref, min(event_id) AS event_id
            FROM (SELECT account, order_ref, event_id FROM intents
                  UNION ALL SELECT account, order_ref, event_id FROM order_changes) AS every_event
            GROUP BY account, order_ref) AS r
        JOIN events AS e ON e.id = r.event_id
        LEFT JOIN intents AS i ON i.account = r.account AND i.order_ref = r.order_ref
        LEFT JOIN order_changes AS c ON c.event_id = (
            SELECT max(o.event_id) FROM order_changes AS o
            WHERE o.account = r.account AND o.order_ref = r.order_ref AND o.state IS NOT NULL)
        LEFT JOIN order_changes AS p ON p.event_id = (
            SELECT max(o.event_id) FROM order_changes AS o
            WHERE o.account = r.account AND o.order_ref = r.order_ref AND o.perm_id IS NOT NULL)
        LEFT JOIN (
            SELECT account, order_ref, sum(CAST(quantity AS DOUBLE PRECISION)) AS filled,
                   sum(CAST(quantity AS DOUBLE PRECISION) * CAST(price AS DOUBLE PRECISION))
                       / sum(CAST(quantity AS DOUBLE PRECISION)) AS average_price
            FROM live_fills GROUP BY account, order_ref) AS f ON f.account = r.account AND f.order_ref = r.order_ref""",
    "live_positions": """
        SELECT account, source, symbol, con_id, currency, quantity, average_cost, ts, deployment
        FROM positions AS p
        WHERE event_id = (
            SELECT max(o.event_id) FROM positions AS o
            WHERE o.account = p.account AND o.source = p.source AND o.con_id = p.con_id)""",
    "live_cash": """
        SELECT account, currency, amount, ts, deployment
        FROM cash AS c
        WHERE event_id = (
            SELECT max(o.event_id) FROM cash AS o WHERE o.account = c.account AND o.currency = c.currency)""",
    "live_equity": """
        SELECT deployment, account, session, ts, currency, equity, cash, gross_value, unrealized, realized
        FROM equity""",
    "live_risk_events": """
        SELECT deployment, account, session, ts, what AS kind, symbol, "limit", limit_value, measured, quantity_requested,
               quantity_allowed, state, reason
        FROM risk_events""",
    "live_commands": """
        SELECT c.event_id AS command, c.deployment, c.account, c.ts, c.action, c.reason, c."by",
               a.ts AS answered, a.outcome, a.text
        FROM commands AS c LEFT JOIN answers AS a ON a.command = c.event_id""",
    "live_alarms": """
        SELECT deployment, account, session, ts, code, text, order_ref
        FROM alarms""",
    "live_heartbeats": """
        SELECT deployment, component, ts, pid, host, status
        FROM heartbeats""",
}  # fmt: skip
"""Current states and histories, in an order in which they can be created; later is what has the greater number."""

APPEND_ONLY = {
    "sqlite": [
        "CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events"
        " BEGIN SELECT RAISE(ABORT, 'events are append-only'); END",
        "CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events"
        " BEGIN SELECT RAISE(ABORT, 'events are append-only'); END",
    ],
    "postgresql": [
        "CREATE FUNCTION refuse_to_change_events() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$",
        "CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_events()",
    ],
}


def upgrade() -> None:
    """Make everything."""
    _create_events()
    _create_order_tables()
    _create_other_tables()
    for name, select in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {select}")
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("ts", MOMENT, nullable=False),
        sa.Column("deployment", sa.String(20), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("session", sa.Date()),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("ref", sa.Text()),
        sa.Column("payload", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_deployment", "events", ["deployment", "kind", "id"])
    op.create_index("events_by_account", "events", ["account", "kind", "id"])


def _of_events(name: str, *columns: Any) -> None:  # noqa: ANN401 (columns and constraints)
    op.create_table(
        name,
        sa.Column("event_id", NUMBER, sa.ForeignKey("events.id"), primary_key=True, autoincrement=False),
        sa.Column("ts", MOMENT, nullable=False),
        sa.Column("deployment", sa.String(20), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("session", sa.Date()),
        *columns,
    )


def _create_order_tables() -> None:
    _of_events(
        "intents",
        sa.Column("order_ref", sa.String(40), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("con_id", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("bar_ts", MOMENT, nullable=False),
        sa.Column("limit_price", sa.Text(), nullable=True),
        sa.Column("stop_price", sa.Text(), nullable=True),
        sa.Column("tif", sa.Text(), nullable=False),
        sa.Column("parent_ref", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.UniqueConstraint("order_ref", name="intents_once"),
    )
    op.create_index("intents_by_account", "intents", ["account", "event_id"])
    _of_events(
        "order_changes",
        sa.Column("order_ref", sa.Text(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("perm_id", sa.BigInteger(), nullable=True),
    )
    op.create_index("order_changes_by_order", "order_changes", ["account", "order_ref", "event_id"])
    _of_events(
        "fills",
        sa.Column("executed", MOMENT, nullable=False),
        sa.Column("exec_id", sa.Text(), nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("order_ref", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("con_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("price", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("external", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("account", "exec_id", name="fills_once"),
        sa.UniqueConstraint("account", "execution", "revision", name="fills_one_a_revision"),
    )
    op.create_index("fills_by_order", "fills", ["account", "order_ref"])
    _of_events(
        "commissions",
        sa.Column("exec_id", sa.Text(), nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("realized", sa.Text(), nullable=True),
    )
    op.create_index("commissions_by_execution", "commissions", ["account", "execution", "revision", "event_id"])


def _create_other_tables() -> None:
    _of_events(
        "deployments",
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("experiment_yaml", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
    )
    op.create_index("deployments_by_name", "deployments", ["deployment", "event_id"])
    _of_events(
        "session_starts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.UniqueConstraint("deployment", "run_id", "attempt", name="session_starts_once"),
    )
    _of_events(
        "session_ends",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.UniqueConstraint("deployment", "run_id", "attempt", name="session_ends_once"),
    )
    _of_events(
        "positions",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("con_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("average_cost", sa.Text(), nullable=True),
    )
    op.create_index("positions_by_contract", "positions", ["account", "source", "con_id", "event_id"])
    _of_events(
        "cash",
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.Text(), nullable=False),
    )
    op.create_index("cash_by_currency", "cash", ["account", "currency", "event_id"])
    _of_events(
        "equity",
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("equity", sa.Text(), nullable=False),
        sa.Column("cash", sa.Text(), nullable=True),
        sa.Column("gross_value", sa.Text(), nullable=True),
        sa.Column("unrealized", sa.Text(), nullable=True),
        sa.Column("realized", sa.Text(), nullable=True),
    )
    _of_events(
        "risk_events",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("limit", sa.Text(), nullable=False),
        sa.Column("limit_value", sa.Double(), nullable=True),
        sa.Column("measured", sa.Double(), nullable=True),
        sa.Column("quantity_requested", sa.Double(), nullable=True),
        sa.Column("quantity_allowed", sa.Double(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    _of_events(
        "commands",
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
    )
    op.create_index("commands_by_deployment", "commands", ["deployment", "event_id"])
    _of_events(
        "answers",
        sa.Column("command", NUMBER, sa.ForeignKey("commands.event_id"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.UniqueConstraint("command", name="answers_once"),
    )
    _of_events(
        "alarms",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("order_ref", sa.Text(), nullable=False),
    )
    op.create_table(
        "heartbeats",
        sa.Column("deployment", sa.String(20), primary_key=True),
        sa.Column("component", sa.String(40), primary_key=True),
        sa.Column("ts", MOMENT, nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
    )

"""The price that a strategy saw when it decided on an order, in `intents` and `live_intents`.

Belongs here: the steps of one revision. Does not belong here: anything that other revisions do. Intents from before it
have no such price.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

LIVE_INTENTS = """
    SELECT deployment, account, session, ts, order_ref, parent_ref, symbol, con_id, side, quantity, order_type,
           limit_price, stop_price, tif, bar_ts, reason, decision_price
    FROM intents"""


def upgrade() -> None:
    """Add the column, and show it."""
    op.add_column("intents", sa.Column("decision_price", sa.Text(), nullable=True))
    op.execute("DROP VIEW live_intents")
    op.execute(f"CREATE VIEW live_intents AS {LIVE_INTENTS}")

"""What Alembic runs: the migrations, in the transaction that the ledger holds.

Belongs here: nothing but that. Does not belong here: locks and refusals (see `warehouse.ledger.schema`).
"""

from alembic import context

from warehouse.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()

"""A ledger as an earlier version of barloom made it.

Belongs here: its tables and one intent in them. Does not belong here: opening it with this version.
"""

import json
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import insert, text
from sqlalchemy.schema import CreateSchema

import warehouse.ledger
from warehouse.ledger.database import SCHEMA, WRITES, Place, make_engine
from warehouse.ledger.encoding import event_row, table_row
from warehouse.ledger.tables import events, intents


def make_older(url_or_path, revision, scope, intent):
    """Make the tables of a revision from before `decision_price`, with an intent."""
    place = Place.of(url_or_path)
    engine = make_engine(place, 5)
    config = Config()
    config.set_main_option("script_location", str(Path(warehouse.ledger.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        if place.file is None:
            connection.execute(CreateSchema(SCHEMA, if_not_exists=True))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        row = event_row(scope, intent)
        payload = {name: value for name, value in json.loads(row["payload"]).items() if name != "decision_price"}
        number = connection.execute(
            insert(events).values({**row, "payload": json.dumps(payload)}).returning(events.c.id)
        )
        own = table_row(number.scalar_one(), scope, intent)
        connection.execute(insert(intents).values({k: v for k, v in own.items() if k != "decision_price"}))
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == revision
    engine.dispose()

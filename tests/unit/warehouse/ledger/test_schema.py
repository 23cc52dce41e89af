"""What a ledger's file may be when it is opened."""

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import warehouse.ledger
from tests.unit.warehouse.ledger.older import make_older
from tests.unit.warehouse.ledger.samples import SCOPE, intent
from warehouse.errors import LedgerError, LedgerSchemaError
from warehouse.ledger.database import Place, make_engine
from warehouse.ledger.live_views import read_live_views
from warehouse.ledger.store import Ledger
from warehouse.ledger.tables import REVISION, metadata


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def test_the_migrations_make_the_tables_that_the_code_writes(path):
    Ledger.open(path).close()
    engine = make_engine(Place.of(path), 5)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_last_migration_is_the_revision_of_the_tables():
    config = Config()
    config.set_main_option("script_location", str(Path(warehouse.ledger.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_a_ledger_from_before_decision_prices_is_brought_up_to_date_and_keeps_its_intents(path):
    make_older(path, "0001", SCOPE, intent("old"))
    with Ledger.open(path) as ledger:
        ledger.commit_intent(SCOPE, intent("new", decision_price=Decimal("181.125")))
        prices = {one.intent.order_ref: one.intent.decision_price for one in ledger.open_intents("DU1")}
        assert prices == {"old": None, "new": Decimal("181.125")}
        assert ledger.rebuild() == 2
    shown = read_live_views(path, ["live_intents"])["live_intents"].select(["order_ref", "decision_price"])
    assert shown.to_pylist() == [
        {"order_ref": "old", "decision_price": None}, {"order_ref": "new", "decision_price": 181.125}
    ]  # fmt: skip


def test_a_folder_that_does_not_exist_is_made(tmp_path):
    with Ledger.open(tmp_path / "a b%?#" / "c" / "ledger.sqlite") as ledger:
        ledger.commit_intent(SCOPE, intent())
    assert (tmp_path / "a b%?#" / "c" / "ledger.sqlite").stat().st_size > 0


def test_a_file_may_be_named_by_its_url(path):
    with Ledger.open(f"sqlite:///{path}") as ledger:
        ledger.commit_intent(SCOPE, intent())
    with Ledger.open(str(path)) as ledger:
        assert len(ledger.open_intents("DU1")) == 1


def test_a_newer_ledger_is_refused_and_left_alone(path):
    with Ledger.open(path) as ledger:
        ledger.commit_intent(SCOPE, intent())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    before = path.read_bytes()
    with pytest.raises(LedgerSchemaError, match=r"its schema '0999' was made by another version of barloom"):
        Ledger.open(path)
    assert path.read_bytes() == before


def test_a_database_of_something_else_is_refused_and_left_alone(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    with pytest.raises(LedgerError, match="holds tables of something else"):
        Ledger.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]


def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.write_bytes(b"symbol,price\n" * 1000)
    with pytest.raises(LedgerError, match=r"opening failed in .*: file is not a database"):
        Ledger.open(path)
    assert path.read_bytes() == b"symbol,price\n" * 1000


def test_a_damaged_file_is_refused(path):
    with Ledger.open(path) as ledger:
        for n in range(200):
            ledger.commit_intent(SCOPE, intent(f"a-{n}"))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = b"\xff" * 8192
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"damaged|malformed"):
        Ledger.open(path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"the folder .*file/data cannot be made: Not a directory"):
        Ledger.open(tmp_path / "file" / "data" / "ledger.sqlite")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://anna:geheim@host/db", "ledger: 'mysql' is not supported"),
        ("sqlite://", "ledger: 'sqlite' is not supported"),
        ("postgresql://anna:geheim@host:port/db", "ledger: its URL cannot be read"),
        ("postgresql://anna:geheim@127.0.0.1:9/db", "ledger: opening failed in postgresql://127.0.0.1:9/db: .*refused"),
        ("postgresql+psycopg2://anna:g%2Feheim@127.0.0.1:9/db?geheim=1", "ledger: opening failed in "),
    ],
)
def test_an_address_that_cannot_be_used_is_one_sentence_without_its_password(url, sentence):
    with pytest.raises(LedgerError, match=sentence) as caught:
        Ledger.open(url, seconds=2)
    assert "anna:" not in str(caught.value)
    assert "g/eheim" not in str(caught.value)
    assert "geheim@" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_text_of_a_place_has_no_password():
    place = Place.of("postgresql://anna:geheim@host:5432/db")
    assert "geheim" not in f"{place} {place!r}"
    assert place.without_secret("password geheim is wrong") == "password *** is wrong"

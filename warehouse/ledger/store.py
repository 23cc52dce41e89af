"""The ledger: what may be appended, and where everything stands.

Belongs here: transactions that append, and current states read back. Does not belong here: SQL for people (see
`live_views`), who may trade an account (see `locks`).

Rules: everything is appended and nothing changed, which the database enforces for events; what was appended later
counts, by its number and not by its time, so that no clock decides; of the revisions of an execution the highest
counts, in whatever order they come. A method that writes returns when the disk holds it. Where it raises, take it for
not written; to repeat it is safe for what may be recorded once (intents, executions, answers): the database refuses it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, Select, Table, delete, func, insert, or_, select, text
from sqlalchemy.dialects import postgresql, sqlite

from warehouse.errors import InvalidRequestError
from warehouse.ledger.database import WRITES, Place, make_engine, told
from warehouse.ledger.encoding import check_scope, event_row, read_record, record_of_row, table_row
from warehouse.ledger.records import (
    AlarmRaised,
    CashStated,
    Command,
    CurrentState,
    DeploymentSwitched,
    DesiredState,
    Document,
    EquitySnapshot,
    Fill,
    Heartbeat,
    Intent,
    OpenIntent,
    PositionStated,
    Record,
    Recorded,
    RiskMemory,
    Scope,
    SessionRun,
    StrategyState,
)
from warehouse.ledger.references import LONGEST_REFERENCE, check_deployment
from warehouse.ledger.schema import prepare
from warehouse.ledger.tables import (
    BY_KIND,
    alarms,
    answers,
    cash,
    commands,
    commissions,
    deployments,
    equity,
    events,
    fills,
    heartbeats,
    intents,
    order_changes,
    positions,
    session_ends,
    session_starts,
)
from warehouse.ledger.wishes import desired

_SECONDS = 10.0
_ROWS = 500


class Ledger:
    """One ledger, for all threads of a process; a context manager that closes its connections.

    Every statement and every wait has the time-out that `open` was given.
    """

    def __init__(self, engine: Engine, place: Place, seconds: float) -> None:
        self.place = place
        self.seconds = seconds
        self._engine = engine

    @classmethod
    def open(cls, url_or_path: str | Path, *, seconds: float = _SECONDS) -> Self:
        """Open a ledger, made or migrated where needed.

        Args:
            url_or_path: a file for SQLite, or a `postgresql://` URL.
            seconds: time-out of every statement and every wait.

        Raises:
            LedgerSchemaError: a later version of barloom made it.
            LedgerError: it is damaged, is no ledger or cannot be reached.
        """
        place = Place.of(url_or_path)
        engine = make_engine(place, seconds)
        try:
            prepare(engine, place, seconds)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, place, seconds)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---------------------------------------------------------------- appending

    def append(self, scope: Scope, *records: Record) -> tuple[int, ...]:
        """Append records, all or none; their numbers.

        Raises:
            AlreadyRecordedError: an execution, a session's start or end, or an answer is there already.
            InvalidRequestError: a record holds what cannot be stored.
            LedgerError: nothing is known to be written.
        """
        if any(isinstance(record, Intent) for record in records):
            raise InvalidRequestError("intent: an intent is committed with commit_intent, before it is sent.")
        return self._append(scope, records, f"recording {', '.join(sorted({record.kind for record in records}))}")

    def commit_intent(self, scope: Scope, *decided: Intent) -> tuple[int, ...]:
        """Make an intent durable, or those of a bracket together; only after this has returned may they be sent.

        Raises:
            AlreadyRecordedError: an `order_ref` was used before: ask what became of that order, send nothing.
            InvalidRequestError: an intent holds what cannot be stored.
            LedgerError: nothing is known to be written, so nothing may be sent.
        """
        for intent in decided:
            if not 0 < len(intent.order_ref) <= LONGEST_REFERENCE:
                raise InvalidRequestError(
                    f"order_ref: {intent.order_ref!r} is not 1 to {LONGEST_REFERENCE} characters."
                )
        return self._append(scope, decided, f"the intent {', '.join(intent.order_ref for intent in decided)}")

    def raise_once(self, scope: Scope, alarm: AlarmRaised) -> bool:
        """Append an alarm, unless the session has one of the same code and text; whether it is new.

        Raises:
            LedgerError: nothing is known to be written.
        """
        check_scope(scope)
        row = event_row(scope, alarm)
        with self._writing(f"the alarm {alarm.code}") as connection:
            if self.place.file is None:  # SQLite has one writer anyhow
                connection.execute(text("LOCK TABLE alarms IN SHARE ROW EXCLUSIVE MODE"))
            if any((told.code, told.text) == (alarm.code, alarm.text) for told in _alarms(connection, scope)):
                return False
            number = connection.execute(insert(events).values(row).returning(events.c.id)).scalar_one()
            _repeat(connection, number, scope, alarm)
        return True

    def beat(self, deployment: str, heartbeat: Heartbeat) -> None:
        """Keep a sign of life in place of the part's last one.

        Raises:
            LedgerError: it was not written.
        """
        key = {"deployment": check_deployment(deployment), "component": heartbeat.component}
        seen = {"ts": heartbeat.ts, "pid": heartbeat.pid, "host": heartbeat.host, "status": heartbeat.status}
        upsert = sqlite.insert if self.place.url is None else postgresql.insert
        statement = upsert(heartbeats).values(key | seen)
        with self._writing("a heartbeat") as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=seen))

    def rebuild(self) -> int:
        """Make all tables that repeat events again from the events; how many events there are.

        Raises:
            LedgerError: an event cannot be read; everything stays as it was.
        """
        with self._writing("rebuilding") as connection:
            if self.place.file is None:
                connection.execute(text("LOCK TABLE events IN EXCLUSIVE MODE"))
            for table in reversed(events.metadata.sorted_tables):
                if table in BY_KIND.values():
                    connection.execute(delete(table))
            count = 0
            for count, recorded in enumerate(_recorded(connection, select(events)), start=1):  # noqa: B007
                _repeat(connection, recorded.number, recorded.scope, recorded.record)
            return count

    def _append(self, scope: Scope, records: Iterable[Record | Intent], doing: str) -> tuple[int, ...]:
        check_scope(scope)
        rows = [(record, event_row(scope, record)) for record in records]
        numbers = []
        with self._writing(doing) as connection:
            for record, row in rows:
                number = connection.execute(insert(events).values(row).returning(events.c.id)).scalar_one()
                _repeat(connection, number, scope, record)
                numbers.append(number)
        return tuple(numbers)

    # ---------------------------------------------------------------- reading

    def deployments(self) -> dict[str, tuple[Scope, DeploymentSwitched]]:
        """The last switch of every deployment, by name."""
        last = select(func.max(deployments.c.event_id)).group_by(deployments.c.deployment)
        with self._reading("deployments") as connection:
            rows = _rows(connection, select(deployments).where(deployments.c.event_id.in_(last)))
        return {row["deployment"]: (_scope(row), record_of_row("deployment", row)) for row in rows}

    def current_state(self, deployment: str) -> CurrentState:
        """Where a deployment stands, all of one moment.

        Raises:
            InvalidRequestError: there is no such deployment.
            LedgerError: the ledger cannot be read.
        """
        with self._reading("the current state") as connection:
            scope, switched = _switched(connection, deployment)
            runs = _session_runs(connection, session_starts.c.deployment == deployment)
            risk = _last_event(connection, "risk_state", events.c.account == scope.account)
            state = _last_event(connection, "strategy_state", events.c.deployment == deployment)
            return CurrentState(
                switched=switched,
                desired=_desired(connection, deployment),
                session=runs[-1] if runs else None,
                open_intents=_open_intents(connection, scope.account),
                positions=_positions(connection, scope.account),
                cash=_cash(connection, scope.account),
                equity=_equity(connection, scope.account),
                risk=risk if isinstance(risk, RiskMemory) else None,
                variables=state.variables if isinstance(state, StrategyState) else {},
            )

    def open_intents(self, account: str) -> tuple[OpenIntent, ...]:
        """Intents of an account whose orders are not done, oldest first: those in doubt after a crash among them."""
        with self._reading("open intents") as connection:
            return _open_intents(connection, account)

    def intent(self, order_ref: str) -> OpenIntent | None:
        """The intent of a reference and its order's last state, done or not."""
        with self._reading("an intent") as connection:
            found = _intents(connection, intents.c.order_ref == order_ref)
            return found[0] if found else None

    def fills(self, account: str, session: date | None = None) -> tuple[Fill, ...]:
        """Executions of an account as they stand now, in the order they happened; of one session, or of all."""
        with self._reading("fills") as connection:
            return _fills(connection, account, session)

    def sessions(self, deployment: str) -> tuple[SessionRun, ...]:
        """The runs' attempts of a deployment, oldest first."""
        with self._reading("sessions") as connection:
            return _session_runs(connection, session_starts.c.deployment == deployment)

    def desired_state(self, deployment: str) -> DesiredState:
        """What a deployment is wanted to do; not enabled where it was never switched on."""
        with self._reading("the desired state") as connection:
            return _desired(connection, deployment)

    def pending_commands(self, deployment: str) -> tuple[tuple[int, Command], ...]:
        """Commands that nobody answered yet with their numbers, oldest first."""
        waiting = select(commands).where(
            commands.c.deployment == deployment, commands.c.event_id.not_in(select(answers.c.command))
        )
        with self._reading("commands") as connection:
            rows = _rows(connection, waiting.order_by(commands.c.event_id))
        return tuple((row["event_id"], record_of_row("command", row)) for row in rows)

    def alarms(self, deployment: str, session: date | None) -> tuple[AlarmRaised, ...]:
        """The alarms of a deployment in one session, or outside of any, oldest first."""
        with self._reading("alarms") as connection:
            return _alarms(connection, Scope(deployment, "", session))

    def last_heartbeat(self, deployment: str, component: str | None = None) -> Heartbeat | None:
        """The last sign of life of a part, or of any part."""
        wanted = select(heartbeats).where(heartbeats.c.deployment == deployment)
        if component is not None:
            wanted = wanted.where(heartbeats.c.component == component)
        with self._reading("a heartbeat") as connection:
            rows = _rows(connection, wanted.order_by(heartbeats.c.ts.desc()).limit(1))
        return Heartbeat(**{k: v for k, v in rows[0].items() if k != "deployment"}) if rows else None

    def documents(self, account: str) -> tuple[Document, ...]:
        """What the order book of an account wrote with its records, oldest first: it can be made again from that."""
        with self._reading("the order book") as connection:
            kinds = ("intent", "order", "fill", "commission", "position", "book")
            wanted = select(events).where(events.c.account == account, events.c.kind.in_(kinds))
            found = [getattr(recorded.record, "document", None) for recorded in _recorded(connection, wanted)]
        return tuple(document for document in found if document is not None)

    def events(self, deployment: str, *, after: int = 0) -> tuple[Recorded, ...]:
        """Everything of a deployment with a number above `after`, oldest first."""
        wanted = select(events).where(events.c.deployment == deployment, events.c.id > after)
        with self._reading("events") as connection:
            return tuple(_recorded(connection, wanted))

    def first(self, deployment: str, kind: str, session: date | None = None) -> Recorded | None:
        """The first record of a kind of a deployment, of one session or of all; None where there is none."""
        return self._at_end(deployment, kind, session, newest=False)

    def last(self, deployment: str, kind: str, session: date | None = None) -> Recorded | None:
        """The last record of a kind of a deployment, of one session or of all; None where there is none."""
        return self._at_end(deployment, kind, session, newest=True)

    def _at_end(self, deployment: str, kind: str, session: date | None, *, newest: bool) -> Recorded | None:
        wanted = select(events).where(events.c.deployment == deployment, events.c.kind == kind)
        if session is not None:
            wanted = wanted.where(events.c.session == session)
        wanted = wanted.order_by(events.c.id.desc() if newest else events.c.id).limit(1)
        with self._reading(f"{kind} records") as connection:
            rows = _rows(connection, wanted)
        return Recorded(rows[0]["id"], _scope(rows[0]), read_record(kind, rows[0]["payload"])) if rows else None

    # ---------------------------------------------------------------- transactions

    @contextmanager
    def _writing(self, doing: str) -> Iterator[Connection]:
        with told(self.place, doing), self._engine.execution_options(**{WRITES: True}).begin() as connection:
            yield connection

    @contextmanager
    def _reading(self, what: str) -> Iterator[Connection]:
        """All statements in it see one moment."""
        with told(self.place, f"reading {what}"), reading(self._engine) as connection:
            yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one moment and cannot write."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with engine.connect() as connection:
        yield connection


def _repeat(connection: Connection, number: int, scope: Scope, record: Record | Intent) -> None:
    row = table_row(number, scope, record)
    if row is not None:
        connection.execute(insert(BY_KIND[record.kind]).values(row))


def _rows(connection: Connection, statement: Select[Any]) -> list[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(statement).mappings()]


def _recorded(connection: Connection, wanted: Select[Any]) -> Iterator[Recorded]:
    """Events in the order they were appended, a few hundred at a time."""
    number = 0
    while rows := _rows(connection, wanted.where(events.c.id > number).order_by(events.c.id).limit(_ROWS)):
        for row in rows:
            yield Recorded(row["id"], _scope(row), read_record(row["kind"], row["payload"]))
        number = rows[-1]["id"]


def _scope(row: Mapping[str, Any]) -> Scope:
    return Scope(row["deployment"], row["account"], row["session"])


def _last_event(connection: Connection, kind: str, of: Any) -> Record | Intent | None:  # noqa: ANN401 (a condition)
    wanted = select(events).where(events.c.kind == kind, of).order_by(events.c.id.desc()).limit(1)
    rows = _rows(connection, wanted)
    return read_record(kind, rows[0]["payload"]) if rows else None


def _latest(table: Table, account: str, *keys: str) -> Select[Any]:
    """The last row of an account for each combination of keys."""
    mine = table.c.account == account
    last = select(func.max(table.c.event_id)).where(mine).group_by(*(table.c[key] for key in keys))
    return select(table).where(table.c.event_id.in_(last)).order_by(*(table.c[key] for key in keys))


def _switched(connection: Connection, deployment: str) -> tuple[Scope, DeploymentSwitched]:
    mine = select(deployments).where(deployments.c.deployment == deployment)
    rows = _rows(connection, mine.order_by(deployments.c.event_id.desc()).limit(1))
    if not rows:
        raise InvalidRequestError(f"deployment: {deployment!r} was never switched on.")
    return _scope(rows[0]), record_of_row("deployment", rows[0])


def _desired(connection: Connection, deployment: str) -> DesiredState:
    """From all switches and commands, in the order they were appended."""
    mine = (deployments.c.deployment == deployment), (commands.c.deployment == deployment)
    found = [
        (row["event_id"], record_of_row("deployment", row))
        for row in _rows(connection, select(deployments).where(mine[0]))
    ]
    found += [
        (row["event_id"], record_of_row("command", row)) for row in _rows(connection, select(commands).where(mine[1]))
    ]
    return desired(record for _, record in sorted(found, key=lambda item: item[0]))


def _session_runs(connection: Connection, of: Any) -> tuple[SessionRun, ...]:  # noqa: ANN401 (a condition)
    starts = _rows(connection, select(session_starts).where(of).order_by(session_starts.c.event_id))
    names = {row["deployment"] for row in starts}
    ends = {
        (row["deployment"], row["run_id"], row["attempt"]): record_of_row("session_end", row)
        for row in _rows(connection, select(session_ends).where(session_ends.c.deployment.in_(names)))
    }
    return tuple(
        SessionRun(
            _scope(row),
            record_of_row("session_start", row),
            ends.get((row["deployment"], row["run_id"], row["attempt"])),
        )
        for row in starts
    )


def _intents(connection: Connection, *of: Any) -> tuple[OpenIntent, ...]:  # noqa: ANN401 (conditions)
    """Intents with their orders' last states."""
    newest = (
        select(func.max(order_changes.c.event_id))
        .where(
            order_changes.c.account == intents.c.account,
            order_changes.c.order_ref == intents.c.order_ref,
            order_changes.c.state.is_not(None),
        )
        .correlate(intents)
        .scalar_subquery()
    )
    wanted = (
        select(events, order_changes.c.state)
        .join(intents, intents.c.event_id == events.c.id)
        .outerjoin(order_changes, order_changes.c.event_id == newest)
        .where(*of)
        .order_by(events.c.id)
    )
    found = []
    for row in _rows(connection, wanted):
        record = read_record("intent", row["payload"])
        if isinstance(record, Intent):
            found.append(OpenIntent(row["id"], _scope(row), record, row["state"]))
    return tuple(found)


def _open_intents(connection: Connection, account: str) -> tuple[OpenIntent, ...]:
    open_still = or_(order_changes.c.done.is_(None), order_changes.c.done.is_(False))
    return _intents(connection, intents.c.account == account, open_still)


def _fills(connection: Connection, account: str, session: date | None) -> tuple[Fill, ...]:
    newest = select(fills.c.execution, func.max(fills.c.revision).label("revision")).where(fills.c.account == account)
    top = newest.group_by(fills.c.execution).subquery()
    same = (fills.c.execution == top.c.execution) & (fills.c.revision == top.c.revision)
    wanted = select(fills).join(top, same).where(fills.c.account == account)
    if session is not None:
        wanted = wanted.where(fills.c.session == session)
    rows = _rows(connection, wanted.order_by(fills.c.executed, fills.c.execution))
    paid = select(commissions).where(commissions.c.account == account)
    told_last = {
        row["execution"]: record_of_row("commission", row)
        for row in _rows(connection, paid.order_by(commissions.c.revision, commissions.c.event_id))
    }
    return tuple(Fill(_scope(row), record_of_row("fill", row), told_last.get(row["execution"])) for row in rows)


def _positions(connection: Connection, account: str) -> tuple[PositionStated, ...]:
    rows = _rows(connection, _latest(positions, account, "source", "con_id"))
    return tuple(record_of_row("position", row) for row in rows)


def _alarms(connection: Connection, scope: Scope) -> tuple[AlarmRaised, ...]:
    same = alarms.c.session.is_(None) if scope.session is None else alarms.c.session == scope.session
    mine = select(alarms).where(alarms.c.deployment == scope.deployment, same)
    return tuple(record_of_row("alarm", row) for row in _rows(connection, mine.order_by(alarms.c.event_id)))


def _cash(connection: Connection, account: str) -> tuple[CashStated, ...]:
    return tuple(record_of_row("cash", row) for row in _rows(connection, _latest(cash, account, "currency")))


def _equity(connection: Connection, account: str) -> EquitySnapshot | None:
    mine = select(equity).where(equity.c.account == account)
    rows = _rows(connection, mine.order_by(equity.c.event_id.desc()).limit(1))
    return record_of_row("equity", rows[0]) if rows else None

"""Where the trials of a study are kept, so that it can go on after anything.

Belongs here: claiming points and finishing trials in Optuna's own formats, many at once: memory, a journal file,
PostgreSQL. Does not belong here: the page and tables that are derived from them (see `records`).

A point is claimed (a running trial) before it is run and finished once, with everything it came to. What is finished
here is finished; whatever else a study writes is made from it.
"""

import base64
import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from research.errors import StudyError
from research.metric_catalog import Better
from research.study.evaluate import running_means
from research.study.outcome import Floats, FoldOutcome, StudyTrial, TrialState
from research.study.sampling import Point, distribution, ways
from research.study.space import SearchSpace

if TYPE_CHECKING:
    import optuna
    from sqlalchemy import Connection

_ATTRIBUTE = "barloom"
_CREATE_TRIAL, _SET_STATE, _SET_STEP, _SET_ATTRIBUTE = 4, 6, 7, 8  # operations of Optuna's journal
_SECONDS = 60
_STEP_COLUMNS = ("trial_id", "step", "intermediate_value", "intermediate_value_type")


@dataclass(frozen=True, slots=True)
class Claim:
    """A point with its number in the study. `trial` is None until it is finished.

    Attributes:
        number: place in the study.
        batch: in which it was asked.
        point: what is tried.
        mine: whether this process is the one to run it.
        trial: what it came to.
    """

    number: int
    batch: int
    point: Point
    mine: bool
    trial: StudyTrial | None = None


Ask = Callable[[Sequence[Claim], int], Sequence[tuple[int, Point]]]
"""From what others did since the last claim and the next number to batches and points."""


class Store(Protocol):
    """What keeps the trials of one study."""

    def load(self) -> list[Claim]:
        """Every claim by number; those of a process that is gone are this one's now."""

    def claim(self, ask: Ask) -> list[Claim]:
        """Ask for points and claim them before anybody else can ask."""

    def finish(self, trials: Sequence[StudyTrial]) -> None:
        """Keep what trials came to; when this returns, they are kept whatever happens."""

    def close(self) -> None:
        """Let go of what was claimed and not finished."""


class MemoryStore:
    """Trials that are kept by nobody."""

    def __init__(self) -> None:
        self._next = 0

    def load(self) -> list[Claim]:
        """Nothing was kept."""
        return []

    def claim(self, ask: Ask) -> list[Claim]:
        """Number the points."""
        claims = _numbered(ask([], self._next), self._next)
        self._next += len(claims)
        return claims

    def finish(self, trials: Sequence[StudyTrial]) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


class JournalStore:
    """Trials in Optuna's journal file; one process at a time (see `locks`).

    Args:
        path: the file.
        name: the study's name in it.
        space: what is varied.
        directions: which way is better.
    """

    def __init__(self, path: Path, name: str, space: SearchSpace, directions: Sequence[Better]) -> None:
        import optuna  # noqa: PLC0415
        from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(path)
        _drop_stale_lock(path)
        self._path, self._space = path, space
        self._worker = f"{uuid.uuid4()}-0"
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        self._study = optuna.create_study(
            storage=storage, study_name=name, directions=ways(directions), load_if_exists=True
        )
        self._next = 0

    def load(self) -> list[Claim]:
        """What the file holds."""
        found = [_stored(one, mine=True) for one in self._study.get_trials(deepcopy=False)]
        self._next = len(found)
        return found

    def claim(self, ask: Ask) -> list[Claim]:
        """Append running trials."""
        claims = _numbered(ask([], self._next), self._next)
        self._append([self._created(claim) for claim in claims])
        self._next += len(claims)
        return claims

    def finish(self, trials: Sequence[StudyTrial]) -> None:
        """Append what they came to, all in one write."""
        self._append([line for trial in trials for line in self._finished(trial)])

    def close(self) -> None:
        """Nothing is held."""

    def _created(self, claim: Claim) -> dict[str, Any]:
        from optuna.distributions import distribution_to_json  # noqa: PLC0415

        distributions = _distributions(self._space, claim.point.params)
        return {
            "op_code": _CREATE_TRIAL, "worker_id": self._worker, "study_id": 0,
            "datetime_start": datetime.now(UTC).isoformat(timespec="microseconds"),
            "distributions": {name: distribution_to_json(one) for name, one in distributions.items()},
            "params": {name: one.to_internal_repr(claim.point.params[name]) for name, one in distributions.items()},
            "user_attrs": {f"{_ATTRIBUTE}:claim": _claim_record(claim, None)},
            "system_attrs": dict(claim.point.attributes),
        }  # fmt: skip

    def _finished(self, trial: StudyTrial) -> Iterator[dict[str, Any]]:
        base = {"worker_id": self._worker, "trial_id": trial.number}
        yield {"op_code": _SET_ATTRIBUTE, **base, "user_attr": {_ATTRIBUTE: _record(trial)}}
        for step, mean in _steps(trial):
            yield {"op_code": _SET_STEP, **base, "step": step, "intermediate_value": mean}
        state, values = _optuna_state(trial)
        yield {
            "op_code": _SET_STATE, **base, "state": state.value, "values": values,
            "datetime_complete": datetime.now(UTC).isoformat(timespec="microseconds"),
        }  # fmt: skip

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """One write and one flush to disk for all; this process is the only one that writes."""
        if not lines:
            return
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        with self._path.open("ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())


class PostgresStore:
    """Trials in Optuna's tables of a PostgreSQL database; any number of processes on one study.

    Asking happens under a lock of the database, so that no two processes ask for the same point. A process holds
    another lock for as long as it lives; whose lock is free is gone, and its running trials are taken over.

    Args:
        url: the database; its driver is replaced by psycopg2.
        name: the study's name in it.
        space: what is varied.
        directions: which way is better.

    Raises:
        StudyError: the database cannot be reached.
    """

    def __init__(self, url: str, name: str, space: SearchSpace, directions: Sequence[Better]) -> None:
        import optuna  # noqa: PLC0415
        from sqlalchemy.exc import OperationalError  # noqa: PLC0415

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
        try:
            with _alone(url, options):  # two processes that both make the tables, or the study, fail in each other
                self._storage = optuna.storages.RDBStorage(psycopg2_url(url), engine_kwargs=options)
                study = optuna.create_study(
                    storage=self._storage, study_name=name, directions=ways(directions), load_if_exists=True
                )
        except (OperationalError, optuna.exceptions.StorageInternalError) as error:
            reason = str(error.__cause__ or error).split("\n", maxsplit=1)[0]
            raise StudyError(f"storage: the database cannot be reached ({reason}).") from None
        self._study_id, self._space = study._study_id, space
        self._lock = _lock_number(f"barloom-ask:{name}")
        self._owner = _lock_number(f"barloom-owner:{uuid.uuid4()}")
        self._life = self._storage.engine.connect()
        self._execute(self._life, "SELECT pg_advisory_lock(:key)", key=self._owner)
        self._life.commit()
        self._seen: set[int] = set()
        self._ids: dict[int, int] = {}

    def load(self) -> list[Claim]:
        """What the tables hold; running trials of processes that are gone become this one's."""
        with self._asking() as connection:
            found = self._read(connection)
            for claim in found:
                if claim.mine and claim.trial is None:
                    self._take_over(connection, claim)
        self._seen = {claim.number for claim in found if claim.trial is not None or claim.mine}
        return found

    def claim(self, ask: Ask) -> list[Claim]:
        """Ask and insert running trials in one transaction, alone."""
        with self._asking() as connection:
            others = self._read(connection, self._seen)
            self._seen |= {claim.number for claim in others if claim.trial is not None}
            orphans = [claim for claim in others if claim.mine]
            for claim in orphans:
                self._take_over(connection, claim)
            count = self._execute(
                connection, "SELECT count(*) FROM trials WHERE study_id = :study", study=self._study_id
            ).scalar_one()
            claims = [*orphans, *self._inserted(connection, ask(others, count), count)]
        self._seen |= {claim.number for claim in claims}
        return claims

    def finish(self, trials: Sequence[StudyTrial]) -> None:
        """Write what they came to in one transaction."""
        from optuna.storages._rdb import models  # noqa: PLC0415
        from sqlalchemy import insert, update  # noqa: PLC0415

        if not trials:
            return
        now = datetime.now(UTC).replace(tzinfo=None)
        attributes, values, steps, states = [], [], [], []
        for trial in trials:
            trial_id = self._ids[trial.number]
            state, found = _optuna_state(trial)
            attributes.append({"trial_id": trial_id, "key": _ATTRIBUTE, "value_json": json.dumps(_record(trial))})
            for at, value in enumerate(found or ()):
                stored, kind = models.TrialValueModel.value_to_stored_repr(value)
                values.append({"trial_id": trial_id, "objective": at, "value": stored, "value_type": kind})
            for step, mean in _steps(trial):
                mean_kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(mean)
                steps.append(dict(zip(_STEP_COLUMNS, (trial_id, step, *mean_kind), strict=True)))
            states.append({"trial_id": trial_id, "state": state, "_datetime_complete_utc": now})
        with self._session() as session:
            session.execute(insert(models.TrialUserAttributeModel), attributes)
            for model, rows in ((models.TrialValueModel, values), (models.TrialIntermediateValueModel, steps)):
                if rows:
                    session.execute(insert(model), rows)
            session.execute(update(models.TrialModel), states)
            session.commit()

    def close(self) -> None:
        """Let go of the locks and connections."""
        self._life.close()
        self._storage.engine.dispose()

    @contextlib.contextmanager
    def _session(self) -> "Iterator[Any]":
        from sqlalchemy.orm import Session  # noqa: PLC0415

        with Session(self._storage.engine) as session:
            yield session

    @contextlib.contextmanager
    def _asking(self) -> "Iterator[Connection]":
        """A transaction in which nobody else asks."""
        with self._storage.engine.begin() as connection:
            self._execute(connection, f"SET LOCAL lock_timeout = '{_SECONDS}s'")
            self._execute(connection, "SELECT pg_advisory_xact_lock(:key)", key=self._lock)
            yield connection

    def _read(self, connection: "Connection", without: set[int] | None = None) -> list[Claim]:
        rows = self._execute(
            connection,
            "SELECT t.trial_id, t.number, t.state::text AS state, c.value_json AS claim, r.value_json AS record"
            " FROM trials t"
            " JOIN trial_user_attributes c ON c.trial_id = t.trial_id AND c.key = :claim"
            " LEFT JOIN trial_user_attributes r ON r.trial_id = t.trial_id AND r.key = :record"
            " WHERE t.study_id = :study AND NOT (t.number = ANY(:known)) ORDER BY t.number",
            claim=f"{_ATTRIBUTE}:claim", record=_ATTRIBUTE, study=self._study_id, known=sorted(without or ()),
        ).all()  # fmt: skip
        alive: dict[int, bool] = {}
        found = []
        for row in rows:
            self._ids[row.number] = row.trial_id
            claim = json.loads(row.claim)
            owner = claim["owner"]
            finished = row.state != "RUNNING" and row.record is not None
            if not finished and owner not in alive:
                alive[owner] = owner != self._owner and self._is_alive(connection, owner)
            mine = not finished and not alive[owner]
            record = json.loads(row.record) if finished else None
            found.append(_claimed(row.number, claim, record, mine=mine))
        return found

    def _is_alive(self, connection: "Connection", owner: int) -> bool:
        got = self._execute(connection, "SELECT pg_try_advisory_xact_lock(:key)", key=owner).scalar_one()
        return not got

    def _take_over(self, connection: "Connection", claim: Claim) -> None:
        self._execute(
            connection,
            "UPDATE trial_user_attributes SET value_json = :value WHERE trial_id = :trial AND key = :key",
            value=json.dumps(_claim_record(claim, self._owner)),
            trial=self._ids[claim.number],
            key=f"{_ATTRIBUTE}:claim",
        )

    def _inserted(self, connection: "Connection", asked: Sequence[tuple[int, Point]], first: int) -> list[Claim]:
        claims = _numbered(asked, first)
        if claims:
            self._insert(connection, claims)
        return claims

    def _insert(self, connection: "Connection", claims: Sequence[Claim]) -> None:
        import optuna  # noqa: PLC0415
        from optuna.distributions import distribution_to_json  # noqa: PLC0415
        from optuna.storages._rdb import models  # noqa: PLC0415
        from sqlalchemy import insert  # noqa: PLC0415

        running, now = optuna.trial.TrialState.RUNNING, datetime.now(UTC).replace(tzinfo=None)
        trials = models.TrialModel.__table__
        rows = [
            {"number": one.number, "study_id": self._study_id, "state": running, "datetime_start": now}
            for one in claims
        ]
        made = connection.execute(insert(trials).returning(trials.c.trial_id, trials.c.number), rows)
        self._ids |= {number: trial_id for trial_id, number in made}
        params, claimed, system = [], [], []
        for claim in claims:
            trial_id = self._ids[claim.number]
            for name, one in _distributions(self._space, claim.point.params).items():
                params.append(
                    {
                        "trial_id": trial_id, "param_name": name, "distribution_json": distribution_to_json(one),
                        "param_value": one.to_internal_repr(claim.point.params[name]),
                    }
                )  # fmt: skip
            record = json.dumps(_claim_record(claim, self._owner))
            claimed.append({"trial_id": trial_id, "key": f"{_ATTRIBUTE}:claim", "value_json": record})
            for key, value in claim.point.attributes.items():
                system.append({"trial_id": trial_id, "key": key, "value_json": json.dumps(value)})
        connection.execute(insert(models.TrialParamModel.__table__), params)
        connection.execute(insert(models.TrialUserAttributeModel.__table__), claimed)
        if system:
            connection.execute(insert(models.TrialSystemAttributeModel.__table__), system)

    @staticmethod
    def _execute(connection: "Connection", statement: str, **values: object) -> Any:  # noqa: ANN401
        from sqlalchemy import text  # noqa: PLC0415

        return connection.execute(text(statement), values)


def psycopg2_url(url: str) -> str:
    """The URL with the driver that is installed, whatever it names.

    Raises:
        StudyError: it is no URL of a PostgreSQL database.
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise StudyError(f"storage: {scheme!r} must be a URL such as postgresql://user@host/database.")
    return f"postgresql+psycopg2://{rest}"


def _numbered(asked: Sequence[tuple[int, Point]], first: int) -> list[Claim]:
    return [Claim(first + at, batch, point, mine=True) for at, (batch, point) in enumerate(asked)]


def _distributions(space: SearchSpace, params: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: distribution(one) for one in space.dimensions if one.name in params}


def _claim_record(claim: Claim, owner: int | None) -> dict[str, Any]:
    point = claim.point
    return {
        "batch": claim.batch, "asked": point.asked, "params": dict(point.params), "owner": owner,
        "attributes": dict(point.attributes),
    }  # fmt: skip


def _stored(frozen: "optuna.trial.FrozenTrial", *, mine: bool) -> Claim:
    claim = frozen.user_attrs[f"{_ATTRIBUTE}:claim"]
    record = frozen.user_attrs.get(_ATTRIBUTE) if frozen.state.is_finished() else None
    return _claimed(frozen.number, claim, record, mine=mine and record is None)


def _claimed(number: int, claim: Mapping[str, Any], record: Mapping[str, Any] | None, *, mine: bool) -> Claim:
    point = Point(claim["params"], claim["asked"], claim["attributes"])
    trial = None if record is None else _trial(number, claim, record)
    return Claim(number, claim["batch"], point, mine, trial)


def _optuna_state(trial: StudyTrial) -> "tuple[optuna.trial.TrialState, list[float] | None]":
    """Optuna has no complete trial without a value: there it is a failed one, and our record says what it is."""
    from optuna.trial import TrialState as Theirs  # noqa: PLC0415

    if trial.state is TrialState.COMPLETE and trial.values:
        return Theirs.COMPLETE, list(trial.values)
    return (Theirs.PRUNED if trial.state is TrialState.PRUNED else Theirs.FAIL), None


def _steps(trial: StudyTrial) -> Iterator[tuple[int, float]]:
    for step, mean in enumerate(running_means(trial.folds)):
        if mean is not None:
            yield step, mean


def _record(trial: StudyTrial) -> dict[str, Any]:
    """Everything that a finished trial is, as JSON."""
    return {
        "state": trial.state.value, "value": trial.value, "values": list(trial.values), "plain": trial.plain_value,
        "penalty": trial.penalty, "reason": trial.reason, "metrics": dict(trial.metrics),
        "folds": [[f.fold, f.start.isoformat(), f.end.isoformat(), f.value, dict(f.metrics)] for f in trial.folds],
        "returns": None if trial.returns is None else packed(trial.returns),
        "engine": trial.engine, "seconds": trial.seconds,
        "started_at": _iso(trial.started_at), "finished_at": _iso(trial.finished_at),
    }  # fmt: skip


def _trial(number: int, claim: Mapping[str, Any], record: Mapping[str, Any]) -> StudyTrial:
    folds = tuple(
        FoldOutcome(fold, date.fromisoformat(start), date.fromisoformat(end), value, metrics)
        for fold, start, end, value, metrics in record["folds"]
    )
    returns = record["returns"]
    return StudyTrial(
        number, claim["params"], TrialState(record["state"]), record["value"], tuple(record["values"]),
        record["plain"], record["penalty"], record["reason"], record["metrics"], folds,
        None if returns is None else unpacked(returns), record["engine"], record["seconds"],
        _time(record["started_at"]), _time(record["finished_at"]), claim["batch"],
    )  # fmt: skip


def packed(returns: Floats) -> str:
    """Returns as text, exactly."""
    content = np.ascontiguousarray(returns, dtype="<f8").tobytes()
    small = pa.compress(content, codec="zstd", asbytes=True)
    return f"{len(content)}:{base64.b64encode(small).decode()}"


def unpacked(text: str) -> Floats:
    """The returns in a text."""
    size, _, content = text.partition(":")
    plain = pa.decompress(base64.b64decode(content), int(size), codec="zstd", asbytes=True)
    return np.frombuffer(plain, dtype="<f8").astype(np.float64)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@contextlib.contextmanager
def _alone(url: str, options: Mapping[str, Any]) -> Iterator[None]:
    """One process at a time makes tables and studies in a database."""
    from sqlalchemy import create_engine, text  # noqa: PLC0415

    engine = create_engine(psycopg2_url(url), **options)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _lock_number("barloom-tables")})
            yield
    finally:
        engine.dispose()  # which ends the session, and with it the lock


def _lock_number(text: str) -> int:
    """A key of PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def _drop_torn_line(path: Path) -> None:
    """Cut off what a killed process left of a line: what was not written wholly was never told to be kept."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        at = size
        while at > 0:
            begin = max(0, at - 65_536)
            file.seek(begin)
            found = file.read(at - begin).rfind(b"\n")
            if found >= 0:
                at = begin + found + 1
                break
            at = begin
        if at < size:
            file.truncate(at)
            os.fsync(file.fileno())


def _drop_stale_lock(path: Path) -> None:
    """A process that is killed while it writes leaves Optuna's lock behind; the folder's own lock is this process's."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)

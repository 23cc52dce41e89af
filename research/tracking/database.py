"""The embedded SQLite store and PostgreSQL, written without a server.

Belongs here: MLflow's own SQL store, trials written many at once. Does not belong here: the order of steps (`sending`).

MLflow's `create_run`, `log_batch` and `update_run_info` are three transactions and thirty statements a run. Children
are therefore inserted as rows of MLflow's own tables, a hundred runs in one transaction: a child is there whole or not
at all. A test holds such a run to one that MLflow's client wrote.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from research.tracking.errors import StoreUnreachableError, TrackingError
from research.tracking.place import TrackingPlace, masked
from research.tracking.run import KEY_TAG, PARENT_TAG, TrackedDataset, TrackedRun, milliseconds
from research.tracking.server import CONTEXT, batches, dataset_fields, upload_beside
from research.tracking.store import EXPERIMENT_TAGS, Deadline, Found

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

_CHILDREN_AT_ONCE = 100
_CONNECT_SECONDS, _STATEMENT_SECONDS = 3, 30.0
_PAGE = 1000


class DatabaseStore:
    """MLflow's tables in one database."""

    def __init__(self, place: TrackingPlace, deadline: Deadline) -> None:
        self._place, self._deadline = place, deadline
        with self._told():
            self._store = _open(place)

    def experiment(self, name: str) -> str:
        """Id of the experiment, made where it is not there."""
        from mlflow.entities import ExperimentTag

        with self._told():
            found = self._store.get_experiment_by_name(name)
            if found is None:
                tags = [ExperimentTag(key, value) for key, value in EXPERIMENT_TAGS.items()]
                return str(self._store.create_experiment(name, tags=tags))
        if found.lifecycle_stage != "active":
            raise TrackingError(f"experiment: {name} was deleted in MLflow; restore it there to track more runs in it.")
        return str(found.experiment_id)

    def find(self, experiment_id: str, key: str) -> Found | None:
        """The run with a key."""
        return next((_found(run) for run in self._search(experiment_id, KEY_TAG, key)), None)

    def create(self, experiment_id: str, run: TrackedRun) -> Found:
        """A new run that carries its key from its first moment."""
        from mlflow.entities import RunTag

        with self._told():
            tags = [RunTag(KEY_TAG, run.key)]
            return _found(self._store.create_run(experiment_id, "", milliseconds(run.started), tags, run.run_name))

    def log(self, found: Found, run: TrackedRun) -> None:
        """Its parameters, figures and tags."""
        from mlflow.entities import Metric, Param, RunTag

        for batch in batches(run, found.started):
            with self._told():
                self._store.log_batch(
                    found.run_id,
                    metrics=[Metric(**metric) for metric in batch.get("metrics", ())],
                    params=[Param(**param) for param in batch.get("params", ())],
                    tags=[RunTag(**tag) for tag in batch.get("tags", ())],
                )

    def add_inputs(self, found: Found, datasets: Sequence[TrackedDataset]) -> None:
        """The data it read."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        tags = [InputTag(key, value) for key, value in CONTEXT.items()]
        inputs = [DatasetInput(Dataset(**dataset_fields(dataset)), tags) for dataset in datasets]
        if inputs:
            with self._told():
                self._store.log_inputs(found.run_id, inputs)

    def upload(self, found: Found, path: Path) -> None:
        """One file."""
        self._deadline.left(_STATEMENT_SECONDS)
        upload_beside(found.artifact_uri, path, self._place)

    def add_children(self, experiment_id: str, parent: Found, runs: Sequence[TrackedRun]) -> Mapping[str, str]:
        """Run ids by key; children that are there are whole, and stay as they are."""
        known = {
            run.data.tags[KEY_TAG]: run.info.run_id for run in self._search(experiment_id, PARENT_TAG, parent.run_id)
        }
        missing = [run for run in runs if run.key not in known]
        for start in range(0, len(missing), _CHILDREN_AT_ONCE):
            some = {uuid.uuid4().hex: run for run in missing[start : start + _CHILDREN_AT_ONCE]}
            with self._told(), self._store.engine.begin() as connection:
                for table, rows in _rows(experiment_id, parent, some):
                    if rows:
                        connection.execute(table.insert(), rows)
            known.update({run.key: run_id for run_id, run in some.items()})
        return {run.key: known[run.key] for run in runs}

    def finish(self, found: Found, run: TrackedRun) -> None:
        """Give it its status."""
        from mlflow.entities import RunStatus

        with self._told():
            status = RunStatus.from_string(run.status)
            self._store.update_run_info(found.run_id, status, milliseconds(run.ended), None)

    def close(self) -> None:
        """Give connections back; MLflow keeps its engine for the next store of the same address."""
        self._store.engine.dispose()

    def _search(self, experiment_id: str, tag: str, value: str) -> "Iterator[Run]":
        from mlflow.entities import ViewType

        token = None
        while True:
            with self._told():
                page = self._store.search_runs(
                    [experiment_id], f"tags.`{tag}` = '{value}'", ViewType.ACTIVE_ONLY, _PAGE, page_token=token
                )
            yield from page
            token = page.token
            if not token:
                return

    @contextmanager
    def _told(self) -> Iterator[None]:
        """One step with the store, in time, its errors as ours."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        self._deadline.left(_STATEMENT_SECONDS)
        try:
            yield
        except SQLAlchemyError as error:
            raise self._unreachable(error) from None
        except MlflowException as error:
            if error.error_code in ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR"):
                raise self._unreachable(error) from None
            reason = masked(_line(error))
            raise TrackingError(f"tracking store: {self._place.shown} refused a request ({reason}).") from None

    def _unreachable(self, error: Exception) -> StoreUnreachableError:
        reason = masked(_line(error))
        return StoreUnreachableError(f"tracking store: {self._place.shown} cannot be used ({reason}).")


def _open(place: TrackingPlace) -> "SqlAlchemyStore":
    """MLflow's store; the database is asked once before, for MLflow itself asks ten times over minutes."""
    import sqlalchemy as sa
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    url = sa.make_url(place.uri)
    if url.get_backend_name() == "postgresql":
        limits = {
            "connect_timeout": str(_CONNECT_SECONDS), "tcp_user_timeout": "10000",
            "options": f"-c statement_timeout={_STATEMENT_SECONDS:.0f}s",
        }  # fmt: skip
        url = url.set(query={**limits, **url.query})
    else:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    probe = sa.create_engine(url, poolclass=sa.NullPool)
    with probe.connect():
        pass
    return SqlAlchemyStore(url.render_as_string(hide_password=False), str(place.artifacts))


def _rows(experiment_id: str, parent: Found, runs: Mapping[str, TrackedRun]) -> list[tuple[Any, list[dict[str, Any]]]]:
    """(table, rows) in the order in which they refer to each other; `runs` is by new run id."""
    from mlflow.store.tracking.dbmodels.models import (
        SqlLatestMetric,
        SqlMetric,
        SqlParam,
        SqlRun,
        SqlTag,
    )

    figures = _each(runs, lambda run: run.metrics)
    metrics = [
        {
            **row,
            "timestamp": milliseconds(runs[row["run_uuid"]].started),
            "step": runs[row["run_uuid"]].step,
            "is_nan": False,
        }
        for row in figures
    ]
    return [
        (SqlRun.__table__, [_run_row(experiment_id, run_id, run, parent) for run_id, run in runs.items()]),
        (SqlTag.__table__, _each(runs, lambda run: _child_tags(run, parent))),
        (SqlParam.__table__, _each(runs, lambda run: run.params)),
        (SqlMetric.__table__, metrics),
        (SqlLatestMetric.__table__, metrics),
    ]


def _run_row(experiment_id: str, run_id: str, run: TrackedRun, parent: Found) -> dict[str, Any]:
    """What MLflow's own `create_run` fills in, with the status that the run ended with."""
    return {
        "run_uuid": run_id,
        "name": run.run_name,
        "artifact_uri": parent.artifact_uri.replace(parent.run_id, run_id),
        "experiment_id": int(experiment_id),
        "source_type": "UNKNOWN",
        "source_name": "",
        "entry_point_name": "",
        "user_id": "",
        "status": run.status,
        "start_time": milliseconds(run.started),
        "end_time": milliseconds(run.ended),
        "deleted_time": None,
        "source_version": "",
        "lifecycle_stage": "active",
    }


def _child_tags(run: TrackedRun, parent: Found) -> dict[str, str]:
    return {**run.tags, KEY_TAG: run.key, PARENT_TAG: parent.run_id, "mlflow.runName": run.run_name}


def _each(runs: Mapping[str, TrackedRun], values: Callable[[TrackedRun], Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"run_uuid": run_id, "key": key, "value": value}
        for run_id, run in runs.items()
        for key, value in values(run).items()
    ]


def _found(run: "Run") -> Found:
    info = run.info
    return Found(info.run_id, info.start_time, info.artifact_uri, info.status in ("FINISHED", "FAILED", "KILLED"))


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__

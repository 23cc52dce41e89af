"""A tracking server over its documented REST API.

Belongs here: requests, their time-outs, what an answer means. Does not belong here: the order of steps (`sending`).

MLflow's own client repeats a request for minutes and takes its time-outs from the process's environment only; a
backtest must not wait for that, and a library must not change the environment. Nothing is repeated here: a request
may have been done although its answer was lost, and a later sync looks before it creates.
"""

import base64
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from research.tracking.errors import StoreUnreachableError, TrackingError
from research.tracking.place import TrackingPlace, masked
from research.tracking.run import KEY_TAG, PARENT_TAG, TrackedDataset, TrackedRun, milliseconds
from research.tracking.store import EXPERIMENT_TAGS, LONGEST_DIGEST, MOST_AT_ONCE, Deadline, Found

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_CONNECT_SECONDS, _ANSWER_SECONDS, _FILE_SECONDS = 3.0, 10.0, 60.0
_PAGE = 1000


class ServerStore:
    """One keep-alive connection to a tracking server."""

    def __init__(self, place: TrackingPlace, deadline: Deadline) -> None:
        parts = urlsplit(place.uri)
        self._place, self._deadline = place, deadline
        self._prefix = parts.path.rstrip("/")
        self._headers: dict[str, str] = {}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._connection = _connection(parts.scheme, str(parts.hostname), parts.port)
        self._connect()

    def experiment(self, name: str) -> str:
        """Id of the experiment, made where it is not there."""
        found = self._experiment_named(name)
        if found is None:
            body = {"name": name, "tags": _pairs(EXPERIMENT_TAGS)}
            self._call("POST", f"{_API}/experiments/create", body, expected=("RESOURCE_ALREADY_EXISTS",))
            found = self._experiment_named(name)
        if found is None or found["lifecycle_stage"] != "active":
            raise TrackingError(f"experiment: {name} was deleted in MLflow; restore it there to track more runs in it.")
        return str(found["experiment_id"])

    def find(self, experiment_id: str, key: str) -> Found | None:
        """The run with a key."""
        return next((_found(run) for run in self._search(experiment_id, KEY_TAG, key)), None)

    def create(self, experiment_id: str, run: TrackedRun, parent: Found | None = None) -> Found:
        """A new run that carries its key from its first moment."""
        tags = {KEY_TAG: run.key, **({PARENT_TAG: parent.run_id} if parent else {})}
        answer = self._call(
            "POST",
            f"{_API}/runs/create",
            {
                "experiment_id": experiment_id,
                "run_name": run.run_name,
                "start_time": milliseconds(run.started),
                "tags": _pairs(tags),
            },
        )
        return _found(answer["run"])

    def log(self, found: Found, run: TrackedRun) -> None:
        """Its parameters, figures and tags, in as few requests as MLflow's limits allow."""
        for batch in batches(run, found.started):
            self._call("POST", f"{_API}/runs/log-batch", {"run_id": found.run_id, **batch})

    def add_inputs(self, found: Found, datasets: Sequence[TrackedDataset]) -> None:
        """The data it read."""
        if datasets:
            inputs = [{"dataset": dataset_fields(dataset), "tags": _pairs(CONTEXT)} for dataset in datasets]
            self._call("POST", f"{_API}/runs/log-inputs", {"run_id": found.run_id, "datasets": inputs})

    def upload(self, found: Found, path: Path) -> None:
        """One file, through the server; where it keeps files elsewhere, to there."""
        parts = urlsplit(found.artifact_uri)
        if parts.scheme != "mlflow-artifacts" or parts.netloc:
            upload_beside(found.artifact_uri, path, self._place)
            return
        where = f"{_ARTIFACTS}/{quote(parts.path.strip('/'))}/{quote(path.name)}"
        self._send("PUT", where, _content(path), seconds=_FILE_SECONDS, content_type="application/octet-stream")

    def add_children(self, experiment_id: str, parent: Found, runs: Sequence[TrackedRun]) -> Mapping[str, str]:
        """Run ids by key; children that are there are completed, not repeated."""
        known = {_tag(run, KEY_TAG): _found(run) for run in self._search(experiment_id, PARENT_TAG, parent.run_id)}
        ids = {}
        for run in runs:
            found = known.get(run.key) or self.create(experiment_id, run, parent)
            if not found.finished:
                self.log(found, run)
                self.finish(found, run)
            ids[run.key] = found.run_id
        return ids

    def finish(self, found: Found, run: TrackedRun) -> None:
        """Give it its status."""
        change = {"run_id": found.run_id, "status": run.status, "end_time": milliseconds(run.ended)}
        self._call("POST", f"{_API}/runs/update", change)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _experiment_named(self, name: str) -> dict[str, Any] | None:
        query = urlencode({"experiment_name": name})
        answer = self._call("GET", f"{_API}/experiments/get-by-name?{query}", expected=("RESOURCE_DOES_NOT_EXIST",))
        return answer.get("experiment")

    def _search(self, experiment_id: str, tag: str, value: str) -> Iterator[dict[str, Any]]:
        request: dict[str, Any] = {
            "experiment_ids": [experiment_id], "filter": f"tags.`{tag}` = '{value}'", "max_results": _PAGE,
            "run_view_type": "ACTIVE_ONLY",
        }  # fmt: skip
        while True:
            answer = self._call("POST", f"{_API}/runs/search", request)
            yield from answer.get("runs", [])
            if not answer.get("next_page_token"):
                return
            request["page_token"] = answer["next_page_token"]

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, expected: Sequence[str] = ()
    ) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        status, answer = self._send(method, path, content, expected=expected)
        if status >= 400:
            return {}
        try:
            found: dict[str, Any] = json.loads(answer or b"{}")
        except ValueError:
            raise TrackingError(f"tracking store: {self._place.shown} is not an MLflow server.") from None
        return found

    def _connect(self) -> None:
        self._connection.timeout = self._deadline.left(_CONNECT_SECONDS)
        try:
            self._connection.connect()
        except OSError as error:
            raise self._unreachable(error) from None

    def _send(
        self,
        method: str,
        path: str,
        content: bytes | None,
        *,
        seconds: float = _ANSWER_SECONDS,
        content_type: str = "application/json",
        expected: Sequence[str] = (),
    ) -> tuple[int, bytes]:
        try:
            if self._connection.sock is not None:
                self._connection.sock.settimeout(self._deadline.left(seconds))
            self._connection.request(
                method, self._prefix + path, content, {**self._headers, "Content-Type": content_type}
            )
            response = self._connection.getresponse()
            answer = self._read(response, seconds)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._unreachable(error) from None
        if response.status >= 400 and _code(answer) not in expected:
            raise self._refused(response.status, answer)
        return response.status, answer

    def _read(self, response: http.client.HTTPResponse, seconds: float) -> bytes:
        """The body in parts: a server that sends a byte now and then must not outlast the deadline."""
        parts = []
        while part := response.read1(1 << 20):
            parts.append(part)
            if self._connection.sock is not None:
                self._connection.sock.settimeout(self._deadline.left(seconds))
        response.close()  # read to its end; only then does the connection take the next request
        return b"".join(parts)

    def _unreachable(self, error: Exception) -> StoreUnreachableError:
        reason = "it does not answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return StoreUnreachableError(f"tracking store: {self._place.shown} cannot be reached ({masked(reason)}).")

    def _refused(self, status: int, answer: bytes) -> TrackingError:
        if status >= 500 or status == 429:
            return StoreUnreachableError(f"tracking store: {self._place.shown} failed (HTTP {status}).")
        if status in (401, 403):
            return TrackingError(f"tracking store: {self._place.shown} refused its user or password (HTTP {status}).")
        reason = _message(answer) or f"HTTP {status}"
        return TrackingError(f"tracking store: {self._place.shown} refused a request ({masked(reason)}).")


CONTEXT = {"mlflow.data.context": "bars"}


def batches(run: TrackedRun, stamp: int) -> Iterator[dict[str, Any]]:
    """The contents of a run as `log-batch` takes them; a small run is one batch."""
    metrics = [{"key": key, "value": value, "timestamp": stamp, "step": run.step} for key, value in run.metrics.items()]
    metrics += [
        {"key": key, "value": value, "timestamp": stamp, "step": step}
        for key, course in run.series.items()
        for step, value in course
    ]
    params, tags = _pairs(run.params), _pairs(run.tags)
    if len(metrics) <= 800 and len(params) <= MOST_AT_ONCE["params"] and len(tags) <= MOST_AT_ONCE["tags"]:
        yield {"metrics": metrics, "params": params, "tags": tags}
        return
    for kind, rows in (("params", params), ("tags", tags), ("metrics", metrics)):
        size = MOST_AT_ONCE[kind]
        for start in range(0, len(rows), size):
            yield {kind: rows[start : start + size]}


def dataset_fields(dataset: TrackedDataset) -> dict[str, str]:
    """A dataset as MLflow describes one; its digests are shorter than ours, the whole one is in the profile."""
    profile = {"digest": dataset.digest, **({} if dataset.rows is None else {"num_rows": dataset.rows})}
    fields = {
        "name": dataset.name[:500], "digest": dataset.digest[:LONGEST_DIGEST], "source_type": "barloom",
        "source": json.dumps({"uri": dataset.source}), "profile": json.dumps(profile),
    }  # fmt: skip
    if dataset.columns:
        columns = [{"name": name, "type": kind} for name, kind in dataset.columns.items()]
        fields["schema"] = json.dumps({"mlflow_colspec": columns})
    return fields


def upload_beside(artifact_uri: str, path: Path, place: TrackingPlace) -> None:
    """One file to where MLflow says that a run's files are: a folder, a bucket."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        get_artifact_repository(artifact_uri).log_artifact(str(path))
    except (MlflowException, OSError) as error:
        raise StoreUnreachableError(
            f"tracking store: {place.shown} keeps files where {path.name} cannot be written ({masked(str(error))})."
        ) from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrackingError(f"artifact: {path} cannot be read ({error.strerror}).") from None


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=_CONNECT_SECONDS, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS)


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _found(run: Mapping[str, Any]) -> Found:
    info = run["info"]
    finished = info["status"] in ("FINISHED", "FAILED", "KILLED")
    return Found(str(info["run_id"]), int(info["start_time"]), str(info.get("artifact_uri", "")), finished)


def _tag(run: Mapping[str, Any], name: str) -> str | None:
    return next((tag["value"] for tag in run["data"].get("tags", []) if tag["key"] == name), None)


def _error(answer: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _code(answer: bytes) -> str:
    return str(_error(answer).get("error_code", ""))


def _message(answer: bytes) -> str:
    return str(_error(answer).get("message", ""))[:300]

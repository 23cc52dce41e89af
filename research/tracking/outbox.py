"""Runs on their way to a store: written whole before they are sent, kept until they have arrived.

Belongs here: the outbox, tracking a run, sending what was left. Does not belong here: the steps of sending (`sending`).

`outbox/{key}.json` is a run that has not arrived; `sent/{key}.json` says where one did. No store, slow or down, can
lose a run or hold up what produced it for longer than a caller's patience.
"""

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from research.tracking.errors import StoreUnreachableError, TrackingError
from research.tracking.place import TrackingPlace, tracking_folder
from research.tracking.run import TrackedRun, run_from_json, run_to_json
from research.tracking.sending import SentRun, send
from research.tracking.store import Store, open_store
from warehouse.files import write_bytes

PATIENCE = 10.0
"""Seconds that a backtest or a study waits for a store before it leaves its run in the outbox."""

_LOCKS = 64
_LOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Tracked:
    """What became of a run.

    Attributes:
        sent: where it arrived.
        waits: where it did not, why it is in the outbox, in one sentence.
        unreachable: whether that is the store's doing, so that others would wait in vain too.
    """

    key: str
    sent: SentRun | None = None
    waits: str | None = None
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did.

    Attributes:
        sent: runs that arrived.
        refused: sentence by key for what a store would not take; it stays in the outbox.
        unreachable: why the store could not be used; what was left stays in the outbox.
        left: keys still in the outbox.
    """

    sent: tuple[SentRun, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    unreachable: str | None = None
    left: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return not self.left


class Outbox:
    """The outbox of one results folder."""

    def __init__(self, results_dir: Path) -> None:
        self.folder = tracking_folder(results_dir) / "outbox"
        self._sent = tracking_folder(results_dir) / "sent"
        self._locks = tracking_folder(results_dir) / "locks"

    def put(self, run: TrackedRun) -> Path:
        """Keep a run, whole, until it has arrived."""
        path = self.folder / f"{run.key}.json"
        write_bytes(path, json.dumps(run_to_json(run), allow_nan=False).encode())
        return path

    def pending(self) -> list[str]:
        """Keys of the runs that have not arrived, the oldest first."""
        files = [(path.stat().st_mtime_ns, path.stem) for path in self.folder.glob("*.json")]
        return [key for _, key in sorted(files)]

    def read(self, key: str) -> TrackedRun:
        """A run that has not arrived.

        Raises:
            TrackingError: its file cannot be read.
        """
        path = self.folder / f"{key}.json"
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise TrackingError(f"outbox: {path} cannot be read ({error}).") from None
        return run_from_json(document)

    def sent(self, key: str) -> SentRun | None:
        """Where a run arrived."""
        try:
            return SentRun(**json.loads((self._sent / f"{key}.json").read_bytes()))
        except (OSError, ValueError, TypeError):  # never sent, or by another version: it is looked for in the store
            return None

    def arrived(self, sent: SentRun) -> None:
        """Remember where a run is and take it out; killed in between, it is only sent again to where it is."""
        write_bytes(self._sent / f"{sent.key}.json", json.dumps(asdict(sent)).encode())
        (self.folder / f"{sent.key}.json").unlink(missing_ok=True)

    @contextmanager
    def lock(self, name: str, seconds: float) -> Iterator[None]:
        """One process at a time for a name; two would both look for a run, and both create it.

        Raises:
            TrackingError: another process has held it for all these seconds.
        """
        self._locks.mkdir(parents=True, exist_ok=True)
        slot = int(hashlib.sha256(name.encode()).hexdigest(), 16) % _LOCKS
        end = time.monotonic() + seconds
        with (self._locks / f"{slot}.lock").open("w") as file:
            while not _locked(file.fileno()):
                if time.monotonic() > end:
                    raise TrackingError("outbox: another process is sending this run.")
                time.sleep(0.02)
            yield  # closing the file gives the lock back, and so does the end of the process


def track(run: TrackedRun, outbox: Outbox, place: TrackingPlace, *, patience: float = PATIENCE) -> Tracked:
    """Keep a run and send it; the same content that is in that store already is not sent again.

    Args:
        run: what to track.
        outbox: where it is kept first.
        place: where it is sent to.
        patience: seconds to wait for the store.
    """
    before = outbox.sent(run.key)
    if before and (before.content, before.store) == (run.content, place.shown) and not _is_gone(place):
        return Tracked(run.key, sent=before)
    outbox.put(run)
    try:
        with _opened(outbox, place, patience) as store:
            return Tracked(run.key, sent=_deliver(run.key, outbox, place, store, patience=patience))
    except TrackingError as error:
        return Tracked(run.key, waits=str(error), unreachable=isinstance(error, StoreUnreachableError))


def sync(outbox: Outbox, place: TrackingPlace) -> SyncReport:
    """Send what has not arrived; what one run is refused for does not hold up the others."""
    sent: list[SentRun] = []
    refused: dict[str, str] = {}
    unreachable: str | None = None
    keys = outbox.pending()
    try:
        if keys:
            with _opened(outbox, place, None) as store:
                for key in keys:
                    done = _delivered_or_refused(key, outbox, place, store)
                    if isinstance(done, SentRun):
                        sent.append(done)
                    else:
                        refused[key] = done
    except TrackingError as error:
        unreachable = str(error)
    return SyncReport(tuple(sent), refused, unreachable, tuple(outbox.pending()))


def _delivered_or_refused(key: str, outbox: Outbox, place: TrackingPlace, store: Store) -> SentRun | str:
    try:
        return _deliver(key, outbox, place, store, patience=_LOCK_SECONDS)
    except StoreUnreachableError:
        raise
    except TrackingError as error:
        return str(error)


def _deliver(key: str, outbox: Outbox, place: TrackingPlace, store: Store, *, patience: float) -> SentRun:
    """Send one run of the outbox, unless another process has just done so."""
    with outbox.lock(key, patience):
        done = outbox.sent(key)
        if done and done.store == place.shown and not (outbox.folder / f"{key}.json").exists():
            return done
        run = outbox.read(key)
        experiment_id, run_id, children = send(run, store)
        link = place.run_link(experiment_id, run_id)
        sent = SentRun(key, run.content, place.shown, experiment_id, run_id, link, children)
        outbox.arrived(sent)
        return sent


@contextmanager
def _opened(outbox: Outbox, place: TrackingPlace, patience: float | None) -> Iterator[Store]:
    with outbox.lock("open the store", patience or _LOCK_SECONDS):  # two processes would both make its tables
        store = open_store(place, patience=patience)
    try:
        yield store
    finally:
        store.close()


def _is_gone(place: TrackingPlace) -> bool:
    """Whether somebody deleted the embedded store: then what it held has to be sent again."""
    return place.kind == "embedded" and not Path(place.uri.removeprefix("sqlite:///")).exists()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

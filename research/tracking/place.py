"""Where runs are kept: the embedded store of a results folder, a tracking server, a database.

Belongs here: addresses, what may be shown of them, links to a run. Does not belong here: talking to a store.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from research.tracking.errors import TrackingError

LOCAL_UI = "http://127.0.0.1:5000"
"""Where `barloom mlflow` shows a store that has no server of its own."""

_SECRET = re.compile(r"(?P<user>://[^:/@\s]*):\S*@")
_QUERY_SECRET = re.compile(r"(?i)(?P<name>[?&](?:password|passwd|token|sslpassword)=)[^&\s]*")
_DATABASES = ("sqlite", "postgresql", "postgres", "postgresql+psycopg2")


@dataclass(frozen=True, slots=True)
class TrackingPlace:
    """A store by its address.

    Attributes:
        uri: may hold a password, so it is neither shown nor part of the text of this object.
        artifacts: where a store without a server keeps files.
    """

    uri: str = field(repr=False)
    kind: Literal["embedded", "server", "database"]
    artifacts: Path

    @property
    def shown(self) -> str:
        """The address without its password."""
        return masked(self.uri)

    def run_link(self, experiment_id: str, run_id: str, ui: str = LOCAL_UI) -> str:
        """The page of a run: the server's, or that of the local UI once it is started."""
        base = _without_user(self.uri) if self.kind == "server" else ui
        return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"


def tracking_folder(results_dir: Path) -> Path:
    """Where the embedded store, the outbox and the record of what was sent are."""
    return results_dir / "mlflow"


def tracking_place(results_dir: Path, uri: str = "") -> TrackingPlace:
    """The store at an address; without one the embedded store of the results folder.

    Raises:
        TrackingError: the address is not one of a server or of a database that MLflow can use here.
    """
    folder = tracking_folder(results_dir.resolve())
    text = uri.strip()
    if not text:
        return TrackingPlace(f"sqlite:///{folder / 'mlflow.db'}", "embedded", folder / "artifacts")
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise TrackingError(f"tracking store: {masked(text)!r} is not an address.") from None
    if parts.scheme in ("http", "https") and has_host:
        return TrackingPlace(text, "server", folder / "artifacts")
    if parts.scheme in _DATABASES and (has_host or text.startswith("sqlite:///")):
        # SQLAlchemy's own choice of a driver for a bare `postgresql` is not the one that is installed
        driver = re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", text)
        return TrackingPlace(driver, "database", folder / "artifacts")
    raise TrackingError(
        f"tracking store: {masked(text)!r} is neither a server (http://host:5000) nor a database "
        "(postgresql://user@host/name, sqlite:///file)."
    )


def masked(text: str) -> str:
    """A text with the passwords of the addresses in it replaced."""
    return _QUERY_SECRET.sub(r"\g<name>***", _SECRET.sub(r"\g<user>:***@", text))


def _without_user(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))

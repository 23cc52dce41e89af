"""What makes a result the same result: its id, the version of the code behind it, the machine's environment.

Belongs here: hashes of specifications and sources, installed versions. Does not belong here: data versions
(`warehouse`), files of results (`research.result`).

The id hashes specification, data versions and code version. The environment is recorded beside it, not in it: an id
must not change because a plotting package did; `research.reproduce` tells when it matters.
"""

import ast
import hashlib
import importlib.util
import itertools
import json
import platform
import sys
import sysconfig
import uuid
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from research.errors import ResearchError

_PRESENTATION = frozenset(
    {"chart", "compare", "leaderboard", "lookahead", "metric_catalog", "reproduce", "tearsheet", "tearsheet_figures"}
)
"""Modules of `research` that show or check results and change no figure. A new one counts unless named here."""

_PRESENTATION_FOLDERS = frozenset({"tracking"})
"""Folders of `research` of which the same holds."""

_SOURCES = (".py", ".yaml")

_PACKAGES = (
    "barloom", "backtrader", "exchange-calendars", "numpy", "pandas", "plotly", "pyarrow", "quantstats", "scipy",
)  # fmt: skip


def backtest_id(specification: Mapping[str, Any], data_versions: Mapping[str, str], code_version: str) -> str:
    """A UUID-shaped id: the first 128 bits of a SHA-256, with the marks of a name-based UUID.

    Raises:
        ResearchError: the specification holds something that JSON cannot.
    """
    content = {"specification": specification, "data_versions": dict(data_versions), "code_version": code_version}
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ResearchError(f"specification: cannot be written as JSON ({error}).") from error
    return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=5))


def code_version(strategy: type) -> str:
    """Hash (16 hex digits) of everything of ours that decides a result, and of Backtrader's version.

    That is: the lab except its presentation, risk, costs, the strategy's own module, and every module of the project
    or of the user that these reach from the strategy through what they import.

    Raises:
        ResearchError: the strategy's source cannot be read.
    """
    digest = hashlib.sha256(metadata.version("backtrader").encode())
    for name, content in sorted({**_package_sources(), **_strategy_sources(strategy)}.items()):
        digest.update(f"\0{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def environment() -> dict[str, Any]:
    """Python, packages and platform; no host name, no user name, no path."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: _installed(name) for name in _PACKAGES},
    }


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _package_sources() -> dict[str, bytes]:
    root = Path(__file__).resolve().parent.parent
    folders = [root / "research", root / "risk", root / "broker" / "costs"]
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in _SOURCES]
    kept = [file for file in files if not _only_shows(file.relative_to(root).parts)]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in kept}


def _only_shows(parts: tuple[str, ...]) -> bool:
    if parts[0] != "research":
        return False
    return parts[1] in _PRESENTATION_FOLDERS or (len(parts) == 2 and Path(parts[1]).stem in _PRESENTATION)


def _strategy_sources(strategy: type) -> dict[str, bytes]:
    own = sys.modules.get(strategy.__module__)
    if own is None or not str(getattr(own, "__file__", None)).endswith(".py"):
        raise ResearchError(f"strategy: the source of {strategy.__module__}.{strategy.__qualname__} cannot be read.")
    return _reachable(base.__module__ for base in strategy.__mro__)


def _reachable(start: Iterable[str]) -> dict[str, bytes]:
    """Sources of the modules of the project or the user that `start` imports, at any depth, by module name.

    Imports are read from the text, not from loaded modules: what a package has loaded depends on who ran before.
    """
    libraries = tuple(Path(path) for path in _library_folders())
    waiting, seen, sources = list(start), set[str](), dict[str, bytes]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file = _source_file(name)
        if file is None or any(file.is_relative_to(folder) for folder in libraries):
            continue
        sources[name] = file.read_bytes()
        waiting += _imported(sources[name], name if file.stem == "__init__" else name.rpartition(".")[0])
    return sources


def _library_folders() -> set[str]:
    paths = sysconfig.get_paths()
    return {paths[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")}


def _source_file(name: str) -> Path | None:
    """The module's `.py` file; None for a name that is no such module (an attribute, a builtin, an extension)."""
    loaded = sys.modules.get(name)
    try:
        spec = None if loaded is not None else importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    file = getattr(loaded, "__file__", None) if loaded is not None else getattr(spec, "origin", None)
    return Path(file) if isinstance(file, str) and file.endswith(".py") else None


def _imported(source: bytes, package: str) -> Iterator[str]:
    """Every dotted name that a source imports, parents and possible submodules included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else ""
            base = base or node.module or ""
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            yield from itertools.accumulate(name.split("."), "{}.{}".format)

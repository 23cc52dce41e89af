"""What a `dagster dev` that was killed leaves behind in a folder.

Belongs here: finding and ending it. Does not belong here: runs, which go on without their UI (see `lost_runs`).

A daemon left behind launches runs beside the next one, but its code servers end with the UI: what it launches fails.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

_SERVICES: Final = {"dagster._daemon": "daemon", "dagster_webserver": "web server"}
_PIPE: Final = "--shutdown-pipe"  # through which `dagster dev`, and nothing else, ends its services
_SECONDS: Final = 10.0


def end_orphans(folder: Path) -> list[str]:
    """End the services that a killed `dagster dev` has left in a folder; says which, as `daemon 123`."""
    orphans = {process: name for process in psutil.process_iter() if (name := _orphan(process, folder))}
    for process in orphans:
        process.terminate()
    _, stubborn = psutil.wait_procs(orphans, _SECONDS)
    for process in stubborn:
        process.kill()
    return [f"{name} {process.pid}" for process, name in orphans.items()]


def _orphan(process: psutil.Process, folder: Path) -> str | None:
    """What a process is, where it belongs to a `dagster dev` of the folder that is no more."""
    try:
        command = process.cmdline()
        name = next((service for module, service in _SERVICES.items() if module in command), None)
        if name is None or _PIPE not in command or Path(process.cwd()) != folder:
            return None
        parent = process.parent()
        return None if parent is not None and _is_dev(parent.cmdline()) else name
    except psutil.Error:
        return None  # it is gone, or somebody else's


def _is_dev(command: Sequence[str]) -> bool:
    return "dev" in command and any("dagster" in word for word in command)

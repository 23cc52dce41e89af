"""Clients of other versions against the simulator, each in an environment of its own.

Belongs here: making the environments, starting the gateway, running the clients. Does not belong here: what a client
checks (see `vendor_client`, `insync_client`, `session_client`).

    python tests/contract                  the vendor's 9.81 and 10.x clients, ib_async, and our own session
    python tests/contract --environments D keep the environments in folder D for the next time
"""

import argparse
import os
import subprocess
import sys
import tempfile
import types
import venv
from datetime import date
from pathlib import Path

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent
CLIENTS = (
    ("ibapi", "vendor_client.py"),
    ("ibapi-stable", "vendor_client.py"),
    ("ib_async", "insync_client.py"),
    ("ib_async", "session_client.py"),
    ("ib_insync", "session_client.py"),
)
_CLIENT_SECONDS, _INSTALL_SECONDS, _SUITE_SECONDS = 60, 300, 600


def main() -> int:
    """The number of clients that found something wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, help="folder in which environments are kept")
    chosen = parser.parse_args()
    see_the_project()
    with tempfile.TemporaryDirectory() as folder:
        kept = chosen.environments or Path(folder) / "environments"
        wrong = sum(not passed(package, client, kept, Path(folder)) for package, client in CLIENTS)
        return wrong + (not every_message_passed("ib_async", kept))


def see_the_project() -> None:
    """Make `tests` this project's: another package installs one of that name."""
    package = types.ModuleType("tests")
    package.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = package
    sys.path.insert(0, str(ROOT))


def environment(package: str, kept: Path) -> Path:
    """The interpreter of an environment that holds one client; two of the vendor's cannot share one."""
    folder = kept / package
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True, symlinks=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
        subprocess.run(command, check=True, timeout=_INSTALL_SECONDS)
    return python


def every_message_passed(package: str, kept: Path) -> bool:
    """Whether all tests of the simulator that the suite runs with ib_insync pass with another client."""
    python = environment(package, kept)
    where = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    libraries = subprocess.run(where, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    names = ("data", "orders", "clocks", "restart", "faults")
    tests = [str(ROOT / "tests" / "integration" / "broker" / f"test_{name}.py") for name in names]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], cwd=ROOT, check=False,
        env={**os.environ, "PYTHONPATH": libraries, "TWS_CLIENT": package}, capture_output=True, text=True,
        timeout=_SUITE_SECONDS,
    )  # fmt: skip
    last = (ended.stdout.strip().splitlines() or ["it said nothing"])[-1]
    sys.stdout.write(f"{package}, every message: {'ok' if ended.returncode == 0 else 'WRONG'} {last}\n")
    if ended.returncode:
        sys.stdout.write(ended.stdout + ended.stderr)
    return ended.returncode == 0


def passed(package: str, client: str, kept: Path, folder: Path) -> bool:
    """Whether a client's script ends well against a fresh gateway."""
    from broker.simulator.background import BackgroundGateway
    from broker.simulator.settings import ClockMode, SimulatorSettings
    from tests.unit.broker.simulator.recordings import minutes
    from warehouse.store import Warehouse

    minutes(folder / "data", "AAPL")
    settings = SimulatorSettings(
        port=0, control_port=0, clock=ClockMode.STEPPED, fill_at_once=True, start=date(2024, 1, 8)
    )
    python = environment(package, kept)
    with BackgroundGateway(settings, Warehouse(folder / "data")) as gateway:
        gateway.command("step", bars=3)
        command = [python, HERE / client, str(gateway.port), str(gateway.control_port)]
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_CLIENT_SECONDS, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    sys.stdout.write(f"{package}: {'ok' if ended.returncode == 0 else 'WRONG'} {ended.stdout.strip()}\n")
    if ended.returncode:
        sys.stdout.write(ended.stderr)
    return ended.returncode == 0


if __name__ == "__main__":
    sys.exit(main())

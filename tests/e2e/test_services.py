"""The services of docker-compose.yml, each command as a process, with a real PostgreSQL."""

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from tests.unit.broker.simulator.recordings import minutes
from warehouse.store import Warehouse

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
BARLOOM = ("code", "live", "webserver", "daemon")
PASSWORD = "kept-out-of-logs"  # noqa: S105 (of a server that lives as long as this test)
EVERYWHERE = "0.0.0.0"  # noqa: S104 (inside a container; here it is replaced)
_SECONDS = 300
QUICK = """strategy: strategies.sma_crossover.SMACrossover
params: {sma_short: 2, sma_long: 3}
symbols: [AAPL]
start: 2024-01-02
end: 2024-01-05
resolution: 1m
"""

pytestmark = pytest.mark.e2e


def test_only_the_ui_is_published_and_only_on_loopback() -> None:
    published = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}

    assert published == {"postgres": [], "code": [], "live": [], "webserver": ["127.0.0.1:3000:3000"], "daemon": []}


def test_no_password_is_written_down() -> None:
    for name in ("docker-compose.yml", "docker/dagster.yaml", "docker/Dockerfile"):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if re.match(r"\s*\w*PASSWORD:", line):
                assert "${POSTGRES_PASSWORD:?" in line, line


def test_the_image_holds_every_package_and_nothing_that_is_not_there() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}

    assert {"pipelines", "strategies", "risk", "broker", "warehouse", "research", "experiments"} <= sources
    assert all((ROOT / source).exists() for source in sources)


def test_a_run_started_through_the_services_is_done_and_kept_in_postgresql(services: "Services") -> None:
    services.ask(
        'mutation { addDynamicPartition(partitionsDefName: "symbols", partitionKey: "AAPL",'
        ' repositorySelector: {repositoryLocationName: "barloom", repositoryName: "__repository__"}) { __typename } }'
    )
    launched = services.ask(
        "mutation($of: ExecutionParams!) { launchPipelineExecution(executionParams: $of)"
        " { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
        of={
            "selector": {
                "repositoryLocationName": "barloom",
                "repositoryName": "__repository__",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": ["raw_bars"]}, {"path": ["corporate_actions"]}, {"path": ["clean_bars"]}],
            },
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "AAPL"}]},
        },
    )["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched

    assert services.wait_for_run(launched["run"]["runId"]) == "SUCCESS"
    assert (services.folder / "data" / "clean" / "resolution=1d" / "symbol=AAPL").is_dir()
    assert services.rows("select count(*) from runs where status = 'SUCCESS'") == "1"
    assert PASSWORD not in services.output()


def test_a_session_is_traded_through_the_services_with_its_ledger_in_postgresql(services: "Services") -> None:
    (services.folder / "experiments" / "quick.yaml").write_text(QUICK, encoding="utf-8")
    services.gateway.command("step", bars=30)
    begun = services.barloom("live", "start", "quick")
    assert begun.returncode == 0, begun.stderr
    beat = "select status from ledger.heartbeats where deployment = 'quick' and component = 'trader'"
    _until("the session", lambda: services.rows(beat).startswith("READY"))
    status = json.loads(services.barloom("live", "status", "--json").stdout)[0]
    assert (status["health"], status["account"], status["mode"]) == ("ok", "DU1234567", "paper")

    assert services.barloom("live", "stop", "quick").returncode == 0

    ended = "select count(*) from runs where pipeline_name = 'live_trading' and status = 'SUCCESS'"
    _until("the run's end", lambda: services.rows(ended) == "1")
    assert PASSWORD not in services.output()


class Services:
    """What a user of the services can do: ask the UI's API, look into the folder and the database."""

    def __init__(
        self, folder: Path, port: int, postgres: "Postgres", environment: dict[str, str], gateway: BackgroundGateway
    ) -> None:
        self.folder, self._port, self._postgres, self._environment = folder, port, postgres, environment
        self.gateway = gateway

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            answer = json.load(reply)
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])

    def wait_for_run(self, run: str) -> str:
        status = ""
        for _ in range(_SECONDS * 2):
            status = self.ask(f'{{ runOrError(runId: "{run}") {{ ... on Run {{ status }} }} }}')["runOrError"]["status"]
            if status in {"SUCCESS", "FAILURE", "CANCELED"}:
                break
            time.sleep(0.5)
        return status

    def rows(self, sql: str) -> str:
        return self._postgres.query(sql)

    def barloom(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command as `docker compose exec live barloom ...` runs it."""
        return subprocess.run(
            [Path(sys.executable).with_name("barloom"), *words], cwd=self.folder, env=self._environment,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def output(self) -> str:
        return "".join(path.read_text(encoding="utf-8") for path in self.folder.glob("*.log"))


class Postgres:
    """A server of our own on a free port; PostgreSQL refuses to run as root, so it then runs as its own user."""

    def __init__(self, folder: Path) -> None:
        self._programs = _postgres_programs()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._data, self.port = folder / "database", _free_port()
        folder.chmod(0o755)
        self._data.mkdir()
        password = folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        if self._user:
            for path in (self._data, password):
                shutil.chown(path, self._user)
        self._call("initdb", "--username=dagster", "--auth=scram-sha-256", f"--pwfile={password}", str(self._data))
        self.process = self._start(folder)
        _until("PostgreSQL", lambda: _listens(self.port))
        self._call("createdb", "dagster")

    def query(self, sql: str) -> str:
        return self._call("psql", "--no-align", "--tuples-only", "--command", sql, "dagster").strip()

    def _start(self, folder: Path) -> "subprocess.Popen[bytes]":
        with (folder / "postgres.log").open("wb") as log:
            return subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-p", str(self.port), "-h", "127.0.0.1", "-k", ""],
                stdout=log, stderr=log, user=self._user,
            )  # fmt: skip

    def _call(self, program: str, *words: str) -> str:
        environment = {
            **os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "dagster", "PGPASSWORD": PASSWORD,
        }  # fmt: skip
        done = subprocess.run(
            [self._programs / program, *words], env=environment, cwd="/", user=self._user,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("services")
    shutil.copy(ROOT / "docker" / "workspace.yaml", folder)
    shutil.copytree(ROOT / "experiments", folder / "experiments")
    (folder / "home").mkdir()
    shutil.copy(ROOT / "docker" / "dagster.yaml", folder / "home" / "dagster.yaml")
    with ExitStack() as stack:
        # not among pytest's folders, into which the database's own user cannot look
        postgres = Postgres(Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))))
        stack.callback(_stop, postgres.process)
        ports = {port: str(_free_port()) for port in ("4000", "4010", "3000")}
        gateway = stack.enter_context(_gateway(tmp_path_factory.mktemp("recorded")))
        environment = _environment(folder, postgres.port, ports, gateway)
        for name in BARLOOM:
            _run_service(stack, name, folder, ports, environment)
            if name == "live":
                _until("code", lambda: _listens(int(ports["4000"])))
                _until("live", lambda: _listens(int(ports["4010"])))
        services = Services(folder, int(ports["3000"]), postgres, environment, gateway)
        _until("webserver", lambda: _listens(int(ports["3000"])))
        yield services


def _run_service(stack: ExitStack, name: str, folder: Path, ports: dict[str, str], environment: dict[str, str]) -> None:
    words = [
        ports.get(word, "127.0.0.1" if word == EVERYWHERE else word) for word in COMPOSE["services"][name]["command"]
    ]
    words[0] = str(Path(sys.executable).with_name(words[0]))
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    stack.callback(_stop, process)


def _gateway(folder: Path) -> BackgroundGateway:
    """A simulated gateway, half an hour into a session."""
    minutes(folder, "AAPL")
    settings = SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, start=date(2024, 1, 8))
    return BackgroundGateway(settings, Warehouse(folder))


def _environment(folder: Path, postgres_port: int, ports: dict[str, str], gateway: BackgroundGateway) -> dict[str, str]:
    """The service's own environment, with this machine's places in the place of the containers'."""
    here = {
        "DAGSTER_HOME": str(folder / "home"),
        "DAGSTER_LOGS": str(folder / "logs"),
        "DAGSTER_POSTGRES_HOST": "127.0.0.1",
        "DAGSTER_POSTGRES_PORT": str(postgres_port),
        "DAGSTER_POSTGRES_PASSWORD": PASSWORD,
        "DAGSTER_CODE_HOST": "127.0.0.1",
        "DAGSTER_CODE_PORT": ports["4000"],
        "DAGSTER_LIVE_HOST": "127.0.0.1",
        "DAGSTER_LIVE_PORT": ports["4010"],
        "BARLOOM_LEDGER_URL": f"postgresql://dagster@127.0.0.1:{postgres_port}/dagster",
        "PGPASSWORD": PASSWORD,
        "BARLOOM_IB_HOST": "127.0.0.1",
    }
    given = COMPOSE["services"]["code"]["environment"]
    assert set(here) | {"HOME"} == {name for name, value in given.items() if value is not None}
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    simulated = {
        "BARLOOM_IB_PORT": str(gateway.port), "BARLOOM_SIMULATOR_URL": f"http://127.0.0.1:{gateway.control_port}"
    }  # fmt: skip
    return {**inherited, **here, **simulated, "HOME": str(folder), "PYTHONPATH": str(ROOT)}


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)


def _postgres_programs() -> Path:
    on_path = shutil.which("createdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or ([Path(on_path).resolve().parent] if on_path else [])
    if not found:
        pytest.skip("PostgreSQL is not installed on this machine")
    if os.geteuid() == 0:
        pwd.getpwnam("postgres")
    return found[-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(what: str, holds: Any) -> None:
    end = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < end, f"{what} did not answer within {_SECONDS} s"
        time.sleep(0.2)

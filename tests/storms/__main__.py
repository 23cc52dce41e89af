"""`make storms`: random storms over live trading, on all cores; which laws broke, and how to see it again.

Belongs here: running many storms, shrinking one that fails, figures. Does not belong here: what a storm is (see
`storm`), what must hold after it (see `laws`).

    python tests/storms --count 200              as many storms, the same ones every time
    python tests/storms --minutes 30 --seed 7    other storms for half an hour
    python tests/storms --replay storm.json      one storm again, as often as --count says
    python tests/storms --json figures.json      write the figures too
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nursery import see_the_project  # beside this file, which Python puts first on its path

_SHRINK_SECONDS = 60.0
_AT_ONCE = 20  # storms of one seed, where no count is given
_WORKERS_MOST = 1_000
_FIGURES = ("storms", "orders", "fills", "kills", "runs")


def main():
    """0 when every law held in every storm."""
    words = argparse.ArgumentParser(prog="python tests/storms")
    words.add_argument("--count", type=int, help="storms in all")
    words.add_argument("--minutes", type=float, help="how long, where no count is given")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    words.add_argument("--replay", type=Path, help="a file with a storm that was printed")
    words.add_argument("--json", type=Path, help="where the figures are written")
    words.add_argument("--no-postgresql", action="store_true", help="only ledgers of SQLite")
    words.add_argument("--worker", help=argparse.SUPPRESS)
    said = words.parse_args()
    if said.worker:
        return work(json.loads(said.worker))
    if said.count is None and said.minutes is None:
        said.count = 1 if said.replay else 200
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="storms") as folder, ExitStack() as stack:
        url = None if said.no_postgresql else stack.enter_context(database_server())
        results = everybody(said, Path(folder), url)
    return report(results, time.monotonic() - began, said.json)


def everybody(said, folder, url):
    """Let every process have its share; what each found out."""
    children = []
    for number in range(said.processes):
        share = None if said.count is None else len(range(number, said.count, said.processes))
        if share == 0:
            continue
        order = {
            "number": number, "count": share, "minutes": said.minutes, "seed": said.seed, "url": url,
            "folder": str(folder / str(number)), "replay": str(said.replay.resolve()) if said.replay else None,
        }  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        line = [sys.executable, str(Path(__file__).parent), "--worker", json.dumps(order)]
        children.append((subprocess.Popen(line, env=environment), folder / str(number) / "found.json"))
    found = []
    for child, path in children:
        child.wait()
        found.append(json.loads(path.read_text()) if path.exists() else {"failures": ["a worker died"]})
    return found


@contextmanager
def database_server():
    """The address of a PostgreSQL server of our own."""
    see_the_project()
    from tests.integration.servers import postgres

    with postgres("storm") as server:
        yield server.url


# ------------------------------------------------------------------ one worker


def work(order):
    """Run a worker's share; its figures are in a file of its folder."""
    see_the_project()
    from tests.storms.weather import Weather

    folder = Path(order["folder"])
    folder.mkdir()
    with Weather(folder, order["url"]) as weather:
        if order["replay"]:
            document = json.loads(Path(order["replay"]).read_text())
            for _ in range(order["count"] or 1):
                try:
                    weather.attempt(document)
                except AssertionError as failure:
                    weather.give_up(failure, "replayed")
        else:
            blow(weather, order)
        figures = weather.figures
    (folder / "found.json").write_text(json.dumps(figures))
    return int(bool(figures["failures"]))


def blow(weather, order):
    """Storms until the share is done or the time is over."""
    end = time.monotonic() + 60 * order["minutes"] if order["minutes"] else float("inf")
    number = order["seed"] * 1_000_000 + order["number"]
    while time.monotonic() < end and not weather.figures["failures"]:
        try:
            some_storms(weather, number, order["count"] or _AT_ONCE, end, postgresql=order["url"] is not None)
        except BaseException as failure:  # noqa: BLE001 (whatever hypothesis makes of it, the smallest storm is kept)
            weather.give_up(failure, number)
        if order["count"]:
            return
        number += _WORKERS_MOST


def some_storms(weather, number, count, end, *, postgresql):
    """Storms of one seed, up to the first that fails, which is made smaller for a while."""
    from hypothesis import HealthCheck, Phase, given, seed, settings

    from tests.storms.storm import storms

    last = weather.figures["storms"] + count  # hypothesis may try more than it was told, where some are alike

    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    @given(storms(postgresql=postgresql))
    def storm(document):
        over = weather.figures["storms"] >= last or time.monotonic() > end
        if not over and not weather.failed_for(_SHRINK_SECONDS):
            weather.attempt(document)

    storm()


# ------------------------------------------------------------------ figures


def report(results, seconds, path):
    """Print the figures of all workers, perhaps write them too; 1 where a law broke."""
    total = {name: sum(one.get(name, 0) for one in results) for name in _FIGURES}
    faults = sum((Counter(one.get("faults", {})) for one in results), Counter())
    failures = [failure for one in results for failure in one.get("failures", ())]
    total |= {
        "seconds": round(seconds, 1),
        "faults": sum(faults.values()),
        "faults_by_kind": dict(sorted(faults.items())),
        "mismatches": sum(one.get("mismatches", 0) for one in results),
        "duplicates": sum(one.get("duplicates", 0) for one in results),
        "postgresql": sum(one.get("postgresql", 0) for one in results),
        "ready": spread([s for one in results for s in one.get("ready", ())]),
        "reconciled": spread([s for one in results for s in one.get("reconciled", ())]),
        "failures": failures,
    }
    for kind, count in total["faults_by_kind"].items():
        sys.stdout.write(f"  {count:5}  {kind}\n")
    sys.stdout.write(
        "{storms} storms ({postgresql} on PostgreSQL) in {seconds:g} s: {faults} faults, {orders} orders,"
        " {fills} fills, {kills} kills, {runs} runs, {mismatches} mismatches, {duplicates} duplicates\n".format(**total)
    )
    for name in ("ready", "reconciled"):
        sys.stdout.write("{0}: median {1[median]} s, worst {1[worst]} s after the start\n".format(name, total[name]))
    for failure in failures:
        sys.stdout.write(f"\nFAILED {failure}\n")
    if path:
        path.write_text(json.dumps(total, indent=1))
    return int(bool(failures))


def spread(seconds):
    """Median and worst."""
    if not seconds:
        return {"median": None, "worst": None}
    return {"median": round(statistics.median(seconds), 2), "worst": round(max(seconds), 2)}


if __name__ == "__main__":
    sys.exit(main())

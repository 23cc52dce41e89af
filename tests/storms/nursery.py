"""A process that has everything imported, and forks traders and gateways that then start within milliseconds.

Belongs here: forking, and the end of every child with its nursery. Does not belong here: what the children do (see
`trader` and `market`), when they start and die (see `stage`).

The nursery has no threads, else its children could inherit a lock that nobody will ever release. It reads one JSON
document a line from its standard input and answers each with the new child's process id.
"""

import asyncio
import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
import types
from pathlib import Path

ROOT = Path(__file__).parents[2]
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_ANSWER_SECONDS = 60.0
_END_SECONDS = 20.0
_LATE = ("broker.ib.conversation", "psycopg2", "sqlalchemy.dialects.postgresql.psycopg2")  # else each child would


def see_the_project():
    """Make `tests` this project's: another package installs one of that name."""
    package = types.ModuleType("tests")
    package.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = package
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


class Child:
    """A process that the nursery forked; `log` holds what it printed."""

    def __init__(self, pid, log):
        self.pid, self.log = pid, log
        self._end = os.pidfd_open(pid)

    def alive(self):
        return not self.wait(0)

    def wait(self, seconds):
        """Whether it has ended, or ends within some seconds."""
        return self._end is None or bool(select.select([self._end], [], [], seconds)[0])

    def kill(self, number=signal.SIGKILL):
        if self._end is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._end, number)

    def forget(self):
        """Kill it if it lives, and let go of it."""
        self.kill()
        assert self.wait(_END_SECONDS), f"process {self.pid} survives SIGKILL"
        os.close(self._end)
        self._end = None


class Nursery:
    """The nursery as its user sees it; a context manager whose end is the end of all children."""

    def __enter__(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return self

    def __exit__(self, *failure):
        self.process.stdin.close()
        self.process.wait(_END_SECONDS)

    def fork(self, module, log, **arguments):
        """Run `tests.storms.<module>.main(**arguments)` in a child of its own."""
        asked = {"module": module, "log": str(log), "arguments": arguments}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], _ANSWER_SECONDS)[0], "the nursery does not answer"
        return Child(json.loads(self.process.stdout.readline())["pid"], log)


# -------------------------------------------------------------------- inside the nursery


def work():
    """Fork a child for every line, until there are no more."""
    see_the_project()
    asyncio.set_event_loop(asyncio.new_event_loop())  # the client library looks for one when it is imported
    for late in _LATE:
        importlib.import_module(late)
    modules = {name: importlib.import_module(f"tests.storms.{name}") for name in ("trader", "market")}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended, so the system forgets them at once
    parent = os.getpid()
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            _live(modules[asked["module"]], asked["log"], asked["arguments"], parent)
        sys.stdout.write(json.dumps({"pid": pid}) + "\n")
        sys.stdout.flush()


def _live(module, log, arguments, parent):
    """A child's whole life."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # the nursery ended in between
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(output, number)
        os.close(0)
        module.main(**arguments)
        code = 0
    except BaseException:  # noqa: BLE001 (whatever it is, it ends this process and is told in its log)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    work()

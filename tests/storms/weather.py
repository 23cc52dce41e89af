"""Where storms happen: a nursery, a recording, ledgers to begin with, and what was counted.

Belongs here: a fresh stage for every storm, figures over many. Does not belong here: which storms (see `__main__`).
"""

import json
import shutil
import sys
import time
import traceback
from collections import Counter
from contextlib import ExitStack, contextmanager
from datetime import date

import psycopg2

from tests.storms.nursery import Nursery
from tests.storms.stage import OverdueError, Stage
from tests.storms.storm import BrokenLawError, Storm
from tests.unit.broker.simulator.recordings import minutes
from warehouse.ledger.store import Ledger

_TELL = 25


class Weather:
    """A context manager; `url` is that of a PostgreSQL server, or None."""

    def __init__(self, folder, url=None):
        self.folder, self.url, self.number = folder, url, 0
        self.figures = {
            "storms": 0, "orders": 0, "fills": 0, "kills": 0, "runs": 0, "postgresql": 0, "mismatches": 0,
            "duplicates": 0, "faults": {}, "ready": [], "reconciled": [], "failures": [],
        }  # fmt: skip
        self.smallest, self.failed_at = None, None

    def failed_for(self, seconds):
        """Whether a storm failed so long ago that it should be small enough."""
        return self.failed_at is not None and time.monotonic() > self.failed_at + seconds

    def __enter__(self):
        self.recording, self.template = self.folder / "recording", self.folder / "template.sqlite"
        minutes(self.recording, "AAPL", first=date(2024, 1, 5), last=date(2024, 1, 9))
        with Ledger.open(self.template):
            pass
        if self.url:
            self.base = self.url.replace("/postgres", f"/base_{self.folder.name}")
            self.sql(f"CREATE DATABASE base_{self.folder.name}")
            with Ledger.open(self.base):
                pass
        self.stack = ExitStack()
        self.nursery = self.stack.enter_context(Nursery())
        return self

    def __exit__(self, *failure):
        self.stack.close()

    def sql(self, statement):
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    @contextmanager
    def ledger(self, kind):
        """The address of an empty ledger on PostgreSQL; None where the file of SQLite serves."""
        if kind != "postgresql" or not self.url:
            yield None
            return
        name = f"storm_{self.folder.name}_{self.number}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE base_{self.folder.name}")
        try:
            yield self.url.replace("/postgres", f"/{name}")
        finally:
            self.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def attempt(self, document):
        """One storm.

        Raises:
            AssertionError: a law does not hold, or something did not come to its end.
        """
        self.number += 1
        folder = self.folder / str(self.number)
        try:
            with (
                self.ledger(document["ledger"]) as url,
                Stage(
                    self.nursery, folder, self.recording, template=self.template, url=url,
                    fill_at_once=document["fill_at_once"],
                ) as stage,
            ):  # fmt: skip
                storm = Storm(stage, document)
                try:
                    storm.run()
                finally:
                    self.count(storm.tally, postgresql=url is not None)
        except (BrokenLawError, OverdueError) as failure:
            self.keep(document, failure)
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def count(self, tally, *, postgresql):
        if self.smallest is not None:
            return  # shrinking a failure is no storm more
        figures = self.figures
        for name in ("orders", "fills", "kills", "runs"):
            figures[name] += getattr(tally, name)
        figures["storms"] += 1
        if figures["storms"] % _TELL == 0:
            sys.stdout.write(f"process {self.folder.name}: {figures['storms']} storms\n")
            sys.stdout.flush()
        figures["postgresql"] += postgresql
        figures["faults"] = dict(Counter(figures["faults"]) + tally.faults)
        figures["ready"] += tally.ready_seconds
        figures["reconciled"] += tally.reconciled_seconds

    def keep(self, document, failure):
        """The smallest storm that failed."""
        text = str(failure)
        if self.failed_at is None:
            self.failed_at = time.monotonic()
            sys.stdout.write(f"a storm failed, it is made smaller: {str(failure)[:300]}\n")
            sys.stdout.flush()
        self.figures["mismatches"] += self.smallest is None
        self.figures["duplicates"] += self.smallest is None and " orders for the intent " in text
        size = len(json.dumps(document))
        if self.smallest is None or size < self.smallest[0]:
            self.smallest = size, document, text

    def give_up(self, failure, seed):
        """Turn the smallest failure into words."""
        if self.smallest is None:
            words = "".join(traceback.format_exception(failure))[-4000:]
        else:
            _, document, text = self.smallest
            words = f"{text[:4000]}\nreplay this storm with --replay and a file that holds:\n{json.dumps(document)}"
        self.figures["failures"].append(f"seed {seed}: {words}")

"""Dagster runs as a terminal shows them: a progress bar while they work, a sentence for each failure.

Belongs here: watching and reporting runs of the graph. Does not belong here: making them (see `pipelines.runs`).
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID

    from pipelines.cli.pages import PageCount
    from pipelines.runs import OnProgress, RunOutcome

INTERRUPTED = 130
"""Exit code after a Ctrl-C, as shells have it."""


@contextmanager
def progress_bar(title: str, total: int) -> Iterator["OnProgress"]:
    """Draw a bar on stderr that moves with every partition; on a dumb terminal only its end is printed."""
    from rich.progress import Progress

    with Progress(*_columns(), console=_stderr(), refresh_per_second=8) as bars:
        task = bars.add_task(title, total=total, now="")
        yield lambda step: _move(bars, task, step)
        bars.update(task, now="")


def _columns() -> tuple["ProgressColumn", ...]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    return (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )


def _stderr() -> "Console":
    from rich.console import Console

    return Console(file=sys.stderr)


def _move(bars: "Progress", task: "TaskID", step: object) -> None:
    bars.update(task, advance=1, now=f"{getattr(step, 'asset', '')} {getattr(step, 'name', '')}".strip())


@contextmanager
def download_bars(symbols: int, steps: int) -> "Iterator[tuple[OnProgress, PageCount]]":
    """Like `progress_bar`, with a second bar for the pages that a source answers in, and how long they will take."""
    from rich.progress import Progress

    from pipelines.cli.pages import PageCount

    with Progress(*_columns(), console=_stderr(), refresh_per_second=8) as bars:
        runs = bars.add_task("download", total=steps, now="")
        pages = bars.add_task("pages", total=None, now="", visible=False)

        def show(done: int, total: int, text: str) -> None:
            bars.update(pages, completed=done, total=total, now=text, visible=total > symbols)

        def move(step: object) -> None:
            _move(bars, runs, step)

        yield move, PageCount(symbols, show)
        bars.update(runs, now="")
        bars.update(pages, now="")


def report_failures(outcome: "RunOutcome") -> int:
    """Exit code of a run; every failure is one line on stderr."""
    if outcome.success:
        return 0
    for name, sentence in outcome.failures.items():
        sys.stderr.write(f"{name}: {sentence}\n")
    if outcome.error:
        sys.stderr.write(f"{outcome.error}\n")
    if outcome.interrupted:
        return INTERRUPTED
    sys.stderr.write(f"run {', '.join(run[:8] for run in outcome.run_ids)} failed; `barloom ui` shows its log.\n")
    return 1


def dates_config(start: object, end: object) -> dict[str, str]:
    """Run configuration of a range whose ends may be open."""
    return {name: str(day) for name, day in (("start", start), ("end", end)) if day is not None}


def unique(symbols: Sequence[str]) -> list[str]:
    """Symbols in the given order, each once."""
    return list(dict.fromkeys(symbols))

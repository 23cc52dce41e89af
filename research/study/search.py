"""A search over prepared bars, in memory.

Belongs here: asking, evaluating and telling, batch after batch. Does not belong here: files and storages (see `run`),
how a point is chosen (see `sampling`) or measured (see `evaluate`).
"""

from collections.abc import Callable
from concurrent.futures import Executor

from research.engine import PreparedRun
from research.study.bars_file import parcelled
from research.study.coordinator import Coordinator
from research.study.outcome import Progress, SearchResult
from research.study.specification import StudySpecification
from research.study.storage import MemoryStore
from research.study.workers import given_workers


def search(
    prepared: PreparedRun,
    specification: StudySpecification,
    *,
    executor: Executor | None = None,
    workers: int = 1,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    check_unread: bool = True,
) -> SearchResult:
    """Search the whole range of prepared bars; nothing is held out and nothing is written.

    Args:
        prepared: experiment and bars; its own range is searched, not the specification's.
        specification: space, objective, sampler, trials, seed, batch, folds, pruner; `hold_out` plays no part.
        executor: what runs trials, here and now when not given. The result is the same.
        workers: how many trials the executor runs at once.
        progress: told after each part of a batch.
        stop: asked between trials; when it says True the search ends with what it has.
        check_unread: whether a parameter that changes nothing ends the search.

    Raises:
        StudyError: the space or objective does not fit, or a parameter changes nothing.
        UnprovenError: a kernel trial is not Backtrader's result.
    """
    coordinator = Coordinator(prepared, specification, progress=progress, stop=stop, check_unread=check_unread)
    if executor is None:
        return coordinator.run(MemoryStore())
    with parcelled(prepared.bars) as parcel:
        return coordinator.run(MemoryStore(), given_workers(executor, workers, parcel), parcel.digest)

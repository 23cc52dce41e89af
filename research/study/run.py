"""A study that is kept: it writes down each finished trial, stops cleanly and goes on under its name.

Belongs here: what surrounds a search: hold-out, storage, resuming, the page and tables. Does not belong here: the
search itself (see `search`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa

from research.study.outcome import Progress
from research.study.records import StudyRecord
from research.study.specification import StudySpecification


def run_study(
    specification: StudySpecification,
    bars: Mapping[str, pa.Table],
    *,
    results: Path,
    data_versions: Mapping[str, str] | None = None,
    storage: str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> StudyRecord:
    """Run a study, or go on with the one of that name.

    Args:
        specification: what is searched, and how.
        bars: BARS_SCHEMA by symbol, adjusted as the experiment says.
        results: folder of results; the study is `studies/{name}` in it.
        data_versions: version of each symbol's bars; a study does not go on with others.
        storage: URL of a PostgreSQL database that holds the trials; a journal in the study's folder when not given.
        workers: processes of this machine; chosen by the work when not given.
        cluster: address of a Dask scheduler (`tcp://...`) whose workers run the trials instead.
        progress: told as trials finish.
        stop: asked between trials (`threading.Event().is_set` will do); when it says True the study is stopped.

    Returns:
        The study as it was written down; `state` is `complete` or `stopped`.

    Raises:
        StudyError: it does not fit the study of that name, another process runs it, or a parameter changes nothing.
        UnprovenError: a kernel trial is not Backtrader's result.
    """
    raise NotImplementedError

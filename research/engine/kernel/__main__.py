"""`python -m research.engine.kernel`: compile for this machine what would else be compiled at first use.

Belongs here: one run of every declared strategy of the library on the shipped sample; numba keeps what it compiled
beside the sources, or in the user's cache where these cannot be written. Does not belong here: anything that is needed.
"""

import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

from research.engine import Engine, prepare_run, replay
from research.errors import IneligibleError
from research.experiment import Experiment
from strategies.registry import LIBRARY
from warehouse.actions import rebuild_actions
from warehouse.calendar import get_calendar
from warehouse.cleaning import rebuild_clean
from warehouse.ingest import update_raw
from warehouse.resolution import Resolution
from warehouse.sources.sample import SampleSource
from warehouse.store import Warehouse

_SYMBOL, _FIRST, _LAST = "FB", date(2012, 5, 18), date(2013, 3, 1)


def main() -> None:
    """Run the library once."""
    calendar = get_calendar("XNYS")
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder))
        update_raw(
            warehouse,
            SampleSource(),
            _SYMBOL,
            Resolution.DAILY,
            _FIRST,
            _LAST,
            calendar=calendar,
            now=datetime.now(UTC),
        )
        rebuild_actions(warehouse, _SYMBOL)
        rebuild_clean(warehouse, _SYMBOL, Resolution.DAILY, calendar)
        bars = {_SYMBOL: warehouse.read_bars(_SYMBOL, Resolution.DAILY)}
    for path in LIBRARY:
        try:
            experiment = Experiment(name="ahead", strategy=path, symbols=(_SYMBOL,), start=_FIRST, end=_LAST)
            replay(prepare_run(experiment, bars), engine=Engine.KERNEL)
        except IneligibleError:
            continue  # decides bar by bar: nothing of it is compiled


if __name__ == "__main__":
    main()

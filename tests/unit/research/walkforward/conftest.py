"""A small market and a search of four combinations."""

import datetime as dt

import pytest

from research.engine import prepare_run
from research.experiment import Experiment
from research.study.grid import grid_points, run_grid
from research.study.trial import figure
from research.walkforward.run import Found, WalkForward
from research.walkforward.windows import WalkForwardSettings, schedule
from tests.unit.research.scenarios import walk

SPACE = {"sma_short": (3, 5), "sma_long": (12, 20)}


class Desk:
    """Makes walk-forwards and counts what is searched."""

    def __init__(self):
        self.searched = []
        self.bars = {"A": walk("A", 380, 3)}  # 2020-01-02 to 2021-07-06

    def search(self, prepared, window):
        points, _ = grid_points(prepared.strategy, prepared.experiment.params, SPACE)
        self.searched.append(window.number)
        best = run_grid(prepared, SPACE, metric="total_return", verify_best=0, verify_sample=0).ranked()
        return Found(best[0].params if best else None, len(points))

    def made(self, name="demo", identity=None, bars=None, settings=None, **fields):
        basis = {"strategy": "strategies.sma_crossover.SMACrossover", "symbols": ["A"], "costs": "ibkr_fixed"}
        experiment = Experiment.build(**{**basis, "start": dt.date(2020, 1, 1), "end": dt.date(2021, 6, 30), **fields})
        prepared = prepare_run(experiment, bars or self.bars)
        settings = settings or WalkForwardSettings()
        return WalkForward(
            name=name,
            prepared=prepared,
            schedule=schedule(prepared.calendar, experiment.start, experiment.end, settings),
            settings=settings,
            search=self.search,
            objective=lambda run, output: figure(run.experiment, output, "total_return"),
            identity=identity or {"space": {key: list(values) for key, values in SPACE.items()}},
        )


@pytest.fixture
def desk():
    return Desk()

"""Specifications and bars that several tests of studies share."""

from research.engine import prepare_run
from research.study import StudySpecification
from tests.unit.research.scenarios import END, START, walk

CROSSOVER = "strategies.sma_crossover.SMACrossover"
ROTATION = "strategies.momentum.DualMomentum"
SMALL = {"sma_short": {"type": "int", "low": 3, "high": 9}, "sma_long": {"type": "int", "low": 8, "high": 30}}


def specification(*, strategy=CROSSOVER, symbols=("A",), params=None, **fields):
    experiment = {"strategy": strategy, "symbols": list(symbols), "start": START, "end": END, "params": params or {}}
    return StudySpecification.build(**{"name": "study", "experiment": experiment, "space": SMALL, **fields})


def bars(symbols=("A",), count=260):
    return {symbol: walk(symbol, count, seed) for seed, symbol in enumerate(symbols)}


def prepared(spec, count=260):
    return prepare_run(spec.experiment, bars(spec.experiment.symbols, count))


def told(trials):
    """What must be the same however a study was run."""
    return [(one.number, dict(one.params), one.state, one.value, one.values, one.reason) for one in trials]

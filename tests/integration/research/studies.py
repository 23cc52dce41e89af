"""Studies that tests run in processes of their own, on bars that every process makes for itself.

Belongs here: what several tests of studies share. Does not belong here: tests.
"""

import subprocess
import sys
import time
from pathlib import Path

from research.study import StudySpecification
from tests.unit.research.scenarios import END, START, walk

ROOT = Path(__file__).parents[3]
CROSSOVER = "strategies.sma_crossover.SMACrossover"
SPACE = {"sma_short": {"type": "int", "low": 3, "high": 20}, "sma_long": {"type": "int", "low": 22, "high": 80}}

SLOW = """
import os, time
from pathlib import Path
from strategies.base_strategy import BaseStrategy
from strategies.parameters import Int, ParameterSpace
from research.errors import ResearchError

class Slow(BaseStrategy):
    space = ParameterSpace({"period": Int(2, 60, default=5), "seconds": Int(0, 10_000, default=0, tuned=False)})

    def __init__(self):
        super().__init__()
        time.sleep(self.p.seconds / 100)
        folder = Path(os.environ["BARLOOM_TEST_FOLDER"])
        (folder / f"{self.p.period}-{os.getpid()}-{time.monotonic_ns()}").touch()
        poison = folder / f"poison-{self.p.period}"
        if poison.exists():
            if poison.read_text() == "once":
                poison.unlink()
            os.kill(os.getpid(), 9)

    def next(self):
        if len(self) % self.p.period == 1:
            self.close() if self.position else self.buy(size=1 + self.p.period)
"""


def specification(**fields):
    experiment = {"strategy": CROSSOVER, "symbols": ["A"], "start": START, "end": END, **fields.pop("experiment", {})}
    return StudySpecification.build(**{"name": "study", "experiment": experiment, "space": SPACE, **fields})


def slow(folder, seconds=0, **fields):
    """A study of a strategy that decides bar by bar and leaves a file in `folder` at each run."""
    (folder / "slow_strategy.py").write_text(SLOW)
    experiment = {"strategy": "slow_strategy.Slow", "params": {"seconds": int(100 * seconds)}}
    space = {"period": {"type": "int", "low": 2, "high": 60}}
    return specification(experiment=experiment, **{"space": space, "sampler": "tpe", "n_trials": 16, **fields})


def bars(symbols=("A",), count=300):
    return {symbol: walk(symbol, count, seed) for seed, symbol in enumerate(symbols)}


def told(record):
    columns = ["number", "state", "value", "plain_value", "reason", "params", "metrics", "engine"]
    return record.trials.select(columns).to_pylist()


PROGRAM = """
import sys, json
from pathlib import Path
sys.path.insert(0, {root!r})
sys.path.insert(0, {here!r})
import importlib.util
def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
if __name__ == "__main__":
    scenarios = load("scenarios", {root!r} + "/tests/unit/research/scenarios.py")
    from research.study import StudySpecification, run_study
    spec = StudySpecification.parse(json.loads(Path({document!r}).read_text()))
    bars = {{s: scenarios.walk(s, 300, at) for at, s in enumerate(spec.experiment.symbols)}}
    def told(progress):
        print(progress.done, flush=True)
    record = run_study(spec, bars, results=Path({results!r}), progress=told, storage={storage!r}, workers={workers})
    print("end", record.state, flush=True)
"""


def started(folder, spec, results, *, storage=None, workers=1, environment=None):
    """A process that runs a study and prints how far it is."""
    document = folder / f"{time.monotonic_ns()}.json"
    document.write_text(spec.model_dump_json())
    program = document.with_suffix(".py")
    program.write_text(
        PROGRAM.format(
            root=str(ROOT), here=str(folder), document=str(document), results=str(results), storage=storage,
            workers=workers,
        )
    )  # fmt: skip
    return subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        env=environment, start_new_session=True,
    )  # fmt: skip


def wait_for(process, trials):
    """Until the study has told of so many finished trials."""
    for line in process.stdout:
        if line.strip().isdigit() and int(line) >= trials:
            return
    raise AssertionError(f"the study ended early: {process.wait(timeout=10)}")

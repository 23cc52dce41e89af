"""Studies as a terminal shows them."""

import pytest

from pipelines.cli.study_tables import print_study
from research.study import load_study, run_study
from tests.unit.research.study.studies import bars, specification


class KilledError(Exception):
    """Stands for a process that ends without a word."""


def test_a_study_that_was_killed_shows_what_it_had_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("research.study.run._PAGE_SECONDS", 0.0)
    monkeypatch.setattr("research.study.coordinator._TOLD_SECONDS", 0.0)

    def die(progress):
        if progress.done == 12:
            raise KilledError

    spec = specification(sampler="random", n_trials=20)
    with pytest.raises(KilledError):
        run_study(spec, bars(), results=tmp_path, progress=die, workers=1)
    record = load_study(tmp_path, "study")
    print_study(record, top=3)
    told = capsys.readouterr().out
    assert "study: stopped, 12 complete (random on kernel)" in told
    assert f"Best so far: {record.best['value']:.6g}, trial {record.best['number']} (" in told

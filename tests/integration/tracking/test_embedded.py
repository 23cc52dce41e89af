"""The store of a results folder: written without a server, whole, once, whatever interrupts."""

import json
import shutil
from dataclasses import replace
from threading import Thread

import pytest

from research.tracking import Children, Outbox, StoreUnreachableError, sync, track, tracking_place
from research.tracking import open_store as real_open_store

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """Tables take MLflow a second to make; every test begins with a copy."""
    folder = tmp_path_factory.mktemp("empty")
    real_open_store(tracking_place(folder)).close()
    return folder / "mlflow" / "mlflow.db"


@pytest.fixture
def results(tmp_path, empty_store):
    (tmp_path / "mlflow").mkdir()
    shutil.copy(empty_store, tmp_path / "mlflow" / "mlflow.db")
    return tmp_path


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "tearsheet.html"
    path.write_text("<html>")
    return path


def test_a_study_is_seen_by_mlflow_as_it_was_tracked(results, artifact, kit):
    study, place = kit.study(artifacts=[artifact]), tracking_place(results)
    tracked = track(study, Outbox(results), place)

    seen = kit.seen(place.uri)
    seen.check_whole(study)
    assert tracked.waits is None
    assert tracked.sent.children.keys() == {child.key for child in study.children}
    assert tracked.sent.link.endswith(f"/#/experiments/{tracked.sent.experiment_id}/runs/{tracked.sent.run_id}")
    assert seen.client.get_run(tracked.sent.run_id).data.tags["dagster_run_id"] == "run-1"
    assert Outbox(results).pending() == []


def test_a_child_written_in_bulk_is_what_mlflows_own_client_would_write(results, kit):
    study, place = kit.study(3), tracking_place(results)
    sent = track(study, Outbox(results), place).sent
    child, client = study.children[1], kit.seen(place.uri).client
    ours = client.get_run(sent.children[child.key])
    tags = {"barloom.key": child.key, "mlflow.parentRunId": sent.run_id, **child.tags}
    theirs = client.create_run(sent.experiment_id, ours.info.start_time, tags, child.run_name).info.run_id
    for name, value in child.params.items():
        client.log_param(theirs, name, value)
    for name, value in child.metrics.items():
        client.log_metric(theirs, name, value, ours.info.start_time, 0)
    client.set_terminated(theirs, child.status, ours.info.end_time)

    def plain(run):
        whole = json.dumps(run.to_dictionary(), sort_keys=True).replace(run.info.run_id, "RUN")
        document = json.loads(whole)
        document["info"].pop("user_id")
        document["data"]["tags"].pop("mlflow.user", None)
        return document

    assert plain(client.get_run(theirs)) == plain(ours)


def test_the_same_content_is_not_sent_again_and_a_change_completes_the_same_run(results, kit):
    study, place, outbox = kit.study(5), tracking_place(results), Outbox(results)
    first = track(study, outbox, place)
    assert track(study, outbox, place) == first
    changed = replace(study, tags={**study.tags, "status": "production"})
    second = track(changed, outbox, place)
    assert second.sent.run_id == first.sent.run_id
    kit.seen(place.uri).check_whole(changed)


def test_another_process_that_sent_it_first_is_believed(results, kit):
    study, place = kit.study(5), tracking_place(results)
    threads = [Thread(target=track, args=(study, Outbox(results), place)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kit.seen(place.uri).check_whole(study)


def test_a_store_that_was_deleted_gets_everything_again(results, empty_store, kit):
    study, place = kit.study(3), tracking_place(results)
    track(study, Outbox(results), place)
    (results / "mlflow" / "mlflow.db").unlink()
    track(study, Outbox(results), place)
    kit.seen(place.uri).check_whole(study)


def test_a_file_that_is_gone_is_named_and_holds_nothing_up(results, artifact, kit):
    study, outbox = kit.study(2, artifacts=[artifact]), Outbox(results)
    outbox.put(study)
    artifact.unlink()
    report = sync(outbox, tracking_place(results))
    run = kit.seen(tracking_place(results).uri).client.get_run(report.sent[0].run_id)
    assert run.data.tags["barloom.missing_artifacts"] == "tearsheet.html"


def test_a_refused_or_damaged_run_does_not_hold_up_the_others(results, kit):
    outbox, place = Outbox(results), tracking_place(results)
    track(replace(kit.study(1, name="one"), params={"a": "1"}), outbox, place)
    outbox.put(replace(kit.study(1, name="one"), params={"a": "2"}))  # MLflow never changes a parameter
    (outbox.folder / "damaged.json").write_text("{")
    outbox.put(kit.study(1, name="two"))
    report = sync(outbox, place)
    assert [sent.key for sent in report.sent] == [kit.study(1, name="two").key]
    assert set(report.refused) == {"damaged", kit.study(1, name="one").key}
    assert "refused a request" in report.refused[kit.study(1, name="one").key]
    assert not report.complete


def test_an_experiment_in_the_bin_is_told(results, kit):
    study, place = kit.study(1), tracking_place(results)
    seen = kit.seen(place.uri)
    seen.client.delete_experiment(seen.client.create_experiment(study.experiment_name))
    assert "was deleted in MLflow; restore it there" in track(study, Outbox(results), place).waits


def test_a_large_run_is_written_in_batches(results, kit):
    study = kit.study(2500, children=Children(best=1, sample=1))
    study = replace(study, params={f"p{n}": "x" for n in range(250)}, tags={f"t{n}": "x" for n in range(250)})
    place = tracking_place(results)
    track(study, Outbox(results), place)
    kit.seen(place.uri).check_whole(study)


class Failing:
    """A store that goes away at its n-th step, before the step is done or after it was, so that its answer is lost."""

    def __init__(self, store, at, done):
        self._store, self._left, self._done = store, at, done

    def __getattr__(self, name):
        method = getattr(self._store, name)
        return method if name == "close" else lambda *words: self._step(method, *words)

    def _step(self, method, *words):
        self._left -= 1
        if self._left == 0 and not self._done:
            raise StoreUnreachableError("gone.")
        answer = method(*words)
        if self._left == 0:
            raise StoreUnreachableError("gone.")
        return answer


@pytest.mark.parametrize("failing", [(step, done) for step in range(1, 9) for done in (False, True)], ids=str)
def test_whichever_step_fails_the_run_waits_whole_and_a_sync_completes_it_once(
    results, artifact, kit, monkeypatch, failing
):
    study, outbox, place = kit.study(4, artifacts=[artifact]), Outbox(results), tracking_place(results)
    with monkeypatch.context() as patched:
        patched.setattr(
            "research.tracking.outbox.open_store", lambda *a, **k: Failing(real_open_store(*a, **k), *failing)
        )
        tracked = track(study, outbox, place)
    assert tracked.waits == "gone."
    assert outbox.read(study.key) == study
    report = sync(outbox, place)
    assert (len(report.sent), report.complete) == (1, True)
    kit.seen(place.uri).check_whole(study)
    assert sync(outbox, place).sent == ()


def test_a_failed_trial_is_failed_in_mlflow(results, kit):
    study, place = kit.study(3), tracking_place(results)
    one_failed = replace(study, children=(study.children[0], replace(study.children[1], status="FAILED")))
    track(one_failed, Outbox(results), place)
    kit.seen(place.uri).check_whole(one_failed)


def test_the_figures_of_a_study_that_went_on_are_the_newest_even_where_they_are_smaller(results, kit):
    place, outbox = tracking_place(results), Outbox(results)
    first = kit.study(10, identity="same")
    later = kit.study(20, identity="same")
    later = replace(later, metrics={**later.metrics, "best.value": -1.0})
    run_id = track(first, outbox, place).sent.run_id
    assert track(later, outbox, place).sent.run_id == run_id
    seen = kit.seen(place.uri)
    assert seen.client.get_run(run_id).data.metrics["best.value"] == -1.0
    seen.check_whole(later)

"""Settings reach what they are for; sources are asked again only when that can help."""

from datetime import UTC, date, datetime

import pytest

from pipelines.errors import SettingsError
from pipelines.gateways import Purpose, session_settings
from pipelines.resources import (
    CalendarResource,
    RetryingPages,
    RetryingSource,
    default_resources,
    load_quality_settings,
)
from pipelines.settings import Settings
from warehouse.calendar import get_calendar
from warehouse.errors import SourceContractError, SourceError, UnknownSymbolError
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA
from warehouse.sources.files import FilesSource
from warehouse.sources.protocol import BarRequest, VendorBars, overlap_of, pages_of

REQUEST = BarRequest("AAPL", Resolution.DAILY, date(2012, 1, 3), date(2012, 1, 4))
NOTHING = VendorBars(VENDOR_SCHEMA.empty_table(), "session")


class Flaky:
    """Fails with the given errors, one a call, then answers."""

    name = "flaky"

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def symbols(self):
        return ["AAPL"]

    def fetch(self, request):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return NOTHING


def retrying(source, attempts=3, waits=None):
    return RetryingSource(source, attempts, 2.0, sleep=(waits if waits is not None else []).append)


@pytest.mark.parametrize("error", [SourceError("busy"), ConnectionResetError("gone"), TimeoutError("slow")])
def test_a_failure_in_passing_is_tried_again_with_doubling_waits(error):
    source, waits = Flaky(error, error), []
    assert retrying(source, waits=waits).fetch(REQUEST) is NOTHING
    assert (source.calls, waits) == (3, [2.0, 4.0])


@pytest.mark.parametrize("error", [UnknownSymbolError("no"), SourceContractError("broken"), KeyError("ours")])
def test_what_can_never_work_is_asked_once(error):
    source = Flaky(error)
    with pytest.raises(type(error)):
        retrying(source).fetch(REQUEST)
    assert source.calls == 1


def test_the_last_failure_is_the_answer():
    source = Flaky(SourceError("first"), SourceError("second"), SourceError("third"))
    with pytest.raises(SourceError, match="third"):
        retrying(source).fetch(REQUEST)
    assert source.calls == 3


def test_one_attempt_means_no_second_one():
    source = Flaky(SourceError("busy"))
    with pytest.raises(SourceError):
        retrying(source, attempts=1).fetch(REQUEST)
    assert source.calls == 1


def test_the_retrying_source_is_the_source_to_everybody_else():
    source = retrying(Flaky())
    assert (source.name, source.symbols()) == ("flaky", ["AAPL"])


class FlakyPages(Flaky):
    """Wants two pages; fails with the given errors first."""

    def __init__(self, *errors):
        super().__init__(*errors)
        self.stopped = False

    def pages(self, request):
        self.fetch(request)
        return (request, request)

    def most_overlap(self, resolution):
        return 1

    def seconds_for(self, pages):
        return 2.0 * pages

    def stop(self):
        self.stopped = True


def test_planning_the_pages_of_a_source_is_tried_again_too():
    waits = []
    source = RetryingPages(FlakyPages(SourceError("busy")), 3, 2.0, sleep=waits.append)
    assert pages_of(source, REQUEST) == (REQUEST, REQUEST)
    assert waits == [2.0]


def test_a_retrying_source_with_pages_passes_on_what_the_source_behind_says():
    behind = FlakyPages()
    source = RetryingPages(behind, 3, 2.0)
    source.stop()
    assert (overlap_of(source, Resolution.MINUTE, 5), source.seconds_for(3), behind.stopped) == (1, 6.0, True)


def test_a_source_without_pages_is_asked_for_the_whole_range():
    source = retrying(Flaky())
    assert pages_of(source, REQUEST) == (REQUEST,)
    assert overlap_of(source, Resolution.MINUTE, 5) == 5


def test_what_ib_needs_reaches_the_resource_and_nothing_is_connected(tmp_path):
    settings = Settings(
        source="ib", ib_host="gw", ib_port=7497, ib_client_id=3, ib_account="DU1", ib_requests=40,
        ib_answer_seconds=9.0, ib_reset="none", data_dir=tmp_path,
    )  # fmt: skip
    made = default_resources(settings)["source"]
    wanted = session_settings(made, Purpose.DOWNLOAD)
    assert (wanted.address, wanted.client_id, wanted.account, wanted.mode) == ("gw:7497", 4, "DU1", "paper")
    assert wanted.reset is None
    assert (made.ib_requests, made.ib_answer_seconds) == (40, 9.0)
    assert made.ib_contracts == str(tmp_path / "ib" / "contracts.json")
    assert made.symbols() == ()


def test_every_setting_reaches_its_resource(tmp_path):
    settings = Settings(
        data_dir=tmp_path / "d", results_dir=tmp_path / "r", experiments_dir=tmp_path / "e", calendar="XLON",
        universe_file=tmp_path / "u", history_start=date(2001, 2, 3), overlap_sessions=9, workers=2,
        source_attempts=7, source_retry_seconds=0.5, quality_file=tmp_path / "q.yaml", studies_dir=tmp_path / "s",
        study_checks_file=tmp_path / "c.yaml",
    )  # fmt: skip
    made = default_resources(settings)
    source = made["source"]
    with source.opened(get_calendar("XNYS")) as opened:
        assert (opened.name, opened.attempts, opened.retry_seconds) == ("sample", 7, 0.5)
    assert (made["warehouse"].open().root, made["warehouse"].workers) == (tmp_path / "d", 2)
    assert (made["research"].results, made["research"].experiments_dir) == (tmp_path / "r", str(tmp_path / "e"))
    assert made["research"].studies_dir == str(tmp_path / "s")
    assert made["research"].study_checks_file == str(tmp_path / "c.yaml")
    assert made["calendar"].open().name == "XLON"
    assert (source.history_start, source.overlap_sessions, source.universe_file) == (
        "2001-02-03", 9, str(tmp_path / "u"),
    )  # fmt: skip
    assert made["quality"].quality_file == str(tmp_path / "q.yaml")


def test_the_exchanges_date_is_not_the_utc_date():
    class AfterMidnightInLondon(CalendarResource):
        def now(self):
            return datetime(2026, 11, 24, 2, tzinfo=UTC)

    assert AfterMidnightInLondon().today() == date(2026, 11, 23)


def test_quality_settings_come_from_their_file(tmp_path):
    path = tmp_path / "q.yaml"
    path.write_text("missing_sessions: {threshold: 3, severity: WARN}\n")
    assert load_quality_settings(path).missing_sessions.threshold == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "is not a file"),
        ("a: [", "is not YAML"),
        ("missing_sesions: {threshold: 3}", "Did you mean 'missing_sessions'"),
        ("missing_sessions: {treshold: 3}", "missing_sessions.treshold"),
        ("missing_sessions: {threshold: -1}", "missing_sessions.threshold"),
    ],
)
def test_a_wrong_quality_file_is_told(tmp_path, text, sentence):
    path = tmp_path / "q.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=sentence):
        load_quality_settings(path)


def test_an_experiment_without_a_file_is_named(tmp_path):
    research = default_resources(Settings(experiments_dir=tmp_path, results_dir=tmp_path))["research"]
    with pytest.raises(SettingsError, match="'nowhere' has no file"):
        research.load("nowhere")


def test_the_lean_source_reads_the_folder_of_its_setting(tmp_path):
    resource = default_resources(Settings(source="lean", lean_folder=tmp_path))["source"]
    with resource.opened(get_calendar("XNYS")) as opened:
        assert (opened.name, opened.source.folder) == ("lean", tmp_path)


def test_the_files_source_reads_the_spec_of_its_setting(tmp_path):
    (tmp_path / "bars").mkdir()
    spec = tmp_path / "bars.yaml"
    spec.write_text(
        "path: bars\npattern: '{symbol}.csv'\ncolumns: {stamp: day, open: o, high: h, low: l, close: c, volume: v}\n"
    )
    with default_resources(Settings(source="files", files_spec=spec))["source"].opened(get_calendar("XNYS")) as opened:
        assert isinstance(opened.source, FilesSource)

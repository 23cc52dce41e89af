"""What assets are handed: the warehouse, the source, the calendar, quality settings, the folders of research.

Belongs here: typed Dagster resources that give out plain domain objects; domain code never sees Dagster.
Does not belong here: work on bars, reading the environment (see `settings`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

import dagster as dg
import yaml
from pydantic import Field, ValidationError

from pipelines.errors import SettingsError
from pipelines.partitions import misnamed_files, yaml_keys
from pipelines.settings import Settings
from warehouse.errors import SourceContractError, SourceError, SourceRefusedError, UnknownSymbolError
from warehouse.resolution import Resolution
from warehouse.sources.protocol import BarRequest, BarSource, PagedSource, VendorBars

if TYPE_CHECKING:
    from research.experiment import Experiment
    from research.overfitting import Thresholds
    from research.ranking import Ranking
    from research.study import StudySpecification
    from warehouse.calendar import TradingCalendar
    from warehouse.ingest import PageDone
    from warehouse.quality import QualitySettings
    from warehouse.store import Warehouse

T = TypeVar("T")

_PERMANENT = (UnknownSymbolError, SourceContractError, SourceRefusedError)
_PASSING = (SourceError, ConnectionError, TimeoutError)


@dataclass(frozen=True, slots=True)
class RetryingSource:
    """A source that is asked again when it failed in passing; what will never work is not asked twice.

    `attempts` tries in all; the wait before the second is `retry_seconds`, and doubles from try to try.
    """

    source: BarSource
    attempts: int
    retry_seconds: float
    sleep: Callable[[float], None] = time.sleep

    @property
    def name(self) -> str:
        """Name of the source behind."""
        return self.source.name

    def symbols(self) -> Sequence[str]:
        """Symbols of the source behind."""
        return self.source.symbols()

    def fetch(self, request: BarRequest) -> VendorBars:
        """Bars of the request, from the first try that succeeds.

        Raises:
            UnknownSymbolError: at the first try that says so.
            SourceRefusedError: at the first try that says so.
            SourceContractError: at the first try that says so.
            SourceError: the last try's error.
        """
        return self._persist(lambda: self.source.fetch(request))

    def stop(self) -> None:
        """Ask nothing more, where the source behind can be stopped."""

    def _persist(self, ask: Callable[[], T]) -> T:
        for attempt in range(1, self.attempts):
            try:
                return ask()
            except _PERMANENT:
                raise
            except _PASSING:
                self.sleep(self.retry_seconds * 2 ** (attempt - 1))
        return ask()


@dataclass(frozen=True, slots=True)
class RetryingPages(RetryingSource):
    """The same for a source that answers in pages."""

    source: PagedSource

    def pages(self, request: BarRequest) -> Sequence[BarRequest]:
        """Pages of the source behind, from the first try that succeeds."""
        return self._persist(lambda: self.source.pages(request))

    def most_overlap(self, resolution: Resolution) -> int:
        """As the source behind says."""
        return self.source.most_overlap(resolution)

    def seconds_for(self, pages: int) -> float:
        """As the source behind says."""
        return self.source.seconds_for(pages)

    def stop(self) -> None:
        """Stop the source behind."""
        self.source.stop()


class WarehouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Bars on disk."""

    data_dir: str = Field(description="Folder of bars, actions, quality reports and the catalog.")
    workers: int = Field(default=4, ge=1, description="Symbols worked on at the same time inside one run.")

    def open(self) -> "Warehouse":
        """The warehouse in the folder."""
        from warehouse.store import Warehouse

        return Warehouse(Path(self.data_dir))


class SourceResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where bars come from."""

    kind: str = Field(description="`sample`, `files`, `lean` or `ib`.")
    files_spec: str = Field(default="", description="YAML that describes CSV or Parquet files (kind files).")
    lean_folder: str = Field(default="", description="A LEAN data folder (kind lean).")
    universe_file: str = Field(default="", description="Text file of symbols; empty: those the source lists.")
    history_start: str = Field(default="1990-01-01", description="First exchange date that updates ask for.")
    overlap_sessions: int = Field(default=5, ge=0, description="Sessions that every update fetches again.")
    attempts: int = Field(default=3, ge=1, description="Tries for one symbol when the source fails in passing.")
    retry_seconds: float = Field(default=2.0, ge=0, description="Wait before the second try; doubles each time.")
    ib_host: str = Field(default="127.0.0.1", description="Where the gateway listens (kind ib).")
    ib_port: int = Field(default=4002, description="Its port.")
    ib_client_id: int = Field(default=10, description="Our lowest number among its clients.")
    ib_account: str | None = Field(default=None, description="Account; empty: the login's only one.")
    ib_reset: str = Field(default="23:45-00:45", description="When IB resets its servers, in New York, or none.")
    trading_mode: str = Field(default="paper", description="`paper` or `live`.")
    ib_requests: int = Field(default=58, ge=2, description="Requests for history in ten minutes.")
    ib_answer_seconds: float = Field(default=60.0, gt=0, description="How long IB may take for one page.")
    ib_contracts: str = Field(default="", description="JSON file that keeps contracts; empty: none.")

    def symbols(self) -> Sequence[str]:
        """Symbols that the source lists; none for IB, which is not asked."""
        return () if self.kind == "ib" else self._source().symbols()

    @contextmanager
    def opened(self, calendar: "TradingCalendar") -> "Iterator[RetryingSource]":
        """The source, retrying what fails in passing; one connection for all that is asked of it, where it needs one.

        Raises:
            SourceError: nobody answers.
            GatewayError: port, account and trading mode do not fit.
        """
        if self.kind != "ib":
            yield RetryingSource(self._source(), self.attempts, self.retry_seconds)
            return
        from pipelines.gateways import download_source

        with download_source(self, calendar) as source:
            yield RetryingPages(source, self.attempts, self.retry_seconds)

    def on_page(self, page: "PageDone") -> None:
        """Nobody watches; see `WatchedSource`."""

    def _source(self) -> BarSource:
        if self.kind == "sample":
            from warehouse.sources.sample import SampleSource

            return SampleSource()
        if self.kind == "lean":
            from warehouse.sources.lean import LeanSource

            return LeanSource(Path(self.lean_folder))
        from warehouse.sources.files import FilesSource, load_files_spec

        return FilesSource(load_files_spec(Path(self.files_spec)))


class Watcher(Protocol):
    """Who looks on while bars are downloaded; called from any thread."""

    def begin(self, source: RetryingSource) -> None:
        """The source is open."""
        ...

    def on_page(self, page: "PageDone") -> None:
        """A page is stored."""
        ...


@dataclass(frozen=True, slots=True)
class WatchedSource:
    """Stands for a source resource while a program looks on."""

    resource: SourceResource
    watcher: Watcher

    @property
    def history_start(self) -> str:
        """Of the resource."""
        return self.resource.history_start

    @property
    def overlap_sessions(self) -> int:
        """Of the resource."""
        return self.resource.overlap_sessions

    @property
    def universe_file(self) -> str:
        """Of the resource."""
        return self.resource.universe_file

    def symbols(self) -> Sequence[str]:
        """Of the resource."""
        return self.resource.symbols()

    @contextmanager
    def opened(self, calendar: "TradingCalendar") -> Iterator[RetryingSource]:
        """The source of the resource."""
        with self.resource.opened(calendar) as source:
            self.watcher.begin(source)
            yield source

    def on_page(self, page: "PageDone") -> None:
        """Tell the watcher."""
        self.watcher.on_page(page)


class CalendarResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Sessions of the exchange."""

    calendar: str = Field(default="XNYS", description="Exchange calendar, a name of exchange_calendars.")

    def open(self) -> "TradingCalendar":
        """The calendar."""
        from warehouse.calendar import get_calendar

        return get_calendar(self.calendar)

    def now(self) -> datetime:
        """The moment, aware UTC; tests replace it."""
        return datetime.now(UTC)

    def today(self) -> date:
        """The exchange's date; sessions before it have closed."""
        return self.now().astimezone(ZoneInfo(self.open().timezone)).date()


class QualityResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Thresholds and severities of quality rules."""

    quality_file: str = Field(default="", description="YAML with thresholds and severities; empty: the defaults.")

    def settings(self) -> "QualitySettings":
        """What the file says, else the defaults."""
        return load_quality_settings(Path(self.quality_file) if self.quality_file else None)


class ResearchResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Experiments and their results."""

    experiments_dir: str = Field(default="experiments", description="Folder of experiment YAML files.")
    studies_dir: str = Field(default="experiments/studies", description="Folder of study YAML files.")
    results_dir: str = Field(default="results", description="Folder of backtests, studies and their pages.")
    study_checks_file: str = Field(default="", description="YAML with the thresholds of the checks on studies.")
    ranking_file: str = Field(default="", description="YAML of the leaderboard's ranking; empty: the defaults.")

    def ranking(self) -> "Ranking":
        """How results are ranked: what the file says, else the defaults.

        Raises:
            RankingError: the file cannot be used.
        """
        from research.ranking import Ranking, load_ranking

        return load_ranking(Path(self.ranking_file)) if self.ranking_file else Ranking()

    @property
    def results(self) -> Path:
        """Folder of results."""
        return Path(self.results_dir)

    @property
    def recorded(self) -> Path:
        """Folder of experiments that a command line named instead of a file."""
        return self.results / "experiments"

    def experiments(self) -> dict[str, Path]:
        """Partition key -> YAML file; the user's folder wins over recorded ones."""
        return yaml_keys(Path(self.experiments_dir), self.recorded)

    def misnamed(self) -> list[Path]:
        """Files in the user's folder that cannot be experiments because of their names."""
        return misnamed_files(Path(self.experiments_dir))

    @property
    def recorded_studies(self) -> Path:
        """Folder of studies that a command line named instead of a file."""
        return self.results / "recorded_studies"

    def studies(self) -> dict[str, Path]:
        """Partition key -> YAML file; the user's folder wins over recorded ones."""
        return yaml_keys(Path(self.studies_dir), self.recorded_studies)

    def thresholds(self) -> "Thresholds":
        """What studies are judged by: what the file says, else the defaults.

        Raises:
            ResearchError: the file cannot be used.
        """
        from research.overfitting import Thresholds, load_thresholds

        return load_thresholds(Path(self.study_checks_file)) if self.study_checks_file else Thresholds()

    def load_study(self, key: str) -> "StudySpecification":
        """The study of a partition.

        Raises:
            SettingsError: there is no file for it.
            StudyError: the file is not a valid study.
        """
        from research.study import load_specification

        path = self.studies().get(key)
        if path is None:
            raise SettingsError(f"study: {key!r} has no file in {self.studies_dir} or {self.recorded_studies}.")
        return load_specification(path)

    def load(self, key: str) -> "Experiment":
        """The experiment of a partition.

        Raises:
            SettingsError: there is no file for it.
            ResearchError: the file is not a valid experiment.
        """
        from research.experiment import load_experiment

        path = self.experiments().get(key)
        if path is None:
            raise SettingsError(f"experiment: {key!r} has no file in {self.experiments_dir} or {self.recorded}.")
        return load_experiment(path)


def load_quality_settings(path: Path | None) -> "QualitySettings":
    """Quality settings from YAML; None means the defaults.

    Raises:
        SettingsError: the file is missing, not YAML, or names something that does not exist.
    """
    from warehouse.quality import QualitySettings

    if path is None:
        return QualitySettings()
    if not path.is_file():
        raise SettingsError(f"BARLOOM_QUALITY_FILE: {str(path)!r} is not a file.")
    try:
        return QualitySettings.model_validate(yaml.safe_load(path.read_text()) or {})
    except yaml.YAMLError as error:
        raise SettingsError(f"BARLOOM_QUALITY_FILE: {path} is not YAML ({error.__class__.__name__}).") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {place}: {first['msg']}, not {first['input']!r}.") from None


def default_resources(settings: Settings) -> dict[str, Any]:
    """Resource key -> resource, as the settings of a project say."""
    return {
        "warehouse": WarehouseResource(data_dir=str(settings.data_dir), workers=settings.workers),
        "source": SourceResource(
            kind=settings.source,
            files_spec=str(settings.files_spec or ""),
            lean_folder=str(settings.lean_folder or ""),
            universe_file=str(settings.universe_file or ""),
            history_start=settings.history_start.isoformat(),
            overlap_sessions=settings.overlap_sessions,
            attempts=settings.source_attempts,
            retry_seconds=settings.source_retry_seconds,
            ib_host=settings.ib_host,
            ib_port=settings.ib_port,
            ib_client_id=settings.ib_client_id,
            ib_account=settings.ib_account,
            ib_reset=settings.ib_reset,
            trading_mode=settings.trading_mode,
            ib_requests=settings.ib_requests,
            ib_answer_seconds=settings.ib_answer_seconds,
            ib_contracts=str(settings.data_dir / "ib" / "contracts.json"),
        ),
        "calendar": CalendarResource(calendar=settings.calendar),
        "quality": QualityResource(quality_file=str(settings.quality_file or "")),
        "research": ResearchResource(
            experiments_dir=str(settings.experiments_dir),
            studies_dir=str(settings.studies_dir),
            results_dir=str(settings.results_dir),
            study_checks_file=str(settings.study_checks_file or ""),
            ranking_file=str(settings.ranking_file or ""),
        ),
    }

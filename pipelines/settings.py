"""The settings of one project folder: environment variables `BARLOOM_*`, `IB_TRADING_MODE` and a `.env` file.

Belongs here: the names, defaults and checks of settings. Does not belong here: secrets of a broker, settings of
one experiment (its YAML), reading files that a setting names (see `resources`).

Paths are relative to the working directory, which is the project folder for every shipped command.
"""

import difflib
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipelines.errors import SettingsError
from warehouse.ledger.place import LEDGER_FILE

PREFIX = "BARLOOM_"
OTHER_NAMES = {"trading_mode": "IB_TRADING_MODE"}
"""Fields whose variable has a name of its own."""
ENV_FILE = ".env"


class Settings(BaseSettings):
    """What a project folder may change; `load_settings` reads it, tests construct it.

    Only arguments count here: `load_settings` passes what the environment says, so that a Settings built in a test
    or by a program never depends on the machine it runs on.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Field(
        default=Path("data"), description="Folder of bars, actions, quality reports and the catalog."
    )
    results_dir: Path = Field(default=Path("results"), description="Folder of backtests, studies and their pages.")
    experiments_dir: Path = Field(default=Path("experiments"), description="Folder of experiment YAML files.")
    studies_dir: Path = Field(default=Path("experiments/studies"), description="Folder of study YAML files.")
    study_storage: SecretStr | None = Field(
        default=None, description="PostgreSQL URL where studies keep their trials; without it a journal file each."
    )
    ledger_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL URL of the ledger of live trading; without it ledger.sqlite in the data folder.",
    )
    study_checks_file: Path | None = Field(
        default=None, description="YAML with the thresholds of the checks on studies."
    )
    source: Literal["sample", "files", "lean", "ib"] = Field(default="sample", description="Where bars come from.")
    files_spec: Path | None = Field(
        default=None, description="YAML that describes CSV or Parquet files (source files)."
    )
    lean_folder: Path | None = Field(default=None, description="A LEAN data folder (source lean).")
    universe_file: Path | None = Field(
        default=None, description="Text file, one symbol a line, # comments; without it the symbols the source lists."
    )
    calendar: str = Field(default="XNYS", description="Exchange calendar, a name of exchange_calendars.")
    quality_file: Path | None = Field(default=None, description="YAML with thresholds and severities of quality rules.")
    ranking_file: Path | None = Field(
        default=None, description="YAML with weights, full marks, gates and shortlist of the leaderboard."
    )
    parity_file: Path | None = Field(
        default=None, description="YAML with what a live session may differ from its backtest."
    )
    history_start: date = Field(default=date(1990, 1, 1), description="First exchange date that updates ask for.")
    overlap_sessions: int = Field(default=5, ge=0, description="Sessions that every update fetches again.")
    workers: int = Field(default=4, ge=1, description="Symbols worked on at the same time inside one run.")
    source_attempts: int = Field(default=3, ge=1, description="Tries for one symbol when a source fails in passing.")
    source_retry_seconds: float = Field(default=2.0, ge=0, description="Wait before the second try; doubles each time.")
    mlflow_uri: str = Field(  # may hold a password: neither shown nor checked here, where a refusal would quote it
        default="", repr=False, description="MLflow server or database; without it the store in the results folder."
    )

    ib_host: str = Field(default="127.0.0.1", description="Where TWS, IB Gateway or the simulator listens.")
    ib_port: int = Field(
        default=4002, ge=1, le=65_535, description="Its port: Gateway paper 4002, live 4001; TWS paper 7497, live 7496."
    )
    ib_client_id: int = Field(
        default=10, ge=0, description="Our number among its clients; downloads, checks and trading count up from it."
    )
    ib_account: str | None = Field(default=None, description="Account to trade; without it the login's only one.")
    ib_requests: int = Field(
        default=58,
        ge=2,
        description="Requests for history in ten minutes; IB allows 60, and slows down long bars only.",
    )
    ib_answer_seconds: float = Field(default=60.0, gt=0, description="How long IB may take for one page of history.")
    ib_reset: str = Field(
        default="23:45-00:45",
        description="When IB resets its servers, in New York: no orders, no alarms; `none` where nothing does.",
    )
    trading_mode: Literal["paper", "live"] = Field(
        default="paper", description="Whether orders may cost real money; an account that does not fit is refused."
    )

    simulator_url: str = Field(
        default="",
        description="Control API of a simulated gateway; the days that it replays are traded by its clock.",
    )
    alert_urls: SecretStr | None = Field(
        default=None, description="Where alarms go: addresses as apprise writes them, separated by spaces."
    )
    switch_url: SecretStr | None = Field(
        default=None, description="A dead man's switch: fetched while trading is alive."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only; see `load_settings`."""
        return (init_settings,)

    @model_validator(mode="after")
    def _source_has_its_place(self) -> Self:
        if self.source == "files" and self.files_spec is None:
            raise ValueError("source: 'files' needs BARLOOM_FILES_SPEC, the YAML that describes the files")
        if self.source == "lean" and self.lean_folder is None:
            raise ValueError("source: 'lean' needs BARLOOM_LEAN_FOLDER, the LEAN data folder")
        return self

    @property
    def ledger(self) -> str | Path:
        """Where the ledger is: a file in the data folder, or a URL, which may hold a password."""
        return self.data_dir / LEDGER_FILE if self.ledger_url is None else self.ledger_url.get_secret_value()


def load_settings(project: Path = Path(), environ: Mapping[str, str] | None = None) -> Settings:
    """Settings of a project folder: its `.env`, overruled by the environment.

    Raises:
        SettingsError: a `BARLOOM_` variable is unknown or its value cannot be used.
    """
    environment = os.environ if environ is None else environ
    given = {**dotenv_values(project / ENV_FILE), **environment}
    fields = {variable_of(name): name for name in Settings.model_fields}
    values = {
        name.upper(): value
        for name, value in given.items()
        if name.upper().startswith(PREFIX) or name.upper() in fields
    }
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise SettingsError(_unknown(unknown[0], list(fields)))
    try:
        return Settings.model_validate({fields[name]: value for name, value in values.items() if value})
    except ValidationError as error:
        raise SettingsError(_invalid(error.errors()[0])) from None


def with_source(settings: Settings, source: str) -> Settings:
    """The settings with another source, for one run.

    Raises:
        SettingsError: the source needs a setting that is not there.
    """
    try:
        return Settings.model_validate({**settings.model_dump(), "source": source})
    except ValidationError as error:
        raise SettingsError(_invalid(error.errors()[0])) from None


def variable_of(field: str) -> str:
    """The environment variable of a setting."""
    return OTHER_NAMES.get(field, f"{PREFIX}{field.upper()}")


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else f" The settings are {', '.join(known)}."
    return f"{name}: there is no such setting.{hint}"


def _invalid(error: Mapping[str, Any]) -> str:
    if not error["loc"]:
        return f"{error['msg'].removeprefix('Value error, ')}."
    name, reason = variable_of(str(error["loc"][0])), error["msg"]
    return f"{name}: {error['input']!r} is refused, {reason[0].lower()}{reason[1:]}."

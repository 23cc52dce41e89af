"""A project folder of its own for each test, with the production graph on the sample data."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from pipelines.resources import CalendarResource, default_resources
from pipelines.settings import Settings

FIVE = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


class FixedCalendar(CalendarResource):
    """The exchange on the evening of the sample's last session."""

    def now(self) -> datetime:
        """A moment after the close of 2013-03-01."""
        return datetime(2013, 3, 1, 23, tzinfo=UTC)


class Project:
    """Settings, graph and instance of one folder."""

    def __init__(self, folder, instance, **settings):
        fields = {f"{name}_dir": folder / name for name in ("data", "results", "experiments")}
        self.folder, self.instance = folder, instance
        self.settings = Settings(**{**fields, **settings})
        self.resources = {**default_resources(self.settings), "calendar": FixedCalendar()}
        self.rebuild()

    def rebuild(self):
        """The graph again, after `resources` were changed."""
        self.defs = build_defs(self.settings, resource_overrides=self.resources)

    @property
    def store(self):
        """The warehouse of the folder."""
        return self.resources["warehouse"].open()

    def latest(self, asset: str, partition: str) -> dg.AssetMaterialization:
        """The newest materialisation of one partition."""
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset.split("/")), asset_partitions=[partition])
        return self.instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization


@pytest.fixture
def project(tmp_path):
    """A fresh project on an ephemeral Dagster instance."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Project(tmp_path, instance)

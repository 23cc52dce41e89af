"""Backtests and studies in MLflow: what is tracked, where it is kept, how it gets there whatever fails.

Belongs here: everything that knows MLflow. Does not belong here: settings, Dagster, the terminal.

MLflow takes three seconds to load and is imported only where it is used; a tracking server is spoken to without it.
"""

from research.tracking.backtests import tracked_backtest
from research.tracking.errors import StoreUnreachableError, TrackingError
from research.tracking.outbox import PATIENCE, Outbox, SyncReport, Tracked, sync, track
from research.tracking.place import TrackingPlace, masked, tracking_place
from research.tracking.run import TrackedDataset, TrackedRun
from research.tracking.sending import SentRun, send
from research.tracking.store import Store, open_store
from research.tracking.studies import Children, tracked_study
from research.tracking.study_records import tracked_study_record
from research.tracking.ui import ui_command

__all__ = [
    "PATIENCE",
    "Children",
    "Outbox",
    "SentRun",
    "Store",
    "StoreUnreachableError",
    "SyncReport",
    "Tracked",
    "TrackedDataset",
    "TrackedRun",
    "TrackingError",
    "TrackingPlace",
    "masked",
    "open_store",
    "send",
    "sync",
    "track",
    "tracked_backtest",
    "tracked_study",
    "tracked_study_record",
    "tracking_place",
    "ui_command",
]

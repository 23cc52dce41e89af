"""What can go wrong around the graph.

Belongs here: exception types of `pipelines`. Does not belong here: errors of the domain packages.
"""


class PipelineError(Exception):
    """Base of every error that settings, runs and the command line raise on purpose; one sentence for a user."""


class SettingsError(PipelineError):
    """A setting is unknown or has a value that cannot be used."""


class RunFailedError(PipelineError):
    """A run ended without doing its work."""


class QualityGateError(PipelineError):
    """Bars that were not judged, or were judged unfit, were about to be used."""

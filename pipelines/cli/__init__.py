"""The `barloom` command line: words in, one domain call or one Dagster run, a table out.

Belongs here: parsing, progress, tables, exit codes. Does not belong here: anything that computes; every verb that
computes runs the same assets and jobs as the web UI, so that its run shows there.
"""

from pipelines.cli.app import main

__all__ = ["main"]

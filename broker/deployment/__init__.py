"""An experiment that is switched on for an account: when it runs, and what runs.

Belongs here: the rules of supervision and the trading of one session. Does not belong here: Dagster, settings, the
command line, storage.
"""

"""What runs as compiled code when a declared strategy is run: the rules of a bar, and the sums of a run's figures.

Belongs here: functions on plain arrays and records, compiling them ahead. Does not belong here: what calls them (see
`research.engine.kernel`), indicators (see `strategies.indicators`).

It imports numpy and numba alone, so that the process that compiles ahead begins to do so at once.
"""

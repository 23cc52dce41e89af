"""Where a ledger is kept when nothing else is said.

Belongs here: names that settings need, without any library. Does not belong here: URLs (see `database`).
"""

LEDGER_FILE = "ledger.sqlite"
"""The ledger's name in the data folder."""

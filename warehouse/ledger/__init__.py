"""The ledger of live trading: every decision, order, fill and figure, appended and never changed.

Belongs here: records of live trading, their storage in SQLite or PostgreSQL, the lock on an account. Does not belong
here: what the records mean for orders (see `broker.orders`) and limits (see `risk`); nothing here knows a broker.

Nothing is imported at once: SQL is heavy and most commands need none of it.
"""

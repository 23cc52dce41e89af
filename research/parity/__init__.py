"""A live session beside the backtest of its day: what differs, in money, and why.

Belongs here: replaying a session, pairing its orders with the backtest's, splitting the difference, the page. Does not
belong here: trading, Dagster, settings.
"""

"""The parts of the live broker.

Belongs here: orders on their way between Backtrader and a gateway. Does not belong here: the broker that a strategy
sees (see `broker.live_broker`), what is true at the broker (see `broker.orders`).
"""

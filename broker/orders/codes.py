"""What IB's error numbers say about an order.

Belongs here: numbers that come with an order's id. Does not belong here: numbers about the connection or data (see
`broker.ib`).
"""

WARNINGS = frozenset({399, 404, 2109, 10311, 10349})
"""The order lives: it waits for the open, for shares to borrow, or an attribute was ignored."""

CANCELLED = 202
"""The order was cancelled, by whomever; a status message says how much was filled before."""

REFUSALS = frozenset({201, 203, 10318})
"""A new order was not taken. On an order that works they may concern a change of it only."""

CANCEL_REFUSALS = frozenset({161, 10147, 10148})
"""A cancellation was not possible: the order may be filled, cancelled or unknown to the broker."""

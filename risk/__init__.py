"""Limits and the decision whether an order may go. Pure Python: no I/O, no Backtrader, no Dagster."""

"""Bars on disk: sources, raw batches, cleaning, quality rules, calendar and SQL catalog. No Dagster, no settings."""

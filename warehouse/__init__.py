"""Bars on disk: sources, raw batches, cleaning, quality rules, calendar and the SQL catalog. No Dagster, no settings."""

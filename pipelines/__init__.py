"""Dagster graph and command line: WHAT is computed, WHEN and from what. No domain logic lives here."""

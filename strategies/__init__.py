"""Backtrader strategies: base class, library, registry and parameter spaces. Knows risk words only, never files or Dagster."""

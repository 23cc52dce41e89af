"""Backtrader strategies: base class, library, registry and parameter spaces. Never files, never Dagster."""

"""The research lab: backtest engine, metrics, results and proofs. Domain code: no Dagster, no environment variables."""

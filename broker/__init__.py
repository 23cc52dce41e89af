"""Where barloom meets a broker: costs now, the Interactive Brokers session in `broker.ib`. No Dagster in here."""

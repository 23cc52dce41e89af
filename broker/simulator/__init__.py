"""A look-alike of TWS and IB Gateway that trades the warehouse's bars for simulated accounts.

Belongs here: the wire protocol as a server speaks it, the simulated market and account, faults on demand. Does not
belong here: our own client of a gateway (see `broker.ib`), settings, the command line. It is a simulation, never a
market.
"""

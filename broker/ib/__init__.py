"""Our side of a gateway of Interactive Brokers: the session, contracts, history.

Belongs here: talking to TWS or IB Gateway, real or simulated, in types of our own. Does not belong here: Backtrader
(see `broker.store`), order bookkeeping (see `broker.orders`), the simulator. One module, `wire`, knows the client
library.
"""

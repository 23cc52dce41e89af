"""Our own account of orders, fills and positions, kept from the raw messages of a gateway.

Belongs here: pure bookkeeping; time is passed in, nothing is sent or read. Does not belong here: the gateway (see
`broker.ib`), Backtrader (see `broker.live_broker`), storage (the ledger keeps what `changes` describes).
"""

"""Where bars come from: one small protocol, one module a vendor.

Belongs here: the protocol and the request and answer types. Does not belong here: cleaning, storage, calendars.
"""

from warehouse.sources.protocol import BarRequest, BarSource, PagedSource, VendorBars

__all__ = ["BarRequest", "BarSource", "PagedSource", "VendorBars"]

"""Giving memory that nobody uses back to the system, between the parts of a long run.

Belongs here: asking the allocators to let go. Does not belong here: who holds what.

Freed memory stays with its allocator: Arrow's pool keeps what decoding Parquet took, and the C library keeps a freed
column on its heap once it has seen one of that size. What comes next is of other sizes and takes new memory beside it.
"""

import ctypes
import sys

import pyarrow as pa

_MANY = 100_000  # bars: a column of them is a megabyte


def give_back(bars: int) -> None:
    """Return unused memory to the system; changes nothing that can be read.

    It takes up to five milliseconds. Of less than 100,000 bars there is nothing to give back that would be worth it.
    """
    if bars < _MANY:
        return
    pa.default_memory_pool().release_unused()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
        if trim is not None:
            trim(ctypes.c_size_t(0))

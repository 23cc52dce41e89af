"""Processes of this machine that run trials.

Belongs here: starting them, and ending them whatever happens. Does not belong here: what they run (see `grid`), other
machines.
"""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def local_workers(count: int) -> Iterator[Executor]:
    """An executor of `count` processes, which are gone afterwards; at once when the block is left by an exception.

    The processes are new ones, not forks: a fork inherits locks that threads of Arrow or DuckDB hold.
    """
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, mp_context=context)
    try:
        with _interrupts_ignored():
            pool.submit(int)  # starts the processes
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A Ctrl-C at the terminal reaches every process; those started in here leave it to the one that started them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

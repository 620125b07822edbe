"""Errands in other processes, each answered as it is done; Ctrl-C ends them all."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def in_processes(do: Callable[..., Answer], errands: Sequence[tuple[Any, ...]], processes: int) -> Iterator[tuple[int, Answer]]:
    """The number and the answer of each errand, in the order in which they are done.

    Where a process cannot be started, or dies (for want of memory, say), the errands that are left have no answer.
    """
    running: dict[Future[Answer], int] = {}
    try:
        with ProcessPoolExecutor(min(processes, len(errands)), _context(), initializer=_leave_interrupts) as pool:
            try:
                running = {pool.submit(do, *errand): number for number, errand in enumerate(errands)}
                for done in as_completed(running):
                    yield running[done], done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():
                    child.terminate()
                raise
    except (BrokenProcessPool, OSError):
        return


def _context() -> Any:
    """Copies of this process where that is safe: they need not import anything again."""
    forks = sys.platform == "linux" and threading.active_count() == 1
    return multiprocessing.get_context("fork" if forks else "spawn")


def _leave_interrupts() -> None:
    """Ctrl-C goes to every process of the terminal; the first one tells the others."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)

"""Work in a thread of its own, of which for each key only the newest is done."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

STACK = 64 << 20
"""Bytes of the thread's stack: what the main thread of a process has is not enough everywhere for code that is deeply nested."""
PAUSE = 1.0
"""Seconds without an errand after which the collector of garbage may run; it takes as long as a small errand."""
MOST_BETWEEN = 50
"""Errands after which it runs in any case."""

Errand = TypeVar("Errand")


class NewestFirst(Generic[Errand]):
    """Calls `do` with errands, one at a time, the one that was asked for last first. `do` must not raise.

    `join` makes one errand of one that still waits and a newer one with the same key. Garbage is collected in between.
    """

    def __init__(self, do: Callable[[Errand], None], join: Callable[[Errand, Errand], Errand]) -> None:
        self._do = do
        self._join = join
        self._waiting: OrderedDict[Hashable, Errand] = OrderedDict()
        self._changed = threading.Condition()
        self._ended = False

    def start(self) -> None:
        """Begin; the thread ends with the process."""
        before = threading.stack_size(STACK)
        threading.Thread(target=self._run, name="evallint", daemon=True).start()
        threading.stack_size(before)

    def ask(self, key: Hashable, errand: Errand, *, last: bool = False) -> None:
        """Have an errand done; `last`, after all others."""
        with self._changed:
            waiting = self._waiting.pop(key, None)
            self._waiting[key] = errand if waiting is None else self._join(waiting, errand)
            self._waiting.move_to_end(key, last=not last)
            self._changed.notify()

    def drop(self, key: Hashable) -> None:
        """Have the errand with this key not done, if it still waits."""
        with self._changed:
            self._waiting.pop(key, None)

    def stop(self) -> None:
        """Begin no errand any more."""
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify()

    def _run(self) -> None:
        gc.disable()
        since = 0
        while True:
            with self._changed:
                paused = not self._changed.wait_for(lambda: self._waiting or self._ended, PAUSE if since else None)
                if self._ended:
                    return
                errand = None if paused else self._waiting.popitem()[1]
            if errand is None or since == MOST_BETWEEN:
                gc.collect()
                since = 0
            if errand is not None:
                self._do(errand)
                since += 1

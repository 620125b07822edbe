"""What a process that goes on keeps for itself: entries, event trees and the events of functions, those that were used last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from evallint.cache.store import Keeper
from evallint.events import Event

MOST_BYTES = 32 << 20
MOST_CHARACTERS = 2 << 20
"""Of the code whose trees are kept (some 80 bytes for each), and of the programs whose steps are (some 30 bytes)."""

Kept = TypeVar("Kept")


class Latest(Generic[Kept]):
    """A table whose entries have sizes; those that were not asked for the longest go when it is full."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._entries: OrderedDict[Hashable, tuple[int, Kept]] = OrderedDict()

    def copy(self) -> Latest[Kept]:
        """Another table with the same entries."""
        other: Latest[Kept] = Latest(self._most)
        other._entries, other._size = self._entries.copy(), self._size
        return other

    def get(self, key: Hashable) -> Kept | None:
        """What was put under `key`, or None."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][1]

    def put(self, key: Hashable, value: Kept, size: int) -> None:
        """Keep a value."""
        if key in self._entries:
            self._size -= self._entries.pop(key)[0]
        self._entries[key] = (size, value)
        self._size += size
        while self._size > self._most and len(self._entries) > 1:
            self._size -= self._entries.popitem(last=False)[1][0]


class Memory:
    """A store for as long as the process lives: of entries, as others keep them, and of what they would have to be made into again.

    What it does not have itself may be `below`, where nothing is put.
    """

    def __init__(self, below: Keeper | None = None) -> None:
        self._below = below
        self._entries: Latest[bytes] = Latest(MOST_BYTES)
        self.files: Latest[Any] = Latest(MOST_CHARACTERS)
        """Of a file, the pieces of its last text, as `syntax.pieces` tells them."""
        self.bodies: Latest[tuple[int, tuple[Event, ...]]] = Latest(MOST_CHARACTERS)
        self.steps: Latest[Any] = Latest(MOST_CHARACTERS)
        """Of a program, the steps of its last analysis, as `meaning.replaying` tells them."""

    def get(self, key: str) -> bytes | None:
        """What was put under `key`, or None."""
        found = self._entries.get(key)
        return found if found is not None or self._below is None else self._below.get(key)

    def branch(self) -> Memory:
        """A store that begins with all that this one has, of which this one will not know what else becomes of it."""
        other = Memory(self)
        other.files, other.bodies, other.steps = self.files.copy(), self.bodies.copy(), self.steps.copy()
        return other

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`."""
        self._entries.put(key, data, len(data))

    def prune(self) -> int:
        """Does nothing: there is never too much."""
        return 0

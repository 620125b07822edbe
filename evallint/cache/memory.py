"""What a process that goes on keeps for itself: entries, event trees and the events of functions, those that were used last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from evallint.events import Event, Pieces

MOST_BYTES = 32 << 20
MOST_CHARACTERS = 2 << 20
"""Of the code whose trees are kept."""
MOST_ANALYSED = 1 << 19
"""Characters of the programs of which it is kept what each step of their analysis did: some 100 bytes for each."""

Kept = TypeVar("Kept")


class Latest(Generic[Kept]):
    """A table whose entries have sizes; those that were not asked for the longest go when it is full."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._entries: OrderedDict[Hashable, tuple[int, Kept]] = OrderedDict()

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
    """A store for as long as the process lives: of entries, as others keep them, and of what they would have to be made into again."""

    def __init__(self) -> None:
        self._entries: Latest[bytes] = Latest(MOST_BYTES)
        self.files: Latest[Pieces] = Latest(MOST_CHARACTERS)
        self.bodies: Latest[tuple[int, tuple[Event, ...]]] = Latest(MOST_CHARACTERS)
        self.steps: Latest[Any] = Latest(MOST_ANALYSED)
        """Of a program, the steps of its last analysis, as `meaning.replaying` tells them."""

    def get(self, key: str) -> bytes | None:
        """What was put under `key`, or None."""
        return self._entries.get(key)

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`."""
        self._entries.put(key, data, len(data))

    def prune(self) -> int:
        """Does nothing: there is never too much."""
        return 0

"""A line on the terminal that says what takes so long."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TextIO

PATIENCE = 1.0
"""Seconds before the line appears."""


class Progress:
    """A context manager; `say` sets the text, which is drawn only on a terminal, and only after `PATIENCE` seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._drawn = False
        self._start = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True) if stream.isatty() else None

    def say(self, text: str) -> None:
        """What goes on now, in a few words."""
        self._text = text

    def __enter__(self) -> Progress:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _draw(self) -> None:
        wait = PATIENCE
        while not self._done.wait(wait):
            wait = 0.2
            self._drawn = True
            self._stream.write(f"\r\x1b[Kevallint: {self._text} … {time.monotonic() - self._start:.0f} s")
            self._stream.flush()

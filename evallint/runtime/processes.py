"""How many child processes a program starts: what runs there is not seen."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any


class Processes:
    """Counts them while it is installed."""

    def __init__(self) -> None:
        self.workers = 0
        """Workers of data loaders."""
        self.others = 0
        self._undo: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to count."""
        stock = BaseProcess.start

        def start(process: Any) -> None:
            target = getattr(process, "_target", None)
            if getattr(target, "__module__", "").startswith("torch.utils.data"):
                self.workers += 1
            else:
                self.others += 1
            stock(process)

        def undo() -> None:
            if BaseProcess.start is start:
                setattr(BaseProcess, "start", stock)  # noqa: B010

        setattr(BaseProcess, "start", start)  # noqa: B010
        self._undo = undo

    def stop(self) -> None:
        """Count no longer."""
        if self._undo is not None:
            self._undo()
            self._undo = None

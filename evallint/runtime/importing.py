"""Do something right after the program's own `import torch`: importing it earlier would freeze what the program sets for it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


class After(importlib.abc.MetaPathFinder):
    """Calls `then` once the module `name` has been imported, at once if it is there already."""

    def __init__(self, name: str, then: Callable[[], object]) -> None:
        self.name = name
        self.then = then
        if name in sys.modules:
            then()
        else:
            sys.meta_path.insert(0, self)

    def cancel(self) -> None:
        """Wait no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec that the others find, with a loader that tells of the end."""
        if fullname != self.name:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: importlib.machinery.ModuleSpec | None = None if finder is self or find is None else find(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Told(spec.loader, self)  # type: ignore[assignment]
                return spec
        return None


class _Told:
    """The loader that was found, and a word when it has run."""

    def __init__(self, loader: Any, after: After) -> None:
        self._loader = loader
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As the loader does."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """As the loader does; then the word. The module keeps no trace."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._after.cancel()
        self._after.then()

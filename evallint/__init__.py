"""evallint: finds the PyTorch bugs that raise no error. The public API is what `__all__` names; everything else may change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evallint.finding import Finding
    from evallint.linting import Report, lint_paths, lint_source
    from evallint.runtime.watching import watch
    from evallint.settings import Settings

__version__ = "0.1.0"
__all__ = ["Finding", "Report", "Settings", "__version__", "lint_paths", "lint_source", "watch"]

_HOMES = {
    "Finding": "evallint.finding",
    "Report": "evallint.linting",
    "Settings": "evallint.settings",
    "lint_paths": "evallint.linting",
    "lint_source": "evallint.linting",
    "watch": "evallint.runtime.watching",
}


def __getattr__(name: str) -> Any:
    # lazy, so that `evallint --version` and a flake8 run over code without PyTorch pay for nothing
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

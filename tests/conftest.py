"""What holds for all tests: which files begin first, and that the programs that they start can be interrupted."""

from __future__ import annotations

import signal

import pytest

LONGEST = ("test_runtime_programs.py", "test_runtime_cli.py", "test_runtime_code.py", "test_fixed_programs.py", "test_equivalent_code.py")


def pytest_configure() -> None:
    """Listen to interrupts again where a shell has started pytest in the background: programs would inherit that they are ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, in the order of `LONGEST`: with two workers, one that is left to the end is waited for."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))

"""Which files of tests begin first: with two workers, a long one that is left to the end is waited for."""

from __future__ import annotations

import pytest

LONGEST = ("test_runtime_programs.py", "test_runtime_cli.py", "test_runtime_code.py", "test_fixed_programs.py", "test_equivalent_code.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, in the order of `LONGEST`; all else stays as it is."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))

"""Amounts, as reports say them."""

from __future__ import annotations


def some(rows: list[str], most: int, noun: str = "") -> str:
    """The first of some, and how many more there are."""
    return ", ".join(rows[:most]) + (f" and {len(rows) - most} more{noun}" if len(rows) > most else "")


def percent(share: float) -> str:
    """A share, or how many times as much."""
    return "infinitely" if share == float("inf") else f"{100 * share:.3g} %"


def size(number: int) -> str:
    """Bytes in a unit that fits."""
    size = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    raise AssertionError


def many(count: int, one: str, more: str = "") -> str:
    """A count and its noun."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def of_calls(part: int, whole: int) -> str:
    """Some of the calls."""
    return "the only call" if whole == 1 else f"{part:,} of {whole:,} calls"


def all_calls(calls: int) -> str:
    """All of them."""
    return "the only call" if calls == 1 else f"all {calls:,} calls"

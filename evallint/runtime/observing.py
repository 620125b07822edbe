"""Records to plain observations: code objects and offsets become places, and nothing refers to a model any longer."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, field
from types import CodeType
from typing import TYPE_CHECKING, Any

from evallint.finding import Place
from evallint.runtime.records import Record, Sites, Switch

if TYPE_CHECKING:
    from evallint.runtime.watcher import Watcher


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a frame of the user's stood: the place of its call, and the function that it is in."""

    place: Place
    function: str


@dataclass(slots=True)
class Seen:
    """A record with the spots of its frames, innermost first."""

    record: Record
    spots: tuple[Spot, ...]


@dataclass(slots=True)
class Turned:
    """A mode switch with the spots of its frames, innermost first."""

    switch: Switch
    spots: tuple[Spot, ...]


@dataclass(slots=True)
class Observations:
    """All that one process showed."""

    calls: list[Seen] = field(default_factory=list)
    turns: list[Turned] = field(default_factory=list)
    compiled: list[tuple[str, int, int]] = field(default_factory=list)
    """Functions that `torch.compile` has compiled: path, first and last line."""
    looked_for: frozenset[Any] = frozenset()
    """The keys of the findings that were looked at while the program ran."""
    processes: int = 0
    workers: int = 0
    ranks: int = 1


def observations(watcher: Watcher) -> Observations:
    """What the watcher has counted so far."""
    spots: dict[tuple[int, int], Spot] = {}

    def placed(sites: Sites) -> tuple[Spot, ...]:
        found = []
        for at in range(0, len(sites), 2):
            key = (sites[at], sites[at + 1])
            if key not in spots:
                spots[key] = _spot(watcher.codes.users[key[0]], key[1])
            found.append(spots[key])
        return tuple(found)

    return Observations(
        calls=[Seen(record, placed(record.sites)) for record in list(watcher.records.values())],
        turns=[Turned(switch, placed(switch.sites)) for switch in list(watcher.training.switches.values())],
        compiled=compiled_functions(),
        looked_for=frozenset(claim.key for claim in watcher.claims),
        processes=watcher.processes.others,
        workers=watcher.processes.workers,
    )


def _spot(code: CodeType, offset: int) -> Spot:
    name = getattr(code, "co_qualname", code.co_name)
    line, end, column, end_column = position(code, offset)
    return Spot(Place(code.co_filename, line, column, end, end_column), name)


def position(code: CodeType, offset: int) -> tuple[int, int, int, int]:
    """Line, end line, column and end column of an instruction, 1-based; before Python 3.11 columns are unknown and read 1."""
    if sys.version_info >= (3, 11):
        for at, (line, end, column, end_column) in enumerate(code.co_positions()):
            if at == offset // 2 and line is not None:
                return line, end or line, _characters(code, line, column) + 1, _characters(code, end or line, end_column) + 1
    line = code.co_firstlineno
    for first, last, number in code.co_lines():
        if first <= offset < last and number is not None:
            line = number
    return line, line, 1, 1


def _characters(code: CodeType, line: int, column: int | None) -> int:
    """Python counts columns in bytes of UTF-8, evallint in characters."""
    import linecache

    text = linecache.getline(code.co_filename, line)
    return len(text.encode()[: column or 0].decode(errors="ignore")) if not text.isascii() else column or 0


def compiled_functions() -> list[tuple[str, int, int]]:
    """The functions that dynamo has compiled in this process."""
    convert = sys.modules.get("torch._dynamo.convert_frame")
    found: list[tuple[str, int, int]] = []
    try:
        for reference in convert.input_codes.seen if convert else ():
            code = reference()
            if isinstance(code, CodeType):
                lines = [line for _, _, line in code.co_lines() if line]
                found.append((code.co_filename, code.co_firstlineno, max(lines, default=code.co_firstlineno)))
    except Exception:  # a private table of torch's, whose form may change: less is known then
        pass
    return found


def environment(watcher: Watcher | None, **more: Any) -> dict[str, Any]:
    """What the observations were made with."""
    from evallint import __version__

    torch = sys.modules.get("torch")
    found: dict[str, Any] = {
        "evallint": __version__,
        "python": platform.python_version(),
        "platform": sys.platform,
        "torch": getattr(torch, "__version__", None),
        **more,
    }
    if watcher is not None:
        found |= {
            "seconds": round(watcher.seconds, 3),
            "forward_calls": sum(r.calls for r in watcher.records.values()),
            "training_steps": watcher.clock.steps,
            "child_processes": watcher.processes.others,
            "loader_workers": watcher.processes.workers,
        }
        if watcher.forgotten:
            found["forgotten_calls"] = watcher.forgotten
        if watcher.errors:
            found["errors"] = dict(watcher.errors)
    return found

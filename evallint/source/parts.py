"""The parts of a program: files that imports connect. What is in none of its imports' reach cannot touch a model there.

Each part is analysed by itself: that is less to look at, some can be done at the same time, and a change in one leaves the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evallint.modules import Modules, connected
from evallint.source.file import Source
from evallint.source.imports import ALL, imports_in


def parts(sources: Sequence[Source], libraries: frozenset[str]) -> list[list[Source]]:
    """The sources in groups that no import connects, in the order of their first files, but for groups in which nothing is reported.

    `libraries` are the names of packages outside the program. A package's modules belong together: what lies in it decides what
    names mean there.
    """
    modules = Modules((source.path for source in sources), libraries)
    leader = connected((source.path for source in sources), _links(sources, modules))
    groups: dict[str, list[Source]] = {}
    for source in sources:
        groups.setdefault(leader[source.path], []).append(source)
    return [group for group in groups.values() if not all(source.context or source.helper for source in group)]


def _links(sources: Sequence[Source], modules: Modules) -> Iterator[tuple[str, str | None]]:
    """For each file its package, and what it imports."""
    for source in sources:
        yield source.path, modules.find(source.path, "", 1)
        for one in imports_in(source.text.encode("utf-8", "surrogatepass")):
            for dotted in (one.module, *(f"{one.module}.{name}" for name in one.names - ALL)):
                yield source.path, modules.find(source.path, dotted, one.level)

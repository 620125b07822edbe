"""Parts of programs to raw findings: known from an earlier run, worked out here, or in other processes."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b

from evallint.cache.store import Keeper, NoStore, Store
from evallint.finding import Finding
from evallint.settings import Settings
from evallint.source.file import Source
from evallint.source.reading import unreadable

WORTH_A_PROCESS = 200_000
"""Characters of code from which on a second process pays for its start."""
CHUNK = 100_000
"""Characters that one errand of a process has at least."""


@dataclass(frozen=True, slots=True)
class Work:
    """A part of a program, to be analysed by itself."""

    sources: Sequence[Source]
    settings: Settings

    @property
    def size(self) -> int:
        """The characters of its code."""
        return sum(len(source.text) for source in self.sources)

    def key(self) -> str:
        """What its findings are kept under: a digest of all that they depend on."""
        digest = blake2b(repr(("part", self.settings.asked())).encode("utf-8", "surrogatepass"), digest_size=20)
        for source in self.sources:
            digest.update(
                repr((source.path, source.context, source.helper, source.imported, len(source.text))).encode("utf-8", "surrogatepass")
            )
            digest.update(source.text.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def findings_of(sources: Sequence[Source], settings: Settings, cache: Keeper | None = None) -> list[Finding]:
    """The raw findings of one part; if the analysis itself fails, of each file alone, so that one file cannot take down the run."""
    from evallint.analysis import analyse  # imports libcst

    with _without_collector():
        if os.environ.get("EVALLINT_DEBUG"):
            return analyse(sources, settings, cache)
        try:
            return analyse(sources, settings, cache)
        except Exception as error:
            if len(sources) == 1:
                said = f"{type(error).__name__}: {error}".split("\n")[0][:200]
                return [unreadable(sources[0].path, f"evallint itself failed on this file ({said}); please report it")]
    return [finding for source in sources if not source.context for finding in findings_of([source], settings, cache)]


@contextmanager
def _without_collector() -> Iterator[None]:
    """Trees are large, live until the end and hold no circles: to look for some again and again takes a third of the time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def answers(works: Sequence[Work], jobs: int, cache: Keeper, tell: Callable[[int], None]) -> list[list[Finding]]:
    """The raw findings of each part, in the order of `works`; `tell` is told how many are done."""
    found: dict[int, list[Finding]] = {}
    keys: dict[int, str] = {}
    if not isinstance(cache, NoStore):
        for number, work in enumerate(works):
            keys[number] = work.key()
            known = kept_findings(cache.get(keys[number]))
            if known is not None:
                found[number] = known
    sizes = [work.size for work in works]
    missing = sorted((n for n in range(len(works)) if n not in found), key=lambda n: (-sizes[n], n))

    def take(number: int, rows: list[Finding]) -> None:
        found[number] = rows
        if number in keys:
            keep_findings(cache, keys[number], rows)
        tell(len(found))

    processes = min(jobs or _cores(), len(missing))
    if processes > 1 and sum(sizes[n] for n in missing) - sizes[missing[0]] >= WORTH_A_PROCESS:
        from evallint.processes import in_processes

        chunks: list[list[int]] = [[]]
        for number in missing:
            if sum(sizes[n] for n in chunks[-1]) >= CHUNK:
                chunks.append([])
            chunks[-1].append(number)
        folder = cache.folder if isinstance(cache, Store) else None
        for chunk, rows in in_processes(findings_of_works, [(tuple(works[n] for n in c), folder) for c in chunks], processes):
            for number, each in zip(chunks[chunk], rows, strict=True):
                take(number, each)
    for number in missing:
        if number not in found:
            take(number, findings_of(works[number].sources, works[number].settings, cache))
    return [found[number] for number in range(len(works))]


def keep_findings(cache: Keeper, key: str, findings: Sequence[Finding]) -> None:
    """Keep findings in the cache, if it can hold what they say."""
    from evallint.cache import codec

    with suppress(ValueError):
        cache.put(key, codec.encode_findings(findings))


def kept_findings(kept: bytes | None) -> list[Finding] | None:
    """Findings as the cache had them; None if it had none."""
    if kept is None:
        return None
    from evallint.cache import codec

    try:
        return codec.decode_findings(kept)
    except ValueError:
        return None


def findings_of_works(works: Sequence[Work], folder: str | None) -> list[list[Finding]]:
    """What a process does of its own: the raw findings of some parts, with the cache in `folder`."""
    cache: Keeper = Store(folder) if folder is not None else NoStore()
    return [findings_of(work.sources, work.settings, cache) for work in works]


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Whole runs


@dataclass(frozen=True, slots=True)
class KnownRun:
    """What a run found out: the files that it parsed, and the raw findings of each of its settings."""

    parsed: int
    findings: list[list[Finding]]


def known_run(cache: Keeper, key: str, count: int) -> KnownRun | None:
    """What a run with this key found out, with `count` different settings; None if that is not kept."""
    kept = cache.get(key)
    if kept is None:
        return None
    try:
        parsed, *sizes = json.loads(kept[: kept.index(b"\n")])
        rest = kept[kept.index(b"\n") + 1 :]
        rows: list[list[Finding]] = []
        for size in sizes:
            some = kept_findings(rest[:size])
            if some is None:
                return None
            rows.append(some)
            rest = rest[size:]
        return KnownRun(int(parsed), rows) if len(rows) == count else None
    except (ValueError, TypeError):
        return None


def remember_run(cache: Keeper, key: str, parsed: int, findings: Sequence[Sequence[Finding]]) -> None:
    """Keep what a run found out."""
    from evallint.cache import codec

    with suppress(ValueError):
        rows = [codec.encode_findings(some) for some in findings]
        cache.put(key, json.dumps([parsed, *map(len, rows)]).encode() + b"\n" + b"".join(rows))

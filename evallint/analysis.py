"""Sources to findings: the one road through the analysis, whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b

from evallint.cache.store import Keeper, NoStore
from evallint.events import File
from evallint.finding import Finding
from evallint.meaning.libraries import extended
from evallint.meaning.program import Program
from evallint.meaning.project import Project
from evallint.rules.base import ordered
from evallint.rules.registry import rules
from evallint.settings import Settings
from evallint.source.file import Source
from evallint.source.reading import unreadable
from evallint.syntax.visitor import Unparsable, lower_file


def analyse(sources: Sequence[Source], settings: Settings, cache: Keeper | None = None) -> list[Finding]:
    """Lint `sources` as one program: every rule's findings, unfiltered (no `noqa`, no selection), and EVL900 for what cannot be parsed.

    `cache` keeps the event trees of files.
    """
    files = []
    findings: list[Finding] = []
    for source in sources:
        try:
            files.append(replace(_lowered(source, cache), context=source.helper, imported=source.imported))
        except Unparsable as e:
            if source.context or source.helper:
                continue
            findings.append(unreadable(source.path, f"cannot parse the file: {e.reason}", e.line, e.column))
    libraries = extended(settings.knowledge())
    facts = Program(Project(files, libraries, settings.extend_models, settings.evaluation_functions)).analyse()
    context = {source.path for source in sources if source.context}
    for rule in rules():
        findings += rule.check(facts)
    return ordered(f for f in findings if f.place.path not in context)


def _lowered(source: Source, cache: Keeper | None) -> File:
    """The event tree of a file, as it is kept or made anew. Raises Unparsable."""
    if cache is None or isinstance(cache, NoStore):
        return lower_file(source.path, source.text)
    from evallint.cache import codec

    text = source.text.encode("utf-8", "surrogatepass")
    key = blake2b(b"tree\0" + source.path.encode("utf-8", "surrogateescape") + b"\0" + text, digest_size=20).hexdigest()
    kept = cache.get(key)
    if kept is not None:
        with suppress(ValueError):
            return codec.decode(kept)
    file = lower_file(source.path, source.text)
    with suppress(ValueError):
        cache.put(key, codec.encode(file))
    return file

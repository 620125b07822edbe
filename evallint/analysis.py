"""Sources to findings: the one road through the analysis, whoever asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b

from evallint.cache.memory import Memory
from evallint.cache.store import Keeper, NoStore
from evallint.events import File
from evallint.finding import Finding
from evallint.meaning.libraries import extended
from evallint.meaning.program import Program
from evallint.meaning.project import Project
from evallint.meaning.replaying import Replaying, Steps
from evallint.rules.base import ordered
from evallint.rules.registry import rules
from evallint.settings import Settings
from evallint.source.comments import comment_at
from evallint.source.file import Source
from evallint.source.noqa import split_lines
from evallint.source.reading import unreadable
from evallint.syntax.bodies import Unparsable
from evallint.syntax.pieces import Pieces, in_pieces
from evallint.syntax.visitor import attach, lower_file


def analyse(sources: Sequence[Source], settings: Settings, cache: Keeper | None = None) -> list[Finding]:
    """Lint `sources` as one program: every rule's findings, unfiltered (no `noqa`, no selection), and EVL900 for what cannot be parsed.

    `cache` keeps the event trees of files.
    """
    trees: list[Tree] = []
    findings: list[Finding] = []
    for source in sources:
        try:
            trees.append(Tree(source, cache))
        except Unparsable as e:
            if source.context or source.helper:
                continue
            findings.append(unreadable(source.path, f"cannot parse the file: {e.reason}", e.line, e.column))
    files = [replace(tree.file, context=tree.source.helper, imported=tree.source.imported) for tree in trees]
    libraries = extended(settings.knowledge())
    project = Project(files, libraries, settings.extend_models, settings.evaluation_functions)
    facts = program(project, trees, settings, cache).analyse()
    for tree in trees:
        tree.keep()
        if tree.failure is not None and not tree.source.helper:
            reason, line, column = tree.failure
            findings.append(unreadable(tree.source.path, f"cannot parse the file: {reason}", line, column))
    lapsing = {lapse.path for lapse in facts.lapses}
    lines = {tree.source.path: split_lines(tree.source.text) for tree in trees if tree.source.path in lapsing}
    for lapse in facts.lapses:
        lapse.comment = comment_at(lines[lapse.path], lapse.span[0], lapse.span[2])
    context = {source.path for source in sources if source.context}
    for rule in rules():
        findings += rule.check(facts)
    return ordered(f for f in findings if f.place.path not in context)


def program(project: Project, trees: Sequence[Tree], settings: Settings, cache: Keeper | None) -> Program:
    """The analysis of a project, which in memory takes up what the last one of these files left."""
    if not isinstance(cache, Memory):
        return Program(project)
    key = settings, tuple(project.files)
    known: Steps | None = cache.steps.get(key)
    steps = Steps(dict(known.taken) if known is not None else {})  # another branch may go on from what is known
    cache.steps.put(key, steps, sum(len(tree.source.text) for tree in trees))
    return Replaying(project, steps, {number: above for tree in trees for number, above in tree.starts.items()})


class Tree:
    """The event tree of a file, as it is kept or made anew; functions that nobody asks for stay unread. Raises Unparsable."""

    def __init__(self, source: Source, cache: Keeper | None) -> None:
        self.source = source
        self._cache = None if cache is None or isinstance(cache, NoStore) else cache
        self._key = ""
        self._pieces: Pieces | None = None
        kept = None
        if self._cache is not None:
            if isinstance(self._cache, Memory):
                self._pieces = self._remembered(self._cache)
                self.file = self._pieces.file
                return
            about = blake2b(b"tree\0" + source.path.encode("utf-8", "surrogateescape") + b"\0", digest_size=20)
            about.update(source.text.encode("utf-8", "surrogatepass"))
            self._key = about.hexdigest()
            kept = self._cache.get(self._key)
        self.file = _decoded(kept, source.text) or lower_file(source.path, source.text)
        self._unread = self._count() if kept is not None else -1

    @property
    def failure(self) -> tuple[str, int, int] | None:
        """Why the body of some function could not be read, and where."""
        if self._pieces is not None:
            return self._pieces.failure
        return next((f.reader.failure for f in self.file.functions if f.reader is not None and f.reader.failure), None)

    @property
    def starts(self) -> Mapping[int, int]:
        """For the number of each piece of the file, how many lines are above it; none for what is no piece."""
        return self._pieces.starts if self._pieces is not None else {}

    def _remembered(self, memory: Memory) -> Pieces:
        """The tree as it is in memory, with what has been read of it."""
        pieces = in_pieces(self.source.path, self.source.text, memory.files.get(self.source.path), memory.bodies)
        memory.files.put(self.source.path, pieces, len(self.source.text))
        return pieces

    def keep(self) -> None:
        """Keep the tree, if more of it has been read than is kept; not one that is broken, which is to be told again."""
        if self._cache is None or isinstance(self._cache, Memory):
            return  # what is in memory is there as it is
        if self.failure is None and self._count() != self._unread:
            from evallint.cache import codec

            with suppress(ValueError):
                self._cache.put(self._key, codec.encode(self.file))

    def _count(self) -> int:
        return sum(f.unread for f in self.file.functions)


def _decoded(kept: bytes | None, text: str) -> File | None:
    """The tree of a file of which `kept` is in the cache."""
    if kept is None:
        return None
    from evallint.cache import codec

    try:
        file = codec.decode(kept)
    except ValueError:
        return None
    attach(file, text)
    return file

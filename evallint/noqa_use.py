"""Which `# noqa` comments of a run silence nothing (EVL910): what was found, held against the comments of every file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from evallint.finding import Finding
from evallint.rules.registry import RULES
from evallint.settings import Settings
from evallint.source.patterns import ignored_codes
from evallint.source.reading import UNREADABLE
from evallint.source.unused_noqa import UNUSED, unused_noqa

_CODES = (*RULES, UNREADABLE[0])


def unused_in_text(path: str, text: str, found: Sequence[Finding], settings: Settings) -> list[Finding]:
    """The EVL910 findings of one file; `found` is all that was found in it, before anything is silenced or selected."""
    silenced = ignored_codes(settings, path)
    if not settings.selects(UNUSED[0]) or not settings.shows("high", "warning") or UNUSED[0].startswith(silenced):
        return []

    def judged(prefix: str) -> bool:
        return all(settings.selects(code) and not code.startswith(silenced) for code in _CODES if code.startswith(prefix))

    return unused_noqa(path, text, found, judged)


def unused_in_texts(texts: Mapping[str, str], found: Iterable[Finding], settings: Settings) -> Iterator[Finding]:
    """The EVL910 findings of files (path to text) that have the same settings; `found` is all that was found in them."""
    by_path: dict[str, list[Finding]] = {}
    for finding in found:
        by_path.setdefault(finding.place.path, []).append(finding)
    for path, text in texts.items():
        yield from unused_in_text(path, text, by_path.get(path, ()), settings)

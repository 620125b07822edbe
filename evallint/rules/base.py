"""What a rule is: one class a file, whose docstring is its page and whose examples are its tests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from evallint.finding import Finding

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class Rule(ABC):
    """A check over facts.

    The docstring of a subclass is its page (Markdown, shown by `evallint rule CODE`). `VALID` examples must be silent; each
    line of an `INVALID` example that carries `# CODE: COLUMN` must be reported at that column, and no other line may be.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    summary: ClassVar[str]
    VALID: ClassVar[tuple[str, ...]] = ()
    INVALID: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def check(self, facts: Facts) -> Iterator[Finding]:
        """Yield this rule's findings for one program's facts."""


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Findings without repetitions, in reporting order."""
    return sorted(set(findings), key=Finding.sort_key)

"""What an editor offers to do about findings, as edits of a text."""

from __future__ import annotations

from collections.abc import Iterable

from evallint.finding import Edit, Finding, Fix
from evallint.rules import registry


def title(finding: Finding, fix: Fix) -> str:
    """What a fix does, in a few words."""
    texts = [edit.text.strip() for edit in fix.edits if edit.text.strip()]
    alone = len(fix.edits) == 1 and len(texts) == 1 and "\n" not in texts[0]
    edit = fix.edits[0]
    inserts = alone and (edit.start_line, edit.start_column) == (edit.end_line, edit.end_column)
    done = f"insert `{texts[0]}`" if inserts else f"fix {finding.code} ({finding.name})"
    return f"evallint: {done}{'' if fix.applicability == 'safe' else ' (unsafe)'}"


def all_safe(findings: Iterable[Finding]) -> list[Edit]:
    """The edits of all safe fixes, each once; of fixes that overlap the first."""
    taken: list[Edit] = []
    for finding in findings:
        fix = finding.fix
        if fix is not None and fix.applicability == "safe":
            new = [edit for edit in fix.edits if edit not in taken]
            if not any(_overlap(edit, other) for edit in new for other in taken):
                taken += new
    return taken


def _overlap(a: Edit, b: Edit) -> bool:
    """Whether two edits cannot both be made; two texts inserted at one place would come in any order."""
    first, second = sorted((a, b), key=lambda edit: (edit.start_line, edit.start_column, edit.end_line, edit.end_column))
    start, end = (second.start_line, second.start_column), (first.end_line, first.end_column)
    return start < end or start == (first.start_line, first.start_column)


def about(finding: Finding) -> str:
    """What is known of a finding, as Markdown: what it says, how it comes about, and the page of its rule."""
    parts = [f"**{finding.code}** {finding.message}"]
    parts += ["\n".join(f"{n}. {step.note} (line {step.place.line})" for n, step in enumerate(finding.trail, 1))] if finding.trail else []
    if finding.code in registry.RULES:
        parts += ["---", registry.page(finding.code)]
    return "\n\n".join(parts)

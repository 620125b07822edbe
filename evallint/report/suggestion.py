"""A safe fix as the lines that a reviewer can take over with one click."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from evallint.finding import Finding


def suggestion(finding: Finding, text: Sequence[str], shown: Collection[int]) -> tuple[int, int, str] | None:
    """The first and last line that a safe fix replaces, and what stands there then; None if the diff does not show them all.

    `text` are the lines of the finding's file, `shown` those (1-based) that the diff shows.
    """
    fix = finding.fix
    if fix is None or fix.applicability != "safe" or not fix.edits or finding.place.cell:
        return None
    first = min(edit.start_line for edit in fix.edits)
    # an edit that ends at the start of a line leaves that alone
    last = max(edit.end_line - (edit.end_column == 1 and edit.end_line > edit.start_line) for edit in fix.edits)
    if last > len(text) or not all(line in shown for line in range(first, last + 1)):
        return None
    starts = [0]
    for line in text[first - 1 : last]:
        starts.append(starts[-1] + len(line) + 1)
    said = "".join(f"{line}\n" for line in text[first - 1 : last])
    for edit in sorted(fix.edits, key=lambda edit: (edit.start_line, edit.start_column), reverse=True):
        start = starts[edit.start_line - first] + edit.start_column - 1
        end = starts[edit.end_line - first] + edit.end_column - 1
        said = said[:start] + edit.text.replace("\r\n", "\n") + said[end:]
    return first, last, said.removesuffix("\n")

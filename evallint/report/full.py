"""`--output-format full`: a code frame a finding, and its trail, for people."""

from __future__ import annotations

from evallint.finding import Finding
from evallint.linting import Report
from evallint.report.amounts import many
from evallint.report.frame import frame, span
from evallint.report.lines import lines_of
from evallint.report.style import Style, path_text, plain


def render(report: Report, style: Style) -> str:
    """Every finding with its frame and trail, then one line that sums up."""
    lines = lines_of(report.texts)
    blocks = [_block(finding, lines, style) for finding in report.findings]
    return "\n\n".join([*blocks, _summary(report, style)])


def _summary(report: Report, style: Style) -> str:
    count, files = len(report.findings), len({f.place.path for f in report.findings})
    seen = f"{many(report.files, 'file')} checked, {report.parsed} of them with PyTorch"
    if not count:
        return f"{style.bold('No findings')} ({seen})"
    found = f"Found {many(count, 'finding')} in {many(files, 'file')}"
    return f"{style.bold(found)} ({seen})"


def _block(finding: Finding, lines: dict[str, list[str]], style: Style) -> str:
    here = finding.place
    shown = [here, *(step.place for step in finding.trail)]
    gutter = max(len(str(place.line)) for place in shown)
    bar = style.dim(" " * gutter + " |")
    where = f"{path_text(here.file)}:{here.line}:{here.column}"
    scope = f" in `{plain(finding.function)}`" if finding.function else ""
    rows = [
        f"{style.code(finding)} {style.message(finding.message)}",
        f"{style.dim(' ' * gutter + '-->')} {where}{scope} ({finding.severity}, {finding.confidence} confidence)",
    ]
    text = lines.get(here.file, [])
    if here.line <= len(text):
        rows += [bar, *frame(here, text, gutter, style, style.mark("^" * span(here, text), finding), context=1)]
    if finding.trail:
        rows.append(bar)
        digits = len(str(len(finding.trail)))
        for number, step in enumerate(finding.trail, 1):
            place = step.place
            elsewhere = f" ({path_text(place.file)}:{place.line}:{place.column})" if place.file != here.file else ""
            rows.append(f"{bar} {number:>{digits}}. {style.message(step.note)}{elsewhere}")
            text = lines.get(place.file, [])
            if place.line <= len(text):
                rows += frame(place, text, gutter, style, style.dim("-" * span(place, text)))
    return "\n".join(row.rstrip() for row in rows)

"""Reports with the places of notebooks as a format wants them: in cells, for people, or in files, for programs that annotate files."""

from __future__ import annotations

from dataclasses import replace

from evallint.linting import Report
from evallint.source import notebook
from evallint.source.noqa import split_lines


def in_cells(report: Report) -> Report:
    """The report with lines of cells; `texts` has the text of each cell by `Place.file`."""
    if not report.notebooks:
        return report
    texts = dict(report.texts)
    for path, book in report.notebooks.items():
        lines = split_lines(book.shown)
        for cell in book.cells:
            texts[f"{path}:cell {cell.number}"] = "\n".join(lines[cell.head : cell.head + len(cell.places)])
    return replace(report, findings=notebook.in_cells(report.findings, report.notebooks), texts=texts, notebooks={})


def in_files(report: Report) -> Report:
    """The report with lines of files; messages name the cell and its line."""
    if not report.notebooks:
        return report
    found = []
    for finding, moved in zip(report.findings, notebook.in_files(report.findings, report.notebooks), strict=True):
        book = report.notebooks.get(finding.place.path)
        if book is not None:
            place = book.in_cell(finding.place)
            moved = replace(moved, message=f"{moved.message} (cell {place.cell}, line {place.line})")
        found.append(moved)
    return replace(report, findings=found, texts={**report.texts, **{p: b.raw for p, b in report.notebooks.items()}}, notebooks={})

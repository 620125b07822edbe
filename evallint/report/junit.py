"""`--output-format junit`: JUnit XML, valid by the schemas of Ant and of Jenkins alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from evallint import __version__
from evallint.finding import Finding
from evallint.linting import Report
from evallint.report.paths import folder, shown
from evallint.report.style import Style, path_text, plain
from evallint.source.walking import Problem


def render(report: Report, style: Style) -> str:
    """A suite for each file with findings, a failed test for each of them, and an error for each path that could not be read.

    Where there is nothing to tell, one test that passes: readers take a report without tests for a run that went wrong.
    """
    top = folder()
    root = Element("testsuites")
    for path, group in groupby(report.findings, lambda finding: finding.place.path):
        name, rows = plain(shown(path, top)), list(group)
        suite = _suite(root, name, len(rows), failures=len(rows))
        for finding in rows:
            _failure(suite, name, finding)
        _close(suite)
    if report.errors or not report.findings:
        suite = _suite(root, "evallint", max(1, len(report.errors)), errors=len(report.errors))
        _errors(suite, report.errors)
        _close(suite)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode")


def _suite(root: Element, name: str, tests: int, failures: int = 0, errors: int = 0) -> Element:
    counts = {"tests": tests, "failures": failures, "errors": errors, "id": len(root)}
    # the schema of Ant asks for when and where
    about = {"time": "0", "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()), "hostname": "localhost", "package": "evallint"}
    suite = SubElement(root, "testsuite", {"name": name, **{key: str(count) for key, count in counts.items()}, **about})
    SubElement(SubElement(suite, "properties"), "property", {"name": "evallint", "value": __version__})
    return suite


def _close(suite: Element) -> None:
    SubElement(suite, "system-out")
    SubElement(suite, "system-err")


def _case(suite: Element, name: str, classname: str) -> Element:
    return SubElement(suite, "testcase", {"name": name, "classname": classname, "time": "0"})


def _failure(suite: Element, path: str, finding: Finding) -> None:
    here, message = finding.place, plain(finding.message)
    case = _case(suite, f"{finding.code} {finding.name} ({here.line}:{here.column})", path)
    failure = SubElement(case, "failure", {"type": finding.severity, "message": message})
    steps = [
        f"{number}. {plain(step.note)} ({path_text(step.place.file)}:{step.place.line}:{step.place.column})"
        for number, step in enumerate(finding.trail, 1)
    ]
    failure.text = "\n".join([f"{path_text(here.file)}:{here.line}:{here.column}: {finding.code} {message}", *steps])


def _errors(suite: Element, problems: Sequence[Problem]) -> None:
    if not problems:
        _case(suite, "no findings", "evallint")
    for problem in problems:
        error = SubElement(_case(suite, path_text(problem.path), "evallint"), "error", {"type": "unreadable-path"})
        error.set("message", plain(problem.message))
        error.text = f"{path_text(problem.path)}: {plain(problem.message)}"

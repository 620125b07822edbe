"""`evallint run` and `evallint report`: the runtime companion on the command line, as `coverage run` behaves."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evallint.adapters.parsing import Parser, add_help
from evallint.runtime import launching

if TYPE_CHECKING:
    from evallint.runtime.companion import Companion
    from evallint.runtime.verdicts import RunReport

_USAGE = """evallint run [OPTIONS] SCRIPT [ARGS...]
       evallint run [OPTIONS] -m MODULE [ARGS...]"""
_EPILOG = """The program runs as `python SCRIPT` would run it; the summary goes to standard
error after it ends. Its exit code is the program's own; where that is 0,
--fail-on can make it 1."""
_WITH_VALUE = ("--report", "--probes", "--fail-on")
FAIL_ON = ("confirmed", "any")
_CHANGED = 1


def run(argv: Sequence[str]) -> int:
    """`evallint run` with the arguments after `run`. The program's SystemExit and KeyboardInterrupt come out as they are."""
    mine, target = _split(list(argv))
    options = run_parser().parse_args(mine)
    if not target:
        run_parser().error("nothing to run: name a SCRIPT, or -m MODULE")
    is_module = target[0] == "-m"
    if is_module and len(target) < 2:
        run_parser().error("argument -m: expected a module's name")
    try:
        program = None if is_module else launching.find_script(target[0])
    except launching.NoProgram as reason:
        return _fail(str(reason))
    name, arguments = (target[1], target[2:]) if is_module else (target[0], target[1:])
    from evallint.runtime.companion import Companion

    companion = Companion(probes=0 if options.no_probes else options.probes)
    start = launching.locate_module(name) if is_module else os.path.join(name, "__main__.py") if os.path.isdir(name) else name
    companion.lint([start] if start else [], follow=True)
    if options.eager:
        os.environ["TORCHDYNAMO_DISABLE"] = "1"
    process = {"rank": _number("RANK"), "world_size": _number("WORLD_SIZE"), "program": name, "eager": options.eager}
    ended: BaseException | None = None
    companion.start()
    try:
        if program is None:
            launching.run_module(name, arguments)
        else:
            launching.run_script(program, arguments)
    except launching.NoProgram as reason:
        companion.stop()
        return _fail(str(reason))
    except SystemExit as leaving:
        ended = leaving
    except BaseException as raised:
        ended = raised
        launching.show(raised)
    companion.stop()
    report = _report(companion, options, {key: value for key, value in process.items() if value is not None})
    if ended is not None and not (isinstance(ended, SystemExit) and ended.code in (None, 0)):
        raise ended
    return _CHANGED if options.fail_on and report is not None and report.fails(options.fail_on) else 0


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Our options, and the program with its arguments."""
    at = 0
    while at < len(argv):
        word = argv[at]
        if word == "--":
            return argv[:at], argv[at + 1 :]
        if word == "-m" or not word.startswith("-") or word == "-":
            break
        at += 2 if word in _WITH_VALUE else 1
    return argv[:at], argv[at:]


def run_parser() -> Parser:
    """The options of `evallint run`."""
    parser = Parser(
        "evallint run", _USAGE, "Runs a program, watches its models, and says which findings are real and what\nthey cost.", _EPILOG
    )
    add_help(parser)
    parser.add_argument("--report", metavar="FILE", help="write the report as JSON; each rank of torchrun its own (FILE.rank0.json)")
    parser.add_argument("--probes", type=_count, default=3, metavar="N", help="measure the effect at most N times a place (3)")
    parser.add_argument("--no-probes", action="store_true", help="measure nothing, only watch")
    parser.add_argument("--eager", action="store_true", help="run what torch.compile compiles eagerly, so that it can be seen")
    parser.add_argument(
        "--fail-on",
        choices=FAIL_ON,
        metavar="WHAT",
        help="exit with 1 on a `confirmed` bug, or on `any` finding that the run neither refutes nor shows harmless",
    )
    return parser


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"invalid number of probes: {text!r}")
    return number


def _number(name: str) -> int | None:
    value = os.environ.get(name, "")
    return int(value) if value.isdigit() else None


def _fail(message: str) -> int:
    print(f"evallint: error: {message}", file=sys.stderr)
    return 2


def _report(companion: Companion, options: argparse.Namespace, process: dict[str, Any]) -> RunReport | None:
    """Tell and write what was seen; a failure here is ours and must not become the program's."""
    stream = sys.__stderr__ or sys.stderr
    try:
        report = companion.report(**process)
        sys.stdout.flush()
        if process.get("rank", 0) == 0 or not options.report:
            from evallint.report.style import style_for
            from evallint.report.verdicts import render

            print(render(report, style_for(stream)), file=stream, flush=True)
    except Exception as error:
        if os.environ.get("EVALLINT_DEBUG"):
            raise
        print(f"evallint: error: no report: {type(error).__name__}: {error}", file=stream)
        return None
    if options.report:
        path = os.path.join(companion.folder, _of_rank(options.report, process))
        try:
            write(report, path)
        except OSError as error:
            print(f"evallint: error: cannot write {path}: {error.strerror or error}", file=stream)
    return report


def _of_rank(path: str, process: dict[str, Any]) -> str:
    if process.get("world_size", 1) < 2:
        return path
    stem, suffix = os.path.splitext(path)
    return f"{stem}.rank{process.get('rank', 0)}{suffix or '.json'}"


def write(report: RunReport, path: str) -> None:
    """Write the report as JSON. Raises OSError."""
    with Path(path).open("w", encoding="utf-8") as stream:
        json.dump(report.to_json(), stream, indent=2)
        stream.write("\n")


def report_parser() -> Parser:
    """The options of `evallint report`."""
    parser = Parser(
        "evallint report",
        "evallint report [OPTIONS] FILE...",
        "Joins the reports that `evallint run --report` has written, one a process, and\nshows them as one.",
    )
    add_help(parser)
    parser.add_argument("files", nargs="+", metavar="FILE", help="reports as JSON")
    parser.add_argument("--output-format", choices=("full", "json"), default="full", metavar="FORMAT", help="full (default), json")
    parser.add_argument("--fail-on", choices=FAIL_ON, metavar="WHAT", help="exit with 1 as `evallint run --fail-on` does")
    return parser


def report(argv: Sequence[str]) -> int:
    """`evallint report FILE...`: join the reports of several processes, and show or write the result."""
    options = report_parser().parse_args(list(argv))
    from evallint.runtime.merging import NotAReport, loaded, merged

    reports = []
    for path in options.files:
        try:
            with Path(path).open(encoding="utf-8") as stream:
                reports.append(loaded(json.load(stream)))
        except OSError as error:
            return _fail(f"{path}: {error.strerror or error}")
        except (NotAReport, ValueError) as error:
            return _fail(f"{path}: {error}")
    joined = merged(reports)
    if options.output_format == "json":
        print(json.dumps(joined.to_json(), indent=2))
    else:
        from evallint.report.style import style_for
        from evallint.report.verdicts import render

        _read_texts(joined)
        print(render(joined, style_for(sys.stdout)))
    return 1 if options.fail_on and joined.fails(options.fail_on) else 0


def _read_texts(joined: RunReport) -> None:
    """The files that the report names, where they are still there, for code frames."""
    from evallint.source.reading import Unreadable, decode, read_bytes

    for verdict in (*joined.verdicts, *joined.unseen):
        path = verdict.finding.place.path
        if path not in joined.texts:
            try:
                joined.texts[path] = decode(read_bytes(path))
            except (Unreadable, OSError):
                joined.texts[path] = ""

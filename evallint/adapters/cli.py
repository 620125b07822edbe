"""The command line. Exit codes: 0 clean, 1 findings, 2 the run itself failed, 130 interrupted."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from evallint import __version__
from evallint.finding import CONFIDENCES, SEVERITIES

if TYPE_CHECKING:
    from evallint.cache.store import Keeper
    from evallint.linting import Report, Text

CLEAN, FOUND, FAILED, INTERRUPTED = 0, 1, 2, 130
FORMAT_NAMES = ("full", "concise", "json")
"""The names in `report.formats`, which `--version` and `--help` need not import."""

_USAGE = """evallint [OPTIONS] PATH...   lint files and folders (- is standard input)
       evallint rule CODE           explain a rule, such as EVL001
       evallint rules               list all rules
       evallint run SCRIPT [ARGS]   run it, and say which findings are real
       evallint report FILE...      join the reports of several processes
       evallint clean [DIR]         remove the cache"""
_EPILOG = """Settings are read from [tool.evallint] of the nearest pyproject.toml. A `# noqa`
or `# noqa: EVL001` comment silences its line.
Exit codes: 0 nothing found, 1 findings, 2 the run itself failed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with `argv` (default: the process's arguments); returns the exit code and never raises for bad input."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["run"]:
        from evallint.adapters.run import run

        return run(words[1:])  # streams, signals and exceptions are the program's own
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a finding in a file named in another encoding is still a finding
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except OSError as error:
        # Python would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return FOUND  # the reader (such as `head`) has enough
        return _fail(f"cannot write the findings: {error.strerror or error}")
    except KeyboardInterrupt:
        print("evallint: interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as leaving:  # argparse, after it has said why
        return leaving.code if isinstance(leaving.code, int) else FAILED
    except Exception as error:
        if os.environ.get("EVALLINT_DEBUG"):
            raise
        return _fail(f"internal error, please report it: {type(error).__name__}: {error}")


def _run(argv: list[str]) -> int:
    if argv[:1] == ["rule"] and (len(argv) == 2 or not os.path.exists("rule")):
        return _rule(argv[1:])
    if argv[:1] == ["rules"] and not os.path.exists("rules"):
        from evallint.adapters.rules import run

        return run(argv[1:])
    if argv[:1] == ["clean"] and (len(argv) == 2 or not os.path.exists("clean")):
        return _clean(argv[1:])
    if argv[:1] == ["report"]:
        from evallint.adapters.run import report

        return report(argv[1:])
    options = _parser().parse_args(argv)
    from evallint.settings import SettingsError

    try:
        return _lint(options)
    except SettingsError as error:
        return _fail(str(error))


def _fail(message: str) -> int:
    print(f"evallint: error: {message}", file=sys.stderr)
    return FAILED


def _codes(text: str) -> tuple[str, ...]:
    from evallint.settings import code_prefix

    try:
        return tuple(code_prefix(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evallint",
        usage=_USAGE,
        description="Finds the PyTorch bugs that raise no error.",
        epilog=_EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=80),
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help=argparse.SUPPRESS)
    codes: dict[str, Any] = {"type": _codes, "metavar": "CODES", "action": "extend"}
    parser.add_argument("--select", help="report only codes that start so: EVL001,EVL1", **codes)
    parser.add_argument("--ignore", help="report no codes that start so (the longer wins)", **codes)
    parser.add_argument("--extend-select", help="report these codes as well", **codes)
    level: dict[str, Any] = {"metavar": "LEVEL"}
    parser.add_argument("--confidence", choices=CONFIDENCES, help="least certainty: low, medium (default), high", **level)
    parser.add_argument("--severity", choices=SEVERITIES, help="least weight: note (default), warning, error", **level)
    parser.add_argument("--output-format", choices=FORMAT_NAMES, default="full", metavar="FORMAT", help="full (default), concise, json")
    parser.add_argument("--statistics", action="store_true", help="count the findings of each code")
    parser.add_argument("--exit-zero", action="store_true", help="exit with 0 even if there are findings")
    parser.add_argument("--stdin-filename", metavar="NAME", help="what to call standard input")
    parser.add_argument("--jobs", type=_jobs, default=0, metavar="N", help="processes that share the work (default: one a core)")
    parser.add_argument("--no-cache", action="store_true", help="neither use nor keep what earlier runs found out")
    parser.add_argument("--cache-dir", metavar="DIR", help="where that is kept (default: .evallint_cache)")
    parser.add_argument("--version", action="version", version=f"evallint {__version__}", help="print the version")
    return parser


def _lint(options: argparse.Namespace) -> int:
    from evallint.adapters.progress import Progress
    from evallint.linting import lint_paths

    paths = [path for path in options.paths if path != "-"]
    texts = [_standard_input(options.stdin_filename)] if "-" in options.paths else []
    names = ("select", "ignore", "extend_select", "confidence", "severity")
    changes = {name: _frozen(getattr(options, name)) for name in names if getattr(options, name) is not None}
    with Progress(sys.stderr) as progress:
        report = lint_paths(paths, changes=changes, texts=texts, say=progress.say, jobs=options.jobs, cache=_cache(options))
    _print(report, options, sys.stdout)
    for problem in report.errors:
        _fail(f"{problem.path}: {problem.message}")
    if report.errors:
        return FAILED
    return FOUND if report.findings and not options.exit_zero else CLEAN


def _cache(options: argparse.Namespace) -> Keeper:
    from evallint.cache.store import NoStore, keeper

    return NoStore() if options.no_cache else keeper(options.cache_dir or _cache_folder())


def _cache_folder() -> str:
    """The cache of the project that the working folder is in."""
    from evallint.cache.store import default_folder
    from evallint.settings import find_settings

    return default_folder(find_settings(os.getcwd()).root or None)


def _clean(arguments: list[str]) -> int:
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        print("usage: evallint clean [DIR]\n\nRemoves the cache: that of the working folder's project, or the one in DIR.")
        return CLEAN if len(arguments) == 1 else FAILED
    from evallint.cache.store import NotACache, clean

    folder = arguments[0] if arguments else _cache_folder()
    try:
        print(f"{folder}: removed {clean(folder)} entries")
    except (NotACache, OSError) as error:
        return _fail(str(error))
    return CLEAN


def _jobs(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes (0 is one a core)")
    return number


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _standard_input(name: str | None) -> Text:
    from evallint.linting import Text

    return Text(name or "<stdin>", sys.stdin.buffer.read())


def _print(report: Report, options: argparse.Namespace, stream: TextIO) -> None:
    from evallint.report.formats import FOR_PROGRAMS, renderer
    from evallint.report.style import style_for

    blocks = [(renderer(options.output_format)(report, style_for(stream)), stream)]
    if options.statistics:
        from evallint.report import statistics

        blocks.append((statistics.render(report), sys.stderr if options.output_format in FOR_PROGRAMS else stream))
    for text, where in blocks:
        if text:
            print(text, file=where)


def _rule(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print("usage: evallint rule CODE\n\nExplains a rule: what it finds, why that is a bug, and examples.")
        return CLEAN if arguments[:1] in (["-h"], ["--help"]) else FAILED
    from evallint.rules import registry

    try:
        text = registry.page(arguments[0])
    except registry.UnknownRule as error:
        return _fail(str(error))
    print(text.rstrip("\n"))
    return CLEAN


if __name__ == "__main__":
    sys.exit(main())

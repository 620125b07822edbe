"""The command line. Exit codes: 0 clean, 1 findings, 2 the run itself failed, 130 interrupted."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, TextIO

from evallint import __version__
from evallint.adapters import narrowing
from evallint.adapters.parsing import Parser, add_help, nearest
from evallint.adapters.settings_options import Chosen, add_configuration, add_files, add_selection, chosen, show_files, show_settings

if TYPE_CHECKING:
    from evallint.cache.store import Keeper
    from evallint.changes.baseline import Entry
    from evallint.linting import Report, Text

CLEAN, FOUND, FAILED, INTERRUPTED = 0, 1, 2, 130
STANDARD_INPUT = "<stdin>"
SHELLS = ("bash", "zsh", "fish")
FORMAT_NAMES = ("full", "concise", "json", "sarif", "github", "gitlab", "rdjson", "junit", "github-review")
"""The names in `report.formats`, which `--version` and `--help` need not import."""

COMMANDS = {
    "rule": "explain a rule, such as EVL001",
    "rules": "list all rules",
    "run": "run a script, and say which findings are real",
    "report": "join the reports of several processes",
    "clean": "remove the cache",
    "completion": "print a script that completes in your shell",
    "server": "the language server, for editors",
}

_USAGE = """evallint [OPTIONS] PATH...   lint files and folders (- is standard input)
       evallint rule CODE           explain a rule, such as EVL001
       evallint rules               list all rules
       evallint run SCRIPT [ARGS]   run it, and say which findings are real
       evallint report FILE...      join the reports of several processes
       evallint clean [DIR]         remove the cache
       evallint completion SHELL    print a script that completes in a shell
       evallint server              the language server, for editors"""
_INSTALL = """To keep it:
  bash  evallint completion bash >> ~/.bash_completion
  zsh   evallint completion zsh > "${fpath[1]}/_evallint"
  fish  evallint completion fish > ~/.config/fish/completions/evallint.fish"""
_EPILOG = """Settings are read from the nearest evallint.toml, or [tool.evallint] of the
nearest pyproject.toml. A `# noqa` or `# noqa: EVL001` silences its line.
Each command has a --help of its own.
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
    from evallint.adapters.output import CannotWrite
    from evallint.settings import SettingsError

    command = argv[0] if argv and argv[0] in COMMANDS else ""
    if command != "report" and len(argv) != 2 and os.path.exists(command):  # a folder of that name, and others perhaps
        command = ""
    try:
        if command == "report":
            from evallint.adapters.run import report

            return report(argv[1:])
        if command == "rules":
            from evallint.adapters.rules import listed

            return listed(argv[1:])
        if command == "server":
            from evallint.adapters.server import serve

            return serve(argv[1:])
        if command:
            return _HANDLERS[command](argv[1:])
        return _lint(_parser().parse_args(argv))
    except (CannotWrite, narrowing.CannotNarrow, SettingsError) as error:
        return _fail(str(error))


def _fail(message: str) -> int:
    from evallint.report.style import legible, plain

    print(f"evallint: error: {plain(legible(message))}", file=sys.stderr)
    return FAILED


def _parser() -> Parser:
    parser = Parser("evallint", _USAGE, "Finds the PyTorch bugs that raise no error.", _EPILOG)
    parser.add_argument("paths", nargs="*", metavar="PATH", help=argparse.SUPPRESS)
    add_selection(parser)
    add_files(parser)
    add_configuration(parser)
    narrowing.add_narrowing(parser)
    _add_fixing(parser)
    _add_output(parser)
    _add_work(parser)
    other = parser.add_argument_group("other")
    add_help(other)
    other.add_argument("--version", action="version", version=f"evallint {__version__}", help="print the version")
    return parser


def _add_fixing(parser: Parser) -> None:
    group = parser.add_argument_group("fixes")
    group.add_argument("--fix", action="store_true", help="mend what can be mended without a doubt")
    group.add_argument("--unsafe-fixes", action="store_true", help="mend what may have been meant otherwise, too")
    group.add_argument("--diff", action="store_true", help="show what --fix would change, and change nothing")


def _add_output(parser: Parser) -> None:
    group = parser.add_argument_group("output")
    formats = f"full (default), {', '.join(FORMAT_NAMES[1:])}"
    group.add_argument("--output-format", choices=FORMAT_NAMES, default="full", metavar="FORMAT", help=formats)
    group.add_argument("--output-file", metavar="FILE", help="write the report there (- is standard output)")
    group.add_argument("--statistics", action="store_true", help="count the findings of each code")
    group.add_argument("--exit-zero", action="store_true", help="exit with 0 even if there are findings")


def _add_work(parser: Parser) -> None:
    group = parser.add_argument_group("processes and cache")
    group.add_argument("--jobs", type=_jobs, default=0, metavar="N", help="processes that share the work (default: one a core)")
    group.add_argument("--no-cache", action="store_true", help="neither use nor keep what earlier runs found out")
    group.add_argument("--cache-dir", metavar="DIR", help="where that is kept (default: .evallint_cache)")


def _lint(options: argparse.Namespace) -> int:
    from evallint.adapters import fixes, output
    from evallint.adapters.progress import Progress
    from evallint.linting import lint_paths

    given = chosen(options)
    showing = show_settings if options.show_settings else show_files if options.show_files else None
    if not options.paths and showing is None:
        _parser().error("the following arguments are required: PATH")
    paths = [path for path in options.paths or ["."] if path != "-"]
    if showing is not None:
        names = [options.stdin_filename or STANDARD_INPUT] if "-" in options.paths else []
        wrong = showing(paths, names, given, force_exclude=options.force_exclude)
        return max(map(_fail, wrong), default=CLEAN)
    file = None if options.output_file == "-" else options.output_file
    for each in filter(None, (file, options.write_baseline)):
        output.check(each)
    wanted = narrowing.read(options, paths)
    texts = [_standard_input(options.stdin_filename)] if "-" in options.paths else []
    stale: Sequence[Entry] = ()
    with Progress(sys.stderr) as progress:
        lint = partial(
            lint_paths,
            paths,
            given.settings,
            changes=given.changes,
            texts=texts,
            say=progress.say,
            jobs=options.jobs,
            cache=_cache(options, given),
            force_exclude=options.force_exclude,
            mend=fixes.asked(options),
        )
        report = lint()
        if options.write_baseline is None:
            report, stale = narrowing.narrowed(report, wanted, options, given, paths, lint)
    if options.diff:
        fixes.show(report, options.unsafe_fixes)
    elif options.fix:
        report.errors += fixes.apply(report, {text.path: text.encoded for text in texts}, options.unsafe_fixes)
    if options.write_baseline is None and not options.diff:
        _print(report, options, file, sys.stderr if options.fix and texts else sys.stdout)
    for problem in report.errors:
        near = nearest(problem.path, COMMANDS) if problem.path == options.paths[0] else ""
        _fail(f"{problem.path}: {problem.message}" + (f" (did you mean `evallint {near}`?)" if near else ""))
    if report.errors:
        return FAILED
    if options.write_baseline is not None:
        narrowing.write_baseline(report, options.write_baseline)
        return CLEAN
    narrowing.prune(stale, wanted, options)
    return FOUND if (report.rewritten if options.diff else report.findings) and not options.exit_zero else CLEAN


def _cache(options: argparse.Namespace, given: Chosen) -> Keeper:
    from evallint.cache.store import NoStore, default_folder, keeper

    if options.no_cache:
        return NoStore()
    return keeper(options.cache_dir or (_cache_folder() if given.configuration is None else default_folder(None)))


def _cache_folder() -> str:
    """The cache of the project that the working folder is in."""
    from evallint.cache.store import default_folder
    from evallint.configuration import find_settings

    return default_folder(find_settings(os.getcwd()).root or None)


def _clean_parser() -> Parser:
    parser = Parser("evallint clean", "evallint clean [DIR]", "Removes the cache.")
    parser.add_argument("folder", nargs="?", metavar="DIR", help="a cache (default: that of the working folder's project)")
    add_help(parser)
    return parser


def _clean(arguments: list[str]) -> int:
    from evallint.cache.store import NotACache, clean

    folder = _clean_parser().parse_args(arguments).folder or _cache_folder()
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


def _standard_input(name: str | None) -> Text:
    from evallint.linting import Text

    return Text(name or STANDARD_INPUT, sys.stdin.buffer.read())


def _print(report: Report, options: argparse.Namespace, file: str | None, stream: TextIO) -> None:
    """The report to `file` or standard output; the statistics to standard output, unless a report for programs is there."""
    from evallint.adapters import output
    from evallint.report.formats import FOR_PROGRAMS, renderer
    from evallint.report.style import Style, style_for

    render, for_programs = renderer(options.output_format), options.output_format in FOR_PROGRAMS
    if file is not None:
        text = render(report, Style())
        output.write(file, f"{text}\n" if text else "")
    else:
        if for_programs and hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")
        _say(render(report, style_for(stream)), stream)
    if options.statistics:
        from evallint.report import statistics

        _say(statistics.render(report), sys.stderr if for_programs and file is None else stream)


def _say(text: str, stream: TextIO) -> None:
    if text:
        print(text, file=stream)


def _rule_parser() -> Parser:
    parser = Parser("evallint rule", "evallint rule CODE", "Explains a rule: what it finds, why that is a bug, and examples.")
    parser.add_argument("code", metavar="CODE", help="a code or a name, such as EVL001 or missing-eval")
    add_help(parser)
    return parser


def _rule(arguments: list[str]) -> int:
    code = _rule_parser().parse_args(arguments).code
    from evallint.rules import registry

    try:
        text = registry.page(code)
    except registry.UnknownRule as error:
        return _fail(str(error))
    print(text.rstrip("\n"))
    return CLEAN


def _completion_parser() -> Parser:
    parser = Parser("evallint completion", "evallint completion SHELL", "Prints a script that completes evallint's command line.", _INSTALL)
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    add_help(parser)
    return parser


def command_parsers() -> dict[str, Parser]:
    """The parser of each command, by its name."""
    from evallint.adapters.rules import rules_parser
    from evallint.adapters.run import report_parser, run_parser
    from evallint.adapters.server import server_parser

    made = (_rule_parser(), rules_parser(), run_parser(), report_parser(), _clean_parser(), _completion_parser(), server_parser())
    return dict(zip(COMMANDS, made, strict=True))


def _completion(arguments: list[str]) -> int:
    shell = _completion_parser().parse_args(arguments).shell
    from evallint.adapters.completion import script
    from evallint.rules.registry import codes

    print(script(shell, _parser(), {name: (COMMANDS[name], parser) for name, parser in command_parsers().items()}, codes()))
    return CLEAN


_HANDLERS = {"rule": _rule, "clean": _clean, "completion": _completion}


if __name__ == "__main__":
    sys.exit(main())

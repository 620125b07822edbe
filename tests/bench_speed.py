"""`python -m tests.bench_speed FOLDER`: what linting a folder costs, as multiples of `ast.parse`, beside other linters.

Every command is measured as a whole process with the processes it starts: CPU seconds (user and system), wall seconds, and the peak
memory of its largest process. What workers hold beside it is not added, and less than this process holds (some 17 MiB) cannot be seen.
The base of the ratios is the CPU of `ast.parse` alone on the files that evallint reads; it is always measured. `--repeat N` keeps the run
with the least CPU of N.

This checkout and the tools it is compared with are installed in environments of their own below `--tools DIR`, made on first use; none of
them gets torch. The checkout is installed anew in every run, so that what is measured is what a user gets. What cannot be installed or
run is a line that says why.

`--growth` measures instead how the cost of a cold run grows with the number of files.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
PYTHON_ONLY_PASS, EVALLINT = "python -c pass", "evallint"

REQUIREMENTS = {
    EVALLINT: ["flake8==7.5.0", str(CHECKOUT)],
    "ruff": ["ruff==0.17.6"],
    "flake8": ["flake8==7.5.0"],
    # neither wants torch (`pip install --dry-run`): TorchFix needs flake8, PyYAML and libcst, torch-preflight libcst and rich
    "torchfix": ["TorchFix==0.7.0"],
    "torch-preflight": ["torch-preflight==0.5.0"],
}
"""What is installed in the environment of each tool; flake8 is measured without the plugin in one and with it in another."""
NEVER = ("torch", "torchvision", "torchaudio", "triton")
"""Packages that no environment may get, even if a later version of a tool asks for them: its installation then fails."""

NAMES = tuple(
    "startup-python startup-version startup-plain evallint-none evallint-cold evallint-warm evallint-cold-all evallint-warm-all "
    "ruff flake8-without flake8-with flake8-again torchfix torch-preflight torchfix-all torch-preflight-all flake8-file".split()
)
"""What `--only` chooses from; `ast.parse` is always measured."""
GROWTH = (100, 250, 500, 1000, 2000, 4000)
STARTS = 10
"""How often what takes milliseconds is run at least."""
PAIRS = 40
"""Runs of flake8 on one file, without and with the plugin."""
PLAIN_FILES = 200

PARSE = """
import ast, json, sys, time, warnings
warnings.simplefilter("ignore")
cpu = wall = failed = 0
for path in open(sys.argv[1], encoding="utf-8").read().split("\\0"):
    with open(path, "rb") as file:
        data = file.read()
    start, start_wall = time.process_time(), time.perf_counter()
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        failed += 1
    tree = None  # what it costs to give a tree back is part of it
    cpu += time.process_time() - start
    wall += time.perf_counter() - start_wall
print(json.dumps([cpu, wall, failed]))
"""
LIST = """
import sys
from evallint.source.walking import Found, find_files
print(*(found.path for found in find_files([sys.argv[1]]) if isinstance(found, Found)), sep="\\0", end="")
"""
VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


class Missing(Exception):
    """A tool cannot be had; the text says why."""


@dataclass(slots=True)
class Row:
    """One line of the table; without figures it only says what went wrong."""

    what: str
    cpu: float = 0.0
    wall: float = 0.0
    peak: float = 0.0
    lines: int = 0
    """The lines that were linted, where that is what was measured."""
    findings: int | None = None
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A command to measure; `name` is what `--only` chooses it by."""

    name: str
    what: str
    tool: str
    arguments: Sequence[str]
    """The tool's command and its arguments."""
    finding: str = ""
    """What a line of its output that is a finding contains, as a pattern."""
    cache: str = ""
    """`cold` if the cache is emptied before each run, `warm` if it is filled."""
    lines: int = 0
    times: int = 1


@dataclass(slots=True)
class Bench:
    """What all measurements share."""

    folder: Path
    scratch: Path
    """A folder for this run alone; commands run in it, away from settings of any project."""
    tools: Path
    timeout: float
    repeat: int
    files: list[str] = field(default_factory=list)
    lines: int = 0

    @property
    def cache(self) -> Path:
        """Where evallint keeps its cache."""
        return self.scratch / "cache"

    def program(self, tool: str, command: str) -> str:
        """The path of a command in a tool's environment, which is made if need be. Raises Missing."""
        return str(_environment(tool, self.tools) / command)

    def evallint(self, *arguments: str) -> list[str]:
        """The command of evallint with these arguments."""
        return [EVALLINT, "--exit-zero", "--output-format=concise", *arguments]


@cache
def _environment(tool: str, tools: Path) -> Path:
    """The folder of commands of a tool's own environment. Raises Missing."""
    folder = tools / f"{tool}-{platform.python_version()}"
    commands = folder / "bin"
    stamp = folder / "installed.txt"  # written last, so that an interrupted installation is not taken for a whole one
    wanted = "\n".join(REQUIREMENTS[tool])
    done = stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted
    if done and tool != EVALLINT:
        return commands
    print(f"installing {tool}", file=sys.stderr)
    try:
        if not done:
            venv.create(folder, clear=True, with_pip=True)
        never = folder / "never.txt"
        never.write_text("".join(f"{name}<0\n" for name in NEVER), encoding="utf-8")
        pip = [str(commands / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", str(never)]
        # wheels, so that nobody's setup.py runs; only the checkout, which pip installs anew each time because it is a folder, is built
        _said([*pip, "--only-binary=:all:", *REQUIREMENTS[tool]])
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        errors = [text for text in said if text.startswith("ERROR: ")] or said  # pip prints warnings after them
        raise Missing(f"cannot be installed: {errors[-1].removeprefix('ERROR: ')}") from None
    stamp.write_text(wanted, encoding="utf-8")
    return commands


def _said(command: Sequence[str]) -> str:
    """What a command that is not measured prints. Raises CalledProcessError."""
    return subprocess.run(command, check=True, capture_output=True, text=True, env=_variables()).stdout


def _variables() -> dict[str, str]:
    """The environment of every command, without what leads Python to other code or keeps it from using its bytecode."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(command: Sequence[str], bench: Bench) -> tuple[Row, Path]:
    """Run a command once; returns its figures and the file with its output."""
    output, complaints = bench.scratch / "stdout.txt", bench.scratch / "stderr.txt"
    with output.open("wb") as stdout, complaints.open("wb") as stderr:  # files: what this process holds would count as the child's peak
        start = time.perf_counter()
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr}
        variables = {**_variables(), "EVALLINT_CACHE_DIR": str(bench.cache)}
        child = subprocess.Popen(command, cwd=bench.scratch, env=variables, start_new_session=True, **streams)
        timer = threading.Timer(bench.timeout, os.killpg, (child.pid, signal.SIGKILL))
        timer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    row = Row("", usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / unit)
    said = complaints.read_text(encoding="utf-8", errors="replace").strip()
    if child.returncode == -signal.SIGKILL and wall >= bench.timeout:
        row = Row("", failed=f"stopped after {bench.timeout:.0f} s")  # what it had cost by then is no figure to compare
    elif child.returncode not in (0, 1) or "Traceback (most recent call last)" in said:  # 1 is how linters say that they found something
        row.failed = f"exit code {child.returncode}: {said.splitlines()[-1] if said else 'no message'}"
    return row, output


def measure(job: Job, bench: Bench) -> Row:
    """The run of a job with the least CPU."""
    try:
        program = bench.program(job.tool, job.arguments[0])
    except Missing as error:
        return Row(job.what, failed=str(error))
    command = [program, *job.arguments[1:]]
    best = Row(job.what, math.inf)
    if job.cache == "warm" and not bench.cache.is_dir():
        run(command, bench)
    for _ in range(max(bench.repeat, job.times)):
        if job.cache == "cold":
            shutil.rmtree(bench.cache, ignore_errors=True)
        row, output = run(command, bench)
        row.what, row.lines = job.what, job.lines
        if row.failed:
            return row
        if row.cpu < best.cpu:
            best = row
            if job.finding:
                with output.open(encoding="utf-8", errors="replace") as said:
                    best.findings = sum(re.search(job.finding, line) is not None for line in said)
    return best


def parse_only(bench: Bench) -> tuple[Row, Row]:
    """`ast.parse` of the files alone, and the process that did it."""
    paths = bench.scratch / "paths.txt"
    paths.write_text("\0".join(bench.files), encoding="utf-8")
    command = [bench.program(EVALLINT, "python"), "-c", PARSE, str(paths)]
    runs: list[tuple[Row, Row]] = []
    for _ in range(bench.repeat):
        whole, output = run(command, bench)
        if whole.failed:
            raise SystemExit(f"ast.parse: {whole.failed}")
        cpu, wall, failed = json.loads(output.read_text(encoding="utf-8"))
        whole.what, whole.lines, whole.findings = "ast.parse, whole process", bench.lines, failed
        runs.append((Row("ast.parse, parsing only", cpu, wall, whole.peak, bench.lines, failed), whole))
    return min(runs, key=lambda pair: pair[0].cpu)


def jobs(bench: Bench) -> Iterator[Job]:
    """What is measured, in the order of the table."""
    folder, lines = str(bench.folder), bench.lines
    one, cached = ["--jobs=1"], [f"--cache-dir={bench.cache}"]
    says = r": EVL\d+ "
    yield Job("startup-python", PYTHON_ONLY_PASS, EVALLINT, ["python", "-c", "pass"], times=STARTS)
    yield Job("startup-version", "evallint --version", EVALLINT, [EVALLINT, "--version"], times=STARTS)
    plain = _plain_files(bench.scratch / "plain")
    arguments = bench.evallint(str(plain), "--no-cache", *one)
    lines_there = _count_lines(map(str, plain.iterdir()))
    name = f"evallint, {PLAIN_FILES} files without PyTorch"
    yield Job("startup-plain", name, EVALLINT, arguments, says, lines=lines_there, times=STARTS)

    yield Job("evallint-none", "evallint, no cache, 1 job", EVALLINT, bench.evallint(folder, "--no-cache", *one), says, lines=lines)
    for jobs_name, suffix, wanted in (("1 job", "", one), ("all cores", "-all", ["--jobs=0"])):
        for state in ("cold", "warm"):
            arguments = bench.evallint(folder, *cached, *wanted)
            what = f"evallint, {state} cache, {jobs_name}"
            yield Job(f"evallint-{state}{suffix}", what, EVALLINT, arguments, says, cache=state, lines=lines)

    ruff = ["ruff", "check", "--isolated", "--no-cache", "--exit-zero", "--output-format=concise", folder]
    yield Job("ruff", "ruff check", "ruff", ruff, r":\d+:\d+: ", lines=lines)
    flake8 = ["flake8", "--isolated", "--exit-zero", "-j", "1", folder]
    yield Job("flake8-without", "flake8 -j 1", "flake8", flake8, r":\d+:\d+: ", lines=lines)
    yield Job("flake8-with", "flake8 -j 1 with evallint", EVALLINT, flake8, r":\d+:\d+: ", cache="cold", lines=lines)
    yield Job("flake8-again", "flake8 -j 1 with evallint, again", EVALLINT, flake8, r":\d+:\d+: ", cache="warm", lines=lines)
    for suffix, what, few in (("", ", 1 job", ["--jobs", "1"]), ("-all", ", all cores", [])):
        says = "" if suffix else r": TOR\d+ "  # its workers are ended before they have written all that they print into a file
        yield Job(f"torchfix{suffix}", f"TorchFix{what}", "torchfix", ["torchfix", *few, folder], says, lines=lines)
        arguments = ["torch-preflight", "check", "--format", "json", *few, folder]
        yield Job(f"torch-preflight{suffix}", f"torch-preflight{what}", "torch-preflight", arguments, r'^ *"code": ', lines=lines)


def _plain_files(folder: Path) -> Path:
    """Small modules of the standard library: the code that a project has beside what uses PyTorch."""
    folder.mkdir()
    library = Path(sysconfig.get_path("stdlib"))
    count = 0
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        if (
            {"site-packages", "test", "tests", "lib2to3"} & set(parts)
            or not 1000 < path.stat().st_size < 20_000
            or b"torch" in path.read_bytes()
        ):
            continue
        shutil.copyfile(path, folder / "_".join(parts))
        count += 1
        if count == PLAIN_FILES:
            break
    return folder


def _count_lines(files: Iterable[str]) -> int:
    """How many lines there are; as a side effect the files are in the system's cache, whoever reads them first."""
    return sum(Path(path).read_bytes().count(b"\n") for path in files)


def one_file(bench: Bench) -> dict[str, float] | str:
    """What the plugin costs flake8 on one file without PyTorch: differences in milliseconds, and the mean's standard error."""
    path = bench.scratch / "one_file.py"
    shutil.copyfile(Path(sysconfig.get_path("stdlib")) / "textwrap.py", path)
    try:
        without, with_plugin = bench.program("flake8", "flake8"), bench.program(EVALLINT, "flake8")
    except Missing as missing:
        return str(missing)
    cpu: list[float] = []
    wall: list[float] = []
    for number in range(PAIRS + 1):
        pair = {program: run([program, "--isolated", "-j", "1", str(path)], bench)[0] for program in (without, with_plugin)}
        if number:  # the first pair brings the code into the system's cache
            cpu.append(1000 * (pair[with_plugin].cpu - pair[without].cpu))
            wall.append(1000 * (pair[with_plugin].wall - pair[without].wall))
    error = statistics.stdev(cpu) / math.sqrt(PAIRS)
    means = {"cpu_ms": statistics.mean(cpu), "cpu_ms_error": error, "wall_ms": statistics.mean(wall)}
    return means | {"cpu_ms_median": statistics.median(cpu), "wall_ms_median": statistics.median(wall), "pairs": PAIRS}


def growth(bench: Bench) -> Iterator[tuple[int, Row]]:
    """The number of files of ever larger choices of whole top folders, and what a cold run on them costs."""
    packages: dict[str, list[str]] = {}
    for path in bench.files:
        packages.setdefault(Path(path).relative_to(bench.folder).parts[0], []).append(path)
    copy = bench.scratch / "growth"
    chosen: list[str] = []
    for size in GROWTH:
        before = len(chosen)
        for name, files in list(packages.items()):
            if len(chosen) + len(files) <= size:
                chosen += packages.pop(name)
        if len(chosen) == before:
            continue
        for path in chosen[before:]:
            target = copy / Path(path).relative_to(bench.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        arguments = bench.evallint(str(copy), "--no-cache", "--jobs=1")
        what = f"{len(chosen)} files"
        yield len(chosen), measure(Job("growth", what, EVALLINT, arguments, r": EVL\d+ ", lines=_count_lines(chosen)), bench)


def exponent(rows: Sequence[Row]) -> float | None:
    """The slope of log CPU over log lines: 1 where twice the code costs twice as much."""
    points = [(math.log(row.lines), math.log(row.cpu)) for row in rows if not row.failed and row.lines]
    if len(points) < 2:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope


HEAD = "| what | CPU s | wall s | peak MiB | times ast.parse | lines/s | findings |\n|---|--:|--:|--:|--:|--:|--:|"


def line(row: Row, base: float) -> str:
    """A row as the table shows it."""
    if row.failed and not row.cpu:
        return f"| {row.what} | {row.failed} | | | | | |"
    digits = 2 if row.cpu >= 1 else 3
    times = f"{row.cpu / base:.2f}" if base and row.lines else ""
    speed = f"{row.lines / row.cpu:,.0f}" if row.lines else ""
    last = row.failed or ("" if row.findings is None else row.findings)
    return f"| {row.what} | {row.cpu:.{digits}f} | {row.wall:.{digits}f} | {row.peak:.0f} | {times} | {speed} | {last} |"


def ratios(rows: dict[str, Row]) -> dict[str, dict[str, float]]:
    """What evallint costs as parts of what TorchFix and torch-preflight cost, on one core each or on all."""
    found: dict[str, dict[str, float]] = {}
    for name, row in rows.items():
        if name.startswith("evallint-") and not row.failed:
            for other in ("torchfix", "torch-preflight"):
                peer = rows.get(f"{other}-all" if name.endswith("-all") else other)
                if peer and not peer.failed:
                    found[f"{row.what} / {peer.what}"] = {"cpu": row.cpu / peer.cpu, "wall": row.wall / peer.wall}
    return found


def _table(bench: Bench, chosen: Callable[[str], bool]) -> dict[str, Any]:
    print(f"\n{HEAD}")
    base, whole = parse_only(bench)
    rows = {"ast-parsing": base, "ast-process": whole}
    for row in rows.values():
        print(line(row, base.cpu), flush=True)
    for job in jobs(bench):
        if chosen(job.name):
            rows[job.name] = measure(job, bench)
            at_home = job.lines in (0, bench.lines)  # the ratio to the parsing of other files would mean nothing
            print(line(rows[job.name], base.cpu if at_home else 0), flush=True)
    print("\nFindings of ast.parse are files that it cannot parse; lines/s are lines per CPU second.")
    result: dict[str, Any] = {"rows": {name: asdict(row) for name, row in rows.items()}}
    python = rows.get("startup-python")
    for name in ("startup-version", "startup-plain"):
        if python and name in rows and not rows[name].failed:
            row = rows[name]
            print(f"{row.what} / {PYTHON_ONLY_PASS}: CPU {row.cpu / python.cpu:.1f} ({1000 * (row.cpu - python.cpu):.0f} ms more)")
    if chosen("flake8-file"):
        result["flake8_file"] = more = one_file(bench)
        print("flake8 with the plugin, on one file without PyTorch:", end=" ")
        if isinstance(more, str):
            print(more)
        else:
            mean = f"{more['cpu_ms']:.1f} ± {more['cpu_ms_error']:.1f} ms of CPU more, {more['wall_ms']:.1f} ms of wall time"
            print(f"{mean} (means of {PAIRS} pairs; medians {more['cpu_ms_median']:.1f} and {more['wall_ms_median']:.1f} ms)")
    result["ratios"] = ratios(rows)
    for name, ratio in result["ratios"].items():
        print(f"{name}: CPU {ratio['cpu']:.2f}, wall {ratio['wall']:.2f}")
    return result


def _growth_table(bench: Bench) -> dict[str, Any]:
    print(f"\n{HEAD}")
    rows = []
    for _, row in growth(bench):
        rows.append(row)
        print(line(row, 0), flush=True)
    slope = exponent(rows)
    print("\nToo few points for an exponent." if slope is None else f"\nCPU grows as lines to the power of {slope:.2f}.")
    return {"growth": [asdict(row) for row in rows], "exponent": slope}


def _chooser(text: str) -> Callable[[str], bool]:
    prefixes = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [prefix for prefix in prefixes if not any(name.startswith(prefix) for name in NAMES)]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no measurement {unknown[0]!r}; there are {', '.join(NAMES)}")
    return lambda name: not prefixes or name.startswith(prefixes)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench_speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(tempfile.gettempdir(), "evallint-bench-tools")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    which = f"measure only those whose names start so, of {', '.join(NAMES)}"
    parser.add_argument("--only", type=_chooser, default="", metavar="NAMES", help=which)
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="the least of N runs (default: 1)")
    parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="for each run (default: 3600)")
    parser.add_argument("--tools", type=Path, default=default, metavar="DIR", help=f"where the tools are installed (default: {default})")
    parser.add_argument("--growth", action="store_true", help=f"evallint on {', '.join(map(str, GROWTH))} files, in place of the table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON as well")
    options = parser.parse_args(argv)
    if options.repeat < 1 or not options.folder.is_dir():
        parser.error("FOLDER must be a folder, and --repeat at least 1")
    with tempfile.TemporaryDirectory(prefix="evallint-bench-") as scratch:
        folder, tools = options.folder.resolve(), options.tools.expanduser().resolve()
        bench = Bench(folder, Path(scratch).resolve(), tools, options.timeout, options.repeat)
        try:
            python = bench.program(EVALLINT, "python")
        except Missing as error:
            raise SystemExit(f"this checkout {error}") from None
        bench.files = [path for path in _said([python, "-c", LIST, str(folder)]).split("\0") if path]
        if not bench.files:
            raise SystemExit(f"no Python files below {folder}")
        bench.lines = _count_lines(bench.files)
        versions = {name: _said([python, "-c", VERSION, name]).strip() for name in ("evallint", "libcst")}
        versions |= {"Python": platform.python_version(), **dict(row[0].split("==") for row in REQUIREMENTS.values())}
        machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        print(f"{folder}: {len(bench.files):,} files, {bench.lines:,} lines; {machine}")
        print(", ".join(f"{name} {version}" for name, version in versions.items()))
        result = _growth_table(bench) if options.growth else _table(bench, options.only)
    if options.json:
        about = {"folder": str(folder), "files": len(bench.files), "lines": bench.lines, "machine": machine, "versions": versions}
        options.json.write_text(json.dumps(about | result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

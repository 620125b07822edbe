"""The programs of `fixtures/runtime`, what is expected on their lines, and their runs, watched and not."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from .fixture_files import FIXTURES, comments

PROGRAMS = FIXTURES / "runtime"
_ARGUMENTS = re.compile(r"# arguments:(.*)")
_EXPECT = re.compile(r"# ((?:EVL\d{3} [a-z-]+)(?:, EVL\d{3} [a-z-]+)*)")

Said = tuple[int, str, str]
"""1-based line, code, and verdict or `unseen`."""


@dataclass(frozen=True)
class Run:
    """One program with its arguments, and the verdicts that its lines announce."""

    name: str
    arguments: tuple[str, ...]
    expected: frozenset[Said]

    @property
    def id(self) -> str:
        """Its name among the tests."""
        return "-".join([self.name.removesuffix(".py"), *self.arguments])


@dataclass(frozen=True)
class Outcome:
    """What a run left: its exit code, its streams, and (watched) the report."""

    code: int
    out: str
    err: str
    report: Mapping[str, Any] | None = None

    @property
    def said(self) -> frozenset[Said]:
        """The verdicts of the report, and its unseen bugs."""
        assert self.report is not None, self.err
        rows = [(row["line"], row["code"], row["verdict"]) for row in self.report["verdicts"]]
        return frozenset(rows + [(row["line"], row["code"], "unseen") for row in self.report["unseen"]])


def _runs() -> list[Run]:
    found = []
    for path in sorted(PROGRAMS.glob("*.py")):
        arguments, expected = [], set()
        for line, comment in comments(path.read_text(encoding="utf-8")):
            if match := _ARGUMENTS.fullmatch(comment):
                arguments.append(tuple(match[1].split()))
            elif match := _EXPECT.fullmatch(comment):
                expected |= {(line, *each.split()) for each in match[1].split(", ")}
            elif "EVL" in comment:
                raise ValueError(f"{path}:{line}: no expectation: {comment}")
        found += [Run(path.name, each, frozenset(expected)) for each in arguments]
    return found


RUNS = _runs()


def execute(argv: Sequence[str], *, cwd: Path = PROGRAMS, environment: Mapping[str, str] | None = None, stdin: str = "") -> Outcome:
    """Run Python with `argv`; the package under test is found from anywhere."""
    root = str(FIXTURES.parent)
    search = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    env = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1", "EVALLINT_DEBUG": "1", **(environment or {})}
    done = subprocess.run([sys.executable, *argv], capture_output=True, text=True, cwd=cwd, env=env, input=stdin, timeout=300)
    return Outcome(done.returncode, done.stdout, done.stderr)


def watched(argv: Sequence[str], options: Sequence[str] = (), **more: Any) -> Outcome:
    """`evallint run OPTIONS ARGV`, with its report."""
    report = Path(mkdtemp()) / "report.json"
    outcome = execute(["-m", "evallint", "run", "--report", str(report), *options, *argv], **more)
    data = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
    return Outcome(outcome.code, outcome.out, outcome.err, data)


def unwatched(argv: Sequence[str], *, cwd: Path = PROGRAMS) -> Outcome:
    """Run a program as it is, in a process that begins with torch imported, as that takes most of the time; again by itself if it fails."""
    with TemporaryDirectory() as folder:
        process = _WARM.Process(target=_run, args=(list(argv), str(cwd), folder))
        process.start()
        process.join(300)
        if process.exitcode == 0:
            return Outcome(0, *((Path(folder) / name).read_text(encoding="utf-8") for name in ("out", "err")))
        process.kill()
    return execute(argv, cwd=cwd)


def _run(argv: list[str], cwd: str, folder: str) -> None:
    import torch

    torch.set_num_threads(1)  # as `execute` has it
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    sys.argv = argv
    sys.path.insert(0, cwd)
    runpy.run_path(argv[0], run_name="__main__")


_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(["torch", "torch._dynamo"])
_POOL = ThreadPoolExecutor(max_workers=2)  # each is a process of its own
_OUTCOMES: dict[Run, tuple[Future[Outcome], Future[Outcome]]] = {}


def outcomes(run: Run, wanted: Sequence[Run] = RUNS) -> tuple[Outcome, Outcome]:
    """The outcomes of a program without and with watching; the first question starts the runs of all `wanted` programs."""
    for each in (run, *wanted):
        if each not in _OUTCOMES:
            argv = [each.name, *each.arguments]
            _OUTCOMES[each] = (_POOL.submit(unwatched, argv), _POOL.submit(watched, argv))
    plain, seen = _OUTCOMES[run]
    return plain.result(), seen.result()

"""However a run is sped up, it says the same: bodies read late or at once, files screened or not, with a cache or without, in processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from evallint import analysis, gathering, working
from evallint import events as ev
from evallint.cache.codec import encode
from evallint.cache.store import Keeper, NoStore, Store
from evallint.finding import Finding
from evallint.linting import Report, lint_paths
from evallint.meaning.methods import is_abstract
from evallint.meaning.summaries import Summaries
from evallint.meaning.walk import attributes_set, calls_parameter, every
from evallint.settings import Settings
from evallint.source.file import Source
from evallint.source.reading import Unreadable, decode
from evallint.syntax.bodies import Unparsable
from evallint.syntax.visitor import lower_file
from tests.examples import CLEAN, MISSING_EVAL, NO_TORCH, ROOT, environment, evallint, run
from tests.fixture_files import FIXTURES

SHOWN = {"confidence": "low"}
CALLER = "import torch\nfrom pair.steps import validate, Net\n\n\ndef go(batches):\n    return validate(Net(), batches)\n"
CODE = [*sorted(FIXTURES.rglob("*.py")), *sorted((ROOT / "evallint").rglob("*.py"))]


def said(report: Report) -> tuple[list[Finding], int, int, list[str]]:
    """All that a report says, in its order."""
    return report.findings, report.files, report.parsed, [problem.message for problem in report.errors]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of many programs, right, wrong and broken, beside code that has nothing to do with PyTorch."""
    folder = tmp_path_factory.mktemp("programs")
    for room in ("wrong", "hard"):
        shutil.copytree(FIXTURES / room, folder / room)
    shutil.copytree(ROOT / "evallint" / "source", folder / "plain")
    (folder / "torn.py").write_text("import torch\n\ndef (:\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "pyproject.toml").write_text('[tool.evallint]\nignore = ["EVL002"]\n')
    (folder / "sub" / "a.py").write_text(MISSING_EVAL)
    return folder


@pytest.fixture(scope="module")
def plainly(programs: Path) -> tuple[list[Finding], int, int, list[str]]:
    """What is said of them with nothing kept, in one process."""
    answer = said(lint_paths([programs], changes=SHOWN))
    assert len(answer[0]) > 200 and {f.code for f in answer[0]} >= {"EVL001", "EVL002", "EVL003", "EVL900"}
    return answer


# Lowering


def told(event: ev.Import) -> tuple[str, int, str | None, str]:
    """What an import says."""
    return event.module, event.level, event.name, event.bound


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_bodies_read_late_are_those_read_at_once(path: Path) -> None:
    try:
        text = decode(path.read_bytes())
        at_once = lower_file("x.py", text, lazily=False)
    except (Unreadable, Unparsable):
        return
    late = lower_file("x.py", text)
    assert not any(f.unread for f in at_once.functions)
    for function in late.functions:
        if function.unread:
            glance = function.glance
            assert glance is not None
            before = is_abstract(function), list(attributes_set(function)), calls_parameter(function), [*map(told, glance.imports)]
            assert len(function.body) >= glance.statements and not function.unread
            function.glance = None
            imports = [told(e) for e in every(function.body) if isinstance(e, ev.Import)]
            assert before == (is_abstract(function), list(attributes_set(function)), calls_parameter(function), imports)
    assert encode(late) == encode(at_once)


def test_only_what_is_asked_for_is_read() -> None:
    unused = "".join(f"def helper_{n}(a, b):\n    c = a + b\n    d = c * 2\n    e = d - a\n    return e\n\n\n" for n in range(9))
    file = lower_file("x.py", unused + MISSING_EVAL)
    assert sum(f.unread for f in file.functions) >= 10
    asked: list[str] = []
    original = analysis.lower_file

    def lowered(path: str, text: str) -> object:
        found = original(path, text)
        asked.append(path)
        lowered.file = found  # type: ignore[attr-defined]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis, "lower_file", lowered)
        analysis.analyse([Source("x.py", unused + MISSING_EVAL)], Settings())
    unread = {f.name for f in lowered.file.functions if f.unread}  # type: ignore[attr-defined]
    assert asked == ["x.py"] and {f"helper_{n}" for n in range(9)} == unread


# Screening


def test_what_is_screened_out_is_silent(programs: Path, plainly: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "bytes_matter", lambda data: True)
    monkeypatch.setattr(analysis, "lower_file", lambda path, text: lower_file(path, text, lazily=False))
    report = lint_paths([programs], changes=SHOWN)
    assert report.parsed > plainly[2], "files without PyTorch are parsed as well"  # type: ignore[index]
    assert report.findings == plainly[0]  # type: ignore[index]


# Summaries


def test_calls_that_are_put_in_place_say_what_they_said_when_they_ran(
    programs: Path, plainly: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed: list[object] = []
    replay = Summaries.replay
    monkeypatch.setattr(Summaries, "replay", lambda *given: replayed.append(given) or replay(*given))
    assert lint_paths([programs], changes=SHOWN).findings == plainly[0]  # type: ignore[index]
    assert len(replayed) > 20
    monkeypatch.setattr(Summaries, "summary_key", lambda *given: None)
    assert lint_paths([programs], changes=SHOWN).findings == plainly[0]  # type: ignore[index]


# Processes


@pytest.mark.parametrize("kept", [False, True])
def test_processes_say_the_same(programs: Path, plainly: object, tmp_path: Path, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(working, "CHUNK", 2000)
    cache = Store(str(tmp_path / "cache")) if kept else NoStore()
    assert said(lint_paths([programs], changes=SHOWN, jobs=3, cache=cache)) == plainly
    assert said(lint_paths([programs], changes=SHOWN, jobs=1, cache=cache)) == plainly


def _die(works: Sequence[object], folder: str | None) -> None:
    os._exit(9)


def test_a_process_that_dies_costs_nothing_but_time(programs: Path, plainly: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(working, "findings_of_works", _die)
    assert said(lint_paths([programs], changes=SHOWN, jobs=2)) == plainly


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    for number in range(60):
        shutil.copytree(FIXTURES / "wrong", tmp_path / f"copy{number}")
    command = [sys.executable, "-m", "evallint", str(tmp_path), "--jobs", "2", "--no-cache"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, env=environment())
    time.sleep(4)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"evallint: interrupted\n")
    for _ in range(50):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 0)
            time.sleep(0.1)
            continue
        return
    pytest.fail("a process is left")


# The cache


def entries(folder: Path) -> list[Path]:
    """The entries of a cache."""
    return [path for path in folder.rglob("*") if path.is_file() and len(path.parent.name) == 2]


def test_a_second_run_says_the_same_without_analysing(programs: Path, plainly: object, tmp_path: Path) -> None:
    cache = Store(str(tmp_path / "cache"))
    assert said(lint_paths([programs], changes=SHOWN, cache=cache)) == plainly
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis, "analyse", lambda *_: pytest.fail("analysed again"))
        assert said(lint_paths([programs], changes=SHOWN, cache=cache)) == plainly
        default = lint_paths([programs], cache=cache).findings
    assert default == lint_paths([programs]).findings, "what is shown is decided anew"
    assert 0 < len(default) < len(plainly[0])  # type: ignore[arg-type, index]


def test_a_change_is_seen_and_leaves_the_other_parts(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "p"
    shutil.copytree(programs, folder)
    cache = Store(str(tmp_path / "cache"))
    before = lint_paths([folder], changes=SHOWN, cache=cache)
    (folder / "pair").mkdir()
    (folder / "pair" / "__init__.py").write_text("")
    (folder / "pair" / "steps.py").write_text(MISSING_EVAL.partition("def main")[0])
    (folder / "pair" / "main.py").write_text(CALLER)
    analysed: list[list[str]] = []
    original = analysis.analyse

    def spy(sources: Sequence[Source], settings: Settings, cache: Keeper | None = None) -> list[Finding]:
        analysed.append(sorted(Path(source.path).name for source in sources))
        return original(sources, settings, cache)

    monkeypatch.setattr(analysis, "analyse", spy)
    after = lint_paths([folder], changes=SHOWN, cache=cache)
    assert analysed == [["__init__.py", "main.py", "steps.py"]]
    assert after.findings == lint_paths([folder], changes=SHOWN).findings
    new = {f for f in after.findings if f not in before.findings}
    assert {Path(f.place.path).name for f in new} == {"steps.py"}
    analysed.clear()
    (folder / "pair" / "main.py").write_text(CALLER.replace("Net()", "Net().eval()"))
    fixed = lint_paths([folder], changes=SHOWN, cache=cache)
    assert analysed == [["__init__.py", "main.py", "steps.py"]]
    assert fixed.findings == before.findings, "the caller's change takes away the finding in another file"


def damage(path: Path, how: str, chance: random.Random) -> None:
    """Spoil an entry."""
    data = bytearray(path.read_bytes())
    if how == "torn":
        path.write_bytes(data[: chance.randrange(len(data))])
    elif how == "foreign":
        path.write_bytes(b'{"findings": []}')
    elif how == "flipped":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["torn", "foreign", "flipped", "swapped"])
def test_damaged_entries_are_worked_out_again(tmp_path: Path, how: str) -> None:
    chance = random.Random(how)
    folder = tmp_path / "p"
    folder.mkdir()
    for number, text in enumerate([MISSING_EVAL, CLEAN, NO_TORCH, MISSING_EVAL.replace("val_loader", "batches")]):
        (folder / f"m{number}.py").write_text(text)
    cache = tmp_path / "cache"
    expected = said(lint_paths([folder], changes=SHOWN, cache=Store(str(cache))))
    assert len(entries(cache)) > 4
    kept = entries(cache)
    if how == "swapped":
        contents = [path.read_bytes() for path in kept]
        for path, data in zip(kept, contents[1:] + contents[:1], strict=True):
            path.write_bytes(data)
    for path in kept:
        damage(path, how, chance)
    assert said(lint_paths([folder], changes=SHOWN, cache=Store(str(cache)))) == expected
    assert said(lint_paths([folder], changes=SHOWN, cache=Store(str(cache)))) == expected


def test_two_runs_at_once(programs: Path, plainly: object, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evallint", str(programs), "--output-format=json", "--confidence=low", f"--cache-dir={tmp_path / 'c'}"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=300)[0]) for process in processes]
    assert answers[0] == answers[1] == json.loads(run(*command, cwd=tmp_path).stdout)
    assert len(answers[0]["findings"]) == len(plainly[0])  # type: ignore[arg-type, index]


# The command line


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project with one bug, and a folder for its cache by default."""
    (tmp_path / "pyproject.toml").write_text("[tool.evallint]\n")
    (tmp_path / "train.py").write_text(MISSING_EVAL)
    yield tmp_path


def test_the_cache_lies_in_the_project_and_git_passes_over_it(project: Path) -> None:
    (project / "inner").mkdir()
    first = evallint("..", cwd=project / "inner", EVALLINT_CACHE_DIR="")
    assert first.returncode == 1 and (project / ".evallint_cache" / "CACHEDIR.TAG").is_file()
    run("git", "init", "-q", cwd=project)
    assert ".evallint_cache" not in run("git", "status", "--porcelain", "--untracked-files=all", cwd=project).stdout
    again = evallint("..", cwd=project / "inner", EVALLINT_CACHE_DIR="")
    assert (again.stdout, again.returncode) == (first.stdout, 1)
    cleaned = evallint("clean", cwd=project, EVALLINT_CACHE_DIR="")
    assert cleaned.returncode == 0 and "removed" in cleaned.stdout and not (project / ".evallint_cache").exists()
    assert evallint("clean", cwd=project, EVALLINT_CACHE_DIR="").returncode == 0, "nothing to clean is no failure"


def test_no_cache_leaves_nothing(project: Path) -> None:
    assert evallint("--no-cache", ".", cwd=project, EVALLINT_CACHE_DIR="").returncode == 1
    assert sorted(path.name for path in project.iterdir()) == ["pyproject.toml", "train.py"]


def test_clean_leaves_other_folders_alone(project: Path) -> None:
    refused = evallint("clean", ".", cwd=project)
    assert refused.returncode == 2 and "not a cache of evallint" in refused.stderr and (project / "train.py").is_file()


def test_a_cache_that_cannot_be_written_costs_nothing(project: Path) -> None:
    (project / "file").write_text("x")
    found = evallint("--cache-dir=file", "train.py", cwd=project)
    assert found.returncode == 1 and "EVL001" in found.stdout and found.stderr == "" and (project / "file").read_text() == "x"


@pytest.mark.parametrize("number", ["-1", "two", "1.5", ""])
def test_a_wrong_number_of_jobs(project: Path, number: str) -> None:
    done = evallint(f"--jobs={number}", ".", cwd=project)
    assert done.returncode == 2 and "not a number of processes" in done.stderr


def test_what_is_not_needed_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(NO_TORCH)
    heavy = "libcst evallint.meaning evallint.syntax evallint.rules evallint.report.full multiprocessing concurrent".split()
    code = "import sys; from evallint.adapters.cli import main; main(sys.argv[1:])"
    code += f"; print([m for m in sys.modules if m.startswith({tuple(heavy)})])"
    for arguments in (["--version"], [".", "--exit-zero", "--output-format=concise"], ["plain.py", "--output-format=concise"]):
        done = run(sys.executable, "-c", code, *arguments, cwd=tmp_path, PYTHONPATH=str(ROOT))
        assert done.stdout.splitlines()[-1:] == ["[]"], (arguments, done.stdout, done.stderr)

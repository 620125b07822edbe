"""The command line, run as users run it: in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import evallint as package
from evallint.adapters import cli
from tests.examples import CLEAN, COLUMN, LINE, MISSING_EVAL, NO_TORCH, SILENCED, environment, evallint, run

BROKEN = "import torch\n\ndef f(:\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with one file of each kind."""
    for name, text in {"bad.py": MISSING_EVAL, "good.py": CLEAN, "silenced.py": SILENCED, "plain.py": NO_TORCH}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_version_and_help(tmp_path: Path) -> None:
    version = evallint("--version", cwd=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"evallint {package.__version__}\n")
    shown = evallint("--help", cwd=tmp_path, COLUMNS="200")
    assert shown.returncode == 0
    assert all(
        f"\n{group}:\n" in shown.stdout for group in ("what is reported", "which files", "configuration", "only what is new", "output")
    )


def _parsers() -> dict[str, argparse.ArgumentParser]:
    return {"": cli._parser(), **cli.command_parsers()}


@pytest.mark.parametrize("command", _parsers())
def test_each_command_has_a_help_that_names_every_option(tmp_path: Path, command: str) -> None:
    parser = _parsers()[command]
    assert not command or f"evallint {command} " in _parsers()[""].format_help()
    for option in ("--help", "-h"):
        shown = evallint(*filter(None, (command, option)), cwd=tmp_path, COLUMNS="200")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert max(map(len, shown.stdout.splitlines())) <= 80
        assert shown.stdout.startswith(f"usage: evallint {command}".rstrip())
        for row in (row for row in parser._actions if row.help != argparse.SUPPRESS):
            spelling = " ".join(filter(None, (", ".join(row.option_strings), row.metavar if row.nargs != 0 else "")))
            assert re.search(rf"^  {re.escape(spelling)}(  +\S|$)", shown.stdout, re.MULTILINE), spelling


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--selct", "EVL001", "."), "evallint: error: unrecognized arguments: --selct (did you mean --select?)"),
        (("--per-file-ignore=x:EVL", "."), "(did you mean --per-file-ignores?)"),
        (("--zzz", "."), "unrecognized arguments: --zzz\n"),
        (("run", "--fial-on", "any", "bad.py"), "evallint run: error: unrecognized arguments: --fial-on (did you mean --fail-on?)"),
        (("report", "--fial-on=any", "x.json"), "evallint report: error: unrecognized arguments: --fial-on=any (did you mean --fail-on?)"),
        (("clean", "--halp"), "evallint clean: error: unrecognized arguments: --halp (did you mean --help?)"),
        (("rlue", "EVL001"), "rlue: No such file or directory (did you mean `evallint rule`?)"),
        (("completoin", "bash"), "(did you mean `evallint completion`?)"),
        (("rule", "EVL001", "EVL002"), "evallint rule: error: unrecognized arguments: EVL002"),
        (("completion",), "the following arguments are required: SHELL"),
    ],
)
def test_what_is_nearly_right_is_named(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = evallint(*arguments, cwd=folder)
    assert done.returncode == 2
    assert said in done.stderr


def test_concise(folder: Path) -> None:
    done = evallint("--output-format", "concise", ".", cwd=folder)
    assert done.returncode == 1
    assert re.fullmatch(rf"bad\.py:{LINE}:{COLUMN}: EVL001 .*`model`.*\n", done.stdout)
    assert done.stderr == ""


def test_full_shows_frame_and_trail(folder: Path) -> None:
    done = evallint("bad.py", cwd=folder)
    assert done.returncode == 1
    assert f"--> bad.py:{LINE}:{COLUMN}" in done.stdout
    assert "        for x, y in val_loader:\n" in done.stdout
    assert "^^^" in done.stdout
    assert "\x1b" not in done.stdout
    assert re.search(r" 1\. .*\n *\d+ \|", done.stdout), "the trail's steps are shown with their lines"
    assert "Found 1 finding in 1 file (1 file checked" in done.stdout


def test_json_is_the_contract(folder: Path) -> None:
    done = evallint("--output-format", "json", "--statistics", "bad.py", "good.py", "plain.py", cwd=folder)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert list(report) == ["version", "findings", "files", "parsed", "errors"]
    assert (report["version"], report["files"], report["parsed"], report["errors"]) == (1, 3, 2, [])
    (finding,) = report["findings"]
    assert list(finding) == [
        *("path", "line", "column", "end_line", "end_column", "code", "name", "message", "confidence", "severity"),
        *("function", "model", "trail", "fix"),
    ]
    assert (finding["path"], finding["line"], finding["column"]) == ("bad.py", LINE, COLUMN)
    assert (finding["code"], finding["name"], finding["function"], finding["model"]) == ("EVL001", "missing-eval", "validate", "model")
    assert finding["confidence"] in ("medium", "high")
    assert finding["trail"]
    assert all(list(step) == ["path", "line", "column", "note"] for step in finding["trail"])
    assert done.stderr == "1  EVL001  missing-eval\n", "statistics leave standard output to the JSON"


def test_exit_codes(folder: Path) -> None:
    assert evallint("good.py", cwd=folder).returncode == 0
    assert evallint("silenced.py", cwd=folder).returncode == 0
    assert evallint("plain.py", cwd=folder).returncode == 0
    assert evallint("bad.py", cwd=folder).returncode == 1
    assert evallint("--exit-zero", "bad.py", cwd=folder).returncode == 0
    assert evallint("--ignore", "EVL001", "bad.py", cwd=folder).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "required"),
        (("--no-such-option", "."), "--no-such-option"),
        (("--select", "E501", "."), "'E501'"),
        (("--confidence", "certain", "."), "'certain'"),
        (("--output-format", "xml", "."), "'xml'"),
        (("nowhere.py",), "nowhere.py: No such file"),
        (("rule", "EVL999"), "'EVL999'"),
        (("rule",), "rule CODE"),
    ],
)
def test_a_run_that_fails(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = evallint(*arguments, cwd=folder)
    assert done.returncode == 2
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_missing_path_does_not_stop_the_rest(folder: Path) -> None:
    done = evallint("--output-format", "json", "nowhere", "bad.py", cwd=folder)
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert [f["code"] for f in report["findings"]] == ["EVL001"]
    assert report["errors"] == [{"path": "nowhere", "message": "No such file or directory"}]


def test_selection(folder: Path) -> None:
    def codes(*options: str) -> list[str]:
        done = evallint("--output-format", "json", *options, "bad.py", cwd=folder)
        return [f["code"] for f in json.loads(done.stdout)["findings"]]

    assert codes("--select", "EVL001") == ["EVL001"]
    assert codes("--select", "evl0") == ["EVL001"]
    assert codes("--select", "EVL002,EVL003") == []
    assert codes("--select", "EVL002", "--extend-select", "EVL001") == ["EVL001"]
    assert codes("--ignore", "EVL") == []
    assert codes("--ignore", "EVL", "--select", "EVL001") == ["EVL001"], "the longer prefix wins"
    assert codes("--select", "EVL001", "--ignore", "EVL001") == []


def test_a_broken_file_is_one_finding_and_does_not_stop_the_rest(folder: Path) -> None:
    (folder / "broken.py").write_text(BROKEN)
    (folder / "zero.py").write_bytes(b"import torch\nx = '\0'\n")
    done = evallint("--output-format", "json", ".", cwd=folder)
    assert done.returncode == 1
    found = [(f["path"], f["code"]) for f in json.loads(done.stdout)["findings"]]
    assert found == [("bad.py", "EVL001"), ("broken.py", "EVL900"), ("zero.py", "EVL900")]
    assert evallint("--select", "EVL002", "broken.py", cwd=folder).returncode == 1, "a selection of rules does not hide it"
    assert evallint("--ignore", "EVL900", "broken.py", cwd=folder).returncode == 0


def test_a_broken_file_without_pytorch_is_told_only_if_named(folder: Path) -> None:
    (folder / "broken.py").write_text("def f(:\n")
    assert evallint("--output-format", "concise", "--select", "EVL9", ".", cwd=folder).stdout.count("EVL900") == 0
    assert evallint("--output-format", "concise", "broken.py", cwd=folder).stdout.startswith("broken.py:1:")


def test_standard_input(tmp_path: Path) -> None:
    done = evallint("--output-format", "concise", "-", "--stdin-filename", "pkg/x.py", cwd=tmp_path, stdin=MISSING_EVAL.encode())
    assert done.returncode == 1
    assert done.stdout.startswith(f"pkg/x.py:{LINE}:{COLUMN}: EVL001 ")
    unnamed = evallint("-", cwd=tmp_path, stdin=b"\xff")
    assert unnamed.returncode == 1
    assert "<stdin>:1:1" in unnamed.stdout


def test_statistics(folder: Path) -> None:
    (folder / "zero.py").write_bytes(b"import torch\n\0")
    done = evallint("--statistics", "--output-format", "concise", ".", cwd=folder)
    assert done.stdout.splitlines()[2:] == ["1  EVL001  missing-eval", "1  EVL900  unreadable-file"]


def test_settings_of_the_project(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.evallint]\nignore = ["EVL001"]\n')
    assert evallint("bad.py", cwd=folder).returncode == 0
    assert evallint("--ignore", "EVL003", "bad.py", cwd=folder).returncode == 1, "an option replaces the setting"
    (folder / "pyproject.toml").write_text("[tool.evallint]\nselekt = []\n")
    done = evallint("bad.py", cwd=folder)
    assert done.returncode == 2
    assert "pyproject.toml" in done.stderr
    assert "'selekt' (did you mean 'select'?)" in done.stderr


def test_files_of_differently_set_up_projects_in_one_run(folder: Path) -> None:
    (folder / "quiet").mkdir()
    (folder / "quiet" / "pyproject.toml").write_text('[tool.evallint]\nignore = ["EVL001"]\n')
    (folder / "quiet" / "bad.py").write_text(MISSING_EVAL)
    done = evallint("--output-format", "concise", ".", cwd=folder)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["bad.py"]


def test_rule_page(tmp_path: Path) -> None:
    done = evallint("rule", "evl001", cwd=tmp_path)
    assert done.returncode == 0
    assert "EVL001" in done.stdout
    assert "missing-eval" in done.stdout


IMPORTS = """
import sys
from evallint.adapters.cli import main
status = main(sys.argv[1:])
print(status, *sorted(m for m in ("libcst", "evallint.analysis", "torch") if m in sys.modules))
"""


@pytest.mark.parametrize(
    ("argument", "imported"),
    [("--version", "0"), ("plain.py", "0"), ("good.py", "0 evallint.analysis libcst")],
)
def test_nothing_heavy_is_imported_without_need(folder: Path, argument: str, imported: str) -> None:
    done = run(sys.executable, "-c", IMPORTS, argument, cwd=folder, EVALLINT_NO_CACHE="1")
    assert done.stdout.splitlines()[-1] == imported, done.stderr


def test_a_reader_that_leaves_early(folder: Path) -> None:
    for number in range(40):
        (folder / f"zero{number}.py").write_bytes(b"import torch\n\0")
    command = f"{sys.executable} -m evallint . | head -n 1"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, env=environment())
    assert done.stdout.startswith("EVL")
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="wants /dev/full")
def test_a_full_disk(folder: Path) -> None:
    command = f"{sys.executable} -m evallint . > /dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, env=environment())
    assert done.returncode == 2
    assert done.stderr == "evallint: error: cannot write the findings: No space left on device\n"


def test_output_in_a_narrow_encoding(tmp_path: Path) -> None:
    (tmp_path / "zéro.py").write_bytes(b"import torch\n\0")
    done = subprocess.run(
        [sys.executable, "-m", "evallint", "."], cwd=tmp_path, capture_output=True, env=environment(PYTHONIOENCODING="ascii")
    )
    assert done.returncode == 1
    assert b"z\\xe9ro.py" in done.stdout
    assert done.stderr == b""


def test_interrupted(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)
    child = subprocess.Popen(
        [sys.executable, "-m", "evallint", str(pipe)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    )
    writer = os.open(pipe, os.O_WRONLY)  # returns once the child has opened the other end, and so waits for bytes
    child.send_signal(signal.SIGINT)
    os.close(writer)  # ends the wait of a child that had not begun to read when the signal came
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (130, "", "evallint: interrupted\n")


def _on_a_terminal(folder: Path, *arguments: str, feed: Path | None = None, **changes: str) -> str:
    """What a terminal shows of a run. With `feed`, a pipe that the run reads, the run is kept waiting until it shows progress."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "evallint", *arguments], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**changes)
    )
    os.close(theirs)
    writer = os.open(feed, os.O_WRONLY) if feed else None
    shown = b""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux's way to say that the other side is closed
                break
            if not piece:
                break
            shown += piece
        if writer is not None and b"evallint: " in shown:
            os.close(writer)
            writer = None
    child.wait(timeout=60)
    os.close(ours)
    return shown.decode()


def test_colours_on_a_terminal_alone(folder: Path) -> None:
    (folder / "zero.py").write_bytes(b"import torch\n\0")
    assert "\x1b[1;31mEVL900\x1b[0m" in _on_a_terminal(folder, "zero.py", TERM="xterm")
    assert "\x1b" not in _on_a_terminal(folder, "zero.py", TERM="xterm", NO_COLOR="1")
    assert "\x1b" not in evallint("zero.py", cwd=folder, TERM="xterm").stdout
    assert "\x1b[1;31mEVL900" in evallint("zero.py", cwd=folder, FORCE_COLOR="1").stdout


def test_progress_on_a_terminal_when_it_takes_long(folder: Path) -> None:
    os.mkfifo(folder / "slow.py")
    shown = _on_a_terminal(folder, "slow.py", feed=folder / "slow.py", TERM="xterm", NO_COLOR="1")
    assert re.search(r"\revallint?|\r\x1b\[Kevallint: ", shown)
    assert "\r\x1b[K" in shown.split("evallint: ")[-1], "the line is wiped in the end"
    assert "No findings" in shown.split("\x1b[K")[-1]


def test_what_python_thinks_of_escapes_is_not_said(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(CLEAN.replace("correct = 0", 'correct = len("\\d") - 2'))
    (tmp_path / "b.py").write_text(NO_TORCH + 'PATTERN = "\\d"\n')
    done = evallint("a.py", "b.py", cwd=tmp_path, PYTHONWARNINGS="default", EVALLINT_NO_CACHE="1")
    assert (done.returncode, done.stderr) == (0, "")

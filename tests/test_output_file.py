"""`--output-file`: the report in a file, whole or as it was before."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import CLEAN, MISSING_EVAL, environment, evallint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with one finding, in a file whose name is not ASCII."""
    (tmp_path / "zéro.py").write_text(MISSING_EVAL)
    return tmp_path


def test_the_report_is_in_the_file_and_not_on_the_screen(folder: Path) -> None:
    shown = evallint("--output-format", "concise", ".", cwd=folder).stdout
    done = evallint("--output-format", "concise", "--output-file", "report.txt", ".", cwd=folder, FORCE_COLOR="1", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert (folder / "report.txt").read_bytes().decode() == shown
    assert sorted(os.listdir(folder)) == ["report.txt", "zéro.py"]


def test_an_empty_report_replaces_an_older_one(folder: Path) -> None:
    (folder / "report.txt").write_text("old")
    (folder / "zéro.py").write_text(CLEAN)
    assert evallint("--output-format", "concise", "--output-file", "report.txt", ".", cwd=folder).returncode == 0
    assert (folder / "report.txt").read_text() == ""


def test_statistics_are_on_the_screen(folder: Path) -> None:
    done = evallint("--output-format", "json", "--output-file", "report.json", "--statistics", ".", cwd=folder)
    assert (done.stdout, done.stderr) == ("1  EVL001  missing-eval\n", "")
    assert len(json.loads((folder / "report.json").read_bytes())["findings"]) == 1


def test_a_hyphen_is_standard_output(folder: Path) -> None:
    done = evallint("--output-format", "json", "--output-file", "-", ".", cwd=folder)
    assert len(json.loads(done.stdout)["findings"]) == 1


def test_links_and_permissions_stay(folder: Path) -> None:
    (folder / "real.txt").write_text("old")
    (folder / "real.txt").chmod(0o640)
    (folder / "link.txt").symlink_to("real.txt")
    assert evallint("--output-file", "link.txt", ".", cwd=folder).returncode == 1
    assert (folder / "link.txt").is_symlink()
    assert (folder / "real.txt").read_text().startswith("EVL001")
    assert stat.S_IMODE((folder / "real.txt").stat().st_mode) == 0o640


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="wants /dev/stdout")
def test_a_device_is_written_to(folder: Path) -> None:
    done = evallint("--output-file", "/dev/stdout", ".", cwd=folder)
    assert done.returncode == 1
    assert done.stdout.startswith("EVL001")


@pytest.mark.parametrize(
    ("file", "reason"),
    [("nowhere/report.txt", "No such file or directory"), (".", "Is a directory"), ("zéro.py/x", "No such file or directory")],
)
def test_a_file_that_cannot_be_written(folder: Path, file: str, reason: str) -> None:
    os.mkfifo(folder / "pipe.py")  # a run that began to lint would wait here for ever
    done = evallint("--output-file", file, "pipe.py", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"evallint: error: cannot write {file}: {reason}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="wants /dev/full")
def test_a_full_device(folder: Path) -> None:
    done = evallint("--output-file", "/dev/full", ".", cwd=folder)
    assert (done.returncode, done.stderr) == (2, "evallint: error: cannot write /dev/full: No space left on device\n")


def test_a_disk_that_runs_full_leaves_the_older_report(folder: Path) -> None:
    (folder / "report.json").write_text("old")
    limit = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)); runpy.run_module('evallint', run_name='__main__')"
    arguments = ["--no-cache", "--output-format", "json", "--output-file", "report.json", "."]
    done = subprocess.run([sys.executable, "-c", limit, *arguments], cwd=folder, capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stderr) == (2, "evallint: error: cannot write report.json: File too large\n")
    assert (folder / "report.json").read_text() == "old"
    assert sorted(os.listdir(folder)) == ["report.json", "zéro.py"]


def test_reports_for_programs_are_utf8_whatever_the_terminal_says(folder: Path) -> None:
    for kind in ("junit", "github"):
        command = [sys.executable, "-m", "evallint", "--output-format", kind, "."]
        done = subprocess.run(command, cwd=folder, capture_output=True, env=environment(PYTHONIOENCODING="latin-1"))
        assert "zéro.py".encode() in done.stdout

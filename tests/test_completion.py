"""`evallint completion`: the scripts, sourced by the shells themselves. zsh and fish are tried where they are installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.examples import environment, evallint, run

COMMANDS = {"rule", "run", "report", "clean", "completion"}


def _script(folder: Path, shell: str) -> Path:
    done = evallint("completion", shell, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    path = folder / f"script.{shell}"
    path.write_text(done.stdout)
    return path


def _needs(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working folder with a file, a folder, and names that need care."""
    for name in ("train.py", "two words.py", "inner/deep.py", "Xsettings.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


BASH = """
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(( $# - 1 ))
_evallint
printf '%s\\n' "${COMPREPLY[@]}"
"""


def _bash(folder: Path, *words: str) -> set[str]:
    _needs("bash")
    done = run("bash", "--norc", "-c", BASH, "bash", str(_script(folder, "bash")), "evallint", *words, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return set(filter(None, done.stdout.split("\n")))


def _fish(folder: Path, *words: str) -> set[str]:
    _needs("fish")
    command = f"source {_script(folder, 'fish')}; complete -C $argv[1]"
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), "XDG_DATA_HOME": str(folder / "data")}
    done = run("fish", "--no-config", "-c", command, " ".join(("evallint", *words)), cwd=folder, **home)
    assert (done.returncode, done.stderr) == (0, "")
    return {line.split("\t")[0] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("complete", [_bash, _fish])
def test_what_is_offered(here: Path, complete: object) -> None:
    assert callable(complete)
    assert COMMANDS | {"train.py"} <= complete(here, "")
    assert complete(here, "--conf") == {"--config", "--confidence"}
    assert complete(here, "--confidence", "") == {"low", "medium", "high"}
    assert complete(here, "--severity", "w") == {"warning"}
    assert complete(here, "rule", "EVL0") == {"EVL001", "EVL002", "EVL003"}
    assert complete(here, "completion", "") == {"bash", "zsh", "fish"}
    assert {"--report", "--probes", "--no-probes", "--eager", "--fail-on"} <= complete(here, "run", "--")
    assert complete(here, "report", "--fail-on", "c") == {"confirmed"}
    assert complete(here, "--config", "Xs") == {"Xsettings.toml"}
    assert "EVL001,EVL002" in complete(here, "--select", "EVL001,EVL00")


def test_bash_joined_values_files_and_folders(here: Path) -> None:
    assert _bash(here, "--output-format", "=", "c") == {"concise"}, "bash itself splits a word at ="
    assert _bash(here, "--output-format", "=") >= {"full", "concise", "json"}
    assert _bash(here, "tr") == {"train.py"}
    assert _bash(here, "src", "two") == {"two words.py"}
    assert _bash(here, "--cache-dir", "") == {"inner"}
    assert _bash(here, "clean", "in") == {"inner"}
    assert _bash(here, "--jobs", "") == set()


def _typed(folder: Path, command: list[str], setup: str, typed: str, wanted: str) -> str:
    """What a shell on a terminal shows after `typed` and a tab, up to `wanted` or for ten seconds."""
    ours, theirs = pty.openpty()
    changes = {"HOME": str(folder), "TERM": "dumb", "PS1": "$ "}
    child = subprocess.Popen(
        command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**changes), start_new_session=True
    )
    os.close(theirs)
    shown = ""

    def read_until(text: str) -> None:
        nonlocal shown
        end = time.monotonic() + 10
        while text not in shown and time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 65536).decode(errors="replace").replace("\a", "")

    try:
        os.write(ours, f"{setup}; echo rea''dy\n".encode())
        read_until("\nready")
        shown = ""
        os.write(ours, f"{typed}\t".encode())
        read_until(wanted)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    return shown


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "bind 'set enable-bracketed-paste off' 2>/dev/null; source script.bash"),
    "zsh": (["zsh", "-f", "-i"], "unsetopt prompt_sp zle_bracketed_paste; autoload -U compinit; compinit -u -D; source script.zsh"),
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("evallint --sev", "--severity"),
        ("evallint --severity w", "--severity warning"),
        ("evallint --output-format=j", "--output-format=json"),
        ("evallint comple", "evallint completion"),
        ("evallint completion f", "completion fish"),
        ("evallint rule EVL91", "rule EVL910"),
        ("evallint --select EVL001,EVL91", "EVL001,EVL910"),
        ("evallint run --ea", "run --eager"),
        ("evallint report --fail-on c", "--fail-on confirmed"),
        ("evallint tra", "evallint train.py"),
        ("evallint --statistics two", "two\\ words.py"),
        ("evallint --cache-dir i", "--cache-dir inner/"),
    ],
)
def test_a_tab_on_a_terminal(here: Path, shell: str, typed: str, wanted: str) -> None:
    _needs(shell)
    _script(here, shell)
    command, setup = SHELLS[shell]
    assert wanted in _typed(here, command, setup, typed, wanted)


def test_another_shell_is_a_mistake(tmp_path: Path) -> None:
    done = evallint("completion", "tcsh", cwd=tmp_path)
    assert done.returncode == 2
    assert "'bash', 'zsh', 'fish'" in done.stderr.replace("bash, zsh, fish", "'bash', 'zsh', 'fish'")


HEAVY = """
import sys
from evallint.adapters.cli import main
main(["completion", "bash"])
sys.exit(any(name in sys.modules for name in ("libcst", "torch")))
"""


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    assert run(sys.executable, "-c", HEAVY, cwd=tmp_path).returncode == 0

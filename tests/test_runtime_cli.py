"""`evallint run` and `evallint report`: the program runs as Python itself would run it, and the options do what they say."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .runtime_programs import PROGRAMS, Outcome, execute, watched

pytest.importorskip("torch")

_SCRIPT = """\
import atexit
import os
import signal
import sys

atexit.register(lambda: print("at exit"))
print(sys.argv, __file__, __name__, sys.path[0], __package__, __doc__, sorted(name for name in globals() if name[:2] != "__"))
what = sys.argv[1]


def go():
    if what == "exit":
        sys.exit(7)
    if what == "message":
        sys.exit("a last word")
    if what == "cause":
        try:
            {}["key"]
        except KeyError as error:
            raise ValueError("from a cause") from error
    if what == "hook":
        sys.excepthook = lambda kind, value, traceback: print("hooked", kind.__name__, traceback is None)
        1 / 0
    if what == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            pass
    if what == "input":
        print(input(), sys.stdin.read())
    if what == "main":
        import __main__

        print(__main__.go is go, sys.modules["__main__"].__file__)


go()
"""


def _both(folder: Path, argv: list[str], stdin: str = "") -> tuple[Outcome, Outcome]:
    plain = execute(argv, cwd=folder, stdin=stdin)
    return plain, watched(argv, cwd=folder, stdin=stdin)


def _same(plain: Outcome, seen: Outcome) -> None:
    assert (seen.code, seen.out) == (plain.code, plain.out)
    own, head, _ = seen.err.rpartition("evallint: no findings (0 forward calls and 0 training steps watched)\n")
    assert head, seen.err
    assert own == plain.err.replace("a last word\n", "")  # Python prints that at its very end


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in (tmp_path / "script.py", tmp_path / "package" / "__main__.py", tmp_path / "package" / "part.py"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(_SCRIPT, encoding="utf-8")
    (tmp_path / "package" / "__init__.py").touch()
    return tmp_path


_ENDS = ("exit", "message", "cause", "hook", "interrupt", "input", "main", "nothing")
_NAMED = [(program, what) for program in ("script.py", "-m package") for what in _ENDS]
_NAMED += [(program, what) for program in ("package", "-m script", "-m package.part") for what in ("exit", "cause")]


@pytest.mark.parametrize(("program", "what"), _NAMED)
def test_a_program_runs_as_under_python(folder: Path, program: str, what: str) -> None:
    plain, seen = _both(folder, [*program.split(), what, "--report", "-m"], stdin="first\nrest\n")
    _same(plain, seen)


def test_interrupted_from_outside(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text("import torch\nprint('ready', flush=True)\nwhile True:\n    pass\n", encoding="utf-8")
    argv = [sys.executable, "-m", "evallint", "run", "endless.py"]
    env = {**os.environ, "PYTHONPATH": str(PROGRAMS.parent.parent)}
    with subprocess.Popen(argv, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert re.search(r"Traceback.*KeyboardInterrupt\n.*evallint: no findings", err, re.DOTALL)
    assert "evallint/" not in err


def test_a_traceback_through_models_has_no_frame_of_ours(tmp_path: Path) -> None:
    script = tmp_path / "raises.py"
    script.write_text(
        "import torch\nfrom torch import nn\n\n\nclass Bad(nn.Module):\n    def forward(self, x):\n        raise ValueError(x)\n\n\n"
        "nn.Sequential(nn.Dropout(), nn.Sequential(Bad()))(1)\n",
        encoding="utf-8",
    )
    script.write_text(script.read_text(encoding="utf-8").replace("nn.Dropout(), ", ""), encoding="utf-8")
    plain, seen = _both(tmp_path, ["raises.py"])
    assert seen.code == plain.code == 1
    assert seen.err.startswith(plain.err)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere.py"], "evallint: error: cannot find nowhere.py"),
        (["-m", "nowhere"], "evallint: error: No module named nowhere"),
        (["empty"], "evallint: error: cannot find __main__.py in empty"),
        ([], "evallint run: error: nothing to run"),
        (["-m"], "evallint run: error: argument -m"),
        (["--probes", "many", "script.py"], "invalid number of probes: 'many'"),
        (["--probes", "-1", "script.py"], "invalid number of probes: '-1'"),
        (["--fail-on", "all", "script.py"], "argument --fail-on: invalid choice"),
        (["--unknown", "script.py"], "unrecognized arguments: --unknown"),
    ],
)
def test_nothing_to_run(folder: Path, argv: list[str], said: str) -> None:
    (folder / "empty").mkdir()
    outcome = execute(["-m", "evallint", "run", *argv], cwd=folder)
    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err and not outcome.out


def test_a_script_that_does_not_parse(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def f(:\n", encoding="utf-8")
    plain, seen = _both(tmp_path, ["broken.py"])
    assert seen.code == plain.code == 1
    assert seen.err.startswith(plain.err)


def test_a_report_that_cannot_be_written_costs_nothing(folder: Path) -> None:
    outcome = execute(["-m", "evallint", "run", "--report", "none/report.json", "script.py", "nothing"], cwd=folder)
    assert outcome.code == 0
    assert "evallint: error: cannot write" in outcome.err


def test_without_torch_that_is_told(folder: Path) -> None:
    seen = watched(["script.py", "nothing"], cwd=folder)
    assert "torch was not imported, so nothing was watched" in seen.err
    assert seen.report is not None and seen.report["environment"]["torch"] is None


def test_torch_is_imported_by_the_program_alone(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text(
        "import sys\nprint('torch' in sys.modules, 'libcst' in sys.modules)\nimport os\nos.environ['OMP_NUM_THREADS'] = '2'\nimport torch\n"
        "print(torch.get_num_threads(), torch.__spec__.loader.__class__.__name__, torch.__loader__ is torch.__spec__.loader)\n"
        "print(sys.meta_path[0].__class__.__module__.startswith('evallint'))\n",
        encoding="utf-8",
    )
    plain, seen = _both(tmp_path, ["early.py"])
    assert plain.out.startswith("False False\n2 SourceFileLoader True\n")
    assert seen.out == plain.out


@pytest.mark.parametrize(
    ("program", "on", "code"), [("missing_eval.py", "confirmed", 1), ("missing_eval.py", "any", 1), ("not_reached.py", "any", 1)]
)
def test_fail_on(program: str, on: str, code: int) -> None:
    assert watched([program, "cnn"], ["--fail-on", on]).code == code


@pytest.mark.parametrize(("program", "on"), [("harmless.py", "any"), ("not_reached.py", "confirmed")])
def test_fail_on_passes(program: str, on: str) -> None:
    assert watched([program, "plain" if program == "harmless.py" else "cnn"], ["--fail-on", on]).code == 0


def test_the_exit_code_of_the_program_comes_first(tmp_path: Path) -> None:
    text = (PROGRAMS / "missing_eval.py").read_text(encoding="utf-8")
    (tmp_path / "common.py").write_text((PROGRAMS / "common.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "leaves.py").write_text(text + "sys.exit(5)\n", encoding="utf-8")
    assert watched(["leaves.py", "cnn"], ["--fail-on", "confirmed"], cwd=tmp_path).code == 5


def test_no_probes() -> None:
    seen = watched(["missing_eval.py", "cnn"], ["--no-probes"])
    assert seen.report is not None
    (verdict,) = seen.report["verdicts"]
    assert (verdict["verdict"], verdict["effect"], verdict["evidence"]["probes"]) == ("confirmed", {}, 0)
    assert "effect: not measured" in seen.err


def test_the_report() -> None:
    seen = watched(["missing_eval.py", "cnn"], ["--probes", "2"])
    assert seen.report is not None
    assert seen.report["version"] == 1 and seen.report["unseen"] == []
    (verdict,) = seen.report["verdicts"]
    about = {name: verdict[name] for name in ("path", "line", "column", "code", "verdict", "calls", "model", "function")}
    assert about == {
        **{"path": "missing_eval.py", "line": 14, "column": 9, "code": "EVL001"},
        **{"verdict": "confirmed", "calls": 6, "model": "CNN", "function": "validate"},
    }
    evidence, effect = verdict["evidence"], verdict["effect"]
    assert evidence["submodules"] == ["norm (BatchNorm2d)", "drop (Dropout p=0.5)"]
    assert evidence["sites"] == [{"path": "missing_eval.py", "line": 15, "column": 32, "calls": 6}]
    assert evidence["probes"] == 2 and evidence["counts"]["confirmed"] == 6
    assert effect["predictions"] == 64 and 0 < effect["predictions_changed"] <= 64
    assert effect["relative_difference"] > 0.1 and effect["spread_over_seeds"] > 0.1
    assert effect["buffers_changed"] == ["norm.num_batches_tracked", "norm.running_mean", "norm.running_var"]
    assert {"python", "torch", "platform", "evallint", "program", "seconds"} <= seen.report["environment"].keys()
    for part in (
        "EVL001 CONFIRMED",
        "missing_eval.py:14:9 in `validate`",
        "`drop (Dropout p=0.5)`",
        "of 64 predictions change with `eval()`",
    ):
        assert part in seen.err


def test_reports_of_other_kinds_are_refused(tmp_path: Path) -> None:
    for name, text in (("a.json", "{}"), ("b.json", "no json"), ("c.json", '{"version": 1, "verdicts": [{"path": 1}]}')):
        (tmp_path / name).write_text(text, encoding="utf-8")
        outcome = execute(["-m", "evallint", "report", name], cwd=tmp_path)
        assert outcome.code == 2 and outcome.err.startswith(f"evallint: error: {name}: "), outcome.err
    assert execute(["-m", "evallint", "report", "none.json"], cwd=tmp_path).code == 2


def test_a_report_is_shown_again(tmp_path: Path) -> None:
    first = watched(["missing_eval.py", "cnn"])
    path = tmp_path / "report.json"
    path.write_text(json.dumps(first.report), encoding="utf-8")
    shown = execute(["-m", "evallint", "report", "--fail-on", "confirmed", str(path)])
    assert shown.code == 1
    assert shown.out == first.err[first.err.index("evallint: ") :]

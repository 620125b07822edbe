"""Every program of `fixtures/runtime` gets the verdicts that its lines announce, and runs as it does unwatched, bit for bit."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from .runtime_programs import PROGRAMS, RUNS, Outcome, Run, execute, outcomes, watched

pytest.importorskip("torch")

_SCRIPTS = [run for run in RUNS if run.name != "ddp.py"]


@pytest.mark.parametrize("run", _SCRIPTS, ids=lambda run: run.id)
def test_verdicts(run: Run) -> None:
    _, seen = outcomes(run, _SCRIPTS)
    assert seen.said == run.expected, seen.err
    assert seen.report is not None and "errors" not in seen.report["environment"]


@pytest.mark.parametrize("run", _SCRIPTS, ids=lambda run: run.id)
def test_the_run_is_untouched(run: Run) -> None:
    # the programs print their losses and a hash of weights, buffers and the states of all random generators
    plain, seen = outcomes(run, _SCRIPTS)
    assert "state" in plain.out or plain.code, plain.err
    assert (seen.out, seen.code) == (plain.out, plain.code)
    own = seen.err.rpartition("evallint: ")[0]
    assert _without_warnings(own) == _without_warnings(plain.err)


def _without_warnings(text: str) -> str:
    """What libraries warn of names processes and times."""
    return "\n".join(row for row in text.splitlines() if "Warning" not in row and "warn" not in row and not row.startswith("[")).strip()


def test_each_verdict_is_reached_by_two_models() -> None:
    reached: Counter[tuple[str, str]] = Counter()
    models: dict[tuple[str, str], set[str]] = {}
    for run in _SCRIPTS:
        for _, code, verdict in run.expected:
            reached[code, verdict] += 1
            models.setdefault((code, verdict), set()).add(run.arguments[0] if run.arguments else "")
    for verdict in ("confirmed", "harmless", "refuted", "not-reached", "unseen"):
        for code in ("EVL001", "EVL002", "EVL003"):
            assert len(models.get((code, verdict), ())) >= 2, (code, verdict)
    assert len(models["EVL001", "mixed"]) >= 2
    assert len(models["EVL001", "not-observable"]) >= 2
    for code in ("EVL201", "EVL202", "EVL203", "EVL301"):
        assert {verdict for other, verdict in reached if other == code} >= {
            *("confirmed", "harmless", "refuted", "not-reached", "not-observable"),
        }, code
    assert {verdict for code, verdict in reached if code == "EVL102"} == {"confirmed", "mixed", "refuted", "not-reached"}


# The controls: what the guarantee forbids is seen by the test above

_CONTROL = """\
import sys
from evallint.runtime import probing, twins
{sabotage}
from evallint.adapters.cli import main
sys.argv = ["evallint"]
sys.exit(main(["run", *{argv}]))
"""


def _sabotaged(sabotage: str, *argv: str) -> Outcome:
    return execute(["-c", _CONTROL.format(sabotage=sabotage, argv=argv or ("missing_eval.py", "cnn"))])


def _control(*argv: str) -> Outcome:
    name, *arguments = argv or ("missing_eval.py", "cnn")
    plain, _ = outcomes(next(run for run in RUNS if run.name == name and run.arguments == tuple(arguments)))
    return plain


def test_the_control_without_sabotage_is_untouched() -> None:
    assert _sabotaged("pass").out == _control().out


def test_generators_that_are_not_restored_are_seen() -> None:
    assert _sabotaged("twins.Generators.restore = lambda self: None").out != _control().out


def test_running_the_live_model_again_is_seen() -> None:
    broken = _sabotaged("probing.twin_of = lambda module, own=False: module\nprobing._versions = lambda value: []")
    assert broken.out != _control().out


def test_looking_at_a_modules_own_code_without_restoring_generators_is_seen() -> None:
    assert _sabotaged("twins.Generators.restore = lambda self: None", "ignores_mode.py").out != _control("ignores_mode.py").out


# Several processes


def test_two_ranks_of_torchrun(tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    plain = execute([*launcher, "ddp.py"])
    report = tmp_path / "ranks.json"
    seen = execute([*launcher, "-m", "evallint", "run", "--report", str(report), "ddp.py"])
    assert plain.code == seen.code == 0, seen.err

    def states(text: str) -> list[str]:
        return sorted(re.findall(r"state \w{16}", text))

    assert len(states(plain.out)) == 2
    assert states(seen.out) == states(plain.out)
    ranks = [tmp_path / f"ranks.rank{rank}.json" for rank in (0, 1)]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in ranks]
    assert [row["environment"]["rank"] for row in found] == [0, 1]
    assert {row["verdict"] for row in found[1]["verdicts"] if row["code"] == "EVL002"} == {"not-observable"}  # only rank 0 exports
    joined = execute(["-m", "evallint", "report", "--output-format", "json", *map(str, ranks)])
    data = json.loads(joined.out)
    assert {(row["line"], row["code"], row["verdict"]) for row in data["verdicts"]} == {
        (13, "EVL001", "confirmed"),
        (21, "EVL002", "confirmed"),
    }
    assert [row["calls"] for row in data["verdicts"] if row["code"] == "EVL001"] == [8]
    assert data["environment"]["forward_calls"] == sum(row["environment"]["forward_calls"] for row in found)


def test_compiled_code_is_seen_when_run_eagerly() -> None:
    run = next(run for run in RUNS if run.name == "compiled_step.py")
    seen = watched([run.name, *run.arguments], ["--eager"])
    assert {(line, code) for line, code, _ in run.expected} == {(line, code) for line, code, _ in seen.said}
    assert {verdict for _, _, verdict in seen.said} == {"confirmed"}


def test_the_programs_are_found() -> None:
    assert sys.executable and len(RUNS) > 30 and (PROGRAMS / "common.py").exists()

"""What a run says of a module's own code (EVL201 to EVL203), of training steps (EVL102) and of graphs that are kept (EVL301)."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from .runtime_programs import execute, unwatched, watched  # noqa: E402

_HEAD = """\
import sys
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
"""


def verdicts(folder: Path, text: str, options: Sequence[str] = (), files: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The verdicts on a program, by line; it runs as it does unwatched."""
    for name, content in {**(files or {}), "program.py": _HEAD + text}.items():
        (folder / name).write_text(content, encoding="utf-8")
    plain = unwatched(["program.py"], cwd=folder)
    seen = watched(["program.py"], options, cwd=folder)
    assert (seen.out, seen.code) == (plain.out, plain.code), seen.err
    assert seen.report is not None and "errors" not in seen.report["environment"], seen.err
    return sorted(seen.report["verdicts"], key=lambda row: (row["line"], row["column"]))


_EVALUATE = """

def evaluate(model):
    model.eval()
    with torch.no_grad():
        for _ in range(3):
            print(model(torch.randn(4, 8)).sum().item())
    return model


"""


def test_each_of_two_bugs_is_measured_alone(tmp_path: Path) -> None:
    found = verdicts(
        tmp_path,
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.heads = [nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))]

    def forward(self, x):
        x = x + 1e-3 * F.dropout(x, 0.5)
        return self.heads[0](self.fc(x))
"""
        + _EVALUATE
        + "evaluate(Net())\n",
    )
    large, small = found
    assert (large["code"], small["code"]) == ("EVL203", "EVL201")
    assert {row["verdict"] for row in found} == {"confirmed"} and {row["calls"] for row in found} == {3}
    assert small["effect"]["relative_difference"] < 0.01 < 0.1 < large["effect"]["relative_difference"]
    assert small["effect"]["spread_over_seeds"] < 0.01
    assert large["evidence"]["submodules"] == ["heads.0.1 (Dropout p=0.5)"]
    assert "untrained_parameters" not in large["effect"]  # there was no training


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python tells no columns")
def test_two_calls_on_one_line_are_kept_apart(tmp_path: Path) -> None:
    found = verdicts(
        tmp_path,
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.one, self.two = 0.5, 0.5

    def forward(self, x):
        return F.dropout(self.fc(F.dropout(x, self.one)), self.two)
"""
        + _EVALUATE
        + "net = Net()\nsetattr(net, 'two', 0.0)\nevaluate(net)\n",
    )
    assert [(row["column"], row["verdict"]) for row in found] == [(16, "refuted"), (34, "confirmed")]


def test_a_helper_and_a_call_over_lines(tmp_path: Path) -> None:
    found = verdicts(
        tmp_path,
        """
def shaken(x):
    return F.dropout(
        x,
        p=0.5,
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(shaken(x))
"""
        + _EVALUATE
        + "evaluate(Net())\n",
    )
    assert [(row["function"], row["verdict"], row["model"]) for row in found] == [("shaken", "confirmed", "Net")]


def test_what_belongs_to_a_part_in_training_mode_is_no_proof(tmp_path: Path) -> None:
    found = verdicts(
        tmp_path,
        """
class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(F.dropout(x, 0.5))


net = nn.Sequential(Part())
net.eval()
setattr(net[0], "training", True)
with torch.no_grad():
    for _ in range(3):
        print(net(torch.randn(4, 8)).sum().item())
""",
    )
    assert [row["verdict"] for row in found] == ["not-reached"]


def test_noise_of_its_own_is_told_apart(tmp_path: Path) -> None:
    (found,) = verdicts(
        tmp_path,
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = self.fc(F.dropout(x, 0.5))
        return x + 0.1 * torch.randn_like(x)
"""
        + _EVALUATE
        + "evaluate(Net())\n",
    )
    assert found["verdict"] == "confirmed"
    assert 0 < found["effect"]["noise_in_eval"] < found["effect"]["spread_over_seeds"]


def test_without_probes_nothing_is_said(tmp_path: Path) -> None:
    (found,) = verdicts(
        tmp_path,
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(nn.Dropout(0.5)(x))
"""
        + _EVALUATE
        + "evaluate(Net())\n",
        ["--no-probes"],
    )
    assert (found["verdict"], found["evidence"]["reason"]) == ("not-observable", "no probe was made")


def test_a_function_that_is_not_torchs_own_is_not_looked_into(tmp_path: Path) -> None:
    found = verdicts(
        tmp_path,
        """
from flash_attn import flash_attn_func


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.rate = 0.5

    def forward(self, x):
        x = x[None, None]
        return self.fc(flash_attn_func(x, x, x, dropout_p=self.rate))
"""
        + _EVALUATE
        + "evaluate(Net())\n",
        files={"flash_attn.py": "def flash_attn_func(q, k, v, dropout_p=0.0):\n    return q + k + v\n"},
    )
    assert [(row["verdict"], row["evidence"]["reason"]) for row in found] == [("not-observable", "`flash_attn_func` is not torch's own")]


def test_a_rate_that_is_the_mode_shows_in_training_alone(tmp_path: Path) -> None:
    (found,) = verdicts(
        tmp_path,
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(F.dropout(x, self.training))
"""
        + _EVALUATE
        + "evaluate(Net())\n",
    )
    assert found["verdict"] == "not-observable" and "in training alone" in found["evidence"]["reason"]


def test_modules_that_another_thread_builds_are_its_own(tmp_path: Path) -> None:
    from evallint.runtime.looking import _told_of_new

    stock = nn.Module.__init__
    told: list[nn.Module] = []
    with _told_of_new(lambda module, _: told.append(module)):
        thread = threading.Thread(target=nn.Dropout)
        thread.start()
        thread.join()
        mine = nn.Dropout()
        with _told_of_new(None):
            pass
    nn.Dropout()
    assert told == [mine] and nn.Module.__init__ is stock


# Graphs


def _sums(backward: str) -> str:
    return f"""
net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
total = 0.0
for _ in range(6):
    optimizer.zero_grad()
    loss = net(torch.randn(4, 8)).square().mean()
    {backward}
    optimizer.step()
    total += loss
print(total.item())
"""


@pytest.mark.parametrize(("backward", "verdict"), [("loss.backward()", "harmless"), ("loss.backward(retain_graph=True)", "confirmed")])
def test_a_backward_empties_a_graph_unless_it_is_told_to_keep_it(tmp_path: Path, backward: str, verdict: str) -> None:
    (found,) = verdicts(tmp_path, _sums(backward))
    assert (found["code"], found["verdict"], found["evidence"]["graphs_at_once"]) == ("EVL301", verdict, 6)


def test_the_bytes_that_kept_graphs_hold(tmp_path: Path) -> None:
    found = verdicts(
        tmp_path,
        """
def predict(net, loader):
    net.load_state_dict(net.state_dict())
    net.eval()
    kept = []
    for x in loader:
        kept.append(net(x))
    return torch.cat(kept).argmax(dim=1).sum().item()


net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
print(predict(net, [torch.randn(4, 8) for _ in range(5)]))
""",
    )
    effect = next(row["effect"] for row in found if row["code"] == "EVL301")
    assert effect == {"graph_bytes": 4 * 32 * 4, "kept_bytes": 5 * 4 * 32 * 4}


def test_a_program_that_ends_in_a_backward_without_graph(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        _HEAD
        + """
net = nn.Linear(8, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    with torch.no_grad():
        loss = net(torch.randn(4, 8)).square().mean()
    loss.backward()
    optimizer.step()
""",
        encoding="utf-8",
    )
    plain = execute(["program.py"], cwd=tmp_path)
    seen = watched(["program.py"], cwd=tmp_path)
    assert seen.code == plain.code == 1 and seen.err.startswith(plain.err)
    assert seen.report is not None
    (verdict,) = seen.report["verdicts"]
    assert (verdict["code"], verdict["verdict"], verdict["effect"]) == ("EVL102", "confirmed", {"failed_backwards": 1})
    assert "EVL102 CONFIRMED recording was off in the only call of `Linear`, and the backward reached nothing" in seen.err


def test_what_people_read(tmp_path: Path) -> None:
    seen = watched(["ignores_mode.py"])
    for said in (
        "EVL201 CONFIRMED `F.dropout p=0.5` in `Functional.forward` line 16 was live in 6 of 6 calls of `Functional` in evaluation mode",
        "two seeds give outputs that differ by",
        "EVL202 CONFIRMED `Dropout p=0.5` built on line 55 was in training mode in 6 of 6 calls of `Built` in evaluation mode",
        "EVL203 CONFIRMED 4 layers in `blocks` were in training mode in 6 of 6 calls of `Hidden` in evaluation mode",
        "active: `blocks.0.norm (BatchNorm1d)`, `blocks.0.drop (Dropout p=0.5)`",
        "EVL203 CONFIRMED the modules in the collection on line 100 are not trained: no optimizer has their parameters",
        "effect: the evaluation's data changed `mean`, `variance`",
        "effect: the evaluation's data changed `blocks.0.norm.num_batches_tracked`, `blocks.0.norm.running_mean`",
        "effect: 6,240 parameters that no optimizer has",
    ):
        assert said in seen.err
    report = tmp_path / "report.json"
    report.write_text(json.dumps(seen.report), encoding="utf-8")
    shown = execute(["-m", "evallint", "report", str(report)])
    heads = [row for row in seen.err.splitlines() if row.startswith("EVL")]
    assert [row for row in shown.out.splitlines() if row.startswith("EVL")] == heads

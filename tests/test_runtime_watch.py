"""`evallint.watch()`, the pytest plugin, and the hooks that both install."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import evallint  # noqa: E402
from evallint.runtime.hooks import Hooks, Inside  # noqa: E402
from evallint.runtime.watcher import Watcher  # noqa: E402

from .runtime_programs import execute  # noqa: E402

_MODEL = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.fc(x))


def validate(model, loader):
    hits = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
    return hits


def fit(model, loader):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return validate(model, loader)
"""
_LOADER = "[(torch.randn(4, 8), torch.zeros(4, dtype=torch.long)) for _ in range(3)]"


def test_watch_in_a_script(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(_MODEL, encoding="utf-8")
    (tmp_path / "use.py").write_text(
        "import json\nimport evallint\nimport torch\nfrom net import Net, fit\n\n"
        f"with evallint.watch() as watch:\n    fit(Net(), {_LOADER})\n"
        "report = watch.report()\nprint(json.dumps(report.to_json()))\nprint(report)\n",
        encoding="utf-8",
    )
    done = execute(["use.py"], cwd=tmp_path)
    first, _, human = done.out.partition("\n")
    (verdict,) = json.loads(first)["verdicts"]
    assert (verdict["path"], verdict["line"], verdict["verdict"], verdict["calls"]) == ("net.py", 18, "confirmed", 3), done.err
    assert "EVL001 CONFIRMED" in human and "net.py:18:9 in `validate`" in human


def test_watch_in_a_cell(tmp_path: Path) -> None:
    # as IPython runs one: compiled under a name that is no file, with its text in linecache
    cell = _MODEL + f"\nfit(Net(), {_LOADER})\n"
    (tmp_path / "kernel.py").write_text(
        f"import json, linecache\nimport evallint\ncell = {cell!r}\nname = '<ipython-input-1-abc>'\n"
        "linecache.cache[name] = (len(cell), None, cell.splitlines(True), name)\n"
        "space = {'__name__': '__main__'}\n"
        "source = 'import evallint\\nwith evallint.watch() as watch:\\n    exec(compile(cell, name, \"exec\"), space)\\n'\n"
        "exec(compile(source, '<ipython-input-2-abc>', 'exec'), {'cell': cell, 'name': name, 'space': space}, keep := {})\n"
        "print(json.dumps(keep['watch'].report().to_json()))\n",
        encoding="utf-8",
    )
    done = execute(["kernel.py"], cwd=tmp_path)
    (verdict,) = json.loads(done.out)["verdicts"]
    assert (verdict["path"], verdict["line"], verdict["verdict"]) == ("<ipython-input-1-abc>", 18, "confirmed"), done.err


def test_watch_leaves_torch_as_it_was() -> None:
    before = (nn.Module.__call__, nn.Module.train, torch.optim.Optimizer.zero_grad, torch.autograd._engine_run_backward)
    with pytest.raises(ZeroDivisionError), evallint.watch(paths=[]):
        assert nn.Module.__call__ is not before[0]
        _ = 1 / 0
    assert (nn.Module.__call__, nn.Module.train, torch.optim.Optimizer.zero_grad, torch.autograd._engine_run_backward) == before


def test_what_others_patch_over_ours_is_left() -> None:
    stock = nn.Module.__call__
    try:
        with evallint.watch(paths=[]):
            ours = nn.Module.__call__

            def other(self: Any, *args: Any, **kwargs: Any) -> Any:
                return ours(self, *args, **kwargs)

            nn.Module.__call__ = other
        assert nn.Module.__call__ is other
        assert nn.Linear(2, 2)(torch.ones(1, 2)).shape == (1, 2)
    finally:
        nn.Module.__call__ = stock


def test_an_unknown_form_of_call_falls_back_with_a_note() -> None:
    stock = nn.Module.__call__

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        return stock(self, *args, **kwargs)

    nn.Module.__call__ = __call__
    try:
        watcher = Watcher()
        assert "another tool has replaced" in watcher.start()
        model = nn.Linear(2, 2)
        for _ in range(2):
            model(torch.ones(1, 2))
        watcher.stop()
        assert [record.calls for record in watcher.records.values()] == [2]
        assert nn.Module.__call__ is __call__
    finally:
        nn.Module.__call__ = stock


def test_a_call_without_source_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import inspect

    def no_source(_: object) -> Any:
        raise OSError

    monkeypatch.setattr(inspect, "getsourcelines", no_source)
    hooks = Hooks(Watcher(), Inside())
    try:
        assert "unknown form" in hooks.note
    finally:
        hooks.remove()


def test_memory_grows_with_places_and_not_with_calls() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(1, 4)
    watcher = Watcher()

    def work(times: int) -> None:
        for _ in range(times):
            model(x).sum().backward()
            optimizer.step()
            nn.Linear(4, 4)(x)  # a module a round: met, called and gone

    watcher.start()
    try:
        tracemalloc.start()
        work(1500)  # caches of torch's and ours fill
        before = tracemalloc.get_traced_memory()[0]
        work(5000)
        added = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        watcher.stop()
    assert not watcher.errors and added < 40_000  # 10,000 calls: less than 4 bytes each


def test_loss_modules_are_no_models() -> None:
    watcher = Watcher()
    watcher.start()
    for _ in range(3):
        nn.CrossEntropyLoss()(torch.randn(2, 3), torch.tensor([0, 1]))
    watcher.stop()
    assert not watcher.records


# pytest


def _pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "net.py").write_text(_MODEL, encoding="utf-8")
    (folder / "test_net.py").write_text(
        f"import torch\nfrom net import Net, fit\n\n\ndef test_fit():\n    assert fit(Net(), {_LOADER}) >= 0\n\n\n"
        "def test_shape():\n    model = Net()\n    for _ in range(3):\n        assert model(torch.randn(4, 8)).shape == (4, 2)\n",
        encoding="utf-8",
    )
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300)


def test_pytest_tells_the_verdicts(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "--evallint", "--evallint-report", "verdicts.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "EVL001 CONFIRMED `Net` ran in training mode in 3 of 3 calls" in done.stdout
    data = json.loads((tmp_path / "verdicts.json").read_text(encoding="utf-8"))
    assert [(row["path"], row["line"], row["verdict"]) for row in data["verdicts"]] == [("net.py", 18, "confirmed")]
    assert data["unseen"] == []  # a test's own calls are no evaluation


def test_pytest_fails_on_request(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "--evallint", "--evallint-fail-on", "confirmed")
    assert done.returncode == 1 and "2 passed" in done.stdout


def test_pytest_without_the_option_is_as_ever(tmp_path: Path) -> None:
    done = _pytest(tmp_path)
    assert done.returncode == 0 and "evallint" not in done.stdout

"""What a probe measures, that it leaves nothing behind, and when it is left out: on real modules, in this process."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from evallint.runtime.records import Probe, Record  # noqa: E402
from evallint.runtime.watcher import Watcher  # noqa: E402


class Functional(nn.Module):
    def __init__(self, gated: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.gated = gated

    def forward(self, x: Any) -> Any:
        return self.fc(F.dropout(x, 0.5, self.training) if self.gated else F.dropout(x, 0.5))


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return 2 * self.fc(x) if self.training else self.fc(x)


class VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        code = self.fc(x)
        return code + torch.randn_like(code)


class LSTM(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.cells = nn.LSTM(8, 8, num_layers=2, dropout=dropout)

    def forward(self, x: Any) -> Any:
        return self.cells(x)[0]


class Attention(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, dropout=dropout)

    def forward(self, x: Any) -> Any:
        return self.attention(x, x, x)[0]


def calls(model: nn.Module, *args: Any, times: int = 3, grad: bool = False) -> Record:
    """The record of a model's calls in an evaluation loop."""
    watcher = Watcher()
    watcher.start()
    try:
        with torch.set_grad_enabled(grad):
            for _ in range(times):
                model(*args)
    finally:
        watcher.stop()
    assert not watcher.errors
    (record,) = watcher.records.values()
    return record


def probe(model: nn.Module, *args: Any, grad: bool = False) -> Probe:
    """The first probe of such a loop."""
    record = calls(model, *args, grad=grad)
    assert record.probes, record.skipped
    return record.probes[0]


x = torch.randn(16, 8)
images = torch.randn(4, 3, 8, 8)
_linear = lambda *layers: nn.Sequential(nn.Linear(8, 8), *layers)  # noqa: E731
_conv = lambda *layers: nn.Sequential(nn.Conv2d(3, 4, 3), *layers)  # noqa: E731

# the table of what a list of layers gets wrong, and what running shows: differs, and random in evaluation mode as well
_TABLE: dict[str, tuple[Callable[[], nn.Module], Any, bool, bool]] = {
    "dropout by function, gated": (lambda: Functional(True), x, True, False),
    "own branch on the mode": (Branch, x, True, False),
    "batch norm without statistics": (lambda: _conv(nn.BatchNorm2d(4, track_running_stats=False)), images, False, False),
    "dropout of nothing": (lambda: _linear(nn.Dropout(0.0)), x, False, False),
    "layer norm": (lambda: _linear(nn.LayerNorm(8)), x, False, False),
    "group norm": (lambda: _conv(nn.GroupNorm(2, 4)), images, False, False),
    "instance norm": (lambda: _conv(nn.InstanceNorm2d(4)), images, False, False),
    "dropout by function, always on": (lambda: Functional(False), x, False, True),
    "a VAE's own noise": (VAE, x, False, True),
    "dropout": (lambda: _linear(nn.Dropout(0.1)), x, True, False),
    "RReLU": (lambda: _linear(nn.RReLU()), x, True, False),
    "attention with dropout": (lambda: Attention(0.5), torch.randn(5, 2, 8), True, False),
    "attention without": (lambda: Attention(0.0), torch.randn(5, 2, 8), False, False),
    "LSTM with dropout": (lambda: LSTM(0.5), torch.randn(5, 2, 8), True, False),
    "LSTM without": (lambda: LSTM(0.0), torch.randn(5, 2, 8), False, False),
    "instance norm with statistics": (lambda: _conv(nn.InstanceNorm2d(4, track_running_stats=True)), images, True, False),
    "batch norm": (lambda: _conv(nn.BatchNorm2d(4)), images, True, False),
}


@pytest.mark.parametrize("name", _TABLE)
def test_harmless_is_shown_by_running(name: str) -> None:
    torch.manual_seed(0)
    make, argument, differs, noisy = _TABLE[name]
    found = probe(make(), argument)
    assert (found.differs, found.noise > 0) == (differs, noisy)
    assert found.dropout_in_eval == (name == "dropout by function, always on")


def test_frozen_batch_norm_under_a_model_in_training_mode_is_harmless() -> None:
    model = _conv(nn.BatchNorm2d(4))
    model[1].eval()
    assert probe(model, images).differs is False


def test_the_operation_that_differs_is_named() -> None:
    assert any("bernoulli" in name or "dropout" in name for name in probe(_linear(nn.Dropout(0.5)), x).operations)
    assert any("batch_norm" in name for name in probe(_conv(nn.BatchNorm2d(4)), images).operations)


def test_evaluation_data_that_changes_statistics_is_told() -> None:
    assert probe(_conv(nn.BatchNorm2d(4)), images).buffers == ("1.num_batches_tracked", "1.running_mean", "1.running_var")


def test_predictions_are_counted_where_the_output_looks_like_logits() -> None:
    found = probe(_linear(nn.Dropout(0.9)), x)
    assert found.predictions == 16 and 0 < found.changed <= 16
    assert probe(_conv(nn.BatchNorm2d(4)), images).predictions == 0


def test_another_form_in_training_mode_is_a_difference() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, x: Any) -> Any:
            return (self.fc(x), x) if self.training else self.fc(x)

    found = probe(Auxiliary(), x)
    assert found.differs and "2 tensors in training mode, 1 in evaluation mode" in found.form


def test_the_bytes_of_the_graph() -> None:
    # of Linear, ReLU, Linear the graph keeps the ReLU's output alone: inputs and weights are there anyway
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
    assert probe(model, x, grad=True).graph_bytes == 16 * 32 * 4
    assert probe(model.requires_grad_(False), x, grad=True).graph_bytes == 0


# Nothing is left behind


def _state(model: nn.Module) -> list[Any]:
    return [*(t.clone() for t in model.state_dict().values()), torch.get_rng_state(), random.getstate()]


def _equal(a: list[Any], b: list[Any]) -> bool:
    return all(torch.equal(p, q) if isinstance(p, torch.Tensor) else p == q for p, q in zip(a, b, strict=True))


SEEN: list[int] = []
COUNTS = {"calls": 0}
GENERATOR = torch.Generator()


class Talking(nn.Module):
    """Does what a forward should not, but does."""

    total = 0

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        print("forward")
        SEEN.append(len(x))
        COUNTS["calls"] += 1
        Talking.total += 1
        noise = torch.rand(len(x), 4, generator=GENERATOR)
        return self.drop(self.norm(self.fc(x))) * random.random() + noise


def test_what_a_forward_says_and_counts_is_said_and_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    states = []
    for watch in (False, True):
        torch.manual_seed(0)
        random.seed(0)
        GENERATOR.manual_seed(0)
        SEEN.clear()
        COUNTS["calls"] = Talking.total = 0
        model = Talking()
        if watch:
            assert calls(model, x).probes
        else:
            for _ in range(3):
                with torch.no_grad():
                    model(x)
        assert (len(SEEN), COUNTS["calls"], Talking.total) == (3, 3, 3)
        assert capsys.readouterr().out == "forward\n" * 3
        states.append([*_state(model), GENERATOR.get_state()])
    assert _equal(*states)


def test_weights_that_a_forward_changes_are_changed_once() -> None:
    class Momentum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key = nn.Linear(8, 4), nn.Linear(8, 4)
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            for q, k in zip(self.query.parameters(), self.key.parameters(), strict=True):
                k.data = k.data * 0.9 + q.data * 0.1
                k.data.mul_(0.99)
            return self.drop(self.query(x)), self.key(x)

    states = []
    for watch in (False, True):
        torch.manual_seed(0)
        model = Momentum()
        if watch:
            assert calls(model, x).probes
        else:
            with torch.no_grad():
                for _ in range(3):
                    model(x)
        states.append(_state(model))
    assert _equal(*states)


def test_hooks_of_the_user_are_called_once() -> None:
    model, seen = _linear(nn.Dropout(0.5)), []
    model[0].register_forward_hook(lambda module, args, output: seen.append(output))
    assert calls(model, x).probes and len(seen) == 3


def test_warnings_are_given_as_without() -> None:
    import warnings

    class Warns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, x: Any) -> Any:
            warnings.warn("training" if self.training else "evaluation", stacklevel=1)
            return self.fc(x)

    model = Warns()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        assert calls(model, x).probes
        model.eval()(x)
    assert [str(one.message) for one in caught] == ["training", "evaluation"]


def test_a_casts_cache_of_autocast_is_not_filled_by_the_twin() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5))
    watcher = Watcher()
    watcher.start()
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for _ in range(3):
                with torch.no_grad():
                    model[0](x)
            loss = model(x).sum()
        loss.backward()
    finally:
        watcher.stop()
    assert model[0].weight.grad is not None


# When there is none, and why


def _skipped(model: nn.Module, *args: Any) -> str:
    record = calls(model, *args)
    assert not record.probes
    return " ".join(record.skipped)


class Holding(nn.Module):
    def __init__(self, held: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.drop = nn.Dropout(0.5)
        self.held = held

    def forward(self, x: Any) -> Any:
        return self.drop(self.fc(x if isinstance(x, torch.Tensor) else next(x)))


def test_a_model_that_cannot_be_copied() -> None:
    import threading

    assert "the model cannot be copied" in _skipped(Holding(threading.Lock()), x)


def test_an_iterator_as_input() -> None:
    assert "an argument is an iterator" in _skipped(Holding(None), iter([x, x, x]))


def test_an_input_that_is_changed_in_place() -> None:
    class InPlace(Holding):
        def forward(self, x: Any) -> Any:
            return self.drop(self.fc(x.mul_(0.5)))

    y = x.clone()
    assert "an input is changed in place" in _skipped(InPlace(None), y)
    assert torch.equal(y, x * 0.125)


def test_a_forward_that_trains() -> None:
    class Adapting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 4)
            self.norm = nn.BatchNorm1d(4)
            self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1)

        def forward(self, x: Any) -> Any:
            with torch.enable_grad():
                output = self.norm(self.fc(x))
                output.sum().backward()
                self.optimizer.step()
            return output

    results = []
    for watch in (False, True):
        torch.manual_seed(0)
        model = Adapting()
        if watch:
            assert "its forward trains" in _skipped(model, x)
        else:
            with torch.no_grad():
                for _ in range(3):
                    model(x)
        results.append([*_state(model), model.fc.weight.grad])
    assert _equal(*results)


def test_a_twin_that_reaches_the_live_model_is_undone_and_told() -> None:
    class Closure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 4)
            self.norm = nn.BatchNorm1d(4)
            self.after = lambda x: self.norm(x)  # the function holds the live module, a copy of it as well

        def forward(self, x: Any) -> Any:
            return self.after(self.fc(x))

    model = Closure()
    assert "the twin reaches the live model" in _skipped(model, x)
    assert model.norm.num_batches_tracked == 3


def test_a_loop_of_other_probes_stops_at_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    from evallint.runtime import watcher

    monkeypatch.setattr(watcher, "FREE_SECONDS", 0.0)
    monkeypatch.setattr(watcher, "SHARE", 0.0)
    assert "the probes had their share of the time" in _skipped(_linear(nn.Dropout(0.5)), x)

"""What the pages of EVL101, EVL102 and EVL301 claim happens: their wrong examples are run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evallint.rules import registry

torch = pytest.importorskip("torch")
nn = torch.nn


def example(code: str, section: str) -> Callable[..., Any]:
    """The function that a page shows under a heading."""
    page = registry.page(code)
    block = page.split(f"## {section}\n")[1].split("```python\n")[1].split("```")[0]
    space: dict[str, Any] = {"torch": torch, "nn": nn}
    exec(compile(block, f"{code}.py", "exec"), space)
    (function,) = (value for name, value in space.items() if callable(value) and name not in ("torch", "nn"))
    return function  # type: ignore[no-any-return]


class Token:
    """What lives as long as the graph that it hangs on."""


class Mark(torch.autograd.Function):  # type: ignore[misc, name-defined]
    """The identity; its node in the graph holds a token."""

    @staticmethod
    def forward(ctx: Any, x: Any, token: Token) -> Any:
        ctx.token = token
        return x.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return upstream, None


class Watched(nn.Module):  # type: ignore[misc, name-defined]
    """A small model that notes in which mode it ran, whether it was recorded, and which of its graphs are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.drop = nn.Dropout(0.5)
        self.ran: list[tuple[bool, bool]] = []
        self.graphs: list[weakref.ref[Any]] = []

    def forward(self, x: Any) -> Any:
        out = self.drop(self.layer(x).relu())
        self.ran.append((self.training, out.requires_grad))
        token = Token()
        self.graphs.append(weakref.ref(token))
        return Mark.apply(out, token)

    def alive(self) -> int:
        """How many of the graphs that were recorded somebody still holds."""
        return sum(graph() is not None for graph in self.graphs)


def batches(count: int = 5) -> list[tuple[Any, Any]]:
    torch.manual_seed(0)
    return [(torch.randn(8, 4), torch.randint(0, 3, (8,))) for _ in range(count)]


class TestModeCallWithoutEffect:
    def test_the_statements_switch_nothing(self) -> None:
        model = Watched()
        example("EVL101", "Example")(model, batches())
        assert model.training
        assert set(model.ran) == {(True, True)}, "in training mode, and recorded"

    def test_called_and_entered_they_do(self) -> None:
        model = Watched()
        example("EVL101", "Use instead")(model, batches())
        assert set(model.ran) == {(False, False)}

    def test_statements_that_do_take_effect(self) -> None:
        silent = torch.no_grad(lambda: torch.is_grad_enabled())
        assert not silent(), "a decorator without parentheses"
        torch.set_grad_enabled(False)
        try:
            assert not torch.is_grad_enabled()
        finally:
            torch.set_grad_enabled(True)


class TestTrainingWithoutGrad:
    def loader(self) -> list[tuple[Any, Any]]:
        torch.manual_seed(0)
        return [(torch.randn(8, 6), torch.randn(8, 1)) for _ in range(4)]

    def model(self) -> tuple[Any, Any]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
        return model, torch.optim.SGD(model.parameters(), lr=0.1)

    def test_the_example_fails_at_its_backward(self) -> None:
        model, optimizer = self.model()
        with pytest.raises(RuntimeError, match="does not require grad"):
            example("EVL102", "Example")(model, self.loader(), optimizer)

    def test_told_to_require_a_gradient_it_trains_nothing(self) -> None:
        model, optimizer = self.model()
        before = [p.detach().clone() for p in model.parameters()]
        for x, y in self.loader():
            optimizer.zero_grad()
            with torch.no_grad():
                loss = nn.functional.mse_loss(model(x), y)
            loss.requires_grad_(True)
            loss.backward()
            optimizer.step()
        assert all(p.grad is None for p in model.parameters())
        assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))

    def test_used_as_the_page_says_it_trains(self) -> None:
        model, optimizer = self.model()
        before = [p.detach().clone() for p in model.parameters()]
        example("EVL102", "Use instead")(model, self.loader(), optimizer)
        assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))

    def test_a_statement_lasts_beyond_its_function(self) -> None:
        def evaluate() -> None:
            torch.set_grad_enabled(False)

        try:
            evaluate()
            model, _ = self.model()
            assert not model(torch.randn(2, 6)).requires_grad
        finally:
            torch.set_grad_enabled(True)

    def test_a_backward_under_no_grad_is_right(self) -> None:
        model, _ = self.model()
        loss = model(torch.randn(2, 6)).sum()
        with torch.no_grad():
            loss.backward()
        assert all(p.grad is not None for p in model.parameters())


class TestGraphKeptAlive:
    def counted(self, model: Watched, count: int, most: list[int]) -> Iterator[tuple[Any, Any]]:
        """Batches; before each, and at the end, the graphs that are alive are counted."""
        for batch in batches(count):
            most.append(model.alive())
            yield batch
        most.append(model.alive())

    def run(self, section: str) -> list[int]:
        model, most = Watched(), list[int]()

        class Loader:
            def __iter__(loader) -> Iterator[tuple[Any, Any]]:
                return self.counted(model, 6, most)

            def __len__(loader) -> int:
                return 6

        example("EVL301", section)(model, Loader())
        return most

    def test_every_round_adds_a_graph(self) -> None:
        assert self.run("Example")[-1] == 6

    def test_a_sum_of_numbers_keeps_none(self) -> None:
        assert self.run("Use instead") == [0] * 7

    def test_a_list_keeps_them_and_detached_outputs_do_not(self) -> None:
        model = Watched().eval()
        kept = [model(x) for x, _ in batches(6)]
        assert model.alive() == len(kept) == 6
        model = Watched().eval()
        kept = [model(x).detach() for x, _ in batches(6)]
        assert model.alive() == 0

    def test_after_a_backward_the_nodes_stay(self) -> None:
        model, total = Watched(), 0
        for x, y in batches(6):
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            total += loss
        del loss
        assert model.alive() == 6
        assert total.item() > 0  # type: ignore[attr-defined]
        del total
        assert model.alive() == 0

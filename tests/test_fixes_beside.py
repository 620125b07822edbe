"""The fixes of the rules beside the core: what is written, where nothing is, and that the fixed code does what it should."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from evallint.fixing import mend
from evallint.gathering import Text
from evallint.linting import lint_paths
from evallint.settings import Settings

HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"
NET = 'net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))\nnet.load_state_dict(torch.load("net.pt"))\n'
ATTENTION = "F.scaled_dot_product_attention(x, x, x"


def fixed(text: str, *, unsafe: bool = True, head: str = HEAD) -> str:
    """A program after fixing, without its imports."""
    report = lint_paths([], Settings(), texts=[Text("x.py", (head + text).encode())], mend=partial(mend, unsafe=unsafe))
    after = report.rewritten["x.py"][1] if report.rewritten else head + text
    assert after.startswith(head)
    return after.removeprefix(head)


def module(init: str, forward: str) -> str:
    """A module by the lines of its constructor and what its forward returns."""
    lines = "".join(f"        {line}\n" for line in init.splitlines())
    return (
        f"class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n{lines}"
        f"\n    def forward(self, x):\n        return {forward}\n"
    )


class TestModeCalls:
    LOOP = 'with torch.no_grad():\n    for x in torch.load("rows.pt"):\n        print(net(x).argmax(dim=1))\n'

    @pytest.mark.parametrize("after", ["", "  # all of it", "; print(1)"])
    def test_parentheses(self, after: str) -> None:
        text = f"{NET}net.eval{after}\n{self.LOOP}"
        assert fixed(text, unsafe=False) == text.replace("net.eval", "net.eval()")

    def test_no_second_call_is_put_before_the_loop(self) -> None:
        assert fixed(f"{NET}net.eval\n{self.LOOP}").count("eval()") == 1

    def test_parentheses_that_would_bring_another_bug_are_not_written(self) -> None:
        text = """def fit(net, train_batches, batches):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(9):
        for x, y in train_batches:
            optimizer.zero_grad()
            F.mse_loss(net(x), y).backward()
            optimizer.step()
        net.eval
        with torch.no_grad():
            for x, y in batches:
                print(F.mse_loss(net(x), y).item())


fit(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)), torch.load("a.pt"), torch.load("b.pt"))
"""
        after = fixed(text)
        assert "        net.eval\n" in after
        assert "net.train(was_training)" in after

    def test_with_around_what_follows(self) -> None:
        rows = 'count = 0\nfor x in torch.load("rows.pt"):\n\n    count += net(x).argmax(dim=1).sum().item()\n'
        inner = "".join(f"    {row}" if row.strip() else row for row in rows.splitlines(keepends=True))
        text = f"{NET}net.eval()\n# quietly\ntorch.no_grad()  # for all\n{rows}print(count)\n"
        assert fixed(text, unsafe=False) == f"{NET}net.eval()\n# quietly\nwith torch.no_grad():  # for all\n{inner}print(count)\n"

    @pytest.mark.parametrize("end", ["\r\n", "\n"])
    def test_with_in_a_file_with_tabs_and_other_ends_of_lines(self, end: str) -> None:
        head, net = HEAD.replace("\n", end), NET.replace("\n", end)
        loop = f'for x in torch.load("rows.pt"):{end}\tprint(net(x).argmax(dim=1)){end}'
        inner = "".join(f"\t{row}" for row in loop.splitlines(keepends=True))
        before, after = (
            f"{net}net.eval(){end}{statement}{end}" for statement in ("torch.inference_mode()", "with torch.inference_mode():")
        )
        assert fixed(before + loop, head=head) == after + inner

    @pytest.mark.parametrize(
        "rest",
        [
            "print(len([1]))\n",
            "x = torch.ones(1, 4, requires_grad=True)\nnet(x).sum().backward()\nprint(x.grad)\n",
        ],
    )
    def test_no_with_where_nothing_runs_or_gradients_are_wanted(self, rest: str) -> None:
        text = f"{NET}net.eval()\ntorch.no_grad()\n{rest}"
        assert fixed(text) == text

    def test_a_dropped_enable_grad_stays(self) -> None:
        text = f'{NET}net.eval()\ntorch.enable_grad()\nx = torch.load("x.pt")\nprint(net(x).sum().item())\n'
        assert "\ntorch.enable_grad()\n" in fixed(text)


class TestModeFlags:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("F.dropout(x)", "F.dropout(x, training=self.training)"),
            (
                "F.dropout(\n            x,\n            0.5,\n        )",
                "F.dropout(\n            x,\n            0.5,\n            training=self.training,\n        )",
            ),
            ("F.dropout(x, inplace=False, p=0.5)", "F.dropout(x, inplace=False, p=0.5, training=self.training)"),
            ("nn.functional.dropout(self.fc(x), 0.5)", "nn.functional.dropout(self.fc(x), 0.5, training=self.training)"),
            ("torch.dropout(x, 0.5, True)", "torch.dropout(x, 0.5, self.training)"),
            ("F.dropout(x, 0.5, training=True)", "F.dropout(x, 0.5, training=self.training)"),
            (f"{ATTENTION}, None, self.p)", f"{ATTENTION}, None, self.p if self.training else 0.0)"),
            (f"{ATTENTION}, dropout_p=0.1)", f"{ATTENTION}, dropout_p=0.1 if self.training else 0.0)"),
            ("F.dropout(x, self.training)", "F.dropout(x, training=self.training)"),
        ],
    )
    def test_the_mode_is_handed_over(self, before: str, after: str) -> None:
        init = "self.fc = nn.Linear(8, 8)\nself.p = 0.5"
        assert fixed(module(init, before)) == module(init, after)
        torch = pytest.importorskip("torch")
        space: dict[str, Any] = {}
        exec(compile(HEAD + module(init, after), "net.py", "exec"), space)
        net, x = space["Net"]().eval(), torch.randn(2, 4, 8)
        assert torch.equal(net(x), net(x))
        assert not torch.equal(net.train()(x), net(x))

    def test_the_default_is_safe_to_mend_and_a_literal_may_be_meant(self) -> None:
        default, literal = (module("self.fc = nn.Linear(8, 8)", f"self.fc(F.dropout(x, 0.5{flag}))") for flag in ("", ", training=True"))
        assert fixed(default, unsafe=False) != default
        assert fixed(literal, unsafe=False) == literal

    def test_a_helper_has_no_self(self) -> None:
        text = "def shaken(x):\n    return F.dropout(x, 0.1)\n\n\n" + module("self.fc = nn.Linear(8, 8)", "self.fc(shaken(x))")
        assert fixed(text) == text

    def test_an_object_that_is_no_module_has_no_mode(self) -> None:
        text = """class Retriever:
    def __init__(self):
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))

    def score(self, x):
        return F.dropout(self.net(x), 0.1)

    def evaluate(self, rows):
        self.net.eval()
        with torch.no_grad():
            return [self.score(row).argmax(dim=1) for row in rows]
"""
        assert "EVL201" in {f.code for f in lint_paths([], Settings(), texts=[Text("x.py", (HEAD + text).encode())]).findings}
        assert fixed(text) == text

    def test_another_name_for_self(self) -> None:
        text = module("self.fc = nn.Linear(8, 8)", "F.dropout(x, 0.5)").replace("forward(self, x)", "forward(net, x)")
        assert fixed(text) == text


class TestRegistered:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("self.l = [nn.Linear(8, 8), nn.Dropout(0.5)]", "self.l = nn.ModuleList([nn.Linear(8, 8), nn.Dropout(0.5)])"),
            ("self.l = (nn.Linear(8, 8), nn.Dropout(0.5))", "self.l = nn.ModuleList((nn.Linear(8, 8), nn.Dropout(0.5)))"),
            ("self.l = nn.Linear(8, 8), nn.Dropout(0.5)", "self.l = nn.ModuleList([nn.Linear(8, 8), nn.Dropout(0.5)])"),
            ("self.l = [nn.Linear(8, 8) for _ in range(3)]", "self.l = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])"),
            ("self.l = list(nn.Linear(8, 8) for _ in range(3))", "self.l = nn.ModuleList(list(nn.Linear(8, 8) for _ in range(3)))"),
            ("a = nn.Linear(8, 8)\nself.l = [a, nn.Dropout(0.5)]", "a = nn.Linear(8, 8)\nself.l = nn.ModuleList([a, nn.Dropout(0.5)])"),
            ("self.l = []\nself.l.append(nn.Linear(8, 8))", "self.l = nn.ModuleList()\nself.l.append(nn.Linear(8, 8))"),
            ("l = []\nl.append(nn.Linear(8, 8))\nself.l = l", "l = []\nl.append(nn.Linear(8, 8))\nself.l = nn.ModuleList(l)"),
        ],
    )
    def test_a_list(self, before: str, after: str) -> None:
        assert fixed(module(before, "[layer(x) for layer in self.l]")) == module(after, "[layer(x) for layer in self.l]")
        assert fixed(module(before, "[layer(x) for layer in self.l]"), unsafe=False) == module(before, "[layer(x) for layer in self.l]")
        pytest.importorskip("torch")
        space: dict[str, Any] = {}
        exec(compile(HEAD + module(after, "[layer(x) for layer in self.l]"), "net.py", "exec"), space)
        net = space["Net"]()
        assert list(net.parameters()) and not any(part.training for part in net.eval().l)

    def test_a_dict(self) -> None:
        before = module("self.l = {'a': nn.Linear(8, 8), 'b': nn.Dropout(0.5)}", "[self.l[key](x) for key in self.l]")
        after = module("self.l = nn.ModuleDict({'a': nn.Linear(8, 8), 'b': nn.Dropout(0.5)})", "[self.l[key](x) for key in self.l]")
        assert fixed(before) == after

    def test_as_the_imports_spell_it(self) -> None:
        text = module("self.l = [nn.Linear(8, 8)]", "self.l[0](x)")
        for imports, spelling in (("import torch.nn as tn", "tn.ModuleList"), ("import torch as th", "th.nn.ModuleList"),
                                  ("from torch.nn import Linear, ModuleList, Module", "ModuleList")):  # fmt: skip
            owner = spelling.removesuffix("ModuleList")
            here = text.replace("nn.Linear", f"{owner}Linear").replace("nn.Module)", f"{owner}Module)")
            assert f"self.l = {spelling}([{owner}Linear(8, 8)])" in fixed(here, head=f"{imports}\n\n\n")

    @pytest.mark.parametrize(
        "init",
        [
            "self.l = {1: nn.Linear(8, 8)}",
            "self.l = [(nn.Linear(8, 8), nn.Dropout(0.5))]",
            "self.l = [nn.Linear(8, 8), F.relu]",
            "self.l = [nn.Linear(8, 8)] * 3",
            "self.l = [nn.Linear(8, 8)]\nself.l.sort(key=id)",
            "self._l = [nn.Linear(8, 8), nn.Dropout(0.5)]",
        ],
    )
    def test_what_no_module_list_holds_or_may_be_hidden_on_purpose_stays(self, init: str) -> None:
        text = module(init, "x")
        assert fixed(text) == text

    def test_a_part_cannot_come_before_the_constructor_of_the_base(self) -> None:
        text = module("self.l = [nn.Linear(8, 8)]", "x").replace(
            "        super().__init__()\n        self.l = [nn.Linear(8, 8)]\n",
            "        self.l = [nn.Linear(8, 8)]\n        super().__init__()\n",
        )
        assert fixed(text) == text


class TestOverrides:
    def test_the_mode_is_handed_on(self) -> None:
        text = module("self.drop = nn.Dropout(0.5)", "self.drop(x)")
        text += "\n    def train(self, active=True):\n        super().train(True)\n        return self\n"
        assert fixed(text, unsafe=False) == text.replace("train(True)", "train(active)")

    def test_return_self(self) -> None:
        text = module("self.drop = nn.Dropout(0.5)", "self.drop(x)") + "\n    def train(self, mode=True):\n        super().train(mode)\n"
        assert fixed(text) == text + "        return self\n"

    def test_a_procedure_stays(self) -> None:
        text = module("self.drop = nn.Dropout(0.5)", "self.drop(x)")
        text += "\n    def train(self, batches):\n        for x in batches:\n            print(self(x))\n"
        assert fixed(text) == text


class TestDetached:
    def fit(self, line: str, before: str) -> str:
        return f"""def fit(batches):
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    {before}
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        {line}
    print(total)
"""

    @pytest.mark.parametrize(
        ("line", "wanted", "before"),
        [
            ("total += loss", "total += loss.detach()", "total = 0"),
            ("total += loss * len(x)", "total += (loss * len(x)).detach()", "total = 0"),
            ("total = total + loss.mean()", "total = total + loss.mean().detach()", "total = 0"),
            ("total.append(loss)", "total.append(loss.detach())", "total = []"),
            ("total += [loss]", "total += [loss.detach()]", "total = []"),
        ],
    )
    def test_what_is_added_is_taken_off_its_graph(self, line: str, wanted: str, before: str) -> None:
        assert fixed(self.fit(line, before)) == self.fit(wanted, before)

    def test_a_sum_that_somebody_else_may_differentiate_is_mended_on_request(self) -> None:
        text = """def validate(net, batches):
    net.eval()
    total = torch.zeros(())
    for x, y in batches:
        total += F.cross_entropy(net(x), y)
    return total


validate(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)), torch.load("val.pt"))
"""
        assert ".detach()" not in fixed(text, unsafe=False)

    def test_a_pair_stays(self) -> None:
        text = self.fit("total.append((loss, len(x)))", "total = []")
        assert fixed(text) == text

    def test_where_nothing_is_to_be_recorded_that_is_the_fix(self) -> None:
        loop = 'total = 0\nfor x, y in torch.load("val_batches.pt"):\n    total += F.cross_entropy(net(x), y)\nprint(total)\n'
        text = f"{NET}net.eval()\n{loop}"
        after = fixed(text)
        assert "with torch.no_grad():" in after and "detach" not in after

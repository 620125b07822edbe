"""What the pages of EVL201 to EVL204 claim, shown by running the code: the wrong way has the effect, the other way has not."""

from __future__ import annotations

from typing import Any

import pytest

import evallint
from evallint.rules import registry

torch = pytest.importorskip("torch")

HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"


def built(code: str) -> Any:
    """The class `Net` of a program."""
    space: dict[str, Any] = {}
    exec(compile(HEAD + code, "net.py", "exec"), space)
    torch.manual_seed(0)
    return space["Net"]


def said(code: str) -> set[str]:
    """The codes that are reported in a program."""
    return {finding.code for finding in evallint.lint_source(HEAD + code, "net.py")}


def is_random(model: Any, x: Any) -> bool:
    """Whether two calls on the same input differ."""
    with torch.no_grad():
        return not torch.equal(model(x), model(x))


def dropped(call: str) -> str:
    """A module whose forward is a call."""
    return f"""class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.rate = 0.5

    def forward(self, x):
        return {call}
"""


def shown(code: str, section: str) -> tuple[str, Any]:
    """What a page shows under a heading, and the class in it."""
    text = registry.page(code).split(f"## {section}\n")[1].split("```python\n")[1].split("```")[0]
    space: dict[str, Any] = {}
    exec(compile(HEAD + text, "net.py", "exec"), space)
    torch.manual_seed(0)
    (found,) = (value for value in space.values() if isinstance(value, type))
    return text, found


class TestExamplesOfThePages:
    @pytest.mark.parametrize("code", ["EVL201", "EVL202"])
    def test_a_head_that_drops_in_evaluation(self, code: str) -> None:
        x = torch.randn(4, 8)
        for section, wrong in (("Example", True), ("Use instead", False)):
            text, head = shown(code, section)
            model = head(8, 3).eval()
            assert is_random(model, x) is wrong
            assert is_random(model.train(), x)
            assert said(text) == ({code} if wrong else set())

    def test_a_tower_of_hidden_blocks(self) -> None:
        for section, wrong in (("Example", True), ("Use instead", False)):
            text, tower = shown("EVL203", section)
            model = tower(8, 3).eval()
            assert any(block.training for block in model.blocks) is wrong
            assert len([*model.parameters()]) == (0 if wrong else 6)
            assert said(text) == ({"EVL203"} if wrong else set())

    def test_a_backbone_that_drops_the_mode(self) -> None:
        for section, wrong in (("Example", True), ("Use instead", False)):
            text, backbone = shown("EVL204", section)
            model = backbone()
            model.norms = torch.nn.ModuleList([torch.nn.BatchNorm1d(4)])
            answer = model.eval()
            assert model.training is wrong and (answer is None) is wrong
            assert model.train() is (None if wrong else model)
            assert not model.norms[0].training, "what the override is for"
            assert said(text) == ({"EVL204"} if wrong else set())


class TestFunctionalDropoutIgnoresMode:
    def test_batch_norm_told_true_uses_and_updates_the_batch(self) -> None:
        code = dropped("F.batch_norm(self.fc(x), self.mean, self.variance, training=True)").replace(
            "        self.rate = 0.5\n",
            '        self.register_buffer("mean", torch.zeros(8))\n        self.register_buffer("variance", torch.ones(8))\n',
        )
        model, x = built(code)().eval(), torch.randn(64, 8)
        with torch.no_grad():
            assert not torch.allclose(model(x)[:4], model(x[:4]), atol=1e-3)
        assert model.mean.any()
        assert said(code) == {"EVL201"}

    ATTENTION = "F.scaled_dot_product_attention(x, x, x, dropout_p={})"

    @pytest.mark.parametrize(
        ("wrong", "right"),
        [
            ("F.dropout(self.fc(x), 0.5)", "F.dropout(self.fc(x), 0.5, training=self.training)"),
            ("torch.dropout(self.fc(x), 0.5, True)", "torch.dropout(self.fc(x), 0.5, self.training)"),
            ("F.rrelu(self.fc(x), training=True)", "F.rrelu(self.fc(x), training=self.training)"),
            (ATTENTION.format("self.rate"), ATTENTION.format("self.rate if self.training else 0.0")),
        ],
    )
    def test_evaluation_is_random(self, wrong: str, right: str) -> None:
        x = torch.randn(2, 4, 8)
        for call, random in ((wrong, True), (right, False)):
            model = built(dropped(call))().eval()
            assert is_random(model, x) is random
            assert is_random(model.train(), x)
            assert said(dropped(call)) == ({"EVL201"} if random else set())

    def test_the_flag_as_rate_drops_all_in_training(self) -> None:
        code = dropped("F.dropout(self.fc(x), self.training)")
        model, x = built(code)(), torch.randn(4, 8)
        assert not model.train()(x).any()
        assert not is_random(model.eval(), x)
        assert said(code) == {"EVL201"}

    @pytest.mark.parametrize("where", ["right above", "behind"])
    def test_a_comment_says_that_it_is_meant(self, where: str) -> None:
        code = dropped("F.dropout(self.fc(x), 0.5)")
        above = code.replace("        return", "        # always on: the spread is what is asked for\n        return")
        behind = code.rstrip("\n") + "  # always on\n"
        assert said(above if where == "right above" else behind) == set()
        assert said(code.replace("        return", "        # hidden units\n        return")) == {"EVL201"}

    def test_alpha_dropout_is_off_by_itself(self) -> None:
        code = dropped("F.alpha_dropout(self.fc(x), 0.5)")
        assert not is_random(built(code)(), torch.randn(4, 8))
        assert said(code) == set()


class TestLayerBuiltInForward:
    def test_dropout_stays_on(self) -> None:
        code = dropped("nn.Dropout(0.5)(self.fc(x))")
        assert is_random(built(code)().eval(), torch.randn(4, 8))
        assert said(code) == {"EVL202"}

    def test_batch_norm_depends_on_the_batch_and_is_never_trained(self) -> None:
        code = dropped("nn.BatchNorm1d(8)(self.fc(x))")
        model, x = built(code)().eval(), torch.randn(64, 8)
        with torch.no_grad():
            assert not torch.allclose(model(x)[:4], model(x[:4]), atol=1e-3)
        assert {name for name, _ in model.named_parameters()} == {"fc.weight", "fc.bias"}
        assert said(code) == {"EVL202"}

    def test_in_the_constructor_it_follows_the_mode(self) -> None:
        code = dropped("self.norm(self.fc(x))").replace("self.rate = 0.5", "self.norm = nn.BatchNorm1d(8)")
        model, x = built(code)().eval(), torch.randn(64, 8)
        with torch.no_grad():
            assert torch.allclose(model(x)[:4], model(x[:4]), atol=1e-6)
        assert said(code) == set()


class TestSubmoduleHiddenFromEval:
    CODE = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = {}

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
"""

    def test_neither_mode_nor_parameters_reach_a_list(self) -> None:
        wrong = self.CODE.format("[nn.Linear(8, 8), nn.Dropout(0.5)]")
        model = built(wrong)().eval()
        assert is_random(model, torch.randn(4, 8))
        assert not [*model.parameters(), *model.state_dict()]
        assert model.to(torch.float64).layers[0].weight.dtype == torch.float32
        assert said(wrong) == {"EVL203"}

    def test_a_module_list_is_reached(self) -> None:
        right = self.CODE.format("nn.ModuleList([nn.Linear(8, 8), nn.Dropout(0.5)])")
        model = built(right)().eval()
        assert not is_random(model, torch.randn(4, 8))
        assert len([*model.parameters()]) == 2
        assert said(right) == set()


class TestTrainOverrideBreaksMode:
    CODE = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(x)

"""

    def test_a_dropped_mode_leaves_training_on(self) -> None:
        wrong = self.CODE + "    def train(self, mode=True):\n        super().train()\n        return self\n"
        model = built(wrong)().eval()
        assert model.training and is_random(model, torch.randn(4, 8))
        assert said(wrong) == {"EVL204"}
        right = wrong.replace("train()", "train(mode)")
        assert not built(right)().eval().training
        assert said(right) == set()

    def test_a_parts_override_is_asked_by_its_parent(self) -> None:
        wrong = self.CODE + "    def train(self, mode=True):\n        print(mode)\n        return self\n"
        parent = torch.nn.Sequential(built(wrong)()).eval()
        assert not parent.training and is_random(parent, torch.randn(4, 8))
        assert said(wrong) == {"EVL204"}

    def test_eval_runs_a_procedure_named_train(self) -> None:
        wrong = self.CODE + "    def train(self, loader, epochs=1):\n        self.handed = loader\n        print(len(self.losses))\n"
        model = built(wrong)()
        model.losses = []
        assert model.eval() is None and model.handed is False and model.training
        assert said(wrong) == {"EVL204"}

    def test_nothing_returned_is_none(self) -> None:
        wrong = self.CODE + "    def train(self, mode=True):\n        super().train(mode)\n        self.seen = mode\n"
        assert built(wrong)().eval() is None
        (finding,) = evallint.lint_source(HEAD + wrong, "net.py")
        assert (finding.code, finding.severity) == ("EVL204", "note")

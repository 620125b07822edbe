"""EVL203: submodules in a plain list, tuple or dict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding, Repair
from evallint.rules.base import Rule
from evallint.rules.words import HIDING, is_meant, of_lapse

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts

OF_SORT = {
    "dependent": "(`{}`) stays in training mode, and `eval()`, `parameters()` and `to()`",
    "parameters": "(`{}`): `eval()`, `parameters()` and `to()`",
    "handed": "(`{}`, handed in): `eval()`, `parameters()` and `to()`",
    "tended": "(`{}`) is looked after by hand here, but `eval()`, `state_dict()` and `to()` of the module",
}
"""What is said of each sort of lapse."""


class SubmoduleHiddenFromEval(Rule):
    """
    ## What it does
    Finds modules that an `nn.Module` keeps in a plain list, tuple or dict, and registers nowhere.

    ## Why is this bad?
    PyTorch raises no error. A module knows the parts that are assigned to its attributes, and looks into no list. `model.eval()` does
    not reach what is in one: dropout goes on, batch norm goes on to use and update the statistics of the batch. `parameters()`,
    `to()` and `state_dict()` do not reach it either: such layers are not trained, stay on the CPU, and are in no checkpoint.

    Measured on a small classifier with two linear layers and two `nn.Dropout(0.5)` in a list: `parameters()` has 1,290 numbers instead
    of 20,490, and after training and `model.eval()` 54 % of its predictions change from one call to the next. Accuracy is 59.6 %
    instead of 94.7 %.

    ## Example
    ```python
    class Tower(nn.Module):
        def __init__(self, width, depth):
            super().__init__()
            self.blocks = [nn.Sequential(nn.Linear(width, width), nn.Dropout(0.1)) for _ in range(depth)]
    ```

    ## Use instead
    ```python
    class Tower(nn.Module):
        def __init__(self, width, depth):
            super().__init__()
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.Dropout(0.1)) for _ in range(depth))
    ```
    For a dict, `nn.ModuleDict`.

    ## When it is right to ignore it
    A frozen teacher can be kept out of `state_dict()` by a list around it. Where it is put in evaluation mode (`[teacher.eval()]`, an
    override of `train` that visits it), or where nothing in it depends on the mode and a leading underscore or a comment says that it
    is hidden, the rule is silent already. Else write `# noqa: EVL203` on the line.

    ## How it decides
    It reads what the methods of a module put into the lists, tuples and dicts that they keep in attributes, under another name and by
    `append` as well, and what helpers make and return for them. A part counts if its class has a mode-dependent layer or owns parameters;
    activations do not. A part that the constructor is handed counts if it is said to be an `nn.Module`, or is copied, and the class
    calls it. Parts are cared for if they are attributes as well, go through `add_module`, `setattr` or a container of torch.nn, or if
    an override of `train`, `parameters` and the like visits the collection. An attribute that a loop assigns anew in each turn keeps
    the last part alone. The finding is at the first such part of a collection.

    Confidence is `high` in classes that are known to be modules and `medium` elsewhere, and for parts that are handed in. Where other
    methods of the class switch the parts by hand, or collect the parameters of parts in which nothing depends on the mode, the finding
    is a `note`: it works as long as nobody calls `eval()` or `state_dict()` on the whole.

    ## Fix safety
    The fix puts an `nn.ModuleList` or `nn.ModuleDict` around the collection. It is unsafe: the parts are trained and saved from then
    on, which is what is wanted as a rule, and older checkpoints lack them. There is none where something is kept that is not seen to
    be made by a constructor, where a key is no text, where the class does with the collection what only a plain one can do, and where
    a leading underscore may say that it is hidden on purpose.

    ## References
    - [`torch.nn.ModuleList`](https://pytorch.org/docs/stable/generated/torch.nn.ModuleList.html)
    - [`torch.nn.ModuleDict`](https://pytorch.org/docs/stable/generated/torch.nn.ModuleDict.html)
    """

    code = "EVL203"
    name = "submodule-hidden-from-eval"
    summary = "submodules in a plain list, tuple or dict, which `eval()` does not reach"

    VALID = (
        '''\
"""A `ModuleList`, at once or in the end."""
from torch import nn


class Listed(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.first = nn.ModuleList([nn.Linear(width, width), nn.Dropout(0.1)])
        blocks = []
        for _ in range(depth):
            blocks.append(nn.Linear(width, width))
            blocks.append(nn.Dropout(0.1))
        self.blocks = nn.Sequential(*blocks)
''',
        '''\
"""The layers are attributes as well."""
from torch import nn


class Twice(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.drop = nn.Dropout(0.3)
        last = nn.Linear(width, 1)
        self.last = last
        self.layers = [self.fc1, self.drop, last]
''',
        '''\
"""Registered by name."""
from torch import nn


class ByName(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.norms = []
        for number in range(depth):
            norm = nn.BatchNorm1d(width)
            self.add_module(f"norm{number}", norm)
            self.norms.append(norm)
''',
        '''\
"""Activations own nothing and do not depend on the mode."""
from torch import nn


class Activations(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.activations = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "none": nn.Identity()}

    def forward(self, x, kind):
        return self.activations[kind](self.fc(x))
''',
        '''\
"""A frozen teacher, in evaluation mode, kept out of the checkpoint."""
from torch import nn


class Distilled(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.student = nn.Linear(width, width)
        teacher = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width))
        teacher.eval()
        self._teacher = [teacher]

    def forward(self, x):
        return self.student(x), self._teacher[0](x)
''',
        '''\
"""An override of `train` visits the parts."""
from torch import nn


class Visited(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.heads = [nn.Sequential(nn.Linear(width, 1), nn.Dropout(0.2)) for _ in range(depth)]
        self.weights = nn.ParameterList(p for head in self.heads for p in head.parameters())

    def train(self, mode=True):
        for head in self.heads:
            head.train(mode)
        return super().train(mode)
''',
        '''\
"""No module: an ensemble that switches its members itself."""
from torch import nn


class Ensemble:
    def __init__(self, width, count):
        self.members = [nn.Sequential(nn.Linear(width, 1), nn.Dropout(0.2)) for _ in range(count)]

    def eval(self):
        for member in self.members:
            member.eval()
''',
        '''\
"""Hidden on purpose, and nothing in it depends on the mode."""
from torch import nn


class Tied(nn.Module):
    def __init__(self, words, width):
        super().__init__()
        self.fc = nn.Linear(width, words)
        # in a list, to keep the table out of state_dict
        self.table = [nn.Embedding(words, width)]
''',
    )

    INVALID = (
        '''\
"""A list."""
from torch import nn


class Plain(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = [nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.5)]  # EVL203: 60

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
''',
        '''\
"""A comprehension of a class of one's own."""
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x):
        return self.norm(self.fc(x))


class Deep(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.blocks = [Block(width) for _ in range(depth)]  # EVL203: 24

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x
''',
        '''\
"""A dict."""
import torch.nn as nn


class Heads(nn.Module):
    def __init__(self, width, tasks):
        super().__init__()
        self.heads = {task: nn.Sequential(nn.Dropout(0.1), nn.Linear(width, 1)) for task in tasks}  # EVL203: 29

    def forward(self, x, task):
        return self.heads[task](x)
''',
        '''\
"""Appended in a loop."""
from torch import nn


class Grown(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.norms = []
        for _ in range(depth):
            self.norms.append(nn.BatchNorm1d(width))  # EVL203: 31

    def forward(self, x):
        for norm in self.norms:
            x = norm(x)
        return x
''',
        '''\
"""A local list, assigned in the end."""
from torch import nn


class Assigned(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        layers = []
        for _ in range(depth):
            layers.append(nn.Conv1d(width, width, 3))  # EVL203: 27
        self.layers = layers

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
''',
        '''\
"""A tuple."""
from torch import nn


class Pair(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gates = nn.LSTM(width, width, num_layers=2, dropout=0.3), nn.Linear(width, width)  # EVL203: 22

    def forward(self, x):
        recurrent, linear = self.gates
        return linear(recurrent(x)[0])
''',
        '''\
"""A list in a method that the constructor calls."""
from torch import nn


class Built(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.build(width)

    def build(self, width):
        self.stages = []
        stage = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.4))  # EVL203: 17
        self.stages.append(stage)

    def forward(self, x):
        return self.stages[0](x)
''',
        '''\
"""A teacher with batch norm that is hidden, and in training mode."""
from torch import nn


class Distilling(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.student = nn.Linear(width, width)
        self._teacher = [nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width))]  # EVL203: 26

    def forward(self, x):
        return self.student(x), self._teacher[0](x)
''',
    )

    def check(self, facts: Facts) -> Iterator[Finding]:
        for lapse in facts.lapses:
            if lapse.kind != "hidden":
                continue
            if lapse.sort in ("parameters", "tended") and (lapse.text.startswith("self._") or is_meant(lapse.comment, HIDING)):
                continue
            what = f"what is in `{lapse.text}` {OF_SORT[lapse.sort].format(lapse.detail)} do not reach it"
            hidden = lapse.text.startswith("self._")  # perhaps on purpose
            yield of_lapse(
                self,
                lapse,
                f"{what}: use `nn.ModuleList` or `nn.ModuleDict`",
                severity="note" if lapse.sort == "tended" else "warning",
                repair=None if hidden else Repair("register", text=lapse.text),
            )

"""EVL204: a `train` or `eval` of a module's own that breaks the mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding, Repair
from evallint.rules.base import Rule
from evallint.rules.words import is_meant, of_lapse

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class TrainOverrideBreaksMode(Rule):
    """
    ## What it does
    Finds an override of `train()` or `eval()` in an `nn.Module` that drops the mode that it is asked for, reaches neither
    `super().train(mode)` nor the parts, or does not return the module; a procedure (a training loop, an evaluation) of that name; and a
    flag that a module keeps as `self.train` or `self.eval`.

    ## Why is this bad?
    `model.eval()` is `model.train(False)`, and a parent switches its parts by `part.train(mode)`. An override that calls
    `super().train()` without the mode puts the module in training mode whenever it is asked for evaluation mode, and raises no error. A
    training loop that is called `train(self, loader)` is what `model.eval()` runs, with `False` for the loader.

    Measured on a small classifier with `nn.Dropout(0.5)` and `def train(self, mode=True): return super().train()`, after
    `model.eval()`: `model.training` is `True`, and 7.1 % of its predictions change from one call to the next.

    An override that returns nothing makes `model = Net().eval()` assign `None`. That fails at once where it happens, and is a `note`.
    One that returns the part that it switches, `return self.net.eval()`, makes it that part, and nothing fails.

    ## Example
    ```python
    class Backbone(nn.Module):
        def train(self, mode=True):
            super().train()
            for norm in self.norms:
                norm.eval()
    ```

    ## Use instead
    ```python
    class Backbone(nn.Module):
        def train(self, mode=True):
            super().train(mode)
            for norm in self.norms:
                norm.eval()
            return self
    ```
    Give a training loop another name, `fit` for one.

    ## When it is right to ignore it
    A module that is never evaluated, or whose `eval()` nobody calls. Write `# noqa: EVL204` on the line. A part that is meant to stay in
    evaluation mode (`super().train(False)`, an override that only returns `self`) is right, and the rule is silent.

    ## How it decides
    It reads the `train` and `eval` that a module's class defines itself. The mode arrives if it is handed to `super().train`, to the
    parts' `train`, or to `self.training`, or if conditions ask for it. Where it reaches the parts alone, and the class asks for
    `self.training` elsewhere, that stays as it was. A method that takes other arguments is a procedure.
    The finding is at the call of `super().train` that drops the mode, at the assignment of a flag, else at the `def`.

    Confidence is `high` in classes that are known to be modules and `medium` elsewhere.

    ## Fix safety
    The fix hands the mode on, `super().train(mode)`, or adds `return self`. It is unsafe where the class is not known to be a module,
    and `return self` is for a note. An override that never sets a mode, or returns a part, gets none, nor does a flag: what it is for has
    to be known.

    ## References
    - [`torch.nn.Module.train`](https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train)
    - [`torch.nn.Module.eval`](https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval)
    """

    code = "EVL204"
    name = "train-override-breaks-mode"
    summary = "a module's own `train` or `eval` does not set the mode that is asked for"

    VALID = (
        '''\
"""Batch norm that stays frozen, after the mode is set."""
from torch import nn


class Frozen(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self
''',
        '''\
"""The mode under another name, by keyword, of a named base."""
import torch


class Adapter(torch.nn.Linear):
    def train(self, flag: bool = True):
        torch.nn.Linear.train(self, mode=flag)
        self.merged = not flag
        return self
''',
        '''\
"""A part that is to stay in evaluation mode."""
from torch import nn


class Critic(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.1))

    def train(self, mode=True):
        return super().train(False)
''',
        '''\
"""The parts are visited by hand."""
from torch import nn


class Pipeline(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.encoder = nn.Linear(width, width)
        self.head = nn.Dropout(0.1)

    def train(self, mode=True):
        self.training = mode
        for part in self.children():
            part.train(mode)
        return self
''',
        '''\
"""Conditions ask for the mode."""
from torch import nn


class Merging(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def train(self, mode=True):
        if mode:
            super().train(True)
        else:
            super().train(False)
            self.fc.weight.data.clamp_(-1, 1)
        return self
''',
        '''\
"""What the base returns is the module."""
from torch import nn


class Counting(nn.Module):
    def train(self, mode: bool = True):
        self.switches = getattr(self, "switches", 0) + 1
        return super(Counting, self).train(mode)

    def eval(self):
        self.switches = 0
        return super().eval()
''',
        '''\
"""No module: `train` is its own affair."""
from torch import nn


class Trainer:
    def __init__(self, width):
        self.model = nn.Linear(width, 1)

    def train(self, loader):
        for x, y in loader:
            nn.functional.mse_loss(self.model(x), y).backward()

    def eval(self):
        self.model.eval()
''',
        '''\
"""Handed on whatever it is."""
from torch import nn


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def train(self, *args, **kwargs):
        self.calls = 0
        return super().train(*args, **kwargs)
''',
    )

    INVALID = (
        '''\
"""The mode is dropped."""
from torch import nn


class Dropped(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)

    def train(self, mode=True):
        super().train()  # EVL204: 9
        self.norm.eval()
        return self
''',
        '''\
"""A literal in place of the mode."""
from torch import nn


class Literal(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.1))

    def train(self, mode: bool = True):
        super(Literal, self).train(mode=True)  # EVL204: 9
        for parameter in self.body.parameters():
            parameter.requires_grad = mode
        return self
''',
        '''\
"""Neither the base nor the parts are reached."""
from torch import nn


class Unreached(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.1))

    def train(self, mode=True):  # EVL204: 5
        print("training" if mode else "evaluating")
        return self
''',
        '''\
"""A training loop of that name."""
import torch
from torch import nn


class Regressor(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, 1)

    def forward(self, x):
        return self.fc(x)

    def train(self, loader, epochs):  # EVL204: 5
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        for _ in range(epochs):
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.mse_loss(self(x), y).backward()
                optimizer.step()
''',
        '''\
"""An evaluation of that name."""
import torch
from torch import nn


class Rater(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, 1)

    def forward(self, x):
        return self.fc(x)

    @torch.no_grad()
    def eval(self, x, y):  # EVL204: 5
        return nn.functional.mse_loss(self.fc(x), y).item()
''',
        '''\
"""No argument: `eval()` of a parent fails, its own leaves the mode."""
from torch import nn


class Bare(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def train(self):  # EVL204: 5
        super().train()
        self.fc.requires_grad_(True)
        return self
''',
        '''\
"""The module is not returned."""
from torch import nn


class Silent(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def train(self, mode=True):  # EVL204: 5
        super().train(mode)
        self.norm.eval()
''',
        '''\
"""An `eval` that says so and does nothing."""
from torch import nn


class Talking(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.drop = nn.Dropout(0.1)
        self.state = "train"

    def forward(self, x):
        return self.drop(x)

    def eval(self):  # EVL204: 5
        print("evaluating")
        self.state = "eval"
''',
    )

    def check(self, facts: Facts) -> Iterator[Finding]:
        for lapse in facts.lapses:
            if lapse.kind != "override" or is_meant(lapse.comment):
                continue
            method = lapse.detail
            message = {
                "procedure": f"`{lapse.text}` is no mode switch and hides that of `nn.Module`: give it another name",
                "dropped": f"`{lapse.text}` drops the mode that it is asked for: `eval()` does not get through; call `super().train(mode)`",
                "unreached": f"`{lapse.text}` sets the mode of nothing: call `super().train(mode)`",
                "behind": f"`{lapse.text}` switches parts alone, and `self.training` stays as it was: call `super().{method}()` as well",
                "none": f"`{lapse.text}` does not return the module: `model = model.{method}()` assigns None; add `return self`",
                "attribute": f"`{lapse.text}` hides `nn.Module.{method}`, so `eval()` raises: give the flag another name",
                "part": f"`{lapse.text}` returns a part of the module: `model = model.{method}()` loses the rest; add `return self`",
            }[lapse.sort]
            repair = Repair("override", sort=lapse.sort, doubtful=not lapse.sure)
            yield of_lapse(self, lapse, message, severity="note" if lapse.sort == "none" else "warning", repair=repair)

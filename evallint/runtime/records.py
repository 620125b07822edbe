"""What was counted: one record a call site, module and state. Grows with sites, never with calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

CUMULATIVE = "momentum=None"
"""Of a batch norm whose statistics are being computed anew, over all data."""

Sites = tuple[int, ...]
"""Of the user's frames above a call, innermost first: the id of the code object, then the offset of the instruction, in turn."""


@dataclass(slots=True, eq=False)
class Layer:
    """A layer whose forward depends on the mode: its name in the model and what it is, such as `Dropout p=0.5`."""

    name: str
    kind: str
    known: bool
    """Whether torch.nn says that it depends on the mode; else its code reads `self.training`."""


@dataclass(slots=True, eq=False)
class Model:
    """What is known of one watched model, without a reference to it."""

    serial: int
    name: str
    classes: frozenset[str] = frozenset()
    """The names of its class, of those of its parts, and of their bases."""
    layers: tuple[Layer, ...] = ()
    layout: int = 0
    """Counts how often the layers were found to have changed; mode masks of another layout cannot be compared."""
    had: int = 0
    """The mode bits with which training steps have run; bit 0 is the model's own."""
    trained: int = 0
    """The ordinal of the last call that a training step used."""
    seen_switch: int = 0
    blame: Switch | None = None
    sensitive: bool | None = None
    """Whether a probe found its output to depend on the mode."""


@dataclass(slots=True, eq=False)
class Probe:
    """What one probed call showed; a ratio is relative to the norm of the outputs in evaluation mode."""

    differs: bool | None = None
    """Whether output or buffers depend on the mode; None where the call was in evaluation mode already."""
    difference: float = 0.0
    noise: float = 0.0
    """How far two seeds are apart in evaluation mode."""
    spread: float = 0.0
    """How far two seeds are apart in the mode of the call."""
    form: str = ""
    """What else is different: the outputs' structure or shapes."""
    changed: int = 0
    """Predictions (argmax) that change."""
    predictions: int = 0
    buffers: tuple[str, ...] = ()
    """Buffers that the call changed and that evaluation mode leaves alone."""
    operations: tuple[str, ...] = ()
    dropout_in_eval: bool = False
    graph_bytes: int | None = None
    recorded_s: float = 0.0
    plain_s: float = 0.0
    """Seconds of a forward with and without recording."""


@dataclass(slots=True, eq=False)
class Look:
    """What one call of a model in evaluation mode showed of a finding of EVL201 to EVL203."""

    key: Any
    """The finding's."""
    live: tuple[str, ...]
    """The layers, or the call, that acted as in training while what they belong to was in evaluation mode."""
    idle: int
    """Times that they followed the mode."""
    plain: int
    """Times that a part ran in which nothing depends on the mode."""
    training: int
    """Times that what they belong to was in training mode."""
    reason: str = ""
    """Why it cannot be told, if so."""
    probe: Probe | None = None
    """The difference to a run in which they follow the mode."""
    untrained: int = 0
    """Numbers in hidden parts that are to be trained and that no optimizer has."""


@dataclass(slots=True, eq=False)
class Record:
    """The calls from one site, of one model, in one state."""

    sites: Sites
    model: Model
    mask: int
    grad: bool
    owner: str = ""
    """The class whose `forward` was called without `__call__`, where the site is inside it."""
    owner_serial: int = 0
    prefix: str = ""
    """The name of this model in the owner, with a dot behind it."""
    hot: bool = False
    """Whether a finding speaks of this place."""
    checkpointed: bool = False
    calls: int = 0
    graphs: int = 0
    """Calls whose output had a graph."""
    used: int = 0
    """Calls whose graph a backward or `autograd.grad` went through."""
    inside: int = 0
    """Calls that themselves differentiated."""
    trained: int = 0
    """Calls that an optimizer step followed through such a backward."""
    last: int = 0
    event: int = -1
    step: int = -1
    in_a_row: int = 0
    """Calls with no training event since the call before."""
    tight: int = 0
    """Calls with exactly one optimizer step since the call before: the site is in a training loop."""
    steady: bool = True
    """Whether one step follows each call, as far as is known."""
    tried: int = 0
    probes: list[Probe] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    fruitless: int = 0
    """Calls without recording that were followed by a backward of a loss without a graph."""
    failed: int = 0
    """Those of them whose backward raised an error."""
    blind: int = 0
    """Optimizer steps that were made all the same."""
    covered: int = 0
    """Calls without recording that were followed by a backward through something else."""
    alive: int = 0
    """Graphs that are there now, as far as they are counted."""
    most_alive: int = 0
    full: int = 0
    """Those of them that no backward has emptied."""
    most_full: int = 0
    looks: list[Look] = field(default_factory=list)
    looked: int = 0
    """Calls that were run again to look at what findings speak of."""

    @property
    def training(self) -> bool:
        """Whether any mode bit was set."""
        return self.mask != 0


@dataclass(slots=True, eq=False)
class Switch:
    """The mode switches from one site, of one module, to one mode."""

    sites: Sites
    name: str
    mode: bool
    module: Any
    """A weak reference to the module."""
    was_training: bool = False
    calls: int = 0
    first: int = 0
    last: int = 0
    lost: int = 0
    """Training steps that ran afterwards without bits that an earlier training step had."""
    suspect: int = 0
    """Training steps that ran afterwards in evaluation mode, after an evaluation; no earlier step is there to compare with."""
    harmless: int = 0
    """The same where no layer depends on the mode."""
    recovered: int = 0
    """Times that a training step found the bits back."""
    partial: bool = False
    """Whether the model itself was in training mode then, and only some of its layers were not."""
    rounds: int = 0
    """Times that the first training step afterwards was such a one."""
    layers: dict[str, str] = field(default_factory=dict)
    model: Model | None = None
    """The model whose training steps those were."""

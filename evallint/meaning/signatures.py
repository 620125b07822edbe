"""Functions that should be told the mode: where they take their rate and flag, and the own functions of a program that hand a rate on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from evallint import events as ev
from evallint.events import Function, Span, Value
from evallint.meaning.guarded import Met, calls_under, speaks_of_mode, values_of_name
from evallint.meaning.project import Project, imports_of
from evallint.meaning.walk import asked_of_self, last_name, text_of


@dataclass(frozen=True, slots=True)
class Signature:
    """Where a function takes its rate and its flag (place, keyword), and what they are if they are not given."""

    rate: tuple[int, str, float] | None
    flag: tuple[int, str, bool] | None
    statistics: tuple[int, str] | None = None
    """Where it takes the running statistics that it uses, if it is told so."""
    steps: tuple[tuple[str, Span, str], ...] = ()
    """Where one of the program hands its rate on: file, span, what happens there."""


def _dropout(flag: bool, rate: float = 0.5) -> Signature:
    return Signature((1, "p", rate), (2, "training", flag))


SIGNATURES: dict[str, Signature] = {
    **{f"torch.nn.functional.{name}": _dropout(True) for name in ("dropout", "dropout1d", "dropout2d", "dropout3d")},
    **{f"torch.nn.functional.{name}": _dropout(False) for name in ("alpha_dropout", "feature_alpha_dropout")},
    **{
        f"torch.{name}": Signature((1, "p", 0.5), (2, "train", False))
        for name in ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "native_dropout")
    },
    "torch.nn.functional.rrelu": Signature(None, (3, "training", False)),
    "torch.rrelu": Signature(None, (3, "training", False)),
    "torch.nn.functional.batch_norm": Signature(None, (5, "training", False), (1, "running_mean")),
    "torch.nn.functional.multi_head_attention_forward": Signature((10, "dropout_p", 0.0), (13, "training", True)),
    "torch.nn.functional.scaled_dot_product_attention": Signature((4, "dropout_p", 0.0), None),
    "flash_attn.flash_attn_func": Signature((3, "dropout_p", 0.0), None),
    "flash_attn.flash_attn_qkvpacked_func": Signature((1, "dropout_p", 0.0), None),
    "xformers.ops.memory_efficient_attention": Signature((4, "p", 0.0), None),
    "torchvision.ops.stochastic_depth": Signature((1, "p", 0.5), (3, "training", True)),
    "torchvision.ops.drop_block2d": Signature((1, "p", 0.5), (5, "training", True)),
}
NAMES = frozenset(dotted.rpartition(".")[2] for dotted in SIGNATURES)
FLAGLESS = frozenset(dotted.rpartition(".")[2] for dotted, signature in SIGNATURES.items() if signature.flag is None)
DEEPEST = 3
"""Through how many functions of the program a rate is followed."""


class Signatures:
    """The signatures of what one program calls."""

    def __init__(self, project: Project) -> None:
        self.project = project

    @cached_property
    def passing(self) -> dict[int, Signature]:
        """The plain functions that hand a rate, as they were handed it, on to a function without a flag, by their identity."""
        found: dict[int, Signature] = {}
        renamed = {e.bound for path in self.project.files for e in self.project.import_events(path) if e.name in FLAGLESS}
        reached = sorted(FLAGLESS | renamed)
        for _ in range(DEEPEST):
            callers = [f for name in reached for f in self.project.called_names.get(name, ())]
            grown = {id(f): made for f in callers if id(f) not in found and (made := self.handing(f, found)) is not None}
            reached = sorted({f.name for f in callers if id(f) in grown})
            found |= grown
        return found

    @cached_property
    def own_names(self) -> frozenset[str]:
        """The names of the program's functions that have a signature."""
        files = self.project.files.values() if self.passing else ()
        return frozenset(f.name for file in files for f in file.functions if id(f) in self.passing)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all functions that have a signature."""
        return NAMES | self.own_names

    def handing(self, f: Function, known: dict[int, Signature]) -> Signature | None:
        """The signature of a plain function that hands its own rate on, whatever the mode."""
        if "." in f.qualname or f.name == "<module>" or id(f) in self.project.class_of_method:
            return None
        for met in calls_under(f):
            inner = self.of_known(f, met.call.func, known)
            if inner is None or inner.rate is None or inner.flag is not None or any(map(speaks_of_mode, met.tests)):
                continue
            rate = argument(met, *inner.rate[:2])
            param = next((p for p in f.params if isinstance(rate, ev.Name) and p.name == rate.id), None)
            if param is None or any(True for _ in values_of_name((f,), param.name)):
                continue
            places = [p.name for p in f.params if p.kind == "pos"]
            place = places.index(param.name) if param.name in places else len(f.params)
            default = float(bool(param.default.value)) if isinstance(param.default, ev.Const) else 0.0
            step = f.path, met.call.span, f"`{f.name}` hands the rate on to `{text_of(met.call.func)}`"
            return Signature((place, param.name, default), None, steps=(step, *inner.steps))
        return None

    def of(self, f: Function, func: Value) -> Signature | None:
        """The signature of what a function calls, if it is one of those above, or a function of the program that hands its rate on."""
        return self.of_known(f, func, self.passing)

    def of_known(self, f: Function, func: Value, passing: dict[int, Signature]) -> Signature | None:
        """`of`, with the functions of the program that are known."""
        if isinstance(func, (ev.Call, ev.Sub)) or asked_of_self(func) or is_own_name(f, func):
            return None
        atom = self.project.dotted(f.path, func)
        if atom is None:
            atom = dotted_inside(f, func)
        if atom is not None and atom[0] == "f":
            return passing.get(id(atom[1]))
        if atom is None:  # what is there, if it is there: `except ImportError: flash_attn_func = None`
            atom = "x", last_name(func)
        if atom[0] != "x":
            return None
        dotted: str = atom[1]
        for short, whole in (("nn.", "torch.nn."), ("functional.", "torch.nn.functional.")):
            dotted = whole + dotted.removeprefix(short) if dotted.startswith(short) else dotted
        return SIGNATURES.get("flash_attn.flash_attn_func" if dotted.rpartition(".")[2] == "flash_attn_func" else dotted)


def is_own_name(f: Function, func: Value) -> bool:
    """Whether a function gives a name itself to what it calls: `drop = nn.Dropout(0.5)`, whatever the file has imported under it."""
    return isinstance(func, ev.Name) and (any(p.name == func.id for p in f.params) or any(True for _ in values_of_name((f,), func.id)))


def argument(met: Met, place: int, keyword: str) -> Value | None:
    """What a call hands over at a place or by a keyword, which may stand in a dict of its function: `attend(q, k, v, **options)`."""
    call = met.call
    named = next((value for key, value in keywords_of(met) if key == keyword), None)
    return named if named is not None else call.args[place] if len(call.args) > place else None


def keywords_of(met: Met) -> Iterator[tuple[str, Value]]:
    """The keywords of a call, and those of the dicts of its function that it takes apart."""
    for key, value in met.call.keywords:
        table = the_table(met, value) if key == "**" else None
        if table is None:
            yield key, value
            continue
        for name, item in table.items:
            yield (name.value, item) if isinstance(name, ev.Const) and isinstance(name.value, str) else ("**", item)


def the_table(met: Met, value: Value) -> ev.Map | None:
    """The one dict display that a local name stands for."""
    given = [v for v, _ in values_of_name(met.functions, value.id)] if isinstance(value, ev.Name) else [value]
    return given[0] if len(given) == 1 and isinstance(given[0], ev.Map) else None


def dotted_inside(f: Function, func: Value) -> tuple[str, str] | None:
    """What a dotted name stands for by the imports of the function itself."""
    base = func
    rest: list[str] = []
    while isinstance(base, ev.Attr):
        rest.insert(0, base.name)
        base = base.base
    if not isinstance(base, ev.Name):
        return None
    for event in imports_of(f):
        if event.bound == base.id and not event.level:
            head = event.module if event.name is None else f"{event.module}.{event.name}"
            return "x", ".".join((head, *rest))
    return None

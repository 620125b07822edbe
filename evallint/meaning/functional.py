"""Functional calls that are not told the mode: `F.dropout(x, 0.5)` drops in evaluation mode as well.

Sorts of lapses: "default" (the flag is left at its default, which is on), "always" (the flag is a literal True), "rate" (there is no flag:
the rate itself must depend on the mode), "swapped" (the flag is handed over as the rate).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evallint import events as ev
from evallint.events import Class, Function, Value
from evallint.meaning import names
from evallint.meaning.bound import given_to
from evallint.meaning.callers import FLAGS, Callers
from evallint.meaning.facts import Lapse
from evallint.meaning.guarded import MODE_WORDS, Met, calls_under, named, speaks_of_mode, values_of_name
from evallint.meaning.layers import Layers, is_false
from evallint.meaning.methods import is_abstract
from evallint.meaning.names import words
from evallint.meaning.project import Project, imports_of
from evallint.meaning.signatures import Signature, Signatures, argument, keywords_of
from evallint.meaning.walk import asked_of_self, is_static, text_of

MEANT = frozenset(
    "mc mcd monte bayes bayesian stochastic augment augmentation augmented corrupt corruption perturb perturbed noisy".split()
)
"""Words of functions, classes and rates where dropping in both modes is meant."""
SPELT = ("prenet", "adabn", "adaptivebn", "adaptivebatchnorm")
"""The same, however it is split into words: Tacotron's `PreNet` drops always, and a norm may adapt to what it is tested on."""
NOISE_BY_DROPOUT = frozenset(("generator", "pix2pix"))
"""Words of classes that draw their noise by dropout where they ask for it outright: pix2pix has no other."""
SAMPLING = frozenset(("sampling", "sampler", "uncertainty"))
"""Words of methods that ask outright for dropout in order to draw from it."""
TRAINING = frozenset("train training pretrain trainer fit finetune".split())
"""Words of functions that only train."""
SWITCHING = frozenset("enable disable activate deactivate toggle on off".split())
"""Words of methods that switch something."""
LOSS_WORDS = frozenset(("loss", "losses"))
"""Words of methods that compute a loss."""
PREDICTING = frozenset("predict prediction recommend recommendation".split())
"""Words of the methods by which a model that computes its own loss is evaluated."""
REPEATED = frozenset("repeat repeats samples passes mc".split())
"""Words of parameters that say how often to predict."""
MOST_CALLERS = 12


class Functional:
    """Looks for functional calls in one program."""

    def __init__(self, layers: Layers) -> None:
        self.project, self.signatures, self.callers = layers.project, Signatures(layers.project), Callers(layers.project)

    def lapses_in(self, path: str, functions: Sequence[Function]) -> Iterator[Lapse]:
        """The lapses in the functions of a file (those that are in no other function)."""
        named = self.signatures.names
        plain = {e.bound for e in self.project.import_events(path) if e.name in named} | self.signatures.own_names
        for f in functions:
            if (
                any(method in named and receiver != "self" for receiver, method in f.receivers)
                or f.called & plain
                or self.imports_inside(f)
            ):
                yield from self.lapses_of(f)

    def imports_inside(self, f: Function) -> bool:
        """Whether a function imports one of the functions itself."""
        named = self.signatures.names
        return bool(f.called & named) and any(e.name in named for e in imports_of(f))

    def lapses_of(self, f: Function) -> Iterator[Lapse]:
        """The lapses in one function and those inside it."""
        cls = self.project.class_of_method.get(id(f))
        module = cls is not None and self.project.is_module(cls)
        if (
            is_meant(f.name)
            or (cls is not None and (is_meant(cls.name) or self.is_repeated(cls)))
            or is_training(f)
            or (cls is not None and self.is_for_loss(cls, f))
        ):
            return
        for met in calls_under(f):
            signature = self.signatures.of(f, met.call.func)
            if signature is None or any(is_meant(inner.name) or is_training(inner) for inner in met.functions[1:]):
                continue
            sort = self.sort_of(met, signature, cls)
            if not sort or any(speaks_of_mode(test) or is_told(test, met, signature) for test in met.tests):
                continue
            if not module and not runs_in_forwards(self.project, f):
                continue
            noisy = f.name if names.has_words(f.name, SAMPLING) else cls.name if cls is not None else ""
            if sort == "always" and signature.rate is not None and names.has_words(noisy, NOISE_BY_DROPOUT | SAMPLING):
                continue
            if self.callers.is_run_by_mode(f):
                return
            text = text_of(met.call.func)
            sure = module and cls is not None and self.project.is_known_module(cls) and met.functions == (f,)
            step = (f.path, met.call.span, f"`{text}` is not told the mode here")
            rate = rate_text(met, signature)
            yield Lapse("functional", sort, f.path, met.call.span, f.qualname, text, sure, (step, *signature.steps), rate, owned=module)

    def is_repeated(self, cls: Class) -> bool:
        """Whether a class predicts by several passes, of which it takes the spread: `def predict(self, x, n_samples=50)`."""
        methods = [m for owner in self.project.mro(cls) for m in owner.methods.values() if names.has_words(m.name, PREDICTING)]
        return any(names.has_words(p.name, REPEATED) and "std" in m.called for m in methods for p in m.params)

    def is_for_loss(self, cls: Class, f: Function) -> bool:
        """Whether a module that predicts by a method of its own comes to another method only where it computes its loss."""
        table = {name: m for c in reversed(self.project.mro(cls)) for name, m in c.methods.items()}
        losses = [n for n in table if names.has_words(n, LOSS_WORDS)]
        predicting = [n for n in table if names.has_words(n, PREDICTING) and not is_abstract(table[n])]
        if not losses or not predicting or f is not table.get(f.name):
            return False
        within = f.name in losses or f.name in reached_from(table, losses)
        rest = [n for n in table if n not in (*losses, f.name) and not n.startswith("__") and not is_training(table[n])]
        return within and all(f.name not in reached_from(table, (n,)) for n in (*predicting, *rest))

    def sort_of(self, met: Met, signature: Signature, cls: Class | None) -> str:
        """The sort of a call's lapse; empty where there is none, or where that cannot be told."""
        if any(key == "**" for key, _ in keywords_of(met)) or any(isinstance(arg, ev.Star) for arg in met.call.args):
            return ""
        rate = argument(met, *signature.rate[:2]) if signature.rate is not None else None
        flag = argument(met, *signature.flag[:2]) if signature.flag is not None else None
        if signature.rate is not None:
            if rate is None and not signature.rate[2]:
                return ""
            if rate is not None and self.is_off(rate, cls):
                return ""
            if rate is not None and asked_of_self(rate) == "training" and flag is None and signature.flag is not None and signature.flag[2]:
                return "swapped"
            if rate is not None and self.is_gated(rate, met, cls):
                return ""
        if signature.statistics is not None:
            kept = argument(met, *signature.statistics)
            if kept is None or not asked_of_self(kept):
                return ""
        if signature.flag is None:
            return "rate"
        if flag is None:
            return "default" if signature.flag[2] else ""
        return "always" if isinstance(flag, ev.Const) and flag.value in (True, 1) else ""

    def is_off(self, rate: Value, cls: Class | None) -> bool:
        """Whether a rate is nothing but 0."""
        if isinstance(rate, ev.Const):
            return not rate.value
        name = asked_of_self(rate)
        if not name or cls is None:
            return False
        given = [value for owner in self.project.mro(cls) for m in owner.methods.values() for value in given_to(m, f"self.{name}")]
        return bool(given) and all(is_false(value) for value in given)

    def is_gated(self, rate: Value, met: Met, cls: Class | None, depth: int = 0) -> bool:
        """Whether a rate depends on the mode, or may: it is computed from it, a caller hands it in, a method or a switch sets it."""
        if speaks_of_mode(rate) or any(names.has_words(name, MEANT) for name in named(rate)):
            return True
        if isinstance(rate, ev.Name):
            given = list(values_of_name(met.functions, rate.id))
            if any(speaks_of_mode(value) for value, _ in given):
                return True
            if any(p.name == rate.id for f in met.functions for p in f.params):
                if depth > 2 or len(met.functions) > 1 or id(met.functions[0]) in self.signatures.passing:
                    return True
                return not self.is_handed_rates(met.functions[0], rate.id, cls, depth)
            return any(any(speaks_of_mode(t) for t in tests) for _, tests in given) or (
                depth < 3 and any(self.is_gated(value, met, cls, depth + 1) for value, _ in given)
            )
        if isinstance(rate, ev.IfValue):
            return self.is_gated(rate.then, met, cls, depth + 1) or self.is_gated(rate.other, met, cls, depth + 1)
        if isinstance(rate, ev.Mix):
            return any(self.is_gated(item, met, cls, depth + 1) for item in rate.items)
        name = asked_of_self(rate.func if isinstance(rate, ev.Call) else rate)
        return bool(name) and cls is not None and self.is_set_by_mode(cls, name)

    def is_handed_rates(self, f: Function, name: str, cls: Class | None, depth: int) -> bool:
        """Whether the calls of a function in sight hand it rates that do not depend on the mode, and one that is not 0."""
        bound = cls is not None and not is_static(cls, f)
        calls = self.callers.calls_of(f)
        handed = [(met, owner, rate) for met, owner in calls if (rate := handed_over(f, met, name, bound)) is not None]
        rates = [rate for _, owner, rate in handed if not self.is_off(rate, owner)]
        gated = any(any(map(speaks_of_mode, met.tests)) or self.is_gated(rate, met, owner, depth + 1) for met, owner, rate in handed)
        return bool(rates) and not gated

    def is_set_by_mode(self, cls: Class, name: str) -> bool:
        """Whether a class computes an attribute or method from the mode, or sets it where the mode changes."""
        for owner in self.project.family(cls):
            own = owner.methods.get(name)
            if own is not None and "training" in own.called:
                return True
            for method in owner.methods.values():
                given = list(given_to(method, f"self.{name}"))
                if method.name != "__init__" and any(is_false(value) or speaks_of_mode(value) for value in given):
                    return True
                if given and names.has_words(method.name, MODE_WORDS | SWITCHING):
                    return True
        return False


def handed_over(f: Function, met: Met, name: str, bound: bool) -> Value | None:
    """What a call hands a function for a parameter, or what that is by default; a method on its object is handed no `self`."""
    places = [p.name for p in f.params if p.kind == "pos"][bound:]
    given = argument(met, places.index(name) if name in places else len(met.call.args), name)
    return given if given is not None else next((p.default for p in f.params if p.name == name), None)


def reached_from(table: Mapping[str, Function], first: Sequence[str]) -> set[str]:
    """The methods that these call on their own object, and those that they call in turn; `self(x)` is its `forward`."""
    reached: set[str] = set()
    queue = list(first)
    while queue:
        method = table.get(queue.pop())
        called = {name for receiver, name in method.receivers if receiver == "self"} if method is not None else set()
        if method is not None and "self" in method.called:
            called.add("forward")
        queue += called & table.keys() - reached
        reached |= called
    return reached


def runs_in_forwards(project: Project, f: Function) -> bool:
    """Whether a plain function, or a method of a class that is no module, is run by a module's methods or by code that evaluates."""
    callers = [c for c in project.called_names.get(f.name, ()) if c is not f and project.reaches(c.path, f)]
    for caller in callers[:MOST_CALLERS]:
        owner = project.class_of_method.get(id(caller))
        if owner is not None and project.is_module(owner) and caller.name != "__init__" and not is_training(caller):
            return True
        if names.has_words(caller.name, names.STRONG_EVALUATION_WORDS):
            return True
    return False


def rate_text(met: Met, signature: Signature) -> str:
    """The rate of a call as it is written, where that is short."""
    rate = argument(met, *signature.rate[:2]) if signature.rate is not None else None
    if isinstance(rate, ev.Const):
        return str(rate.value)
    return text_of(rate) if isinstance(rate, (ev.Name, ev.Attr)) else ""


def is_told(test: Value, met: Met, signature: Signature) -> bool:
    """Whether a condition is a flag that is handed in or unpacked: `if dropout > 0 and dropout_switch`; the rate itself is none."""
    if isinstance(test, ev.Bool):
        return is_told(test.left, met, signature) or is_told(test.right, met, signature)
    if isinstance(test, ev.Not):
        return is_told(test.item, met, signature)
    return isinstance(test, ev.Name) and names.has_words(test.id, FLAGS) and test.id != rate_text(met, signature)


def is_meant(name: str) -> bool:
    """Whether a function or class is named for noise that is wanted in both modes."""
    return names.has_words(name, MEANT) or any(word in name.lower() for word in SPELT)


def is_training(f: Function) -> bool:
    """Whether a function is named for training alone."""
    said = set(words(f.name))
    return bool(said & TRAINING) and not said & (MODE_WORDS - TRAINING)

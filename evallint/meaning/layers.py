"""Which classes depend on the mode: dropout, batch norm and the like among the layers that a class builds."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evallint import events as ev
from evallint.events import Class, Event, Function, Value, blocks
from evallint.meaning import names
from evallint.meaning.bound import called_with, kinds_called
from evallint.meaning.machine import Machine
from evallint.meaning.project import GRAD_SWITCHES
from evallint.meaning.walk import asked_of_self, decorator_names, deep, every, last_name, parts, values_of

DEPENDENT = frozenset(
    "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout"
    " FeatureAlphaDropout BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm LazyBatchNorm1d"
    " LazyBatchNorm2d LazyBatchNorm3d RReLU MultiheadAttention Transformer TransformerEncoder TransformerEncoderLayer TransformerDecoder"
    " TransformerDecoderLayer DropPath BatchNorm".split()
)
CONTAINERS = frozenset(("Sequential", "ModuleList", "ModuleDict"))
WITH_DROPOUT = frozenset(("LSTM", "GRU", "RNN"))
FUNCTIONS = frozenset("act activation activations activate fn func function nonlinearity transform norm".split())
"""Words of attributes that are called and own no parameters as a rule."""
INPUT_WORDS = frozenset("preprocess prepare process process_input input unpack parse data".split())
"""Words of methods by which a forward makes its input ready."""
FUNCTIONAL = frozenset(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"))
PARAMETERLESS = frozenset(
    "ReLU ReLU6 LeakyReLU ELU CELU SELU GELU GLU SiLU Mish Tanh Tanhshrink Threshold Sigmoid LogSigmoid Hardshrink Hardsigmoid"
    " Hardswish Hardtanh Softmax Softmax2d Softmin LogSoftmax Softplus Softshrink Softsign Flatten Unflatten Fold Unfold Identity"
    " MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d LPPool2d LPPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d"
    " AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d"
    " FractionalMaxPool2d FractionalMaxPool3d Upsample UpsamplingBilinear2d UpsamplingNearest2d PixelShuffle PixelUnshuffle"
    " ChannelShuffle ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d CircularPad1d CircularPad2d"
    " CircularPad3d ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d"
    " LocalResponseNorm CrossMapLRN2d CosineSimilarity PairwiseDistance CrossEntropyLoss MSELoss L1Loss SmoothL1Loss HuberLoss"
    " BCELoss BCEWithLogitsLoss NLLLoss KLDivLoss CTCLoss GaussianNLLLoss PoissonNLLLoss CosineEmbeddingLoss HingeEmbeddingLoss"
    " MarginRankingLoss MultiMarginLoss SoftMarginLoss MultiLabelMarginLoss MultiLabelSoftMarginLoss TripletMarginLoss"
    " TripletMarginWithDistanceLoss".split()
)
"""The layers of torch.nn that own nothing and do not depend on the mode."""
INDEPENDENT = PARAMETERLESS | frozenset(
    "Linear Bilinear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d Embedding EmbeddingBag LayerNorm"
    " GroupNorm RMSNorm LazyLinear LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d"
    " PReLU LSTMCell GRUCell RNNCell InstanceNorm1d InstanceNorm2d InstanceNorm3d AdaptiveLogSoftmaxWithLoss Parameter ParameterList"
    " ParameterDict ModuleList ModuleDict Sequential Module".split()
)


NO_PARTS = ("Error", "Exception", "Warning", "Generator", "Config", "Tensor", "Size", "Counter", "Lock")
MAKES_PARTS = frozenset(
    "Linear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm"
    " InstanceNorm1d InstanceNorm2d Embedding LSTM GRU RNN Dropout Dropout2d MultiheadAttention Parameter Sequential ModuleList".split()
)
"""Constructors of torch.nn by which a helper function makes parts: `conv_block(16, 32)`."""


class Layers(Machine):
    """Answers what a model's class says of the mode."""

    def layers_of(self, loc: Any) -> tuple[str, str]:
        """("none" | "some" | "unknown", the layer as the class names it)."""
        thing = self.things.get(loc)
        if thing is None or thing.cls is None:
            tail = thing.made_by.removesuffix(".from_pretrained").rsplit(".", 1)[-1] if thing is not None else ""
            if thing is not None and thing.made_by.startswith("torch.nn.") and tail in INDEPENDENT - CONTAINERS:
                return "bare", ""
            if thing is not None and thing.call is not None and thing.made_by.startswith("torch.nn.") and loc[0] == "new":
                return self.written_layers(loc[1], thing.call)
            return "unknown", ""
        verdict = self.class_layers(thing.cls, set())
        heirs = self.project.subclasses.get(id(thing.cls), ()) if loc[0] != "new" else ()
        if verdict[0] == "none" and heirs:  # it may be one of them
            return ("some" if any(self.class_layers(heir, set())[0] == "some" for heir in heirs) else "unknown"), ""
        return verdict

    def is_empty(self, cls: Class) -> bool:
        """A module that owns no part and no parameter: a transform, an activation, a table of constants."""
        found = self.empty_classes.get(id(cls))
        if found is None:
            self.empty_classes[id(cls)] = True  # a part of its own kind adds nothing
            found = self.empty_classes[id(cls)] = not self.owns_something(cls)
        return found

    def owns_something(self, cls: Class) -> bool:
        """Whether a class builds a part with parameters, is handed one, or keeps something that cannot be seen."""
        if any(not b.endswith((".Module", "object", ".ABC", ".Generic")) for b in self.project.outside_bases(cls)):
            return True
        for owner in self.project.mro(cls):
            init = owner.methods.get("__init__")
            given = {p.name for p in init.params[1:] if not self.is_empty_by_default(owner, p)} if init is not None else set()
            if any(names.is_model_name(n) or n in ("module", "modules", "layers") for n in given):
                return True
            run = parts_run(owner)
            made = written_in(init.body) if init is not None else ()
            if given & run or any(self.is_factory_call(owner, target, node, run) for target, node in made):
                return True
            for name, method in owner.methods.items():
                for _, node in written_in(method.body):
                    if isinstance(node, ev.Call) and self.is_part_call(owner, node, given if name == "__init__" else set()):
                        return True
        return False

    def is_empty_by_default(self, cls: Class, param: ev.Param) -> bool:
        """Whether what a constructor is handed by default is a module that owns nothing: `kernel=RBFKernel()`."""
        made = self.project.dotted(cls.path, param.default.func) if isinstance(param.default, ev.Call) else None
        return made is not None and made[0] == "k" and self.project.is_module(made[1]) and self.is_empty(made[1])

    def is_factory_call(self, cls: Class, target: str, node: Value, run: set[str]) -> bool:
        """Whether a constructor fills an attribute that is `run` later with what a function of the project, or a local one, makes."""
        if not isinstance(node, ev.Call) or target.rpartition(".")[2] not in run:
            return False
        atom = self.project.dotted(cls.path, node.func)
        local = atom is None and isinstance(node.func, ev.Name) and not hasattr(builtins, node.func.id)
        return local or (atom is not None and atom[0] == "f")

    def is_part_call(self, cls: Class, node: ev.Call, given: set[str]) -> bool:
        """Whether a call in a module class makes something with parameters, as far as can be seen."""
        name = last_name(node.func)
        if name in ("register_parameter", "add_module", "create_model", "from_pretrained", "register_module") or name in given:
            return True
        if name == "Parameter" and any(k == "requires_grad" and is_false(v) for k, v in node.keywords):
            return False  # a table of constants
        if name in CONTAINERS and node.args and all(is_written_out(arg) for arg in node.args):
            return False  # its parts are calls of their own
        atom = self.project.dotted(cls.path, node.func)
        if atom is not None and atom[0] == "k":
            return self.project.is_module(atom[1]) and not self.is_empty(atom[1])
        if atom is not None and atom[0] == "f" and (names.is_model_name(name) or atom[1].called & MAKES_PARTS):
            return True
        outside = atom[1] if atom is not None and atom[0] == "x" else ""
        if self.project.libraries.matches("models_in_training_mode", outside) and "torch.nn" not in outside:
            return True
        if not name[:1].isupper() or name in PARAMETERLESS or names.is_loss_name(name) or name.endswith(NO_PARTS):
            return False
        if atom is not None and atom[0] == "x":
            return atom[1].startswith("torch.nn.") or not atom[1].startswith(
                ("torch.", "numpy.", "typing.", "collections.", "dataclasses.", "torchaudio.transforms.", "torchvision.transforms.")
            )
        return not hasattr(builtins, name)

    def called_by_forward(self, cls: Class) -> frozenset[str]:
        """The methods that a module's `forward` calls on its own object whatever it is asked, and those that these call."""
        found = self.forward_methods.get(id(cls))
        if found is None:
            reached: set[str] = set()
            new = {"forward"}
            while new:
                met = [m for name in new if (m := self.project.method(cls, name)) is not None]
                new = {name for _, m in met for call in plain_calls(m.body) if (name := asked_of_self(call.func))} - reached
                reached |= new
            found = self.forward_methods[id(cls)] = frozenset(reached - {"forward"})
        return found

    def sets_own_grad(self, cls: Class) -> bool:
        """Whether a module's forward differentiates, or turns recording off, itself or in a part of a class of the project."""
        found = self.own_grad.get(id(cls))
        if found is None:
            self.own_grad[id(cls)] = False
            found = self.own_grad[id(cls)] = any(self.forward_sets_grad(owner) for owner in self.project.mro(cls)[:3])
        return found

    def differentiates(self, cls: Class) -> bool:
        """Whether a module's forward differentiates itself: forces out of an energy."""
        return any(self.forward_differentiates(owner) for owner in self.project.mro(cls)[:3])

    def forward_differentiates(self, cls: Class) -> bool:
        """`differentiates` for what one class defines."""
        forward = cls.methods.get("forward")
        own = [forward, *(m for n, m in cls.methods.items() if forward is not None and ("self", n) in forward.receivers)]
        if any(f is not None and ("grad" in f.called or any(method == "backward" for _, method in f.receivers)) for f in own):
            return True
        return forward is not None and bool(forward.called & self.project.differentiators or "requires_grad_" in forward.called)

    def forward_sets_grad(self, cls: Class) -> bool:
        """`sets_own_grad` for what one class defines."""
        if self.forward_differentiates(cls):
            return True
        forward = cls.methods.get("forward")
        if forward is not None:
            quiet = GRAD_SWITCHES | self.project.quiet
            helped = any(m.called & quiet for n, m in cls.methods.items() if ("self", n) in forward.receivers)
            if decorator_names(forward) & self.project.quieting:
                return True
            still = self.silent_parts(cls, forward)
            if (helped or still or forward.called & quiet) and can_be_silent(forward.body, cls.methods, quiet, still):
                return True
        init = cls.methods.get("__init__")
        always = {last_name(c.func) for c in plain_calls(forward.body)} if forward is not None else set()
        for target, node in deep(init.body) if init is not None else ():
            if target.rsplit(".", 1)[-1] not in always:
                continue
            atom = self.project.dotted(cls.path, node.func) if isinstance(node, ev.Call) else None
            if atom is not None and atom[0] == "k" and self.project.is_module(atom[1]) and self.sets_own_grad(atom[1]):
                return True
        return False

    def silent_parts(self, cls: Class, forward: Function) -> frozenset[tuple[str, str]]:
        """The parts, and those of their methods, that a forward calls and that turn recording off: `self.encoder.encode`, decorated."""
        init = cls.methods.get("__init__")
        wanted = forward.receivers - {("self", name) for _, name in forward.receivers}
        found = set()
        for target, node in deep(init.body) if init is not None and wanted else ():
            part = target.rpartition(".")[2]
            if not isinstance(node, ev.Call) or not any(part == receiver for receiver, _ in wanted):
                continue
            atom = self.project.dotted(cls.path, node.func)
            if atom is None or atom[0] != "k" or not self.project.is_module(atom[1]):
                continue
            for receiver, name in wanted:
                method = self.project.method(atom[1], name) if receiver == part else None
                if method is not None and decorator_names(method[1]) & (GRAD_SWITCHES | self.project.quieting):
                    found.add((part, name))
        return frozenset(found)

    def class_layers(self, cls: Class, seen: set[int]) -> tuple[str, str]:
        """What a class builds, its bases and the project's classes among its parts included."""
        if id(cls) in seen:
            return "none", ""
        seen.add(id(cls))
        known = self.layer_cache.get(id(cls))
        if known is not None:
            return known
        verdict = "none"
        layer = ""
        outside = [b for b in self.project.outside_bases(cls) if not b.endswith((".Module", "object", ".ABC", ".Generic"))]
        if outside:
            verdict = "unknown"
        for owner in self.project.mro(cls):
            init = owner.methods.get("__init__")
            given = {p.name for p in init.params[1:]} if init is not None else set()
            if given & parts_run(owner) or any(names.is_model_name(name) for name in given):
                verdict = "unknown"  # it runs what it is handed
            for method, target, node in built(owner):
                found, name = self.built_layer(owner, method, node, seen)
                if found == "some":
                    layer = f"{target} ({name})" if target else name
                    self.layer_cache[id(cls)] = ("some", layer)
                    return "some", layer
                if found == "unknown":
                    verdict = "unknown"
        self.layer_cache[id(cls)] = (verdict, layer)
        return verdict, layer

    def written_layers(self, path: str, node: Value) -> tuple[str, str]:
        """What a module says that is built of torch.nn outside any class: `nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1))`."""
        if isinstance(node, ev.Seq):
            inner: Sequence[Value] = node.items
        elif isinstance(node, ev.Call) and last_name(node.func) in (*CONTAINERS, "OrderedDict") and not node.keywords:
            inner = node.args
        elif isinstance(node, ev.Call):
            return self.called_layer(path, node, set())
        else:
            return ("none", "") if isinstance(node, ev.Const) else ("unknown", "")
        found = [self.written_layers(path, part) for part in inner]
        return next((f for f in found if f[0] == "some"), ("unknown" if any(f[0] == "unknown" for f in found) else "none", ""))

    def built_layer(self, cls: Class, method: Function, node: Value, seen: set[int]) -> tuple[str, str]:
        """What one call or attribute read in a method of a class says."""
        if isinstance(node, ev.Attr):
            return ("some", "self.training") if node.name == "training" else ("none", "")
        assert isinstance(node, ev.Call)
        if last_name(node.func) in CONTAINERS and handed_to(cls, node):
            return "unknown", ""
        if isinstance(node.func, ev.Name) and self.project.dotted(cls.path, node.func) is None:
            return self.local_layer(cls, method, node, node.func.id, seen)
        return self.called_layer(cls.path, node, seen)

    def local_layer(self, cls: Class, method: Function, node: ev.Call, name: str, seen: set[int]) -> tuple[str, str]:
        """What the call of a local name says: `norm_layer(64)`, whose default is `nn.BatchNorm2d`."""
        kinds = [kind for kind in kinds_called(method, name) if isinstance(kind, ev.Call) and last_name(kind.func) != name]
        found = [self.called_layer(cls.path, called_with(kind, node), seen) for kind in kinds]
        found.append(self.called_layer(cls.path, node, seen))
        if not kinds and any(p.name == name for p in method.params[1:]) and names.words(name)[:1] not in (("act",), ("activation",)):
            return "unknown", ""  # it is handed the class
        return next((f for f in found if f[0] == "some"), next((f for f in found if f[0] == "unknown"), ("none", "")))

    def called_layer(self, path: str, node: ev.Call, seen: set[int]) -> tuple[str, str]:
        """What one call in a file says of the layer that it makes."""
        name = last_name(node.func)
        if name in DEPENDENT:
            rate = node.args[0] if node.args else next((v for k, v in node.keywords if k == "p"), None)
            if "Drop" in name and isinstance(rate, ev.Const) and rate.value in (0, 0.0):
                return "none", ""
            shown = f"{name} p={rate.value}" if "Drop" in name and isinstance(rate, ev.Const) else name
            return "some", shown
        if name in WITH_DROPOUT:
            rate = next((v for k, v in node.keywords if k == "dropout"), None)
            layers = node.args[2] if len(node.args) > 2 else next((v for k, v in node.keywords if k == "num_layers"), None)
            open_ = any(k == "**" for k, _ in node.keywords)
            single = (layers is None and not open_) or (isinstance(layers, ev.Const) and layers.value == 1)  # dropout is between layers
            return ("none", "") if single or rate is None or is_false(rate) else ("some", name)
        if name in FUNCTIONAL:
            return "some", f"F.{name}"
        if name.startswith("InstanceNorm") and any(k == "track_running_stats" and not is_false(v) for k, v in node.keywords):
            return "some", f"{name} with running statistics"
        if name in INDEPENDENT:
            return "none", ""
        atom = self.project.dotted(path, node.func)
        if atom is not None and atom[0] == "k":
            return self.class_layers(atom[1], seen) if self.project.is_module(atom[1]) else ("none", "")
        if atom is not None and atom[0] == "x" and atom[1].startswith(("torch.nn.functional", "torch.nn.init", "math.", "numpy.")):
            return "none", ""
        if atom is not None and atom[0] == "f":
            return self.helper_layers(atom[1], seen)
        if name[:1].isupper() or (
            atom is not None and atom[0] == "x" and name not in ("super", "len", "range", "zip", "print", "isinstance", "deepcopy")
        ):
            if atom is not None and atom[0] == "x" and atom[1].startswith("torch.") and not atom[1].startswith("torch.nn."):
                return "none", ""
            return "unknown", ""
        chosen = isinstance(node.func, (ev.Call, ev.Sub)) or (atom is None and any(k in ("dropout", "p") for k, _ in node.keywords))
        return ("unknown", "") if chosen else ("none", "")  # a class that was looked up by its name

    def helper_layers(self, fn: Function, seen: set[int]) -> tuple[str, str]:
        """What a function of the program says that a module calls: it may make layers, or nothing of the kind."""
        known = self.layer_cache.get(id(fn))
        if known is not None or id(fn) in seen:
            return known or ("none", "")
        seen.add(id(fn))
        found = ("none", "")
        for node in (node for _, node in deep(fn.body) if isinstance(node, ev.Call)):
            said = ("unknown", "") if asks_for_layer(fn, node) else self.called_layer(fn.path, node, seen)
            if said[0] != "none":
                found = said
            if said[0] == "some":
                break
        self.layer_cache[id(fn)] = found
        return found


def asks_for_layer(fn: Function, node: ev.Call) -> bool:
    """Whether a helper calls what it is handed, which may be a class of layers: `norm_layer(width)`."""
    return (
        isinstance(node.func, ev.Name) and any(p.name == node.func.id for p in fn.params) and not names.has_words(node.func.id, FUNCTIONS)
    )


def parts_run(cls: Class) -> set[str]:
    """The attributes that a class runs, other than losses and plain functions: `self.backbone(x)`."""
    run = {name for m in cls.methods.values() for receiver, name in m.receivers if receiver == "self"} - cls.methods.keys()
    return {name for name in run if not names.is_loss_name(name) and not names.has_words(name, FUNCTIONS)}


def is_written_out(node: Value) -> bool:
    """Whether a container's argument is a part, or parts, made on the spot of classes."""
    if isinstance(node, ev.Seq):
        return bool(node.items) and all(is_written_out(item) for item in node.items)
    return isinstance(node, ev.Call) and last_name(node.func)[:1].isupper()


def is_false(node: Value) -> bool:
    """A constant that is false."""
    return isinstance(node, ev.Const) and not node.value


def handed_to(cls: Class, node: ev.Call) -> bool:
    """Whether a container is made of what the constructor was handed: `nn.ModuleList(layers)`."""
    init = cls.methods.get("__init__")
    given = {p.name for p in init.params[1:]} if init is not None else set()
    said = [a.item if isinstance(a, ev.Star) else a for a in node.args]
    return any(isinstance(a, ev.Name) and a.id in given for a in said)


def can_be_silent(
    body: Sequence[Event], methods: Mapping[str, Function], quiet: frozenset[str], still: frozenset[tuple[str, str]] = frozenset()
) -> bool:
    """Whether some path through a forward calls no part of the module with recording on.

    `methods` of its own are looked into, and those that prepare are no part; `quiet` are the functions and contexts that turn recording
    off, `still` the methods of its parts that do (attribute, method).
    """
    contexts = quiet | {
        t.id for e in body if isinstance(e, ev.Assign) and switches_off(e.value, quiet) for t in e.targets if isinstance(t, ev.Name)
    }
    for event in body:
        if isinstance(event, ev.With):
            if any(switches_off(i, contexts) or (isinstance(i, ev.Name) and i.id in contexts) for i, _ in event.items):
                continue
        if isinstance(event, ev.Do) and turns_off(event.value, contexts):
            return True
        if isinstance(event, ev.Branch):
            if not can_be_silent(event.then, methods, contexts, still) and not can_be_silent(event.other, methods, contexts, still):
                return False
        else:
            inside = all(can_be_silent(inner, methods, contexts, still) for inner in blocks(event))
            if not inside or any(runs_part(node, methods, quiet, still) for node in own_calls(event)):
                return False
    return True


def switches_off(node: Value | None, quiet: frozenset[str]) -> bool:
    """`torch.no_grad()`, or a context manager of the project's own that does it."""
    return isinstance(node, ev.Call) and last_name(node.func) in quiet


def turns_off(node: Value, quiet: frozenset[str]) -> bool:
    """`torch.set_grad_enabled(False)` as a statement, `stack.enter_context(torch.no_grad())`."""
    if not isinstance(node, ev.Call) or not node.args:
        return False
    name = last_name(node.func)
    return (name == "set_grad_enabled" and is_false(node.args[0])) or (name == "enter_context" and switches_off(node.args[0], quiet))


def plain_calls(body: Sequence[Event]) -> Iterator[ev.Call]:
    """The calls of a body that no condition guards."""
    for event in body:
        yield from (node for node in own_calls(event) if isinstance(node, ev.Call))
        for inner in blocks(event) if not isinstance(event, (ev.Branch, ev.Try)) else ():
            yield from plain_calls(inner)


def written_in(body: Sequence[Event]) -> Iterator[tuple[str, Value]]:
    """`deep`, and what the functions say that are defined inside: `def block(a, b)` in a constructor."""
    yield from deep(body)
    for event in every(body):
        if isinstance(event, ev.Define):
            yield from written_in(event.function.body)


def own_calls(event: Event) -> Iterator[Value]:
    """The calls of one statement, those of its blocks left out."""
    yield from (node for value in values_of(event) for _, node in parts(value, ""))


def runs_part(node: Value, methods: Mapping[str, Function], quiet: frozenset[str], still: frozenset[tuple[str, str]]) -> bool:
    """`self.part(x)`, `self.part.method(x)`."""
    if not isinstance(node, ev.Call) or last_name(node.func) in ("eval", "train", "parameters", "to"):
        return False
    base = node.func
    if isinstance(base, ev.Attr) and (last_name(base.base), base.name) in still:
        return False
    if isinstance(base, ev.Attr) and base.name in methods:
        method = methods[base.name]
        if decorator_names(method) & quiet or names.has_words(base.name, INPUT_WORDS):
            return False
        if method.called & quiet and base.name not in ("forward", "__call__"):
            return not can_be_silent(method.body, {n: m for n, m in methods.items() if n != base.name}, quiet, still)
    while isinstance(base, (ev.Attr, ev.Sub)):
        base = base.base
    return isinstance(base, ev.Name) and base.id == "self"


def built(cls: Class) -> Iterator[tuple[Function, str, Value]]:
    """Every call in `__init__` (with the attribute it is assigned to), and what the other methods say of dropout and `self.training`."""
    for name, method in cls.methods.items():
        if name in ("train", "eval"):
            continue
        for target, node in written_in(method.body):
            if isinstance(node, ev.Call):
                if (
                    name == "__init__"
                    or name.startswith(("_make", "make_", "build", "_build", "init_"))
                    or last_name(node.func) in FUNCTIONAL
                ):
                    yield method, target, node
            elif asked_of_self(node) == "training" and name != "__init__":
                yield method, "", node

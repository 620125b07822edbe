"""Signs: what a forward's surroundings say of it, beyond the region that it is in: meant as it is, a test of shapes, a part of training."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from evallint.events import Assert, Function, Span
from evallint.meaning import names
from evallint.meaning.facts import Forward, Stop
from evallint.meaning.regions import Region, free_stops, own_name
from evallint.meaning.values import OFF, Mode
from evallint.meaning.vocabulary import SETTING_UP
from evallint.meaning.walk import every

EXPLORING = frozenset("explore exploration rollout rollouts collect".split())
"""Words of functions that play episodes to learn from."""
ATTACKS = frozenset("attack attacks attacker saliency gradcam attribution attributor".split())
"""Words of classes whose work is gradients, whatever of it is measured."""
DOING = frozenset("predictor inferencer".split())
"""Words of classes whose objects predict when they are called."""
REPEATED = frozenset("step epoch batch update iteration iter learn optimize minibatch".split())
"""Words of methods that train a little and are called again and again, evaluations in between."""
SWITCHING = frozenset("eval train start set mode to switch on off test val phase state change turn into evaluation valid".split())
"""Words of methods that do nothing but switch the mode: who calls one knows what follows."""
BUILDING = frozenset("__init__ build build_model init_model create_model init initialize".split())
"""Methods that build a model: a constructor, or what it is divided into."""
ACTION_WORDS = frozenset("act action actions".split())
"""Words of functions by which an agent acts, mostly to train on what comes of it."""
TEST_FOLDERS = frozenset(("tests", "testing", "test", "unittests"))
FOREIGN = (
    "xgboost",
    "lightgbm",
    "catboost",
    "sklearn",
    "tensorflow",
    "keras",
    "mlx",
    "onnx",
    "openvino",
    "tensorrt",
    "tflite",
    "spacy",
    "triton",
)
"""Names of libraries whose models have no mode, or one of their own."""
CONSTRUCTING = SETTING_UP - {"set"} | {"define", "find"}
TOLD = frozenset("numpy tolist argmax argmin topk show".split())
"""Uses of an output that is looked at for what it says, not for its shape or size."""
API_WORDS = frozenset("predict generate sample infer inference evaluate eval".split())


def is_deliberate(forward: Forward) -> bool:
    """Training mode is meant: Monte Carlo dropout, recalibration of batch norm, by the names around."""
    around = [s.function for s in forward.stops] + [s.owner for s in forward.stops] + [m.text for m in forward.modes]
    if any(names.has_words(loop.source, frozenset(("mc",))) for loop in forward.loops):
        return True
    if any(names.has_words(s.owner, frozenset(("mc", "mcd"))) for s in forward.stops):
        return True
    return any(word in text.lower() for text in around for word in names.DELIBERATE_WORDS)


def is_chosen_here(forward: Forward, mode: Mode, steps: set[tuple[str, str]]) -> bool:
    """Whether a function on the way to a forward, which takes no step of training, has set its mode."""
    return any(mode.function == s.function and (s.path, s.function) not in steps for s in forward.stops)


def is_own_wish(forward: Forward, region: Region, bad: list[Mode]) -> bool:
    """The function that evaluates calls `train()` itself, undoing no `eval()`, and does not say that it validates or tests."""
    own = all(m.path == region.path and m.function == region.function and not m.over for m in bad)
    return own and not (region.strongly or region.loader)


def wants_gradients(forward: Forward) -> bool:
    """Gradients are the product: attacks, saliency, attribution, forces."""
    last = len(forward.stops) - 1
    own = {m.function for m in forward.modes if m.mode == "eval"}
    near = [(at == last and s.function not in own, s) for at, s in enumerate(forward.stops) if at >= last - 1]
    if any(names.has_words(s.owner, ATTACKS) for s in forward.stops):
        return True
    if forward.grad_used or any(s.wants_grad and (told or not s.trains) for told, s in near):
        return True
    own_words = own_name(forward.stops[-1])
    if forward.stops[-1].trains and names.has_words(own_words, names.GRADIENT_WORDS):
        return True
    if forward.uses & {"detach", "numpy", "item", "tolist"} and not forward.escapes:
        return False  # if gradients were the product, they would have been computed by now
    around = [own_name(s) for s in forward.stops[-3:]] + [forward.stops[-1].owner]
    return any(names.has_words(n, names.GRADIENT_WORDS) for n in around)


@lru_cache(maxsize=20_000)
def is_unit_test(path: str, function: str, owner: str) -> bool:
    """A test function of a test file: it may run anything in any mode."""
    folders, _, file = path.rpartition("/")
    around = set(folders.split("/"))
    named = file.startswith("test_") or file.endswith("_test.py") or file == "conftest.py"
    name = own_method(function)
    if name.startswith("assert_"):
        return True
    if not (named or around & {"tests", "testing", "unittests"}) or name == "test":
        return False  # what runs a test set
    return (
        (named and bool(TEST_FOLDERS & around) and not function.startswith("<"))
        or name.startswith(("test", "setUp", "check_", "_test", "run_test"))
        or (around & {"tests", "unittests"} and "test" in names.words(name))
        or owner.startswith("Test")
        or owner.endswith(("Test", "Tests", "TestCase", "TestsMixin", "TestMixin"))
    )


def is_check(fn: Function) -> bool:
    """A unit test by its shape, whatever its file is called: it is handed nothing, is named for a test, and asserts."""
    if fn.params or "." in fn.qualname or not fn.name.startswith("test"):
        return False
    return any(name.startswith("assert") for name in fn.called) or any(isinstance(event, Assert) for event in every(fn.body))


def is_tested(forward: Forward) -> bool:
    """Whether a forward is met in a unit test, or in what one calls; a test file's own body calls its tests."""
    script = forward.stops[0].function == "<module>"
    if script and len(forward.stops) > 1 and forward.stops[1].function == own_name(forward.stops[0]):
        return False  # a file that runs what it is called by
    first = forward.stops[: 2 if script else 1]
    return any(s.checks or is_unit_test(s.path, s.function, s.owner) for s in first)


def is_foreign(forward: Forward) -> bool:
    """What runs belongs to another library, as its classes or functions say (`XGBoostTrainer`), or to a loss that is asked by its users."""
    first = forward.stops[0]
    if first.module and names.is_loss_name(first.owner):
        return True
    last = forward.stops[-1]
    said = [*(s.owner for s in forward.stops), own_name(last) if last.function != "<module>" else ""]
    return any(library in text.lower() for text in said for library in FOREIGN)


def is_construction(forward: Forward) -> bool:
    """`model = model(**options)` in `get_model()`, `eval(name)(**options)`: what is called is a class that was looked up by its name."""
    if forward.text == "eval(…)":
        return True
    said = names.words(own_name(forward.stops[-1]))
    thing = next((said[:at] for at, word in enumerate(said) if word in ("from", "by", "for")), said)  # `get_model_from_hub`
    makes = len(thing) > 1 and thing[0] in CONSTRUCTING and names.is_model_name(thing[-1])
    return makes and forward.layers == "unknown" and all(m.mode == "unknown" for m in forward.modes)


def is_measure(text: str) -> bool:
    """`self.metric`, `criterion(…)`: what is called is named for a loss or a metric, whatever it is made of."""
    said = names.words_of_function(text.split("(")[0].rsplit(".", 1)[-1])
    return bool(said) and names.is_loss_name(said[-1])


def is_rollout(forward: Forward) -> bool:
    """The forward chooses an action in an environment, and nothing says that the episode is one of evaluation."""
    said = [n for s in free_stops(forward) for n in (own_name(s), s.owner)]
    return (
        any(s.acts for s in forward.stops)
        and not any(s.told for s in forward.stops)
        and not any(names.has_words(n, names.REHEARSAL_WORDS) for n in said)
    )


def explores(forward: Forward) -> bool:
    """Episodes are played for what training learns from them, by the names around: `explore_env`, `collect_rollouts`."""
    return any(names.has_words(own_name(s), EXPLORING) for s in forward.stops)


def is_smoke_test(forward: Forward) -> bool:
    """A model made here is fed made-up numbers, and no result is measured: to see whether it runs, and what shape comes out."""
    own = {s.function for s in forward.stops}
    loc = forward.loc or ("void",)
    calls = loc[3] if loc[0] == "new" else ()  # what led to the constructor, by way of a factory
    built = loc[0] == "ret" and loc[1] == forward.stops[-1].path
    here = any(span is not None and is_within(span, s.span_of_function) for span in calls for s in forward.stops)
    made_here = all((m.mode in ("fresh", "eval") and (here or m.function in own)) or (m.mode == "unknown" and built) for m in forward.modes)
    shown = TOLD - {"numpy"} if forward.stops[-1].function == "<module>" else TOLD  # a script prints the shape of an array
    sized = forward.stops[-1].function == "<module>" and forward.uses <= {"item", "dropped"} and not forward.loops
    measured = forward.uses & shown or forward.escapes or forward.stored or (forward.loaded and not sized)
    return forward.synthetic and made_here and not measured


def is_within(inner: Span, outer: Span) -> bool:
    """Whether one place lies in another of the same file."""
    return outer[:2] <= inner[:2] and inner[2:] <= outer[2:]


def is_dry_run(forward: Forward) -> bool:
    """Nothing is done with what comes out, of made-up numbers or of random weights: lazy layers are built, a device is warmed up."""
    if forward.uses - {"dropped"} or forward.escapes or forward.stored or forward.loops:
        return False
    here = {forward.stops[-1].function}
    random = bool(forward.modes) and all(m.mode == "fresh" and m.function in here for m in forward.modes) and not forward.loaded
    return forward.synthetic or (random and forward.uses == {"dropped"})


def chosen(forward: Forward, bad: list[Mode]) -> bool:
    """`.train()` in the evaluating function itself, with no `.eval()` of the model near: it is meant."""
    free = free_stops(forward)
    own = {s.function for s in free if names.is_loss_name(own_name(s)) or not names.has_words(own_name(s), names.JUDGING_WORDS)}
    built = {f"{s.owner}.__init__" for s in free if s.owner}
    return all(
        m.mode == "train" and not m.over and ((m.function in own and m.where in forward.own_switches) or m.function in built) for m in bad
    )


def is_training_part(forward: Forward) -> bool:
    """A function on the way is named for a part of training: `training_step`, `train_forward`, `train_batch`."""
    said = [set(names.words(own_name(s))) for s in free_stops(forward)]
    return any(words & {"train", "training"} and words & {"step", "forward", "batch", "loss"} for words in said)


def is_update(stop: Stop) -> bool:
    """A function named for what learning does in each step: `_update_with_batch`, `learn`, `_target_q`."""
    said = names.words(own_name(stop))
    return said[:1] in (("update",), ("learn",), ("optimize",)) or bool(
        {"target", "targets"} & set(said) and {"q", "dist", "value", "values"} & set(said)
    )


def is_silent_pass(forward: Forward) -> bool:
    """A whole loop with recording off: what training makes of its numbers, it does not train through this forward."""
    return forward.grad == OFF and bool(forward.loops) and not forward.loops[-1].trains and not forward.stops[-1].trains


def is_inference(forward: Forward, region: Region) -> bool:
    """A model whose weights were loaded runs in a loop, and nothing trains around it."""
    return forward.loaded and region.loop is not None and bool(forward.uses) and not any(s.trains or s.shared for s in forward.stops)


def is_api(root: Stop) -> bool:
    """A public method by which users predict or generate: nobody has turned recording off before it."""
    name = own_name(root)
    return (
        bool(root.owner)
        and not root.module
        and names.words(name)[:1] in (("predict",), ("sample",), ("generate",), ("infer",), ("inference",))
    )


def is_probe(forward: Forward) -> bool:
    """A module that runs its own layers while it is built, to learn a shape."""
    return any(s.module and s.function.endswith("__init__") for s in forward.stops)


def is_owned(forward: Forward) -> bool:
    """The model of unknown mode is one that the region's users hand in or build.

    That is a parameter, an attribute of their own object, or a factory's result; not an item of something that cannot be seen.
    """
    loc = forward.loc or ("void",)
    if any(names.words(s.owner)[-1:] == ("pipeline",) for s in forward.stops):
        return False  # its factories hand it models that are ready to use
    if forward.stops[-1].module and len(forward.stops) > 1:  # a part of the module that is called
        while loc[0] == "child":
            loc = loc[1]
    if forward.pickled:
        return True
    while loc[0] == "child" and not loc[2].startswith(("[", "#", "<")) and loc[1][0] in ("child", "self", "param"):
        if loc[1][0] == "self":
            return True
        loc = loc[1]
    return loc[0] in ("param", "ret", "global", "self", "new")


def region_is_own_method(forward: Forward) -> bool:
    """The region is in a method of the module itself, entered in its caller's mode."""
    return forward.stops[0].module


def is_after_training(forward: Forward, region: Region) -> bool:
    """Whether a function has trained, switches to eval itself, and runs the model once more for what it hands out."""
    last = forward.stops[-1]
    switched = any(m.mode == "eval" and m.function == last.function for m in forward.modes)
    return last.trains and switched and last.function == region.function and not forward.trained


def is_built_in(mode: Mode) -> bool:
    """Whether a constructor, or what it is divided into, set the mode."""
    return own_method(mode.function) in BUILDING


def own_method(function: str) -> str:
    """The last part of a qualified name."""
    return function.rsplit(".", 1)[-1]


def is_repeated(forward: Forward, mode: Mode) -> bool:
    """Whether users call the method that trains between evaluations: a step or an epoch of training, after a method that evaluates."""
    said = names.words(own_method(mode.function))
    root = own_name(forward.stops[0])
    if mode.left == root:
        return True  # it trains, and evaluates at its end
    return names.has_words(root, REPEATED) and not forward.midway and not set(said) <= SWITCHING


def is_botched(mode: Mode, serving: set[tuple[Any, ...]]) -> bool:
    """Whether a method that evaluates ends with an `eval()` under which it evaluates nothing: meant to put the mode back."""
    own = {where for path, function, where in serving if (path, function) == (mode.path, mode.function)}
    return bool(own) and mode.where not in own


def hands_out_loss(forward: Forward, region: Region) -> bool:
    """Whether a method returns a loss with its graph to callers that cannot be seen: somebody back-propagates it."""
    told = region.strongly or region.silent or region.loader or region.loop is not None
    own = {s.function for s in forward.stops}
    switched = any(m.mode == "eval" and m.function in own for m in forward.modes)
    return forward.escapes and "metric" in forward.uses and not (told or switched)


def is_converted(forward: Forward, region: Region) -> bool:
    """Whether all that becomes of an output is an array, taken out of the graph by hand, in code that trains nothing."""
    acts = names.has_words(region.function, ACTION_WORDS)
    out_of_graph = "numpy" in forward.uses and "detach" in forward.uses and not (forward.escapes or forward.stored)
    return out_of_graph and not acts and not region.training


def is_before_training(forward: Forward, bad: list[Mode], teaching: set[str]) -> bool:
    """Whether a model is in training mode only where nobody has called the method that trains it and leaves it in eval mode.

    Before that its weights are random. `teaching` are the methods that train.
    """
    fresh = all(m.mode == "fresh" for m in bad)
    return fresh and any(m.mode == "eval" and m.left and m.function in teaching for m in forward.modes)

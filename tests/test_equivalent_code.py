"""Programs that do the same have the same findings, and a protection counts in every spelling. All from the fixtures."""

from __future__ import annotations

import ast
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import pytest

from evallint import lint_paths, lint_source
from evallint.finding import Finding
from evallint.settings import Settings

from . import protecting, rewriting, splitting
from .fixture_files import ALL, SINGLE, Fixture, relative
from .rewriting import Change, each_file

Counts = Counter[tuple[str, str]]
"""How many findings of a code there are in a function."""

KNOWN: dict[str, tuple[str, ...]] = {
    "what is known of an attribute or parameter by its name is lost where a local name of another spelling stands for it": (
        "models aliased: wrong/b03_package",
        "models aliased: wrong/b33_loss_of_a_data_set.py",
        "models aliased: wrong/b33_loss_runs_the_model.py",
        "models aliased: wrong/b33_loss_with_its_scores.py",
        "models aliased: wrong/b33_table_of_losses.py",
        "attributes aliased: right/a10_part_with_a_silent_method.py",
        "attributes aliased: wrong/b04_episodes_told_apart.py",
        "attributes aliased: wrong/b12_loaded_from_checkpoint.py",
        "attributes aliased: wrong/b20_decoding.py",
        "attributes aliased: wrong/b33_metrics_of_outputs.py",
        "attributes aliased: wrong/b44_part_returned.py",
    ),
    "a switch of what does not run is told in the function that runs the other alone, and outside of `try`": (
        "tails split: wrong/b07_wrong_object.py",
        "tails split: wrong/b31_copy_switched.py",
        "try: wrong/b31_copy_switched.py",
        "try: wrong/b31_enable_grad_dropped.py",
        "attributes aliased: wrong/b09_no_parentheses.py",
    ),
    "what a part's forward is handed is looked for where its own attribute is called": (
        "attributes aliased: wrong/b41_method_of_the_class.py",
        "DataParallel: wrong/b41_method_of_the_class.py",
    ),
    "a sum that keeps its graph is followed in the function of the loop alone": (
        "loops split: wrong/b33_back_propagated.py",
        "loops split: wrong/b33_codes_beside_outputs.py",
        "loops split: wrong/b33_epoch_loss.py",
        "loops split: wrong/b33_generator_yields_it.py",
        "loops split: wrong/b33_histories.py",
        "tails split: wrong/b33_histories.py",
        "loops split: wrong/b33_left_on_the_module.py",
        "loops split: wrong/b33_loss_of_a_data_set.py",
        "loops split: wrong/b33_loss_of_a_part.py",
        "loops split: wrong/b33_meter.py",
        "loops split: wrong/b33_meter_of_keywords.py",
        "loops split: wrong/b33_metrics_of_outputs.py",
        "loops split: wrong/b33_samples_of_a_batch.py",
        "loops split: wrong/b33_scheduler_reads_it.py",
        "loops split: wrong/b33_own_predict.py",
        "loops split: wrong/b33_parts_of_an_output.py",
        "loops split: wrong/b33_weighted_sum.py",
        "loops split: wrong/b44_experiment.py",
        "tails split: wrong/b33_agent_returns_its_loss.py",
    ),
    "a layer that is built in a forward is not followed into another function, nor into a wrapper": (
        "tails split: wrong/b42_under_a_name.py",
        "tails split: wrong/b42_listed.py",
        "DataParallel: wrong/b42_own_class.py",
    ),
    "what a helper hands out beside other things is followed by its last statement": ("tails split: wrong/b43_helpers.py",),
    "what a helper adds to a list of its caller is not followed into the caller's training step": (
        "loops split: right/a33_handed_to_the_outer_step.py",
    ),
    "a list that a helper fills is not followed into the next one": (
        "loops split: wrong/b43_other_helpers.py",
        "tails split: wrong/b43_other_helpers.py",
    ),
    "what is added to a part is looked for under the name that the part has in the list": (
        "what is built aliased: wrong/b43_parts_of_parts.py",
    ),
    "`train()` after the last batch is understood in the loop itself only": ("loops split: right/a14_at_the_last_batch.py",),
    "a forward two calls below the loop is found both there and at the loop": ("loops split: wrong/b09_loader_feeds_helper.py",),
    "training step and evaluation in one helper, which a loop calls: the second round is not seen": (
        "loops split: wrong/b22_counted_steps.py",
    ),
    "`training` of an object that passes on what it lacks is not that of its module": (
        "switch: only if needed: right/a09_delegating_wrapper.py",
    ),
    "a decorator of torch under another one is seen, a home-made one is not": (
        "decorator: an own decorator: right/a10_stacked_decorators.py",
        "decorator: an own decorator: right/a10_method_of_own_layers.py",
    ),
    "what a derived class makes is told by the constructor alone, not by a wrapper around it": (
        "DataParallel: wrong/b04_made_by_a_derived_class",
    ),
    "a model that each round makes anew is told by the constructor's own assignment": (
        "what is built aliased: right/a16_another_in_each_round.py",
    ),
    "an own context manager is no sign of an evaluation, as `no_grad` is": (
        "with: an own context manager: wrong/b03_caller_without_torch",
        "with: an own context manager: wrong/b04_module_predicts.py",
    ),
}
"""Programs that evallint reads otherwise than their equals: by the reason, the change and the fixture, or a change that many fail."""
_EXCUSED = {case for cases in KNOWN.values() for case in cases}

EVERY = "EVALLINT_EVERY_PROGRAM"
"""With this environment variable set, every change is tried on every program that it fits; without, the dear ones on a share of them."""
SPELLINGS_SHARE = 5
SHARES = {
    **{"if True": 3, "try": 3, "what is built aliased": 2, "entries all or nothing": 2, "loops split": 2, "tails split": 2},
    **{"all that is called": 2, "all that is called, by the module's name": 2},
}
"""Of how many programs one is tried, always the same ones; of all others, each."""


def _is_drawn(name: str, program: str, share: int) -> bool:
    return bool(os.environ.get(EVERY)) or zlib.crc32(f"{name}: {program}".encode()) % share == 0


def _counts(findings: list[Finding]) -> Counts:
    return Counter((f.code, f.function) for f in findings)


@cache
def _usual(fixture: Fixture) -> list[Finding]:
    if fixture.is_folder:
        return lint_paths([fixture.path], Settings()).findings
    return lint_source(fixture.text(), str(fixture.path))


@cache
def _texts(fixture: Fixture) -> list[str]:
    return [file.read_text(encoding="utf-8") for file in fixture.files]


def _trees(fixture: Fixture) -> list[ast.Module]:
    return [ast.parse(text) for text in _texts(fixture)]


def _text(tree: ast.Module) -> str:
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _lint(fixture: Fixture, trees: list[ast.Module], folder: Path) -> list[Finding]:
    """The findings of the fixture with its files as `trees` have them."""
    if not fixture.is_folder:
        return lint_source(_text(trees[0]), str(fixture.path))
    root = folder / fixture.path.name
    for file, tree in zip(fixture.files, trees, strict=True):
        copy = root / file.relative_to(fixture.path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(_text(tree), encoding="utf-8")
    return lint_paths([root], Settings()).findings


Answer = tuple[str, object, object] | None
"""The case, what is to be found and what is found; None where the change does not fit."""


def _hold(answers: Iterator[Answer], at_least: int) -> None:
    """Each case that fits finds what it is to find, none is `KNOWN` in vain, and enough of them fit."""
    fitting = [answer for answer in answers if answer]
    count = len(fitting)
    fitting = [answer for answer in fitting if answer[0].rpartition(": ")[0] not in _EXCUSED]
    wrong = [(case, expected, found) for case, expected, found in fitting if (expected == found) == (case in _EXCUSED)]
    rows = [f"\n  {case}\n    expected {expected}\n    found    {found}" for case, expected, found in wrong]
    if rows:
        pytest.fail("".join(rows), pytrace=False)
    assert count >= at_least


def _some(name: str, fixtures: tuple[Fixture, ...]) -> tuple[list[Fixture], int]:
    """The fixtures that the change is tried on, and the share of all that they are."""
    share = 1 if os.environ.get(EVERY) else SHARES.get(name, 1)
    return [f for f in fixtures if _is_drawn(name, f.name, share)], share


CHANGES: dict[str, tuple[Change, int]] = {
    "models aliased": (each_file(rewriting.alias_parameters), 90),
    "what is built aliased": (each_file(rewriting.alias_constructed), 180),
    "attributes aliased": (rewriting.alias_attributes, 120),
    "DataParallel": (rewriting.wrapped("nn.DataParallel({})", "from torch import nn"), 30),
    "DDP afterwards": (
        rewriting.wrapped("DDP({}, device_ids=[0])", "from torch.nn.parallel import DistributedDataParallel as DDP", in_place=False),
        30,
    ),
    "torch.compile": (rewriting.wrapped("torch.compile({})", "import torch", in_place=False), 30),
    "if True": (rewriting.guarded("if True:\n    pass"), 190),
    "try": (rewriting.guarded("try:\n    pass\nfinally:\n    print()"), 190),
    "evaluations now and then": (each_file(rewriting.guard_evaluations), 20),
    "entries all or nothing": (each_file(rewriting.guard_entries), 100),
    "script under main": (each_file(rewriting.script_under_main), 5),
}
"""Changes that leave every finding where it is, and how many programs each fits at least."""


def _changed(fixture: Fixture, name: str, change: Change, folder: Path, view: Callable[[list[Finding]], object] = _counts) -> Answer:
    trees = _trees(fixture)
    if not change(trees):
        return None
    return f"{name}: {fixture.name}", view(_usual(fixture)), view(_lint(fixture, trees, folder))


@pytest.mark.parametrize("name", CHANGES)
def test_findings_stay(name: str, tmp_path: Path) -> None:
    change, at_least = CHANGES[name]
    some, share = _some(name, ALL)
    _hold((_changed(fixture, name, change, tmp_path) for fixture in some), at_least // share)


SPLITS: dict[str, tuple[Change, int]] = {
    "loops split": (each_file(splitting.split_loops), 150),
    "tails split": (each_file(splitting.split_tails), 150),
    "script in a function": (each_file(rewriting.script_in_function), 5),
}


def _whole(findings: list[Finding]) -> set[tuple[str, str]]:
    """Code and function of each finding, a part under the name of the function that it was split off."""
    part = re.compile(r"\b" + splitting.PART.format(r"(\w+?)") + r"(?=$|\.)")
    return {(f.code, part.sub(r"\1", f.function).replace("module_code", "<module>")) for f in findings}


@pytest.mark.parametrize("name", SPLITS)
def test_split_functions(name: str, tmp_path: Path) -> None:
    change, at_least = SPLITS[name]
    some, share = _some(name, ALL)
    _hold((_changed(fixture, name, change, tmp_path, _whole) for fixture in some), at_least // share)


MOVES: dict[str, tuple[str, bool, int]] = {
    "all but the script": ("script", False, 5),
    "all that is called": ("last", False, 110),
    "all that is called, by the module's name": ("last", True, 110),
    "the classes": ("functions", False, 70),
}


def _moved(fixture: Fixture, name: str, folder: Path) -> Answer:
    keep, by_module, _ = MOVES[name]
    files = splitting.split_file(_trees(fixture)[0], keep=keep, by_module=by_module)
    if files is None:
        return None
    for file, tree in files.items():
        (folder / file).write_text(_text(tree), encoding="utf-8")
    return f"{name}: {fixture.name}", _counts(_usual(fixture)), _counts(lint_paths([folder], Settings()).findings)


@pytest.mark.parametrize("name", MOVES)
def test_functions_in_another_file(name: str, tmp_path: Path) -> None:
    some, share = _some(name, SINGLE)
    _hold((_moved(fixture, name, tmp_path) for fixture in some), MOVES[name][2] // share)


Exchange = Callable[[Fixture, list[ast.Module]], int]


def _switches(spelling: str) -> Exchange:
    def change(fixture: Fixture, trees: list[ast.Module]) -> int:
        count = 0
        for file, tree in zip(fixture.files, trees, strict=True):
            lines = {p.line for p in fixture.protections if p.file == relative(file)}
            count += protecting.exchange_switches(tree, spelling, lines)
        return count

    return change


def _everywhere(exchange: Callable[[ast.Module, str], int], spelling: str) -> Exchange:
    return lambda _, trees: sum(exchange(tree, spelling) for tree in trees)


EXCHANGES: dict[str, Exchange] = {
    **{f"switch: {s}": _switches(s) for s in protecting.SWITCHES},
    **{f"with: {s}": _everywhere(protecting.exchange_contexts, s) for s in protecting.CONTEXTS},
    **{f"decorator: {s}": _everywhere(protecting.exchange_decorators, s) for s in protecting.DECORATORS},
    **{f"with to {s}": _everywhere(protecting.context_to_decorator, s) for s in protecting.DECORATORS if s[0] == "@"},
}
"""What a program has as protections, in other spellings."""


@pytest.mark.parametrize("name", EXCHANGES)
def test_protections_in_other_spellings(name: str, tmp_path: Path) -> None:
    exchange = EXCHANGES[name]

    def answers() -> Iterator[Answer]:
        for fixture in ALL:
            if _is_drawn(name, fixture.name, SPELLINGS_SHARE):
                yield _changed(fixture, name, partial(exchange, fixture), tmp_path)

    _hold(answers(), 0)


Protect = Callable[[ast.Module, Finding], bool]


def _at(finding: Finding) -> tuple[int, int]:
    return finding.place.line, finding.place.column - 1


def _stops(spelling: str) -> Protect:
    return lambda tree, f: f.code == "EVL002" and protecting.stop_recording(tree, *_at(f), spelling)


def _decorates(spelling: str) -> Protect:
    return lambda tree, f: f.code == "EVL002" and protecting.decorate_evaluation(tree, *_at(f), spelling)


def _sets_eval(spelling: str, *, restore: bool) -> Protect:
    return lambda tree, f: f.code == "EVL001" and protecting.switch_to_eval(tree, *_at(f), f.model, spelling, restore=restore)


ADDED: dict[str, Protect] = {
    **{f"recording stopped: {s}": _stops(s) for s in protecting.CONTEXTS},
    **{f"function decorated: {s}": _decorates(s) for s in protecting.DECORATORS if s[0] == "@" or s == "an own decorator"},
    **{f"mode switched: {s}": _sets_eval(s, restore=False) for s in protecting.SWITCHES},
    **{f"mode restored: {s}": _sets_eval(s, restore=True) for s in protecting.SWITCHES if s != "assigned"},
}
"""What wrong code is given to make one finding vanish."""


def _protected(fixture: Fixture, finding: Finding, name: str) -> Answer:
    (tree,) = _trees(fixture)
    if not ADDED[name](tree, finding):
        return None
    usual, found = _usual(fixture), lint_source(_text(tree), str(fixture.path))
    if name.startswith("mode switched"):  # a training that goes on in eval mode is another, and true, story
        usual, found = ([f for f in findings if f.code != "EVL003"] for findings in (usual, found))
    expected, left = _counts(usual) - Counter([(finding.code, finding.function)]), _counts(found)
    # a helper that only this evaluation calls is protected with it
    return f"{name}: {fixture.name}:{finding.place.line}", expected, expected if left <= expected else left


@pytest.mark.parametrize("name", ADDED)
def test_protected_code_is_silent(name: str) -> None:
    def answers() -> Iterator[Answer]:
        for fixture in SINGLE:
            for finding in _usual(fixture):
                if _is_drawn(name, f"{fixture.name}:{finding.place.line}", SPELLINGS_SHARE):
                    yield _protected(fixture, finding, name)

    _hold(answers(), 0)


def test_spellings_fit_many_programs() -> None:
    exchanged = {
        "switch: train(mode=flag)": 80,
        "with: set_grad_enabled(False)": 100,
        "decorator: an own decorator": 20,
        "with to @set_grad_enabled(False)": 15,
    }
    for name, at_least in exchanged.items():
        assert sum(bool(EXCHANGES[name](fixture, _trees(fixture))) for fixture in ALL) >= at_least, name
    added = {
        "recording stopped: inference_mode": 30,
        "function decorated: @no_grad()": 10,
        "mode switched: train(mode=flag)": 25,
        "mode restored: train(mode=flag)": 25,
    }
    for name, at_least in added.items():
        assert sum(ADDED[name](_trees(fixture)[0], f) for fixture in SINGLE for f in _usual(fixture)) >= at_least, name

"""Event trees and findings as bytes: what comes back is what went in, or a ValueError."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from evallint import events as ev
from evallint.cache.codec import decode, decode_findings, encode, encode_findings
from evallint.cache.columns import Tables, kept
from evallint.finding import Edit, Finding, Fix, Place, Step
from evallint.linting import lint_paths
from evallint.syntax.bodies import Unparsable
from evallint.syntax.visitor import lower_file
from tests.examples import MISSING_EVAL, ROOT, environment
from tests.fixture_files import FIXTURES

EVERY_SYNTAX = """\
import os.path as p, sys
from . import sibling
from ..above import thing as other
x: "int" = 1
y = z = [*a, None, True, False, ..., 2.5, 1e999, 3j, -0.0, b"", "é\\n", 0x{huge}]
y += {{**m, "k": lambda q, *r, s=1, **t: (yield q)}}
@decorated(1)
class Net(Base[int], metaclass=M):
    @property
    def training(self): return self._t
    @training.setter
    def training(self, v): self._t = v
    if flag:
        def run(self, *args, key=None, **kw): yield
    else:
        def run(self): getattr(self, name)()
    alias = run
async def f(a, /, b: int = 1, *, c: str = "stress") -> None:
    global g
    async with open(a) as h, other:
        assert a is not None, "no"
    for i, *j in zip(a, b):
        if not i or j and i < 3 < 4: continue
        elif (n := len(j)) not in (1, 2): break
        else: raise ValueError from None
    else:
        while True: pass
    try: await q[1:2, ::3]
    except (A, B) as e: raise
    else: del x
    finally: return [u if v else w for u in a if u for v in u], {{k: v for k, v in b}}, f"{{a!r}} {{b}}"
match x:
    case 1: a()
    case "s" if y: b()
    case [_, *_]: c()
    case _: d()
""".format(huge="f" * 5000)

CONSTANTS: list[Any] = [
    *(None, True, False, 0, 1, -1, 1 << 62, 1 << 63, -(1 << 63), -(1 << 64), 1 << 20000, -(1 << 20000)),
    *(0.0, -0.0, 1.0, 0.1, 5e-324, math.pi, math.inf, -math.inf, math.nan),
    *("", "a", "\0", "\n", '"\\', "é", "\U0001f600", "\ud83d", "\ude00", "\ud83d\ude00", "a\udc80", "\u2028", "0x10", "NaN"),
]
FOREIGN = [b"", b"null", b"[]", b"{}", b"\xff", b"1" * 5000, b"[" * 100_000, b"NaN", b"[1,[],[],[],[0]]"]
SMALL = """\
import torch
class Net(Base):
    def forward(self, x, *, y=0.5):
        for i in x: self.fc(x, key={"a": y})
        return None
"""


def dump(root: object) -> list[Any]:
    """All that can be told of a graph by looking at it: types, values to the last bit, and which objects are the same one."""
    numbers: dict[int, int] = {id(ev.NOTHING): -1}
    rows: list[Any] = []
    pending = [root]

    def seen(value: Any) -> Any:
        if is_dataclass(value):
            if id(value) not in numbers:
                numbers[id(value)] = len(numbers)
                pending.append(value)
            return ("object", numbers[id(value)])
        if isinstance(value, (tuple, list)):
            return (type(value), [seen(v) for v in value])
        if isinstance(value, dict):
            return (dict, [(seen(k), seen(v)) for k, v in value.items()])
        if isinstance(value, frozenset):
            return (frozenset, sorted(map(repr, value)))
        return (type(value), hex(value) if isinstance(value, int) else value.hex() if isinstance(value, float) else value)

    if isinstance(root, list):
        return [dump(item) for item in root]
    while pending:
        thing: Any = pending.pop()
        rows.append((type(thing), [(f.name, seen(getattr(thing, f.name))) for f in kept(type(thing))]))
    return rows


def module(*body: ev.Event, functions: tuple[ev.Function, ...] = (), classes: tuple[ev.Class, ...] = ()) -> ev.File:
    """A file with this body."""
    function = ev.Function("<module>", "<module>", (), body, (), (1, 1, 1, 1), False, frozenset(), frozenset())
    return ev.File("m.py", function, functions, classes)


def constants(*values: Any) -> ev.File:
    """A file that holds these constants."""
    return module(*(ev.Do(ev.Const(value)) for value in values))


@pytest.fixture(scope="module")
def trees() -> dict[str, ev.File]:
    """The event trees of all fixtures, and of a text with everything that the grammar has."""
    found = {"everything": lower_file("everything.py", EVERY_SYNTAX)}
    for path in sorted(FIXTURES.rglob("*.py")):
        try:
            found[str(path)] = lower_file(str(path), path.read_text(encoding="utf-8"))
        except Unparsable:
            continue
    assert len(found) > 300
    return found


def test_trees_come_back(trees: dict[str, ev.File]) -> None:
    for name, tree in trees.items():
        assert dump(decode(encode(tree))) == dump(tree), name


def test_the_trees_tried_have_every_class(trees: dict[str, ev.File]) -> None:
    had = {row[0] for tree in trees.values() for row in dump(tree)}
    there = {c for c in vars(ev).values() if isinstance(c, type) and is_dataclass(c)}
    assert there - had == {ev.Value, ev.Event}


def test_methods_are_the_functions_of_the_file(trees: dict[str, ev.File]) -> None:
    methods = 0
    for tree in trees.values():
        back = decode(encode(tree))
        functions = set(map(id, back.functions))
        for cls in back.classes:
            assert functions.issuperset(map(id, cls.methods.values()))
            methods += len(cls.methods)
        defined = {id(e.cls) for e in back.body.body if isinstance(e, ev.DefineClass)}
        assert defined <= set(map(id, back.classes))
    assert methods > 100


def test_one_object_stays_one_and_two_stay_two() -> None:
    shared = ev.Name("x")
    tree = module(ev.Do(shared), ev.Do(shared), ev.Do(ev.Name("x")), ev.Do(ev.NOTHING), ev.Do(ev.Mix(())))
    one, two, three, nothing, empty = (e.value for e in decode(encode(tree)).body.body if isinstance(e, ev.Do))
    assert one is two
    assert three is not one
    assert nothing is ev.NOTHING
    assert isinstance(empty, ev.Mix)
    assert empty is not ev.NOTHING


@pytest.mark.parametrize("value", CONSTANTS, ids=map(str, range(len(CONSTANTS))))
def test_constants_keep_type_and_value(value: Any) -> None:
    tree = replace(constants(value, value), path=value if isinstance(value, str) else "")
    assert dump(decode(encode(tree))) == dump(tree)


def test_bytes_are_the_same_in_every_process() -> None:
    program = (
        "import sys; from evallint.syntax.visitor import lower_file; from evallint.cache.codec import encode;"
        "sys.stdout.buffer.write(encode(lower_file('m.py', sys.stdin.read())))"
    )
    written = {
        subprocess.run(
            [sys.executable, "-c", program], input=MISSING_EVAL.encode(), capture_output=True, check=True, cwd=ROOT,
            env=environment(PYTHONHASHSEED=seed),
        ).stdout
        for seed in ("0", "1", "2")
    }  # fmt: skip
    assert written == {encode(lower_file("m.py", MISSING_EVAL))}


def test_depth_is_no_limit() -> None:
    value: ev.Value = ev.Name("x")
    body: tuple[ev.Event, ...] = ()
    for _ in range(20 * sys.getrecursionlimit()):
        value = ev.Attr(value, "y")
        body = (ev.Branch(None, body, ()),)
    tree = module(ev.Do(value), *body)
    assert dump(decode(encode(tree))) == dump(tree)


@pytest.mark.parametrize(
    "tree",
    [
        constants(b"bytes"),
        constants(1j),
        module(ev.Do(ev.Name(3))),  # type: ignore[arg-type]
        module(ev.Do(ev.Return(None))),  # type: ignore[arg-type]
        module(ev.Do(None)),  # type: ignore[arg-type]
        module(ev.Value()),  # type: ignore[arg-type]
        module(ev.Do(ev.Seq([ev.NOTHING]))),  # type: ignore[arg-type]
        module(ev.Do(ev.Call(ev.NOTHING, (), (), (1, 2, 3)))),  # type: ignore[arg-type]
        module(ev.Outer((), 1)),  # type: ignore[arg-type]
        "text",
    ],
    ids=map(str, range(10)),
)
def test_what_is_no_tree_is_not_written(tree: Any) -> None:
    with pytest.raises(ValueError):
        encode(tree)


def positions(content: Any, at: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """The path to every list and leaf of a JSON value."""
    inner = [p for n, item in enumerate(content) for p in positions(item, (*at, n))] if isinstance(content, list) else []
    return [at, *inner]


def changed(content: Any, at: tuple[int, ...], value: Any) -> Any:
    """A JSON value with another value at a place."""
    return [changed(item, at[1:], value) if n == at[0] else item for n, item in enumerate(content)] if at else value


def well_formed(root: object, types: dict[str, type]) -> bool:
    """Whether every field that a class constrains has a value of a right class, so that an analysis can walk the graph."""
    for kind, row in dump(root):
        for name, (found, _) in row:
            expected = types.get(f"{kind.__name__}.{name}")
            if expected is not None and found is not expected:
                return False
    return True


def test_changed_trees_are_refused_or_well_formed() -> None:
    """Every single thing in it replaced by others: never another exception, and never a value of a wrong type."""
    content = json.loads(encode(lower_file("m.py", SMALL)))
    types = {
        **{f"{c.__name__}.span": tuple for c in (ev.Call, ev.Loop, ev.Function, ev.Class)},
        **{"Name.id": str, "Attr.name": str, "Function.called": frozenset, "Class.methods": dict, "Outer.is_global": bool},
    }
    refused = 0
    for at in positions(content):
        for value in (None, True, -1, 10**30, 1.5, "x", [], [1], [[]], {}):
            try:
                back = decode(json.dumps(changed(content, at, value)).encode())
            except ValueError:
                refused += 1
            else:
                assert well_formed(back, types), (at, value)
    assert refused > 1000


def test_a_reference_to_a_wrong_class_is_refused() -> None:
    tree = module(ev.Do(ev.Name("x")), ev.Return(ev.Name("y")))
    content = json.loads(encode(tree))
    total = 2 + sum(content[2])
    outcomes = {}
    for number in range(-1, total + 1):  # `Do.value` and `Return.value`, whichever come first among the tables
        for place, column in enumerate(content[3]):
            if content[2][place] == 1 and len(column) == 1 and len(column[0]) == 1 and isinstance(column[0][0], int):
                try:
                    decode(json.dumps(changed(content, (3, place, 0, 0), number)).encode())
                    outcomes[place, number] = True
                except ValueError:
                    outcomes[place, number] = False
    allowed = {place: {n for (p, n), ok in outcomes.items() if p == place and ok} for place, _ in outcomes}
    # 0 is None, which only `return` may have; 1 is NOTHING; 2 and 3 are the names; all else is no value
    assert sorted(map(sorted, allowed.values())) == [[0, 1, 2, 3], [1, 2, 3]]


def test_damaged_bytes_are_refused() -> None:
    data = encode(lower_file("m.py", MISSING_EVAL))
    for end in range(len(data)):
        with pytest.raises(ValueError):
            decode(data[:end])
    choose = random.Random(0)
    for _ in range(3000):
        damaged = bytearray(data)
        for _ in range(choose.randint(1, 4)):
            damaged[choose.randrange(len(data))] = choose.randrange(256)
        try:
            decode(bytes(damaged))
        except ValueError:
            continue


@pytest.mark.parametrize("data", FOREIGN, ids=map(str, range(len(FOREIGN))))
@pytest.mark.parametrize("read", [decode, decode_findings])
def test_foreign_bytes_are_refused(data: bytes, read: Callable[[bytes], object]) -> None:
    with pytest.raises(ValueError):
        read(data)


def test_the_one_is_not_read_as_the_other() -> None:
    with pytest.raises(ValueError):
        decode(encode_findings([]))
    with pytest.raises(ValueError):
        decode_findings(encode(module()))


def test_what_classes_of_another_shape_wrote_is_refused() -> None:
    before = make_dataclass("Pair", [("left", "str"), ("right", "str")], slots=True)
    after = make_dataclass("Pair", [("right", "str"), ("left", "str")], slots=True)
    data = Tables([before]).dump([before("l", "r")])
    (same,) = Tables([before]).load(data)
    assert (same.left, same.right) == ("l", "r")
    with pytest.raises(ValueError):
        Tables([after]).load(data)


def test_a_tree_that_was_read_is_written_as_it_was(trees: dict[str, ev.File]) -> None:
    for name, tree in trees.items():
        data = encode(tree)
        assert encode(decode(data)) == data, name


HERE = Place("a\udc80b.py", 1, 2, 3, 4)
WHOLE = Finding(
    HERE, "EVL001", "name", "`é` \n", "low", "note", "f", "model", (Step(HERE, "one"), Step(Place("b.py", 9, 9, 9, 9), "two")),
    Fix("unsafe", (Edit(1, 1, 1, 1, "model.eval()\n"), Edit(2, 1, 3, 1, ""))),
)  # fmt: skip


@pytest.mark.parametrize("findings", [[], [WHOLE], [Finding(HERE, "", "", ""), WHOLE, WHOLE, replace(WHOLE, fix=None, trail=())]], ids=len)
def test_findings_come_back(findings: list[Finding]) -> None:
    back = decode_findings(encode_findings(findings))
    assert back == findings
    assert dump(back) == dump(findings)


def test_findings_of_the_fixtures_come_back() -> None:
    found = lint_paths([FIXTURES / "wrong"]).findings
    assert any(f.trail for f in found)
    assert decode_findings(encode_findings(found)) == found


def test_findings_with_unknown_words_are_neither_written_nor_read() -> None:
    with pytest.raises(ValueError):
        encode_findings([replace(WHOLE, confidence="certain"), 3])  # type: ignore[arg-type, list-item]
    data = encode_findings([WHOLE])
    with pytest.raises(ValueError):
        decode_findings(data.replace(b'"low"', b'"certain"'))


def test_reading_needs_no_libcst(tmp_path: Path) -> None:
    (tmp_path / "tree").write_bytes(encode(lower_file("m.py", MISSING_EVAL)))
    program = "import sys; from evallint.cache.codec import decode; decode(open(sys.argv[1], 'rb').read()); print('libcst' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "tree")], capture_output=True, check=True, cwd=ROOT, env=environment()
    )
    assert done.stdout.strip() == b"False"

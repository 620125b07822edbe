"""Fixes: what they make of every wrong fixture, and of code that is laid out in ways that are hard to change."""

from __future__ import annotations

import ast
from collections import Counter
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path

import pytest

from evallint.finding import Edit, Finding
from evallint.fixes.edits import edits_between, lines_of, with_edits
from evallint.fixing import mend, offer
from evallint.gathering import Text
from evallint.linting import lint_paths
from evallint.settings import Settings

from .examples import MISSING_EVAL
from .fixed_fixtures import FIXED, PROGRAMS, Program
from .fixture_files import FIXTURES

each_program = pytest.mark.parametrize("program", PROGRAMS, ids=[program.name for program in PROGRAMS])
DEBUG = "EVALLINT_DEBUG"


@pytest.fixture(autouse=True)
def _failures_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG, "1")


# The fixtures


@each_program
def test_a_program_is_fixed_as_its_diff_says(program: Program) -> None:
    assert program.described() == program.snapshot.read_text(encoding="utf-8")


def test_there_is_no_diff_of_what_is_no_program() -> None:
    assert {path for path in FIXED.rglob("*") if path.is_file()} == {program.snapshot for program in PROGRAMS}


@each_program
def test_a_fixed_program_is_clean_and_stays_as_it_is(program: Program, tmp_path: Path) -> None:
    report = program.fixed(unsafe=True)
    files = {Path(text.path): text.data for text in program.texts}
    top = Path()
    for path in program.paths:
        top = path if path.is_dir() else path.parent
        files |= {file: file.read_bytes() for file in ([path] if path.is_file() else (file for file in path.rglob("*") if file.is_file()))}
    files |= {Path(path): after for path, (_, after) in report.rewritten.items()}
    new = tmp_path / "new"
    for file, data in files.items():
        copy = new / file.relative_to(top)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data if isinstance(data, bytes) else data.encode())
    again = lint_paths([new], Settings(), mend=partial(mend, unsafe=True))
    assert again.rewritten == {}
    all_before = lint_paths(program.paths, Settings(confidence="low"), texts=program.texts).findings
    assert _signs(lint_paths([new], Settings(confidence="low")).findings) <= _signs(all_before)
    before = lint_paths(program.paths, Settings(), texts=program.texts).findings
    assert len(again.findings) <= len(before) - len(report.fixed)


@each_program
def test_fixing_loses_no_line_of_a_program(program: Program) -> None:
    for before, after in program.fixed(unsafe=True).rewritten.values():
        ast.parse(after)
        assert _lost(before, after) == []


def _signs(findings: list[Finding]) -> Counter[tuple[str, str, str]]:
    """What findings are told apart by when lines have moved."""
    return Counter((Path(f.place.path).name, f.code, f.function) for f in findings)


def _lost(before: str, after: str) -> list[str]:
    """The lines that are not there any more in their order, but perhaps further in, or with something put in between their characters."""
    old, new = ([line.lstrip(" \t") for line in lines_of(text)] for text in (before, after))
    changes = [rows for rows in SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if rows[0] != "equal"]
    added = [row for _, _, _, first, last in changes for row in new[first:last]]
    return [line for _, first, last, _, _ in changes for line in old[first:last] if not any(_is_in(line, row) for row in added)]


def _is_in(line: str, row: str) -> bool:
    """Whether a row is a line with more in it; `True` (or a 1 for it) may have become the mode, and `[]` a `ModuleList`."""
    rest = iter(row)
    return all(character in rest for character in line.replace("True", "").replace("=1)", "=)").replace("[]", ""))


def test_every_kind_of_fix_is_offered_safely_somewhere() -> None:
    fixes = {(f.code, f.fix.applicability) for name in ("b05_flag_alone", "b12_eval_alone", "b01_caller_trains", "b21_train_once")
             for f in lint_paths([FIXTURES / "wrong" / f"{name}.py"], mend=offer).findings if f.fix}  # fmt: skip
    assert {("EVL001", "safe"), ("EVL002", "safe"), ("EVL003", "safe"), ("EVL001", "unsafe")} <= fixes


# Layouts


def fixed_text(text: str, *, unsafe: bool = False) -> str:
    """A text with its fixes."""
    report = lint_paths([], Settings(), texts=[Text("x.py", text.encode())], mend=partial(mend, unsafe=unsafe))
    return report.rewritten["x.py"][1] if report.rewritten else text


def expect(before: str, after: str, *, unsafe: bool = False) -> None:
    """The fixes make `after` of `before`, and nothing more of that."""
    assert fixed_text(before, unsafe=unsafe) == after
    assert fixed_text(after, unsafe=unsafe) == after


HEAD = """\
import torch
from torch import nn


def build(path):
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    net.load_state_dict(torch.load(path))
    return net


"""


def test_tabs_and_windows_line_ends() -> None:
    before = HEAD + (
        "def test(path, loader):\n\tnet = build(path)\n\tnet.eval()\n\tfor x in loader:\n"
        "\t\tprint(net(x).argmax(1)\n\t\t\t.tolist())\n\n\t\t# done\n\tprint()\n"
    )
    after = HEAD + (
        "@torch.no_grad()\ndef test(path, loader):\n\tnet = build(path)\n\tnet.eval()\n\tfor x in loader:\n"
        "\t\tprint(net(x).argmax(1)\n\t\t\t.tolist())\n\n\t\t# done\n\tprint()\n"
    )
    expect(before, after)
    expect(before.replace("\n", "\r\n"), after.replace("\n", "\r\n"))
    script = before.replace("def test(path, loader):\n", "def run(path, loader):\n")
    wrapped = script[: script.index("\tfor x")] + (
        "\twith torch.no_grad():\n\t\tfor x in loader:\n\t\t\tprint(net(x).argmax(1)\n\t\t\t\t.tolist())\n\n\t\t\t# done\n\tprint()\n"
    )
    expect(script, wrapped)
    expect(script.replace("\n", "\r\n"), wrapped.replace("\n", "\r\n"))


def test_a_text_of_several_lines_keeps_its_words() -> None:
    before = HEAD + (
        "def run(path, loader):\n    net = build(path)\n    net.eval()\n    for x in loader:\n"
        '        print("""\n  scores:\n""", net(x).argmax(1).tolist(), \\\n    "so")\n# as it was\n        print(f"""{x}\n    end""")\n'
    )
    after = HEAD + (
        "def run(path, loader):\n    net = build(path)\n    net.eval()\n    with torch.no_grad():\n        for x in loader:\n"
        '            print("""\n  scores:\n""", net(x).argmax(1).tolist(), \\\n    "so")\n# as it was\n'
        '            print(f"""{x}\n    end""")\n'
    )
    expect(before, after)


def test_comments_and_form_feeds_stay() -> None:
    before = HEAD + (
        "\f\ndef run(path, loader):  # runs\n    net = build(path)\n    net.eval()\n\n    # one by one\n    for x in loader:  # a batch\n"
        "        # then\n        print(net(x).argmax(1).tolist())  # out\n      # odd\n    else:  # done\n        print()\n    # over\n"
    )
    after = HEAD + (
        "\f\ndef run(path, loader):  # runs\n    net = build(path)\n    net.eval()\n\n    # one by one\n    with torch.no_grad():\n"
        "        for x in loader:  # a batch\n            # then\n            print(net(x).argmax(1).tolist())  # out\n"
        "          # odd\n        else:  # done\n            print()\n    # over\n"
    )
    expect(before, after)


def test_a_loop_on_one_line_and_no_line_end_at_the_end() -> None:
    before = (
        HEAD
        + "def run(path, loader):\n    net = build(path)\n    with torch.no_grad():\n"
        + "        for x in loader: print(net(x).argmax(1).tolist())"
    )
    after = before.replace("        for", "        net.eval()\n        for")
    expect(before, after)


def test_empty_lines_at_the_margin_stay_empty() -> None:
    before = (
        HEAD
        + "net = build('net.pt')\nnet.eval()\nx = torch.ones(1, 4)\nprint(net(x).argmax(1).tolist())\n"
        + "\n\nx = 2 * x\n\nprint(net(x).argmax(1).tolist())\n"
    )
    after = before.replace("print(net(x)", "with torch.no_grad():\n    print(net(x)", 1).replace("\nx = 2", "\n    x = 2")
    expect(before, after.replace("\nprint(net", "\n    print(net"))


def test_statements_that_semicolons_part() -> None:
    before = (
        HEAD
        + "class Scorer:\n    def __init__(self, path):\n        self.net = build(path)\n        self.net.eval()\n\n"
        + "    def tell(self, x):\n        y = self.net(x); print(y.argmax(1).tolist())\n"
    )
    after = before.replace("        y =", "        with torch.no_grad():\n            y =")
    expect(before, after)


@pytest.mark.parametrize(
    ("imports", "spelled"),
    [
        ("import torch as th\n", "th.no_grad()"),
        ("import torch\nfrom torch import no_grad as frozen\n", "frozen()"),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None\n", "torch.no_grad()"),
    ],
)
def test_the_imports_of_the_file_are_used(imports: str, spelled: str) -> None:
    name = spelled.partition(".")[0] if "." in spelled else "torch"
    before = HEAD.replace("import torch\n", imports, 1).replace("torch.load", f"{name}.load")
    before += (
        "def run(path, loader):\n    net = build(path)\n    net.eval()\n    for x in loader:\n        print(net(x).argmax(1).tolist())\n"
    )
    after = before.replace("    for x in loader:\n        print", f"    with {spelled}:\n        for x in loader:\n            print")
    expect(before, after)


def test_no_import_of_torch_no_fix() -> None:
    before = "from torch import nn\n\n\ndef run(path, loader):\n    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))\n    net.eval()\n"
    before += "    for x in loader:\n        print(net(x).argmax(1).tolist())\n"
    report = lint_paths([], Settings(), texts=[Text("x.py", before.encode())], mend=offer)
    assert [(f.code, f.fix) for f in report.findings] == [("EVL002", None)]
    assert "with torch.no_grad():" in report.findings[0].message


def test_a_generator_keeps_its_hands_off_the_code_around() -> None:
    """While a generator waits, whoever asks it may train: the mode and the recording are changed around the forward alone."""
    before = HEAD + (
        "def predict(net, loader):\n    for x in loader:\n        y = net(x)\n        yield y.argmax(1).tolist()\n\n\n"
        "def main(path, loader):\n    print(list(predict(build(path), loader)))\n"
    )
    after = fixed_text(before, unsafe=True)
    function = next(n for n in ast.parse(after).body if isinstance(n, ast.FunctionDef) and n.name == "predict")
    loop = function.body[-1]
    assert not function.decorator_list and isinstance(loop, ast.For), after
    assert isinstance(loop.body[-1], ast.Expr) and isinstance(loop.body[-1].value, ast.Yield)


def test_an_early_return_puts_the_mode_back() -> None:
    before = MISSING_EVAL.replace(
        "            correct += (model(x).argmax(1) == y).sum().item()\n",
        "            correct += (model(x).argmax(1) == y).sum().item()\n            if correct > 9:\n                return correct\n",
    )
    after = before.replace(
        before[before.index("        for x, y in val_loader:\n") : before.index("    return correct\n\ndef main")],
        """\
        was_training = model.training
        model.eval()
        try:
            for x, y in val_loader:
                correct += (model(x).argmax(1) == y).sum().item()
                if correct > 9:
                    return correct
        finally:
            model.train(was_training)
""",
    )
    expect(before, after)


def test_a_name_that_is_taken_is_left_alone() -> None:
    before = MISSING_EVAL.replace("    return correct\n", "    was_training = correct\n    return was_training\n")
    assert "model_was_training = model.training\n" in fixed_text(before)
    assert "        model.train(model_was_training)\n" in fixed_text(before)


def test_a_model_that_need_not_be_there_is_switched_where_it_runs() -> None:
    before = MISSING_EVAL.replace(
        "            correct += (model(x).argmax(1) == y).sum().item()\n",
        "            if model is not None:\n                correct += (model(x).argmax(1) == y).sum().item()\n",
    )
    after = fixed_text(before)
    assert after == before.replace(
        "                correct += (model(x).argmax(1) == y).sum().item()\n",
        "                was_training = model.training\n                model.eval()\n"
        "                correct += (model(x).argmax(1) == y).sum().item()\n                model.train(was_training)\n",
    )


def test_parts_with_a_mode_of_their_own_make_it_unsafe() -> None:
    """`model.train(was_training)` would thaw a batch norm that is frozen while the rest trains."""
    before = MISSING_EVAL.replace("        model.train()\n", "        model.train()\n        model.drop.eval()\n")
    assert fixed_text(before) == before
    assert "model.train(was_training)" in fixed_text(before, unsafe=True)


def test_two_faults_of_one_loop_are_mended_one_after_the_other() -> None:
    before = MISSING_EVAL.replace("    with torch.no_grad():\n        for x, y in val_loader:\n    ", "    for x, y in val_loader:\n")
    text = before.replace("            correct += (model", "        correct += (model")
    codes = {f.code for f in lint_paths([], Settings(), texts=[Text("x.py", text.encode())]).findings}
    assert codes == {"EVL001", "EVL002"}
    after = fixed_text(text)
    assert not lint_paths([], Settings(confidence="low"), texts=[Text("x.py", after.encode())]).findings


def test_what_is_silenced_is_not_fixed() -> None:
    silenced = MISSING_EVAL.replace("in val_loader:\n", "in val_loader:  # noqa: EVL001\n")
    assert fixed_text(silenced, unsafe=True) == silenced


# Edits


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a|b|c", "a|x|b|c"),
        ("a|b|c", "a|b|c|d"),
        ("a|b|c|", "a|b|c|d|"),
        ("a|b", "b"),
        ("", "a"),
        ("a|\f|b|\x1cc", "a|\f|B|\x1cc"),
        ("é|ß", "é|ß|ø"),
    ],
)
def test_edits_make_one_text_of_another(before: str, after: str, end: str) -> None:
    old, new = before.replace("|", end), after.replace("|", end)
    assert with_edits(old, edits_between(old, new)) == new


def test_edits_are_of_the_lines_that_differ() -> None:
    assert edits_between("a\nb\nc\n", "a\nb\nx\nc\n") == (Edit(3, 1, 3, 1, "x\n"),)
    assert edits_between("a\nb", "a\nb\nx\n") == (Edit(2, 1, 2, 2, "b\nx\n"),)


def test_an_import_for_type_checkers_is_none() -> None:
    guarded = "from typing import TYPE_CHECKING\n\nfrom torch import nn\n\nif TYPE_CHECKING:\n    import torch\n\n\n"
    body = "def {}(path, loader):\n{}    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))\n    net.eval()\n"
    loop = "    for x in loader:\n        print(net(x).argmax(1).tolist())\n"
    assert fixed_text(guarded + body.format("test", "") + loop) == guarded + body.format("test", "") + loop
    inside = guarded + body.format("test", "    import torch\n\n")
    wrapped = "    with torch.no_grad():\n        for x in loader:\n            print(net(x).argmax(1).tolist())\n"
    expect(inside + loop, inside + wrapped)

"""The benchmark's rules, on small labels and findings made by hand."""

from __future__ import annotations

import ast
import subprocess
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from evallint.finding import Finding, Place
from tests.corpus import beside, tables
from tests.corpus.__main__ import main
from tests.corpus.labels import (
    BESIDE,
    FIRST,
    LABEL_FILES,
    MORE,
    VERDICTS,
    Collection,
    LabelFile,
    Lines,
    Mark,
    Region,
    Verdict,
    present,
    read_marks,
    read_regions,
)
from tests.corpus.mutation import mutants_of, mutate
from tests.corpus.packages import Pin, bring_packages, read_pins, rounds
from tests.corpus.repositories import Tree, bring_repositories
from tests.corpus.scoring import Said, region_of, score, together

FILE = "pkg-1.0/pkg/train.py"


def region(
    name: str,
    lines: Lines,
    function_lines: Lines = (1, 100),
    *,
    verdicts: tuple[Verdict, Verdict, Verdict] = ("ok", "ok", "ok"),
    also: tuple[Lines, ...] = (),
    path: str = "pkg/train.py",
) -> Region:
    """A region of `pkg-1.0` with its verdicts for the three rules."""
    return Region(
        id=name,
        root="pkg-1.0",
        source="pypi:pkg==1.0",
        commit="0",
        path=path,
        function="validate",
        lines=lines,
        function_lines=function_lines,
        verdicts=dict(zip(("EVL001", "EVL002", "EVL003"), verdicts, strict=True)),
        train_after_lines=also,
    )


def spoken(line: int, *regions: Region, code: str = "EVL001") -> str | None:
    """The id of the region that a finding at `line` speaks of."""
    found = region_of(Said(FILE, line, code), regions)
    return found.id if found else None


def test_innermost_region() -> None:
    outer, inner = region("outer", (10, 40)), region("inner", (20, 25))
    assert spoken(20, outer, inner) == spoken(25, inner, outer) == "inner"
    assert spoken(10, outer, inner) == spoken(26, outer, inner) == "outer"


def test_a_region_goes_before_a_shorter_function() -> None:
    assert spoken(15, region("long", (10, 40), (1, 90)), region("short", (20, 22), (14, 23))) == "long"


def test_falls_back_to_the_innermost_function() -> None:
    wide, narrow = region("wide", (10, 12), (1, 90)), region("narrow", (50, 52), (45, 60))
    assert spoken(46, wide, narrow) == "narrow"
    assert spoken(44, wide, narrow) == "wide"


def test_of_one_function_the_nearest_start() -> None:
    first, second = region("first", (10, 12), (1, 60)), region("second", (50, 52), (1, 60))
    assert spoken(20, first, second) == "first"
    assert spoken(40, first, second) == "second"


def test_no_region() -> None:
    assert spoken(5, region("only", (10, 12), (8, 14))) is None


def test_missing_train_may_be_reported_elsewhere() -> None:
    here, there = region("here", (10, 20), (1, 30)), region("there", (80, 90), (75, 95), also=((12, 12), (200, 201)))
    assert spoken(12, here, there, code="EVL003") == "there"
    assert spoken(201, here, there, code="EVL003") == "there"
    assert spoken(12, here, there, code="EVL001") == "here"
    assert spoken(201, here, there, code="EVL001") is None


def test_cells() -> None:
    regions = [
        region("right", (10, 12), (9, 13), verdicts=("missing", "ok", "na")),
        region("missed", (20, 22), (19, 23), verdicts=("missing", "ok", "ok")),
        region("false", (30, 32), (29, 33), verdicts=("ok", "ok", "ok")),
        region("not applicable", (40, 42), (39, 43), verdicts=("na", "ok", "ok")),
        region("quiet", (50, 52), (49, 53)),
    ]
    lines = (10, 11, 12, 9, 30, 40, 70)
    scores = score(regions, [*(Said(FILE, line, "EVL001", "…") for line in lines), Said(FILE, 50, "EVL900")])
    tally = scores["EVL001"]
    assert [each.id for each in tally.right] == ["right"], "once, however many findings"
    assert [each.id for each in tally.missed] == ["missed"]
    assert [each.id for each in tally.false] == ["false", "not applicable"]
    assert [each.id for each in tally.quiet] == ["quiet"]
    assert [said.line for said in tally.unlabelled] == [70]
    assert tally.precision == pytest.approx(1 / 3)
    assert tally.recall == pytest.approx(1 / 2)
    assert tally.f1 == pytest.approx(0.4)
    assert tally.missed_by_needs == {"local": 1}
    assert tally.reaches(0.33, 0.5) and not tally.reaches(0.34, 0.5) and not tally.reaches(0.33, 0.51)
    assert not scores["EVL002"].right + scores["EVL002"].missed + scores["EVL002"].false
    assert (scores["EVL003"].precision, scores["EVL003"].recall, scores["EVL003"].f1) == (0.0, 0.0, 0.0)


def test_rules_are_counted_apart() -> None:
    one = region("one", (10, 12), verdicts=("missing", "missing", "na"))
    scores = score([one], [Said(FILE, 10, "EVL002")])
    assert scores["EVL001"].missed == [one]
    assert scores["EVL002"].right == [one]


def test_files_without_labels_count_for_nothing() -> None:
    scores = score([region("one", (10, 12))], [Said("pkg-1.0/pkg/other.py", 10, "EVL001")])
    assert not scores["EVL001"].false
    assert not scores["EVL001"].unlabelled


def test_together() -> None:
    one, two = region("one", (1, 2), verdicts=("missing", "ok", "ok")), region("two", (1, 2), verdicts=("missing", "ok", "ok"))
    whole = together([score([one], [Said(FILE, 1, "EVL001")]), score([two], [])])
    assert (whole["EVL001"].right, whole["EVL001"].missed) == ([one], [two])


def test_absent_files_are_left_out(tmp_path: Path) -> None:
    here, gone = region("here", (1, 2)), region("gone", (1, 2), path="pkg/gone.py")
    (tmp_path / here.file).parent.mkdir(parents=True)
    (tmp_path / here.file).write_text("")
    assert present([here, gone], tmp_path) == [here]


def test_table() -> None:
    scores = score([region("one", (1, 2), verdicts=("missing", "ok", "ok"))], [Said(FILE, 1, "EVL001")])
    lines = list(tables.table(scores, {"EVL002": (0.64, 0.18)}))
    assert lines[0].split()[:9] == ["rule", "TP", "FP", "FN", "TN", "precision", "recall", "F1", "unlabelled"]
    assert lines[1].split()[:9] == ["EVL001", "1", "0", "0", "0", "1.000", "1.000", "1.000", "0"]
    assert lines[1].endswith("no such rule")
    assert lines[2].endswith("P 0.64, R 0.18")


def mark(name: str, lines: Lines, code: str = "EVL201", *, is_bug: bool = True, function: str = "Net.forward") -> Mark:
    """A mark in `pkg-1.0`."""
    return Mark(name, "pkg-1.0", "pypi:pkg==1.0", "0", "pkg/train.py", function, lines, code, is_bug)


def test_a_mark_is_told_next_to_its_lines() -> None:
    for one in (mark("bug", (10, 12)), mark("right", (10, 12), is_bug=False)):
        told = [line for line in range(5, 20) if beside.tells(Said(FILE, line, "EVL201"), one)]
        assert told == [9, 10, 11, 12, 13]
        assert not beside.tells(Said(FILE, 10, "EVL202"), one)
        assert not beside.tells(Said("pkg-1.0/pkg/other.py", 10, "EVL201"), one)
        assert not beside.tells(Said(FILE, 40, "EVL201", function="Net.forward"), one)


def test_a_hidden_submodule_is_told_anywhere_in_its_function() -> None:
    bug, right = mark("bug", (10, 10), "EVL203"), mark("right", (10, 10), "EVL203", is_bug=False)
    assert beside.tells(Said(FILE, 40, "EVL203", function="Net.forward"), bug)
    assert beside.tells(Said(FILE, 11, "EVL203", function="Net"), bug)
    assert not beside.tells(Said(FILE, 40, "EVL203", function="Net.other"), bug)
    assert [line for line in range(5, 20) if beside.tells(Said(FILE, line, "EVL203", function="Net.forward"), right)] == [10]


def test_marks_are_counted_by_function_as_well() -> None:
    marks = [
        mark("one", (10, 10), function="A.forward"),
        mark("two", (20, 20), function="A.forward"),
        mark("three", (30, 30), function="B.forward"),
        mark("four", (40, 40), function="B.forward"),
        mark("quiet", (50, 50), is_bug=False),
        mark("false", (60, 60), is_bug=False),
        mark("other", (70, 70), "EVL301"),
    ]
    tallies = beside.score(marks, [Said(FILE, line, "EVL201") for line in (10, 20, 30, 60, 70, 80)])
    tally = tallies["EVL201"]
    assert [each.id for each in tally.right] == ["one", "two", "three"]
    assert [each.id for each in tally.missed] == ["four"]
    assert [each.id for each in tally.false] == ["false"]
    assert [each.id for each in tally.quiet] == ["quiet"]
    assert tally.recall == pytest.approx(0.75)
    assert tally.functions == {(FILE, "A.forward"): True, (FILE, "B.forward"): False}
    head, first, second = beside.table(tallies)
    assert head.split()[:6] == ["rule", "bugs", "found", "recall", "right", "reported"]
    assert first.split() == ["EVL201", "4", "3", "0.750", "2", "1", "2", "1", "0.500"]
    assert second.split() == ["EVL301", "1", "0", "0.000", "0", "0", "1", "0", "0.000"]
    listed = list(beside.details(tally, Path("root")))
    assert [line.split()[:3] for line in listed] == [
        ["FP", "EVL201", "root/more-pypi/pkg-1.0/pkg/train.py:60"],
        ["FN", "EVL201", "root/more-pypi/pkg-1.0/pkg/train.py:40"],
    ]


def test_marks_whose_code_is_there_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marks = read_marks(BESIDE)
    for each in marks:  # packages that are there, if empty, are not downloaded
        if each.subfolder == MORE.packages.subfolder:
            (tmp_path / each.subfolder / each.root).mkdir(parents=True, exist_ok=True)
    one = next(each for each in marks if each.subfolder == MORE.repositories.subfolder and each.code == "EVL201" and each.is_bug)
    head = "import torch.nn.functional as F\nfrom torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n"
    path = tmp_path / one.subfolder / one.file
    path.parent.mkdir(parents=True)
    path.write_text("\n" * (one.lines[0] - 1 - head.count("\n")) + head + "        return F.dropout(x, 0.5)\n")
    assert main(["beside", "--list", "--root", str(tmp_path), "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    there = [each for each in marks if each.file == one.file]
    assert f"{len(there)} marks in 1 files of 1 sources; the code of {len(marks) - len(there)} more is absent" in printed
    assert f" {one.id}: " not in printed
    others = [each for each in there if each.is_bug and each.lines[0] > one.lines[1] + 1]
    assert others and all(f"FN {each.code} {path}:{each.lines[0]} [{each.function}] {each.id}: " in printed for each in others)


SOURCE = """\
import torch

@torch.no_grad()
def validate(model, loader):
    model.eval()  # switch
    with torch.no_grad():
        return [model(x) for x in loader]

def train(model, loader):
    model = model.train(mode=True)
    model.train(flag)
"""


def test_mutants() -> None:
    made = {mutant.code: mutant for mutant in mutants_of(region("one", (7, 7), (4, 7)), SOURCE)}
    assert {code: mutant.lines for code, mutant in made.items()} == {
        "EVL001": {4: "    pass"},
        "EVL002": {2: "", 5: "    if True:"},
        "EVL003": {9: "    pass"},
    }
    for mutant in made.values():
        ast.parse(mutant.applied_to(SOURCE))


def test_mutants_only_of_right_code() -> None:
    assert list(mutants_of(region("one", (7, 7), (4, 7), verdicts=("missing", "na", "missing")), SOURCE)) == []


def test_mutation_leaves_the_file_alone(tmp_path: Path) -> None:
    one = region("one", (7, 7), (4, 7))
    path = tmp_path / one.file
    path.parent.mkdir(parents=True)
    path.write_text(SOURCE)
    asked: list[bytes] = []

    def lint(where: Path, data: bytes) -> list[Finding]:
        assert where == path
        asked.append(data)
        codes = ["EVL001", "EVL002"] if b"model.eval()" not in data else []
        return [Finding(Place(str(where), 7, 5, 7, 9), code, "name", "message") for code in codes]

    outcomes = mutate([one], tmp_path, lint, limit=1, seed=1)
    assert path.read_text() == SOURCE
    assert len(set(asked)) == 3
    assert {code: (outcome.noticed, outcome.made) for code, outcome in outcomes.items()} == {
        "EVL001": (1, 1),
        "EVL002": (0, 1),
        "EVL003": (0, 1),
    }


def test_only_python_files_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "pkg-1.0-py2.py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("pkg/train.py", "pkg/demo.ipynb", "pkg/weights.bin", "../outside.py"):
            archive.writestr(name, "x = 1\n")
    pin = Pin("pkg==1.0", sha256(wheel.read_bytes()).hexdigest())

    def download(command: list[str], *, check: bool) -> None:
        assert check and "--require-hashes" in command
        wheel.rename(Path(command[command.index("--dest") + 1], wheel.name))

    monkeypatch.setattr(subprocess, "run", download)
    assert bring_packages([pin], tmp_path / "pypi") == 1
    assert bring_packages([pin], tmp_path / "pypi") == 0, "what is there is kept"
    assert sorted(path.name for path in tmp_path.rglob("*.*") if path.is_file()) == ["demo.ipynb", "train.py"]


def test_two_versions_are_two_rounds() -> None:
    one, two, other = Pin("a==1", ""), Pin("a==2", ""), Pin("b==1", "")
    assert rounds([one, two, other]) == [[one, other], [two]]


def test_commits_are_laid_out_from_clones(tmp_path: Path) -> None:
    clone = tmp_path / "clones" / "someone+thing" / "repo"
    clone.mkdir(parents=True)

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *who, *arguments], cwd=clone, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (clone / "a folder").mkdir()
    (clone / "a folder" / "train.py").write_text("x = 1\n")
    (clone / "notes.txt").write_text("no")
    (clone / "link.py").symlink_to("a folder/train.py")
    git("add", "-A")
    git("commit", "-qm", "first")
    here, gone = Tree("someone/thing", git("rev-parse", "HEAD"), "one"), Tree("someone/else", "0" * 40, "two")
    assert bring_repositories([here, gone], tmp_path / "clones", tmp_path / "out") == ["someone/else"]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()] == [
        "one/a folder/train.py"
    ]


@pytest.mark.parametrize("labels", LABEL_FILES, ids=lambda labels: labels.subfolder)
def test_the_labels_themselves(labels: LabelFile) -> None:
    regions = read_regions(labels.labels)
    assert len({each.id for each in regions}) == len(regions)
    for each in regions:
        assert each.lines[0] <= each.lines[1]
        assert set(each.verdicts.values()) <= {"ok", "missing", "na"}
        assert each.needs in ("local", "file", "project")
        assert ".." not in Path(each.file).parts


@pytest.mark.parametrize("collection", [FIRST, MORE], ids=lambda collection: collection.packages.subfolder)
def test_every_label_has_its_pin(collection: Collection) -> None:
    pins = {pin.root: pin for pin in read_pins(collection.pins)}
    for each in read_regions(collection.packages.labels):
        assert pins[each.root].sha256 == each.commit


def test_the_marks_themselves() -> None:
    marks = read_marks(BESIDE)
    pins = {pin.root: pin for pin in read_pins(MORE.pins)}
    assert len({each.id for each in marks}) == len(marks)
    for each in marks:
        assert each.lines[0] <= each.lines[1]
        assert each.code.startswith("EVL") and each.code not in VERDICTS
        assert ".." not in Path(each.file).parts
        if each.subfolder == MORE.packages.subfolder:
            assert each.source == f"pypi:{pins[each.root].requirement}"
            assert pins[each.root].sha256 == each.commit
        else:
            assert each.root == f"{each.source.removeprefix('github:').replace('/', '+')}@{each.commit[:10]}"
            assert len(each.commit) == 40


@pytest.mark.parametrize("collection", [FIRST, MORE], ids=lambda collection: collection.packages.subfolder)
def test_no_package_is_pinned_twice(collection: Collection) -> None:
    requirements = [pin.requirement for pin in read_pins(collection.pins)]
    assert len(set(requirements)) == len(requirements)

"""Reading, walking, screening and `# noqa`: hard files and hard folders."""

from __future__ import annotations

import codecs
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from evallint import Settings, lint_paths, lint_source
from evallint.finding import Finding, Place
from evallint.source.nesting import too_deep
from evallint.source.noqa import without_noqa
from evallint.source.reading import Unreadable, decode
from evallint.source.screening import bytes_matter, text_matters
from evallint.source.walking import Found, Problem, find_files
from tests.examples import CLEAN, COLUMN, LINE, MISSING_EVAL, NO_TORCH, SILENCED

TORCH = "import torch\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"x = 1\n", "x = 1\n"),
        (b"", ""),
        (codecs.BOM_UTF8 + "x = 'é'\n".encode(), "x = 'é'\n"),
        ("x = 'é'\r\n".encode(), "x = 'é'\r\n"),
        ("# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"), "# -*- coding: latin-1 -*-\nx = 'é'\n"),
        (
            "#!/usr/bin/python\n# vim: set fileencoding=cp1251 :\nx = 'д'\n".encode("cp1251"),
            "#!/usr/bin/python\n# vim: set fileencoding=cp1251 :\nx = 'д'\n",
        ),
        (b"# coding: latin-1 \xe9\n", "# coding: latin-1 é\n"),
        (b"\r\n  # coding: latin-1\r\n# \xe9", "\r\n  # coding: latin-1\r\n# é"),
        ("x = 1\n# coding: latin-1\n# é\n".encode(), "x = 1\n# coding: latin-1\n# é\n"),
        ("\n\n# coding: latin-1\n# é\n".encode(), "\n\n# coding: latin-1\n# é\n"),
        (codecs.BOM_UTF8 + "# coding: utf8\n# é\n".encode(), "# coding: utf8\n# é\n"),
        (b"def f():\n\x0c    pass\n", "def f():\n\x0c    pass\n"),
        (b"x = 1\ry = 2\r", "x = 1\ry = 2\r"),
    ],
)
def test_decoding(data: bytes, text: str) -> None:
    assert decode(data) == text


@pytest.mark.parametrize(
    ("data", "reason", "line", "column"),
    [
        (b"x = 1\ny = '\xe9'\n", "byte 0xe9 is not UTF-8", 2, 6),
        (b"\n\n\n\n# caf\xe9\n", "byte 0xe9 is not UTF-8", 5, 6),
        (codecs.BOM_UTF8 + b"x = '\xe9'\n", "byte 0xe9 is not UTF-8", 1, 6),
        (codecs.BOM_UTF8 + b"\n\n\nx = '\xe9'\n", "byte 0xe9 is not UTF-8", 4, 6),
        (b"x = 1\r\ny = '\0'\n", "zero byte", 2, 6),
        ("import torch".encode("utf-16"), "UTF-16", 1, 1),
        ("import torch".encode("utf-32"), "UTF-32", 1, 1),
        (b"# coding: klingon\nx = 1\n", "klingon, which its coding line names: unknown encoding", 1, 1),
        (b"# coding: rot13\nx = 1\n", "rot13", 1, 1),
        (b"# coding: ascii\n\nx = '\xe9'\n", "as ascii", 3, 6),
        (codecs.BOM_UTF8 + b"# coding: latin-1\nx = 1\n", "its coding line says latin-1", 1, 1),
    ],
)
def test_what_cannot_be_decoded_says_why_and_where(data: bytes, reason: str, line: int, column: int) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(data)
    assert reason in caught.value.reason
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    "data",
    [
        MISSING_EVAL.encode(),
        codecs.BOM_UTF8 + MISSING_EVAL.encode(),
        MISSING_EVAL.replace("\n", "\r\n").encode(),
        MISSING_EVAL.replace("def validate", "\x0cdef validate").encode(),
        MISSING_EVAL.replace("import torch\nfrom", "# coding: latin-1 é\nimport torch; from").encode("latin-1"),
    ],
)
def test_a_finding_in_every_encoding_is_at_the_same_place(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.py").write_bytes(data)
    (finding,) = lint_paths([tmp_path / "bad.py"]).findings
    assert (finding.code, finding.place.line, finding.place.column) == ("EVL001", LINE, COLUMN)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="wants a file that nobody can read")
def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "memory.py").symlink_to("/proc/self/mem")
    (tmp_path / "plain.py").write_text(NO_TORCH)
    report = lint_paths([tmp_path])
    (finding,) = report.findings
    assert (finding.code, finding.name, finding.place.line) == ("EVL900", "unreadable-file", 1)
    assert "cannot read the file: Input/output error" in finding.message
    assert (report.files, report.parsed, report.errors) == (2, 0, [])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folder(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    report = lint_paths([tmp_path])
    assert [(Path(p.path).name, p.message) for p in report.errors] == [("locked", "cannot read the folder: Permission denied")]


@pytest.mark.parametrize("path", ["nowhere", "a\0b", "x" * 5000])
def test_paths_that_do_not_exist(path: str) -> None:
    report = lint_paths([path])
    assert [p.path for p in report.errors] == [path]
    assert (report.files, report.findings) == (0, [])


def _walk(*paths: str, settings: Settings | None = None) -> list[str]:
    found = list(find_files(paths, lambda _: settings) if settings else find_files(paths))
    assert not [f for f in found if isinstance(f, Problem)]
    return [f.path for f in found if isinstance(f, Found)]


def _make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TORCH)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_walk_order_and_names(here: Path) -> None:
    _make(here, "b.py", "a.py", "pkg/z.py", "pkg/a/x.py", "pkg/data.txt", "pkg/stub.pyi")
    assert _walk(".") == ["a.py", "b.py", "pkg/z.py", "pkg/a/x.py"]
    assert _walk("pkg", "a.py") == ["pkg/z.py", "pkg/a/x.py", "a.py"]
    assert _walk("pkg/") == ["pkg/z.py", "pkg/a/x.py"]
    assert _walk(str(here / "pkg")) == [str(here / "pkg/z.py"), str(here / "pkg/a/x.py")]


def test_a_file_is_linted_once(here: Path) -> None:
    _make(here, "a.py", "pkg/b.py")
    (here / "c.py").symlink_to("a.py")
    assert _walk("a.py", ".", "pkg/b.py", "./pkg", str(here)) == ["a.py", "pkg/b.py"]


def test_symlink_loops(here: Path) -> None:
    _make(here, "pkg/a.py")
    (here / "pkg" / "loop").symlink_to(here / "pkg", target_is_directory=True)
    (here / "pkg" / "self.py").symlink_to("self.py")
    (here / "pkg" / "dead.py").symlink_to("nowhere.py")
    assert _walk(".") == ["pkg/a.py"]
    (here / "other").symlink_to("pkg", target_is_directory=True)
    assert _walk("other") == ["other/a.py"], "a link that the user names is followed"
    assert [type(f) for f in find_files(["pkg/self.py"])] == [Problem]


def test_pipes_are_passed_by(here: Path) -> None:
    _make(here, "a.py", "folder.py/b.py")
    os.mkfifo(here / "pipe.py")
    assert _walk(".") == ["a.py", "folder.py/b.py"]


def test_deep_folders(here: Path) -> None:
    deep = "/".join(["d"] * 1200)
    try:
        subprocess.run(["mkdir", "-p", deep], check=True)  # a process, because os.makedirs and shutil.rmtree recurse
        (here / deep / "a.py").write_text(TORCH)
        assert _walk(".") == [f"{deep}/a.py"]
    finally:
        subprocess.run(["rm", "-rf", "d"], check=True)


def test_excludes(here: Path) -> None:
    usual = [".git/a.py", ".venv/a.py", "venv/a.py", "node_modules/m/a.py", "build/a.py", "dist/a.py", "pkg/__pycache__/a.py", ".tox/a.py"]
    _make(here, "a.py", "pkg/gen/b.py", "pkg/c_pb2.py", *usual)
    assert _walk(".") == ["a.py", "pkg/c_pb2.py", "pkg/gen/b.py"]
    assert _walk(".", settings=Settings(extend_exclude=("gen", "*_pb2.py"))) == ["a.py"]
    assert _walk(".", settings=Settings(extend_exclude=("pkg/gen/",))) == ["a.py", "pkg/c_pb2.py"]
    assert "build/a.py" in _walk(".", settings=Settings(exclude=()))
    assert _walk("build", ".venv/a.py") == ["build/a.py", ".venv/a.py"], "what the user names is linted"


def test_excludes_are_relative_to_the_settings_file(here: Path) -> None:
    _make(here, "project/gen/a.py", "project/pkg/gen/b.py", "project/pkg/c.py")
    (here / "project" / "pyproject.toml").write_text('[tool.evallint]\nextend-exclude = ["/gen"]\n')
    assert _walk("project") == ["project/pkg/c.py", "project/pkg/gen/b.py"]
    assert _walk("project/pkg") == ["project/pkg/c.py", "project/pkg/gen/b.py"]


def test_gitignore_as_git_does_it(here: Path) -> None:
    names = [
        *("a.py", "skip.py", "keep/skip.py", "out/a.py", "sub/out/b.py", "sub/local.py", "sub/deep/local.py", "sub/deep/kept.py"),
        *(
            "logs/x.py",
            "logs/keep.py",
            "sp ace.py",
            "#hash.py",
            "tmp1.py",
            "tmp2.py",
            "excluded.py",
            "sub/anchored.py",
            "anchored.py",
            "café.py",
        ),
    ]
    _make(here, *names)
    (here / ".gitignore").write_text(
        "# a comment\n\nskip.py\n!keep/skip.py\n/out/\nlogs/*\n!logs/keep.py\n\\#hash.py\ntmp[1].py\n/anchored.py\ncafé.py\n[broken\n",
        encoding="utf-8",
    )
    (here / "sub" / ".gitignore").write_text("local.py\r\n!deep/local.py\r\n**/none\r\n")
    (here / "sub" / "deep" / ".gitignore").write_text("!kept.py\n")
    subprocess.run(["git", "init", "-q"], cwd=here, check=True)
    (here / ".git" / "info" / "exclude").write_text("excluded.py\n")
    command = ["git", "-c", "core.quotePath=false", "ls-files", "-o", "--exclude-standard", "*.py"]
    by_git = subprocess.run(command, cwd=here, check=True, capture_output=True, text=True).stdout.splitlines()
    assert "sub/deep/local.py" in by_git
    assert "skip.py" not in by_git
    assert sorted(_walk(".")) == sorted(by_git)
    assert sorted(_walk("sub")) == sorted(name for name in by_git if name.startswith("sub/")), "the parents' files hold too"
    assert _walk("skip.py", "out") == ["skip.py", "out/a.py"], "what the user names is linted"


def test_gitignore_above_the_repository_does_not_hold(here: Path) -> None:
    _make(here, "repository/a.py")
    (here / ".gitignore").write_text("a.py\n")
    subprocess.run(["git", "init", "-q", "repository"], cwd=here, check=True)
    assert _walk("repository") == ["repository/a.py"]


@pytest.mark.parametrize(
    ("text", "matters"),
    [
        ("import torch", True),
        ("from pytorch_lightning import Trainer", True),
        ("from transformers import AutoModel", True),
        ("def f(net):\n    net.eval()\n", True),
        ("def f(net):\n    net.eval\n", True),
        ("def f(net):\n    net.eval( )\n", True),
        ("def f(net):\n    net.train(False)\n", True),
        ("def f(loss):\n    loss.backward()\n", True),
        (NO_TORCH, False),
        ("", False),
        ("frame.eval('a + b')", False),
        ("self.train = loader", False),
        ("train(model)", False),
    ],
)
def test_screening(text: str, matters: bool) -> None:
    assert text_matters(text) is matters
    assert bytes_matter(text.encode()) is matters
    assert bytes_matter(text.encode("utf-16")) is matters


def test_files_without_pytorch_are_counted_but_not_parsed(here: Path) -> None:
    (here / "plain.py").write_text(NO_TORCH)
    (here / "good.py").write_text(CLEAN)
    report = lint_paths(["."])
    assert (report.files, report.parsed, report.findings) == (2, 1, [])


def _findings(*lines: int, code: str = "EVL001") -> list[Finding]:
    return [Finding(Place("x.py", line, 1, line, 2), code, "a-name", "a message") for line in lines]


@pytest.mark.parametrize(
    ("comment", "silenced"),
    [
        ("# noqa", True),
        ("# NOQA", True),
        ("# noqa: EVL001", True),
        ("# noqa:EVL001", True),
        ("# noqa: evl001", True),
        ("# noqa: E501,EVL001", True),
        ("# noqa: E501 EVL001", True),
        ("# noqa: EVL", True),
        ("# noqa: EVL0", True),
        ("# noqa: this is fine", True),
        ("# a reason  # noqa: EVL001", True),
        ("# noqa: EVL002", False),
        ("# noqa: E501", False),
        ("# noqa: E501,W291", False),
        ("# no qa", False),
        ("#noqa", False),
        ("# flake8: noqa", False),
    ],
)
def test_noqa_on_the_line(comment: str, silenced: bool) -> None:
    text = f"x = 1\ny = 2  {comment}\nz = 3\n"
    assert [f.place.line for f in without_noqa(_findings(1, 2, 3), text)] == ([1, 3] if silenced else [1, 2, 3])


def test_noqa_over_tokens_that_span_lines() -> None:
    text = 'f("""\n  a\n""", 1)  # noqa\nx = (1,\n  2)  # noqa\ny = 1 + \\\n  2  # noqa\n'
    assert [f.place.line for f in without_noqa(_findings(1, 2, 3, 4, 5, 6, 7), text)] == [4]


def test_noqa_where_the_running_python_cannot_tokenize() -> None:
    assert [f.place.line for f in without_noqa(_findings(1, 2), "x = (  # noqa\ny = $\n")] == [2]


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        ("# flake8: noqa", []),
        ("  # FLAKE8: NOQA", []),
        ("# flake8: noqa: EVL001", []),
        ("# flake8: noqa: E501", [1]),
        ("x = 1  # flake8: noqa", [1]),
    ],
)
def test_noqa_for_the_file(comment: str, left: list[int]) -> None:
    assert [f.place.line for f in without_noqa(_findings(1), f"x = 1\n\x0c\n{comment}\n")] == left


def test_form_feeds_and_separators_end_no_line() -> None:
    text = "x = 1\n\x0c\ny = '\u2028\x0b'\nz = 1  # noqa\n"
    assert [f.place.line for f in without_noqa(_findings(1, 2, 3, 4), text)] == [1, 2, 3]


def test_lint_source_is_pure_and_picklable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.evallint]\nignore = ["EVL"]\n')
    monkeypatch.chdir(tmp_path)
    findings = lint_source(MISSING_EVAL, "some/where.py")
    assert [(f.code, f.place.path, f.place.line, f.place.column) for f in findings] == [("EVL001", "some/where.py", LINE, COLUMN)]
    assert pickle.loads(pickle.dumps((lint_source, findings))) == (lint_source, findings)
    assert lint_source(SILENCED, "x.py") == []
    assert lint_source("\ufeff" + MISSING_EVAL, "some/where.py") == findings


DEEP = {
    "brackets": "(" * 5000 + "1" + ")" * 5000,
    "open brackets": "[" * 5000,
    "calls in calls": "f(" * 3000 + ")" * 3000,
    "signs": "-" * 100000 + "1",
    "not": "not " * 10000 + "1",
    "sums": "+".join(["x"] * 10000),
    "or": " or ".join(["x"] * 10000),
    "attributes": "x" + ".a" * 10000,
    "calls": "f" + "()" * 10000,
    "lambda": "lambda: " * 10000 + "1",
    "if": "x if y else " * 10000 + "1",
    "elif": "if x: pass\n" + "elif y: pass\n" * 10000,
    "over lines": "x = (\n" + "x +\n" * 10000 + "1)\n",
    "continued lines": "x = " + "x + \\\n" * 10000 + "1\n",
}


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ndef f(:\n",
        "def f(:\n",
        "print 'hello'\n",
        "x = '\0'\n",
        "import torch\n  x\n",
        *(f"import torch\n{t}\n" for t in DEEP.values()),
    ],
)
def test_lint_source_never_raises(text: str) -> None:
    # in a process of its own, because the danger is a parser that overflows the stack of the process
    script = "import sys, evallint; print([f.code for f in evallint.lint_source(sys.stdin.read(), 'x.py')])"
    done = subprocess.run([sys.executable, "-c", script], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "['EVL900']\n", "")


@pytest.mark.parametrize(
    "text",
    [
        "x = [" + "f(-a.b + 1), " * 20000 + "]\n",
        "x = {" + "'a': (1, -2),\n" * 20000 + "}\n",
        "x = a.b + c\n" * 20000,
        "x = '" + "(" * 5000 + "'\n",
        "# " + "(" * 5000 + "\n",
        'x = """' + '(\n\\"' * 5000 + '"""\n',
        "x = '\\'" + "(" * 5000 + "'\n",
        "if a:\n  pass\n" + "elif b:\n  pass\n" * 500,
        "f(" * 150 + ")" * 150 + "\n",
        "x = (" + " + ".join(["a.b"] * 300) + ")\n",
    ],
)
def test_what_is_only_long_is_not_too_deep(text: str) -> None:
    assert too_deep(text) is None


def test_too_deep_says_where() -> None:
    assert too_deep("x = 1\r\n\r\ny = " + "(" * 300) == ("more than 200 brackets are open at once", 3)

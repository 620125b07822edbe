"""The language server, as an editor sees it: a process, and messages."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.examples import CLEAN, COLUMN, LINE, MISSING_EVAL, environment, evallint, run

pytest_lsp = pytest.importorskip("pytest_lsp")
lsp = pytest.importorskip("lsprotocol.types")

from tests.editor_client import PATIENCE, Editor, make_client  # noqa: E402

LOOP = "for x, y in val_loader:"


@pytest_lsp.fixture(config=pytest_lsp.ClientServerConfig([sys.executable, "-m", "evallint", "server"], client_factory=make_client))
async def client(lsp_client: pytest_lsp.LanguageClient) -> Any:
    yield
    await lsp_client.shutdown_session()


@pytest.fixture
def editor(client: Any) -> Editor:
    return Editor(client)


def at(line: int, start: int, end: int) -> Any:
    """A range of one line, as the protocol counts."""
    return lsp.Range(lsp.Position(line, start), lsp.Position(line, end))


def saved(folder: Path, text: str, name: str = "train.py") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return (folder / name).as_uri()


def rows(diagnostics: list[Any]) -> list[tuple[str, int, int, int, int, str]]:
    """Code, range (as the command line counts) and message of each."""
    return [
        (d.code, d.range.start.line + 1, d.range.start.character + 1, d.range.end.line + 1, d.range.end.character + 1, d.message)
        for d in diagnostics
    ]


def told(folder: Path, name: str = "train.py") -> list[tuple[str, int, int, int, int, str]]:
    """The same from the command line."""
    report = json.loads(evallint("--output-format", "json", name, cwd=folder).stdout)
    keys = ("code", "line", "column", "end_line", "end_column", "message")
    return [tuple(f[key] for key in keys) for f in report["findings"]]


@pytest.mark.asyncio
async def test_shows_what_the_command_line_says(editor: Editor, tmp_path: Path) -> None:
    uri = saved(tmp_path, MISSING_EVAL)
    await editor.start(tmp_path)
    editor.open(uri, MISSING_EVAL)
    (shown,) = await editor.diagnostics(uri)
    assert rows([shown]) == told(tmp_path)
    assert (shown.range.start.line, shown.range.start.character) == (LINE - 1, COLUMN - 1)
    assert (shown.source, shown.severity) == ("evallint", lsp.DiagnosticSeverity.Warning)
    assert shown.code_description.href.startswith("https://")
    steps = [(each.location.uri, each.location.range.start.line + 1, each.message) for each in shown.related_information]
    assert (uri, 23, "`model.train()` here") in steps


@pytest.mark.asyncio
async def test_follows_edits_and_is_cleared_on_close(editor: Editor, tmp_path: Path) -> None:
    uri = saved(tmp_path, CLEAN)
    await editor.start(tmp_path)
    editor.open(uri, CLEAN)
    assert await editor.diagnostics(uri) == []
    row = CLEAN.splitlines().index("    model.eval()")
    removed = lsp.TextDocumentContentChangePartial(lsp.Range(lsp.Position(row, 0), lsp.Position(row + 1, 0)), "")
    assert rows(await editor.diagnostics(uri, editor.change(uri, removed)))[0][:2] == ("EVL001", LINE)
    put_back = lsp.TextDocumentContentChangePartial(at(row, 0, 0), "    model.eval()\n")
    assert await editor.diagnostics(uri, editor.change(uri, put_back)) == []
    assert len(await editor.diagnostics(uri, editor.replace(uri, MISSING_EVAL))) == 1
    closing = lsp.DidCloseTextDocumentParams(lsp.TextDocumentIdentifier(uri))
    assert await editor.after(lambda: editor.client.text_document_did_close(closing), uri) == []


@pytest.mark.asyncio
@pytest.mark.parametrize(("encoding", "before"), [(None, 6), ("utf-16", 6), ("utf-8", 10), ("utf-32", 5)])
async def test_columns_after_an_emoji(editor: Editor, tmp_path: Path, encoding: str | None, before: int) -> None:
    # `"é🙂"; ` is 6 characters, 7 units of UTF-16 and 10 bytes
    text = MISSING_EVAL.replace("        " + LOOP, '        "é🙂"; [0 for _ in ()]\n        ' + LOOP)
    text = text.replace("    model = Net()\n", '    "é🙂"; model = Net()\n').replace("print(validate", '"é🙂"; print(validate')
    uri = saved(tmp_path, text)
    answer = await editor.start(tmp_path, [encoding] if encoding else None)
    assert answer.capabilities.position_encoding == (encoding or "utf-16")
    editor.open(uri, text)
    (shown,) = await editor.diagnostics(uri)
    (call,) = (each.location.range for each in shown.related_information if "is called here" in each.message)
    line = text.splitlines()[call.start.line]
    assert line[call.start.character - width(line, encoding) :].startswith("validate(")
    word = lsp.Range(call.start, lsp.Position(call.start.line, call.start.character + len("validate")))
    edit = lsp.TextDocumentContentChangePartial(word, "validate")
    assert rows(await editor.diagnostics(uri, editor.change(uri, edit))) == rows([shown]), "the edit was made where it was meant"


def width(line: str, encoding: str | None) -> int:
    """How many units more than characters are before the call."""
    before = line[: line.index("validate(")]
    units = {"utf-8": len(before.encode()), "utf-32": len(before)}.get(encoding or "", len(before.encode("utf-16-le")) // 2)
    return units - len(before)


@pytest.mark.asyncio
async def test_reads_what_is_around_and_what_is_open_but_not_saved(editor: Editor, tmp_path: Path) -> None:
    net, _, rest = MISSING_EVAL.partition("def validate")
    lines = "def validate" + rest
    main = saved(tmp_path, f"import torch\nfrom torch import nn\nfrom models import Net\n\n{lines}", "train.py")
    models = saved(tmp_path, net, "models.py")
    await editor.start(tmp_path)
    editor.open(main, (tmp_path / "train.py").read_text())
    (shown,) = await editor.diagnostics(main)
    assert rows([shown]) == told(tmp_path)
    assert "Dropout p=0.5" in shown.message
    editor.open(models, net)
    assert await editor.diagnostics(models) == []
    editor.replace(models, net.replace("Dropout(0.5)", "Dropout(0.25)"))
    (shown,) = await editor.diagnostics(main, editor.replace(main, (tmp_path / "train.py").read_text() + "\n"))
    assert "Dropout p=0.25" in shown.message


@pytest.mark.asyncio
async def test_related_information_in_other_files(editor: Editor, tmp_path: Path) -> None:
    before, _, main = MISSING_EVAL.partition("def main")
    uri = saved(tmp_path, before, "evaluation.py")
    other = saved(tmp_path, f"# 🙂\nimport torch\nfrom torch import nn\nfrom evaluation import Net, validate\n\n\ndef main{main}")
    await editor.start(tmp_path)
    editor.open(uri, before)
    (shown,) = await editor.diagnostics(uri)
    assert rows([shown]) == told(tmp_path, "evaluation.py")
    places = {each.location.uri: each.location.range.start.line for each in shown.related_information}
    assert places[other] > 5


@pytest.mark.asyncio
async def test_what_does_not_parse_keeps_what_still_stands(editor: Editor, tmp_path: Path) -> None:
    uri = saved(tmp_path, MISSING_EVAL)
    await editor.start(tmp_path)
    editor.open(uri, MISSING_EVAL)
    await editor.diagnostics(uri)
    half = MISSING_EVAL.replace("def validate", "x = (\n\ndef validate")
    (shown,) = await editor.diagnostics(uri, editor.replace(uri, half))
    assert (shown.code, shown.range.start.line + 1) == ("EVL001", LINE + 2), "moved with its line, and no complaint while one types"
    touched = half.replace(LOOP, "for x, y in val_loader")
    assert await editor.diagnostics(uri, editor.replace(uri, touched)) == [], "the line itself was edited"
    broken = await editor.after(lambda: editor.save(uri), uri)
    assert [each.code for each in broken] == ["EVL900"]
    assert broken[0].severity == lsp.DiagnosticSeverity.Error
    assert rows(await editor.diagnostics(uri, editor.replace(uri, MISSING_EVAL)))[0][:2] == ("EVL001", LINE)


@pytest.mark.asyncio
async def test_ten_thousand_edits_in_a_row(editor: Editor, tmp_path: Path) -> None:
    uri = saved(tmp_path, MISSING_EVAL)
    await editor.start(tmp_path)
    editor.open(uri, MISSING_EVAL)
    await editor.diagnostics(uri)
    editor.client.published.clear()
    row = LINE - 1
    for number in range(9_999):
        new = "# 🙂 model.eval(\n"[number % 17 : number % 17 + 1]
        editor.change(uri, lsp.TextDocumentContentChangePartial(at(row - 2, 0, number % 3), new))
        if number % 500 == 0:
            await asyncio.sleep(0)
    version = editor.replace(uri, f"\n\n{MISSING_EVAL}")
    assert version == 10_001
    (shown,) = await editor.diagnostics(uri, version)
    assert shown.range.start.line == LINE + 1
    versions = [params.version for params in editor.client.published]
    assert versions == sorted(set(versions)), "newer answers only"
    assert editor.client.messages == []


@pytest.mark.asyncio
async def test_the_comment_that_an_action_writes_silences(editor: Editor, tmp_path: Path) -> None:
    uri = saved(tmp_path, MISSING_EVAL)
    await editor.start(tmp_path)
    for version, loop in enumerate((LOOP, f"{LOOP}  # noqa: E501", "for x, y in \\\n            val_loader:", f"{LOOP}  # a word"), 2):
        text = MISSING_EVAL.replace(LOOP, loop)
        if version == 2:
            editor.open(uri, "")
        (shown,) = await editor.diagnostics(uri, editor.replace(uri, text))
        (action,) = [each for each in await editor.actions(uri, shown.range) if "disable" in each.title]
        assert (action.title, action.kind) == ("evallint: disable EVL001 for this line", lsp.CodeActionKind.QuickFix)
        assert [each.code for each in action.diagnostics] == ["EVL001"]
        (edit,) = action.edit.changes[uri]
        assert "EVL001" in edit.new_text
        change = lsp.TextDocumentContentChangePartial(edit.range, edit.new_text)
        assert await editor.diagnostics(uri, editor.change(uri, change)) == []
        assert await editor.actions(uri, shown.range) == []
    assert await editor.actions(uri, at(0, 0, 0)) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["quickfix", "source.fixAll.evallint"])
async def test_the_fix_is_an_action(editor: Editor, tmp_path: Path, kind: str) -> None:
    uri = saved(tmp_path, MISSING_EVAL)
    await editor.start(tmp_path)
    editor.open(uri, MISSING_EVAL)
    (shown,) = await editor.diagnostics(uri)
    found: list[Any] = []
    for _ in range(10 * PATIENCE):  # fixes are tried out after the findings are shown
        found = [each for each in await editor.actions(uri, shown.range, [kind]) if "disable" not in each.title]
        if found:
            break
        await asyncio.sleep(0.1)
    (action,) = found
    edits = action.edit.changes[uri]
    text = MISSING_EVAL
    lines = text.splitlines(keepends=True)
    for edit in sorted(edits, key=lambda edit: (edit.range.start.line, edit.range.start.character), reverse=True):
        start, end = (sum(map(len, lines[: p.line])) + p.character for p in (edit.range.start, edit.range.end))
        text = text[:start] + edit.new_text + text[end:]
    assert "model.eval()" in text
    assert await editor.diagnostics(uri, editor.replace(uri, text)) == []


@pytest.mark.asyncio
async def test_hover_shows_the_page_of_the_rule(editor: Editor, tmp_path: Path) -> None:
    uri = saved(tmp_path, MISSING_EVAL)
    await editor.start(tmp_path)
    editor.open(uri, MISSING_EVAL)
    await editor.diagnostics(uri)

    async def hover(line: int, column: int) -> Any:
        position = lsp.Position(line - 1, column - 1)
        return await editor.client.text_document_hover_async(lsp.HoverParams(lsp.TextDocumentIdentifier(uri), position))

    shown = await hover(LINE, COLUMN + 2)
    assert shown.contents.kind == lsp.MarkupKind.Markdown
    assert run(sys.executable, "-m", "evallint", "rule", "EVL001", cwd=tmp_path).stdout.strip() in shown.contents.value
    assert "1. `model.train()` here (line 23)" in shown.contents.value
    assert await hover(1, 1) is None


@pytest.mark.asyncio
async def test_settings_are_read_again_when_they_change(editor: Editor, tmp_path: Path) -> None:
    uri = saved(tmp_path, MISSING_EVAL)
    settings = tmp_path / "pyproject.toml"
    await editor.start(tmp_path, watch=True)
    editor.open(uri, MISSING_EVAL)
    assert len(await editor.diagnostics(uri)) == 1
    patterns = [each["globPattern"] for each in editor.client.registered[0].register_options["watchers"]]
    assert "**/pyproject.toml" in patterns

    def changed(text: str) -> Callable[[], None]:
        def notify() -> None:
            settings.write_text(text)
            event = lsp.FileEvent(settings.as_uri(), lsp.FileChangeType.Changed)
            editor.client.workspace_did_change_watched_files(lsp.DidChangeWatchedFilesParams([event]))

        return notify

    assert await editor.after(changed('[tool.evallint]\nignore = ["EVL001"]\n'), uri) == []
    assert await editor.after(changed("[tool.evallint]\nignore = 3\n"), uri) == [], "the last good settings hold"
    assert await editor.after(changed("[tool.evallint]\nignore = 3\n"), uri) == []
    (message,) = editor.client.messages
    assert "pyproject.toml: tool.evallint.ignore: wants a list of strings" in message.message
    assert len(await editor.after(changed(""), uri)) == 1
    # and without a word of the client, by the next save
    settings.write_text('[tool.evallint]\nper-file-ignores = {"train.py" = ["EVL001"]}\n')
    assert await editor.after(lambda: editor.save(uri), uri) == []


@pytest.mark.asyncio
async def test_options_of_the_client_override_settings(editor: Editor, tmp_path: Path) -> None:
    uri = saved(tmp_path, MISSING_EVAL)
    await editor.start(tmp_path, options={"ignore": ["EVL001"]})
    editor.open(uri, MISSING_EVAL)
    assert await editor.diagnostics(uri) == []


@pytest.mark.asyncio
async def test_excluded_files_have_none(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    uri = saved(tmp_path / "build", MISSING_EVAL)
    await editor.start(tmp_path)
    editor.open(uri, MISSING_EVAL)
    assert await editor.diagnostics(uri) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("folder", ["none", "missing", "elsewhere"])
async def test_without_a_workspace_folder(editor: Editor, tmp_path: Path, folder: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    await editor.start(None if folder == "none" else tmp_path / folder)
    uri = saved(tmp_path, MISSING_EVAL)
    editor.open(uri, MISSING_EVAL)
    assert len(await editor.diagnostics(uri)) == 1


@pytest.mark.asyncio
async def test_documents_that_are_no_files(editor: Editor, tmp_path: Path) -> None:
    await editor.start(tmp_path)
    for uri in ("untitled:Untitled-1", "git:/train.py?ref", "file:///nowhere/at/all/train.py", "x", "file:///a%00b.py"):
        editor.open(uri, MISSING_EVAL)
        assert len(await editor.diagnostics(uri)) == 1, uri
    editor.open("file:///tmp/notes.md", MISSING_EVAL, "markdown")
    (tmp_path / "gone.py").write_text(MISSING_EVAL)
    uri = (tmp_path / "gone.py").as_uri()
    editor.open(uri, MISSING_EVAL)
    await editor.diagnostics(uri)
    (tmp_path / "gone.py").unlink()
    assert len(await editor.diagnostics(uri, editor.replace(uri, "\n" + MISSING_EVAL))) == 1
    assert not any(params.uri.endswith("notes.md") for params in editor.client.published)


@pytest.mark.asyncio
async def test_texts_of_every_kind(editor: Editor, tmp_path: Path) -> None:
    uri = saved(tmp_path, MISSING_EVAL)
    await editor.start(tmp_path)
    editor.open(uri, "")
    assert await editor.diagnostics(uri) == []
    for text in ("\0\x01\x02 torch", "import torch\nx = '\ud83d'\n", "(" * 3000 + " torch", "\x0c\u2028\x85import torch", "\r\r\n\r"):
        assert await editor.diagnostics(uri, editor.replace(uri, text)) == []
    windows = "# -*- coding: latin-1 -*-\r\n'é\u2028\x0c'\r\n" + MISSING_EVAL.replace("\n", "\r\n")
    (shown,) = await editor.diagnostics(uri, editor.replace(uri, windows))
    assert (shown.range.start.line, shown.range.start.character) == (LINE + 1, COLUMN - 1)
    row = windows.split("\r\n").index("    model = Net()")
    inserted = lsp.TextDocumentContentChangePartial(at(row, 17, 17), "\r\n    model.eval()\r\n    a = 1")
    editor.change(uri, inserted, lsp.TextDocumentContentChangePartial(at(1, 2, 900), ""))
    editor.change(uri, lsp.TextDocumentContentChangePartial(at(99_999, 5, 9), "\r\n"))
    assert await editor.diagnostics(uri, editor.replace(uri, CLEAN)) == []
    assert editor.client.messages == []


@pytest.mark.asyncio
async def test_what_nobody_expects_is_survived(editor: Editor, tmp_path: Path) -> None:
    uri = saved(tmp_path, MISSING_EVAL)
    await editor.start(tmp_path)
    editor.versions["file:///never/opened.py"] = 0
    editor.replace("file:///never/opened.py", "x")
    editor.save("file:///never/opened.py")
    editor.client.protocol.notify("evallint/unknown", {})
    assert await editor.actions("file:///never/opened.py", at(0, 0, 0)) == []
    editor.open(uri, MISSING_EVAL)
    assert len(await editor.diagnostics(uri)) == 1


@pytest.mark.asyncio
async def test_notebooks_cell_by_cell(editor: Editor, tmp_path: Path) -> None:
    await editor.start(tmp_path)
    uri = (tmp_path / "train.ipynb").as_uri()
    before, _, main = MISSING_EVAL.partition("def main")
    texts = ["%matplotlib inline\n" + before, "def main" + main]
    cells = [lsp.NotebookCell(lsp.NotebookCellKind.Code, f"vscode-notebook-cell:c{n}") for n in range(2)]
    cells.insert(1, lsp.NotebookCell(lsp.NotebookCellKind.Markup, "vscode-notebook-cell:m"))
    items = [lsp.TextDocumentItem(f"vscode-notebook-cell:c{n}", "python", 1, text) for n, text in enumerate(texts)]
    book = lsp.NotebookDocument(uri, "jupyter-notebook", 1, cells)
    editor.client.notebook_document_did_open(lsp.DidOpenNotebookDocumentParams(book, items))
    (shown,) = await editor.diagnostics("vscode-notebook-cell:c0")
    assert (shown.code, shown.range.start.line) == ("EVL001", LINE)
    assert "vscode-notebook-cell:c1" in [each.location.uri for each in shown.related_information]
    (action,) = [a for a in await editor.actions("vscode-notebook-cell:c0", shown.range) if "disable" in a.title]
    (edit,) = action.edit.changes["vscode-notebook-cell:c0"]
    content = lsp.NotebookDocumentCellContentChanges(
        lsp.VersionedTextDocumentIdentifier(2, "vscode-notebook-cell:c0"),
        [lsp.TextDocumentContentChangePartial(edit.range, edit.new_text)],
    )
    change = lsp.NotebookDocumentChangeEvent(cells=lsp.NotebookDocumentCellChanges(text_content=[content]))
    editor.client.notebook_document_did_change(lsp.DidChangeNotebookDocumentParams(lsp.VersionedNotebookDocumentIdentifier(2, uri), change))
    assert await editor.diagnostics("vscode-notebook-cell:c0", 2) == []


def session(folder: Path, *messages: dict[str, Any]) -> Any:
    """A whole session as bytes, up to the end of the input; what the process did."""
    bodies = [json.dumps({"jsonrpc": "2.0", **message}).encode() for message in messages]
    data = b"".join(b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies)
    return run(sys.executable, "-m", "evallint", "server", cwd=folder, stdin=data)


def test_exit_codes_and_output(tmp_path: Path) -> None:
    initialize = {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None, "capabilities": {}}}
    done = session(tmp_path, initialize, {"id": 2, "method": "shutdown"}, {"method": "exit"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Content-Length: ")
    assert session(tmp_path, initialize, {"method": "exit"}).returncode == 1
    gone = session(tmp_path, initialize)
    assert gone.returncode == 1
    assert "Traceback" not in gone.stderr


def test_help_and_unknown_options(tmp_path: Path) -> None:
    shown = evallint("server", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "usage: evallint server" in shown.stdout
    assert evallint("server", "--port", cwd=tmp_path).returncode == 2


def test_without_pygls_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pygls.py").write_text("raise ModuleNotFoundError('no', name='pygls')\n")
    done = run(sys.executable, "-c", "from evallint.__main__ import main; raise SystemExit(main(['server']))", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'evallint[lsp]'" in done.stderr
    assert done.stdout == ""


@pytest.mark.asyncio
async def test_a_failure_of_the_analysis_is_logged_and_survived(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "pathspec.py").write_text("")  # an installation that lacks something
    (tmp_path / "pyproject.toml").write_text('[tool.evallint]\nexclude = ["a/*"]\n')
    uri = saved(tmp_path, MISSING_EVAL)
    command = [sys.executable, "-m", "evallint", "server"]
    environ = environment(PYTHONPATH=os.pathsep.join((str(broken), os.environ.get("PYTHONPATH", ""))))
    client = await pytest_lsp.ClientServerConfig(command, client_factory=make_client, server_env=environ).start()
    editor = Editor(client)
    await editor.start(tmp_path)
    editor.open(uri, MISSING_EVAL)
    for _ in range(PATIENCE * 50):
        if client.log_messages:
            break
        await asyncio.sleep(0.02)
    assert "ImportError" in client.log_messages[0].message
    (tmp_path / "pyproject.toml").write_text("")
    assert len(await editor.after(lambda: editor.save(uri), uri)) == 1
    await client.shutdown_session()
    await client.stop()

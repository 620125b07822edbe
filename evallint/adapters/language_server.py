"""The Language Server Protocol, on pygls: messages to jobs for `editor`, and its answers to messages."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from evallint import __version__
from evallint.configuration import checked
from evallint.editor import actions
from evallint.editor.checking import Answer, Cell, Checker, Job, Why, joined
from evallint.editor.drift import carried
from evallint.editor.queue import NewestFirst
from evallint.editor.text import Position, Unit, column, edited, position
from evallint.finding import Edit, Finding, Place, Severity
from evallint.report.described import url
from evallint.settings import SettingsError
from evallint.source.noqa import silencing, split_lines
from evallint.source.notebook import SUFFIX

FIX_ALL = "source.fixAll.evallint"
SEVERITIES: dict[Severity, lsp.DiagnosticSeverity] = {
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
    "note": lsp.DiagnosticSeverity.Information,
}
WATCHED = ("**/pyproject.toml", "**/evallint.toml", "**/.evallint.toml", "**/*.py")
PAUSE = 0.5
"""Seconds without an edit after which fixes are tried out."""
UNITS: dict[str, Unit] = {"utf-8": "utf-8", "utf-16": "utf-16", "utf-32": "utf-32"}


@dataclass(slots=True)
class Document:
    """An open text: a file, a cell of a notebook, or neither."""

    uri: str
    text: str
    version: int
    is_python: bool
    notebook: str = ""
    """The URI of the notebook that it is a cell of."""


@dataclass(slots=True)
class Subject:
    """What is checked as one: a document, or a notebook with the documents that are its cells."""

    uri: str
    documents: list[str]
    is_notebook: bool = False
    edits: int = 0
    """Counts them; an answer to an older count is not shown."""
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Errand:
    """A job with the state of its subject that it is for."""

    uri: str
    edits: int
    job: Job


class Server(LanguageServer):
    """A client's session; everything but `_work` runs on the event loop."""

    def __init__(self) -> None:
        sync = lsp.NotebookDocumentSyncOptions(
            notebook_selector=[
                lsp.NotebookDocumentFilterWithNotebook(notebook="jupyter-notebook", cells=[lsp.NotebookCellLanguage(language="python")])
            ],
            save=True,
        )
        super().__init__("evallint", __version__, lsp.TextDocumentSyncKind.Incremental, sync)
        self.unit: Unit = "utf-16"
        self.documents: dict[str, Document] = {}
        self.subjects: dict[str, Subject] = {}
        self.checker = Checker()
        self.queue: NewestFirst[Errand] = NewestFirst(self._work, lambda waiting, newer: replace(newer, job=joined(waiting.job, newer.job)))
        self.loop: asyncio.AbstractEventLoop | None = None
        self.told: dict[str, str] = {}
        self.ended = False
        handlers: dict[str, Any] = {
            lsp.INITIALIZE: self.on_initialize,
            lsp.INITIALIZED: self.on_initialized,
            lsp.SHUTDOWN: self.on_shutdown,
            lsp.TEXT_DOCUMENT_DID_OPEN: self.on_open,
            lsp.TEXT_DOCUMENT_DID_CHANGE: self.on_change,
            lsp.TEXT_DOCUMENT_DID_SAVE: self.on_save,
            lsp.TEXT_DOCUMENT_DID_CLOSE: self.on_close,
            lsp.NOTEBOOK_DOCUMENT_DID_OPEN: self.on_notebook_open,
            lsp.NOTEBOOK_DOCUMENT_DID_CHANGE: self.on_notebook_change,
            lsp.NOTEBOOK_DOCUMENT_DID_SAVE: self.on_notebook_save,
            lsp.NOTEBOOK_DOCUMENT_DID_CLOSE: self.on_notebook_close,
            lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES: self.on_surroundings,
            lsp.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: self.on_surroundings,
            lsp.WORKSPACE_DID_CHANGE_CONFIGURATION: self.on_configuration,
            lsp.TEXT_DOCUMENT_HOVER: self.on_hover,
        }
        for name, handler in handlers.items():
            self.feature(name)(_function(handler))
        kinds = [lsp.CodeActionKind.QuickFix, FIX_ALL]
        self.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=kinds))(_function(self.on_code_action))

    # The session

    def on_initialize(self, params: lsp.InitializeParams) -> None:
        self.unit = UNITS.get(str(getattr(self.workspace.position_encoding, "value", self.workspace.position_encoding)), "utf-16")
        self.configure(params.initialization_options)
        self.queue.start()

    def on_initialized(self, params: lsp.InitializedParams) -> None:
        self.loop = asyncio.get_running_loop()
        workspace = self.client_capabilities.workspace
        watching = workspace.did_change_watched_files if workspace else None
        if watching is None or not watching.dynamic_registration:
            return  # what changes is seen with the next save, then
        watchers = [lsp.FileSystemWatcher(glob_pattern=pattern) for pattern in WATCHED]
        wanted = lsp.Registration(
            id="evallint-files",
            method=lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES,
            register_options=lsp.DidChangeWatchedFilesRegistrationOptions(watchers=watchers),
        )
        self.client_register_capability(lsp.RegistrationParams(registrations=[wanted]))

    def on_shutdown(self, params: None) -> None:
        self.ended = True
        self.queue.stop()

    def configure(self, options: Any) -> None:
        """Let the client's options override settings."""
        table = options.get("evallint", options) if isinstance(options, Mapping) else {}
        try:
            self.checker.changes = checked(table, "initialization options") if isinstance(table, Mapping) else {}
        except SettingsError as error:
            self.show("", str(error))

    def on_configuration(self, params: lsp.DidChangeConfigurationParams) -> None:
        if isinstance(params.settings, Mapping) and isinstance(params.settings.get("evallint"), Mapping):
            self.configure(params.settings)
        self.around("")

    def on_surroundings(self, params: object) -> None:
        self.around("")

    def show(self, uri: str, problem: str) -> None:
        """Tell the user what is wrong with the settings, once."""
        if problem and problem not in self.told.values():
            self.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Error, f"evallint: {problem}"))
        self.told[uri] = problem

    def report_server_error(self, error: Exception, source: Any) -> None:
        """A message that cannot be answered is logged; it is no reason to bother the user."""
        self.window_log_message(lsp.LogMessageParams(lsp.MessageType.Error, f"evallint: {error}"))

    # Documents

    def on_open(self, params: lsp.DidOpenTextDocumentParams) -> None:
        given = params.text_document
        self.take(given)
        if self.documents[given.uri].is_python:
            self.subjects[given.uri] = Subject(given.uri, [given.uri])
            self.ask(given.uri, "shown")

    def on_change(self, params: lsp.DidChangeTextDocumentParams) -> None:
        uri = params.text_document.uri
        if self.edit(params.text_document, params.content_changes):
            self.ask(uri, "typed")

    def on_save(self, params: lsp.DidSaveTextDocumentParams) -> None:
        self.ask(params.text_document.uri, "shown")
        self.around(params.text_document.uri)

    def on_close(self, params: lsp.DidCloseTextDocumentParams) -> None:
        self.forget(params.text_document.uri)

    def on_notebook_open(self, params: lsp.DidOpenNotebookDocumentParams) -> None:
        uri = params.notebook_document.uri
        for given in params.cell_text_documents:
            self.take(given, uri)
        self.subjects[uri] = Subject(uri, [cell.document for cell in params.notebook_document.cells], is_notebook=True)
        self.ask(uri, "shown")

    def on_notebook_change(self, params: lsp.DidChangeNotebookDocumentParams) -> None:
        uri = params.notebook_document.uri
        subject, cells = self.subjects.get(uri), params.change.cells
        if subject is None or cells is None:
            return
        if cells.structure is not None:
            array = cells.structure.array
            new = [cell.document for cell in array.cells or ()]
            subject.documents[array.start : array.start + array.delete_count] = new
            for given in cells.structure.did_open or ():
                self.take(given, uri)
            for closed in cells.structure.did_close or ():
                self.documents.pop(closed.uri, None)
                self.publish(closed.uri, None, [])
        for content in cells.text_content or ():
            self.edit(content.document, content.changes)
        self.ask(uri, "typed")

    def on_notebook_save(self, params: lsp.DidSaveNotebookDocumentParams) -> None:
        self.ask(params.notebook_document.uri, "shown")
        self.around(params.notebook_document.uri)

    def on_notebook_close(self, params: lsp.DidCloseNotebookDocumentParams) -> None:
        self.forget(params.notebook_document.uri)

    def take(self, given: lsp.TextDocumentItem, notebook: str = "") -> None:
        """Open a document."""
        is_python = given.language_id == "python" or (not given.language_id and given.uri.endswith(".py"))
        self.documents[given.uri] = Document(given.uri, given.text, given.version, is_python, notebook)

    def edit(self, which: lsp.VersionedTextDocumentIdentifier, changes: Iterable[lsp.TextDocumentContentChangeEvent]) -> bool:
        """Edit a document; whether it is open."""
        document = self.documents.get(which.uri)
        if document is None:
            return False
        for change in changes:
            if isinstance(change, lsp.TextDocumentContentChangePartial):
                start, end = _pair(change.range.start), _pair(change.range.end)
                document.text = edited(document.text, start, end, change.text, self.unit)
            else:
                document.text = change.text
        document.version = which.version
        return True

    def forget(self, uri: str) -> None:
        """Close what is checked as one, and clear what was shown in it."""
        subject = self.subjects.pop(uri, None)
        self.queue.drop(uri)
        self.queue.drop((uri, "fixes"))
        self.told.pop(uri, None)
        for each in subject.documents if subject is not None else [uri]:
            self.documents.pop(each, None)
            if subject is not None:
                self.publish(each, None, [])

    # Checking

    def ask(self, uri: str, why: Why, *, last: bool = False) -> None:
        """Have a document checked as it is now."""
        subject = self.subjects.get(uri)
        if subject is None:
            return
        subject.edits += 1
        path, text, cells = _path(uri), "", None
        name = path or uri.rpartition("/")[2].rpartition(":")[2] or "untitled"
        if subject.is_notebook:
            opened = [self.documents.get(each) for each in subject.documents]
            cells = [Cell(cell is not None and cell.is_python, cell.text if cell else "") for cell in opened]
            if not name.endswith(SUFFIX):
                path, name = None, name + SUFFIX
        else:
            text = self.documents[uri].text
        files = {p: d.text for d in self.documents.values() if d.uri != uri and d.is_python and not d.notebook and (p := _path(d.uri))}
        job = Job(name, text, why, is_file=path is not None, top=self.folder_of(path), others=files, cells=cells)
        self.queue.ask(uri, Errand(uri, subject.edits, job), last=last)

    def around(self, uri: str) -> None:
        """Have all open documents but one checked, as what they depend on has changed."""
        for other in self.subjects:
            if other != uri:
                self.ask(other, "around", last=True)

    def folder_of(self, path: str | None) -> str:
        """The workspace folder that holds a path, the innermost; for what is no file, the first; none if there is none."""
        folders = [folder for each in self.workspace.folders.values() if (folder := _path(each.uri))]
        folders += [root] if not folders and (root := self.workspace.root_path) else []
        if path is None:
            return next(iter(folders), "")
        return max((folder for folder in folders if path.startswith(folder.rstrip(os.sep) + os.sep)), key=len, default="")

    def _work(self, errand: Errand) -> None:
        """In the thread: check, and hand the answer to the event loop."""
        answer: Answer | str
        try:
            subject = self.subjects.get(errand.uri)
            if errand.job.fixes and (subject is None or subject.edits != errand.edits):
                return
            answer = self.checker.check(replace(errand.job, before=subject.answer if subject else None))
        except Exception:
            answer = traceback.format_exc()
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.answered, errand, answer)

    def answered(self, errand: Errand, answer: Answer | str) -> None:
        """Show an answer, unless it is to a question of the past."""
        if isinstance(answer, str):
            message = f"evallint failed on {errand.job.path}, please report it:\n{answer}"
            self.window_log_message(lsp.LogMessageParams(lsp.MessageType.Error, message))
            return
        subject = self.subjects.get(errand.uri)
        if subject is None:
            return
        self.show(errand.uri, answer.problem)
        if subject.edits == errand.edits or not subject.is_notebook:
            subject.answer = answer
        if subject.edits != errand.edits or errand.job.fixes:
            return
        if answer.findings and answer.complete:  # fixes are for those who ask what can be done, a moment later
            asyncio.get_running_loop().call_later(PAUSE, self.try_fixes, errand)
        for number, uri in enumerate(subject.documents, 1):
            document = self.documents.get(uri)
            if document is not None:
                findings = [f for f in answer.findings if not subject.is_notebook or f.place.cell == number]
                self.publish(uri, document.version, [self.diagnostic(f, subject, answer.texts) for f in findings])

    def try_fixes(self, errand: Errand) -> None:
        """Have fixes tried out for an answer, unless there was an edit since: whoever goes on typing is not to wait for them."""
        subject = self.subjects.get(errand.uri)
        if subject is not None and subject.edits == errand.edits and not self.ended:
            self.queue.ask((errand.uri, "fixes"), replace(errand, job=replace(errand.job, fixes=True)), last=True)

    def publish(self, uri: str, version: int | None, diagnostics: list[lsp.Diagnostic]) -> None:
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, diagnostics, version))

    # Findings

    def findings_of(self, document: Document) -> tuple[Subject, list[Finding]] | None:
        """What is known of a document, at the places of its text as it is now."""
        subject = self.subjects.get(document.notebook or document.uri)
        if subject is None or subject.answer is None:
            return None
        answer = subject.answer
        if not subject.is_notebook:
            same = answer.text == document.text
            return subject, answer.findings if same else carried(answer.findings, answer.text, document.text)
        number = subject.documents.index(document.uri) + 1 if document.uri in subject.documents else 0
        return subject, [f for f in answer.findings if f.place.cell == number]

    def diagnostic(self, finding: Finding, subject: Subject, texts: Mapping[str, str]) -> lsp.Diagnostic:
        """A finding as the protocol has it."""
        related = []
        for step in finding.trail:
            where = lsp.Location(self.uri_of(step.place, subject), self.range_of(step.place, subject, texts))
            related.append(lsp.DiagnosticRelatedInformation(where, step.note))
        return lsp.Diagnostic(
            range=self.range_of(finding.place, subject, texts),
            message=finding.message,
            severity=SEVERITIES[finding.severity],
            code=finding.code,
            code_description=lsp.CodeDescription(href=url(finding.code)),
            source="evallint",
            related_information=related,
        )

    def uri_of(self, place: Place, subject: Subject) -> str:
        """The document that a place of a finding of `subject` is in."""
        if place.cell and place.cell <= len(subject.documents):
            return subject.documents[place.cell - 1]
        if not subject.is_notebook and (place.path == _path(subject.uri) or _path(subject.uri) is None):
            return subject.uri
        opened = next((uri for uri in self.documents if _path(uri) == place.path), None)
        return opened or str(from_fs_path(place.path))

    def range_of(self, place: Place, subject: Subject, texts: Mapping[str, str]) -> lsp.Range:
        """A place as the protocol has it."""
        document = self.documents.get(self.uri_of(place, subject))
        lines = split_lines(document.text if document is not None else texts.get(place.path, ""))
        start, end = ((place.line, place.column), (place.end_line, place.end_column))
        return lsp.Range(_position(lines, *start, self.unit), _position(lines, *end, self.unit))

    def on_hover(self, params: lsp.HoverParams) -> lsp.Hover | None:
        document = self.documents.get(params.text_document.uri)
        known = self.findings_of(document) if document is not None else None
        if document is None or known is None:
            return None
        line, _ = column(split_lines(document.text), _pair(params.position), self.unit)
        here = [f for f in known[1] if f.place.line <= line <= f.place.end_line]
        if not here:
            return None
        text = "\n\n".join(map(actions.about, here))
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, text), self.range_of(here[0].place, known[0], {}))

    def on_code_action(self, params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        document = self.documents.get(params.text_document.uri)
        known = self.findings_of(document) if document is not None else None
        if document is None or known is None:
            return []
        subject, findings = known
        only = params.context.only
        first, last = params.range.start.line + 1, params.range.end.line + 1
        found: list[lsp.CodeAction] = []
        for finding in findings if _asked(only, lsp.CodeActionKind.QuickFix.value) else ():
            if finding.place.line <= last and finding.place.end_line >= first:
                found += self.quick_fixes(document, finding, self.diagnostic(finding, subject, {}))
        edits = actions.all_safe(findings) if _asked(only, FIX_ALL) else []
        if edits:
            kind = cast(lsp.CodeActionKind, FIX_ALL)
            found.append(lsp.CodeAction("evallint: fix all that is safe to fix", kind, edit=self.change(document, edits)))
        return found

    def quick_fixes(self, document: Document, finding: Finding, diagnostic: lsp.Diagnostic) -> list[lsp.CodeAction]:
        """What can be done about one finding."""
        kind = lsp.CodeActionKind.QuickFix
        found = []
        if finding.fix is not None:
            edit = self.change(document, finding.fix.edits)
            safe = finding.fix.applicability == "safe"
            found.append(lsp.CodeAction(actions.title(finding, finding.fix), kind, [diagnostic], safe, edit=edit))
        comment = silencing(document.text, finding)
        if comment is not None:
            title = f"evallint: disable {finding.code} for this line"
            found.append(lsp.CodeAction(title, kind, [diagnostic], edit=self.change(document, [comment])))
        return found

    def change(self, document: Document, edits: Iterable[Edit]) -> lsp.WorkspaceEdit:
        """Edits of a document as the protocol has them."""
        lines = split_lines(document.text)
        rows = [
            lsp.TextEdit(
                lsp.Range(
                    _position(lines, edit.start_line, edit.start_column, self.unit),
                    _position(lines, edit.end_line, edit.end_column, self.unit),
                ),
                edit.text,
            )
            for edit in edits
        ]
        return lsp.WorkspaceEdit(changes={document.uri: rows})


def _function(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A method as a function, which pygls can mark."""

    def handler(params: Any) -> Any:
        return method(params)

    return handler


def _path(uri: str) -> str | None:
    """The path of a file's URI; None for what is no file on this machine."""
    path = to_fs_path(uri)
    return path if path and os.path.isabs(path) and "\0" not in path else None


def _pair(place: lsp.Position) -> Position:
    return place.line, place.character


def _position(lines: Sequence[str], line: int, at: int, unit: Unit) -> lsp.Position:
    return lsp.Position(*position(lines, line, at, unit))


def _asked(only: Sequence[Any] | None, kind: str) -> bool:
    """Whether actions of a kind are wanted; `source` means `source.fixAll` as well."""
    wanted = [str(getattr(each, "value", each)) for each in only or ()]
    return not wanted or any(kind == each or kind.startswith(f"{each}.") for each in wanted)


def run() -> int:
    """Serve on standard input and output until the client ends it. Whatever else writes to standard output writes to standard error."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    server = Server()
    server.start_io(sys.stdin.buffer, out)
    return 0 if server.ended else 1

"""An editor for tests of the language server; needs pytest-lsp."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest_lsp
from lsprotocol import types as lsp
from pygls.protocol import default_converter
from pytest_lsp.client import DEFAULT_CLIENT_FEATURES, register_lsp_features

PATIENCE = 60
"""Seconds after which an answer is missed."""


def make_client() -> Any:
    """A client that keeps what is published, with its version."""
    client = pytest_lsp.LanguageClient(converter_factory=default_converter)
    client.published = []

    def publish(params: Any) -> None:
        client.published.append(params)

    register_lsp_features(client, {**DEFAULT_CLIENT_FEATURES, lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS: publish})
    client.registered = []
    client.feature(lsp.CLIENT_REGISTER_CAPABILITY)(lambda params: client.registered.extend(params.registrations))
    return client


class Editor:
    """What an editor does, in few words."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.versions: dict[str, int] = {}

    async def start(self, folder: Path | None, encodings: list[str] | None = None, options: Any = None, watch: bool = False) -> Any:
        folders = None if folder is None else [lsp.WorkspaceFolder(folder.as_uri(), "project")]
        abilities = lsp.ClientCapabilities(
            general=lsp.GeneralClientCapabilities(position_encodings=encodings) if encodings else None,
            workspace=lsp.WorkspaceClientCapabilities(
                did_change_watched_files=lsp.DidChangeWatchedFilesClientCapabilities(dynamic_registration=watch)
            ),
        )
        return await self.client.initialize_session(
            lsp.InitializeParams(abilities, workspace_folders=folders, initialization_options=options)
        )

    def open(self, uri: str, text: str, language: str = "python") -> None:
        self.versions[uri] = 1
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, language, 1, text)))

    def change(self, uri: str, *changes: Any) -> int:
        self.versions[uri] += 1
        which = lsp.VersionedTextDocumentIdentifier(self.versions[uri], uri)
        self.client.text_document_did_change(lsp.DidChangeTextDocumentParams(which, list(changes)))
        return self.versions[uri]

    def replace(self, uri: str, text: str) -> int:
        return self.change(uri, lsp.TextDocumentContentChangeWholeDocument(text))

    def save(self, uri: str) -> None:
        self.client.text_document_did_save(lsp.DidSaveTextDocumentParams(lsp.TextDocumentIdentifier(uri)))

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The last thing published that is so."""
        for _ in range(PATIENCE * 50):
            found = next((params for params in reversed(self.client.published) if wanted(params)), None)
            if found is not None:
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"never published; messages: {self.client.log_messages}, {self.client.messages}, {self.client.published[-3:]}")

    async def diagnostics(self, uri: str, version: int = 1) -> list[Any]:
        """What is shown for a version of a document."""
        return list((await self.until(lambda params: params.uri == uri and params.version == version)).diagnostics)

    async def after(self, action: Callable[[], object], uri: str) -> list[Any]:
        """What is shown next for a document after an action."""
        self.client.published.clear()
        action()
        return list((await self.until(lambda params: params.uri == uri)).diagnostics)

    async def actions(self, uri: str, span: Any, only: list[Any] | None = None) -> list[Any]:
        context = lsp.CodeActionContext([], only)
        return list(await self.client.text_document_code_action_async(lsp.CodeActionParams(lsp.TextDocumentIdentifier(uri), span, context)))

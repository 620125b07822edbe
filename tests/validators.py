"""The validators of other people for the output formats; those of npm are installed when they are first asked for."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import xmlschema

from tests.examples import environment

SCHEMAS = Path(__file__).parent / "schemas"
_NPM = ("@microsoft/sarif-multitool@5.7.0", "@umbrelladocs/rdformat-validator@1.0.1")
# those of the kind `Ghas`, which say nothing unless they are switched on one by one
_GITHUB_RULES = (
    "GH1001.ProvideRequiredLocationProperties",
    "GH1002.InlineThreadFlowLocations",
    "GH1003.ProvideRequiredRegionProperties",
    "GH1004.ReviewArraysThatExceedConfigurableDefaults",
    "GH1005.LocationsMustBeRelativeUrisOrFilePaths",
    "GH1006.ProvideCheckoutPath",
    "GH1007.ProvideFullyFormattedMessageStrings",
    "GH1011.GhasReferenceFinalSchema",
    "GH1013.GhProvideRequiredSarifLogProperties",
    "GH1014.GhasProvideRequiredRunProperties",
    "GH1015.GhasProvideRequiredResultProperties",
    "GH1016.GhasProvideRequiredLocationProperties",
    "GH1017.GhasProvideRequiredPhysicalLocationProperties",
    "GH1018.GhasProvideToolDriver",
)
_COMMAND = re.compile(r"::(error|warning|notice) ([^:]*)::(.*)")


def sarif_faults(path: Path, *levels: str) -> list[str]:
    """What `sarif-multitool` says against a file, with the rules of GitHub's code scanning; by default its errors and warnings."""
    out, config = path.with_suffix(".validated"), path.with_suffix(".xml")
    rules = "".join(
        f'<Properties Key="{rule}.Options"><Property Key="RuleEnabled" Value="Error" Type="Driver.RuleEnabledState" /></Properties>'
        for rule in _GITHUB_RULES
    )
    config.write_text(f'<?xml version="1.0" encoding="utf-8"?><Properties>{rules}</Properties>')
    # the tool's npm wrapper hands its arguments to a shell
    _run(
        *("sarif-multitool", "validate", f'"{path}"', "--rule-kind", '"Sarif;Ghas"', "--level", '"Error;Warning;Note"'),
        *("--config", f'"{config}"', "--log", "ForceOverwrite", "--output", f'"{out}"'),
    )
    run = json.loads(out.read_text(encoding="utf-8-sig"))["runs"][0]
    failed = [note["message"]["text"] for one in run["invocations"] for note in one.get("toolExecutionNotifications", ())]
    wanted = levels or ("error", "warning")
    found = [row for row in run.get("results", ()) if row.get("level", "warning") in wanted]
    return failed + [f"{row['ruleId']}: {row['message']}" for row in found]


def rdjson_faults(path: Path) -> str:
    """What `rdformat-validator --strict` says against a file; nothing if it is valid."""
    done = _run("rdformat-validator", "--strict", "--no-extra-fields", "--format", "json", str(path))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def junit_faults(path: Path) -> list[str]:
    """What the JUnit schema has against a file."""
    return [str(fault) for fault in xmlschema.XMLSchema(str(SCHEMAS / "junit.xsd")).iter_errors(str(path))]


def gitlab_faults(path: Path) -> list[str]:
    """What the schema of Code Quality reports has against a file; fingerprints must be unique as well."""
    rows = json.loads(path.read_bytes())
    schema = json.loads((SCHEMAS / "gitlab.json").read_text(encoding="utf-8"))
    marks = [row["fingerprint"] for row in rows]
    return [
        *(fault.message for fault in jsonschema.Draft202012Validator(schema).iter_errors(rows)),
        *(["fingerprints are not unique"] if len(set(marks)) < len(marks) else []),
    ]


def github_commands(text: str) -> list[dict[str, str]]:
    """The workflow commands in a log, read as GitHub's runner reads them; fails on a line that is none."""
    found = []
    for line in re.split(r"\r\n|\r|\n", text.removesuffix("\n")) if text else ():
        command = _COMMAND.fullmatch(line)
        assert command, f"not a command: {line!r}"
        level, written, message = command.groups()
        pairs = (pair.partition("=") for pair in written.split(","))
        values = {key: _unescaped(value.replace("%3A", ":").replace("%2C", ",")) for key, _, value in pairs}
        found.append({"level": level, **values, "message": _unescaped(message)})
    return found


def github_faults(path: Path) -> list[str]:
    """What GitHub's runner would refuse: columns of a place that spans lines."""
    rows: list[dict[str, Any]] = [*github_commands(path.read_bytes().decode())]
    return [str(row) for row in rows if row.get("line") != row.get("endLine") and ("col" in row or "endColumn" in row)]


FAULTS = {"sarif": sarif_faults, "rdjson": rdjson_faults, "junit": junit_faults, "gitlab": gitlab_faults, "github": github_faults}


def _unescaped(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def _run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(_tools() / "node_modules" / ".bin" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(DOTNET_SYSTEM_GLOBALIZATION_INVARIANT="1"))


@cache
def _tools() -> Path:
    """The folder where the npm packages are installed; kept for the next run of the tests."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("the validators are npm packages, and npm is not on PATH")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evallint-tests"
    folder = caches / hashlib.sha256(repr(_NPM).encode()).hexdigest()[:16]
    if not folder.exists():
        caches.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=caches))
        command = [npm, "install", "--prefix", str(new), "--no-audit", "--no-fund", "--no-save", *_NPM]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        with suppress(OSError):  # another process was faster
            new.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
    return folder

"""Brings the labelled packages: pinned wheels, downloaded by pip with their hashes checked, and only their Python files unpacked.

Nothing of a package is installed or run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

SUFFIXES = frozenset({".py", ".ipynb"})


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of one package: a line `name==version sha256` of `packages.txt`; what follows on the line is for readers."""

    requirement: str
    sha256: str

    @property
    def name(self) -> str:
        """The package's name."""
        return self.requirement.partition("==")[0]

    @property
    def root(self) -> str:
        """The name of the folder it is unpacked to."""
        return self.requirement.replace("==", "-")


def read_pins(path: Path) -> list[Pin]:
    """The pins of a file such as `packages.txt`."""
    return [Pin(*line.split()[:2]) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def rounds(pins: list[Pin]) -> list[list[Pin]]:
    """The pins in as few groups as go without two versions of one package in a group, which pip does not take."""
    versions: dict[str, int] = defaultdict(int)
    groups: dict[int, list[Pin]] = defaultdict(list)
    for pin in pins:
        groups[versions[pin.name]].append(pin)
        versions[pin.name] += 1
    return list(groups.values())


def bring_packages(pins: list[Pin], folder: Path) -> int:
    """Download and unpack what is not yet below `folder`; returns how many packages that were."""
    wanted = [pin for pin in pins if not (folder / pin.root).is_dir()]
    if not wanted:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for group in rounds(wanted):
            _download(group, Path(scratch))
        wheels = {sha256(wheel.read_bytes()).hexdigest(): wheel for wheel in Path(scratch).glob("*.whl")}
        for pin in wanted:
            _unpack(wheels[pin.sha256], folder / pin.root)
    return len(wanted)


def _download(pins: list[Pin], into: Path) -> None:
    requirements = into / "requirements.txt"
    requirements.write_text("".join(f"{pin.requirement} --hash=sha256:{pin.sha256}\n" for pin in pins), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--ignore-requires-python"]
    command += ["--only-binary", ":all:", "--require-hashes", "--requirement", str(requirements), "--dest", str(into)]
    subprocess.run(command, check=True)


def _unpack(wheel: Path, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.part")  # so that an interrupted run leaves no half package behind
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            inside = PurePosixPath(member.filename)
            if inside.suffix in SUFFIXES and not inside.is_absolute() and ".." not in inside.parts:
                target = part / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(member))
    part.rename(folder)

"""The cache folder: what was put comes back whole or not at all, and nothing that is wrong with a folder ever raises."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from hashlib import blake2b
from pathlib import Path

import pytest

from evallint.cache import store as module
from evallint.cache.store import VERSION, NoStore, NotACache, Store, clean, default_folder, is_cache
from tests.examples import ROOT, environment

KEY = blake2b(b"a key").hexdigest()
OTHER = blake2b(b"another").hexdigest()
DATA = bytes(range(256)) * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a cache is to be; not there yet."""
    return tmp_path / "project" / ".evallint_cache"


@pytest.fixture
def store(folder: Path) -> Store:
    """A store with one entry."""
    made = Store(str(folder))
    made.put(KEY, DATA)
    return made


def entry(store: Store, key: str) -> Path:
    """The file of an entry."""
    return Path(store.folder, VERSION, key[:2], key[2:])


def names(folder: Path) -> list[str]:
    """Everything in a folder, with slashes."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def age(path: Path, days: float) -> None:
    """Make a file look as if it was last used some days ago."""
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def test_what_was_put_comes_back(store: Store) -> None:
    store.put(OTHER, b"")
    for again in (store, Store(store.folder)):
        assert again.get(KEY) == DATA
        assert again.get(OTHER) == b""
        assert again.get("0" * 64) is None
    store.put(KEY, b"later")
    assert store.get(KEY) == b"later"


def test_reading_makes_no_folder(folder: Path) -> None:
    assert Store(str(folder)).get(KEY) is None
    assert not folder.exists()


def test_layout(store: Store, folder: Path) -> None:
    assert names(folder) == [".gitignore", VERSION, f"{VERSION}/{KEY[:2]}", f"{VERSION}/{KEY[:2]}/{KEY[2:]}", "CACHEDIR.TAG"]
    assert (folder / ".gitignore").read_text().splitlines()[-1] == "*"
    assert (folder / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert is_cache(str(folder))


def test_git_sees_nothing_of_it(store: Store, folder: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=folder.parent, check=True)
    done = subprocess.run(["git", "status", "--porcelain", "-uall"], cwd=folder.parent, check=True, capture_output=True)
    assert done.stdout == b""


def test_other_versions_are_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERSION", "9.9.9-py3.99-1")
    assert store.get(KEY) is None
    store.put(KEY, b"new")
    assert store.get(KEY) == b"new"
    monkeypatch.undo()
    assert store.get(KEY) == DATA


def test_every_damaged_byte_is_noticed(store: Store) -> None:
    path = entry(store, KEY)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for change in (1, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            assert store.get(KEY) is None, place
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert store.get(KEY) is None, end
    for wrong in (whole + b"\0", b"\0" + whole, whole * 2, whole[::-1], DATA, os.urandom(5000)):
        path.write_bytes(wrong)
        assert store.get(KEY) is None
    foreign = b"written by something that does not compress"
    path.write_bytes(blake2b(KEY.encode() + b"\0" + foreign, digest_size=16).digest() + foreign)
    assert store.get(KEY) is None
    path.write_bytes(whole)
    assert store.get(KEY) == DATA


def test_an_entry_under_another_key_is_not_trusted(store: Store) -> None:
    entry(store, OTHER).parent.mkdir()
    shutil.copy(entry(store, KEY), entry(store, OTHER))
    assert store.get(OTHER) is None
    store.put(OTHER, b"its own")
    assert store.get(OTHER) == b"its own"


def test_a_folder_in_the_place_of_an_entry(store: Store) -> None:
    entry(store, OTHER).mkdir(parents=True)
    store.put(OTHER, DATA)
    assert store.get(OTHER) is None
    assert store.get(KEY) == DATA
    assert not [name for name in names(Path(store.folder)) if ".tmp" in name]


@pytest.mark.parametrize("place", ["folder", "version", "shelf"])
def test_a_file_in_the_place_of_a_folder(tmp_path: Path, place: str) -> None:
    store = Store(str(tmp_path / "cache"))
    blocked = {"folder": Path(store.folder), "version": Path(store.folder, VERSION), "shelf": entry(store, KEY).parent}[place]
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("mine")
    store.put(KEY, DATA)
    assert store.get(KEY) is None
    assert store.prune(0, 0) == 0
    assert blocked.read_text() == "mine"


NOBODY = 65534
WITHOUT_RIGHTS = f"""
import os, sys, zlib
from evallint.cache.store import Store
if os.geteuid() == 0:  # no permission stops root: become somebody else
    os.setgid({NOBODY})
    os.setuid({NOBODY})
store = Store(sys.argv[1])
store.put("{OTHER}", b"data")
print(store.get("{OTHER}"), store.get("{KEY}") is not None, store.prune(0, 0))
"""
DISK_IS_FULL = f"""
import os, resource, signal, sys
from evallint.cache.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))  # a longer file fails in the middle
store = Store(sys.argv[1])
store.put("{KEY}", os.urandom(5000))
print(store.get("{KEY}"))
"""


def printed(program: str, folder: Path) -> str:
    """What a program of its own prints about a folder, errors included."""
    done = subprocess.run([sys.executable, "-c", program, str(folder)], cwd=ROOT, capture_output=True, text=True, env=environment())
    return done.stdout + done.stderr


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_may_not_be_written(exists: bool) -> None:
    with tempfile.TemporaryDirectory() as name:  # unlike pytest's folders, it can be opened to everybody
        above = Path(name)
        folder = above / "cache"
        if exists:
            Store(str(folder)).put(KEY, DATA)
        before = names(above)
        for path in (*above.rglob("*"), above):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            assert printed(WITHOUT_RIGHTS, folder) == f"None {exists} 0\n"
            assert names(above) == before
        finally:
            for path in (above, *above.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_folder_that_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        above = Path(name)
        folder = above / "cache"
        Store(str(folder)).put(KEY, DATA)
        above.chmod(0o755)
        folder.chmod(0o000)
        try:
            assert printed(WITHOUT_RIGHTS, folder) == "None False 0\n"
        finally:
            folder.chmod(0o755)


def test_a_full_disk_leaves_no_part_of_an_entry(folder: Path) -> None:
    assert printed(DISK_IS_FULL, folder) == "None\n"
    assert is_cache(str(folder))
    assert not [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]


RACING = """
import sys
from evallint.cache.store import Store
store, number = Store(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for turn in range(40):
    for name in range(8):
        key = f"{name:02x}" + "f" * 62
        store.put(key, bytes([number]) * (3000 + 1000 * number))
        found = store.get(key)
        assert found and len(set(found)) == 1 and len(found) == 3000 + 1000 * found[0], (turn, name, found)
"""


def test_processes_that_write_the_same_keys_at_once(folder: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACING, str(folder), str(number)],
            cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(3)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == b"ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"\n")
        racer.stdin.flush()
    for racer in racers:
        _, said = racer.communicate(timeout=120)
        assert (racer.returncode, said) == (0, b"")
    assert len([name for name in names(folder) if name.count("/") == 2]) == 8
    assert not [name for name in names(folder) if ".tmp" in name]
    assert is_cache(str(folder))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all my work")
    store = Store(str(tmp_path))
    store.put(KEY, DATA)
    assert store.get(KEY) is None
    assert names(tmp_path) == ["thesis.tex"], "a .gitignore here would hide their files from Git"
    with pytest.raises(NotACache, match="not a cache of evallint"):
        clean(str(tmp_path))
    assert names(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("marks", [{".gitignore": "*\n"}, {"CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n"}, {}])
def test_marks_of_others_are_not_ours(tmp_path: Path, marks: dict[str, str]) -> None:
    for name, text in {**marks, "data": "x"}.items():
        (tmp_path / name).write_text(text)
    before = names(tmp_path)
    Store(str(tmp_path)).put(KEY, DATA)
    with pytest.raises(NotACache):
        clean(str(tmp_path))
    assert names(tmp_path) == before


@pytest.mark.parametrize("name", [".gitignore", "CACHEDIR.TAG"])
def test_a_mark_of_another_tool_alone_in_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("of another tool")
    store = Store(str(tmp_path))
    store.put(KEY, DATA)
    assert store.get(KEY) is None
    assert names(tmp_path) == [name]
    with pytest.raises(NotACache):
        clean(str(tmp_path))
    assert (tmp_path / name).read_text() == "of another tool"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.put(KEY, DATA)
    assert store.get(KEY) == DATA
    assert clean(str(tmp_path)) == 1


def test_clean(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(OTHER, DATA)
    monkeypatch.setattr(module, "VERSION", "0.0.9-py3.10-1")
    store.put(OTHER, DATA)
    assert store.prune(1 << 40, 0) == 0
    assert clean(str(folder)) == 3
    assert not folder.exists()
    assert clean(str(folder)) == 0
    store.put(KEY, DATA)
    assert store.get(KEY) == DATA
    assert is_cache(str(folder)), "made again, it is marked again"


def test_clean_leaves_what_others_put_into_a_cache(store: Store, folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("mine")
    assert clean(str(folder)) == 1
    assert names(folder) == ["notes", "notes/mine.txt"]


def test_clean_follows_no_link_out_of_the_folder(store: Store, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    (folder / VERSION / "zz").symlink_to(tmp_path / "precious")
    (folder / "0.0.1-py3.10-1").symlink_to(tmp_path / "precious")
    clean(str(folder))
    assert (tmp_path / "precious" / "file").read_text() == "mine"


def test_clean_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotACache):
        clean(str(tmp_path / "file"))
    assert (tmp_path / "file").exists()


def test_a_cache_that_lost_its_marks_gets_them_again(store: Store, folder: Path) -> None:
    for name in (".gitignore", "CACHEDIR.TAG"):
        (folder / name).unlink()
    store.put(OTHER, DATA)
    assert store.get(OTHER) == DATA
    assert is_cache(str(folder))


def test_prune_removes_what_was_not_used_for_longest(store: Store) -> None:
    keys = [f"{number:064x}"[::-1] for number in range(10)]
    for days, key in enumerate(keys, 2):
        store.put(key, os.urandom(1000))
        age(entry(store, key), days)
    age(entry(store, KEY), 100)
    assert store.get(KEY) == DATA, "which is a use"
    assert store.get(keys[9]) is not None
    assert store.prune(4000) == 7
    assert [key for key in keys if store.get(key)] == [keys[0], keys[1], keys[9]]
    assert store.get(KEY) == DATA


def test_prune_counts_other_versions_and_removes_parts_of_killed_writers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    age(entry(store, KEY), 30)
    part = entry(store, KEY).with_name("ab.tmp-0123")
    part.write_bytes(b"part")
    age(part, 2)
    fresh = part.with_name("cd.tmp-0123")
    fresh.write_bytes(b"being written")
    monkeypatch.setattr(module, "VERSION", "9.9.9-py3.99-1")
    store.put(OTHER, os.urandom(1000))
    assert store.prune(1100) == 1
    assert store.get(OTHER) is not None
    monkeypatch.undo()
    assert store.get(KEY) is None
    assert not part.exists()
    assert fresh.exists()


def test_prune_looks_once_in_a_while(store: Store, folder: Path) -> None:
    assert store.prune() == 0
    assert store.prune(0) == 0, "it has just looked"
    assert store.get(KEY) == DATA
    age(folder / "pruned", 2)
    assert store.prune(0) == 1
    assert store.get(KEY) is None
    store.put(KEY, DATA)
    assert store.prune(0) == 0
    assert store.get(KEY) == DATA


def test_prune_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    assert Store(str(tmp_path)).prune(0, 0) == 0
    assert Store(str(tmp_path / "none")).prune(0, 0) == 0
    assert names(tmp_path) == ["mine"]


def test_no_store_keeps_nothing() -> None:
    store = NoStore()
    store.put(KEY, DATA)
    assert store.get(KEY) is None
    assert store.prune() == 0


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVALLINT_CACHE_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert default_folder(None) == str(tmp_path / ".evallint_cache")
    assert default_folder("/some/where") == os.path.join("/some/where", ".evallint_cache")
    monkeypatch.setenv("EVALLINT_CACHE_DIR", "")
    assert default_folder("/some/where") == os.path.join("/some/where", ".evallint_cache")
    monkeypatch.setenv("EVALLINT_CACHE_DIR", "/else")
    assert default_folder("/some/where") == default_folder(None) == "/else"

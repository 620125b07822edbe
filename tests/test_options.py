"""`--config`, `--isolated`, `--show-settings`, `--show-files` and excludes: what they change, in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from evallint.configuration import KEYS, read_configuration
from tests.examples import LINE, MISSING_EVAL, NO_TORCH, evallint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with settings that silence one file, a folder with settings of its own, and files that are excluded."""
    for name in ("bad.py", "tests/bad.py", "gen/bad.py", "build/bad.py", "inner/bad.py", "inner/gen/bad.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(MISSING_EVAL)
    (tmp_path / "plain.py").write_text(NO_TORCH)
    (tmp_path / "evallint.toml").write_text('extend-exclude = ["gen/*.py"]\n[per-file-ignores]\n"tests/*" = ["EVL001"]\n')
    (tmp_path / "inner" / "pyproject.toml").write_text('[tool.evallint]\nextend-select = ["EVL3"]\n')
    return tmp_path


def _paths(folder: Path, *arguments: str, inside: str = "") -> list[str]:
    """The files with findings."""
    done = evallint("--output-format", "json", *arguments, cwd=folder / inside)
    assert done.stderr == ""
    return sorted({f["path"] for f in json.loads(done.stdout)["findings"]})


def _files(folder: Path, *arguments: str, inside: str = "") -> list[str]:
    done = evallint("--show-files", *arguments, cwd=folder / inside)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_nearest_file_holds(folder: Path) -> None:
    assert _paths(folder, ".") == ["bad.py", "inner/bad.py", "inner/gen/bad.py"]
    assert _paths(folder, "tests/bad.py", "gen/bad.py") == ["gen/bad.py"]


def test_a_file_for_all_files(folder: Path) -> None:
    (folder / "ci").mkdir()
    (folder / "ci" / "strict.toml").write_text('exclude = ["/inner", "build"]\nper-file-ignores = {"tests/*" = ["EVL"]}\n')
    assert _paths(folder, "--config", "ci/strict.toml", ".") == ["bad.py", "gen/bad.py"], "patterns are relative to the working folder"
    (folder / "ci" / "pyproject.toml").write_text('[tool.evallint]\nignore = ["EVL001"]\n')
    assert _paths(folder, "--config", "ci/pyproject.toml", ".") == []
    assert _paths(folder, "--config", "ci/pyproject.toml", "--ignore", "EVL003", "bad.py") == ["bad.py"], "an option wins"


def test_one_setting_as_toml(folder: Path) -> None:
    assert _paths(folder, "--config", 'ignore = ["EVL001"]', ".") == []
    assert _paths(folder, "--config", 'ignore = ["EVL001"]', "--ignore", "EVL003", "bad.py") == ["bad.py"], "an option wins"
    assert _paths(folder, "--config", "per-file-ignores.'inner/*' = ['EVL001']", ".") == ["bad.py", "tests/bad.py"]
    assert _paths(folder, "--isolated", "--config", 'exclude = ["inner"]', ".") == ["bad.py", "build/bad.py", "gen/bad.py", "tests/bad.py"]


def test_isolated(folder: Path) -> None:
    everywhere = ["bad.py", "gen/bad.py", "inner/bad.py", "inner/gen/bad.py", "tests/bad.py"]
    assert _paths(folder, "--isolated", ".") == everywhere
    (folder / "evallint.toml").write_text("colour = 'red'\n")
    assert _paths(folder, "--isolated", ".") == everywhere, "what is not read does no harm"
    assert evallint(".", cwd=folder).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "nowhere.toml"), "nowhere.toml: cannot be read: No such file or directory"),
        (("--config", "tests"), "tests: cannot be read: Is a directory"),
        (("--config", "bare/pyproject.toml"), "bare/pyproject.toml: has no table [tool.evallint]"),
        (("--config", "evallint.toml", "--config", "bare/x.toml"), "--config names two files: evallint.toml and bare/x.toml"),
        (("--config", "evallint.toml", "--isolated"), "--isolated reads no configuration file, but --config names one: evallint.toml"),
        (("--config", "confidence = low"), "--config: is not valid TOML: Invalid value (at line 1, column 14)"),
        (("--config", "confidenc = 'low'"), "--config: unknown key 'confidenc' (did you mean 'confidence'?)"),
        (("--config", "select = 'EVL001'"), "--config: select: wants a list of strings, not a string"),
        (("--config", "bare/x.toml"), "bare/x.toml: selekt: "),
        (("--per-file-ignores", "EVL001"), "'EVL001' has no pattern: write PATTERN:CODE"),
        (("--per-file-ignores", "x:E501"), "'E501' is not a code"),
        (("--show-settings", "nowhere.py"), "nowhere.py: No such file or directory"),
        (("--show-files", "nowhere.py"), "nowhere.py: No such file or directory"),
    ],
)
def test_mistakes(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    (folder / "bare").mkdir()
    (folder / "bare" / "pyproject.toml").write_text('[project]\nname = "evallint-user"\n')
    (folder / "bare" / "x.toml").write_text("selekt = []\n")
    done = evallint(*arguments, "plain.py", cwd=folder)
    assert done.returncode == 2
    assert said.replace("selekt: ", "unknown key 'selekt' (did you mean 'select'?)") in done.stderr


def test_clean_says_what_is_wrong_with_the_settings(folder: Path) -> None:
    (folder / "evallint.toml").write_text("colour = 'red'\n")
    done = evallint("clean", cwd=folder)
    assert (done.returncode, "evallint.toml: unknown key 'colour'" in done.stderr) == (2, True)


def test_excludes_of_the_command_line(folder: Path) -> None:
    assert _files(folder) == _files(folder, ".") == ["bad.py", "plain.py", "inner/bad.py", "inner/gen/bad.py", "tests/bad.py"]
    assert _files(folder, "--exclude", "inner,plain.py") == ["bad.py", "build/bad.py", "tests/bad.py"], "in place of the setting"
    assert _files(folder, "--extend-exclude", "inner", "--extend-exclude", "t*ts") == ["bad.py", "plain.py"], "beside the setting"
    assert _files(folder, "--extend-exclude", "gen/bad.py", inside="inner") == ["bad.py"]
    assert "inner/gen/bad.py" not in _files(folder, "--extend-exclude", "inner/gen/*"), "relative to the working folder, not to inner/"


def test_codes_by_file_of_the_command_line(folder: Path) -> None:
    assert _paths(folder, "--per-file-ignores", "bad.py:EVL001", ".") == [], "a name alone is that of a file anywhere, as in .gitignore"
    assert _paths(folder, "--per-file-ignores", "/bad.py:EVL002,EVL001,inner/gen/*:EVL0", ".") == ["inner/bad.py", "tests/bad.py"]


def test_what_is_named_is_excluded_with_force_alone(folder: Path) -> None:
    named = ("bad.py", "gen/bad.py", "build/bad.py", "build", "inner/gen/bad.py")
    assert _files(folder, *named) == ["bad.py", "gen/bad.py", "build/bad.py", "inner/gen/bad.py"]
    assert _files(folder, "--force-exclude", *named) == ["bad.py", "inner/gen/bad.py"]
    assert _paths(folder, "--force-exclude", *named) == ["bad.py", "inner/gen/bad.py"]
    assert _files(folder, "--force-exclude", "bad.py", "../build", inside="inner") == ["bad.py"]
    assert _files(folder, "--force-exclude", "--extend-exclude", "inner", ".", "inner/bad.py") == ["bad.py", "plain.py", "tests/bad.py"]
    for name, codes in (("gen/new.py", []), ("new.py", ["EVL001"])):
        arguments = ("--output-format", "json", "--force-exclude", "--stdin-filename", name, "-")
        done = evallint(*arguments, cwd=folder, stdin=MISSING_EVAL.encode())
        assert [f["code"] for f in json.loads(done.stdout)["findings"]] == codes


def test_standard_input_among_the_files(folder: Path) -> None:
    assert _files(folder, "bad.py", "-", "--stdin-filename", "new.py") == ["new.py", "bad.py"]


def _blocks(text: str) -> list[tuple[list[str], dict[str, object], dict[str, str]]]:
    """Of each block of `--show-settings`: its head, its values, and where these come from."""
    found = []
    for block in text.strip().split("\n\n"):
        head = [line for line in block.splitlines() if line.startswith("#")]
        origins = dict(line.split("  # ") for line in block.splitlines() if "  # " in line)
        found.append((head, tomllib.loads(block), {row.split(" = ")[0]: origin for row, origin in origins.items()}))
    return found


def test_show_settings(folder: Path) -> None:
    done = evallint("--show-settings", "--confidence", "low", "--extend-exclude", "old", ".", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    (head, values, origins), (inner, inner_values, inner_origins) = _blocks(done.stdout)
    assert head[0] == f"# Settings for bad.py and 2 more, from {folder.resolve()}/evallint.toml."
    assert str(folder.resolve()) in head[1]
    assert list(values) == list(origins) == list(KEYS)
    assert (values["confidence"], origins["confidence"]) == ("low", "command line")
    assert (values["extend-exclude"], origins["extend-exclude"]) == (
        ["gen/*.py", "old"],
        f"{folder.resolve()}/evallint.toml and command line",
    )
    assert (values["per-file-ignores"], origins["select"]) == ({"tests/*": ["EVL001"]}, "default")
    assert inner[0] == f"# Settings for inner/bad.py and 1 more, from {folder.resolve()}/inner/pyproject.toml."
    assert (inner_values["extend-select"], inner_origins["extend-exclude"]) == (["EVL3"], "command line")


def test_what_is_shown_can_be_kept(folder: Path) -> None:
    (folder / "full.toml").write_text(
        'select = ["EVL0"]\nignore = ["EVL002"]\nextend-select = ["EVL910"]\nconfidence = "high"\nseverity = "warning"\nexclude = []\n'
        "extend-exclude = ['a \"b\"', 'c\\d', 'é']\nextend-models = ['m']\nevaluation-functions = ['e']\ntraining-calls = ['t']\n"
        "restoring-contexts = ['r']\nper-file-ignores = {'x y' = ['EVL001', 'EVL003'], z = []}\n[libraries]\noptimizers = ['acme.*']\n"
    )
    shown = evallint("--show-settings", "--config", "full.toml", "bad.py", cwd=folder)
    assert shown.returncode == 0
    (folder / "again.toml").write_text(shown.stdout)
    before, after = read_configuration(str(folder / "full.toml")), read_configuration(str(folder / "again.toml"))
    assert before is not None
    assert after is not None
    assert before.settings == after.settings


def test_settings_of_a_folder_without_files(tmp_path: Path) -> None:
    done = evallint("--show-settings", "--isolated", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("# Settings for this folder, from no configuration file.\n")
    assert set(_blocks(done.stdout)[0][2].values()) == {"default"}


def test_a_selection_starts_anew(folder: Path) -> None:
    (folder / "evallint.toml").write_text('extend-select = ["EVL910"]\n')
    (folder / "bad.py").write_text(f"x = 1  # noqa: EVL001\n{MISSING_EVAL}")

    def found(*options: str) -> list[tuple[str, int]]:
        done = evallint("--output-format", "json", *options, "bad.py", cwd=folder)
        return [(f["code"], f["line"]) for f in json.loads(done.stdout)["findings"]]

    assert found() == [("EVL910", 1), ("EVL001", LINE + 1)]
    assert found("--extend-select", "EVL0") == [("EVL910", 1), ("EVL001", LINE + 1)], "beside what the file selects"
    assert found("--select", "EVL001") == [("EVL001", LINE + 1)], "in place of all that the file selects"

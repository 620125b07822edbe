"""Settings: their defaults, `[tool.evallint]`, and what is said of mistakes in it."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from evallint import Settings, lint_paths
from evallint.configuration import KEYS, configuration_in, read_configuration, settings_for
from evallint.settings import DEFAULT_EXCLUDE, SettingsError
from evallint.source.patterns import ignored_codes
from tests.examples import LINE, MISSING_EVAL, ROOT

EVERYTHING = """
[project]
name = "x"

[tool.evallint]
select = ["EVL0", "evl101"]
ignore = ["EVL002"]
extend-select = ["EVL3"]
confidence = "low"
severity = "warning"
exclude = ["old"]
extend-exclude = ["gen/*.py"]
extend-models = ["scorer", "acme.Scorer"]
evaluation-functions = ["measure"]
training-calls = ["engine.advance"]
restoring-contexts = ["quietly"]

[tool.evallint.per-file-ignores]
"tests/**" = ["EVL002"]
"__init__.py" = ["EVL"]
"""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    configuration_in.cache_clear()


def _write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read_settings(path: str) -> Settings | None:
    """The settings that one file holds."""
    found = read_configuration(path)
    return None if found is None else found.settings


def test_every_key(tmp_path: Path) -> None:
    assert read_settings(str(_write(tmp_path, EVERYTHING))) == Settings(
        select=("EVL0", "EVL101"),
        ignore=("EVL002",),
        extend_select=("EVL3",),
        confidence="low",
        severity="warning",
        exclude=("old",),
        extend_exclude=("gen/*.py",),
        per_file_ignores=(("tests/**", ("EVL002",)), ("__init__.py", ("EVL",))),
        extend_models=("scorer", "acme.Scorer"),
        evaluation_functions=("measure",),
        training_calls=("engine.advance",),
        restoring_contexts=("quietly",),
        root=str(tmp_path.resolve()),
    )


def test_defaults_are_frozen_and_hashable() -> None:
    settings = Settings()
    assert (settings.confidence, settings.severity, settings.exclude) == ("medium", "note", DEFAULT_EXCLUDE)
    assert len({settings, Settings()}) == 1
    with pytest.raises(FrozenInstanceError):
        settings.confidence = "low"  # type: ignore[misc]


MISTAKES = [
    ('colour = "red"', "unknown key 'colour' (known: select, "),
    ("extend_select = []", "unknown key 'extend_select' (did you mean 'extend-select'?)"),
    ("restoring-context = []", "unknown key 'restoring-context' (did you mean 'restoring-contexts'?)"),
    ('select = "EVL001"', "select: wants a list of strings, not a string"),
    ('select = ["EVL0", 1]', "select: wants a list of strings; its entry 2 is an integer"),
    ('ignore = ["E501"]', "ignore: 'E501' is not a code"),
    ("extend-select = [true]", "extend-select: wants a list of strings; its entry 1 is a boolean"),
    ('confidence = "certain"', "confidence: wants one of 'low', 'medium', 'high', not 'certain'"),
    ('confidence = "hihg"', "confidence: wants one of 'low', 'medium', 'high', not 'hihg' (did you mean 'high'?)"),
    ("severity = 3", "severity: wants one of 'note', 'warning', 'error', not 3"),
    ('per-file-ignores = ["x"]', "per-file-ignores: wants a table of patterns, each with a list of codes, not an array"),
    ('per-file-ignores = {"x" = "EVL001"}', "per-file-ignores: at 'x' wants a list of strings, not a string"),
    ('per-file-ignores = {"x" = ["EVL001", []]}', "per-file-ignores: at 'x' wants a list of strings; its entry 2 is an array"),
    ('per-file-ignores = {"x" = ["E501"]}', "per-file-ignores: at 'x' 'E501' is not a code"),
    ("exclude = {}", "exclude: wants a list of strings, not a table"),
    ("extend-exclude = [[]]", "extend-exclude: wants a list of strings; its entry 1 is an array"),
    ("extend-models = 1.5", "extend-models: wants a list of strings, not a float"),
    ("evaluation-functions = [2020-01-01]", "evaluation-functions: wants a list of strings; its entry 1 is a date or time"),
    ("training-calls = 12:00:00", "training-calls: wants a list of strings, not a date or time"),
    ("restoring-contexts = {a = 1}", "restoring-contexts: wants a list of strings, not a table"),
    ("libraries = []", "libraries: wants a table of lists of patterns, not an array"),
    (
        'libraries.models-in-evaluation-mode = ["x"]',
        "libraries: has an unknown list 'models-in-evaluation-mode' (did you mean 'models-in-eval-mode'?)",
    ),
    ('libraries.optimizers = "x"', "libraries: at 'optimizers' wants a list of strings, not a string"),
]


def test_each_key_is_among_the_mistakes() -> None:
    assert {said.split(":")[0] for _, said in MISTAKES if "unknown key" not in said} == set(KEYS)


@pytest.mark.parametrize(("table", "said"), MISTAKES)
def test_mistakes_name_the_file_and_the_key(tmp_path: Path, table: str, said: str) -> None:
    path = _write(tmp_path, f"[tool.evallint]\n{table}\n")
    with pytest.raises(SettingsError) as caught:
        read_settings(str(path))
    dot = ": " if said.startswith("unknown") else "."
    assert str(caught.value).startswith(f"{path}: tool.evallint{dot}{said}")
    own = tmp_path / "evallint.toml"
    own.write_text(f"{table}\n")
    with pytest.raises(SettingsError) as caught:
        read_settings(str(own))
    assert str(caught.value).startswith(f"{own}: {said}")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\n\nselect = [,]\n", "line 3"),
        (b"[tool.evallint]\nselect = [\n", "at the end, line 3"),
        (b"select = []\nselect = []\n", "line 2"),
        (b"# evallint\n# \xff\n", "it is not UTF-8 (at line 2)"),
    ],
)
@pytest.mark.parametrize("name", ["evallint.toml", "pyproject.toml"])
def test_what_is_no_toml_names_the_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(data + b"# evallint\n")
    with pytest.raises(SettingsError) as caught:
        read_settings(str(path))
    assert str(caught.value).startswith(f"{path}: is not valid TOML: ")
    assert said in str(caught.value)


def test_the_table_of_pyproject_in_a_file_of_its_own(tmp_path: Path) -> None:
    own = tmp_path / "evallint.toml"
    own.write_text("[tool.evallint]\nselect = []\n")
    with pytest.raises(SettingsError, match=re.escape("without [tool.evallint]")):
        read_settings(str(own))


def test_a_table_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="wants a table"):
        read_settings(str(_write(tmp_path, "[tool]\nevallint = 3\n")))


def test_the_nearest_table_upward(tmp_path: Path) -> None:
    _write(tmp_path, '[tool.evallint]\nconfidence = "low"\n')
    _write(tmp_path / "a", '[project]\nname = "evallint-user"\n')
    _write(tmp_path / "a" / "b", '[tool.evallint]\nconfidence = "high"\n')
    assert settings_for(str(tmp_path / "x.py")).confidence == "low"
    assert settings_for(str(tmp_path / "a" / "x.py")).confidence == "low", "a pyproject.toml without the table is passed by"
    assert settings_for(str(tmp_path / "a" / "b" / "c" / "x.py")).confidence == "high"


def test_three_names_and_the_first_counts(tmp_path: Path) -> None:
    _write(tmp_path, '[tool.evallint]\nconfidence = "low"\nextend-exclude = ["from-pyproject"]\n')
    assert settings_for(str(tmp_path / "x.py")).confidence == "low"
    for name, level in (("evallint.toml", "medium"), (".evallint.toml", "high")):
        (tmp_path / name).write_text(f'confidence = "{level}"\n')
        configuration_in.cache_clear()
        found = settings_for(str(tmp_path / "x.py"))
        assert (found.confidence, found.extend_exclude, found.root) == (level, (), str(tmp_path.resolve())), "files are not merged"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "evallint.toml").write_text("")
    assert settings_for(str(tmp_path / "a" / "x.py")).confidence == "medium", "an empty evallint.toml holds the defaults"


def test_a_byte_order_mark(tmp_path: Path) -> None:
    assert read_settings(str(_write(tmp_path, '\ufeff[tool.evallint]\nconfidence = "high"\n'))) is not None


@pytest.mark.parametrize(
    ("settings", "yes", "no"),
    [
        (Settings(), ("EVL001", "EVL301", "EVL900"), ()),
        (Settings(select=("EVL0",)), ("EVL001", "EVL900"), ("EVL101",)),
        (Settings(select=("EVL0",), extend_select=("EVL101",)), ("EVL001", "EVL101"), ("EVL102",)),
        (Settings(ignore=("EVL0",)), ("EVL101",), ("EVL001",)),
        (Settings(select=("EVL001",), ignore=("EVL0",)), ("EVL001",), ("EVL002",)),
        (Settings(select=("EVL0",), ignore=("EVL001",)), ("EVL002",), ("EVL001",)),
        (Settings(select=("EVL001",), ignore=("EVL001",)), (), ("EVL001",)),
        (Settings(ignore=("EVL9",)), ("EVL001",), ("EVL900",)),
    ],
)
def test_selection_by_prefix(settings: Settings, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    assert [code for code in (*yes, *no) if settings.selects(code)] == list(yes)


def test_thresholds() -> None:
    assert Settings().shows("medium", "note")
    assert not Settings().shows("low", "error")
    assert Settings(confidence="low").shows("low", "note")
    assert not Settings(severity="warning").shows("high", "note")
    assert Settings(severity="warning").shows("high", "error")


def test_per_file_ignores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings(str(_write(tmp_path, EVERYTHING)))
    assert settings is not None
    assert ignored_codes(settings, str(tmp_path / "tests" / "deep" / "x.py")) == ("EVL002",)
    assert ignored_codes(settings, str(tmp_path / "pkg" / "__init__.py")) == ("EVL",)
    assert ignored_codes(settings, str(tmp_path / "tests" / "__init__.py")) == ("EVL002", "EVL")
    assert ignored_codes(settings, str(tmp_path / "pkg" / "tests.py")) == ()
    monkeypatch.chdir(tmp_path)
    assert ignored_codes(settings, "tests/x.py") == ("EVL002",)
    assert ignored_codes(Settings(per_file_ignores=(("tests/*", ("EVL0",)),)), "tests/x.py") == ("EVL0",), (
        "without a file: the working folder"
    )


def test_settings_reach_the_findings(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(MISSING_EVAL)
    (tmp_path / "zero.py").write_bytes(b"import torch\n\0")
    _write(tmp_path, '[tool.evallint]\nper-file-ignores = {"bad.py" = ["EVL001"]}\n')
    assert [f.code for f in lint_paths([tmp_path]).findings] == ["EVL900"]
    assert [(f.code, f.place.line) for f in lint_paths([tmp_path], Settings(ignore=("EVL900",))).findings] == [("EVL001", LINE)]
    assert [f.code for f in lint_paths([tmp_path], changes={"ignore": ("EVL900",)}).findings] == []


ENGINE = """
import torch
import acme
from torch import nn


def advance_all(engine, batches):
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    for batch in batches:
        loss = net(batch).mean()
        engine.advance(loss)
        print(loss.item())


def score_all(batches):
    net = acme.Engraver()
    rows = []
    for batch in batches:
        rows.append(net(batch).argmax(dim=1).tolist())
    return rows
"""

MEASURING = """
import torch
from torch import nn


def gauge(net, batches):
    net = nn.Linear(3, 3)
    for batch in batches:
        outputs = net(batch)
        batch.keep(outputs)
"""


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("", set()),  # a name alone says that it is a network
        ('[tool.evallint.libraries]\nforeign = ["acme.*"]', set()),
        ('extend-models = ["acme.Engraver"]', {("EVL001", 18), ("EVL002", 18)}),
        ('[tool.evallint.libraries]\nmodels-in-training-mode = ["acme.En*"]', {("EVL001", 18), ("EVL002", 18)}),
        ('[tool.evallint.libraries]\nmodels-in-eval-mode = ["acme.*"]', {("EVL002", 18)}),
    ],
)
def test_what_users_know_of_libraries(tmp_path: Path, table: str, found: set[tuple[str, int]]) -> None:
    (tmp_path / "work.py").write_text(ENGINE)
    _write(tmp_path, f"[tool.evallint]\n{table}\n")
    assert {(f.code, f.place.line) for f in lint_paths([tmp_path]).findings if f.function == "score_all"} == found


def test_training_calls_and_evaluation_functions_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(ENGINE)
    for table, found in (("", ["EVL002"]), ('training-calls = ["engine.advance"]', [])):
        configuration_in.cache_clear()
        _write(tmp_path, f"[tool.evallint]\n{table}\n")
        assert [f.code for f in lint_paths([tmp_path]).findings if f.function == "advance_all"] == found
    (tmp_path / "work.py").write_text(MEASURING)
    for table, found in (("", []), ('evaluation-functions = ["gauge"]', ["EVL002"])):
        configuration_in.cache_clear()
        _write(tmp_path, f"[tool.evallint]\n{table}\n")
        assert [f.code for f in lint_paths([tmp_path]).findings] == found


QUIETLY = """
import contextlib

import torch
from acme.modes import quietly
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.drop(x))


@contextlib.contextmanager
def calmly(model):
    model.eval()
    yield
    restore(model)


@torch.no_grad()
def validate(model, val_loader):
    correct = 0
    with quietly(model):
        for x, y in val_loader:
            correct += (model(x).argmax(1) == y).sum().item()
    return correct


@torch.no_grad()
@quietly
def test(model, test_loader):
    return sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader)


def main(train_loader, val_loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(validate(model, val_loader), test(model, val_loader))


def calm(train_loader, val_loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        with calmly(model), torch.no_grad():
            print([model(x).argmax(1) for x, y in val_loader])
"""


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("", {("EVL001", "validate"), ("EVL001", "test"), ("EVL003", "calmly")}),
        ('restoring-contexts = ["quietly"]', {("EVL003", "calmly")}),
        ('restoring-contexts = ["acme.modes.quietly", "calmly"]', set()),
        ('restoring-contexts = ["work.calmly"]', {("EVL001", "validate"), ("EVL001", "test")}),
        ('restoring-contexts = ["other.quietly"]', {("EVL001", "validate"), ("EVL001", "test"), ("EVL003", "calmly")}),
    ],
)
def test_contexts_of_the_user_that_restore_the_mode(tmp_path: Path, table: str, found: set[tuple[str, str]]) -> None:
    (tmp_path / "work.py").write_text(QUIETLY)
    (tmp_path / "evallint.toml").write_text(table)
    assert {(f.code, f.function) for f in lint_paths([tmp_path]).findings} == found


def test_the_readme_names_every_key_with_its_default_and_shows_what_is_valid(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Configuration\n")[1].split("\n## ")[0]
    rows = {cells[1].strip(" `"): cells for line in section.splitlines() if (cells := line.split("|"))[1:] and cells[1].startswith(" `")}
    assert list(rows) == list(KEYS)
    for key, cells in rows.items():
        default, example = cells[3].strip(), cells[4].strip()
        if example.startswith("`"):
            (tmp_path / "evallint.toml").write_text(f"{key} = {example.strip('`')}\n")
            assert read_configuration(str(tmp_path / "evallint.toml")) is not None
        if default.startswith("`"):
            (tmp_path / "evallint.toml").write_text(f"{key} = {default.split('`')[1]}\n")
            assert read_settings(str(tmp_path / "evallint.toml")) == Settings(root=str(tmp_path.resolve()))
    (tmp_path / "evallint.toml").write_text(section.split("```toml\n")[1].split("```")[0])
    assert read_configuration(str(tmp_path / "evallint.toml")) is not None

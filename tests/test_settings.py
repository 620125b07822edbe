"""Settings: their defaults, `[tool.evallint]`, and what is said of mistakes in it."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from evallint import Settings, lint_paths
from evallint.settings import DEFAULT_EXCLUDE, SettingsError, read_settings, settings_for, settings_in
from evallint.source.patterns import ignored_codes
from tests.examples import LINE, MISSING_EVAL

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

[tool.evallint.per-file-ignores]
"tests/**" = ["EVL002"]
"__init__.py" = ["EVL"]
"""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    settings_in.cache_clear()


def _write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text, encoding="utf-8")
    return path


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
        root=str(tmp_path.resolve()),
    )


def test_defaults_are_frozen_and_hashable() -> None:
    settings = Settings()
    assert (settings.confidence, settings.severity, settings.exclude) == ("medium", "note", DEFAULT_EXCLUDE)
    assert len({settings, Settings()}) == 1
    with pytest.raises(FrozenInstanceError):
        settings.confidence = "low"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('colour = "red"', "tool.evallint: unknown key 'colour' (known: select, "),
        ("extend_select = []", "tool.evallint: unknown key 'extend_select' (did you mean 'extend-select'?)"),
        ('select = "EVL001"', "tool.evallint.select: wants a list of strings"),
        ("select = [1]", "tool.evallint.select: wants a list of strings"),
        ('ignore = ["E501"]', "tool.evallint.ignore: 'E501' is not a code"),
        ('confidence = "certain"', "tool.evallint.confidence: wants one of 'low', 'medium', 'high', not 'certain'"),
        ("severity = 3", "tool.evallint.severity: wants one of 'note', 'warning', 'error', not 3"),
        ('per-file-ignores = ["x"]', "tool.evallint.per-file-ignores: wants a table"),
        ('per-file-ignores = {"x" = "EVL001"}', "tool.evallint.per-file-ignores: at 'x' wants a list of strings"),
        ("exclude = {}", "tool.evallint.exclude: wants a list of strings"),
        ("select = [", "is not valid TOML"),
    ],
)
def test_mistakes_name_the_file_and_the_key(tmp_path: Path, table: str, said: str) -> None:
    path = _write(tmp_path, f"[tool.evallint]\n{table}\n")
    with pytest.raises(SettingsError) as caught:
        read_settings(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


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
        settings_in.cache_clear()
        _write(tmp_path, f"[tool.evallint]\n{table}\n")
        assert [f.code for f in lint_paths([tmp_path]).findings if f.function == "advance_all"] == found
    (tmp_path / "work.py").write_text(MEASURING)
    for table, found in (("", []), ('evaluation-functions = ["gauge"]', ["EVL002"])):
        settings_in.cache_clear()
        _write(tmp_path, f"[tool.evallint]\n{table}\n")
        assert [f.code for f in lint_paths([tmp_path]).findings] == found


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("libraries = []", "libraries: wants a table of lists of patterns"),
        ('[tool.evallint.libraries]\nmodels-in-evaluation-mode = ["x"]', "did you mean 'models-in-eval-mode'"),
        ('[tool.evallint.libraries]\noptimizers = "x"', "at 'optimizers' wants a list of strings"),
    ],
)
def test_a_wrong_table_of_libraries(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        read_settings(str(_write(tmp_path, f"[tool.evallint]\n{table}\n")))

"""Defaults, yaml and flags: who overrides whom, and what is refused."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from Backtest.errors import SettingsError
from Backtest.settings import (
    CORE_YAML,
    PROJECT_ROOT,
    RANGES,
    CoreSettings,
    build,
    load_core,
    read_mapping,
    resolve,
    with_flags,
)


def write(folder, text, name="core.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_yaml_repeats_every_default_and_nothing_else():
    assert read_mapping(CORE_YAML).keys() == {field.name for field in fields(CoreSettings)}
    assert load_core() == CoreSettings()


def test_flags_override_yaml_and_yaml_overrides_defaults(tmp_path):
    path = write(
        tmp_path, "commission: 0.002\nslippage: 0.003\nallow_modules: [Backtest.data.indicators, mine.factors]\n"
    )
    settings = load_core(path, slippage=0.004, benchmark=None)
    assert (settings.commission, settings.slippage, settings.benchmark) == (0.002, 0.004, "BTCUSDT")
    assert settings.allow_modules == ("Backtest.data.indicators", "mine.factors")
    assert with_flags(settings, commission=0.0, slippage=None) == load_core(path, slippage=0.004, commission=0.0)


def test_json_and_empty_files_are_settings_too(tmp_path):
    assert load_core(write(tmp_path, '{"workers": 3}', "core.json")).workers == 3
    assert load_core(write(tmp_path, "# nothing\n")) == CoreSettings()


def test_a_whole_number_stands_for_a_float(tmp_path):
    assert load_core(write(tmp_path, "initial_cash: 5000\n")).initial_cash == 5000.0


@pytest.mark.parametrize(
    "line, words",
    [
        (
            "comission: 0.1",
            r"'comission' is not a setting; did you mean 'commission' or 'qc_max_missing'\? allowed: data_root, ",
        ),
        ("zzz: 0.1", r"'zzz' is not a setting; allowed: data_root, "),
        ('commission: "0.1"', r"commission is '0\.1'; input should be a valid number"),
        ("commission: true", r"commission is True; input should be a valid number"),
        ("commission: null", r"commission is None; input should be a valid number"),
        ("workers: 1.5", r"workers is 1\.5; input should be a valid integer"),
        ("slippage_capped: 1", r"slippage_capped is 1; input should be a valid boolean"),
        ("last_bar: maybe", r"last_bar is 'maybe'; input should be 'auto', 'drop' or 'keep'"),
        ("allow_modules: os", r"allow_modules is 'os'; input should be a valid tuple"),
        ("allow_modules: [1]", r"allow_modules\.0 is 1; input should be a valid string"),
        ("commission: 0.6", r"commission is 0\.6; allowed is 0 to 0\.5"),
        ("initial_cash: 0", r"initial_cash is 0\.0; allowed is"),
        ("file_pattern: klines", r"file_pattern is 'klines'; it must hold \{symbol\}"),
        ("episode_gap: 3 weeks", r"episode_gap '3 weeks' is not known; write a number and s, m\|min, h, d or w"),
        ("max_gap: 1M", r"max_gap '1M' is not known"),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_line(tmp_path, line, words):
    with pytest.raises(SettingsError, match=words) as caught:
        load_core(write(tmp_path, line + "\n"))
    assert "\n" not in str(caught.value)


def test_the_file_is_named_where_a_value_has_the_wrong_type(tmp_path):
    path = write(tmp_path, "workers: many\n")
    with pytest.raises(SettingsError, match=re.escape(f"{path}: workers is 'many'")):
        load_core(path)


def test_a_list_is_no_settings_file(tmp_path):
    with pytest.raises(SettingsError, match="holds a list; a mapping"):
        load_core(write(tmp_path, "- commission\n"))


@pytest.mark.parametrize("name, low, high", RANGES)
def test_ranges_hold_at_both_ends(name, low, high):
    kind = int if isinstance(getattr(CoreSettings(), name), int) else float
    for bound in (low, high):
        assert getattr(build(CoreSettings, {name: kind(bound)}, "test"), name) == bound or kind is int
    for beyond in (low - 1, high * 2 + 1, float("nan"), float("inf")):
        value = beyond if beyond != beyond or abs(beyond) == float("inf") else kind(beyond)
        with pytest.raises(SettingsError, match=name):
            build(CoreSettings, {name: value}, "test")


def test_build_names_a_missing_field():
    @dataclass(frozen=True)
    class Needy:
        factor: str
        count: int = 3

    assert build(Needy, {"factor": "f"}, "test") == Needy("f", 3)
    with pytest.raises(SettingsError, match="test: factor is missing; field required"):
        build(Needy, {"count": 1}, "test")


def test_relative_paths_of_settings_lie_under_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("DataHub") == PROJECT_ROOT / "DataHub"
    assert resolve("x", Path.cwd()) == tmp_path / "x"
    assert resolve(str(tmp_path)) == tmp_path
    assert resolve("~/x") == Path.home() / "x"


def test_an_unknown_home_folder_is_refused():
    with pytest.raises(SettingsError, match="path '~nobody-of-that-name/x': there is no such home folder"):
        resolve("~nobody-of-that-name/x")


@pytest.mark.skipif(os.name == "nt", reason="Windows paths are text")
def test_a_path_that_is_no_text_is_refused():
    """A folder name in GBK, as an archive made on Windows leaves it; metadata could not name it."""
    with pytest.raises(SettingsError, match=r"path '/data/.udcb1.udcd2' is not UTF-8"):
        resolve(Path(os.fsdecode(b"/data/\xb1\xd2")))

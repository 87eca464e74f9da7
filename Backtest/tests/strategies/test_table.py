"""A strategy from its name, its yaml and --param: typed, checked, and the shipped yaml repeats the defaults."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from Backtest.errors import FactorError, RunError, SettingsError
from Backtest.settings import PROJECT_ROOT, read_mapping
from Backtest.strategies import STRATEGIES, build_strategy

YAML = PROJECT_ROOT / "config" / "strategies"


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_shipped_yaml_repeats_the_defaults(name):
    kind: Any = STRATEGIES[name]
    defaults = {
        field.name: field.default for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING
    }
    shipped = read_mapping(YAML / f"{name}.yaml")
    assert shipped == defaults
    assert {key: type(value) for key, value in shipped.items()} == {key: type(value) for key, value in defaults.items()}
    assert build_strategy(name, {"factor": "x"}, shipped) == kind(factor="x")


def test_every_yaml_belongs_to_a_strategy():
    assert sorted(path.stem for path in Path(YAML).glob("*.yaml")) == sorted(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_documents_every_parameter(name):
    kind: Any = STRATEGIES[name]
    for field in dataclasses.fields(kind):
        assert field.name in (kind.__doc__ or "").split("Attributes")[1], field.name
    assert kind.__dataclass_params__.frozen


def test_params_override_the_yaml():
    built: Any = build_strategy(
        "topk", {"factor": "mfi14", "k": "7", "weighting": "score"}, {"k": 3, "invest": 1, "rebalance": 6}
    )
    assert (built.factor, built.k, built.weighting, built.invest, built.rebalance) == ("mfi14", 7, "score", 1.0, "6")
    assert isinstance(built.invest, float)


def test_texts_become_the_parameter_s_type():
    built: Any = build_strategy(
        "longshort", {"factor": "x", "k": "none", "ascending": "True", "max_weight": "1e-1"}, {"k": 2}
    )
    assert (built.k, built.ascending, built.max_weight) == (None, True, 0.1)
    one_sided: Any = build_strategy("signal", {"factor": "x", "lower": "-inf", "weight": "0.1"}, {})
    assert one_sided.lower == float("-inf")


@pytest.mark.parametrize(
    "name, params, yaml, kind, message",
    [
        (
            "top_k",
            {},
            {},
            RunError,
            "strategy 'top_k' is not known; did you mean 'topk'? allowed: topk, longshort, signal",
        ),
        ("qqq", {}, {}, RunError, "strategy 'qqq' is not known; allowed: topk, longshort, signal"),
        ("topk", {"factor": "x", "qqq": "5"}, {}, SettingsError, "'qqq' is not a parameter; allowed: factor, k"),
        ("topk", {}, {}, RunError, "strategy topk needs factor: --param factor=NAME"),
        ("topk", {"factor": "x", "kk": "5"}, {}, SettingsError, "'kk' is not a parameter; did you mean 'k'"),
        (
            "topk",
            {"factor": "x", "k": "5.5"},
            {},
            SettingsError,
            "--param k=5.5: k is '5.5'; a whole number is allowed",
        ),
        ("topk", {"factor": "x", "k": "none"}, {}, SettingsError, "k is 'none'; a whole number is allowed"),
        ("topk", {"factor": "x", "ascending": "maybe"}, {}, SettingsError, "true or false is allowed"),
        ("longshort", {"factor": "x", "k": "q"}, {}, SettingsError, "k is 'q'; a whole number or none is allowed"),
        ("topk", {"factor": "x"}, {"k": "5"}, SettingsError, "strategy topk: k is '5'; a whole number is allowed"),
        ("topk", {"factor": "x"}, {"k": True}, SettingsError, "k is True"),
        ("topk", {"factor": "x"}, {"invset": 1.0}, SettingsError, "did you mean 'invest'"),
        ("topk", {"factor": "x", "k": "0"}, {}, RunError, "k is 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name, params, yaml, kind, message):
    with pytest.raises(FactorError) as caught:
        build_strategy(name, params, yaml)
    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

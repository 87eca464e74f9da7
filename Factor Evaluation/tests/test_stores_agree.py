"""Reports from the two stores: one and the same, as both are taken in float32; what rounding alone tells apart."""

from __future__ import annotations

import json
import math
import struct
import sys

import numpy as np
import pytest
from factor_evaluation.evaluate import EvaluateRequest, evaluate
from factor_evaluation.parquet_store import ParquetStore
from factor_evaluation.subject import single
from scipy import stats

from Backtest.data.panel import Panel

from .market import computed, core_for, prepared

HORIZONS = ("1", "6")
ANEW = ("1", "3")
FACTORS = (
    "mom = close / shift(close, 3) - 1",
    "calm = ts_std(logret(close, 1), 12) / (ts_std(logret(close, 1), 96) + 0.000001)",
    "burst = where(volume > 2 * ts_mean(volume, 24), 1, 0)",
    "signs = ts_mean(sign(logret(close, 1)), 7)",
)
MEANS = ("ic_mean", "ic_std", "spread_mean")


def test_single_is_what_a_float32_of_the_language_c_holds():
    values = [0.1, 1.0 + 1e-9, -3.0e38, 1e-300, 123456789.0, math.nan, 3.5e38, -1e300]
    ours = single(np.array([values]))[0].tolist()
    for value, found in zip(values[:5], ours[:5], strict=True):
        assert found == struct.unpack("<f", struct.pack("<f", value))[0]
    assert all(map(math.isnan, ours[5:]))


def pytest_generate_tests(metafunc):
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("place", ["made", "real"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def place(request, tmp_path_factory):
    """A run in both stores: (core, plain store, Qlib store)."""
    if sys.version_info >= (3, 13):
        pytest.skip("Qlib has no release for this Python")
    from factor_evaluation.qlib_store import QlibStore

    folder = tmp_path_factory.mktemp("stores")
    if request.param == "made":
        core, bar_freq = core_for(request.getfixturevalue("market"), folder, benchmark="AAAUSDT"), "1h"
        window = {"start": "2022-12-30"}  # two days before the first bar: the stores keep them or not
    else:
        core = core_for(request.getfixturevalue("real_data") / "spot_2h", folder)
        bar_freq, window = "2h", {"start": "2021-03-01", "end": "2021-09-01"}
    layout = prepared(core, bar_freq, horizons=HORIZONS, **window)
    plain, store = ParquetStore(layout), QlibStore(layout)
    store.write_inputs(plain.read_inputs())
    computed(core, layout, *FACTORS, stores=(plain, store))
    return core, plain, store


def documents(core, store, horizons):
    """Evaluate; return factor -> evaluation.json."""
    request = EvaluateRequest(core, ("all",), horizons, quantiles=3, splits=("month", "regime"), cost=0.001, html=False)
    evaluate(request, store)
    paths = store.layout.reports(store.name).glob("*/evaluation.json")
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def flat(value, where=""):
    if isinstance(value, dict):
        return [pair for key, one in value.items() for pair in flat(one, f"{where}/{key}")]
    if isinstance(value, list):
        return [pair for number, one in enumerate(value) for pair in flat(one, f"{where}/{number}")]
    return [(where, value)]


@pytest.mark.xdist_group("qlib")
def test_both_stores_give_the_same_report(place):
    """Not to 1e-6: every number, word and curve of the whole document is one and the same."""
    core, plain, store = place
    ours, theirs = documents(core, plain, HORIZONS), documents(core, store, HORIZONS)
    assert sorted(ours) == sorted(theirs)
    assert {"calm", "mom", "signs"} <= set(ours)
    for factor, document in ours.items():
        assert dict(flat(document)) == dict(flat(theirs[factor]))
        assert len(flat(document["horizons"])) > 50


@pytest.mark.xdist_group("qlib")
def test_returns_that_step_0_did_not_write_are_named(place):
    """A Qlib store computes them from rounded prices."""
    core, plain, store = place
    ours, theirs = documents(core, plain, ANEW), documents(core, store, ANEW)
    for factor, document in theirs.items():
        assert document["notes"][:-1] == ours[factor]["notes"]
        assert document["notes"][-1].startswith("the returns over 3 are not in the store and computed from its prices")
        for name in MEANS:
            assert document["horizons"]["3"][name] == pytest.approx(ours[factor]["horizons"]["3"][name], abs=1e-6)


@pytest.mark.xdist_group("qlib")
def test_rounding_noise_breaks_no_ties(place):
    """The mean of seven signs has at most 15 values; rank ICs are SciPy's with exactly those."""
    core, plain, _ = place
    inputs, factor = plain.read_inputs(), plain.read_factor("signs")
    panel: Panel = inputs.panel
    values = np.rint(factor.aligned(panel) * 7)
    label = inputs.labels["label_1"].astype(np.float32)
    expected = []
    for t in range(len(values)):
        both = np.isfinite(values[t]) & np.isfinite(label[t]) & panel.tradable[t]
        if both.sum() > 2 and np.ptp(values[t][both]) and np.ptp(label[t][both]):
            expected.append(stats.spearmanr(values[t][both], label[t][both]).statistic)
    found = documents(core, plain, HORIZONS)["signs"]["horizons"]["1"]
    assert found["ic_bars"] == len(expected)
    assert found["rank_ic_mean"] == pytest.approx(np.mean(expected), abs=1e-12)

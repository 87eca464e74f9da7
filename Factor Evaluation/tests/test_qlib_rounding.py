"""What float32 does to an evaluation: nothing to the same columns, ties that are counted, seven digits of the rest."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
from factor_evaluation.evaluate import EvaluateRequest, evaluate
from factor_evaluation.labels import label_name
from factor_evaluation.measures.fused import cross_sections
from factor_evaluation.measures.ranked import factor_rows
from factor_evaluation.parquet_store import ParquetStore
from factor_evaluation.qlib_rounding import ROWS, rounding_notes, tied_bars
from factor_evaluation.store import FactorColumns, Inputs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from .market import computed, core_for, prepared

pytestmark = pytest.mark.xdist_group("qlib")
HORIZONS = {"1": 1, "6": 6, "3": 3}
WRITTEN = ("1", "6")
FACTORS = (
    "mom = close / shift(close, 3) - 1",
    "calm = ts_std(logret(close, 1), 12) / (ts_std(logret(close, 1), 96) + 0.000001)",
    "burst = where(volume > 2 * ts_mean(volume, 24), 1, 0)",
)
MEANS = ("ic_mean", "ic_std", "rank_ic_mean", "rank_ic_std", "spread_mean")


def single(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def rounded(values):
    return values.astype(np.float32).astype(np.float64)


def test_bars_with_new_ties_by_hand():
    values = np.array([
        [1.0, 1.0 + 1e-9, 2.0],  # one and the same in seven digits
        [1.0, 1.0, 2.0],  # equal before
        [1.0, 1.0 + 1e-6, 2.0],
        [np.nan, np.nan, 0.1],
        [1e300, 2e300, 1.0],  # beyond float32: missing, not tied
        [0.1, 0.1 + 1e-10, np.inf],
    ])  # fmt: skip
    assert tied_bars(values) == 2
    assert tied_bars(values[:, :1]) == tied_bars(values[:0]) == 0
    assert tied_bars(np.repeat(values[:1], ROWS + 3, axis=0)) == ROWS + 3


NUMBERS = st.floats(-3e38, 3e38, allow_subnormal=False) | st.sampled_from([1.0, 1.0 + 1e-9, 1.0 - 1e-9, 1.0 + 1e-7])


@settings(max_examples=150, derandomize=True, deadline=None)
@given(arrays(np.float64, (4, 5), elements=NUMBERS), arrays(np.float64, (4, 5), elements=NUMBERS))
def test_only_new_ties_change_ranks(factor, label):
    """Rounding never turns two values round: bars without new ties keep rank IC and quantiles to the last bit."""
    pairs = [[(a, b) for a, b in combinations(row, 2) if a != b and single(a) == single(b)] for row in factor.tolist()]
    assert tied_bars(factor) == sum(map(bool, pairs))
    both = [(array, rounded(array)) for array in (factor, label)]
    rows = [factor_rows(array, 2) for array in both[0]]
    for t in range(4):
        if tied_bars(factor[t : t + 1]) == 0:
            assert rows[0].quantile[t].tolist() == rows[1].quantile[t].tolist()
            if tied_bars(label[t : t + 1]) == 0:
                ours, theirs = (
                    cross_sections(
                        both[0][k][t : t + 1], factor_rows(both[0][k][t : t + 1], 2), [both[1][k][t : t + 1]]
                    )
                    for k in (0, 1)
                )
                assert ours[0].rank_ic.tobytes() == theirs[0].rank_ic.tobytes()


def test_the_notes_name_what_differs():
    (over_time,) = rounding_notes(0, {"label_1": 0}, {"1": "label_1"}, cross_section=False)
    assert "two bars of a symbol may have become equal" in over_time
    assert "names" not in over_time
    (same,) = rounding_notes(0, {"label_1": 0}, {"1": "label_1"})
    assert same.endswith("ranks and quantiles are those of the plain store")
    columns = {"1": "label_1", "6h": "label_6", "3": "label_3", "2d": "label_48"}
    ties, anew = rounding_notes(1200, {"label_1": 4, "label_6": 0}, columns)
    assert "equal in 1,200 bars of the factor, 4 bars of the returns over 1, where" in ties
    assert anew.startswith("the returns over 3, 2d are not in the store")


@dataclass(frozen=True)
class Rounded(ParquetStore):
    """The plain store, whose columns are rounded to float32 as they are read."""

    def read_inputs(self, symbols=None, *, verify=True) -> Inputs:
        read = super().read_inputs(symbols, verify=verify)
        panel = replace(read.panel, fields={name: rounded(values) for name, values in read.panel.fields.items()})
        return Inputs(panel, {name: rounded(values) for name, values in read.labels.items()})

    def read_factor(self, name: str) -> FactorColumns:
        factor = super().read_factor(name)
        return replace(factor, values=rounded(factor.values))


def pytest_generate_tests(metafunc):
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("place", ["made", "real"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def place(request, tmp_path_factory):
    """A run in both stores, with the documents of the plain, the rounded and the Qlib-backed evaluation."""
    if sys.version_info >= (3, 13):
        pytest.skip("Qlib has no release for this Python")
    from factor_evaluation.qlib_store import QlibStore

    folder = tmp_path_factory.mktemp("rounding")
    if request.param == "made":
        core, bar_freq = core_for(request.getfixturevalue("market"), folder, benchmark="AAAUSDT"), "1h"
        window = {"start": "2022-12-30"}  # two days before the first bar: the stores keep them or not
    else:
        core = core_for(request.getfixturevalue("real_data") / "spot_2h", folder)
        bar_freq, window = "2h", {"start": "2021-03-01", "end": "2021-09-01"}
    layout = prepared(core, bar_freq, horizons=WRITTEN, **window)
    plain, store = ParquetStore(layout), QlibStore(layout)
    store.write_inputs(plain.read_inputs())
    computed(core, layout, *FACTORS, stores=(plain, store))
    found = {}
    for name, one in (("plain", plain), ("rounded", Rounded(layout)), ("qlib", store)):
        asked = EvaluateRequest(
            core, ("all",), tuple(HORIZONS), quantiles=3, splits=("month", "regime"), cost=0.001, html=False
        )
        evaluate(asked, one)
        pages = layout.reports(one.name)
        found[name] = {
            path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in pages.glob("*/evaluation.json")
        }
    return layout, found


def flat(value, where=""):
    if isinstance(value, dict):
        return [pair for key, one in value.items() for pair in flat(one, f"{where}/{key}")]
    if isinstance(value, list):
        return [pair for number, one in enumerate(value) for pair in flat(one, f"{where}/{number}")]
    return [(where, value)]


def test_the_same_float32_columns_give_the_same_report(place):
    """Not 1e-9: every number, word and curve of the whole document is one and the same."""
    for factor, document in place[1]["qlib"].items():
        ours = {**place[1]["rounded"][factor], "notes": None}
        assert dict(flat({**document, "notes": None})) == dict(flat(ours))
        assert len(flat(document["horizons"])) > 100


def test_float64_differs_by_seven_digits_and_counted_ties(place):
    """Bars without new ties have the plain report's rank IC, bit for bit; new ties move the mean by what they can."""
    layout, found = place
    inputs = ParquetStore(layout).read_inputs()
    for factor, document in found["qlib"].items():
        values = ParquetStore(layout).read_factor(factor).aligned(inputs.panel)
        columns = {key: label_name("open", bars) for key, bars in HORIZONS.items()}
        ties = {key: tied_bars(inputs.labels[columns[key]]) for key in WRITTEN}
        told = rounding_notes(tied_bars(values), {columns[key]: n for key, n in ties.items()}, columns)
        assert document["notes"][-2:] == list(told)
        assert found["plain"][factor]["notes"] == document["notes"][:-2]
        for key in WRITTEN:
            ours, theirs = found["plain"][factor]["horizons"][key], document["horizons"][key]
            assert (ours["rows"], ours["dropped"], ours["ic_bars"]) == (
                theirs["rows"],
                theirs["dropped"],
                theirs["ic_bars"],
            )
            changed = tied_bars(values) + ties[key]
            for name in MEANS:
                # a bar with a new tie moves its rank IC by a half at the very most, three names of which two are equal
                room = 0.5 * changed / ours["ic_bars"] if name.startswith("rank") else 0.0
                assert theirs[name] == pytest.approx(ours[name], rel=0, abs=1e-6 + room), (factor, key, name)
            if not changed:
                assert {name: theirs[name] for name in theirs if name.startswith("rank_ic")} == {
                    name: ours[name] for name in ours if name.startswith("rank_ic")
                }

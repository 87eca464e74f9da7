"""The Qlib store: what Qlib reads is what was written, and every damage is found and named."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factor_evaluation.layout import new_run
from factor_evaluation.parquet_store import ParquetStore
from factor_evaluation.steps import stores_of
from factor_evaluation.store import Inputs

from Backtest.data.panel import Panel
from Backtest.errors import FactorError, NameRefused, RunError
from tests.market import computed, core_for, prepared
from tests.qlib_market import ROWS, market, momentum

pytestmark = pytest.mark.xdist_group("qlib")
if sys.version_info >= (3, 13):
    pytest.skip("Qlib has no release for this Python", allow_module_level=True)

from factor_evaluation.qlib_store import QlibStore  # noqa: E402


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> QlibStore:
    """A store with one factor; tests that change anything take a copy."""
    store = QlibStore(new_run(tmp_path_factory.mktemp("out"), "run1", "4h"))
    inputs = market()
    store.write_inputs(inputs)
    store.write_factor(momentum(inputs), inputs.panel)
    return store


@pytest.fixture
def store(written, tmp_path) -> QlibStore:
    shutil.copytree(written.layout.root, tmp_path / "run1")
    return QlibStore(new_run(tmp_path, "run1", "4h"))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rounded(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def assert_panels_equal(got: Panel, want: Panel) -> None:
    assert (got.first_bar, got.symbols, got.timeframe) == (want.first_bar, want.symbols, want.timeframe)
    for name in ("exists", "tradable", "age"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name), err_msg=name)
    assert list(got.fields) == list(want.fields)
    for name, values in want.fields.items():
        np.testing.assert_array_equal(got.fields[name], rounded(values), err_msg=name)


def test_what_qlib_reads_is_what_was_written_rounded_to_float32(written):
    inputs = market()
    read = written.read_inputs()
    assert_panels_equal(read.panel, inputs.panel)
    assert list(read.labels) == ["label_1", "label_4"]
    for name, values in inputs.labels.items():
        np.testing.assert_array_equal(read.labels[name], rounded(values), err_msg=name)
    np.testing.assert_array_equal(written.read_factor("MOM3").values, rounded(momentum(inputs).values))
    assert written.factor_names() == ("MOM3",)
    assert written.verify() == []


def test_some_symbols_can_be_asked_for(written):
    read = written.read_inputs(["XRPUSDT", "ADAUSDT"])
    assert_panels_equal(read.panel, market().panel.columns(("ADAUSDT", "XRPUSDT")))
    with pytest.raises(RunError, match="symbol 'XPRUSDT' is not in the Qlib store; did you mean 'XRPUSDT'"):
        written.read_inputs(["XPRUSDT"])


def test_a_user_of_qlib_sees_the_columns_the_clock_and_the_episodes(written):
    import qlib
    from qlib.data import D

    inputs = market()
    panel = inputs.panel
    qlib.init(provider_uri=str(written.folder), region="us", kernels=1, logging_level=50)
    try:
        assert list(D.calendar(freq="240min")) == list(panel.timestamp)
        frame = D.features(["XRPUSDT"], ["$close", "Ref($close, 1)", "$label_4", "$MOM3"], freq="240min")
        stamps = frame.loc["XRPUSDT"].index.to_numpy()
        assert (stamps[0], stamps[-1]) == (panel.timestamp[0], panel.timestamp[-1])  # the second episode is open
        for place, values in ((0, panel.fields["close"]), (2, inputs.labels["label_4"]), (3, momentum(inputs).values)):
            np.testing.assert_array_equal(frame.to_numpy()[: ROWS - 5, place], values[: ROWS - 5, 2].astype(np.float32))
        np.testing.assert_array_equal(frame.to_numpy()[1:, 1], frame.to_numpy()[:-1, 0])
        listed = D.list_instruments(D.instruments("all"), freq="240min", as_list=False)
        assert [tuple(map(np.datetime64, span)) for span in listed["XRPUSDT"]] == [
            (panel.timestamp[0], panel.timestamp[19]),
            (panel.timestamp[40], panel.timestamp[54]),
        ]
        members = D.features(D.instruments("all"), ["$close"], freq="240min").loc["XRPUSDT"]
        assert len(members) == 20 + 15
    finally:
        written.read_factor("MOM3")  # points Qlib back at the one frequency that other tests use


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def shift(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(np.float32(np.frombuffer(content[:4], "<f4")[0] + 1).tobytes() + content[4:])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(bytes(content))


def shorten(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def drop_middle(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:20] + lines[21:]))


def move(path: Path) -> None:
    path.write_text(path.read_text().replace("20:00:00", "19:00:00"))


CLOSE, FACTOR = "features/adausdt/close.240min.bin", "features/btcusdt/mom3.240min.bin"
CALENDAR = "calendars/240min.txt"
DAMAGES = [
    (CLOSE, cut, "54 values (220 bytes)", "55 values (224 bytes)"),
    (CLOSE, lambda path: path.write_bytes(path.read_bytes()[:-1]), "54 values (223 bytes)", "55 values (224 bytes)"),
    (CLOSE, lambda path: path.write_bytes(b""), "0 values (0 bytes)", "55 values (224 bytes)"),
    (CLOSE, shift, "begins at calendar row 6", "calendar row 5"),
    (CLOSE, flip, "other values than were written", "SHA-256"),
    (CLOSE, Path.unlink, "the file is missing", "55 values"),
    (FACTOR, cut, "59 values (240 bytes)", "60 values (244 bytes)"),
    (FACTOR, shift, "begins at calendar row 1", "calendar row 0"),
    (CALENDAR, shorten, "59 lines", "60 lines, one for each bar"),
    (CALENDAR, drop_middle, "59 lines", "60 lines, one for each bar"),
    (CALENDAR, move, "other bytes than were written", "SHA-256"),
    ("instruments/all.txt", shorten, "3 lines", "4 lines, one for each listing episode"),
]


@pytest.mark.parametrize("place, damage, found, expected", DAMAGES)
def test_every_damage_is_named_with_what_was_found_and_expected(
    store: QlibStore, place: str, damage: Callable[[Path], object], found: str, expected: str
):
    path = store.folder / place
    damage(path)
    (difference,) = store.verify()
    assert difference.where == str(path)
    assert found in difference.found
    assert expected in difference.expected
    read = (lambda: store.read_factor("MOM3")) if place == FACTOR else store.read_inputs
    with pytest.raises(RunError, match=r"run step0_prepare_inputs_qlib_01\.py"):
        read()


@pytest.mark.parametrize(
    "place, damage", [(CALENDAR, shorten), (CALENDAR, Path.unlink), ("instruments/all.txt", shorten)]
)
def test_no_factor_is_written_beside_a_damaged_calendar(store, place, damage):
    """Step 3 asks before it computes: it writes into both stores, or into none."""
    store.require_writable()
    damage(store.folder / place)
    with pytest.raises(RunError, match=r" lines.*; run step0_prepare_inputs_qlib_01\.py"):
        stores_of(store.layout)


def test_unverified_reading_gives_what_qlib_makes_of_a_short_bin(store):
    cut(store.folder / CLOSE)
    read = store.read_inputs(verify=False).panel.fields["close"]
    want = rounded(market().panel.fields["close"])
    want[-1, 0] = np.nan
    np.testing.assert_array_equal(read, want)


def test_equal_inputs_make_equal_bytes(written, tmp_path):
    again = QlibStore(new_run(tmp_path, "other", "4h"))
    again.write_inputs(market())
    again.write_factor(momentum(market()), market().panel)
    assert tree(again.folder) == tree(written.folder)


def test_a_killed_rewrite_leaves_the_old_store_or_none_and_the_next_gives_the_same_bytes(store, monkeypatch):
    import os

    before = tree(store.folder)
    for stop_at in (1, 7, 2 + 3 * 7 + 1):  # two text files, three symbols of seven columns, the manifest
        count = 0

        def stop(_handle: int, stop_at: int = stop_at) -> None:
            nonlocal count
            count += 1
            if count == stop_at:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", stop)
            with pytest.raises(KeyboardInterrupt):
                store.write_inputs(market())
        assert tree(store.folder) == before
    remove = shutil.rmtree

    def stop_removing(path: Path, ignore_errors: bool = False) -> None:
        if path.name != "4h":
            return remove(path, ignore_errors)
        (path / "calendars" / "240min.txt").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stop_removing)
        with pytest.raises(KeyboardInterrupt):
            store.write_inputs(market())
    assert not store.exists()
    with pytest.raises(RunError, match=r"the Qlib store of run run1 is missing .* run step0_prepare_inputs_qlib_01.py"):
        store.read_inputs()
    store.write_inputs(market())
    store.write_factor(momentum(market()), market().panel)
    assert tree(store.folder) == before
    assert [path.name for path in store.folder.parent.iterdir()] == ["4h"]


def test_a_killed_factor_is_not_there_and_the_next_write_gives_the_same_bytes(store, monkeypatch):
    import os

    before = tree(store.folder)
    real = os.replace
    calls: list[object] = []

    def stop(source, target) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            store.write_factor(momentum(market()), market().panel)
    assert store.factor_names() == ()
    store.write_factor(momentum(market()), market().panel)
    assert tree(store.folder) == before


def test_a_factor_of_a_wider_window_is_kept_inside_the_stores_clock(store, caplog):
    wide = market(first_bar=110_000 - 10)
    factor = momentum(wide, "WIDE")
    with caplog.at_level("WARNING", "factor_automation"):
        store.write_factor(factor, wide.panel)
    assert "factor WIDE: 10 bars are not in the inputs" in caplog.text
    read = store.read_factor("WIDE")
    assert read.first_bar == 110_000
    np.testing.assert_array_equal(read.values[:, 1], rounded(factor.values)[10:, 1])
    assert len(read.values) == 50
    assert store.verify() == []


def test_factors_of_the_plain_store_come_along_and_a_new_one_makes_the_old_stale(tmp_path):
    layout = new_run(tmp_path, "run2", "4h")
    inputs = market()
    plain, store = ParquetStore(layout), QlibStore(layout)
    plain.write_inputs(inputs)
    plain.write_factor(momentum(inputs), inputs.panel)
    store.write_inputs(inputs)
    copied = tree(store.folder)
    store.write_factor(momentum(inputs), inputs.panel)
    assert tree(store.folder) == copied
    plain.write_factor(replace(momentum(inputs), facts={"expression": "another"}), inputs.panel)
    with pytest.raises(RunError, match=r"'MOM3' in .* is not the one of step3_factor_engine_04.py; run step0"):
        store.read_factor("MOM3")
    assert store.copy_factors(inputs.panel) == ["MOM3"]
    assert store.copy_factors(inputs.panel) == []
    read = store.read_factor("MOM3")
    np.testing.assert_array_equal(read.values, rounded(momentum(inputs).values))
    assert read.facts["expression"] == "another"


def test_step_3_writes_into_the_store_what_a_later_copy_would(tmp_path, request):
    """The window begins two days before the first bar of any symbol."""
    core = core_for(request.getfixturevalue("market"), tmp_path)
    layout = prepared(core, "1h", horizons=("1",), start="2022-12-30", end="2023-01-20")
    plain, store = ParquetStore(layout), QlibStore(layout)
    store.write_inputs(plain.read_inputs())
    computed(core, layout, "MOM3 = close / shift(close, 3) - 1", stores=(plain, store))
    written = tree(store.folder)
    store.write_inputs(plain.read_inputs())
    assert tree(store.folder) == written


def test_a_factor_of_a_shorter_window_is_read_back_with_it(store):
    inputs = market()
    factor = momentum(inputs)
    part = replace(factor, name="PART", first_bar=factor.first_bar + 4, values=factor.values[4:30])
    store.write_factor(part, inputs.panel.rows(4, 30))
    read = store.read_factor("PART")
    assert read.first_bar == part.first_bar
    np.testing.assert_array_equal(read.values, rounded(part.values))


def test_a_factor_of_some_symbols_is_read_back_with_them(store):
    panel = market().panel.columns(("BTCUSDT",))
    store.write_factor(momentum(Inputs(panel, {}), "ONE"), panel)
    assert store.read_factor("ONE").symbols == ("BTCUSDT",)


@pytest.mark.parametrize(
    "name, words",
    [("close", "has such a column"), ("Label_4", "has such a column"), ("a.b", "letters, digits and _"),
     ("mom3", "'MOM3' and 'mom3' differ in case only")],
)  # fmt: skip
def test_a_factor_that_would_take_another_columns_file_is_refused(store, name, words):
    with pytest.raises((RunError, NameRefused), match=words):
        store.write_factor(momentum(market(), name), market().panel)


def test_a_missing_store_and_a_missing_factor_name_the_step(written, tmp_path):
    empty = QlibStore(new_run(tmp_path, "run1", "4h"))
    assert not empty.exists()
    assert empty.factor_names() == ()
    with pytest.raises(RunError, match=r"run step0_prepare_inputs_qlib_01.py"):
        empty.verify()
    with pytest.raises(RunError, match=r"factor 'MOM4' is not in the Qlib store .*did you mean 'MOM3'"):
        written.read_factor("MOM4")


def test_a_store_of_earlier_inputs_is_noticed(store):
    store.layout.store_index.parent.mkdir(parents=True)
    store.layout.store_index.write_text("{}")
    with pytest.raises(RunError, match="made from other inputs"):
        store.read_inputs()


def test_a_damaged_manifest_is_one_line(store):
    for text in ("{", "[]", '{"version": 1}', '{"version": 2}'):
        (store.folder / "store.json").write_text(text)
        words = r"is of version 1, not 2; run step0_prepare_inputs_qlib_01\.py again" if "1" in text else "is damaged"
        with pytest.raises(FactorError, match=words) as caught:
            store.verify()
        assert "\n" not in str(caught.value)


def test_one_bar_and_days_are_kept_too(tmp_path):
    inputs = market("1d", first_bar=20_000)
    panel = inputs.panel.rows(0, 1)
    store = QlibStore(new_run(tmp_path, "days", "1d"))
    store.write_inputs(Inputs(panel, {name: values[:1] for name, values in inputs.labels.items()}))
    assert (store.folder / "calendars" / "day.txt").exists()
    assert_panels_equal(store.read_inputs().panel, replace(panel, age=np.where(panel.exists, panel.age, 0)))
    assert store.verify() == []


def test_without_qlib_the_error_is_one_line(monkeypatch, written):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RunError, match="Qlib is not installed") as caught:
        written.read_inputs()
    assert "\n" not in str(caught.value)


def test_notices_of_qlib_stay_off_both_streams(written, capfd):
    written.read_factor("MOM3")
    assert capfd.readouterr() == ("", "")

"""The store: what is written reads back to the bit, and whatever is not what was written is refused."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from Backtest import files
from Backtest.data import hub as hub_module
from Backtest.data.hub import Hub, require_recipe, sealed
from Backtest.data.hub_file import FileDamaged, FileFacts, SymbolValues, clear_overflow, read_symbol_file
from Backtest.data.hub_journal import Block, Record, Source
from Backtest.data.hub_write import check_target, open_build
from Backtest.data.hub_writer import ROW_GROUP, SymbolWriter, write_symbol_file
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import HubError, NameRefused

HOUR = parse_timeframe("1h")
FIRST = HOUR.index(int(pd.Timestamp("2024-01-01").value))
OTHER_NAN = np.array([0x7FF8_0000_DEAD_BEEF], np.uint64).view(np.float64)[0]
FACTORS = ("mom", "mfi")


def values(rows: int = 50, *, offset: int = 0, seed: int = 1) -> SymbolValues:
    rng = np.random.default_rng(seed)
    factors = {name: rng.normal(size=rows) for name in FACTORS}
    factors["mom"][:5] = np.nan
    return SymbolValues(FIRST + offset, factors, rng.uniform(size=rows) > 0.1)


def publish(root: Path, parts: dict[str, SymbolValues], *, seed: int = 1, overwrite: bool = False) -> Hub:
    """Write a factor set as Stage A does, with the metadata that readers need."""
    hub = Hub(root)
    with open_build(
        hub, HOUR, "one", manifest={"seed": seed}, symbols=parts, overwrite=overwrite, write=lambda line: None
    ) as build:
        records, temporary = [], {}
        for symbol, part in sorted(parts.items()):
            temporary[symbol] = build.partial / f"{symbol}.parquet.1{files.TEMPORARY}"
            facts = write_symbol_file(temporary[symbol], part, timeframe=HOUR)
            source = Source(__file__, os.path.getsize(__file__), 0, files.sha256(Path(__file__)), "keep")
            records.append(
                Record(symbol, facts.sha256, facts.rows, facts.start, facts.end, {symbol: source}, 50, "", "", {})
            )
        build.accept(Block(tuple(records), {}), temporary)
        build.publish(metadata_of(records, seed), keep_journal=False)
    return hub


def metadata_of(records: list[Record], seed: int) -> dict:
    return {
        "factor_set": "one", "timeframe": "1h", "data_root": "/nowhere", "start": records[0].start,
        "end": records[0].end, "symbols": [record.symbol for record in records],
        "rows": sum(record.rows for record in records), "factors": {name: {} for name in FACTORS},
        "dsl_sha1": files.text_sha1(b"recipe\n"),
        "files": {
            record.symbol: {
                "path": f"factors/1h/one/{record.symbol}.parquet", "sha256": record.sha256, "rows": record.rows,
                "start": record.start, "end": record.end, "source_sha256": "",
            }
            for record in records
        },
        "qc": {}, "refused": {}, "synthetic": True, "software": {}, "created_at": files.utc_now(), "seed": seed,
    }  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return publish(tmp_path / "hub", {"AAA": values(), "BBB": values(30, offset=10, seed=2)})


def file_of(hub: Hub, symbol: str = "AAA") -> Path:
    return hub.set_folder(HOUR, "one") / f"{symbol}.parquet"


# --- what is written ---------------------------------------------------------------------------------------------


def test_a_file_as_others_read_it(hub):
    frame = pd.read_parquet(file_of(hub))
    assert list(frame.columns) == ["timestamp", "mom", "mfi", "tradable_flag"]
    assert str(frame["timestamp"].dtype) == "datetime64[ns, UTC]"
    assert frame["timestamp"].iloc[0] == pd.Timestamp("2024-01-01", tz="UTC")
    assert (frame["timestamp"].diff().dropna() == pd.Timedelta(hours=1)).all()
    assert frame["tradable_flag"].dtype == bool
    np.testing.assert_array_equal(frame["mom"].to_numpy(), values().factors["mom"])


def test_missing_is_one_nan_and_never_null(tmp_path):
    odd = values()
    odd.factors["mfi"][:3] = [OTHER_NAN, -np.nan, np.nan]
    write_symbol_file(tmp_path / "x.parquet", odd, timeframe=HOUR)
    table = pq.read_table(tmp_path / "x.parquet")
    assert [column.null_count for column in table.columns] == [0, 0, 0, 0]
    missing = table["mfi"].to_numpy()[:3].view(np.uint64)
    assert set(missing.tolist()) == {int(np.array([np.nan]).view(np.uint64)[0])}


def test_bytes_follow_from_the_values_alone(tmp_path):
    odd = values()
    odd.factors["mom"][:5] = OTHER_NAN
    facts = [write_symbol_file(tmp_path / name, part, timeframe=HOUR) for name, part in (("a", values()), ("b", odd))]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert facts[0] == facts[1]
    assert facts[0].sha256 == files.sha256(tmp_path / "a")


def test_no_metadata_of_pandas_and_row_groups_at_fixed_places_of_the_clock(tmp_path):
    rows = 2 * ROW_GROUP + 1000
    write_symbol_file(tmp_path / "x", values(rows), timeframe=HOUR)
    file = pq.ParquetFile(tmp_path / "x")
    assert file.schema_arrow.metadata is None
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert sum(sizes) == rows
    ends = FIRST + np.cumsum(sizes)
    assert (ends[:-1] % ROW_GROUP == 0).all()
    assert max(sizes) == ROW_GROUP


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_pieces_of_writing_leave_no_trace(tmp_path, dtype):
    whole = values(3 * ROW_GROUP)
    facts = write_symbol_file(tmp_path / "whole", whole, timeframe=HOUR, dtype=dtype)
    for number, cuts in enumerate(([1], [5, 6, 7], [ROW_GROUP], [100, 2 * ROW_GROUP + 3])):
        writer = SymbolWriter(tmp_path / str(number), timeframe=HOUR, factors=dict.fromkeys(FACTORS, dtype))
        for begin, end in pairwise([0, *cuts, 3 * ROW_GROUP]):
            part = {name: array[begin:end] for name, array in whole.factors.items()}
            writer.write(SymbolValues(FIRST + begin, part, whole.tradable[begin:end]))
        assert writer.finish() == facts
        assert (tmp_path / str(number)).read_bytes() == (tmp_path / "whole").read_bytes()


def test_pieces_must_follow_each_other(tmp_path):
    writer = SymbolWriter(tmp_path / "x", timeframe=HOUR, factors=dict.fromkeys(FACTORS, "float64"))
    writer.write(values(10))
    with pytest.raises(ValueError, match="cannot follow"):
        writer.write(values(10, offset=11))


def test_a_file_that_is_given_up_is_gone_and_writes_nothing_more(tmp_path):
    writer = SymbolWriter(tmp_path / "x", timeframe=HOUR, factors=dict.fromkeys(FACTORS, "float64"))
    writer.write(values(2 * ROW_GROUP))
    assert (tmp_path / "x").exists()
    writer.abort()
    assert not (tmp_path / "x").exists()


def test_float32_is_read_back_rounded_to_nearest(tmp_path):
    exact = np.array([0.1, 16_777_217.0, -1 / 3, 1e-46, 3.4028235e38, np.nan, 1e-40])
    part = SymbolValues(FIRST, {"mom": exact}, np.ones(7, np.bool_))
    facts = write_symbol_file(tmp_path / "x", part, timeframe=HOUR, dtype="float32")
    assert pq.read_schema(tmp_path / "x").field("mom").type == pa.float32()
    found = read_symbol_file(tmp_path / "x", facts, timeframe=HOUR, columns={"mom": "float32"}, wanted=("mom",))
    # IEEE 754 by hand: 24 bits of 0.1 and 1/3; 2**24 + 1 lies midway and goes to the even 2**24; 1e-46 is below half
    # the smallest number 2**-149, 1e-40 is 71362 of them
    rounded = [13_421_773 * 2.0**-27, 2.0**24, -11_184_811 * 2.0**-25, 0.0, (2 - 2.0**-23) * 2.0**127, np.nan]
    np.testing.assert_array_equal(found.factors["mom"], [*rounded, 71_362 * 2.0**-149])
    assert found.factors["mom"].dtype == np.float64


def test_what_float32_cannot_hold_becomes_missing_and_is_counted():
    limit = (2 - 2.0**-23) * 2.0**127  # its largest number; half a step above it rounding goes to infinity
    edge = limit + 2.0**103
    array = np.array([limit, np.nextafter(edge, 0), edge, -1e300, np.nan, 0.0])
    kept = array.copy()
    assert clear_overflow(kept, "float64") == 0
    np.testing.assert_array_equal(kept, array)
    assert clear_overflow(kept, "float32") == 2
    np.testing.assert_array_equal(np.isnan(kept), [False, False, True, True, True, False])
    assert np.isfinite(kept[:2].astype(np.float32)).all()


def test_another_type_than_the_metadata_say_is_refused(tmp_path):
    facts = write_symbol_file(tmp_path / "x", values(), timeframe=HOUR, dtype="float32")
    with pytest.raises(FileDamaged, match=r"mom float, .* metadata says others"):
        read_symbol_file(
            tmp_path / "x", facts, timeframe=HOUR, columns=dict.fromkeys(FACTORS, "float64"), wanted=FACTORS
        )


def test_two_symbols_on_one_clock(hub):
    found = hub.read(HOUR, "one")
    assert found.symbols == ("AAA", "BBB")
    assert found.first_bar == FIRST
    assert found.factors["mom"].shape == (50, 2)
    np.testing.assert_array_equal(found.factors["mfi"][10:40, 1], values(30, seed=2).factors["mfi"])
    assert np.isnan(found.factors["mfi"][:10, 1]).all()
    assert not found.tradable[40:, 1].any()


def test_some_symbols_and_factors(hub):
    found = hub.read(HOUR, "one", symbols=["BBB"], factors=["mfi"])
    assert found.symbols == ("BBB",)
    assert list(found.factors) == ["mfi"]
    assert found.first_bar == FIRST + 10


def test_lists(hub):
    assert hub.list_factor_sets(HOUR) == ("one",)
    assert hub.list_symbols(HOUR, "one") == ("AAA", "BBB")
    assert hub.list_factor_sets(parse_timeframe("2h")) == ()


# --- FAULTS 21 and 22: damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-100] + bytes(100),
        lambda content: b"timestamp,mom\n1,2\n",
        lambda content: b"",
        lambda content: content + content,
    ],
    ids=["truncated", "zero tail", "not parquet", "empty", "twice"],
)
def test_21_a_damaged_file_is_refused_at_once(hub, damage):
    path = file_of(hub)
    path.write_bytes(damage(path.read_bytes()))
    begin = time.monotonic()
    with pytest.raises(HubError, match=r"AAA\.parquet.*--overwrite"):
        hub.read(HOUR, "one")
    assert time.monotonic() - begin < 1


def test_21_an_absent_file(hub):
    file_of(hub).unlink()
    with pytest.raises(HubError, match=r"AAA\.parquet: cannot be read"):
        hub.read(HOUR, "one")


def test_22_every_bit_flip_is_caught(hub, long_run):
    path = file_of(hub)
    good = path.read_bytes()
    rng = np.random.default_rng(5)
    for place in rng.integers(0, 8 * len(good), 2000 if long_run else 200).tolist():
        bad = bytearray(good)
        bad[place // 8] ^= 1 << place % 8
        path.write_bytes(bad)
        with pytest.raises(HubError):
            hub.read(HOUR, "one")


def test_22_page_checksums_catch_what_a_forged_hash_lets_through(tmp_path):
    path = tmp_path / "x.parquet"
    facts = write_symbol_file(path, values(5000), timeframe=HOUR)
    good = path.read_bytes()
    rng = np.random.default_rng(6)
    caught = 0
    for place in rng.integers(0, 8 * len(good), 100).tolist():
        bad = bytearray(good)
        bad[place // 8] ^= 1 << place % 8
        path.write_bytes(bad)
        forged = FileFacts(files.sha256(path), facts.rows, facts.start, facts.end)
        try:
            found = read_symbol_file(
                path, forged, timeframe=HOUR, columns=dict.fromkeys(FACTORS, "float64"), wanted=FACTORS
            )
        except FileDamaged:
            caught += 1
        else:
            for name in FACTORS:
                np.testing.assert_array_equal(found.factors[name], values(5000).factors[name])
    assert caught > 90


# --- FAULTS 23 and 24: metadata that does not fit ----------------------------------------------------------------


def edit(hub: Hub, change) -> None:
    path = hub.metadata_path(HOUR, "one")
    metadata = json.loads(path.read_text(encoding="utf-8"))
    change(metadata)
    path.write_text(json.dumps(sealed(metadata)), encoding="utf-8")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda m: m["files"]["AAA"].update(rows=49), "50 rows, the metadata says 49"),
        (lambda m: m["files"]["AAA"].update(end="2024-01-09T00:00:00Z"), "the metadata says"),
        (lambda m: m["factors"].update(extra={}), "columns"),
        (lambda m: m["files"]["AAA"].update(sha256="0" * 64), "SHA-256 differs"),
        (lambda m: m.update(factors={"mfi": {}, "mom": {}}), "columns"),
        (lambda m: m.update(timeframe="2h"), "clock"),
        (lambda m: m.update(symbols=["AAA"]), "name different symbols"),
        (lambda m: m.pop("dsl_sha1"), "dsl_sha1"),
        (lambda m: m["files"]["AAA"].pop("rows"), r"files\.AAA\.rows"),
        (lambda m: m["files"].update(AAA=3), r"files\.AAA"),
    ],
)
def test_23_metadata_that_says_something_else_than_the_file(hub, change, words):
    edit(hub, change)
    with pytest.raises(HubError, match=words):
        hub.read(HOUR, "one")


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "[" * 100_000, "\x00"])
def test_23_metadata_that_is_no_metadata(hub, text):
    hub.metadata_path(HOUR, "one").write_text(text, encoding="utf-8")
    with pytest.raises(HubError, match="--overwrite"):
        hub.read(HOUR, "one")


@pytest.mark.parametrize(
    "change", [lambda m: m.update(data_root="/else"), lambda m: m["factors"]["mom"].update(lookback_bars=3)]
)
def test_23_metadata_that_were_edited(hub, change):
    """Nothing else in the hub says what these were: the metadata's own hash does."""
    path = hub.metadata_path(HOUR, "one")
    metadata = json.loads(path.read_text(encoding="utf-8"))
    assert metadata["metadata_sha256"] == reference_seal(metadata)
    change(metadata)
    path.write_text(json.dumps(metadata), encoding="utf-8")
    with pytest.raises(HubError, match=r"one\.json: was changed after Stage A wrote it .*--overwrite"):
        hub.read_metadata(HOUR, "one")


def reference_seal(metadata: dict) -> str:
    rest = {key: metadata[key] for key in sorted(metadata) if key != "metadata_sha256"}
    return hashlib.sha256(json.dumps(rest, separators=(",", ":"), sort_keys=True).encode("ascii")).hexdigest()


def test_a_folder_that_holds_a_lock_only_keeps_no_label(tmp_path):
    """What a failed run with ``--timeframe 2H`` leaves must not decide how later runs spell two hours."""
    hub, long, short = Hub(tmp_path), parse_timeframe("2H"), parse_timeframe("2h")
    lock = hub.lock_path(long, "one")
    lock.parent.mkdir(parents=True)
    lock.write_bytes(b"")
    check_target(hub, short, "one")
    (lock.parent / "one.partial").mkdir()
    with pytest.raises(HubError, match="type --timeframe 2H in place of --timeframe 2h"):
        check_target(hub, short, "one")


def test_23_another_recipe(hub, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(b"recipe\r\n")  # CRLF is the same recipe
    require_recipe(hub.read_metadata(HOUR, "one"), recipe)
    recipe.write_bytes(b"other\n")
    with pytest.raises(HubError, match="made from another recipe"):
        require_recipe(hub.read_metadata(HOUR, "one"), recipe)


def test_24_files_of_two_generations(hub, tmp_path):
    other = publish(tmp_path / "other", {"AAA": values(seed=9), "BBB": values(30, offset=10, seed=2)})
    file_of(hub).write_bytes(file_of(other).read_bytes())
    with pytest.raises(HubError, match=r"AAA\.parquet.*of another run"):
        hub.read(HOUR, "one")


def test_24_a_reader_waits_for_a_writer_then_refuses(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "RETRY_SECONDS", 0.3)
    file_of(hub).write_bytes(b"in between")
    hub.partial_folder(HOUR, "one").mkdir()
    begin = time.monotonic()
    with pytest.raises(HubError, match="SHA-256 differs"):
        hub.read(HOUR, "one")
    assert 0.3 <= time.monotonic() - begin < 2


def test_30_a_reader_sees_one_generation_only(tmp_path):
    root = tmp_path / "hub"
    symbols = [f"S{number}" for number in range(8)]
    publish(root, {symbol: values(seed=0) for symbol in symbols}, seed=0)
    over = threading.Event()

    def write() -> None:
        for seed in range(1, 15):
            publish(root, {symbol: values(seed=seed) for symbol in symbols}, seed=seed, overwrite=True)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not over.is_set() or 14 not in seen:
        found = Hub(root).read(HOUR, "one")
        seed = found.metadata["seed"]
        seen.add(seed)
        expected = values(seed=seed).factors["mfi"]
        np.testing.assert_array_equal(found.factors["mfi"], np.repeat(expected[:, None], len(symbols), axis=1))
    writer.join()
    assert len(seen) > 1


# --- names, labels, what is there --------------------------------------------------------------------------------

BAD_NAMES = ["", "../x", "/etc/passwd", "a/b", "a\\b", "a\nb", "a\0b", "CON", "con.x", "x" * 300, "..", ".x", "é", "x."]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_43_names_that_lead_elsewhere(tmp_path, name):
    hub = Hub(tmp_path)
    for ask in (hub.read_metadata, hub.read, hub.set_folder):
        with pytest.raises(NameRefused):
            ask(HOUR, name)
    with pytest.raises(NameRefused):
        check_target(hub, HOUR, name)


def test_43_names_of_unfinished_sets_and_case_clashes(hub):
    with pytest.raises(NameRefused, match="unfinished"):
        check_target(hub, HOUR, "two.partial")
    with pytest.raises(NameRefused, match="case"):
        check_target(hub, HOUR, "ONE")


def test_43_metadata_cannot_send_a_reader_outside(hub):
    edit(hub, lambda m: m["files"]["AAA"].update(path="../../secret.parquet"))
    with pytest.raises(NameRefused, match="outside"):
        hub.read(HOUR, "one")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_43_a_link_out_of_the_hub_is_not_followed(hub, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (hub.root / "factors" / "1h" / "two").symlink_to(elsewhere)
    with pytest.raises(NameRefused, match="outside"):
        hub.set_folder(HOUR, "two")


def test_two_labels_of_one_timeframe(hub):
    minutes = parse_timeframe("60min")
    assert hub.read(minutes, "one").symbols == ("AAA", "BBB")
    with pytest.raises(HubError, match="second label"):
        check_target(hub, minutes, "two")


def test_a_set_that_is_not_there(hub):
    with pytest.raises(HubError, match="did you mean 'one'"):
        hub.read(HOUR, "onee")
    with pytest.raises(HubError, match="has one"):
        hub.read(HOUR, "nothing_like_it")
    with pytest.raises(HubError, match="has none of 2h"):
        hub.read(parse_timeframe("2h"), "one")


def test_a_set_that_is_not_finished(tmp_path):
    hub = Hub(tmp_path)
    hub.partial_folder(HOUR, "one").mkdir(parents=True)
    with pytest.raises(HubError, match="not finished"):
        hub.read(HOUR, "one")


def test_unknown_symbols_and_factors(hub):
    with pytest.raises(HubError, match="'AAB' is no symbol of factor set 'one'; did you mean 'AAA'"):
        hub.read(HOUR, "one", symbols=["AAB"])
    with pytest.raises(HubError, match="'mfi14' is no factor"):
        hub.read(HOUR, "one", factors=["mfi14"])


def test_44_nothing_is_unpickled(hub):
    """A Parquet file may carry pickled objects; ours are refused by hash, columns and types."""
    path = file_of(hub)
    pq.write_table(pa.table({"timestamp": pa.array([b"\x80\x04N."])}), path)
    edit(hub, lambda m: m["files"]["AAA"].update(sha256=files.sha256(path)))
    with pytest.raises(HubError, match="columns"):
        hub.read(HOUR, "one")

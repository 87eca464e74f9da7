"""Stage A: what it writes, what decides a byte of it, what it takes over, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Backtest.data.hub import Hub
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import DataError, ExpressionError, FactorError, HubError, RecipeError, SettingsError
from Backtest.prepare import prepare
from Backtest.settings import PROJECT_ROOT
from Backtest.stage_a import run as stage_run

from .market import (
    BARS,
    CROSS_RECIPE,
    GAP,
    LISTED,
    RECIPE,
    SYMBOLS,
    InlinePool,
    arguments,
    digests,
    frame_of,
    klines,
    metadata_of,
    run,
    settings,
    timeless,
    write_klines,
    write_market,
)  # fmt: skip

HOUR = parse_timeframe("1h")
MFI_ONLY = "factors:\n  - {name: mfi, type: library_function, source: 'Backtest.data.indicators:money_flow_index'}\n"


# --- what is written ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(market, tmp_path_factory):
    """The command, run once with two processes; its summary and its hub."""
    hub = tmp_path_factory.mktemp("done") / "hub"
    finished = run(arguments(market, hub, recipe=CROSS_RECIPE))
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout), hub


def test_summary(done):
    summary, hub = done
    assert summary["status"] == "ok"
    assert summary["symbols"] == list(SYMBOLS)
    assert summary["refused"] == {}
    assert summary["factors"] == ["mom", "smooth", "money", "order"]
    assert summary["rows"] == 5 * BARS + BARS - LISTED["EEEUSDT"]
    assert Path(summary["metadata_path"]) == hub / "metadata" / "1h" / "one.json"
    assert {finding["kind"] for finding in summary["qc"]["BBBUSDT"]} >= {"gaps", "zero_volume"}


def test_seconds_add_up_to_the_total(done):
    seconds = done[0]["seconds"]
    parts = [seconds[part] for part in ("load", "read", "compute", "write")]
    assert all(part >= 0 for part in parts)
    assert sum(parts) == pytest.approx(seconds["total"], rel=0.05)


def test_metadata_keys(done):
    metadata = metadata_of(done[1])
    asked = """factor_set timeframe data_root start end symbols rows factors dsl_sha1 files qc refused synthetic
               software created_at""".split()
    assert set(asked) <= set(metadata)
    assert set("params lookback_bars missing_ratio missing_ratio_by_symbol dtype expression".split()) <= set(
        metadata["factors"]["mom"]
    )
    assert "source" in metadata["factors"]["money"]
    assert set("path sha256 rows start end source_sha256".split()) <= set(metadata["files"]["AAAUSDT"])
    assert metadata["factors"]["mom"]["lookback_bars"] == 24
    assert metadata["factors"]["smooth"]["lookback_bars"] is None
    assert metadata["synthetic"] is False
    assert metadata["start"] == "2023-01-01T00:00:00Z"
    assert metadata["end"] == "2023-03-04T12:00:00Z"


def test_the_reader_accepts_it(done):
    found = Hub(done[1]).read(HOUR, "one")
    assert found.factors["order"].shape == (BARS, len(SYMBOLS))
    assert found.tradable.sum() > 0.9 * found.tradable.size / 2


def test_rows_run_from_the_first_to_the_last_bar_with_gaps_as_missing(done):
    frame = frame_of(done[1], "BBBUSDT")
    assert len(frame) == BARS
    begin, after = GAP["BBBUSDT"]
    assert frame.iloc[begin:after].drop(columns="tradable_flag").isna().all().all()
    assert not frame["tradable_flag"].iloc[begin:after].any()
    assert len(frame_of(done[1], "EEEUSDT")) == BARS - LISTED["EEEUSDT"]


def test_a_factor_against_pandas(done):
    rows = klines("AAAUSDT")
    close = pd.Series([float(row[4]) for row in rows])
    expected = (close / close.shift(24) - 1).to_numpy()
    np.testing.assert_allclose(frame_of(done[1], "AAAUSDT")["mom"].to_numpy(), expected, rtol=1e-12)


def test_missing_ratio_counts_own_bars(done):
    by_symbol = metadata_of(done[1])["factors"]["mom"]["missing_ratio_by_symbol"]
    assert by_symbol["AAAUSDT"] == 24 / BARS
    assert by_symbol["EEEUSDT"] == 24 / (BARS - LISTED["EEEUSDT"])
    gap = GAP["BBBUSDT"][1] - GAP["BBBUSDT"][0]
    # 24 at the start, and as many bars as the gap had, 24 bars later
    assert by_symbol["BBBUSDT"] == (24 + gap) / (BARS - gap)
    total = metadata_of(done[1])["factors"]["mom"]["missing_ratio"]
    assert total == (6 * 24 + gap) / (5 * BARS - gap + BARS - LISTED["EEEUSDT"])


def test_start_keeps_what_the_history_before_it_gives(market, tmp_path, inline):
    prepare(settings(market, tmp_path, symbols=("AAAUSDT",), start="2023-01-20"))
    assert metadata_of(tmp_path)["factors"]["mom"]["missing_ratio"] == 0.0
    assert metadata_of(tmp_path)["start"] == "2023-01-20T00:00:00Z"


def test_data_that_do_not_reach_as_far_as_asked_are_told(market, tmp_path, inline):
    prepare(settings(market, tmp_path, symbols=("AAAUSDT",), start="2022-06-01", end="2024-01-01"))
    assert metadata_of(tmp_path)["start"] == "2023-01-01T00:00:00Z"
    (log,) = (tmp_path / "logs").glob("prepare_*.log")
    text = log.read_text(encoding="utf-8")
    assert "WARNING asked from 2022-06-01T00:00:00Z, the data begin 2023-01-01T00:00:00Z" in text
    assert "WARNING asked until 2024-01-01T00:00:00Z, the data end 2023-03-04T12:00:00Z" in text


def test_log_file(done):
    (log,) = (done[1] / "logs").glob("prepare_one_*.log")
    assert "wrote" in log.read_text(encoding="utf-8")


def test_nothing_is_left_over(done):
    expected = {".parquet", ".yaml", ".log", ".lock"}
    left = [path.name for path in done[1].rglob("*") if path.is_file() and path.suffix not in expected]
    assert left == ["one.json"]


# --- FAULTS 33: what decides a byte ------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [RECIPE, CROSS_RECIPE], ids=["each on its own", "cross-section"])
def test_33_same_bytes_with_any_workers_hash_seed_zone_and_locale(market, tmp_path, recipe):
    found = []
    elsewhere = {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "tr_TR.UTF-8"}
    for workers, environment in (("1", {}), ("2", elsewhere), ("3", {"TZ": "EST5EDT"})):
        hub = tmp_path / workers
        line = arguments(market, hub, "one", "--workers", workers, recipe=recipe)
        finished = run(line, env={**os.environ, **environment})
        assert finished.returncode == 0, finished.stderr
        found.append(digests(hub))
    assert found[0] == found[1] == found[2]


def test_33_same_bytes_for_any_cut_into_blocks(market, tmp_path, inline, monkeypatch):
    found = []
    for size in (1, 2, 16):
        monkeypatch.setattr(stage_run, "largest_block", lambda job, symbols, size=size: size)
        prepare(settings(market, tmp_path / str(size)))
        metadata = metadata_of(tmp_path / str(size))
        found.append((digests(tmp_path / str(size)), metadata["factors"], metadata["qc"]))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("recipe", [RECIPE, CROSS_RECIPE], ids=["each on its own", "cross-section"])
def test_another_start_gives_the_same_bits(market, tmp_path, inline, recipe):
    prepare(settings(market, tmp_path, "all", recipe=recipe))
    prepare(settings(market, tmp_path, "late", recipe=recipe, start="2023-02-11T07:00", end="2023-02-20"))
    for symbol in SYMBOLS:
        late = frame_of(tmp_path, symbol, "late")
        whole = frame_of(tmp_path, symbol, "all").loc[late.index]
        assert len(late) == 8 * 24 + 17
        for name in whole:
            assert whole[name].to_numpy().tobytes() == late[name].to_numpy().tobytes(), (symbol, name)


def test_cutting_the_data_changes_nothing_before_the_cut(market, tmp_path, inline):
    prepare(settings(market, tmp_path, recipe=CROSS_RECIPE))
    rng = np.random.default_rng(3)
    for cut in rng.integers(100, BARS, 5).tolist():
        shorter = tmp_path / f"market {cut}"
        folder = shorter / "6.Binance Data Resampled" / "1h"
        folder.mkdir(parents=True)
        last = int(klines("AAAUSDT")[0][0]) + 3_600_000 * cut
        listed = [symbol for symbol in SYMBOLS if LISTED.get(symbol, 0) < cut]
        for symbol in listed:
            write_klines(folder / f"{symbol}.csv", [row for row in klines(symbol) if int(row[0]) < last])
        prepare(settings(shorter, tmp_path, f"cut{cut}", recipe=CROSS_RECIPE))
        for symbol in listed:
            short = frame_of(tmp_path, symbol, f"cut{cut}")
            pd.testing.assert_frame_equal(short, frame_of(tmp_path, symbol).loc[short.index], check_exact=True)


def test_truncating_real_data_changes_no_factor_before_the_cut(real_data, tmp_path, inline):
    source = real_data / "um_futures" / "6.Binance Data Resampled" / "1h"
    data = {path.name.split(".")[0]: pd.read_csv(path) for path in sorted(source.glob("*.csv.gz"))[:4]}
    whole = cut_market(tmp_path / "whole", data, None)
    prepare(settings(whole, tmp_path, recipe=CROSS_RECIPE, last_bar="keep"))
    rng = np.random.default_rng(11)
    times = np.sort(next(iter(data.values()))["open_time"].to_numpy())
    for number, cut in enumerate(rng.choice(times[200:], 20, replace=False).tolist()):
        shorter = cut_market(tmp_path / f"cut {number}", data, cut)
        prepare(settings(shorter, tmp_path, f"cut{number}", recipe=CROSS_RECIPE, last_bar="keep"))
        for symbol in metadata_of(tmp_path, f"cut{number}")["symbols"]:
            short = frame_of(tmp_path, symbol, f"cut{number}")
            pd.testing.assert_frame_equal(short, frame_of(tmp_path, symbol).loc[short.index], check_exact=True)


def cut_market(root: Path, data: dict[str, pd.DataFrame], before: int | None) -> Path:
    folder = root / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    for symbol, frame in data.items():
        kept = frame if before is None else frame[frame["open_time"] < before]
        kept.to_csv(folder / f"{symbol}.csv", index=False)
    return root


# --- na_threshold ------------------------------------------------------------------------------------------------

STRICT = RECIPE.replace("close / shift(close, 24) - 1", "shift(close, 24)\n    na_threshold: 0.03")
"""mom is missing on 24 bars: 1.6 % of most symbols' 1500 bars, 2.4 % with the gap, 4 % of EEEUSDT's 600."""


def test_on_missing_fail_names_symbol_factor_and_ratio_and_publishes_nothing(market, tmp_path, inline):
    with pytest.raises(DataError, match=r"na_threshold: EEEUSDT mom is missing on 4\.00%.*3\.00%.*--on-missing drop"):
        prepare(settings(market, tmp_path, recipe=STRICT))
    assert not (tmp_path / "metadata" / "1h" / "one.json").exists()
    assert not list((tmp_path / "factors").rglob("*.parquet"))
    prepare(settings(market, tmp_path, recipe=RECIPE))  # nothing is in the way of the next recipe


def test_on_missing_drop_writes_the_factor_as_missing_for_that_symbol(market, tmp_path, inline):
    summary = prepare(settings(market, tmp_path, recipe=STRICT, on_missing="drop"))
    assert summary["status"] == "incomplete"
    assert "factor_dropped" in {finding["kind"] for finding in summary["qc"]["EEEUSDT"]}
    assert frame_of(tmp_path, "EEEUSDT")["mom"].isna().all()
    assert frame_of(tmp_path, "EEEUSDT")["smooth"].notna().any()
    assert frame_of(tmp_path, "AAAUSDT")["mom"].notna().any()
    assert metadata_of(tmp_path)["factors"]["mom"]["missing_ratio_by_symbol"]["EEEUSDT"] == 24 / 600


def test_on_missing_drop_names_symbol_and_factor_in_summary_and_metadata(market, tmp_path, inline):
    summary = prepare(settings(market, tmp_path, recipe=STRICT, on_missing="drop"))
    metadata = metadata_of(tmp_path)
    assert summary["dropped"] == metadata["dropped"] == {"EEEUSDT": ["mom"]}
    assert metadata["factors"]["mom"]["dropped"] == ["EEEUSDT"]
    assert metadata["factors"]["smooth"]["dropped"] == []


def test_on_missing_drop_exits_1(market, tmp_path):
    finished = run(arguments(market, tmp_path, "one", "--on-missing", "drop", "--symbols", "EEE", recipe=STRICT))
    assert finished.returncode == 1, finished.stderr
    assert json.loads(finished.stdout)["status"] == "incomplete"


# --- refused symbols ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [RECIPE, CROSS_RECIPE], ids=["each on its own", "cross-section"])
def test_a_bad_symbol_is_refused_and_the_others_are_written(tmp_path, inline, recipe):
    root = write_market(tmp_path / "m", SYMBOLS[:3])
    (root / "6.Binance Data Resampled" / "1h" / "BBBUSDT.csv").write_text("", encoding="utf-8")
    summary = prepare(settings(root, tmp_path, recipe=recipe))
    assert summary["status"] == "incomplete"
    assert summary["symbols"] == ["AAAUSDT", "CCCUSDT"]
    assert "BBBUSDT.csv" in summary["refused"]["BBBUSDT"]
    assert metadata_of(tmp_path)["refused"] == summary["refused"]
    assert not (tmp_path / "factors" / "1h" / "one.partial").exists()


def test_no_usable_symbol_is_an_error(tmp_path, inline):
    root = write_market(tmp_path / "m", SYMBOLS[:1])
    (root / "6.Binance Data Resampled" / "1h" / "AAAUSDT.csv").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="no symbol can be used: AAAUSDT"):
        prepare(settings(root, tmp_path))
    assert not (tmp_path / "factors" / "1h" / "one.partial").exists()


def test_a_symbol_without_bars_in_the_window(market, tmp_path, inline):
    summary = prepare(settings(market, tmp_path, end="2023-01-10"))
    assert list(summary["refused"]) == ["EEEUSDT"]
    assert "no bar inside the window" in summary["refused"]["EEEUSDT"]


def test_no_symbol_inside_the_window_is_said_once(market, tmp_path, inline, caplog):
    with pytest.raises(DataError) as caught:
        prepare(settings(market, tmp_path, start="2030-01-01"))
    assert str(caught.value) == (
        "no bar inside the window in any of 6 symbols; the data run from 2023-01-01T00:00:00Z to 2023-03-04T11:00:00Z"
    )
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    prepare(settings(market, tmp_path, timeframe="2H", start="2023-01-20"))  # nothing of the failed run is in the way


def test_a_failed_run_does_not_decide_the_label(market, tmp_path, inline):
    with pytest.raises(DataError, match="no bar inside"):
        prepare(settings(market, tmp_path, timeframe="2H", start="2030-01-01"))
    assert prepare(settings(market, tmp_path, timeframe="2h"))["status"] == "ok"


def test_resampling_names_its_source_and_a_folder_with_more_symbols(tmp_path, inline):
    root = write_market(tmp_path / "m", SYMBOLS[:2])
    finer = root / "6.Binance Data Resampled" / "30m"
    finer.mkdir()
    rows = [[str(int(row[0]) + shift), *row[1:]] for row in klines("AAAUSDT", 300) for shift in (0, 1_800_000)]
    rows = [[str(1_672_531_200_000 + 1_800_000 * number), *row[1:]] for number, row in enumerate(rows)]
    write_klines(finer / "AAAUSDT.csv", rows)
    summary = prepare(settings(root, tmp_path, timeframe="2h"))
    assert summary["source_timeframe"] == "30m"
    metadata = json.loads(Path(summary["metadata_path"]).read_text(encoding="utf-8"))
    assert (metadata["timeframe"], metadata["source_timeframe"]) == ("2h", "30m")
    (log,) = (tmp_path / "logs").glob("prepare_*.log")
    words = "WARNING 2h is resampled from 30m, the finest folder, with 1 symbols; 1h would do too and has 2"
    assert words in log.read_text(encoding="utf-8")


def test_20_a_missing_column_refuses_only_where_a_factor_needs_it(market, tmp_path, inline):
    needs = "factors:\n  - {name: carry, type: expression, expression: premium_close / close}\n"
    with pytest.raises(DataError, match="premium_close"):
        prepare(settings(market, tmp_path, recipe=needs))


# --- what is there already ---------------------------------------------------------------------------------------


def test_35_no_overwrite_without_the_flag(market, tmp_path, inline):
    prepare(settings(market, tmp_path))
    before = metadata_of(tmp_path)
    with pytest.raises(HubError, match="--overwrite replaces it"):
        prepare(settings(market, tmp_path))
    with pytest.raises(HubError, match="--overwrite replaces it"):
        prepare(settings(market, tmp_path, dry_run=True))
    assert metadata_of(tmp_path) == before


def test_overwrite_removes_what_the_new_set_does_not_have(market, tmp_path, inline):
    prepare(settings(market, tmp_path))
    prepare(settings(market, tmp_path, recipe=MFI_ONLY, symbols=("AAA", "CCC"), overwrite=True))
    assert list(digests(tmp_path)) == ["AAAUSDT.parquet", "CCCUSDT.parquet"]
    assert list(metadata_of(tmp_path)["factors"]) == ["mfi"]
    assert Hub(tmp_path).read(HOUR, "one").symbols == ("AAAUSDT", "CCCUSDT")


def test_files_without_metadata_are_not_replaced_unasked(market, tmp_path, inline):
    prepare(settings(market, tmp_path))
    (tmp_path / "metadata" / "1h" / "one.json").unlink()
    with pytest.raises(HubError, match="files without metadata"):
        prepare(settings(market, tmp_path))
    prepare(settings(market, tmp_path, overwrite=True))


class Stop(Exception):
    """The process ends here."""


def interrupted(monkeypatch, made, *, after: int) -> None:
    """Run `made` until `after` blocks are finished, as a killed run leaves things."""

    class Short(InlinePool):
        def run(self, tasks: deque):
            for number, outcome in enumerate(super().run(tasks)):
                yield outcome
                if number + 1 == after:
                    raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("Backtest.prepare.Pool", Short)
        patch.setattr(stage_run, "largest_block", lambda job, symbols: 1)
        with pytest.raises(Stop):
            prepare(made)


def count_work(monkeypatch) -> list[str]:
    """Return a list that every symbol computed from now on is appended to."""
    seen: list[str] = []

    class Counting(InlinePool):
        def run(self, tasks: deque):
            for outcome in super().run(tasks):
                seen.extend(record.symbol for record in outcome.value.block.records if outcome.value.block)
                yield outcome

    monkeypatch.setattr("Backtest.prepare.Pool", Counting)
    return seen


def test_26_an_interrupt_tells_what_is_kept(market, tmp_path, monkeypatch, inline):
    class Stopped(InlinePool):
        def run(self, tasks: deque):
            for number, outcome in enumerate(super().run(tasks)):
                if number == 1:
                    raise KeyboardInterrupt
                yield outcome

    told: list[dict] = []
    with monkeypatch.context() as patch:
        patch.setattr("Backtest.prepare.Pool", Stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare(settings(market, tmp_path, workers=1), on_stop=told.append)
    (summary,) = told
    assert summary["status"] == "interrupted"
    kept = len(summary["symbols"])
    assert 1 <= kept <= 2  # six symbols and one process: four tasks
    assert summary["resume"] == f"{kept} symbols are kept; the same command resumes with the other {6 - kept}"
    seen = count_work(monkeypatch)
    prepare(settings(market, tmp_path, workers=1))
    assert sorted({*seen, *summary["symbols"]}) == list(SYMBOLS)
    assert len(seen) == 6 - kept


def test_32_resume_computes_only_what_is_not_finished(market, tmp_path, monkeypatch, inline):
    whole = tmp_path / "whole"
    prepare(settings(market, whole))
    parts = tmp_path / "parts"
    interrupted(monkeypatch, settings(market, parts), after=2)
    partial = parts / "factors" / "1h" / "one.partial"
    assert len(list(partial.glob("*.parquet"))) == 2
    (partial / "CCCUSDT.parquet.99.tmp~").write_bytes(b"half")
    seen = count_work(monkeypatch)
    prepare(settings(market, parts))
    assert sorted(seen) == ["CCCUSDT", "DDDUSDT", "EEEUSDT", "FFFUSDT"]
    assert digests(parts) == digests(whole)
    assert not partial.exists()
    a, b = metadata_of(parts), metadata_of(whole)
    assert timeless(a) == timeless(b)


def test_32_a_finished_symbol_whose_file_or_klines_changed_is_computed_anew(tmp_path, monkeypatch, inline):
    root = write_market(tmp_path / "m", SYMBOLS[:4])
    interrupted(monkeypatch, settings(root, tmp_path), after=3)
    (tmp_path / "factors" / "1h" / "one.partial" / "AAAUSDT.parquet").write_bytes(b"damaged")
    write_klines(root / "6.Binance Data Resampled" / "1h" / "BBBUSDT.csv", klines("BBBUSDT")[:-3])
    os.utime(root / "6.Binance Data Resampled" / "1h" / "CCCUSDT.csv")  # touched, the same bytes
    seen = count_work(monkeypatch)
    prepare(settings(root, tmp_path))
    assert sorted(seen) == ["AAAUSDT", "BBBUSDT", "DDDUSDT"]


def test_32_an_unfinished_run_of_other_arguments_is_not_thrown_away_unasked(market, tmp_path, monkeypatch, inline):
    interrupted(monkeypatch, settings(market, tmp_path), after=1)
    with pytest.raises(HubError, match="unfinished run that differs in asked"):
        prepare(settings(market, tmp_path, start="2023-01-05"))
    with pytest.raises(HubError, match="differs in dsl_sha1"):
        prepare(settings(market, tmp_path, recipe=MFI_ONLY))
    summary = prepare(settings(market, tmp_path, recipe=MFI_ONLY, overwrite=True))
    assert summary["factors"] == ["mfi"]


def test_32_a_torn_journal_line_is_an_unfinished_block(market, tmp_path, monkeypatch, inline):
    interrupted(monkeypatch, settings(market, tmp_path), after=2)
    journal = tmp_path / "factors" / "1h" / "one.partial" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    seen = count_work(monkeypatch)
    prepare(settings(market, tmp_path))
    assert sorted(seen) == list(SYMBOLS[1:])


def test_32_cross_sections_are_computed_anew_when_any_klines_changed(tmp_path, monkeypatch, inline):
    root = write_market(tmp_path / "m", SYMBOLS[:3])
    made = settings(root, tmp_path, recipe=CROSS_RECIPE)
    with monkeypatch.context() as patch:
        patch.setattr("Backtest.prepare._publish", lambda *_: (_ for _ in ()).throw(Stop))
        with pytest.raises(Stop):
            prepare(made)
    write_klines(root / "6.Binance Data Resampled" / "1h" / "BBBUSDT.csv", klines("BBBUSDT")[:-3])
    prepare(made)
    other = tmp_path / "other"
    prepare(settings(root, other, recipe=CROSS_RECIPE))
    assert digests(tmp_path) == digests(other)


def test_a_kill_while_files_are_put_in_place_is_finished_later(market, tmp_path, monkeypatch, inline):
    whole = tmp_path / "whole"
    prepare(settings(market, whole))
    parts = tmp_path / "parts"
    prepare(settings(market, parts, recipe=MFI_ONLY))
    from Backtest import files

    moved = []

    def rename(source, target, real=files.rename):
        if target.parent.name == "one" and target.suffix == ".parquet":
            moved.append(target.name)
            if len(moved) == 4:
                raise Stop
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files, "rename", rename)
        with pytest.raises(Stop):
            prepare(settings(market, parts, overwrite=True))
    monkeypatch.setattr("Backtest.data.hub.RETRY_SECONDS", 0.2)
    with pytest.raises(HubError, match="of another run"):
        Hub(parts).read(HOUR, "one")
    seen = count_work(monkeypatch)
    prepare(settings(market, parts, overwrite=True))
    assert seen == []
    assert digests(parts) == digests(whole)
    Hub(parts).read(HOUR, "one")


# --- arguments ---------------------------------------------------------------------------------------------------


def test_dry_run_writes_nothing(market, tmp_path):
    made = settings(market, tmp_path, dry_run=True)
    before = sorted(tmp_path.rglob("*"))
    summary = prepare(made)
    assert summary["status"] == "dry_run"
    assert summary["symbols"] == list(SYMBOLS)
    assert summary["source_timeframe"] == "1h"
    assert sorted(tmp_path.rglob("*")) == before


DEMO = ("--dry-run", "--dsl-path", str(PROJECT_ROOT / "config" / "recipes" / "demo.yaml"))


@pytest.mark.parametrize("more", [(), ("--dry-run",), DEMO], ids=["run", "dry run", "root of a number"])
def test_only_workers_load_the_compiler(market, tmp_path, more):
    """It takes a quarter of a second, which a user waits for before an error is told, too."""
    line = arguments(market, tmp_path, "one", *more)[2:]
    code = (
        "import sys; from Backtest.run_prepare import command; code = command(sys.argv[1:]);"
        "sys.exit(code or bool({'numba', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *line], cwd=PROJECT_ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("more, spares", [(("--dry-run",), True), (("--check-causality", "1"), False)])
def test_only_a_process_that_computes_nothing_looks_for_garbage_seldom(market, tmp_path, more, spares):
    """A function of the user's that leaves arrays in cycles would fill the memory."""
    line = arguments(market, tmp_path, "one", *more)[2:]
    code = (
        "import gc, sys; from Backtest.run_prepare import script; before = gc.get_threshold(); code = script();"
        "sys.exit(code or 10 + (gc.get_threshold() != before))"
    )
    done = subprocess.run([sys.executable, "-c", code, *line], cwd=PROJECT_ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (10 + spares, b"")


@pytest.mark.parametrize(
    "more, kind, words",
    [
        ({"start": "2023-02-01", "end": "2023-02-01"}, SettingsError, "is not before"),
        ({"start": "yesterday"}, SettingsError, "yesterday"),
        ({"symbols": ("AAAUSD",)}, DataError, "did you mean 'AAAUSDT'"),
        ({"symbols": ("../x",)}, FactorError, "not allowed"),
        ({"factor_set": "../x"}, FactorError, "not allowed"),
        ({"timeframe": "1M"}, SettingsError, "1M"),
        ({"timeframe": "15m"}, DataError, "no folder"),
        ({"recipe": RECIPE.replace("close /", "closed /")}, ExpressionError, "did you mean 'close'"),
        ({"recipe": RECIPE.replace("money_flow_index", "money_flow")}, RecipeError, "did you mean"),
        ({"recipe": MFI_ONLY.replace("Backtest.data.indicators:money", "os:money")}, RecipeError, "allow-list"),
        ({"data_root": "/nowhere/at all"}, DataError, "does not exist"),
    ],
)
def test_arguments_that_cannot_be_used_leave_nothing_behind(market, tmp_path, inline, more, kind, words):
    made = settings(market, tmp_path, **more)
    with pytest.raises(kind, match=words):
        prepare(made)
    assert not (tmp_path / "factors").exists() or not list((tmp_path / "factors").rglob("*.parquet"))
    assert not (tmp_path / "metadata").exists()


def test_paths_with_spaces_and_other_letters(tmp_path):
    root = write_market(tmp_path / "Binance Data é 量化", SYMBOLS[:1])
    hub = tmp_path / "my hub 量化"
    finished = run(arguments(root, hub))
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["symbols"] == ["AAAUSDT"]


def test_symbols_from_a_file_and_relative_paths(market, tmp_path):
    (tmp_path / "symbols.txt").write_text("AAA, BBB # two\nCCCUSDT\n", encoding="utf-8")
    line = arguments(market, tmp_path / "hub", "one", "--symbols", "@symbols.txt", "--datahub-root", "my hub")
    finished = run(line, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "my hub" / "metadata" / "1h" / "one.json").exists()
    assert json.loads(finished.stdout)["symbols"] == ["AAAUSDT", "BBBUSDT", "CCCUSDT"]


def test_explain_and_list_operators(market, tmp_path):
    line = arguments(market, tmp_path, recipe=CROSS_RECIPE)
    explained = run([*line, "--explain"])
    assert explained.returncode == 0, explained.stderr
    assert "MB" in explained.stdout
    assert "cs_rank" in explained.stdout
    assert "limit      4 GB for the arrays of each process" in explained.stdout
    assert not (tmp_path / "factors").exists()
    listed = run([*line[:2], "--list-operators"])
    assert listed.returncode == 0
    assert "ts_mean" in listed.stdout


def test_explain_says_how_the_memory_limit_cuts_the_work(market, tmp_path):
    line = [*arguments(market, tmp_path), "--memory-limit"]
    wide = run([*line, "2.5", "--explain"]).stdout
    assert "limit      2.5 GB for the arrays of each process (--memory-limit)" in wide
    assert "cut        symbols: 6, in a task at most 2; tasks: 4; processes: 2; bars: 1,5" in wide
    refused = run([*line, "0.01"])
    assert refused.returncode == 2
    assert "memory_limit_gb is 0.01; allowed is 0.1 to 100000" in refused.stderr


# --- float32 -----------------------------------------------------------------------------------------------------

HUGE = "factors:\n  - {name: tiny, type: expression, expression: close / 3}\n"
HUGE += '  - {name: huge, type: expression, expression: "where(close > 1000, close * 4.4e34, close)"}\n'


def test_float32_is_the_rounded_float64_and_is_recorded(market, tmp_path, inline):
    prepare(settings(market, tmp_path, recipe=CROSS_RECIPE))
    prepare(settings(market, tmp_path, "short", recipe=CROSS_RECIPE, dtype="float32"))
    metadata = metadata_of(tmp_path, "short")
    assert {facts["dtype"] for facts in metadata["factors"].values()} == {"float32"}
    assert metadata_of(tmp_path)["factors"]["mom"]["dtype"] == "float64"
    long, short = (Hub(tmp_path).read(HOUR, name) for name in ("one", "short"))
    for name, values in long.factors.items():
        assert short.factors[name].dtype == np.float64
        np.testing.assert_array_equal(short.factors[name], values.astype(np.float32).astype(np.float64))
    assert frame_of(tmp_path, "AAAUSDT", "short")["mom"].dtype == np.float32


def test_what_float32_cannot_hold_is_missing_and_counted(market, tmp_path, inline):
    prepare(settings(market, tmp_path, recipe=HUGE, dtype="float32"))
    close = np.array([float(row[4]) for row in klines("CCCUSDT")])
    beyond = (close > 1000) & (close * 4.4e34 >= 3.4028235677973366e38)
    assert 50 < beyond.sum() < len(close) - 50
    found = frame_of(tmp_path, "CCCUSDT")["huge"].to_numpy()
    np.testing.assert_array_equal(np.isnan(found), beyond)
    assert not np.isinf(found).any()
    facts = metadata_of(tmp_path)["factors"]
    assert (facts["huge"]["overflow_values"], facts["tiny"]["overflow_values"]) == (beyond.sum(), 0)
    assert facts["huge"]["missing_ratio_by_symbol"]["CCCUSDT"] == beyond.sum() / len(close)


def test_float32_and_float64_are_never_mixed(market, tmp_path, inline):
    prepare(settings(market, tmp_path))
    with pytest.raises(HubError, match="exists"):
        prepare(settings(market, tmp_path, dtype="float32"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_is_drawn_on_a_terminal_only(market, tmp_path):
    import fcntl
    import pty
    import struct
    import termios

    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    line = arguments(market, tmp_path)
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            shown += os.read(master, 4096)
        except OSError:  # the terminal's other end is closed
            break
    out, _ = process.communicate()
    os.close(master)
    assert process.returncode == 0
    assert b"/6" in shown
    assert json.loads(out)["status"] == "ok"


def test_the_cache_of_klines_is_used_and_survives_damage(market, tmp_path, inline):
    prepare(settings(market, tmp_path))
    before = digests(tmp_path)
    cached = tmp_path / "klines" / "1h" / "AAAUSDT.parquet"
    assert cached.exists()
    cached.write_bytes(cached.read_bytes()[:-50])
    prepare(settings(market, tmp_path, overwrite=True))
    assert digests(tmp_path) == before
    shutil.rmtree(tmp_path / "klines")
    prepare(settings(market, tmp_path, overwrite=True))
    assert digests(tmp_path) == before

"""``--append``: an extended factor set is the bytes of a cold run, or the run is refused and nothing has changed."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from Backtest import files
from Backtest.cli import run_command
from Backtest.data import factors, hub_writer
from Backtest.data import hub as hub_module
from Backtest.data.hub import Hub
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import DataError, FactorError, HubError, SettingsError
from Backtest.prepare import prepare
from Backtest.run_prepare import main, make_parser
from Backtest.stage_a import building, workers

from .market import (
    BARS,
    CROSS_RECIPE,
    FIRST_MS,
    HOUR_MS,
    RECIPE,
    SYMBOLS,
    arguments,
    digests,
    klines,
    metadata_of,
    run,
    settings,
    timeless,
    write_klines,
    write_market,
)
from .test_faults_store import fail_at
from .test_kill_prepare import kill_after

HOUR = parse_timeframe("1h")
WINDOWED = """factors:
  - {name: mom, type: expression, expression: "close / shift(close, 24) - 1"}
  - {name: fit, type: expression, expression: "ts_corr(close, volume, 30) / (ts_mean(volume, 40) * 0)"}
"""
CROSS = WINDOWED + '  - {name: order, type: expression, expression: "ts_mean(cs_rank(mom), 10)"}\n'
OF = WINDOWED + '  - {name: lead, type: expression, expression: "mom - of(\\"AAAUSDT\\", mom)"}\n'
RECIPES = {"recursive": RECIPE, "recursive across": CROSS_RECIPE, "windows": WINDOWED, "across": CROSS, "of": OF}
by_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


def cut_market(root: Path, ends: dict[str, int]) -> Path:
    """Write symbols, each with its bars before row `ends[symbol]`; called again, the files grow."""
    folder = root / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True, exist_ok=True)
    for symbol, end in ends.items():
        rows = [row for row in klines(symbol) if int(row[0]) < FIRST_MS + HOUR_MS * end]
        if rows:
            write_klines(folder / f"{symbol}.csv", rows)
            os.utime(folder / f"{symbol}.csv", (1_800_000_000, 1_800_000_000))  # long after the last bar closed
    return root


def same_as_cold(market: Path, hub: Path, **arguments) -> dict:
    """Compare the factor set with a run over the whole window, and return its metadata."""
    cold = hub.with_name(f"{hub.name} cold")
    prepare(settings(market, cold, **arguments))
    assert digests(hub) == digests(cold)
    assert timeless(metadata_of(hub)) == timeless(metadata_of(cold))
    return metadata_of(hub)


# --- the bytes of a cold run -------------------------------------------------------------------------------------


@by_recipe
def test_a_later_end_gives_the_bytes_of_a_cold_run(market, tmp_path, inline, recipe):
    hub = tmp_path / "hub"
    prepare(settings(market, hub, recipe=recipe, end="2023-02-10"))
    for end in ("2023-02-10T01:00", "2023-02-20T13:00", None):
        done = prepare(settings(market, hub, recipe=recipe, append=True, end=end))
        assert done["status"] == "ok"
        same_as_cold(market, hub, recipe=recipe, end=end, overwrite=True)


@by_recipe
def test_files_that_grow(tmp_path, inline, recipe):
    """DDDUSDT ends for good, BBBUSDT's gap lies where the set ends, EEEUSDT is listed later on."""
    root, hub = tmp_path / "market", tmp_path / "hub"
    for number, end in enumerate((705, 1100, 1101, BARS)):
        cut_market(root, {symbol: min(end, 300) if symbol == "DDDUSDT" else end for symbol in SYMBOLS})
        prepare(settings(root, hub, recipe=recipe, append=number > 0))
        metadata = same_as_cold(root, hub, recipe=recipe, overwrite=True)
    assert metadata["symbols"] == list(SYMBOLS)
    assert metadata["factors"]["mom"]["undefined_values"] == 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_row_groups_do_not_show_where_it_was_extended(market, tmp_path, inline, monkeypatch, dtype):
    monkeypatch.setattr(hub_writer, "ROW_GROUP", 100)
    hub = tmp_path / "hub"
    prepare(settings(market, hub, recipe=CROSS, start="2023-01-05", end="2023-02-10", dtype=dtype))
    prepare(settings(market, hub, recipe=CROSS, start="2023-01-05", append=True, dtype=dtype))
    same_as_cold(market, hub, recipe=CROSS, start="2023-01-05", dtype=dtype)


@pytest.mark.parametrize("recipe, lookback", [(WINDOWED, 39), (CROSS, 33)], ids=["windows", "across"])
def test_only_the_tail_is_computed(market, tmp_path, inline, monkeypatch, recipe, lookback):
    prepare(settings(market, tmp_path, recipe=recipe, end="2023-02-10"))
    shapes = []

    def compute(plan, panel, **more):
        shapes.append((panel.shape[0] - panel.warmup, panel.warmup))
        return real(plan, panel, **more)

    real = factors.compute
    monkeypatch.setattr(building, "compute", compute)
    prepare(settings(market, tmp_path, recipe=recipe, append=True))
    assert {rows for rows, _ in shapes} == {BARS - 40 * 24}
    assert max(warmup for _, warmup in shapes) <= max(lookback, 39)


@pytest.mark.parametrize("recipe", [WINDOWED, CROSS], ids=["windows", "across"])
def test_nothing_new_writes_nothing(market, tmp_path, inline, monkeypatch, recipe):
    first = prepare(settings(market, tmp_path, recipe=recipe))
    published = [*tmp_path.glob("factors/1h/one/*"), tmp_path / "metadata" / "1h" / "one.json"]
    before = [path.stat().st_mtime_ns for path in published]
    monkeypatch.setattr(workers, "_build", None)  # nobody computes
    again = prepare(settings(market, tmp_path, recipe=recipe, append=True))
    assert again == {**first, "new_rows": 0, "seconds": again["seconds"]}
    assert [path.stat().st_mtime_ns for path in published] == before
    assert not (tmp_path / "factors" / "1h" / "one.partial").exists()


def test_a_later_end_without_new_bars_is_noted(market, tmp_path, inline):
    prepare(settings(market, tmp_path, recipe=WINDOWED))
    assert prepare(settings(market, tmp_path, recipe=WINDOWED, append=True, end="2024-01-01"))["new_rows"] == 0
    same_as_cold(market, tmp_path, recipe=WINDOWED, end="2024-01-01")


@by_recipe
def test_a_symbol_whose_file_was_behind_the_others(tmp_path, inline, recipe):
    """AAAUSDT and CCCUSDT lacked their last bars; the ranks of the others there are not what they were."""
    root, hub = tmp_path / "market", tmp_path / "hub"
    cut_market(root, {symbol: 1000 - 5 * (symbol in ("AAAUSDT", "CCCUSDT")) for symbol in SYMBOLS})
    prepare(settings(root, hub, recipe=recipe))
    cut_market(root, dict.fromkeys(SYMBOLS, 1200))
    prepare(settings(root, hub, recipe=recipe, append=True))
    same_as_cold(root, hub, recipe=recipe)


@by_recipe
def test_a_forming_last_bar_that_was_dropped(tmp_path, inline, recipe):
    root, hub = tmp_path / "market", tmp_path / "hub"
    cut_market(root, dict.fromkeys(SYMBOLS, 1000))
    written = FIRST_MS / 1000 + 3600 * 999 + 1800  # half an hour into the last bar
    for path in root.rglob("*.csv"):
        os.utime(path, (written, written))
    summary = prepare(settings(root, hub, recipe=recipe))
    assert "last_bar_dropped" in {finding["kind"] for finding in summary["qc"]["AAAUSDT"]}
    cut_market(root, dict.fromkeys(SYMBOLS, 1100))
    prepare(settings(root, hub, recipe=recipe, append=True))
    same_as_cold(root, hub, recipe=recipe)


@by_recipe
def test_a_forming_last_bar_that_was_kept_and_changed(tmp_path, inline, recipe):
    root, hub = tmp_path / "market", tmp_path / "hub"
    cut_market(root, dict.fromkeys(SYMBOLS, 1000))
    path = next(root.rglob("BBBUSDT.csv"))
    rows = [row for row in klines("BBBUSDT") if int(row[0]) < FIRST_MS + HOUR_MS * 1000]
    write_klines(path, [*rows[:-1], [*rows[-1][:5], "0.5"]])
    written = FIRST_MS / 1000 + 3600 * 999 + 1800
    os.utime(path, (written, written))
    prepare(settings(root, hub, recipe=recipe, last_bar="keep"))
    cut_market(root, dict.fromkeys(SYMBOLS, 1100))
    prepare(settings(root, hub, recipe=recipe, append=True, last_bar="keep"))
    same_as_cold(root, hub, recipe=recipe, last_bar="keep")


# --- new symbols -------------------------------------------------------------------------------------------------


def test_a_new_symbol_is_computed_whole_where_each_is_on_its_own(tmp_path, inline):
    root, hub = tmp_path / "market", tmp_path / "hub"
    cut_market(root, dict.fromkeys(SYMBOLS[:3], 1000))
    prepare(settings(root, hub, recipe=WINDOWED))
    cut_market(root, dict.fromkeys(SYMBOLS[:4], 1200))
    prepare(settings(root, hub, recipe=WINDOWED, append=True))
    assert same_as_cold(root, hub, recipe=WINDOWED)["symbols"] == list(SYMBOLS[:4])


def test_a_new_symbol_with_old_bars_is_refused_where_symbols_are_compared(tmp_path, inline):
    root = cut_market(tmp_path / "market", dict.fromkeys(SYMBOLS[:3], 1000))
    prepare(settings(root, tmp_path, recipe=CROSS))
    before = digests(tmp_path)
    cut_market(root, dict.fromkeys(SYMBOLS[:4], 1200))
    with pytest.raises(DataError, match=r"DDDUSDT is new and has bars before .* would change"):
        prepare(settings(root, tmp_path, recipe=CROSS, append=True))
    assert digests(tmp_path) == before
    prepare(settings(root, tmp_path, recipe=CROSS, append=True, symbols=SYMBOLS[:3]))


# --- computed whole ----------------------------------------------------------------------------------------------


def test_a_factor_that_was_dropped_may_have_enough_values_now(tmp_path, inline):
    strict = WINDOWED.replace('24) - 1"', '24) - 1", na_threshold: 0.03')
    root, hub = tmp_path / "market", tmp_path / "hub"
    cut_market(root, dict.fromkeys(SYMBOLS[:2], 790))
    summary = prepare(settings(root, hub, recipe=strict, on_missing="drop"))
    assert summary["dropped"] == {"AAAUSDT": ["mom"], "BBBUSDT": ["mom"]}  # 24 of 790 bars, 36 of 778
    cut_market(root, dict.fromkeys(SYMBOLS[:2], 1100))
    assert prepare(settings(root, hub, recipe=strict, on_missing="drop", append=True))["dropped"] == {
        "BBBUSDT": ["mom"]
    }
    same_as_cold(root, hub, recipe=strict, on_missing="drop")


def test_functions_of_users_see_all_rows(market, tmp_path, inline, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_rows.py").write_text(
        "import numpy as np\ndef total(close):\n    return np.cumsum(np.nan_to_num(close), axis=0)\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    recipe = WINDOWED + "  - {name: own, type: library_function, source: 'own_rows:total'}\n"
    more: dict[str, Any] = {"recipe": recipe, "allow_modules": ("own_rows",)}
    hub = tmp_path / "hub"
    prepare(settings(market, hub, end="2023-02-10", **more))
    prepare(settings(market, hub, append=True, **more))
    same_as_cold(market, hub, **more)


def test_a_published_file_that_is_damaged_is_computed_anew(market, tmp_path, inline):
    hub = tmp_path / "hub"
    prepare(settings(market, hub, recipe=WINDOWED, end="2023-02-10"))
    path = hub / "factors" / "1h" / "one" / "CCCUSDT.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    prepare(settings(market, hub, recipe=WINDOWED, append=True))
    same_as_cold(market, hub, recipe=WINDOWED)
    (log, *_) = sorted((hub / "logs").glob("*.log"), key=lambda log: log.stat().st_mtime)[::-1]
    assert "CCCUSDT.parquet is not the file that the metadata describe" in log.read_text(encoding="utf-8")


# --- refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        ({"recipe": WINDOWED + "\n"}, r"recipe \(DSL SHA1\) was"),
        ({"gap_tolerance": 0.2}, r"setting gap_tolerance was 0\.1 and is 0\.2"),
        ({"dtype": "float32"}, "setting dtype was float64 and is float32"),
        ({"start": "2023-01-02"}, "--start was None and is 2023-01-02"),
        ({"on_missing": "drop"}, "--on-missing was fail and is drop"),
        ({"symbols": SYMBOLS[:4]}, "without its symbol EEEUSDT and 1 more"),
        ({"end": "2023-02-09"}, "reaches to 2023-02-10T00:00:00Z already, --end 2023-02-09T00:00:00Z lies before"),
        ({"factor_set": "two"}, "factor set 'two' does not exist"),
    ],
)
def test_what_cannot_be_extended_is_refused(market, tmp_path, inline, change, words):
    prepare(settings(market, tmp_path, recipe=WINDOWED, end="2023-02-10"))
    before, metadata = digests(tmp_path), metadata_of(tmp_path)
    with pytest.raises(HubError, match=words):
        prepare(settings(market, tmp_path, **{"recipe": WINDOWED, "append": True, **change}))
    assert digests(tmp_path) == before
    assert metadata_of(tmp_path) == metadata
    assert not (tmp_path / "factors" / "1h" / "one.partial").exists()


def test_other_software_is_refused(market, tmp_path, inline, monkeypatch):
    prepare(settings(market, tmp_path, recipe=WINDOWED, end="2023-02-10"))
    monkeypatch.setattr("Backtest.stage_a.metadata.code_sha256", lambda folder: "other")
    with pytest.raises(HubError, match=r"software code_sha256 was .* and is other"):
        prepare(settings(market, tmp_path, recipe=WINDOWED, append=True))


def test_append_and_overwrite_contradict_each_other(market, tmp_path, inline):
    with pytest.raises(SettingsError, match=r"--append extends .* --overwrite replaces"):
        prepare(settings(market, tmp_path, append=True, overwrite=True))


@pytest.mark.parametrize("column", range(1, 6))
@pytest.mark.parametrize("row", [3, 999])
def test_a_bar_that_changed_is_refused(tmp_path, inline, column, row):
    """Any value of any used bar, those before the window too."""
    root = cut_market(tmp_path / "market", dict.fromkeys(SYMBOLS[:2], 1000))
    prepare(settings(root, tmp_path, recipe=WINDOWED, start="2023-01-10"))
    before = digests(tmp_path)
    rows = klines("AAAUSDT", 1100)
    rows[row][column] = f"{float(rows[row][column]) * (1.0001 if column in (2, 5) else 0.9999):.10g}"
    if column in (1, 4):
        rows[row][3] = f"{min(float(value) for value in rows[row][1:5]):.10g}"
    write_klines(next(root.rglob("AAAUSDT.csv")), rows)
    with pytest.raises(DataError, match=r"bars of AAAUSDT that it rests on have changed \(.*AAAUSDT\.csv\)"):
        prepare(settings(root, tmp_path, recipe=WINDOWED, start="2023-01-10", append=True))
    assert digests(tmp_path) == before


@pytest.mark.parametrize("kept", [slice(0, 980), slice(5, 1100)], ids=["cut off", "begins later"])
def test_bars_that_are_gone_are_refused(tmp_path, inline, kept):
    root = cut_market(tmp_path / "market", dict.fromkeys(SYMBOLS[:2], 1000))
    prepare(settings(root, tmp_path, recipe=WINDOWED))
    write_klines(next(root.rglob("AAAUSDT.csv")), klines("AAAUSDT")[kept])
    with pytest.raises(DataError, match="bars of AAAUSDT that it rests on have changed"):
        prepare(settings(root, tmp_path, recipe=WINDOWED, append=True))


def test_a_symbol_that_is_refused_now(tmp_path, inline):
    root = cut_market(tmp_path / "market", dict.fromkeys(SYMBOLS[:2], 1000))
    prepare(settings(root, tmp_path, recipe=WINDOWED))
    next(root.rglob("AAAUSDT.csv")).write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be extended: AAAUSDT is refused now"):
        prepare(settings(root, tmp_path, recipe=WINDOWED, append=True))


# --- FAULTS 25, 28 and 32: interrupted ---------------------------------------------------------------------------


@pytest.mark.parametrize("name, recipe", [("fsync", WINDOWED), ("replace", CROSS)], ids=["fsync", "replace"])
def test_28_every_call_that_fails(tmp_path, inline, monkeypatch, capsys, name, recipe):
    """The N-th call fails, for every N: the old set, the new one, or a refusal to read; and the next run finishes."""
    monkeypatch.setattr("Backtest.data.hub.RETRY_SECONDS", 0.02)
    root = write_market(tmp_path / "m", SYMBOLS[:2], 200)
    prepare(settings(root, tmp_path / "whole", recipe=recipe))
    prepare(settings(root, tmp_path / "old", recipe=recipe, end="2023-01-07"))
    sets = [digests(tmp_path / which) for which in ("old", "whole")]
    number = 0
    while True:
        number += 1
        hub = tmp_path / f"hub{number}"
        prepare(settings(root, hub, recipe=recipe, end="2023-01-07"))
        line = [*arguments(root, hub, recipe=recipe)[2:], "--append"]
        with monkeypatch.context() as patch:
            calls = fail_at(patch, name, number, 28)
            code = run_command(main, make_parser(), line)
        assert "Traceback" not in capsys.readouterr().err
        try:
            Hub(hub).read(HOUR, "one")
        except HubError:
            assert code == 2
        else:
            assert digests(hub) in (sets if code else sets[1:])
        assert run_command(main, make_parser(), line) == 0, capsys.readouterr().err
        assert digests(hub) == sets[1]
        assert timeless(metadata_of(hub)) == timeless(metadata_of(tmp_path / "whole"))
        assert not (hub / "factors" / "1h" / "one.partial").exists()
        capsys.readouterr()
        if len(calls) < number:
            assert number > 5
            return


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_25_killed_at_random_moments(market, tmp_path, long_run, monkeypatch):
    monkeypatch.setattr(hub_module, "RETRY_SECONDS", 0.1)
    moments = random.Random(7)
    assert run(arguments(market, tmp_path / "whole", recipe=CROSS)).returncode == 0
    new = digests(tmp_path / "whole")
    for turn in range(12 if long_run else 1):
        hub = tmp_path / f"hub {turn}"
        assert run(arguments(market, hub, "one", "--end", "2023-02-10", recipe=CROSS)).returncode == 0
        old, line = digests(hub), [*arguments(market, hub, recipe=CROSS), "--append"]
        begin = time.monotonic()
        for _ in range(2):
            kill_after(line, moments.uniform(0.7, 2.2))
            try:
                Hub(hub).read(HOUR, "one")
            except HubError:
                continue
            assert digests(hub) in (old, new)
        finished = run(line)
        assert finished.returncode == 0, finished.stderr
        assert digests(hub) == new
        assert not list(hub.rglob(f"factors/**/*{files.TEMPORARY}"))
        assert time.monotonic() - begin < 60


def test_32_an_interrupted_extension_goes_on(market, tmp_path, inline, monkeypatch):
    hub = tmp_path / "hub"
    prepare(settings(market, hub, recipe=WINDOWED, end="2023-02-10", workers=1))
    before = digests(hub)
    real, seen = workers._build, list[tuple[str, ...]]()

    def build(task, report, note):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(task.symbols)
        return real(task, report, note)

    monkeypatch.setattr(workers, "_build", build)
    with pytest.raises(KeyboardInterrupt):
        prepare(settings(market, hub, recipe=WINDOWED, append=True, workers=1))
    assert digests(hub) == before
    first = [symbol for block in seen for symbol in block]
    seen[:] = [()] * 3
    prepare(settings(market, hub, recipe=WINDOWED, append=True, workers=1))
    rest = [symbol for block in seen for symbol in block]
    assert sorted(first + rest) == list(SYMBOLS)
    assert first
    same_as_cold(market, hub, recipe=WINDOWED)


def test_a_run_of_another_aim_is_in_the_way(market, tmp_path, inline):
    prepare(settings(market, tmp_path, recipe=WINDOWED, end="2023-02-10"))
    journal = tmp_path / "factors" / "1h" / "one.partial" / "journal.jsonl"
    journal.parent.mkdir()
    journal.write_text(json.dumps({"manifest": {"dsl_sha1": "other"}, "population": None, "base": None}) + "\n")
    with pytest.raises(FactorError, match="unfinished run that differs in"):
        prepare(settings(market, tmp_path, recipe=WINDOWED, append=True))


def test_the_command(market, tmp_path):
    line = arguments(market, tmp_path, recipe=WINDOWED)
    assert run([*line, "--end", "2023-02-10"]).returncode == 0
    listed = run([*line, "--append", "--dry-run"])
    assert json.loads(listed.stdout)["status"] == "dry_run", listed.stderr
    finished = run([*line, "--append"])
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["rows"] == metadata_of(tmp_path)["rows"]
    again = run([*line, "--append", "--end", "2023-02-01"])
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1].startswith("error: factor set 'one' reaches to 2023-03-04T12:00:00Z already")

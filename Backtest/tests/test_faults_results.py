"""Rows of FAULTS.md that touch Stage B and its results: 23, 24, 28, 30, 31, 33, 34, 35, 43, 47, 48."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from Backtest.data.hub import sealed
from Backtest.data.hub_file import SymbolValues, read_symbol_file
from Backtest.data.hub_writer import write_symbol_file
from Backtest.names import check_name
from Backtest.results import run_folders
from Backtest.run_backtest import command
from Backtest.settings import PROJECT_ROOT
from Backtest.tests.fake_market import TIMEFRAME, Market, make_factor_set, make_market


@pytest.fixture
def market(tmp_path) -> Market:
    return make_market(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Market:
    """A market that no test damages."""
    return make_market(tmp_path_factory.mktemp("shared"))


def refused(market, capsys, *words) -> str:
    """Run Stage B, expect a refusal in one line, and return it."""
    code = command(market.arguments(*words))
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert run_folders(market.results) == {}
    return err


def factor_file(market, symbol="ETHUSDT") -> Path:
    return market.datahub / "factors" / "4h" / "mom_v1" / f"{symbol}.parquet"


def change_metadata(market, change) -> None:
    metadata = json.loads(market.metadata_path.read_text(encoding="utf-8"))
    change(metadata)
    market.metadata_path.write_text(json.dumps(sealed(metadata)), encoding="utf-8")


def test_23_metadata_edited_by_hand(market, capsys):
    """Without a seal, and with the seal of what stood there before."""
    metadata = json.loads(market.metadata_path.read_text(encoding="utf-8"))
    metadata["data_root"] = "elsewhere"
    for edited in (metadata, {key: metadata[key] for key in metadata if key != "metadata_sha256"}):
        market.metadata_path.write_text(json.dumps(edited), encoding="utf-8")
        assert "was changed after Stage A wrote it" in refused(market, capsys)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda m: m["files"]["ETHUSDT"].update(rows=259), "259"),
        (lambda m: m["files"]["ETHUSDT"].update(sha256="0" * 64), "ETHUSDT.parquet"),
        (lambda m: m["files"]["ETHUSDT"].update(start="2023-01-02T00:00:00Z"), "ETHUSDT.parquet"),
        (lambda m: m["factors"].update(rsi={"expression": "close"}), "columns"),
        (lambda m: m.update(dsl_sha1="0" * 40), "another recipe"),
        (lambda m: m.pop("dsl_sha1"), "dsl_sha1"),
    ],
)
def test_23_metadata_that_says_other_than_the_files(market, capsys, change, words):
    change_metadata(market, change)
    assert words in refused(market, capsys, "--dsl-path", str(market.recipe))


def test_24_a_file_of_another_run(market, capsys):
    """A whole, valid Parquet file of the same symbol and window, from another recipe."""
    path = factor_file(market)
    metadata = json.loads(market.metadata_path.read_text(encoding="utf-8"))
    listed = metadata["files"]["ETHUSDT"]
    facts_of = read_symbol_file.__globals__["FileFacts"](*(listed[key] for key in ("sha256", "rows", "start", "end")))
    values = read_symbol_file(path, facts_of, timeframe=TIMEFRAME, columns={"mom": "float64"}, wanted=("mom",))
    other = SymbolValues(values.first_bar, {"mom": values.factors["mom"] * 1.000001}, values.tradable)
    write_symbol_file(path, other, timeframe=TIMEFRAME)
    assert "SHA-256 differs" in refused(market, capsys)


def test_24_an_unfinished_factor_set(market, capsys):
    factor_file(market).parent.rename(factor_file(market).parent.with_name("mom_v1.partial"))
    market.metadata_path.unlink()
    assert "is not finished" in refused(market, capsys)


def writes_of_a_run(market, monkeypatch, fail_at: int, error: int) -> tuple[int, int]:
    """Run Stage B with the N-th fsync failing; return the exit code and how many there were."""
    count = 0
    real = os.fsync

    def fsync(handle):
        nonlocal count
        count += 1
        if count == fail_at:
            raise OSError(error, os.strerror(error))
        return real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        code = command(market.arguments("--param", "k=1"))
    return code, count


def test_28_every_write_that_can_fail_leaves_no_run_or_a_whole_one(market, monkeypatch, capsys, long_run):
    monkeypatch.setattr("Backtest.simulate.draw_all", lambda *_: {"equity.png": b"", "weights.png": b""})
    assert command(market.arguments("--param", "k=1")) == 0  # fills the klines cache, whose writes may fail unnoticed
    code, count = writes_of_a_run(market, monkeypatch, 0, 0)
    assert code == 0
    capsys.readouterr()
    whole = {path.name for path in next(iter(run_folders(market.results).values())).iterdir()}
    errors = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES) if long_run else (errno.ENOSPC,)
    before = 2
    for error in errors:
        for number in range(1, count + 1):
            code, _ = writes_of_a_run(market, monkeypatch, number, error)
            out, err = capsys.readouterr()
            runs = run_folders(market.results)
            assert code == 2, number
            assert out == ""
            assert os.strerror(error) in err
            for folder in runs.values():
                assert {path.name for path in folder.iterdir()} == whole
            assert [path.name for path in (market.results / "topk").iterdir() if path.name.startswith(".")] == []
            assert len(runs) - before <= 1
            before = len(runs)
    assert command(market.arguments("--param", "k=1")) == 0


def test_30_a_reader_during_an_overwrite_sees_one_generation(market, capsys):
    """Files of a new generation are in place, its metadata follows a moment later: Stage B waits for it."""
    old = market.metadata_path.read_text(encoding="utf-8")
    recipe = market.recipe.read_text(encoding="utf-8")
    path = factor_file(market)
    partial = path.parent.with_name("mom_v1.partial")
    partial.mkdir()
    path.write_bytes(factor_file(market, "BTCUSDT").read_bytes())  # what Stage A moved first
    metadata = json.loads(old)
    metadata["files"]["ETHUSDT"] |= {
        key: metadata["files"]["BTCUSDT"][key] for key in ("sha256", "rows", "start", "end")
    }
    metadata["dsl_sha1"] = hashlib.sha1((recipe + "#").encode()).hexdigest()

    def finish():
        market.metadata_path.write_text(json.dumps(sealed(metadata)), encoding="utf-8")
        partial.rmdir()

    timer = threading.Timer(0.8, finish)
    timer.start()
    code = command(market.arguments())
    timer.join()
    assert code == 0
    (folder,) = run_folders(market.results).values()
    assert json.loads((folder / "factor_metadata.json").read_text(encoding="utf-8")) == sealed(metadata)


def test_31_and_34_runs_started_in_the_same_second_are_all_kept(shared):
    """Three Stage B processes at once."""
    line = [sys.executable, "Backtest/run_backtest.py", *shared.arguments("--param", "k=1")]
    count = 3
    before = len(run_folders(shared.results))
    started = [subprocess.Popen(line, cwd=PROJECT_ROOT, stdout=subprocess.PIPE) for _ in range(count)]
    ids = {json.loads(process.communicate(timeout=120)[0])["run_id"] for process in started}
    assert len(ids) == count
    entries = json.loads((shared.results / "index.json").read_text(encoding="utf-8"))
    assert ids <= {entry["run_id"] for entry in entries}
    assert len(entries) == before + count


@pytest.mark.parametrize("strange", [{"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7", "LC_ALL": "de_DE.UTF-8"}])
def test_33_time_zone_locale_and_hash_seed_change_no_byte(shared, strange):
    folders = []
    for environment in ({"TZ": "UTC", "PYTHONHASHSEED": "0"}, strange):
        line = [sys.executable, "Backtest/run_backtest.py", *shared.arguments("--param", "k=3")]
        done = subprocess.run(
            line, cwd=PROJECT_ROOT, env={**os.environ, **environment}, capture_output=True, check=True
        )
        folders.append(Path(json.loads(done.stdout)["path"]))
    first, second = (
        {
            name: (folder / name).read_bytes()
            for name in json.loads((folder / "run_context.json").read_text())["outputs"]
        }
        for folder in folders
    )
    assert first == second


def test_35_nothing_that_is_there_is_replaced(shared):
    before = {path: path.read_bytes() for folder in run_folders(shared.results).values() for path in folder.iterdir()}
    assert command(shared.arguments("--param", "k=1")) == 0
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("name", ["../x", "/abs", "a/b", "a\nb", "CON", "x" * 300, ""])
@pytest.mark.parametrize("flag", ["--factor-set", "--symbols"])
def test_43_names_that_are_paths(shared, capsys, flag, name):
    arguments = shared.arguments()
    if flag in arguments:
        arguments[arguments.index(flag) + 1] = name
    else:
        arguments += [flag, name or ","]
    assert command(arguments) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_43_a_user_s_class_names_its_folder():
    assert check_name("strategy", "MyStrategy") == "MyStrategy"


SECRET = "hunter2-" + "f00dfeed"


def test_47_a_secret_of_the_environment_is_in_no_output(market):
    environment = dict.fromkeys(("API_KEY", "BINANCE_SECRET", "DATABASE_URL", "PASSWORD", "USERNAME"), SECRET)
    line = [sys.executable, "Backtest/run_backtest.py", *market.arguments("--log-level", "DEBUG")]
    done = subprocess.run(line, cwd=PROJECT_ROOT, env={**os.environ, **environment}, capture_output=True, check=True)
    written = [path for path in market.root.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []
    assert SECRET.encode() not in done.stdout + done.stderr


@pytest.mark.parametrize("key", ["secret", "api_key", "apikey", "PASSWORD", "private_key", "credentials"])
def test_47_a_secret_parameter_is_refused_before_anything_is_written(market, capsys, key):
    code = command(market.arguments("--param", f"{key}={SECRET}"))
    out, err = capsys.readouterr()
    assert code == 2
    assert SECRET not in out + err
    assert not (market.root / "logs").exists()
    assert not market.results.exists()


def test_48_markup_in_what_the_metadata_says_is_shown_not_run(market, capsys):
    evil = "<script>alert(1)</script>"
    make_factor_set(market, changes={"refused": {"XRPUSDT": evil}, "data_root": str(market.data_root)})
    (market.klines("XRPUSDT")).write_text("open_time,open,high,low,close,volume\n", encoding="utf-8")
    assert command(market.arguments("--symbols", "BTC,ETH,XRP")) == 1
    page = next(iter(run_folders(market.results).values())) / "report.html"
    text = page.read_text(encoding="utf-8")
    assert evil not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text

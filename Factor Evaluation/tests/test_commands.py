"""The scripts as users start them: instant help, the commands of the manual, one line for every mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pandas as pd
import pytest
from factor_evaluation.steps import check_command, compute_command, load_command, parquet_store, prepare_command
from filelock import FileLock

from Backtest.tests.test_cli_start import ATTEMPTS, CPU_SECONDS, HEAVY, cpu_seconds

from .market import FOLDER, digests, step

SCRIPTS = sorted(path.name for path in FOLDER.glob("step*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_instant_and_imports_nothing_heavy(script):
    line = [sys.executable, str(FOLDER / script), "-h"]
    assert min(cpu_seconds(line) for _ in range(ATTEMPTS)) < CPU_SECONDS
    done = subprocess.run(
        [line[0], "-X", "importtime", *line[1:]], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {script}")
    imported = set(re.findall(r"^import time:.*\|\s+([A-Za-z_0-9]+)", done.stderr, re.MULTILINE))
    assert "argparse" in imported
    assert imported & (HEAVY | {"qlib", "plotly"}) == set()


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """Settings whose cache lies outside of the project."""
    folder = tmp_path_factory.mktemp("settings of tests")
    path = folder / "core.yaml"
    path.write_text(f"datahub_root: {json.dumps(str(folder / 'hub'))}\n", encoding="utf-8")
    return path


def test_the_minimal_example_of_the_manual(real_data, tmp_path, config):
    """3min bars out of 1m files, the plain store; other dates, for these data begin in May."""
    out, data = tmp_path / "out put", real_data / "um_futures"
    window = ("--start", "2025-05-05", "--end", "2025-05-07", "--symbols", "BTCUSDT", "--bar-freq", "3min")
    made = step(
        "step0_prepare_inputs.py", "--data-root", data, "--output-root", out, "--run-id", "demo_run", *window,
        "--mode", "execute", "--config", config,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    computed = step(
        "step3_factor_engine_04.py", "--data-root", data, "--output-dir", out / "demo_run", "--run-id", "demo_run",
        *window, "--dsl", "MOM3_SIMPLE = close / shift(close, 3) - 1", "--config", config,
    )  # fmt: skip
    assert computed.returncode == 0, computed.stderr
    assert json.loads(computed.stdout)["factors"] == ["MOM3_SIMPLE"]
    frame = pd.read_parquet(out / "demo_run" / "factors" / "3min" / "MOM3_SIMPLE" / "BTCUSDT.parquet")
    raw = pd.read_csv(data / "6.Binance Data Resampled" / "1m" / "BTCUSDT.csv.gz")
    stamps = pd.to_datetime(raw.open_time, utc=True, unit=None if raw.open_time.dtype == object else "ms")
    close = raw.set_index(stamps).close.resample("3min").last()
    expected = (close / close.shift(3) - 1)["2025-05-05":"2025-05-06 23:59"]
    assert len(frame) == 2 * 480
    assert (frame.MOM3_SIMPLE.to_numpy() == expected.to_numpy()).all()
    for script in ("step1_contract_and_golden.py", "step2_loader_and_qc.py"):
        done = step(script, "--output-dir", out, "--run-id", "demo_run", "--bar-freq", "3min", "--config", config)
        assert done.returncode == 0, done.stderr
    parts = {path.relative_to(out / "demo_run").parts[:2] for path in (out / "demo_run").rglob("*") if path.is_file()}
    assert parts == {(part, "3min") for part in ("golden", "factors", "reports", "config_snapshots", "logs")}


@pytest.fixture(scope="module")
def run(market, tmp_path_factory, config):
    """A finished run ``one`` at 1h; tests leave it as it is."""
    out = tmp_path_factory.mktemp("out")
    words = ("--data-root", market, "--output-root", out, "--run-id", "one", "--bar-freq", "1h", "--config", config)
    assert step("step0_prepare_inputs.py", *words, "--horizons", "1,5").returncode == 0
    return out


STEP0, STEP1 = "step0_prepare_inputs.py", "step1_contract_and_golden.py"
STEP2, STEP3 = "step2_loader_and_qc.py", "step3_factor_engine_04.py"
CALLS = {
    STEP0: lambda argv: prepare_command("", argv),
    STEP1: lambda argv: check_command("", parquet_store, prog="step1", argv=argv),
    STEP2: lambda argv: load_command("", parquet_store, prog="step2", argv=argv),
    STEP3: lambda argv: compute_command("", argv),
}
"""What each script calls; started in this process, as twenty interpreters take a while."""

MOM = ("--dsl", "mom = close / shift(close, 3) - 1")


@pytest.mark.parametrize(
    "script, run_id, bar_freq, more, words",
    [
        (STEP0, "one", "1h", (), r"run one has inputs at 1h \(.*\); add --overwrite"),
        (STEP0, "two", "1h", ("--symbols", "NOSUCH"), r"symbol 'NOSUCH' has no klines in "),
        (STEP0, "two", "1h", ("--symbols", "AAAUSD"), r"did you mean 'AAAUSDT'"),
        (STEP0, "two", "90min", (), r"has no folder for 90min nor a finer one that divides it; found: 1h"),
        (STEP0, "two", "1h", ("--horizons", "90min"), r"horizon '90min' is no whole number of 1h bars"),
        (STEP0, "two", "1h", ("--start", "yesterday"), r"time 'yesterday' is not known"),
        (STEP0, "two", "1h", ("--start", "2024-01-01", "--end", "2023-01-01"), r"is not before --end"),
        (STEP0, "../two", "1h", (), r"run id '../two' is not allowed"),
        (STEP0, "two", "1 hour", (), r"--bar-freq: timeframe '1 hour' is not known"),
        (STEP0, "one", "60min", (), r"run one calls this bar length '1h'; write --bar-freq 1h"),
        (STEP1, "onee", "1h", (), r"there is no run 'onee' in .*; did you mean 'one'\?"),
        (STEP1, "one", "4h", (), r"the manifest of run one at 4h is missing \(.*\); run step0_prepare_inputs\.py"),
        (STEP2, "one", "4h", (), r"the index of the inputs is missing \(.*\); run step0_prepare_inputs\.py"),
        (STEP3, "nothing", "1h", MOM, r"there is no run 'nothing' in .*; step0_prepare_inputs\.py --mode execute"),
        (STEP3, "one", "1h", (), r"give factors: --dsl"),
        (STEP3, "one", "1h", ("--dsl", "close / open"), r"has no name; write --dsl"),
        (STEP3, "one", "1h", ("--dsl", "all = close"), r"factor name 'all' is taken: in Step 4 it means every factor"),
        (STEP3, "one", "1h", ("--dsl", "x = clse"), r"unknown.*did you mean 'close'|'clse'"),
        (STEP3, "one", "1h", ("--dsl", "x = shift(close, -1)"), r"look-ahead"),
        (STEP3, "one", "1h", ("--dsl-path", "no such.yaml"), r"no such\.yaml"),
        (STEP3, "one", "1h", (*MOM, "--symbols", "NOSUCH"), r"symbol 'NOSUCH' has no klines in "),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(run, market, config, capfd, script, run_id, bar_freq, more, words):
    before = digests(run)
    place = "--output-root" if script == STEP0 else "--output-dir"
    data = ("--data-root", market) if script in (STEP0, STEP3) else ()
    line = [*data, place, run, "--run-id", run_id, "--bar-freq", bar_freq, "--config", config, *more]
    code = CALLS[script]([str(word) for word in line])
    told = capfd.readouterr()
    assert (code, told.out) == (2, "")
    message = told.err.strip().splitlines()
    assert message[0].startswith("error: ")
    assert re.search(words, told.err), told.err
    assert len(message) <= (3 if "--dsl" in more else 1)  # a caret takes two more
    assert digests(run) == before


def test_one_writer_at_a_time(run, market, config):
    with FileLock(run / "one" / "logs" / "1h" / "writer.lock"):
        done = step(
            STEP3,
            "--data-root",
            market,
            "--output-dir",
            run,
            "--run-id",
            "one",
            "--bar-freq",
            "1h",
            *MOM,
            "--config",
            config,
        )
    assert done.returncode == 2
    assert re.fullmatch(r"error: run one is being written at 1h: held by .*\n", done.stderr)


def test_refused_symbols_make_the_exit_code_1(market, tmp_path, config):
    folder = tmp_path / "root" / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    (folder / "AAAUSDT.csv").write_bytes((market / "6.Binance Data Resampled" / "1h" / "AAAUSDT.csv").read_bytes())
    (folder / "EMPTYUSDT.csv").write_bytes(b"")
    words = ("--data-root", tmp_path / "root", "--run-id", "one", "--bar-freq", "1h", "--config", config)
    for script, place, more in ((STEP0, "--output-root", ()), (STEP3, "--output-dir", (*MOM, "--symbols", "all"))):
        done = step(script, place, tmp_path, *words, *more)
        assert done.returncode == 1, done.stderr
        assert list(json.loads(done.stdout)["refused"]) == ["EMPTYUSDT"]
        assert "EMPTYUSDT is refused" in done.stderr


def test_a_run_without_any_usable_symbol_is_refused(tmp_path, config):
    folder = tmp_path / "root" / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    (folder / "EMPTYUSDT.csv").write_bytes(b"")
    words = ("--data-root", tmp_path / "root", "--output-root", tmp_path, "--run-id", "one", "--bar-freq", "1h")
    done = step(STEP0, *words, "--config", config)
    assert done.returncode == 2
    assert "error: no symbol can be used: EMPTYUSDT: " in done.stderr
    assert "Traceback" not in done.stderr

"""FAULTS 25, 28, 32: whatever write fails, whenever it is killed, no half is taken for whole, a re-run ends alike."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from factor_evaluation.layout import new_run
from factor_evaluation.manifest import read_manifest
from factor_evaluation.parquet_store import ParquetStore

from Backtest import files
from Backtest.errors import RunError

from .market import FOLDER, computed, core_for, digests, prepared, step

MOM = "mom = close / shift(close, 3) - 1"
OTHER = "mom = close / shift(close, 9) - 1"
KEPT = ("golden", "factors")


def content(layout):
    return {part: digests(layout.folder(part)) for part in KEPT if layout.folder(part).is_dir()}


@pytest.fixture
def failing(monkeypatch):
    """Return a function that makes the Nth replacement of a file fail, as a full disk does."""
    real = files.replace

    def fail_at(number):
        left = iter(range(number))

        def replace(source, target):
            if next(left, None) is None:
                source.unlink(missing_ok=True)
                raise OSError(errno.ENOSPC, "No space left on device", str(target))
            real(source, target)

        monkeypatch.setattr(files, "replace", replace)

    yield fail_at
    monkeypatch.setattr(files, "replace", real)


def test_every_failing_write_leaves_old_new_or_nothing(market, tmp_path, failing):
    """Step 0 and Step 3 over a finished run, with the Nth write failing for every N."""
    core = core_for(market, tmp_path, workers=1)
    asked = {"symbols": ("AAA", "BBB"), "horizons": ("1",)}
    layout = prepared(core, "1h", **asked)
    computed(core, layout, MOM)
    whole = content(layout)
    rounds = 0
    for number in range(50):
        failing(number)
        try:
            prepared(core, "1h", overwrite=True, **asked)
            computed(core, layout, MOM, overwrite=True)
        except OSError:
            rounds += 1
        else:
            break
        finally:
            failing(1000)
        usable(layout)
        prepared(core, "1h", overwrite=layout.manifest.exists(), **asked)
        computed(core, layout, MOM, overwrite=layout.factor_metadata("mom").exists())
        assert content(layout) == whole
    assert rounds == 2 * 2 + 3 + 2 + 1  # inputs and labels, three JSON files; two files and their JSON


def usable(layout):
    """Read all that says it is complete; what is not says which step to run."""
    store = ParquetStore(layout)
    if layout.manifest.exists():
        read_manifest(layout)
        store.read_inputs()
    else:
        with pytest.raises(RunError, match=r"run step0_prepare_inputs\.py"):
            read_manifest(layout)
    for name in store.factor_names():
        store.read_factor(name)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_random_moments(market, tmp_path, long_run):
    config = tmp_path / "core.yaml"
    config.write_text(f"datahub_root: {tmp_path / 'hub'}\n", encoding="utf-8")
    shared = ("--data-root", market, "--run-id", "one", "--bar-freq", "1h", "--config", config)
    zero = ["step0_prepare_inputs.py", *shared, "--output-root"]
    three = ["step3_factor_engine_04.py", *shared, "--dsl", MOM, "--output-dir"]
    usual = []
    for line in (zero, three):
        begin = time.monotonic()
        assert step(*line, tmp_path / "whole").returncode == 0
        usual.append(time.monotonic() - begin)
    whole = content(new_run(tmp_path / "whole", "one", "1h"))
    moments = random.Random(4)
    for turn in range(20 if long_run else 1):
        out = tmp_path / f"out {turn}"
        layout = new_run(out, "one", "1h")
        for line, seconds in zip((zero, three), usual, strict=True):
            kill_after([*line, out], seconds * moments.uniform(0.5, 1.0))
            more = ["--overwrite"] if layout.manifest.exists() and (line is zero or layout.factor_names()) else []
            done = step(*line, out, *more)
            assert done.returncode == 0, done.stderr
        assert content(layout) == whole
        assert not list(out.rglob(f"*{files.TEMPORARY}"))


def kill_after(words, seconds):
    line = [sys.executable, str(FOLDER / words[0]), *map(str, words[1:])]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

"""Finished files wait for the disk beside those that are written: few at a time, and none that failed is forgotten."""

from __future__ import annotations

import errno
import os
import threading
import time

import psutil
import pytest

from Backtest.errors import HubError
from Backtest.prepare import prepare
from Backtest.stage_a.output import CLOSING

from .market import metadata_of, settings, write_market

RANKED = "factors:\n  - {name: place, type: expression, expression: cs_rank(close)}\n"
MANY = tuple(f"S{number:03}USDT" for number in range(3 * CLOSING))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A data root with more symbols, in one task as they are compared, than may wait for the disk."""
    return write_market(tmp_path_factory.mktemp("many") / "data root", MANY, 40)


def test_a_slow_disk_does_not_use_up_the_open_files(many, tmp_path, inline, monkeypatch):
    """A process may have 1024 files open on most systems, and a market may have more symbols."""
    counts: list[int] = []

    def slow(handle: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            counts.append(sum(file.path.endswith(".tmp~") for file in psutil.Process().open_files()))
            time.sleep(0.03)

    monkeypatch.setattr(os, "fsync", slow)
    prepare(settings(many, tmp_path, recipe=RANKED))
    assert metadata_of(tmp_path)["symbols"] == list(MANY)
    assert len(counts) == len(MANY)
    assert 1 < max(counts) <= CLOSING + 2  # the one that is being closed, and the one that is being written


@pytest.mark.parametrize("at", [0, len(MANY) // 2, len(MANY) - 1], ids=["first", "middle", "last"])
def test_a_file_that_the_disk_does_not_take_stops_the_run(many, tmp_path, inline, monkeypatch, at):
    """The others before and after it are fine, and only that one call fails."""
    calls: list[int] = []

    def full(handle: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            calls.append(handle)
            if len(calls) == at + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HubError, match=r"cannot be written: No space left on device$"):
        prepare(settings(many, tmp_path, recipe=RANKED))
    assert not list((tmp_path / "factors").rglob("S*.parquet*"))
    assert not list(tmp_path.rglob("one.json"))

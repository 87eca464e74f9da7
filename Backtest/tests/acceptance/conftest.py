"""Stage A on real data, run once for all acceptance tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .commands import prepare

START, END = "2025-06-01", "2026-03-20"


@pytest.fixture(scope="session")
def futures(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ten factors of 40 symbols of 4h futures in its DataHub, as factor set ``ten``."""
    place = tmp_path_factory.mktemp("futures")
    summary = prepare(place, real_data / "um_futures", "ten", "--start", START, "--end", END)
    assert len(summary["symbols"]) == 40
    assert summary["refused"] == {}
    return place


@pytest.fixture(scope="session")
def delisted(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for 13 symbols of 1h spot, of which nine die."""
    place = tmp_path_factory.mktemp("delisted")
    summary = prepare(place, real_data / "spot_1h_delisted", "ten", "--start", "2021-04-04", timeframe="1h")
    assert len(summary["symbols"]) == 13
    return place

"""The fixtures and options of the other pipeline's tests, here too."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from Backtest.tests.conftest import long_run, pytest_configure, real_data
from Backtest.tests.stage_a.market import write_market

__all__ = ["long_run", "pytest_configure", "real_data"]


def pytest_addoption(parser: pytest.Parser) -> None:
    with suppress(ValueError):  # the other conftest has it too
        parser.addoption("--long", action="store_true", help="full counts of kills, mutations and seeds")


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six symbols of 1h klines: one with a gap, one listed late, some bars without volume."""
    return write_market(tmp_path_factory.mktemp("market"))

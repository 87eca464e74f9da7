"""The fixtures and options of the other pipeline's tests, here too."""

from __future__ import annotations

from contextlib import suppress

import pytest

from Backtest.tests.conftest import long_run, pytest_configure, real_data

__all__ = ["long_run", "pytest_configure", "real_data"]


def pytest_addoption(parser: pytest.Parser) -> None:
    with suppress(ValueError):  # the other conftest has it too
        parser.addoption("--long", action="store_true", help="full counts of kills, mutations and seeds")

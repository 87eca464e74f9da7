"""The market that the tests of Stage A share."""

from __future__ import annotations

from pathlib import Path

import pytest

from Backtest import prepare as stage

from .market import InlinePool, write_market


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with six symbols; nobody writes to it."""
    return write_market(tmp_path_factory.mktemp("market") / "data root")


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage A works in this process."""
    monkeypatch.setattr(stage, "Pool", InlinePool)
    monkeypatch.setattr("Backtest.stage_a.pool.Pool", InlinePool)

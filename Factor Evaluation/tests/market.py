"""Small runs for the tests: Stage A's test market, real klines, and the steps as functions or as commands."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factor_evaluation.compute import ComputeRequest, compute_factors, recipe_from
from factor_evaluation.layout import RunLayout, new_run
from factor_evaluation.parquet_store import ParquetStore
from factor_evaluation.prepare import PrepareRequest, prepare
from factor_evaluation.store import Store

from Backtest.settings import PROJECT_ROOT, CoreSettings, with_flags

FOLDER = PROJECT_ROOT / "Factor Evaluation"


def core_for(data_root: Path, place: Path, **more: Any) -> CoreSettings:
    """Return settings that read `data_root` and keep everything below `place`."""
    core = CoreSettings(data_root=str(data_root), datahub_root=str(place / "hub"), evaluation_root=str(place / "out"))
    return with_flags(core, **more)


def prepared(core: CoreSettings, bar_freq: str, **more: Any) -> RunLayout:
    """Run Step 0 for run ``one`` and return its layout."""
    request = PrepareRequest(core, Path(core.evaluation_root), "one", bar_freq, **more)
    prepare(request)
    return new_run(request.output_root, "one", bar_freq)


def computed(
    core: CoreSettings, layout: RunLayout, *expressions: str, stores: Sequence[Store] = (), **more: Any
) -> dict[str, Any]:
    """Run Step 3 with ``--dsl`` expressions into the plain store, or into `stores`."""
    request = ComputeRequest(core, data_root_given=True, recipe=recipe_from(expressions, None), **more)
    return compute_factors(request, layout, stores or [ParquetStore(layout)])


def step(script: str, *words: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a script of the folder."""
    line = [sys.executable, str(FOLDER / script), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300, **more)


def digests(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

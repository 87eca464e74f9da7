"""Step 0 for Qlib: the run's plain inputs, labels and factors as a Qlib provider, read back through Qlib.

1. `ParquetStore.read_inputs`: the normalised inputs, every byte verified.
2. `QlibStore.write_inputs`: calendar, instruments, bins; and the bins of the factors that are there already.
3. `QlibStore.verify`: every file, and every value as ``qlib.data.D`` gives it.
"""

from __future__ import annotations

from typing import Any

from Backtest.errors import RunError
from Backtest.logs import LOGGER

from .layout import RunLayout
from .manifest import read_manifest
from .parquet_store import ParquetStore
from .qlib_manifest import manifest_path
from .qlib_manifest import read_manifest as read_store
from .qlib_store import QlibStore

SHOWN = 100
"""Differences in the summary; the log has all."""


def prepare_qlib(layout: RunLayout) -> dict[str, Any]:
    """Write the Qlib store unless this very one is there, and return what the command prints."""
    read_manifest(layout)  # names Step 0 where it has not run
    store = QlibStore(layout)
    written = not _current(store)
    if written:
        store.write_inputs(ParquetStore(layout).read_inputs())
    found = store.verify()
    for one in found:
        LOGGER.warning("%s", one)
    manifest = read_store(manifest_path(store.folder))
    return {
        "status": "failed" if found else "ok",
        "run_id": layout.run_id,
        "path": str(store.folder),
        "bar_freq": layout.bar_freq,
        "frequency": manifest.frequency,
        "written": written,
        "symbols": list(manifest.symbols),
        "rows": manifest.rows,
        "columns": [*manifest.fields, *manifest.flags, *manifest.labels],
        "factors": list(store.factor_names()),
        "difference_count": len(found),
        "differences": [{"where": d.where, "found": d.found, "expected": d.expected} for d in found[:SHOWN]],
    }


def _current(store: QlibStore) -> bool:
    """Return whether the store is whole and made from these inputs and factors."""
    if not store.exists():
        return False
    try:
        return not store.verify() and set(store.factor_names()) >= set(store.layout.factor_names())
    except RunError as error:
        LOGGER.warning("the Qlib store is written again: %s", error)
        return False

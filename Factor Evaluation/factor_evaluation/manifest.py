"""The manifest of Step 0: what was (or will be) read, by which settings, and what was written. Same run, same bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from Backtest import files
from Backtest.errors import RunError

from .labels import LabelKind
from .layout import STEPS, RunLayout, require


@dataclass(frozen=True)
class Manifest:
    """What Step 0 says of a run.

    Attributes
    ----------
    state
        ``planned``: nothing has been written; ``complete``: everything has.
    run_id, bar_freq, data_root, start, end
        As asked; `start` and `end` None where open.
    synthetic
        Whether they come from a simulator.
    source_timeframe
        Of the files; finer than `bar_freq` where bars are resampled.
    symbols
        Those that are used, sorted.
    refused
        Symbol -> why its data are not used.
    horizons
        As typed -> bars.
    label_kinds
        ``open`` and, if asked for, ``close``.
    sources
        Symbol -> path, sha256, bytes, bars in the window, first and last of them, decision about the last bar.
    findings
        Symbol -> irregularities of its data, as in Stage A's metadata.
    settings
        What else decides about the values.
    written
        File (relative to the run) -> SHA-256; empty in a plan.
    """

    state: Literal["planned", "complete"]
    run_id: str
    bar_freq: str
    data_root: str
    synthetic: bool
    source_timeframe: str
    start: str | None
    end: str | None
    symbols: list[str]
    refused: dict[str, str]
    horizons: dict[str, int]
    label_kinds: list[LabelKind]
    sources: dict[str, dict[str, Any]]
    findings: dict[str, list[dict[str, Any]]]
    settings: dict[str, Any]
    written: dict[str, str]


def write_manifest(layout: RunLayout, manifest: Manifest) -> None:
    """Replace the manifest."""
    layout.manifest.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(layout.manifest, asdict(manifest))


def read_manifest(layout: RunLayout, *, complete: bool = True) -> Manifest:
    """Return the manifest; RunError where it is absent, damaged, or (if `complete` is asked) only a plan."""
    path = require(layout.manifest, "manifest", f"the manifest of run {layout.run_id} at {layout.bar_freq}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**{field.name: content[field.name] for field in fields(Manifest)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({type(error).__name__} {error}); run {STEPS['manifest']} --overwrite"
        ) from None
    if complete and manifest.state != "complete":
        raise RunError(f"{path} is only a plan; run {STEPS['manifest']} first")
    return manifest

"""The journal of a factor set under construction: what decides its bytes, and which symbols are finished.

Its first line holds the manifest (recipe, window, settings, code), for cross-sections the population, and for a set
that is extended which one; every further line one finished block of symbols, with the hash of each file and the
fingerprints of its sources.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from .bars import LastBar

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Source:
    """A kline file as it was read: where it lies, its bytes' fingerprint, and the decision about its last bar."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    last_bar: LastBar

    def unchanged(self) -> bool:
        """Tell whether the file still has these bytes; a new modification time alone changes nothing."""
        try:
            now = os.stat(self.path)
            if now.st_size != self.size:
                return False
            return now.st_mtime_ns == self.mtime_ns or files.sha256(Path(self.path)) == self.sha256
        except OSError:
            return False


@dataclass(frozen=True)
class Record:
    """One finished symbol.

    Attributes
    ----------
    symbol, sha256, rows, start, end
        Its file: hash, rows, first and last bar's open time.
    sources
        Symbol -> kline file, of the symbol itself and of benchmarks, and path -> file beside their klines;
        `Build.population` has those of cross-sections.
    bars, bars_sha256
        How many bars of its own the symbol has inside the window (what the missing ratios are shares of), and their
        digest (`bars_digest`).
    history_sha256
        Digest of every value of its bars that a factor may rest on, from the file's first bar to the last one used.
    missing
        Factor -> how many of those bars have no value.
    findings
        QC: what was found in its klines and in its values.
    dropped
        Factors that ``--on-missing drop`` wrote as missing.
    """

    symbol: str
    sha256: str
    rows: int
    start: str
    end: str
    sources: Mapping[str, Source]
    bars: int
    bars_sha256: str
    history_sha256: str
    missing: Mapping[str, int]
    findings: tuple[Mapping[str, Any], ...] = ()
    dropped: tuple[str, ...] = ()

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Record:
        """Return the record that `asdict` made `values` from; TypeError or AttributeError when it is none."""
        sources = {symbol: Source(**facts) for symbol, facts in values["sources"].items()}
        lists = {key: tuple(values[key]) for key in ("findings", "dropped")}
        return Record(**{**values, **lists, "sources": sources})


@dataclass(frozen=True)
class Block:
    """Symbols that were computed together and are finished together.

    Attributes
    ----------
    records
        One per symbol.
    counts
        Factor -> what was made missing although its inputs were there (`FactorValues.counts`), over these symbols.
    """

    records: tuple[Record, ...]
    counts: Mapping[str, Mapping[str, int]]

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Block:
        """Return the block that `asdict` made `values` from; TypeError, KeyError or AttributeError when it is none."""
        return Block(tuple(Record.from_json(record) for record in values["records"]), dict(values["counts"]))


@dataclass(frozen=True)
class Journal:
    """What an interrupted run noted."""

    manifest: Mapping[str, Any]
    population: dict[str, str] | None
    base: dict[str, str] | None
    blocks: tuple[Block, ...]


def read_journal(path: Path) -> Journal | None:
    """Return the journal, None where it cannot be read. A torn last line is a block that was not finished."""
    try:
        lines = path.read_bytes().split(b"\n")
        head = json.loads(lines[0])
        manifest, population, base = head["manifest"], head["population"], head["base"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    blocks = []
    for line in lines[1:]:
        try:
            blocks.append(Block.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError):
            break
    return Journal(manifest, population, base, tuple(blocks))


def journal_line(value: Mapping[str, Any]) -> bytes:
    """Return one line of the journal."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False).encode() + b"\n"

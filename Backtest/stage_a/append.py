"""``--append``: a published factor set is extended to a later end, to the same bytes as a run over the whole window.

1. `open_base`: the set that is there, and a refusal where anything that decides its values is not as it was.
2. The workers read every symbol and compare the digest of its used bars (`workers._read`).
3. `require_unchanged`: a symbol that is gone, or whose used bars changed, stops the run.
4. `whole_reason`: whether the rows that are there can stand; `tail_tasks`: what is left to compute.

Of every old symbol only the rows after its last bar are computed, from their look-back on (operators that look back to
the start of an episode: from there), and put behind the published rows. New symbols are computed whole. All is computed
whole where a published row would be another one today, or cannot be proven to be the same (`whole_reason`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..data.bars import LastBar
from ..data.clock import parse_time
from ..data.dsl.plan import Plan
from ..data.hub import AGAIN, SEAL, Hub
from ..data.hub_file import FileFacts
from ..data.hub_journal import Block, Source
from ..data.timeframe import Timeframe
from ..errors import DataError, HubError
from ..names import inside
from .blocks import cut_tasks, largest_block
from .metadata import COUNTS
from .tasks import BuildTask, Inputs, Job, Kept, Standing

PROVEN_MODULES = ("Backtest.data.indicators",)
"""Library functions that a test holds to the same bits from any start, and those of modules inside."""


@dataclass(frozen=True)
class Base:
    """The factor set that is extended.

    Attributes
    ----------
    metadata
        As published.
    kept
        Symbol -> its file.
    """

    metadata: Mapping[str, Any]
    kept: Mapping[str, Kept]

    @property
    def seal(self) -> str:
        """Hash of the metadata."""
        return str(self.metadata[SEAL])

    @property
    def counts(self) -> Block:
        """Return what became missing in the published rows although its inputs were there."""
        facts = self.metadata["factors"]
        return Block((), {name: {kind: one[f"{kind}_values"] for kind in COUNTS} for name, one in facts.items()})


def open_base(hub: Hub, timeframe: Timeframe, factor_set: str, inputs: Inputs) -> Base:
    """Return the published set; HubError where it cannot be extended by these arguments."""
    metadata = hub.read_metadata(timeframe, factor_set)
    _require_same(factor_set, metadata, inputs)
    return Base(metadata, {symbol: _kept(hub.root, metadata, symbol, timeframe) for symbol in metadata["symbols"]})


def _require_same(name: str, metadata: Mapping[str, Any], inputs: Inputs) -> None:
    now = inputs.manifest
    pairs: list[tuple[str, Any, Any]] = [
        ("layout of the files", metadata.get("layout"), now["layout"]),
        ("recipe (DSL SHA1)", metadata["dsl_sha1"], now["dsl_sha1"]),
        ("--start", metadata["asked"]["start"], now["asked"]["start"]),
        ("--on-missing", metadata["on_missing"], now["on_missing"]),
    ]
    for title, key in (("setting", "settings"), ("library function's module", "library"), ("software", "software")):
        before = metadata.get(key, {})
        pairs += [(f"{title} {one}", before.get(one), now[key].get(one)) for one in sorted({*before, *now[key]})]
    for what, before, after in pairs:
        if before != after:
            was, is_now = (str(value)[:40] for value in (before, after))
            raise HubError(f"factor set {name!r} cannot be extended: {what} was {was} and is {is_now}; {AGAIN}")
    _require_same_cells(name, metadata, inputs)
    lost = sorted(set(metadata["symbols"]).difference(inputs.symbols))
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise HubError(f"factor set {name!r} cannot be extended without its symbol {lost[0]}{more}; name them all")
    end = inputs.job.end_ns
    if end is not None and end < parse_time(metadata["end"]):
        raise HubError(
            f"factor set {name!r} reaches to {metadata['end']} already, --end {now['asked']['end']} lies before; "
            "give a later --end or none"
        )


def _require_same_cells(name: str, metadata: Mapping[str, Any], inputs: Inputs) -> None:
    """Refuse where the symbols table says something else of a symbol; rows of others may come and go."""
    for symbol in metadata["symbols"]:
        before = metadata["files"][symbol]["symbols_table"]
        now = inputs.job.fields.constants(symbol, inputs.plan.fields)
        for column in sorted({*before, *now}):
            if before.get(column) != now.get(column):
                was, is_now = (table.get(column, "empty") for table in (before, now))
                raise HubError(
                    f"factor set {name!r} cannot be extended: {column} of {symbol} was {was} in the symbols table and "
                    f"is {is_now}; {AGAIN}"
                )


def _kept(root: Path, metadata: Mapping[str, Any], symbol: str, timeframe: Timeframe) -> Kept:
    listed = metadata["files"][symbol]
    bars = listed["bars"]
    return Kept(
        path=inside(root, listed["path"]),
        file=FileFacts(listed["sha256"], listed["rows"], listed["start"], listed["end"]),
        last=timeframe.index(parse_time(listed["end"])),
        missing={
            name: round(facts["missing_ratio_by_symbol"][symbol] * bars) for name, facts in metadata["factors"].items()
        },
        history_sha256=listed["history_sha256"],
    )


def require_unchanged(base: Base, refused: Mapping[str, str], standings: Mapping[str, Standing]) -> None:
    """Refuse the run where a published row rests on bars that are gone or changed."""
    name = base.metadata["factor_set"]
    for symbol in base.kept:
        if symbol in refused:
            raise DataError(f"factor set {name!r} cannot be extended: {symbol} is refused now: {refused[symbol]}")
        if not standings[symbol].same and not _was_forming(base, symbol):
            raise DataError(f"factor set {name!r} cannot be extended: {_rests_on(base, symbol)}; {AGAIN}")


def _rests_on(base: Base, symbol: str) -> str:
    """Return in words that something which published rows rest on has changed, and in which files it may be."""
    listed = base.metadata["files"][symbol]
    externals = [path for path in base.metadata["fields"] if Path(path).is_file()]
    beside = ", ".join([*listed["stamped"], *externals])
    if not beside:
        return f"bars of {symbol} that it rests on have changed ({listed['source_path']})"
    return (
        f"bars of {symbol} that it rests on, or values joined to them, have changed ({listed['source_path']}, {beside})"
    )


def _was_forming(base: Base, symbol: str) -> bool:
    """Tell whether the last bar was kept although it had not closed: that one may change."""
    return any(finding["kind"] == "last_bar_kept" for finding in base.metadata["qc"].get(symbol, []))


def whole_reason(plan: Plan, base: Base, standings: Mapping[str, Standing], company: Sequence[str] = ()) -> str | None:
    """Return why the published rows cannot be taken over, None where they can.

    `company` are symbols that values rest on and that have no bar inside the window, nor a file.

    Raises
    ------
    DataError
        The recipe compares symbols and a new one has bars where ranks are published.
    """
    ends = {symbol: kept.last for symbol, kept in base.kept.items()}
    last = max(ends.values())
    if plan.cross_symbol:
        for symbol in sorted(set(standings).difference(ends)):
            if standings[symbol].first <= last:
                raise DataError(
                    f"{symbol} is new and has bars before {base.metadata['end']}: the recipe compares symbols, so rows "
                    f"that are published would change; leave it out, or {AGAIN}"
                )
        for symbol in company:
            if symbol not in base.metadata["refused"]:
                raise DataError(
                    f"{symbol} is new and has bars that the look-back of published rows reaches: the recipe compares "
                    f"symbols, so these rows would change; leave it out, or {AGAIN}"
                )
    changed = sorted(symbol for symbol in ends if not standings[symbol].same)
    if changed:
        return f"the last bar of {changed[0]} was kept while it was forming, and has changed"
    if base.metadata["dropped"]:
        return "--on-missing drop left factors out, which may have enough values now"
    for call in plan.library_calls.values():
        module = call.source.partition(":")[0]
        if not any(module == proven or module.startswith(f"{proven}.") for proven in PROVEN_MODULES):
            return f"{call.source} may give other bits when it sees other rows"
    unknown = {*plan.extra_symbols, *company}.difference(ends)
    if unknown:
        return f"the bars of {', '.join(sorted(unknown)[:3])} that were used are not noted"
    read_by_others = ends if plan.cross_symbol else plan.extra_symbols
    late = [symbol for symbol in read_by_others if ends[symbol] < last and standings[symbol].last > ends[symbol]]
    if late:
        return f"the bars of {late[0]} ended before the others' and go on now"
    return None


def nothing_new(
    base: Base,
    generation: str,
    sources: Mapping[str, Source],
    standings: Mapping[str, Standing],
    refused: Mapping[str, str],
) -> bool:
    """Tell whether a run would write what is published once more: the same files read, by the same arguments."""
    told = base.metadata
    if generation != told["generation"] or dict(refused) != told["refused"] or standings.keys() != base.kept.keys():
        return False
    read = {symbol: one["source_sha256"] for symbol, one in told["files"].items()}
    for one in told["files"].values():
        read |= one["stamped"]
    return all(name in sources and sources[name].sha256 == digest for name, digest in read.items()) and all(
        standings[symbol].last == kept.last and sources[symbol].last_bar == told["files"][symbol]["last_bar"]
        for symbol, kept in base.kept.items()
    )


def damaged(base: Base, finished: Iterable[str]) -> str | None:
    """Return why a published file cannot be taken over, None where all can: each is hashed."""
    for symbol in sorted(base.kept.keys() - set(finished)):
        kept = base.kept[symbol]
        if not kept.path.is_file() or files.sha256(kept.path) != kept.file.sha256:
            return f"{kept.path} is not the file that the metadata describe"
    return None


def tail_tasks(
    plan: Plan, base: Base, job: Job, todo: Iterable[str], last_bars: dict[str, LastBar], *, workers: int
) -> deque[BuildTask]:
    """Return the tasks for symbols that are not finished: old ones by the row that they go on from, new ones whole."""
    symbols = sorted(todo)
    if plan.cross_symbol:
        after = max(kept.last for kept in base.kept.values()) + 1
        return deque([BuildTask(job, tuple(symbols), last_bars, base.kept, after)] if symbols else [])
    starts: dict[int | None, list[str]] = {}
    for symbol in symbols:
        starts.setdefault(base.kept[symbol].last + 1 if symbol in base.kept else None, []).append(symbol)
    tasks: deque[BuildTask] = deque()
    for begin, group in sorted(starts.items(), key=lambda item: item[1]):
        for block in cut_tasks(group, plan=plan, workers=workers, largest=largest_block(job, group)):
            kept = {symbol: base.kept[symbol] for symbol in block if symbol in base.kept}
            tasks.append(BuildTask(job, block, last_bars, kept, begin))
    return tasks

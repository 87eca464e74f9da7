"""Stage A end to end, as a user runs it: wall time, where it goes (load, read, compute, write), and peak memory.

``python -m Backtest.benchmarks.stage_a``: 158 factors (`price_shapes`) of a simulated market of 48 symbols x 17,520
bars, or with ``--data-root DIR --timeframe TF --dsl-path FILE`` of anything else. Each round runs the command twice:
with no cache of parsed klines, then with it, each writing a new set. The best round is printed as JSON.

``python -m Backtest.benchmarks.stage_a --scale 50 150 500 --bars 20000 [--across]``: the cost of a row as symbols grow,
20 factors in float32, klines cached, in processor time less that of a run of two symbols and hardly a row; ``--across``
makes two of the factors compare the symbols.

`total_over_compute` is the wall time from the start of the process over the share of it that went into computing; the
parts share out the wall time of the workers as their threads were busy, so no part hides behind another.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..settings import PROJECT_ROOT, CoreSettings
from .price_shapes import recipe_text

COMMAND = PROJECT_ROOT / "Backtest" / "run_prepare.py"
SCALE_FACTORS = 20
FIRST_MS, MINUTE_MS = 1_262_304_000_000, 60_000
SHORT = "2010-01-01T01:00"
"""The first hour of the walks."""

RUN = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)
scale = 1 if sys.platform == "darwin" else 1024
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = used.ru_utime + used.ru_stime
print(json.dumps({"code": done.returncode, "peak": used.ru_maxrss * scale, "cpu": cpu, "summary": done.stdout}))
"""
"""Runs the command and tells the peak of the largest process below it (a worker, as the parent holds no data), and the
processor time of all of them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--timeframe", default="1h")
    parser.add_argument("--dsl-path", type=Path)
    parser.add_argument("--symbols", nargs="+", default=["all"])
    parser.add_argument("--count", type=int, default=48, help="symbols of the simulated market")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--memory-limit", type=float, default=4.0)
    parser.add_argument("--scale", type=int, nargs="+", metavar="SYMBOLS")
    parser.add_argument("--bars", type=int, default=20_000)
    parser.add_argument("--across", action="store_true")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "core.yaml").write_text(f"log_root: {json.dumps(folder)}\n", encoding="utf-8")
        report = scale_curve(arguments, here) if arguments.scale else end_to_end(arguments, here)
    print(json.dumps(report, indent=2))
    return 0


def end_to_end(arguments: argparse.Namespace, here: Path) -> dict[str, Any]:
    """Return the best run without and with the cache of parsed klines."""
    root = arguments.data_root or simulated_market(here / "market", arguments.count)
    dsl = arguments.dsl_path or _recipe(here, recipe_text())
    rounds: dict[str, list[dict[str, Any]]] = {"first_run": [], "cached_klines": []}
    for _ in range(arguments.repeats):
        shutil.rmtree(here / "hub", ignore_errors=True)
        for kind, results in rounds.items():
            for part in ("factors", "metadata"):  # else freeing the old set's memory would be part of it
                shutil.rmtree(here / "hub" / part, ignore_errors=True)
            results.append(run_once(arguments, here, root, dsl))
            print(f"{kind}: {results[-1]['seconds']}", file=sys.stderr)
    return {kind: best(results) for kind, results in rounds.items()}


def scale_curve(arguments: argparse.Namespace, here: Path) -> dict[str, Any]:
    """Return the figures for each number of symbols, and the dearest row over the cheapest."""
    text = recipe_text(SCALE_FACTORS - 2 * arguments.across)
    if arguments.across:
        text += '  - {name: A0, type: expression, expression: "cs_rank(VSUMD5)"}\n'
        text += '  - {name: A1, type: expression, expression: "ts_mean(cs_zscore(VSUMD10), 10)"}\n'
    dsl = _recipe(here, text)
    root = walks(here / "market", max(arguments.scale), arguments.bars)
    arguments.dtype = "float32"
    arguments.symbols = ["S000USDT", "S001USDT"]
    short = min(run_once(arguments, here, root, dsl, "--end", SHORT)["cpu"] for _ in range(arguments.repeats + 1))
    curve = {}
    for count in arguments.scale:
        arguments.symbols = [f"S{number:03d}USDT" for number in range(count)]
        run_once(arguments, here, root, dsl)  # parses the klines
        results = [run_once(arguments, here, root, dsl) for _ in range(arguments.repeats)]
        cost = min(result["cpu"] for result in results) - short
        found = best(results)
        curve[str(count)] = {**found, "nanoseconds_per_row": round(cost / found["rows"] * 1e9, 1)}
        print(f"{count}: {curve[str(count)]}", file=sys.stderr)
    costs = [one["nanoseconds_per_row"] for one in curve.values()]
    return {"curve": curve, "dearest_over_cheapest": round(max(costs) / min(costs), 3)}


def _recipe(here: Path, text: str) -> Path:
    path = here / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def simulated_market(root: Path, count: int) -> Path:
    """Write the demo market's histories again under other names, two years of 1h bars as CSV, and return the root."""
    from ..data.demo_market import kline_text
    from ..data.demo_simulation import LISTINGS, simulate_market, simulate_symbol

    folder = root / CoreSettings.klines_folder / "1h"
    folder.mkdir(parents=True)
    market = simulate_market(0)
    whole = [listing for listing in LISTINGS if listing.first == 0 and listing.last == max(x.last for x in LISTINGS)]
    for number in range(count):
        listing = replace(whole[number % len(whole)], symbol=f"S{number:03d}USDT")
        (folder / f"{listing.symbol}.csv").write_text(
            kline_text(listing, simulate_symbol(listing, number, market)), encoding="utf-8"
        )
    return root


def walks(root: Path, count: int, bars: int) -> Path:
    """Write random walks as Parquet, quickly, 16 different ones under `count` names, and return the root."""
    import pyarrow as pa
    from pyarrow import parquet

    folder = root / CoreSettings.klines_folder / "1m"
    folder.mkdir(parents=True)
    for number in range(count):
        path = folder / f"S{number:03d}USDT.parquet"
        if number >= 16:
            os.link(folder / f"S{number % 16:03d}USDT.parquet", path)
            continue
        rng = np.random.default_rng(number)
        close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, bars)))
        opened = np.concatenate((close[:1], close[:-1]))
        table = {
            "open_time": FIRST_MS + MINUTE_MS * np.arange(bars),
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": rng.lognormal(3, 1, bars),
        }
        parquet.write_table(pa.table(table), path)
    return root


def run_once(arguments: argparse.Namespace, here: Path, root: Path, dsl: Path, *more: str) -> dict[str, Any]:
    """Run the command and return its summary, with processor time, peak memory of its largest process, and bytes."""
    hub = here / "hub"
    line = [
        sys.executable, str(COMMAND), "--data-root", str(root), "--timeframe", "1m" if arguments.scale else
        arguments.timeframe, "--dsl-path", str(dsl), "--symbols", *arguments.symbols, "--factor-set", "benchmark",
        "--datahub-root", str(hub), "--workers", str(arguments.workers), "--on-missing", "drop", "--overwrite",
        "--config", str(here / "core.yaml"), "--dtype", arguments.dtype, "--memory-limit", str(arguments.memory_limit),
        *more,
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", RUN, *line], stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout)
    if told["code"] not in (0, 1):
        raise SystemExit(told["code"])
    size = sum(path.stat().st_size for path in (hub / "factors").rglob("*.parquet"))
    return {**json.loads(told["summary"]), "peak": told["peak"], "cpu": told["cpu"], "bytes": size}


def best(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the fastest run's figures."""
    fastest = min(results, key=lambda summary: float(summary["seconds"]["total"]))
    seconds = fastest["seconds"]
    values = fastest["rows"] * len(fastest["factors"])
    return {
        "symbols": len(fastest["symbols"]),
        "rows": fastest["rows"],
        "factors": len(fastest["factors"]),
        "seconds": seconds,
        "total_over_compute": round(seconds["total"] / seconds["compute"], 2),
        "million_values_per_second_of_computing": round(values / seconds["compute"] / 1e6, 1),
        "processor_seconds": round(fastest["cpu"], 2),
        "bytes_per_value": round(fastest["bytes"] / values, 2),
        "peak_megabytes_of_a_process": round(fastest["peak"] / 1e6),
    }


if __name__ == "__main__":
    sys.exit(main())

"""Stage A end to end, as a user runs it: wall time and where it goes (load, read, compute, write).

``python -m Backtest.benchmarks.stage_a --data-root DIR --timeframe 4h --dsl-path FILE [--symbols ...] [--repeats 3]``

Each round runs the command twice: with no cache of parsed klines, then with it. The best of the rounds is printed as
JSON, with the values computed per second of computing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..settings import PROJECT_ROOT

COMMAND = PROJECT_ROOT / "Backtest" / "run_prepare.py"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rounds and print the best of each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--timeframe", required=True)
    parser.add_argument("--dsl-path", type=Path, required=True)
    parser.add_argument("--symbols", nargs="+", default=["all"])
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args(argv)
    rounds: dict[str, list[dict[str, Any]]] = {"first_run": [], "cached_klines": []}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "core.yaml").write_text(f"log_root: {json.dumps(folder)}\n", encoding="utf-8")
            for kind, results in rounds.items():
                results.append(run_once(arguments, Path(folder)))
                print(f"{kind}: {results[-1]['seconds']}", file=sys.stderr)
                shutil.rmtree(Path(folder) / "factors")
                shutil.rmtree(Path(folder) / "metadata")
    print(json.dumps({kind: best(results) for kind, results in rounds.items()}, indent=2))
    return 0


def run_once(arguments: argparse.Namespace, hub: Path) -> dict[str, Any]:
    """Run the command and return its summary."""
    line = [
        sys.executable, str(COMMAND), "--data-root", str(arguments.data_root), "--timeframe", arguments.timeframe,
        "--dsl-path", str(arguments.dsl_path), "--symbols", *arguments.symbols, "--factor-set", "benchmark",
        "--datahub-root", str(hub), "--workers", str(arguments.workers), "--on-missing", "drop",
        "--config", str(hub / "core.yaml"),
    ]  # fmt: skip
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def best(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the fastest run's figures."""
    fastest = min(results, key=lambda summary: float(summary["seconds"]["total"]))
    values = fastest["rows"] * len(fastest["factors"])
    return {
        "symbols": len(fastest["symbols"]),
        "rows": fastest["rows"],
        "factors": len(fastest["factors"]),
        "seconds": fastest["seconds"],
        "million_values_per_second_of_computing": round(values / fastest["seconds"]["compute"] / 1e6, 1),
    }


if __name__ == "__main__":
    sys.exit(main())

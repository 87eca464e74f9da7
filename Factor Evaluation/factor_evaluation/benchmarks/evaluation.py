"""The speed of a full evaluation beside its peers, in one run.

    python "Factor Evaluation/factor_evaluation/benchmarks/evaluation.py"                 E1: ours and every peer
    python "Factor Evaluation/factor_evaluation/benchmarks/evaluation.py" --case E2 E3    larger ones
    python "Factor Evaluation/factor_evaluation/benchmarks/evaluation.py" --ours          without peers

12 horizons from arrays [T, S] in memory: IC, rank IC, ICIR, Newey-West, quantile means and errors, turnover of 5
quantiles, rank autocorrelation. One thread; CPU seconds of the process, the least of several runs after one that warms
everything up (one run where it takes longer than a few seconds). Memory is the growth of the process's peak over its
size with the inputs, each in its own process (Linux). Peers that are not installed are left out; every peer's mean
rank ICs are compared with ours first. alphalens takes minutes: only with
--alphalens. The allocator keeps freed memory, for peers as for us (`keep_memory`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Backtest.benchmarks.factors import keep_memory
from factor_evaluation.benchmarks.evaluation_peers import PEERS
from factor_evaluation.measures.screen import screen_factor

Floats = NDArray[np.float64]
CASES = {"E1": (40, 4_500), "E2": (40, 210_240), "E3": (300, 17_520)}
TARGETS = {"E1": (0.017, 10), "E2": (0.75, 120), "E3": (0.40, 20)}
"""CPU seconds and MB above the inputs."""
HORIZONS = {str(bars): bars for bars in range(1, 13)}
OURS = "ours"
ENOUGH_SECONDS = 2.0


def inputs(case: str) -> tuple[Floats, dict[str, Floats]]:
    """Return a factor and forward returns that know nothing of each other."""
    symbols, bars = CASES[case]
    draw = np.random.default_rng(7)
    factor = draw.standard_normal((bars, symbols))
    return factor, {key: 0.01 * draw.standard_normal((bars, symbols)) for key in HORIZONS}


def ours(factor: Floats, labels: Mapping[str, Floats], horizons: Mapping[str, int]) -> list[float]:
    """Screen the factor and return its mean rank ICs."""
    made = screen_factor(factor, labels, horizons)
    return [made.horizons[key].rank_ic.mean for key in horizons]


def calls(alphalens: bool, peers: bool) -> dict[str, Callable[..., list[float]]]:
    """Return what can be measured here."""
    found: dict[str, Callable[..., list[float]]] = {OURS: ours}
    for name, (module, call) in PEERS.items():
        if peers and find_spec(module) and (alphalens or module != "alphalens"):
            found[name] = call
    return found


def seconds(call: Callable[..., list[float]], factor: Floats, labels: Mapping[str, Floats], repeats: int) -> float:
    """Return the least CPU time of the calls; the first one warms up, unless it is long enough to count."""
    best = np.inf
    for turn in range(repeats + 1):
        begin = time.process_time()
        call(factor, labels, HORIZONS)
        taken = time.process_time() - begin
        if turn or taken > ENOUGH_SECONDS:
            best = min(best, taken)
        if taken > ENOUGH_SECONDS:
            break
    return best


def peak_megabytes(case: str, name: str) -> float:
    """Return how far a fresh process's peak rises above its size once the inputs are there."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory", case, name], capture_output=True, text=True, check=True
    )
    return float(done.stdout.strip().splitlines()[-1])


def print_memory(case: str, name: str) -> None:
    """Print the peak of one call above the inputs, in MB; kernels were compiled on a small case before."""
    call = calls(True, True)[name]
    factor, labels = inputs(case)
    call(factor[:200], {key: label[:200] for key, label in labels.items()}, HORIZONS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    call(factor, labels, HORIZONS)
    print((_status("VmHWM") - before) / 1e3)


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) * 1.024


def print_case(case: str, arguments: argparse.Namespace) -> None:
    """Print one case's table."""
    symbols, bars = CASES[case]
    factor, labels = inputs(case)
    target, room = TARGETS[case]
    print(f"{case}: {symbols} symbols x {bars:,} bars x 12 horizons; target {target} s, {room} MB")
    first = expected = None
    for name, call in calls(arguments.alphalens, not arguments.ours).items():
        found = call(factor[:500], {key: label[:500] for key, label in labels.items()}, HORIZONS)
        expected = expected or found
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10, err_msg=name)
        taken = seconds(call, factor, labels, 9)
        first = first or taken
        memory = f"{peak_megabytes(case, name):8.0f} MB" if sys.platform == "linux" else ""
        print(f"  {name:20s} {taken:10.4f} s  {taken / first:8.1f} x {memory}")


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=["E1"])
    parser.add_argument("--ours", action="store_true", help="without peers")
    parser.add_argument("--alphalens", action="store_true", help="alphalens-reloaded too (minutes)")
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print_memory(*arguments.memory)
        return
    keep_memory()
    for case in arguments.case:
        print_case(case, arguments)


if __name__ == "__main__":
    main()

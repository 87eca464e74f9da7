"""The speed of a full evaluation beside its peers, in one run.

    python "Factor Evaluation/factor_evaluation/benchmarks/evaluation.py"                 E1: ours and every peer
    python "Factor Evaluation/factor_evaluation/benchmarks/evaluation.py" --case E2 E3    larger ones
    python "Factor Evaluation/factor_evaluation/benchmarks/evaluation.py" --ours                without peers

What is measured: a full evaluation of one factor against forward returns of 12 horizons, from float64 arrays [T, S] in
memory: IC, rank IC and spread with their ICIR and Newey-West errors, quantile means and errors, turnover of 5 quantiles
per horizon, rank autocorrelation. As in life, the last h bars have no forward return over h bars. One thread; CPU
seconds of the process, all calls in turns, the middle of several rounds after one that is for nothing: a first call has
its memory yet to be given by the system, which alone was a quarter of the time of NumPy + scipy on E2. Every peer's
mean rank ICs are compared with ours first; which of them do less work than ours `evaluation_peers` says. alphalens
costs the same for every bar: beyond `ALPHALENS_BARS` it is measured on two parts and the line through them is drawn on;
it takes minutes: only with --alphalens. Memory is the growth of the process's peak over its size with the inputs, each
in its own process (Linux). The allocator keeps freed memory, for peers as for us (`keep_memory`). Peers that are not
installed are left out (requirements.txt beside this file).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
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
Call = Callable[..., list[float]]
CASES = {"E1": (40, 4_500), "E2": (40, 210_240), "E3": (300, 17_520)}
TARGETS = {"E1": (0.017, 10), "E2": (0.75, 120), "E3": (0.40, 20)}
"""CPU seconds and MB above the inputs."""
HORIZONS = {str(bars): bars for bars in range(1, 13)}
OURS = "ours"
ALPHALENS = "alphalens-reloaded"
ALPHALENS_BARS = 4_500
ENOUGH_SECONDS = 15.0
LONG_SECONDS = 60.0
ROUNDS = 9


def inputs(case: str) -> tuple[Floats, dict[str, Floats]]:
    """Return a factor and forward returns that know nothing of each other; the last of these lie in the future."""
    symbols, bars = CASES[case]
    draw = np.random.default_rng(7)
    factor = draw.standard_normal((bars, symbols))
    labels = {key: 0.01 * draw.standard_normal((bars, symbols)) for key in HORIZONS}
    for key, horizon in HORIZONS.items():
        labels[key][-horizon:] = np.nan
    return factor, labels


def ours(factor: Floats, labels: Mapping[str, Floats], horizons: Mapping[str, int]) -> list[float]:
    """Screen the factor and return its mean rank ICs."""
    made = screen_factor(factor, labels, horizons)
    return [made.horizons[key].rank_ic.mean for key in horizons]


def compile_ours() -> None:
    """Compile what is not kept: kernels that see all bars in one chunk and those that see a part are compiled apart."""
    draw = np.random.default_rng(8)
    for bars in (100, 300):
        factor = draw.standard_normal((bars, 1_300))
        ours(factor, dict.fromkeys(HORIZONS, factor), HORIZONS)


def calls(alphalens: bool, peers: bool) -> dict[str, Call]:
    """Return what can be measured here."""
    found: dict[str, Call] = {OURS: ours}
    for name, (module, call) in PEERS.items():
        if peers and find_spec(module) and (alphalens or module != "alphalens"):
            found[name] = call
    return found


def seconds(found: Mapping[str, Call], factor: Floats, labels: Mapping[str, Floats]) -> dict[str, float]:
    """Return the middle CPU time of every call, called in turns; the first turn, which finds no memory, is for nothing.

    Calls that are long have fewer turns; the first is all that those of more than a minute have.
    """
    compile_ours()
    taken: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(ROUNDS + 1):
        for name, call in found.items():
            spent = sum(taken[name])
            if spent < (LONG_SECONDS if turn < 2 else ENOUGH_SECONDS):
                taken[name].append(once(name, call, factor, labels))
    return {name: statistics.median(each[1:] or each) for name, each in taken.items()}


def once(name: str, call: Call, factor: Floats, labels: Mapping[str, Floats]) -> float:
    """Return the CPU time of a call; on a straight line through two parts where the whole would take an hour."""
    bars = len(factor)
    if name != ALPHALENS or bars <= ALPHALENS_BARS:
        return clocked(call, factor, labels)
    few, many = ALPHALENS_BARS // 4, ALPHALENS_BARS
    short, long = (clocked(call, factor[:n], {key: label[:n] for key, label in labels.items()}) for n in (few, many))
    slope = (long - short) / (many - few)
    print(f"  {ALPHALENS}: {short:.1f} s for {few:,} bars, {long:.1f} s for {many:,}: {1e3 * slope:.2f} ms a bar")
    return long + slope * (bars - many)


def clocked(call: Call, factor: Floats, labels: Mapping[str, Floats]) -> float:
    """Return the CPU time of a call."""
    begin = time.process_time()
    call(factor, labels, HORIZONS)
    return time.process_time() - begin


def peak_megabytes(case: str, name: str) -> float:
    """Return how far a fresh process's peak rises above its size once the inputs are there."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory", case, name], capture_output=True, text=True, check=True
    )
    return float(done.stdout.strip().splitlines()[-1])


def print_memory(case: str, name: str) -> None:
    """Print the peak of one call above the inputs, in MB; kernels were compiled on a small case before."""
    call = calls(True, True)[name]
    compile_ours()
    factor, labels = inputs(case)
    call(factor[:200], {key: label[:200] for key, label in labels.items()}, HORIZONS)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # what the small cases left free would be used, and not be counted
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
    found = calls(arguments.alphalens, not arguments.ours)
    expected = None
    for name, call in found.items():
        made = call(factor[:500], {key: label[:500] for key, label in labels.items()}, HORIZONS)
        expected = expected or made
        np.testing.assert_allclose(made, expected, rtol=0, atol=1e-10, err_msg=name)
    taken = seconds(found, factor, labels)
    for name, middle in taken.items():
        weighed = sys.platform == "linux" and (name != ALPHALENS or bars <= ALPHALENS_BARS)
        memory = f"{peak_megabytes(case, name):8.0f} MB" if weighed else ""
        print(f"  {name:20s} {middle:10.4f} s  {middle / taken[OURS]:8.1f} x {memory}")


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

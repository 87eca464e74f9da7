#!/usr/bin/env python3
"""Two commands on a fresh machine, with the standard library only: ``python quickstart.py demo`` and ``... test``.

demo:
1. `prepare_environment` makes the virtual environment and installs the pins, once per change of them.
2. `write_demo_market` writes the synthetic market (left out with --data-root).
3. `prepare_factors` runs Stage A on it (Backtest/run_prepare.py).
4. `stage_b` runs a strategy on the factors (Backtest/run_backtest.py) and sweeps it (Backtest/run_sweep.py); `warm_up`
   compiles what a first run on futures or with overlays would wait for.
5. `show_run` prints where the report, the plots and the run folder are.

test: `prepare_environment` with the pins of the tests and of the peers they compare with, then pytest.

The file keeps to syntax that Python 3.6 can parse, so that an old interpreter is told what it lacks.
"""

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from typing import Any

OLDEST, NEWEST = (3, 10), (3, 13)
if not OLDEST <= sys.version_info[:2] <= NEWEST:
    found = f"this is {sys.version.split()[0]} ({sys.executable})"
    sys.exit(f"error: Python 3.10 to 3.13 is needed, {found}; start it with another one, e.g. python3.12 quickstart.py")

ROOT = os.path.dirname(os.path.abspath(__file__))
MARKER = ".quickstart.json"
"""Lies in an environment that this file made and says which pins are installed in it."""

RUN_PINS = os.path.join("Backtest", "requirements.txt")
TEST_PINS = os.path.join("Backtest", "requirements-dev.txt")
PEER_PINS = os.path.join("Factor Evaluation", "requirements-no-deps.txt")
"""Installed without what they ask for: the file says why."""

TEST_FOLDERS = [os.path.join("Backtest", "tests"), "Factor Evaluation"]
DEMO_MARKET = os.path.join("DataHub", "synthetic_market")
DEMO_RECIPE = os.path.join("config", "recipes", "demo.yaml")
DEMO_FACTOR = "momentum"
MOST_WORKERS = 8
"""Pytest workers: each holds about half a gigabyte."""


class Failed(Exception):
    """A step failed; carries the exit code. Its own messages are on the screen already."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


def main() -> int:
    """Run the command that the command line names and return its exit code."""
    arguments, rest = read_arguments()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that cannot show a letter of a path must not stop us
    try:
        return demo(arguments) if arguments.command == "demo" else test(arguments, rest)
    except Failed as failure:
        if str(failure):
            print(f"error: {failure}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def read_arguments() -> "tuple[argparse.Namespace, list[str]]":
    """Return the parsed arguments and, for test, what is left for pytest."""
    parser = argparse.ArgumentParser(description="Set up and run the project: a demonstration, or its tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("demo", help="from klines to a backtest report, on a synthetic market or on your data")
    show.add_argument("--data-root", metavar="DIR", help="your klines (default: a synthetic market is written)")
    show.add_argument("--timeframe", default="1h", help="bar length, e.g. 4h (default: %(default)s)")
    check = commands.add_parser("test", help="the whole test suite; further arguments go to pytest")
    check.add_argument("--long", action="store_true", help="full counts of kills, mutations and seeds")
    for command in (show, check):
        command.add_argument("--venv", metavar="DIR", help="virtual environment to make or use (default: .venv here)")
    arguments, rest = parser.parse_known_args()
    if rest and arguments.command == "demo":
        parser.error("unrecognized arguments: " + " ".join(rest))
    return arguments, rest


def demo(arguments: argparse.Namespace) -> int:
    """Go from nothing to a report; 1 when symbols of the user's data were refused."""
    if arguments.data_root and not os.path.isdir(arguments.data_root):
        raise Failed(2, f"--data-root {arguments.data_root} is not a folder")
    step(1, "environment")
    python = prepare_environment(arguments.venv, RUN_PINS)
    step(2, "klines")
    if arguments.data_root:
        data_root = os.path.abspath(arguments.data_root)
        print(f"      your own: {data_root}")
    else:
        data_root = write_demo_market(python)
    factor_set = "quickstart_" + arguments.timeframe if arguments.data_root else "demo"
    step(3, "Stage A: klines -> factors")
    code = prepare_factors(python, data_root, factor_set, arguments.timeframe)
    step(4, "Stage B: factors -> backtest")
    run = [python, factor_set, arguments.timeframe]
    another, summary = stage_b("run_backtest.py", run, ["k=3", "rebalance=1w"], "--engine", "both")
    _, swept = stage_b("run_sweep.py", run, ["k=1,2,3", "rebalance=1w,1M"], "--overwrite")
    print(f"      {swept['trials']} trials of a sweep: {os.path.join(ROOT, swept['path'])}")
    warm_up(python)
    show_run(python, summary)
    return max(code, another)


def test(arguments: argparse.Namespace, rest: "list[str]") -> int:
    """Run pytest in the environment and return its exit code."""
    python = prepare_environment(arguments.venv, TEST_PINS, PEER_PINS)
    chosen = any(os.path.exists(os.path.join(ROOT, word.split("::")[0])) for word in rest)
    command = [python, "-m", "pytest"] + ([] if chosen else TEST_FOLDERS + spread(rest))
    environment = child_environment()
    if environment.get("FACTOR_REAL_DATA"):
        environment["FACTOR_REAL_DATA"] = os.path.abspath(environment["FACTOR_REAL_DATA"])
    return call(command + (["--long"] if arguments.long else []) + rest, environment)


def spread(rest: "list[str]") -> "list[str]":
    """Return the options that use every core, unless the user decides it or debugs."""
    if any(word.startswith(("-n", "--numprocesses", "--pdb", "--trace", "-p")) for word in rest):
        return []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ["-n", str(min(cores, MOST_WORKERS)), "--dist", "loadgroup"] if cores > 1 else []


# The environment


def prepare_environment(folder: "str | None", *pins: str) -> str:
    """Return the interpreter of an environment in which the files `pins` are installed, one after the other."""
    place = os.path.abspath(folder) if folder else os.path.join(ROOT, ".venv")
    python = interpreter(place)
    version = probe(python)
    if version is None:
        version = make_environment(place)
    wanted = {name: digest(name) for file in pins for name in closure(file)}
    installed = read_marker(place)
    if installed.get("python") == version and wanted.items() <= installed.get("pins", {}).items():
        print(f"      {place} has the pins of {' and '.join(pins)}")
        return python
    print(f"      installing {' and '.join(pins)} into {place} (about a minute) ...", flush=True)
    begin = time.monotonic()
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    for file in pins:
        code = call(pip + (["--no-deps"] if file == PEER_PINS else []) + ["-r", file])
        if code:
            raise Failed(code, f"pip could not install {file}, see above; is your package index reachable?")
    print(f"      installed in {time.monotonic() - begin:.0f} s")
    kept = installed.get("pins", {}) if installed.get("python") == version else {}
    write_marker(place, {"python": version, "pins": {**kept, **wanted}})
    return python


def make_environment(place: str) -> str:
    """Make the environment, or make it anew where an interrupted or moved one of ours lies; return its version."""
    ours = os.path.exists(os.path.join(place, MARKER))
    if os.path.isdir(place) and os.listdir(place) and not ours:
        rule = "remove it, or choose another folder with --venv"
        raise Failed(2, f"{place} is there but holds no Python 3.10 to 3.13 with pip that starts; {rule}")
    print(f"      making {place} with Python {sys.version.split()[0]}", flush=True)
    os.makedirs(place, exist_ok=True)
    write_marker(place, {})
    code = call([sys.executable, "-m", "venv", "--clear", place] if ours else [sys.executable, "-m", "venv", place])
    if code:
        raise Failed(code, "no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv")
    write_marker(place, {})
    version = probe(interpreter(place))
    if version is None:
        raise Failed(2, f"the environment {place} was made but its Python does not start")
    return version


def interpreter(place: str) -> str:
    """Return the path of the environment's Python."""
    return os.path.join(place, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


def probe(python: str) -> "str | None":
    """Return ``"3.11"`` for an interpreter that starts, has pip and can be used, else None."""
    if not os.path.exists(python):
        return None
    question = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run(
        [python, "-c", question], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=child_environment(), cwd=ROOT
    )
    version = answer.stdout.decode().strip()
    if answer.returncode or not OLDEST <= tuple(int(part) for part in version.split(".")) <= NEWEST:
        return None
    return version


def closure(pins: str) -> "list[str]":
    """Return the requirements file and those it includes, relative to the root."""
    found = [pins]
    with open(os.path.join(ROOT, pins), encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("-r "):
                found += closure(os.path.join(os.path.dirname(pins), line[3:].strip().strip('"')))
    return found


def digest(name: str) -> str:
    """Return the SHA-256 of a file, the same whatever its line ends are."""
    with open(os.path.join(ROOT, name), "rb") as stream:
        return hashlib.sha256(stream.read().replace(b"\r\n", b"\n")).hexdigest()


def read_marker(place: str) -> "dict[str, Any]":
    """Return what the marker says, nothing where it is missing or damaged."""
    try:
        with open(os.path.join(place, MARKER), encoding="utf-8") as stream:
            content = json.load(stream)
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def write_marker(place: str, content: "dict[str, Any]") -> None:
    """Replace the marker."""
    path = os.path.join(place, MARKER)
    with open(path + ".new", "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=2)
    os.replace(path + ".new", path)


# The two stages


def write_demo_market(python: str) -> str:
    """Write the synthetic market unless it is there, and return its folder."""
    root = os.path.join(ROOT, DEMO_MARKET)
    try:
        _, summary = call_for_json([python, "-m", "Backtest.data.demo_market", "--root", root])
    except Failed as failure:
        hint = f"the demo market was not written (see above); if an older version wrote {root}, remove that folder"
        raise Failed(failure.code, hint) from None
    print(f"      synthetic, {len(summary['symbols'])} symbols ({summary['status']}): {root}")
    return root


def prepare_factors(python: str, data_root: str, factor_set: str, timeframe: str) -> int:
    """Run Stage A over all symbols and return its exit code: 0, or 1 when it refused some of them."""
    command = [python, os.path.join("Backtest", "run_prepare.py"), "--data-root", data_root, "--timeframe", timeframe]
    command += ["--symbols", "all", "--factor-set", factor_set, "--dsl-path", os.path.join(ROOT, DEMO_RECIPE)]
    lenient = [] if data_root == os.path.join(ROOT, DEMO_MARKET) else ["--on-missing", "drop"]
    code, summary = call_for_json(command + lenient + ["--overwrite"])  # the set is our own: its name says so
    print(f"      {len(summary['symbols'])} symbols, {summary['rows']} rows, {summary['seconds']['total']:.1f} s")
    for symbol, reason in sorted(summary["refused"].items()):
        print(f"      refused: {symbol}: {reason}")
    return code


def stage_b(script: str, run: "list[str]", params: "list[str]", *more: str) -> "tuple[int, dict[str, Any]]":
    """Run a command of Stage B with the topk strategy; return its exit code, 0 or 1 as Stage A's, and its summary.

    run: Python, the factor set, and the timeframe.
    """
    command = [run[0], os.path.join("Backtest", script), "--factor-set", run[1], "--timeframe", run[2]]
    for param in ["factor=" + DEMO_FACTOR] + params:
        command += ["--param", param]
    return call_for_json(command + ["--strategy", "topk"] + list(more))


def warm_up(python: str) -> None:
    """Have all that runs and sweeps need compiled into the disk cache, futures and overlays included."""
    print("      compiling the engine for futures, overlays and sweeps (once, about a minute) ...", flush=True)
    code = call([python, "-m", "Backtest.warm_up"])
    if code:
        raise Failed(code)


def show_run(python: str, summary: "dict[str, Any]") -> None:
    """Print the run's figures and where to look at it."""
    folder = os.path.join(ROOT, summary["path"])
    files = sorted(os.listdir(folder))
    shown = {
        "run id": [summary["run_id"]],
        "report": [os.path.join(folder, name) for name in files if name.endswith(".html")],
        "plots": [os.path.join(folder, name) for name in files if name.endswith(".png")],
        "run folder": [folder],
    }
    print()
    for label, lines in shown.items():
        for number, line in enumerate(lines):
            print(f"{'' if number else label:<11} {line}")
    for name in ("total_return", "annualized_return", "sharpe_ratio", "max_drawdown", "turnover"):
        value = summary["metrics"][name]
        print(f"{name:<21} {'none' if value is None else format(value, '.3f')}")
    look = [python, "-m", "Backtest.analyze_run", "--run-id", summary["run_id"]]
    words = subprocess.list2cmdline(look) if os.name == "nt" else shlex.join(look)
    print(f"\nlook again, from {ROOT}:\n  {words}")


# Children


def step(number: int, title: str) -> None:
    """Say which step begins."""
    print(f"[{number}/4] {title}", flush=True)


def child_environment() -> "dict[str, str]":
    """Return the environment of every child: ours, but no other project's packages, and UTF-8 on every system."""
    others = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {**{name: value for name, value in os.environ.items() if name not in others}, "PYTHONUTF8": "1"}


def call(command: "list[str]", environment: "dict[str, str] | None" = None) -> int:
    """Run a command in the project's folder, its output on the screen, and return its exit code."""
    code, _ = finish(subprocess.Popen(command, cwd=ROOT, env=environment or child_environment()))
    return code


def call_for_json(command: "list[str]") -> "tuple[int, dict[str, Any]]":
    """Run a command whose standard output is one JSON object; return its exit code, 0 or 1, and the object."""
    code, output = finish(subprocess.Popen(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE))
    if code not in (0, 1):
        raise Failed(code)
    try:
        return code, json.loads(output.decode("utf-8"))
    except ValueError:
        raise Failed(code or 2, "no summary came from " + " ".join(command[1:3])) from None


def finish(child: "subprocess.Popen[bytes]") -> "tuple[int, bytes]":
    """Wait for a child and return its exit code and output; Ctrl-C reaches it as well, and it gets time to clean up."""
    try:
        output, _ = child.communicate()
    except BaseException:
        try:
            child.wait(20)
        except BaseException:
            child.kill()
        raise
    code = child.returncode
    return (code if code >= 0 else 128 - code), output or b""


if __name__ == "__main__":
    sys.exit(main())

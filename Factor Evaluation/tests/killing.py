"""Kills steps with SIGKILL, again and again, in processes forked from one that has done all the work once already.

``python -m tests.killing MARKET PLACE [--long]``, run by `test_kill_reports`: a fork costs no imports, so that every
fsync, rename and removal of a step can be the last thing it does. Exit code 0: every scenario held.

1. `start`: a finished run in both stores, with reports of three quantiles.
2. `SCENARIOS`: a step that replaces some of it, and what may be there when it was killed.
3. `rounds`: the step, killed at its N-th write or after a time, then run to its end: the bytes of a run never killed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factor_evaluation.evaluate_step import evaluate_command
from factor_evaluation.layout import RunLayout, new_run
from factor_evaluation.parquet_store import ParquetStore
from factor_evaluation.qlib_steps import evaluate_qlib_command, prepare_qlib_command
from factor_evaluation.qlib_store import QlibStore
from factor_evaluation.steps import compute_command, prepare_command

from Backtest.errors import RunError
from Backtest.files import TEMPORARY

from .market import digests

WRITES = ("fsync", "replace", "unlink", "rmdir", "mkdir")
"""Calls of `os` that a process is killed at: just before it would do the N-th of them."""

MOM, OTHER, VOL = "mom = close / shift(close, 3) - 1", "mom = close / shift(close, 9) - 1", "vol = ts_std(close, 24)"
Call = Callable[[], int]
Digests = dict[str, str]
Usable = Callable[[Digests, Digests], None]
"""Checks a run whose step was killed, given the digests before the step and after a whole one."""


def forked(call: Call, *, at: int = 0, after: float | None = None) -> int:
    """Run `call` in a forked process and return its exit code, -9 where it was killed at its `at`-th write or later."""
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        with writes(at):
            code = call()
        os._exit(code)
    if after is not None:
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def writes(at: int = 0) -> Iterator[list[str]]:
    """Count the writes of the block, and kill the process instead of the one with number `at`."""
    seen: list[str] = []
    kept = {name: getattr(os, name) for name in WRITES}

    def counted(name: str) -> Callable[..., Any]:
        def write(*words: Any, **named: Any) -> Any:
            seen.append(name)
            if len(seen) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return kept[name](*words, **named)

        return write

    for name in WRITES:
        setattr(os, name, counted(name))
    try:
        yield seen
    finally:
        for name, real in kept.items():
            setattr(os, name, real)


@dataclass(frozen=True)
class Scenario:
    """A step over a finished run: its call, the folders it writes, and what must hold wherever it was killed."""

    name: str
    call: Call
    parts: tuple[str, ...]
    usable: Usable


@dataclass(frozen=True)
class Place:
    """Where the run lies, and where its state before each kill is kept."""

    layout: RunLayout
    kept: Path

    def content(self, parts: tuple[str, ...]) -> Digests:
        root = self.layout.output_root
        return {
            name: digest
            for name, digest in digests(root).items()
            if name == "factor_ledger.json" or name.startswith(tuple(f"one/{part}/" for part in parts))
        }

    def restore(self) -> None:
        shutil.rmtree(self.layout.output_root)
        shutil.copytree(self.kept, self.layout.output_root)


def rounds(place: Place, scenario: Scenario, long: bool) -> int:
    """Kill the scenario's step at some or all of its writes and at random moments; return how often it was killed."""
    place.restore()
    before = place.content(scenario.parts)
    begin = time.monotonic()
    with writes() as seen:
        assert scenario.call() == 0, scenario.name
    seconds = time.monotonic() - begin
    whole = place.content(scenario.parts)
    assert whole != before
    moments = random.Random(4)
    total = len(seen)
    numbers = list(range(1, total + 1)) if long else [moments.randrange(total // 3, total + 1)]
    kills: list[dict[str, Any]] = [{"at": number} for number in numbers]
    kills += [{"after": seconds * moments.uniform(0.1, 1.0)} for _ in range(20 if long else 1)]
    killed = 0
    for kill in kills:
        place.restore()
        code = forked(scenario.call, **kill)
        assert code == -signal.SIGKILL or ("after" in kill and code == 0), (scenario.name, kill, code)
        killed += code != 0
        scenario.usable(before, whole)
        assert forked(scenario.call) == 0, (scenario.name, kill)
        found = place.content(scenario.parts)
        wrong = sorted(name for name in found.keys() | whole if found.get(name) != whole.get(name))
        assert not wrong, (scenario.name, kill, wrong)
        assert not [path for path in place.layout.root.rglob("*") if path.name.endswith((TEMPORARY, ".partial"))]
    assert killed >= len(numbers)
    return killed


def start(market: Path, folder: Path) -> tuple[RunLayout, Callable[..., list[str]]]:
    """Make the run that every scenario begins with, and return it with what makes a command line."""
    config = folder / "core.yaml"
    config.write_text(f"datahub_root: {folder / 'hub'}\n", encoding="utf-8")
    out = folder / "out"

    def line(*words: str, place: str = "--output-dir") -> list[str]:
        return [place, str(out), "--run-id", "one", "--bar-freq", "1h", "--config", str(config), *words]

    assert prepare_command("", line("--data-root", str(market), "--horizons", "1,6", place="--output-root")) == 0
    assert compute_command("", line("--dsl", MOM, "--dsl", VOL)) == 0
    assert prepare_qlib_command("", line()) == 0
    assert evaluate_command("", line("--factor-name", "all", "--group", "3")) == 0
    options = ("--factor-name", "vol", "--group", "3", "--enable-report-analysis")
    assert evaluate_qlib_command("", line(*options)) == 0
    return new_run(out, "one", "1h"), line


def scenarios(place: Place, line: Callable[..., list[str]]) -> list[Scenario]:
    """Return every step that is killed."""
    plain, store = ParquetStore(place.layout), QlibStore(place.layout)
    asked = ("--group", "4", "--time-split", "month", "--cost", "0.001", "--factor-name", "all")
    one = (*asked[:-1], "vol")

    def reports_whole(part: str) -> Usable:
        def check(before: Digests, whole: Digests) -> None:
            """A folder with its JSON, which is written last, is that of one evaluation."""
            now = place.content((part,))
            for name in now:
                folder, _, last = name.rpartition("/")
                if last in ("evaluation.json", "factors.json"):
                    own, old, new = ({one: files[one] for one in files if one.rpartition("/")[0] == folder}
                                     for files in (now, before, whole))  # fmt: skip
                    assert own in (old, new), name

        return check

    def store_whole(before: Digests, whole: Digests) -> None:
        """The store is one of earlier inputs, none, or the new one, whole."""
        try:
            store.require_current()
        except RunError as error:
            assert "run step0_prepare_inputs_qlib_01.py" in str(error)
            return
        assert store.verify() == []
        store.read_inputs()

    def factors_whole(before: Digests, whole: Digests) -> None:
        """A factor that is there can be read, or the step that makes it is named."""
        for each in (plain, store):
            for name in each.factor_names():
                try:
                    each.read_factor(name)
                except RunError as error:
                    assert "; run step" in str(error), error

    return [
        Scenario("step 4", lambda: evaluate_command("", line(*asked)), ("reports",), reports_whole("reports")),
        Scenario("step 4 through Qlib", lambda: evaluate_qlib_command("", line(*one, "--enable-report-analysis")),
                 ("reports_qlib",), reports_whole("reports_qlib")),
        Scenario("step 3 into both stores", lambda: compute_command("", line("--dsl", OTHER, "--overwrite")),
                 ("factors", "qlib"), factors_whole),
        Scenario("step 0 for Qlib", lambda: prepare_qlib_command("", line()), ("qlib",), store_whole),
    ]  # fmt: skip


def main(market: Path, folder: Path, long: bool) -> None:
    layout, line = start(market, folder)
    place = Place(layout, folder / "kept")
    shutil.copytree(layout.output_root, place.kept)
    for scenario in scenarios(place, line):
        if scenario.name == "step 0 for Qlib":  # over a store of other inputs
            place.restore()
            words = ("--data-root", str(market), "--horizons", "1,2", "--overwrite")
            assert prepare_command("", line(*words, place="--output-root")) == 0
            shutil.rmtree(place.kept)
            shutil.copytree(layout.output_root, place.kept)
        print(scenario.name, rounds(place, scenario, long), "kills", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--long" in sys.argv)

"""Where everything of an evaluation run lies: every path under ``<output-root>/<run_id>`` stands here, once.

```
golden/<bar_freq>/manifest.json            Step 0: what was read, by which settings, what was written
golden/<bar_freq>/store.json               Step 0: hashes of the inputs and labels
golden/<bar_freq>/golden.json              Step 0: sampled rows as Python's csv module reads them, and their labels
golden/<bar_freq>/inputs/<SYMBOL>.parquet  Step 0: normalised inputs
golden/<bar_freq>/labels/<SYMBOL>.parquet  Step 0: forward returns
qlib/<bar_freq>/                           Step 0 and 3: the Qlib provider
factors/<bar_freq>/<FACTOR>/               Step 3: <SYMBOL>.parquet, and factor.json, written last
reports/<bar_freq>/                        Step 2: qc.json, qc.html; Step 4: plotly.min.js for all pages, and of several
                                           factors at once factors.json, factors.html
reports/<bar_freq>/<FACTOR>/               Step 4: evaluation.html, PNGs, and evaluation.json, written last
reports_qlib/<bar_freq>/                   the same from the Qlib store
config_snapshots/<bar_freq>/<step>.json    the settings of each step's last run
logs/<bar_freq>/                           one file per run of a step
```
Beside the runs, in ``<output-root>``: factor_ledger.json, the p-values of everything ever evaluated there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from Backtest.data.timeframe import Timeframe, parse_timeframe
from Backtest.errors import FactorError, RunError, did_you_mean
from Backtest.names import check_name, inside

Part = Literal["golden", "qlib", "factors", "reports", "reports_qlib", "config_snapshots", "logs"]
PARTS: tuple[Part, ...] = ("golden", "qlib", "factors", "reports", "reports_qlib", "config_snapshots", "logs")
StoreName = Literal["parquet", "qlib"]

ALL = "all"
"""What stands for every factor of a run, and so names none."""

STEPS = {
    "manifest": "step0_prepare_inputs.py --mode execute",
    "qlib": "step0_prepare_inputs_qlib_01.py",
    "factor": "step3_factor_engine_04.py",
}
"""What makes an output, for messages."""


@dataclass(frozen=True)
class RunLayout:
    """The paths of one run at one bar length.

    Attributes
    ----------
    root
        ``<output-root>/<run_id>``.
    timeframe
        Bar length; its label is the ``<bar_freq>`` of every path.
    """

    root: Path
    timeframe: Timeframe

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self.root.name

    @property
    def output_root(self) -> Path:
        """Folder of all runs; the ledger of what was evaluated lies there."""
        return self.root.parent

    @property
    def bar_freq(self) -> str:
        """The user's label of the bar length."""
        return self.timeframe.label

    def folder(self, part: Part) -> Path:
        """Return the folder of a part; nothing is made."""
        return inside(self.root, part, self.bar_freq)

    @property
    def lock(self) -> Path:
        """Lock file of whoever writes this bar length."""
        return self.folder("logs") / "writer.lock"

    @property
    def manifest(self) -> Path:
        """What Step 0 read and wrote; it is written last."""
        return self.folder("golden") / "manifest.json"

    @property
    def store_index(self) -> Path:
        """What says that the Parquet inputs are complete."""
        return self.folder("golden") / "store.json"

    @property
    def golden(self) -> Path:
        """Golden samples."""
        return self.folder("golden") / "golden.json"

    @property
    def inputs(self) -> Path:
        """Folder of the normalised inputs."""
        return self.folder("golden") / "inputs"

    @property
    def labels(self) -> Path:
        """Folder of the forward returns."""
        return self.folder("golden") / "labels"

    @property
    def qlib(self) -> Path:
        """Folder of the Qlib provider."""
        return self.folder("qlib")

    def input_file(self, symbol: str) -> Path:
        """Return a symbol's normalised inputs."""
        return inside(self.inputs, f"{check_name('symbol', symbol)}.parquet")

    def label_file(self, symbol: str) -> Path:
        """Return a symbol's forward returns."""
        return inside(self.labels, f"{check_name('symbol', symbol)}.parquet")

    def factor_folder(self, name: str) -> Path:
        """Return a factor's folder."""
        return inside(self.folder("factors"), check_name("factor", name))

    def factor_file(self, name: str, symbol: str) -> Path:
        """Return a factor's values for one symbol."""
        return inside(self.factor_folder(name), f"{check_name('symbol', symbol)}.parquet")

    def factor_metadata(self, name: str) -> Path:
        """Return what says that a factor is complete; it is written last."""
        return self.factor_folder(name) / "factor.json"

    def reports(self, store: StoreName = "parquet") -> Path:
        """Return the folder of the reports made from a store."""
        return self.folder("reports" if store == "parquet" else "reports_qlib")

    def report_folder(self, name: str, store: StoreName = "parquet") -> Path:
        """Return the folder of a factor's evaluation."""
        return inside(self.reports(store), check_name("factor", name))

    def snapshot(self, step: str) -> Path:
        """Return the file of the settings that a step last ran with."""
        return self.folder("config_snapshots") / f"{step}.json"

    def factor_names(self) -> tuple[str, ...]:
        """Return the factors that are complete, sorted."""
        return tuple(sorted(path.parent.name for path in self.folder("factors").glob("*/factor.json")))


def new_run(output_root: Path, run_id: str, bar_freq: str) -> RunLayout:
    """Return the layout of a run that may not exist yet; Step 0 is the only one that makes runs."""
    check_name("run id", run_id)
    layout = RunLayout(_root_of(output_root, run_id), _timeframe(bar_freq))
    _refuse_other_label(layout)
    return layout


def resolve_run(output_dir: Path, run_id: str, bar_freq: str) -> RunLayout:
    """Return the layout of a run that exists; `output_dir` may end with the run id or not.

    Raises
    ------
    RunError
        There is no such run, or it has the bar length under another label.
    """
    check_name("run id", run_id)
    root = _root_of(output_dir, run_id)
    if not root.is_dir():
        hint = did_you_mean(run_id, _runs(root.parent)) or f"; {STEPS['manifest']} makes it"
        raise RunError(f"there is no run {run_id!r} in {root.parent}{hint}")
    layout = RunLayout(root, _timeframe(bar_freq))
    _refuse_other_label(layout)
    return layout


def require(path: Path, made_by: str, what: str) -> Path:
    """Return `path` if it is there, else raise RunError naming the step that makes it."""
    if not path.exists():
        raise RunError(f"{what} is missing ({path}); run {STEPS.get(made_by, made_by)} first")
    return path


def require_factor(layout: RunLayout, name: str) -> Path:
    """Return the metadata of a factor that is complete, else raise RunError with what there is."""
    path = layout.factor_metadata(name)
    if path.exists():
        return path
    names = layout.factor_names()
    hint = did_you_mean(name, names)
    have = f"; there are {', '.join(names[:10])}" if names and not hint else hint
    raise RunError(f"factor {name!r} is not in {layout.folder('factors')}{have}; {STEPS['factor']} makes it")


def _root_of(output_dir: Path, run_id: str) -> Path:
    below = inside(output_dir, run_id)
    return output_dir if output_dir.name == run_id and not below.is_dir() else below


def _runs(output_root: Path) -> tuple[str, ...]:
    if not output_root.is_dir():
        return ()
    return tuple(sorted(path.name for path in output_root.iterdir() if (path / "golden").is_dir()))


def _timeframe(bar_freq: str) -> Timeframe:
    try:
        return parse_timeframe(bar_freq)
    except FactorError as error:
        raise RunError(f"--bar-freq: {error}") from None


def _refuse_other_label(layout: RunLayout) -> None:
    """Refuse 5m where the run has 5min: two folders of one bar length would drift apart."""
    folder = layout.root / "golden"
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        try:
            other = parse_timeframe(entry.name)
        except FactorError:
            continue
        if other == layout.timeframe and other.label != layout.bar_freq:
            raise RunError(f"run {layout.run_id} calls this bar length {other.label!r}; write --bar-freq {other.label}")

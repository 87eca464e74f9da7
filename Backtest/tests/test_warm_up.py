"""What `warm_up` compiles is all that runs and sweeps need: whatever is asked after it, nothing is compiled anew."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from Backtest.tests.fake_market import SYMBOLS, TIMEFRAME, make_market

ROOT = Path(__file__).resolve().parents[2]
EVERY_OVERLAY = (
    "stop_loss:pct=0.05", "take_profit:pct=0.1,cooldown=2", "trailing_stop:pct=0.05,after=0.01",
    "drawdown_stop:pct=0.2,cooldown=9", "vol_target:annual=0.4,days=5", "max_position:cap=0.4", "max_gross:cap=2",
    "max_net:cap=1", "max_turnover:cap=1",
)  # fmt: skip
SCRIPT = """
import contextlib, io, json, sys
from Backtest import run_backtest, run_sweep, simulate, warm_up

simulate.draw_all = lambda *_: {}
PACKAGES = ("Backtest.engine.numba", "Backtest.search")

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith(PACKAGES)]
    made = [value for module in modules for value in vars(module).values() if hasattr(value, "py_func")]
    return {(value.__module__, value.__name__, str(kind)) for value in made for kind in value.signatures}

warm_up.warm_up()
before = compiled()
for name, words in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()):
        assert {"run": run_backtest, "sweep": run_sweep}[name].command(words) == 0
    assert compiled() == before, (words, compiled() - before)
print(len(before))
"""


def test_nothing_is_compiled_after_it(tmp_path):
    market = make_market(tmp_path)
    folder = market.data_root / "funding"
    folder.mkdir()
    opens = [TIMEFRAME.open_ns(bar) // 10**6 for bar in range(116_000, 122_000)]
    for symbol in SYMBOLS[1:]:  # the first has none
        rows = [f"{stamp + 3},{symbol},0.0001" for stamp in opens]
        (folder / f"{symbol}.csv").write_text("timestamp,symbol,funding_rate\n" + "\n".join(rows), encoding="utf-8")
    overlays = [word for text in EVERY_OVERLAY for word in ("--overlay", text)]
    um = ["--market", "um", "--leverage", "2", "BTC=5"]
    own = ["--allow-module", "Backtest.tests.sample_strategy"]
    runs = [
        ("run", "topk", ["--engine", "numba"]),
        ("run", "longshort", [*um, *overlays, "--margin-mode", "isolated"]),
        ("run", "signal", [*um, "--param", "upper=0.02", "--param", "lower=-0.02"]),
        ("run", "topk", [*um, "--overlay", "max_gross:cap=1", "--param", "weighting=inverse_vol"]),
        ("run", "Backtest.tests.sample_strategy:RisingShare", [*um, *own]),
        ("sweep", "longshort", [*um, *overlays, "--param", "k=1,2", "--param", "weighting=equal,score"]),
        ("sweep", "topk", ["--overlay", "drawdown_stop:pct=0.1", "--param", "k=1,2"]),
        ("sweep", "signal", [*um, "--param", "upper=0.01,0.02"]),
    ]
    lines = [(name, market.arguments(*more, strategy=strategy)) for name, strategy, more in runs]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(lines), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10

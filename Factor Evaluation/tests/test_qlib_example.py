"""The manual's Qlib example as it is written, on real 1m klines: other paths, dates and symbols, nothing else."""

from __future__ import annotations

import json
import runpy
import shlex
import sys

import pytest

from .market import FOLDER

pytestmark = pytest.mark.xdist_group("qlib")

RUN = "--run-id backtest_5min --bar-freq 5min"
DATA = '--data-root "{data}" --start 2025-05-06 --end 2025-05-09 --symbols BTC,ETH,SOL,LINK'
BURST = (
    "VOL_BURST_COMPLEX = (ts_std(logret(close, 1), 12) / (ts_std(logret(close, 1), 96) + 0.000001) * "
    "ts_mean(abs(logret(close, 1)), 12) / (ts_mean(abs(logret(close, 1)), 96) + 0.000001) * "
    "ts_std(logret(close, 1), 12) / (ema(ts_std(logret(close, 1), 12), 24) + 0.000001))"
)
LINES = (
    f'step0_prepare_inputs.py {DATA} --output-root "{{out}}" {RUN} --horizons 5,15,30,60 --mode execute '
    "--concurrency 4",
    f'step0_prepare_inputs_qlib_01.py --output-dir "{{out}}" {RUN}',
    f'step1_contract_and_golden_qlib_02.py --output-dir "{{out}}" {RUN}',
    f'step2_loader_and_qc_qlib_03.py --output-dir "{{out}}" {RUN}',
    f'step3_factor_engine_04.py {DATA} --output-dir "{{out}}/backtest_5min" {RUN} --dsl "{BURST}"',
    f'step4_factor_evaluation_qlib_05.py --output-dir "{{out}}" --factor-name VOL_BURST_COMPLEX {RUN} '
    "--horizons 5,15,30,60 --group 5 --time-split month --analysis-format html --enable-report-analysis",
)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Qlib has no release for this Python")
def test_the_qlib_example_of_the_manual(real_data, tmp_path, capfd, monkeypatch):
    out, config = tmp_path / "out put", tmp_path / "core.yaml"
    config.write_text(f"datahub_root: {json.dumps(str(tmp_path / 'hub'))}\n", encoding="utf-8")
    said = []
    for line in LINES:
        words = shlex.split(line.format(data=(real_data / "um_futures").as_posix(), out=out.as_posix()))
        monkeypatch.setattr(sys, "argv", [*words, "--config", str(config)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(FOLDER / words[0]), run_name="__main__")
        told = capfd.readouterr()
        assert (ended.value.code, told.err) == (0, ""), line
        said.append(json.loads(told.out))
    assert {one["status"] for one in said} == {"ok"}
    root = out / "backtest_5min"
    parts = {path.relative_to(root).parts[:2] for path in root.rglob("*") if path.is_file()}
    folders = ("golden", "qlib", "factors", "reports_qlib", "config_snapshots", "logs")
    assert parts == {(part, "5min") for part in folders}
    folder = root / "reports_qlib" / "5min" / "VOL_BURST_COMPLEX"
    document = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert document["symbols"] == ["BTCUSDT", "ETHUSDT", "LINKUSDT", "SOLUSDT"]
    assert list(document["horizons"]) == ["5", "15", "30", "60"]
    assert [row["bars"] for row in document["horizons"].values()] == [5, 15, 30, 60]
    assert list(document["splits"]["month"]["parts"]) == ["2025-05"]
    # four symbols of three days of 5min; the last h + 1 bars have no forward return
    assert document["horizons"]["60"]["rows"] <= 4 * (3 * 288 - 61)
    assert {"evaluation.html", "qlib_report.html", "qlib_report.json", "quantile_bars.png"} <= {
        path.name for path in folder.iterdir()
    }

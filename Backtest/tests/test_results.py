"""Run folders and the index: published whole or not at all, found again, safe under many writers."""

from __future__ import annotations

import json
import multiprocessing
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from Backtest.errors import NameRefused, RunError
from Backtest.files import one_writer, write_json
from Backtest.metrics import METRICS
from Backtest.names import check_name
from Backtest.results import REQUIRED, find_run, new_run_id, publishing, read_run, remove_run, run_folders
from Backtest.runs.index import INDEX, KEYS, list_runs, update_index


def publish_empty(root: Path, strategy: str = "topk", run_id: str | None = None, sharpe: float = 1.0) -> str:
    run_id = run_id or new_run_id()
    with publishing(root, strategy, run_id) as partial:
        for name in REQUIRED:
            (partial / name).write_text("", encoding="utf-8")
        context = {
            "run_id": run_id, "created_at": "2024-01-01T00:00:00Z",
            "strategy": {"name": strategy, "source": None, "params": {"k": 5}},
            "start": "2023-01-01T00:00:00Z", "end": "2023-02-01T00:00:00Z", "timeframe": "4h", "factor_set": "a",
            "symbols": ["BTCUSDT"], "settings": {}, "instruments": {}, "inputs": {}, "software": {}, "warnings": [],
            "synthetic": False,
        }  # fmt: skip
        write_json(partial / "run_context.json", context)
        write_json(partial / "metrics.json", {"sharpe_ratio": sharpe})
    return run_id


def test_run_ids_are_names_that_sort_by_age_and_never_repeat_within_a_moment():
    moment = datetime(2024, 5, 6, 7, 8, 9, 12_345, tzinfo=timezone.utc)
    ids = {new_run_id(moment) for _ in range(1000)}
    assert len(ids) == 1000
    assert all(check_name("run id", run_id).startswith("20240506T070809012Z-") for run_id in ids)


def test_a_published_run_is_there_whole_and_nothing_else_is(tmp_path):
    run_id = publish_empty(tmp_path)
    home = tmp_path / "topk"
    assert [path.name for path in home.iterdir()] == [run_id]
    assert sorted(path.name for path in (home / run_id).iterdir()) == sorted(REQUIRED)


def test_a_run_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), publishing(tmp_path, "topk", "a") as partial:
        (partial / "metrics.json").write_text("{}", encoding="utf-8")
        raise ZeroDivisionError
    assert list((tmp_path / "topk").iterdir()) == []


def test_a_run_is_never_overwritten(tmp_path):
    publish_empty(tmp_path, run_id="same", sharpe=1.0)
    with pytest.raises(RunError, match="never overwritten"):
        publish_empty(tmp_path, run_id="same", sharpe=2.0)
    assert read_run(tmp_path / "topk" / "same").metrics == {"sharpe_ratio": 1.0}


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "a\nb", "a\0b", "CON", "x" * 300, "", ".hidden", "módulo"])
def test_names_that_leave_the_root_are_refused(tmp_path, name):
    with pytest.raises(NameRefused), publishing(tmp_path, name, "a"):
        pass
    with pytest.raises(NameRefused), publishing(tmp_path, "topk", name):
        pass
    with pytest.raises(NameRefused):
        find_run(tmp_path, name)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_link_out_of_the_root_is_refused(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "results"
    root.mkdir()
    (root / "topk").symlink_to(outside)
    with pytest.raises(NameRefused, match="leads outside"), publishing(root, "topk", "a"):
        pass


def test_what_a_killed_run_left_is_never_listed_and_is_swept(tmp_path):
    left = tmp_path / "topk" / ".20240101T000000Z-00000000.partial"
    left.mkdir(parents=True)
    for name in REQUIRED:
        (left / name).write_text("{}", encoding="utf-8")
    assert run_folders(tmp_path) == {}
    publish_empty(tmp_path)
    assert not left.exists()


def test_a_run_that_is_being_written_is_not_swept(tmp_path):
    left = tmp_path / "topk" / ".alive.partial"
    left.mkdir(parents=True)
    with one_writer(tmp_path / "topk" / ".alive.lock"):
        publish_empty(tmp_path)
        assert left.exists()


def test_old_lock_files_that_nobody_holds_are_swept_and_young_or_held_ones_stay(tmp_path):
    home = tmp_path / "topk"
    home.mkdir()
    old, young, held = (home / f".{name}.lock" for name in ("old", "young", "held"))
    for lock in (old, young, held):
        lock.touch()
    for lock in (old, held):
        os.utime(lock, (1.0, 1.0))
    with one_writer(held):
        os.utime(held, (1.0, 1.0))
        publish_empty(tmp_path)
        assert (old.exists(), young.exists(), held.exists()) == (False, True, True)


def test_a_folder_without_a_required_file_is_no_run(tmp_path):
    run_id = publish_empty(tmp_path)
    (tmp_path / "topk" / run_id / "orders.csv").unlink()
    (tmp_path / "notes").mkdir()
    (tmp_path / "topk" / "notes.txt").write_text("mine", encoding="utf-8")
    assert run_folders(tmp_path) == {}


def test_index_entries_have_the_schema_and_a_path_inside_the_root(tmp_path):
    run_id = publish_empty(tmp_path, sharpe=1.25)
    (entry,) = update_index(tmp_path)
    assert tuple(entry) == KEYS
    assert (entry["run_id"], entry["strategy"], entry["path"]) == (run_id, "topk", f"topk/{run_id}")
    assert list(entry["metrics"]) == list(METRICS)
    assert entry["metrics"]["sharpe_ratio"] == 1.25
    assert json.loads((tmp_path / INDEX).read_text(encoding="utf-8")) == [entry]


@pytest.mark.parametrize("damage", [None, "", "{", "[1, 2]", "{}", '[{"run_id": "x"}]', "\x00\xff", '[{"path": 1}]'])
def test_a_deleted_or_damaged_index_is_rebuilt(tmp_path, damage):
    for _ in range(3):
        publish_empty(tmp_path)
    before = update_index(tmp_path)
    if damage is None:
        (tmp_path / INDEX).unlink()
    else:
        (tmp_path / INDEX).write_bytes(damage.encode("latin-1"))
    assert list_runs(tmp_path) == before
    assert json.loads((tmp_path / INDEX).read_text(encoding="utf-8")) == before


def test_the_index_follows_the_folders(tmp_path):
    first, second = publish_empty(tmp_path, run_id="a1"), publish_empty(tmp_path, run_id="a2")
    assert [entry["run_id"] for entry in update_index(tmp_path)] == [first, second]
    remove_run(tmp_path / "topk" / first)
    assert [entry["run_id"] for entry in list_runs(tmp_path)] == [second]
    assert [path.name for path in (tmp_path / "topk").iterdir()] == [second]


def test_a_damaged_run_is_left_out_and_named(tmp_path, caplog):
    good, bad = publish_empty(tmp_path), publish_empty(tmp_path)
    (tmp_path / "topk" / bad / "run_context.json").write_text("{", encoding="utf-8")
    assert [entry["run_id"] for entry in update_index(tmp_path)] == [good]
    with pytest.raises(RunError, match=r"run_context\.json"):
        read_run(find_run(tmp_path, bad))


def test_a_run_that_lost_a_file_is_told_as_incomplete(tmp_path, caplog):
    whole, broken = (publish_empty(tmp_path, run_id=run_id) for run_id in ("20240101-a", "20240102-b"))
    folder = tmp_path / "topk" / broken
    (folder / "orders.csv").unlink()
    (tmp_path / "topk" / "notes").mkdir()
    for name in (broken, "20240102"):
        with pytest.raises(RunError) as caught:
            find_run(tmp_path, name)
        assert str(caught.value) == f"run folder {folder} is incomplete: orders.csv is missing"
    assert [entry["run_id"] for entry in list_runs(tmp_path)] == [whole]
    assert "20240102-b is incomplete: orders.csv is missing" in caplog.text
    assert "notes" not in caplog.text
    (folder / "trades.json").unlink()
    with pytest.raises(RunError, match=r"orders\.csv, trades\.json are missing"):
        find_run(tmp_path, broken)


def test_listing_a_folder_without_runs_writes_nothing_there(tmp_path):
    (tmp_path / "photos" / "summer").mkdir(parents=True)
    assert list_runs(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_an_index_whose_runs_are_all_gone_is_emptied(tmp_path):
    run_id = publish_empty(tmp_path)
    update_index(tmp_path)
    remove_run(tmp_path / "topk" / run_id)
    assert list_runs(tmp_path) == []
    assert json.loads((tmp_path / INDEX).read_text(encoding="utf-8")) == []


def test_a_root_that_cannot_be_written_is_still_listed(tmp_path, monkeypatch):
    publish_empty(tmp_path)

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("Backtest.runs.index.write_json", refuse)
    assert len(list_runs(tmp_path)) == 1


def test_no_root_no_runs(tmp_path):
    for read in (list_runs, lambda root: find_run(root, "x")):
        with pytest.raises(RunError, match=r"results folder .*absent does not exist"):
            read(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_finding_a_run(tmp_path):
    for run_id in ("20240101T000000Z-aaaa0000", "20240102T000000Z-bbbb0000", "20240102T000000Z-cccc0000"):
        publish_empty(tmp_path, run_id=run_id)
    assert find_run(tmp_path, "20240101T000000Z-aaaa0000").name == "20240101T000000Z-aaaa0000"
    assert find_run(tmp_path, "20240101").name == "20240101T000000Z-aaaa0000"
    with pytest.raises(RunError, match="begins 2 runs"):
        find_run(tmp_path, "20240102")
    with pytest.raises(RunError, match="did you mean '20240102T000000Z-bbbb0000'"):
        find_run(tmp_path, "20240102T000000Z-bbbb0001")
    with pytest.raises(RunError, match=r"the latest are .*cccc0000"):
        find_run(tmp_path, "nothing-like-it")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no run"):
        find_run(tmp_path / "empty", "x")


def test_an_ambiguous_beginning_names_the_latest_and_counts_the_rest(tmp_path):
    for number in range(11):
        publish_empty(tmp_path, run_id=f"2026-{number:02d}")
    with pytest.raises(RunError, match="begins 11 runs: 2026-08, 2026-09, 2026-10 and 8 more; give more of it"):
        find_run(tmp_path, "2026")


def write_many(root: str, count: int) -> None:
    for _ in range(count):
        publish_empty(Path(root))
        update_index(Path(root))


def test_many_writers_lose_no_entry(tmp_path, request):
    writers, each = (6, 50) if request.config.getoption("--long", default=False) else (4, 12)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_many, args=(str(tmp_path), each)) for _ in range(writers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * writers
    entries = json.loads((tmp_path / INDEX).read_text(encoding="utf-8"))
    assert len({entry["run_id"] for entry in entries}) == writers * each
    assert [path.name for path in tmp_path.glob("*/.*")] == []

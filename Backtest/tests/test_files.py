"""Files are never half written (FAULTS 25, 28), locks name their holder and end with it (FAULTS 29)."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from Backtest import files
from Backtest.files import (
    Locked,
    atomic_writer,
    one_writer,
    sha256,
    sweep,
    text_sha1,
    write_bytes,
    write_json,
    write_text,
)

PROJECT_ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = b"old content", b"new content, longer than the old one"


class FailingStream:
    """A binary file whose `step`-th call (write, flush, fileno for fsync, close) fails."""

    def __init__(self, stream, countdown):
        self.stream, self.countdown = stream, countdown

    def __getattr__(self, name):
        self.countdown.tick(name)
        return getattr(self.stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.countdown.tick("close")


class Countdown:
    """Fails with `code` when its n-th step is taken, and remembers which that was."""

    def __init__(self, number, code):
        self.left, self.code, self.failed_at = number, code, None

    def tick(self, name):
        self.left -= 1
        if self.left == 0:
            self.failed_at = name
            raise OSError(self.code, os.strerror(self.code))


def fail_at(monkeypatch, number, code):
    """Make the n-th step of the next atomic write fail."""
    countdown = Countdown(number, code)

    def stepped(name, function):
        def call(*arguments, **keywords):
            countdown.tick(name)
            return function(*arguments, **keywords)

        return call

    def opened(path, mode):
        countdown.tick("open")
        return FailingStream(open(path, mode), countdown)

    monkeypatch.setattr(files, "open", opened, raising=False)
    monkeypatch.setattr(os, "fsync", stepped("fsync", os.fsync))
    monkeypatch.setattr(os, "replace", stepped("replace", os.replace))
    return countdown


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("there", [True, False])
def test_a_failing_step_leaves_the_old_or_the_new_file(tmp_path, monkeypatch, there, code):
    """SQLite's loop: fail the Nth step for every N until a write passes untouched."""
    failed_at = []
    for number in range(1, 50):
        path = tmp_path / f"{number}.json"
        if there:
            path.write_bytes(OLD)
        with monkeypatch.context() as patch:
            countdown = fail_at(patch, number, code)
            try:
                write_bytes(path, NEW)
            except OSError as error:
                assert error.errno == code
        allowed = {NEW} if countdown.failed_at is None else {OLD if there else None, NEW}
        assert (path.read_bytes() if path.exists() else None) in allowed
        assert [entry.name for entry in tmp_path.iterdir() if files.TEMPORARY in entry.name] == []
        if countdown.failed_at is None:
            break
        failed_at.append(countdown.failed_at)
    assert failed_at[:5] == ["open", "write", "flush", "fileno", "fsync"]
    assert "close" in failed_at
    assert "replace" in failed_at


def test_a_failing_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(OLD)
    with pytest.raises(KeyboardInterrupt), atomic_writer(path) as stream:
        stream.write(NEW)
        raise KeyboardInterrupt
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_in_use_is_tried_again_on_windows(tmp_path, monkeypatch):
    """Stand-in for Windows: the rename is refused twice, then passes."""
    tries = []

    def refusing(source, target):
        tries.append(source)
        if len(tries) < 3:
            raise PermissionError(errno.EACCES, "in use")
        rename(source, target)

    rename = os.rename
    monkeypatch.setattr(os, "replace", refusing)
    source, target = tmp_path / "new", tmp_path / "old"
    source.write_bytes(NEW)
    with monkeypatch.context() as patch, pytest.raises(PermissionError):
        patch.setattr(files, "REPLACE_SECONDS", 0.0)
        files.replace(source, target)
    monkeypatch.setattr(files, "on_windows", lambda: True)
    files.replace(source, target)
    assert target.read_bytes() == NEW
    assert len(tries) == 3


@pytest.mark.parametrize("code, passes", [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_folder_that_cannot_be_synced_is_no_failure_but_a_broken_disk_is(tmp_path, monkeypatch, code, passes):
    def failing(_handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", failing)
    if passes:
        files.sync_directory(tmp_path)
    else:
        with pytest.raises(OSError, match="rror"):
            files.sync_directory(tmp_path)


def test_sweep_removes_what_a_killed_writer_left_and_nothing_else(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from Backtest.files import atomic_writer\n"
        "with atomic_writer(Path(sys.argv[1])) as stream:\n    stream.write(b'half'); stream.flush(); os._exit(9)"
    )
    target = tmp_path / "deep" / "f.parquet"
    target.parent.mkdir()
    target.write_bytes(OLD)
    assert subprocess.run([sys.executable, "-c", code, str(target)], cwd=PROJECT_ROOT).returncode == 9
    assert len(os.listdir(target.parent)) == 2
    said: list[str] = []
    sweep(tmp_path, said.append)
    assert os.listdir(target.parent) == ["f.parquet"]
    assert target.read_bytes() == OLD
    assert len(said) == 1
    assert said[0].endswith("left by a killed run")


def test_text_is_utf8_with_lf_and_json_holds_no_nan(tmp_path):
    write_text(tmp_path / "t", "量化\né\n")
    assert (tmp_path / "t").read_bytes() == "量化\né\n".encode()
    write_json(tmp_path / "j", {"b": [1, None], "a": "量"})
    assert (tmp_path / "j").read_bytes() == '{\n  "b": [\n    1,\n    null\n  ],\n  "a": "量"\n}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "j", {"x": float("nan")})
    assert json.loads((tmp_path / "j").read_text("utf-8"))["a"] == "量"


def test_hashes(tmp_path):
    content = os.urandom(3 << 20)
    (tmp_path / "f").write_bytes(content)
    assert sha256(tmp_path / "f") == hashlib.sha256(content).hexdigest()
    # SHA-1 of "abc" from FIPS 180-4's examples
    assert text_sha1(b"abc") == "a9993e364706816aba3e25717850c26c9cd0d89d"
    assert text_sha1(b"a\r\nb\r\n") == text_sha1(b"a\nb\n") != text_sha1(b"a\rb\r")


HOLD = """
import sys, time
from pathlib import Path
from Backtest.files import one_writer
with one_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock ``tmp_path/set.lock`` until it is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "set.lock")]
    child = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"held"
    yield child
    child.kill()
    child.communicate()


def test_the_second_writer_is_told_who_holds_the_lock_and_gets_it_after_a_kill(tmp_path, holder):
    lock = tmp_path / "set.lock"
    with (
        pytest.raises(Locked, match=rf"held by process {holder.pid} on .+ since \d{{4}}-\d\d-\d\dT.+Z"),
        one_writer(lock),
    ):
        pass
    holder.kill()
    holder.wait()
    with one_writer(lock, timeout=5.0):
        facts = json.loads((tmp_path / "set.lock.holder").read_text("utf-8"))
        assert facts["pid"] == os.getpid()
    assert not (tmp_path / "set.lock.holder").exists()


def test_the_lock_holds_between_threads_and_is_free_again_after_an_error(tmp_path):
    lock, outcome = tmp_path / "new folder" / "lock", []

    def second():
        try:
            with one_writer(lock):
                outcome.append("got it")
        except Locked:
            outcome.append("locked")

    with pytest.raises(ZeroDivisionError), one_writer(lock):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        raise ZeroDivisionError
    second()
    assert outcome == ["locked", "got it"]


def test_a_lock_whose_holder_is_unknown_still_says_so(tmp_path, holder):
    (tmp_path / "set.lock.holder").write_text("{half", encoding="utf-8")
    with pytest.raises(Locked, match="held by another process"), one_writer(tmp_path / "set.lock"):
        pass

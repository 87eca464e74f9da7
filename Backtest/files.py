"""Files that are never half written: atomic replacement, content hashes and the one-writer lock."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY = ".tmp~"
"""Marks a file that is still being written; `sweep` removes what a killed process left."""

REPLACE_SECONDS = 5.0
"""Windows refuses to replace a file that another process holds open; virus scanners do so for moments."""


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file that becomes `path` at the end of the block, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace(source: Path, target: Path) -> None:
    """Rename `source` over `target` and make the rename durable."""
    rename(source, target)
    sync_directory(target.parent)


def rename(source: Path, target: Path) -> None:
    """Rename `source` over `target`; it is durable after `sync_directory`, which does for many at once."""
    deadline = time.monotonic() + REPLACE_SECONDS
    while True:
        try:
            os.replace(source, target)
            break
        except PermissionError:
            if not on_windows() or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def on_windows() -> bool:
    """Return whether an open file can block its replacement."""
    return os.name == "nt"


def sync_directory(folder: Path) -> None:
    """Make renames in `folder` durable where the system has directory handles (Windows has none)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network file systems that cannot sync a folder
            raise
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` with `content` atomically."""
    with atomic_writer(path) as stream:
        stream.write(content)


def write_text(path: Path, text: str) -> None:
    """Replace `path` with `text` (UTF-8, LF on every system) atomically."""
    write_bytes(path, text.encode("utf-8"))


def json_text(value: Any) -> str:
    """Return `value` as the project's JSON: two-space indent, no NaN (a ValueError), one final newline."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with `value` as JSON atomically."""
    write_text(path, json_text(value))


def sweep_of(folder: Path, pids: Iterable[int]) -> None:
    """Remove temporary files that these processes, now gone, left under `folder`; others may go on writing there."""
    for pid in pids:
        for leftover in folder.rglob(f"*.{pid}{TEMPORARY}"):
            leftover.unlink(missing_ok=True)


def sweep(folder: Path, write: Callable[[str], None] | None = None) -> None:
    """Remove temporary files that killed writers left under `folder`; the caller holds the folder's lock."""
    for leftover in sorted(folder.rglob(f"*{TEMPORARY}")):
        leftover.unlink(missing_ok=True)
        if write:
            write(f"removed {leftover}, left by a killed run")


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file's bytes as hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def text_sha1(content: bytes) -> str:
    """Return the SHA-1 of text bytes with CRLF read as LF, so that a checkout on Windows hashes alike."""
    return hashlib.sha1(content.replace(b"\r\n", b"\n"), usedforsecurity=False).hexdigest()


def utc_now() -> str:
    """Return the wall clock as ISO 8601 UTC with Z, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Locked(Exception):
    """Another process holds the lock. ``str(error)`` names it."""


@contextmanager
def one_writer(path: Path, timeout: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path`; raise Locked with the holder's pid, host and age after `timeout` seconds.

    The lock is the operating system's (flock, LockFileEx): it ends with its process, so a killed run leaves
    no stale lock. The holder is written in a file beside it, for people to read.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    holder = path.with_name(path.name + ".holder")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise Locked(_holder_words(holder)) from None
    try:
        holder.write_text(
            json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": utc_now()}), encoding="utf-8"
        )
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder_words(holder: Path) -> str:
    try:
        facts = json.loads(holder.read_text(encoding="utf-8"))
        return f"held by process {facts['pid']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError):
        return "held by another process"

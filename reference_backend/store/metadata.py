"""Metadata of a file-backed volume: one JSON file that is replaced as a whole.

A change writes a temporary file, makes it durable, renames it over the old one, and makes the
rename durable (fsync(2), "Calling fsync() does not necessarily ensure that the entry in the
directory ... has also reached disk"). So after SIGKILL or a power cut, the file has the old or the
new metadata, never a mix. A checksum detects damage by other causes.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from blockio.errors import DamagedStore
from reference_backend.store.sparse_file import block_error
from reference_backend.store.volume import SIZE_MAX

FILE_NAME = "volume.json"
FORMAT = "qbd-volume"
VERSION = 1
SEGMENT_BYTES = 1 << 40
"""Bytes of a segment file: 1 TiB, as ext4 ends at 16 TiB a file."""


class SnapshotRecord(NamedTuple):
    """One snapshot: its name, the directory of its files, and its size in bytes."""

    name: str
    directory: str
    size: int


class Metadata(NamedTuple):
    """The metadata of a volume; sizes in bytes."""

    name: str
    uuid: str
    size: int
    segment_bytes: int = SEGMENT_BYTES
    snapshots: tuple[SnapshotRecord, ...] = ()
    next_snapshot: int = 1


def save(directory: Path, metadata: Metadata) -> None:
    """Replace the metadata in a volume's directory, durably.

    :raise BlockError: ENOSPC, EIO; the old metadata are unchanged.
    """
    fields: dict[str, Any] = metadata._asdict()
    fields["snapshots"] = [snapshot._asdict() for snapshot in metadata.snapshots]
    document = {"format": FORMAT, "version": VERSION, **fields}
    document["checksum"] = _checksum(document)
    text = json.dumps(document, indent=1) + "\n"
    path = directory / FILE_NAME
    temporary = directory / (FILE_NAME + ".new")
    try:
        _write_durably(temporary, text.encode())
        temporary.rename(path)
        sync_directory(directory)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise block_error(error, str(path)) from error


def load(directory: Path) -> Metadata:
    """Read the metadata of a volume.

    :raise DamagedStore: the file is damaged or missing.
    :raise OSError: no permission.
    """
    path = directory / FILE_NAME
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        _damaged(path, "missing")
    try:
        document = json.loads(raw)
    except ValueError as error:
        _damaged(path, f"no JSON: {error}")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        _damaged(path, f'"format" is not "{FORMAT}"')
    if document.get("version") != VERSION:
        _damaged(path, f'"version" is {document.get("version")!r}, this program knows {VERSION}')
    if document.pop("checksum", None) != _checksum(document):
        _damaged(path, '"checksum" does not fit the contents')
    try:
        return _metadata(document)
    except (KeyError, TypeError, ValueError) as error:
        _damaged(path, f"{type(error).__name__}: {error}")


def _metadata(document: dict[str, Any]) -> Metadata:
    fields = {key: document[key] for key in Metadata._fields}
    fields["snapshots"] = tuple(SnapshotRecord(**record) for record in fields["snapshots"])
    metadata = Metadata(**fields)
    for size in (metadata.size, *(snapshot.size for snapshot in metadata.snapshots)):
        if not isinstance(size, int) or not 0 <= size <= SIZE_MAX:
            msg = f"size {size!r}"
            raise ValueError(msg)
    return metadata


def _checksum(document: dict[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(canonical.encode()):08x}"


def _damaged(path: Path, what: str) -> NoReturn:
    msg = (
        f"{path}: {what}; restore this file from a backup, or remove {path.parent} to give up the"
        " volume"
    )
    raise DamagedStore(msg)


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while done < len(data):
            done += os.write(descriptor, data[done:])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable.

    :raise OSError: an I/O error.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

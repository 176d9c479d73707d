"""What identifies the code of a checkout or an installed package, to compare two machines."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

from qbdcheck.files import ROOT

_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS = (
    "blockio", "reference_backend", "oracles", "injectors", "mutants", "suites", "golden",
    "targets",
)  # fmt: skip
_NOT_CODE = ("durations.json",)


@functools.cache
def source_digest() -> str:
    """Return a digest of all files that decide a verdict; it also sees changes without a commit."""
    found = hashlib.sha256()
    for base, path in _files():
        found.update(f"{path.relative_to(base)}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def _files() -> Iterator[tuple[Path, Path]]:
    bases = [(_PACKAGE.parent, _PACKAGE), *((ROOT, ROOT / name) for name in _FOLDERS)]
    for base, folder in bases:
        for path in sorted(folder.rglob("*")):
            hidden = path.relative_to(base).parts
            if "__pycache__" in hidden or (folder == _PACKAGE and "_bundled" in hidden):
                continue
            if path.is_file() and path.name not in _NOT_CODE and not path.name.startswith("."):
                yield base, path

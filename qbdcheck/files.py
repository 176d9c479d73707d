"""The directory of the project, and safe replacement of files. Standard library only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_BUNDLED = Path(__file__).resolve().parent / "_bundled"
INSTALLED = _BUNDLED.is_dir()
"""Whether this is an installed package (pip, pipx), not a checkout."""

ROOT = _BUNDLED if INSTALLED else Path(__file__).resolve().parents[1]
"""The directory of the project, with suites, golden and targets. A wheel has it in the package."""

COMMAND = "qbdcheck" if INSTALLED else "./check"
"""The command as a user types it."""


def why_unreadable(error: OSError | UnicodeError) -> str:
    """Return why a text file cannot be read, for a message that names the file."""
    return error.strerror or str(error) if isinstance(error, OSError) else "is not UTF-8 text"


def write_atomically(path: Path, text: str) -> None:
    """Replace the file `path` by `text` atomically: a reader sees the old or the new text."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode(errors="surrogateescape"))
        os.chmod(temporary, 0o644)  # noqa: PTH101  # mkstemp made it 0600
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

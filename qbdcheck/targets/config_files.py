"""The files of a profile: configuration that its commands read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qbdcheck.errors import SetupError
from qbdcheck.targets.placeholders import Values, fill


def write_files(
    target: str, files: Mapping[str, str], values: Values, *, early: bool = False
) -> None:
    """Write the files of a profile.

    :param target: how messages name the target.
    :param files: paths and contents, both with placeholders.
    :param values: of the placeholders.
    :param early: before `volume.create`, which may make the directories of some files: those are
        left out, and written before the start.
    :raise SetupError: a file cannot be written.
    """
    for path, contents in files.items():
        file = Path(fill(path, values))
        if early and not file.parent.is_dir():
            continue
        try:
            file.write_text(fill(contents, values))
        except OSError as error:
            raise SetupError(f"{target}: files: cannot write {file}: {error.strerror}") from None

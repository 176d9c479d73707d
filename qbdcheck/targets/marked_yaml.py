"""YAML files with the line of each key, so that an error can name the line."""

from __future__ import annotations

from pathlib import Path

from injectors.rules.marked_yaml import KeyPath, Marked, NotYaml, Value
from injectors.rules.marked_yaml import load as load_text
from qbdcheck.errors import UsageError

__all__ = ["KeyPath", "Marked", "Value", "load"]


def load(file: Path) -> Marked:
    """Read a YAML file with one document. Keys must be strings and occur once per mapping.

    :raise UsageError: the file cannot be read, is not YAML, or repeats a key; names file and line.
    """
    try:
        return load_text(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file}: is not UTF-8 text") from None
    except NotYaml as error:
        where = f"{file}:{error.line}" if error.line else str(file)
        raise UsageError(f"{where}: {error}") from None

"""Placeholders ``{name}`` in a profile's commands, paths and blockdev options.

A command is split into words first, and filled in afterwards: a directory with a space in its name
stays one word. Braces around anything but a known name are left alone (JSON may be a value).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from qbdcheck.targets.marked_yaml import Value

KNOWN = {
    "dir": "private directory of the volume",
    "name": "name of the volume",
    "size": "its size in bytes",
    "socket": "path of a Unix socket for the volume's server",
    "port": "a free TCP port of the loopback interface",
    "control": "path of a Unix socket for the control channel",
    "options": "the words of the options that are asked for",
    "value": "the value of an option (only under options:)",
    "snapshot": "name of the snapshot (only under volume.snapshot... and volume.clone)",
    "new": "name of what is made (only under volume.clone and volume.add)",
    "seed": "a number that decides what a simulated crash keeps",
    "pid": "process id of the running server",
    "python": "the Python that runs qbdcheck",
    "root": "the directory of the project",
}
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")

Values = Mapping[str, str | int | Sequence[str]]


def names_in(value: Value) -> Iterator[str]:
    """Give the name of each placeholder in a value, however deep."""
    if isinstance(value, str):
        yield from _PLACEHOLDER.findall(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from names_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from names_in(item)


def fill(text: str, values: Values) -> str:
    """Fill in the placeholders of one string."""

    def replace(match: re.Match[str]) -> str:
        if match[1] not in values:
            return match[0]
        found = values[match[1]]
        return " ".join(found) if isinstance(found, list | tuple) else str(found)

    return _PLACEHOLDER.sub(replace, text)


def fill_tree(value: Value, values: Values) -> Value:
    """Fill in a tree of options; a string that is nothing but ``{size}`` becomes the number."""
    if isinstance(value, str):
        match = _PLACEHOLDER.fullmatch(value)
        whole = values.get(match[1]) if match else None
        return whole if isinstance(whole, int) else fill(value, values)
    if isinstance(value, dict):
        return {key: fill_tree(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_tree(item, values) for item in value]
    return value


def fill_command(command: str, values: Values) -> list[str]:
    """Split a command as a shell does (without any expansion) and fill in each word.

    A word that is nothing but ``{options}`` becomes none, one or many words.

    :raise ValueError: a quote is not closed.
    """
    words: list[str] = []
    for word in shlex.split(command):
        found = values.get(word[1:-1]) if _PLACEHOLDER.fullmatch(word) else None
        if isinstance(found, list | tuple):
            words.extend(found)
        else:
            words.append(fill(word, values))
    return words

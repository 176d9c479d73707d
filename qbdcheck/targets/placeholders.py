"""Placeholders ``{name}`` in a profile's commands, paths and blockdev options.

A command is split into arguments before it is filled in, so a directory with a space in its name
stays one argument. Braces around an unknown name are left unchanged (a value may be JSON).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from qbdcheck.targets.marked_yaml import Value

KNOWN = {
    "dir": "private directory of the volume",
    "name": "name of the volume",
    "size": "size of the volume in bytes",
    "socket": "path of a Unix socket for the volume's server",
    "port": "a free TCP port of the loopback interface",
    "control": "path of a Unix socket for the control channel",
    "options": "the arguments of the options that a case asks for",
    "value": "the value of an option (only under options:)",
    "snapshot": "name of the snapshot (only under volume.snapshot... and volume.clone)",
    "new": "name of the new volume (only under volume.clone and volume.add)",
    "seed": "a number that decides which data a simulated crash keeps",
    "pid": "process id of the running server",
    "run": "private directory of the server of all volumes (only with scope: run)",
    "case": "a word that no other case's volumes have in their names (only with scope: run)",
    "python": "the Python that runs qbdcheck",
    "root": "the directory of the project",
}
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")

Values = Mapping[str, str | int | Sequence[str]]


def names_in(value: Value) -> Iterator[str]:
    """Yield the name of each placeholder in a value, also in nested ones."""
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
    """Fill in a tree of options. A string that is only ``{size}`` becomes a number.

    ``{port}`` stays text: the ports of QAPI's addresses are strings (InetSocketAddressBase).
    """
    if isinstance(value, str):
        match = _PLACEHOLDER.fullmatch(value)
        whole = values.get(match[1]) if match and match[1] != "port" else None
        return whole if isinstance(whole, int) else fill(value, values)
    if isinstance(value, dict):
        return {key: fill_tree(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_tree(item, values) for item in value]
    return value


def fill_uri(text: str, values: Values) -> str:
    """Replace the placeholders of a URI; what a URI cannot contain is quoted (RFC 3986)."""
    quoted = {
        key: quote(value, safe="/" if key in {"socket", "dir"} else "")
        for key, value in values.items()
        if isinstance(value, str)
    }
    return fill(text, {**values, **quoted})


def fill_command(command: str, values: Values) -> list[str]:
    """Split a command like a shell, without expansions, and fill in each argument.

    An argument that is only ``{options}`` becomes none, one or several arguments.

    :raise ValueError: a quote is not closed.
    """
    argv: list[str] = []
    for argument in shlex.split(command):
        found = values.get(argument[1:-1]) if _PLACEHOLDER.fullmatch(argument) else None
        if isinstance(found, list | tuple):
            argv.extend(found)
        else:
            argv.append(fill(argument, values))
    return argv


def option_arguments(templates: Mapping[Any, str], options: Mapping[str, Any]) -> list[str]:
    """Return the arguments that ``{options}`` stands for.

    :param templates: the commands of ``options:`` in the profile. :param options: their values; a
        False or None gives no argument.
    """
    arguments: list[str] = []
    for key, value in options.items():
        if value is not False and value is not None:
            filled = value if isinstance(value, str) else int(value)
            arguments += fill_command(templates[key], {"value": filled})
    return arguments

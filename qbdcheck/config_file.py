"""Default flags from a file: ``.qbdcheck.toml``, or ``[tool.qbdcheck]`` in pyproject.toml.

The file is read from the current directory. A key is the name of a flag without its dashes, and a
value is what would follow the flag: true, a number, a string, or a list of these. ``cases`` has the
selection. ``[env.NAME]`` has further keys, which ``--env NAME`` adds. The command line wins.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qbdcheck.errors import UsageError
from qbdcheck.files import why_unreadable

NAMES = (".qbdcheck.toml", "pyproject.toml")
CASES = "cases"
"""The key of the selection."""
_ENVIRONMENTS = "env"
"""The table of all environments."""
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
"""Ends the messages of tomllib."""
_NOT_IN_A_FILE = ("help", "h", "version", "install", "tests", "doctor", "list", "l", "env",
                  "no-config")  # fmt: skip
_SELECTION = ("selection", "groups")
"""Where the command line gives one of them, the file's values of both do not count."""


@dataclass(frozen=True)
class ConfigFile:
    """The tables of a file that was found."""

    path: Path
    text: str
    table: Mapping[str, Any]
    prefix: str
    """The name of the table in the file: ``tool.qbdcheck`` or empty."""

    def where(self, key: str, environment: str = "") -> str:
        """Return ``FILE:LINE`` of a key."""
        env = environment if environment == _ENVIRONMENTS else environment and f"env.{environment}"
        wanted = ".".join(filter(None, (self.prefix, env)))
        current = ""
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := re.match(r"\s*\[([^\[\]]+)\]", line):
                current = header[1].replace('"', "").replace(" ", "")
            elif current == wanted and re.match(rf'\s*["\']?{re.escape(key)}["\']?\s*=', line):
                return f"{self.path.name}:{number}"
        return self.path.name


def find(directory: Path) -> ConfigFile | None:
    """Return the file of `directory`; None if there is none.

    :raise UsageError: it is not TOML, or its table is not one.
    """
    for name in NAMES:
        path = directory / name
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeError) as error:
            raise UsageError(f"{name}: {why_unreadable(error)}") from None
        is_own = name == NAMES[0]
        if not is_own and "tool.qbdcheck" not in text:
            continue
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(_not_toml(name, text, str(error))) from None
        table = content if is_own else content.get("tool", {}).get("qbdcheck", {})
        prefix = "" if is_own else "tool.qbdcheck"
        if not isinstance(table, dict):
            where = ConfigFile(path, text, {}, "tool").where("qbdcheck")
            raise UsageError(f"{where}: qbdcheck must be a table, [tool.qbdcheck]")
        found = ConfigFile(path, text, table, prefix)
        if not isinstance(table.get("env", {}), dict):
            raise UsageError(f"{found.where('env')}: env must be a table, such as [env.nightly]")
        return found
    return None


def _not_toml(name: str, text: str, why: str) -> str:
    """Return a message of tomllib with the line in front, as in all other messages on a file."""
    found = _PLACE.search(why)
    lines = max(len(text.splitlines()), 1)
    if found is None:
        return f"{name}: {why}"
    return f"{name}:{found[1] or lines}: {why[: found.start()]}"


def apply(
    file: ConfigFile | None,
    environment: str | None,
    parser: argparse.ArgumentParser,
    argv: list[str],
    given: argparse.Namespace,
) -> None:
    """Fill `given`, the parsed `argv`, with the values of the file that `argv` does not set.

    :param environment: the NAME of --env.
    :raise UsageError: there is no such environment, or a key or value is wrong (with its line).
    """
    if environment is not None and (file is None or environment not in file.table.get("env", {})):
        names = ", ".join(file.table.get("env", {})) if file else ""
        known = f"known: {names}" if names else f"no [env.*] in {' or '.join(NAMES)} here"
        raise UsageError(f"--env {environment}: no such environment; {known}")
    if file is None:
        return
    values = dict(_values(file, file.table, "", parser))
    if environment is not None:
        table = file.table["env"][environment]
        if not isinstance(table, dict):
            where = file.where(environment, _ENVIRONMENTS)
            raise UsageError(f"{where}: env.{environment} must be a table, [env.{environment}]")
        values |= dict(_values(file, table, environment, parser))
    fixed = _set_by(parser, argv)
    if fixed & set(_SELECTION):
        fixed |= set(_SELECTION)
    for name, value in values.items():
        if name not in fixed:
            setattr(given, name, value)


def _values(
    file: ConfigFile, table: Mapping[str, Any], environment: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, object]]:
    """Yield the attribute and value of each key."""
    flags = {
        flag.lstrip("-"): (flag, action)
        for action in parser._actions  # noqa: SLF001
        for flag in action.option_strings
    }
    formats: list[str] = []
    for key, value in table.items():
        if key == "env" and not environment:
            continue
        where = f"{file.where(key, environment)}: {key}"
        if key in _NOT_IN_A_FILE or (key not in flags and key != CASES):
            raise UsageError(
                f"{where}: is not a flag that a file can set; ./check --help lists flags, a key is"
                " one without its dashes"
            )
        words = _words(value, where)
        if key == CASES:
            yield "selection", words
            continue
        flag, action = flags[key]
        if action.nargs == 0:
            if not isinstance(value, bool):
                raise UsageError(f"{where}: must be true or false")
            if not value:
                continue
            argv = [flag]
        elif isinstance(value, bool):
            raise UsageError(f"{where}: needs a value, not {str(value).lower()}")
        else:
            argv = [one for word in words for one in (flag, word)]
        try:
            made = getattr(parser.parse_args(argv), action.dest)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
        if action.dest == "formats":
            formats += made
            made = list(formats)
        yield action.dest, made


def _words(value: object, where: str) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    for one in listed:
        if not isinstance(one, str | int | float):
            raise UsageError(f"{where}: must be true, a number, a string, or a list of these")
    return [str(one) for one in listed]


def _set_by(parser: argparse.ArgumentParser, argv: list[str]) -> set[str]:
    """Return the attributes that `argv` sets."""
    before = {action: action.default for action in parser._actions}  # noqa: SLF001
    for action in before:
        action.default = argparse.SUPPRESS
    try:
        given, _ = parser.parse_known_intermixed_args(argv)
    finally:
        for action, default in before.items():
            action.default = default
    return {name for name, value in vars(given).items() if name != "selection" or value}

"""Versions of a target's server, and the ranges of versions that a profile names."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Mapping
from itertools import zip_longest

from qbdcheck.errors import ProgramError, SetupError
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.process import run
from qbdcheck.targets.placeholders import fill_command

_CONDITION = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)")
_VERSION = re.compile(r"\d+(?:\.\d+)+")
_OPERATORS: Mapping[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def parse_range(text: str) -> list[tuple[str, str]]:
    """Return the conditions of a range such as ``>=3.24 <3.27``: all of them must hold.

    :raise ValueError: the text is not a range.
    """
    conditions = _CONDITION.findall(text)
    if not conditions or _CONDITION.sub("", text).strip(" ,"):
        raise ValueError("not a range of versions; write '>=3.24 <3.27'")
    return conditions


def is_in_range(version: str, versions: str) -> bool:
    """Return whether a version fulfils all conditions of a range."""
    return all(
        _OPERATORS[comparison](_compare(version, bound), 0)
        for comparison, bound in parse_range(versions)
    )


def _compare(one: str, other: str) -> int:
    """Return a negative number, 0 or a positive number, as ``one`` is older, equal or newer."""
    pairs = zip_longest(map(int, one.split(".")), map(int, other.split(".")), fillvalue=0)
    return next((left - right for left, right in pairs if left != right), 0)


@functools.cache
def server_version(target: str, command: str, paths: tuple[tuple[str, str], ...]) -> str:
    """Return the first version number in the output of a command, such as ``3.24``.

    :param target: name of the target, for messages.
    :param paths: path of each program, from the profile.
    :raise SetupError: the command fails, or prints no version.
    """
    programs = Programs(dict(paths))
    name, *arguments = fill_command(command, {})
    try:
        done = run([programs.path(name) or name, *arguments], check=False)
    except (ProgramError, SetupError) as error:
        raise SetupError(f"target {target}: version: {error}") from None
    found = _VERSION.search(done.stdout) or _VERSION.search(done.stderr)
    if found is None:
        raise SetupError(f"target {target}: version: {command}: the output has no version number")
    return found[0]

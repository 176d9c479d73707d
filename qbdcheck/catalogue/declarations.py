"""What the source of a case declares, from its syntax tree; kept beside the bytecode.

To parse 700 cases takes half a second at each start of ``./check``. So their declarations are kept
in the ``__pycache__`` of the suites directory. One is used again only if its file has the same
inode, size and times, as in git's index (gitformat-index(5)), and if this module has not changed.
Nothing is kept with ``python -B``, or where that directory cannot be written.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from qbdcheck import clock

_ARGUMENTS = ("groups", "requires", "programs", "formats", "limit_s", "basis")
_SETTLED_S = 2.0
"""A file that was changed within these seconds may change again without a new time."""

State = list[int]
"""What os.stat(2) tells of a file that changes with its contents."""


@dataclass(frozen=True)
class Declaration:
    """The docstring and the ``@case`` of one file."""

    docstring: str = ""
    arguments: Mapping[str, object] = field(default_factory=dict)
    """The literals of ``@case``; a tuple for each sequence that was kept."""
    prints: bool = False
    """Whether the function of the case takes the fixture ``golden``."""
    unreadable: str = ""
    """Why the file cannot be parsed."""
    undeclared: str = ""
    """Why the arguments of ``@case`` are not known."""


def declaration_in(path: Path) -> Declaration:
    """Parse the file at `path`."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (OSError, SyntaxError, ValueError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        return Declaration(unreadable=f"cannot be read: {error}{line}")
    docstring, prints = ast.get_docstring(tree) or "", _prints(tree)
    calls = [call for node in tree.body if (call := _case_call(node)) is not None]
    if len(calls) != 1:
        wrong = f"has {len(calls)} functions with @case; exactly one is needed"
        return Declaration(docstring, prints=prints, undeclared=wrong)
    try:
        return Declaration(docstring, _literals(calls[0]), prints)
    except ValueError as error:
        return Declaration(docstring, prints=prints, undeclared=f"@case: {error}")


def _case_call(node: ast.stmt) -> ast.Call | None:
    if not isinstance(node, ast.FunctionDef):
        return None
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            name = decorator.func
            if (isinstance(name, ast.Name) and name.id == "case") or (
                isinstance(name, ast.Attribute) and name.attr == "case"
            ):
                return decorator
    return None


def _prints(tree: ast.Module) -> bool:
    return any(
        argument.arg == "golden"
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and _case_call(node) is not None
        for argument in node.args.args
    )


def _literals(call: ast.Call) -> dict[str, object]:
    arguments: dict[str, object] = {}
    for keyword in call.keywords:
        if keyword.arg not in _ARGUMENTS:
            raise ValueError(f"unknown argument {keyword.arg!r}; known: {' '.join(_ARGUMENTS)}")
        try:
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:
            raise ValueError(f"argument {keyword.arg!r} is not a literal") from None
    return arguments


class Kept:
    """The declarations of the files below a suites directory."""

    def __init__(self, suites_dir: Path) -> None:
        self._suites_dir = suites_dir
        self._file = Path(cache_from_source(str(suites_dir / "catalogue.py"))).with_suffix(".json")
        code = _state(Path(__file__))
        self._head = [code, list(sys.version_info[:3])]
        self._entries: dict[str, Any] = {}
        self._used: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            loaded = json.loads(self._file.read_bytes())
            if loaded["head"] == self._head and isinstance(loaded["cases"], dict):
                self._entries = loaded["cases"]

    def of(self, path: Path) -> Declaration:
        """Return the declaration in the file at `path`, which is parsed only if it is new."""
        name = path.relative_to(self._suites_dir).as_posix()
        state = _state(path)
        entry = self._entries.get(name)
        if entry is not None and entry[0] == state:
            self._used[name] = entry
            kept = dict(entry[1])
            kept["arguments"] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in kept["arguments"].items()
            }
            return Declaration(**kept)
        found = declaration_in(path)
        is_settled = clock.wall_s() - max(state[2:], default=0) / 1e9 > _SETTLED_S
        if state and is_settled and state == _state(path) and _can_be_kept(found):
            self._used[name] = [state, asdict(found)]
        return found

    def save(self) -> None:
        """Write what is new, without files that are gone; one that cannot be written costs time."""
        if self._used == self._entries or sys.dont_write_bytecode:
            return
        text = json.dumps({"head": self._head, "cases": self._used})
        part = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(exist_ok=True)
            part.write_text(text, encoding="utf-8")
            part.replace(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()


def _state(path: Path) -> State:
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _can_be_kept(one: Declaration) -> bool:
    """Return whether JSON gives back what is declared; other literals are an error anyway."""
    return not one.unreadable and all(
        isinstance(value, str | int | float)
        or (isinstance(value, tuple) and all(isinstance(part, str) for part in value))
        for value in one.arguments.values()
    )

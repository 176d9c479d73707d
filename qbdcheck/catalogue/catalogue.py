"""List the cases of a suites directory by reading their source, without importing them.

A case is a file ``NNN_name.py`` or ``NNNN_name.py`` below the directory. Its docstring and the
arguments of its ``@case`` come from the syntax tree. A file with an error there stays in the list,
marked as broken.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Collection
from pathlib import Path

from qbdcheck.catalogue.case import CaseInfo, CaseSpec, make_spec
from qbdcheck.errors import UsageError

CASE_FILE = re.compile(r"(?P<number>\d{3}|[1-9]\d{3})_\w+\.py\Z")
PREFIX = "This case checks that "
_ARGUMENTS = ("groups", "requires", "programs", "formats", "limit_s", "basis")


def list_cases(suites_dir: Path, known_groups: Collection[str] | None = None) -> list[CaseInfo]:
    """Return all cases below `suites_dir`, sorted by number.

    :param known_groups: a case with another group is broken; None skips this check.
    :raise UsageError: the directory is missing, or two files have the same number.
    """
    if not suites_dir.is_dir():
        raise UsageError(f"no such suites directory: {suites_dir}")
    files = [path for path in suites_dir.rglob("[0-9]*.py") if CASE_FILE.match(path.name)]
    cases = sorted((read_case(path, known_groups) for path in files), key=lambda one: one.number)
    for one, other in itertools.pairwise(cases):
        if one.number == other.number:
            paths = " and ".join(
                sorted(str(it.path.relative_to(suites_dir)) for it in (one, other))
            )
            raise UsageError(
                f"two cases have the number {one.number:03}: {paths}; rename one of them"
            )
    return cases


def read_case(path: Path, known_groups: Collection[str] | None = None) -> CaseInfo:
    """Return the case in the file at `path`."""
    found = CASE_FILE.match(path.name)
    number = int(found["number"]) if found else 0
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (OSError, SyntaxError, ValueError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        return CaseInfo(path, number, "", CaseSpec(()), f"cannot be read: {error}{line}")
    sentence = first_sentence(ast.get_docstring(tree) or "")
    spec, broken = _declaration(tree, known_groups)
    if not broken and not sentence:
        broken = 'has no docstring; its first sentence says "This case checks that ..."'
    return CaseInfo(path, number, sentence, spec, broken, prints=_prints(tree))


def first_sentence(docstring: str) -> str:
    """Return the first sentence of a docstring, on one line, without "This case checks that"."""
    paragraph = " ".join(docstring.strip().split("\n\n", 1)[0].split())
    sentence = re.split(r"\.(?=\s+[A-Z]|\Z)", paragraph, maxsplit=1)[0]
    return sentence.removeprefix(PREFIX).strip()


def _declaration(tree: ast.Module, known_groups: Collection[str] | None) -> tuple[CaseSpec, str]:
    """Return the arguments of the only ``@case(...)`` of the file, and its error or ""."""
    calls = [call for node in tree.body if (call := _case_call(node)) is not None]
    if len(calls) != 1:
        return CaseSpec(()), f"has {len(calls)} functions with @case; exactly one is needed"
    try:
        arguments = _literals(calls[0])
        spec = make_spec(**arguments)  # type: ignore[arg-type]  # make_spec checks what matters
    except (ValueError, TypeError, AttributeError) as error:
        return CaseSpec(()), f"@case: {error}"
    if known_groups is not None:
        for group in spec.groups:
            if group not in known_groups:
                known = " ".join(sorted(known_groups))
                return spec, f"@case: unknown group {group!r}; known: {known}"
    return spec, ""


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

"""List the cases of a suites directory by reading their source, without importing them.

A case is a file ``NNN_name.py`` or ``NNNN_name.py`` below the directory. Its docstring and the
arguments of its ``@case`` come from the syntax tree. A file with an error there stays in the list,
marked as broken.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from pathlib import Path

from qbdcheck.catalogue.case import CaseInfo, CaseSpec, make_spec
from qbdcheck.catalogue.declarations import Declaration, Kept, declaration_in
from qbdcheck.errors import UsageError

CASE_FILE = re.compile(r"(?P<number>\d{3}|[1-9]\d{3})_\w+\.py\Z")
PREFIX = "This case checks that "


def list_cases(suites_dir: Path, known_groups: Collection[str] | None = None) -> list[CaseInfo]:
    """Return all cases below `suites_dir`, sorted by number.

    :param known_groups: a case with another group is broken; None skips this check.
    :raise UsageError: the directory is missing, or two files have the same number.
    """
    if not suites_dir.is_dir():
        raise UsageError(f"no such suites directory: {suites_dir}")
    files = [path for path in suites_dir.rglob("[0-9]*.py") if CASE_FILE.match(path.name)]
    kept = Kept(suites_dir)
    found = (_case(path, kept.of(path), known_groups) for path in files)
    cases = sorted(found, key=lambda one: one.number)
    kept.save()
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
    return _case(path, declaration_in(path), known_groups)


def _case(path: Path, declared: Declaration, known_groups: Collection[str] | None) -> CaseInfo:
    found = CASE_FILE.match(path.name)
    number = int(found["number"]) if found else 0
    if declared.unreadable:
        return CaseInfo(path, number, "", CaseSpec(()), declared.unreadable)
    sentence = first_sentence(declared.docstring)
    spec, broken = _spec(declared, known_groups)
    if not broken and not sentence:
        broken = 'has no docstring; its first sentence says "This case checks that ..."'
    return CaseInfo(path, number, sentence, spec, broken, prints=declared.prints)


def first_sentence(docstring: str) -> str:
    """Return the first sentence of a docstring, on one line, without "This case checks that"."""
    paragraph = " ".join(docstring.strip().split("\n\n", 1)[0].split())
    sentence = re.split(r"\.(?=\s+[A-Z]|\Z)", paragraph, maxsplit=1)[0]
    return sentence.removeprefix(PREFIX).strip()


def _spec(declared: Declaration, known_groups: Collection[str] | None) -> tuple[CaseSpec, str]:
    """Return the checked arguments of ``@case``, and what is wrong with them or ""."""
    if declared.undeclared:
        return CaseSpec(()), declared.undeclared
    try:
        spec = make_spec(**declared.arguments)  # type: ignore[arg-type]  # make_spec checks what matters
    except (ValueError, TypeError, AttributeError) as error:
        return CaseSpec(()), f"@case: {error}"
    if known_groups is not None:
        for group in spec.groups:
            if group not in known_groups:
                known = " ".join(sorted(known_groups))
                return spec, f"@case: unknown group {group!r}; known: {known}"
    return spec, ""

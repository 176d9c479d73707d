"""The decorator ``@case`` and the description of a case.

The arguments of the decorator are literals. `catalogue.py` reads them from the source without
importing it, so that a case that cannot be imported is still listed. This module checks the same
arguments when the case is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from qbdcheck.catalogue.basis import check_basis
from qbdcheck.catalogue.capability_words import CAPABILITIES, IMAGE_FORMATS

SPEC_ATTRIBUTE = "__qbdcheck_case__"
"""Attribute of a case's function that holds its `CaseSpec`."""
DEFAULT_LIMIT_S = 60.0

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class CaseSpec:
    """The arguments of ``@case``. ``formats`` is empty if the case runs with any image format."""

    groups: tuple[str, ...]
    requires: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("raw",)
    limit_s: float = DEFAULT_LIMIT_S
    basis: tuple[str, ...] = ()
    """What the case checks (basis.py), the strongest first."""

    def supports(self, image_format: str) -> bool:
        """Return whether the case runs with `image_format`."""
        return not self.formats or image_format in self.formats


@dataclass(frozen=True)
class CaseInfo:
    """One case of the catalogue: its file, number, sentence and declaration."""

    path: Path
    number: int
    sentence: str
    spec: CaseSpec
    broken: str = ""
    """Why the file cannot be read as a case; the verdict of such a case is BROKEN."""
    prints: bool = False
    """Whether its function takes the fixture ``golden``."""

    @property
    def case_id(self) -> str:
        """The stem of the file, such as ``017_discard_reads_zero``."""
        return self.path.stem

    @property
    def name(self) -> str:
        """The stem without the number, such as ``discard_reads_zero``."""
        return self.path.stem.partition("_")[2]


def make_spec(
    groups: str,
    requires: str = "",
    programs: str = "",
    formats: str = "raw",
    limit_s: float = DEFAULT_LIMIT_S,
    *,
    basis: str | Sequence[str] = (),
) -> CaseSpec:
    """Return the checked arguments of ``@case``.

    :raise ValueError: a capability, format or basis is unknown, or the limit is not positive.
    """
    if not groups.split():
        raise ValueError('a case needs at least one group: groups="rw quick"')
    if unknown := [word for word in requires.split() if word not in CAPABILITIES]:
        raise ValueError(f"unknown capability {unknown[0]!r}; known: {' '.join(CAPABILITIES)}")
    wanted = formats.split()
    if wanted != ["any"] and (unknown := [word for word in wanted if word not in IMAGE_FORMATS]):
        raise ValueError(f"unknown format {unknown[0]!r}; known: any {' '.join(IMAGE_FORMATS)}")
    if not wanted:
        raise ValueError('formats is empty; write formats="any" for all')
    if not limit_s > 0:
        raise ValueError(f"limit_s is {limit_s}; it must be above 0 seconds")
    return CaseSpec(
        tuple(groups.split()),
        tuple(requires.split()),
        tuple(programs.split()),
        () if wanted == ["any"] else tuple(wanted),
        float(limit_s),
        check_basis(basis),
    )


def case(
    *,
    groups: str,
    requires: str = "",
    programs: str = "",
    formats: str = "raw",
    limit_s: float = DEFAULT_LIMIT_S,
    basis: str | Sequence[str] = (),
) -> Callable[[Function], Function]:
    """Declare a function as a case. All arguments are literals; docs/case-writer.md explains them.

    :raise ValueError: a capability, format or basis is unknown, or the limit is not positive.
    """
    spec = make_spec(groups, requires, programs, formats, limit_s, basis=basis)

    def declare(function: Function) -> Function:
        setattr(function, SPEC_ATTRIBUTE, spec)
        return function

    return declare


def spec_of(function: object) -> CaseSpec | None:
    """Return the arguments of ``@case`` of `function`; None without ``@case``."""
    spec = getattr(function, SPEC_ATTRIBUTE, None)
    return spec if isinstance(spec, CaseSpec) else None

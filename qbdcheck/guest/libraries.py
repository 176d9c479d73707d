"""Which shared libraries a program needs, of an unpacked tree (ELF, DT_NEEDED; ld.so(8))."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from qbdcheck.errors import NotRun

_DIRECTORIES = (
    "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib",
    "usr/lib/x86_64-linux-gnu/ceph", "usr/lib/sysstat",
)  # fmt: skip
"""Where ld.so looks, and directories that programs name in their RUNPATH."""


def needed(file: Path) -> list[str]:
    """Return the names of the libraries that a file itself asks for; [] of what is no ELF file."""
    try:
        with file.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".dynamic")
            if not isinstance(section, DynamicSection):
                return []
            # pyelftools gives tags their attributes by their kind
            return [str(tag.needed) for tag in section.iter_tags("DT_NEEDED")]  # type: ignore[attr-defined]
    except ELFError:
        return []


def closure(tree: Path, programs: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Give each program and each library that it needs: path in the guest, and the file.

    :raise NotRun: a library is in no package; names who needs it.
    """
    seen: set[str] = set()
    waiting = [(name, name) for name in programs]
    while waiting:
        name, who = waiting.pop()
        place = next(iter(_places(tree, name)), None)
        if place is None:
            raise NotRun(f"the guest cannot be made: no package has {name}, which {who} needs")
        path = str(place.relative_to(tree))
        if path in seen:
            continue
        seen.add(path)
        real = _inside(tree, place)
        yield path, real
        waiting += [(library, path) for library in needed(real)]


def _places(tree: Path, name: str) -> Iterator[Path]:
    if "/" in name:
        yield from (tree / name for _ in range(1) if (tree / name).is_symlink() or
                    (tree / name).exists())  # fmt: skip
        return
    for directory in _DIRECTORIES:
        place = tree / directory / name
        if place.is_symlink() or place.exists():
            yield place


def _inside(tree: Path, place: Path) -> Path:
    """Follow links, absolute ones within the tree."""
    for _ in range(8):
        if not place.is_symlink():
            return place
        link = place.readlink()
        place = tree / link.relative_to("/") if link.is_absolute() else place.parent / link
    raise NotRun(f"the guest cannot be made: {place} is a link without an end")

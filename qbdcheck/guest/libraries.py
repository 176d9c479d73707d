"""Which shared libraries a program needs, and where they are in an unpacked tree (ld.so(8)).

Packages moved files from /bin, /sbin and /lib to /usr over several releases of Debian, and a
release moves its directories as it likes. So a file is looked up by what the packages contain.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from qbdcheck.errors import CaseBroken

_FIRST = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib")
"""The default search directories of ld.so."""
_LINKS_MAX = 8


class Contents:
    """All files of an unpacked tree, by their names."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
        for directory, _, files in sorted(os.walk(tree)):
            place = PurePosixPath(Path(directory).relative_to(tree).as_posix())
            for name in files:
                self._by_name[name].append(place / name)

    def find(self, path: str) -> Path | None:
        """Return a file by its path, or if it was moved by its name: None if there is none.

        A file that was moved is in a directory of the same kind, such as usr/sbin for bin.
        """
        wanted = PurePosixPath(path)
        found = self._by_name.get(wanted.name, [])
        kind = _kind(wanted)
        moved = [one for one in found if _kind(one) == kind]
        for one in (*(one for one in found if one == wanted), *moved):
            return self.tree / one
        return None

    def find_library(self, name: str) -> Path | None:
        """Return a shared library by its name; those of ld.so's own directories come first."""
        found = [one for one in self._by_name.get(name, []) if _kind(one) == "lib"]
        found.sort(
            key=lambda one: _FIRST.index(str(one.parent)) if str(one.parent) in _FIRST else 9
        )
        return self.tree / found[0] if found else None

    def glob_first(self, *patterns: str) -> Path:
        """Return the first file or directory that one of the patterns matches.

        :raise CaseBroken: there is none.
        """
        for pattern in patterns:
            if found := sorted(self.tree.glob(pattern)):
                return found[0]
        raise CaseBroken(f"the guest cannot be made: no package has {patterns[0]}")

    def real(self, place: Path) -> Path:
        """Follow symbolic links within the tree.

        :raise CaseBroken: they lead nowhere.
        """
        at = place
        for _ in range(_LINKS_MAX):
            if not at.is_symlink():
                return at
            link = at.readlink()
            at = self.tree / link.relative_to("/") if link.is_absolute() else at.parent / link
            at = Path(os.path.normpath(at))
            if not at.is_symlink() and not at.exists():
                at = self.find(at.relative_to(self.tree).as_posix()) or at
        raise CaseBroken(f"the guest cannot be made: {place} is a loop of symbolic links")


def _kind(path: PurePosixPath) -> str:
    """Return which kind of directory a file is in: bin for programs, lib for libraries."""
    parts = path.parts[:-1]
    first = parts[1] if parts[:1] == ("usr",) and len(parts) > 1 else "".join(parts[:1])
    return "bin" if first in {"bin", "sbin"} else "lib" if first.startswith("lib") else first


def needed(file: Path) -> list[str]:
    """Return the names of the libraries that a file itself needs; [] if it is no ELF file."""
    # Only the making of a guest needs them, and each run imports this module.
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    try:
        with file.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".dynamic")
            if not isinstance(section, DynamicSection):
                return []
            # pyelftools gives tags their attributes by their kind
            return [str(tag.needed) for tag in section.iter_tags("DT_NEEDED")]  # type: ignore[attr-defined]
    except ELFError:
        return []


def closure(contents: Contents, programs: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yield each program and each library that it needs: path in the guest, and the file.

    A program has the requested path, whatever its path in the package. A library keeps its own.

    :raise CaseBroken: a file is in no package; names the program that needs it.
    """
    seen: set[str] = set()
    waiting = [(name, name) for name in programs]
    while waiting:
        name, who = waiting.pop()
        place = contents.find(name) if "/" in name else contents.find_library(name)
        if place is None:
            raise CaseBroken(f"the guest cannot be made: no package has {name}, which {who} needs")
        path = name if "/" in name else place.relative_to(contents.tree).as_posix()
        if path in seen:
            continue
        seen.add(path)
        real = contents.real(place)
        yield path, real
        waiting += [(library, path) for library in needed(real)]

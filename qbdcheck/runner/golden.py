"""What a case prints, and its comparison with the golden file.

Comparison is exact: no white space is ignored. A golden file that is missing or in a merge conflict
ends a run of ./check before it begins, and is a failure under plain pytest. Variants of
a golden file combine: of ``017_x.qcow2.nocache.out``, ``017_x.qcow2.out``, ``017_x.nocache.out``
and ``017_x.out`` the first that exists counts.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from qbdcheck.errors import UsageError
from qbdcheck.files import write_atomically
from qbdcheck.runner.filters import Filters

_CONFLICT = re.compile(r"^(?:<{7} |={7}$|>{7} |\|{7} )")
_NO_CACHE = ("none", "directsync")
"""Cache modes that open with O_DIRECT: the variant ``.nocache``."""


@dataclass
class Output:
    """What the fixture ``golden`` is: called with text, it prints that through the filters."""

    filters: Filters = field(default_factory=Filters)
    log: Path | None = None
    """full.log: gets the text unfiltered, where that is known."""
    used: bool = False
    _parts: list[str] = field(default_factory=list)

    def __call__(self, *words: object) -> None:
        """Print `words`, separated by blanks, as ``print`` does; a final newline is not doubled."""
        self.used = True
        text = " ".join(str(word) for word in words)
        text = text if text.endswith("\n") else text + "\n"
        if self.log is not None:
            with self.log.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(text)
        self._parts.append(self.filters.apply(text))

    def json(self, value: object) -> None:
        """Print `value` as indented JSON with sorted keys."""
        self(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str))

    def replace(self, text: str, word: str) -> None:
        """From now on print `word` for the exact path or name `text`."""
        pairs = (*self.filters.replacements, (text, word))
        self.filters = Filters(self.filters.scratch, pairs)

    @property
    def text(self) -> str:
        """All that was printed, filtered."""
        return "".join(self._parts)


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison. ``message`` is empty where output and golden are equal."""

    golden: Path
    message: str = ""
    diff: str = ""
    updated: bool = False


def variants(case_id: str, image_format: str, cache: str) -> list[str]:
    """Names of golden files for this case, the most exact first."""
    words = [f".{image_format}"] + ([".nocache"] if cache in _NO_CACHE else [])
    names = [f"{case_id}{''.join(words)}.out"]
    names += [f"{case_id}{word}.out" for word in words if len(words) > 1]
    return [*names, f"{case_id}.out"]


def find_golden(golden_dir: Path, case_id: str, image_format: str, cache: str) -> Path | None:
    """The golden file that counts for this run of the case; None where there is none."""
    for name in variants(case_id, image_format, cache):
        if (golden_dir / name).is_file():
            return golden_dir / name
    return None


def check_golden_files(golden_dir: Path, case_id: str) -> None:
    """Look before a run whether a case that prints has golden files that can be compared with.

    :raise UsageError: it has none, or one is in a merge conflict.
    """
    names = re.compile(rf"{re.escape(case_id)}(?:\.\w+)*\.out\Z")
    files = sorted(path for path in golden_dir.glob(f"{case_id}*") if names.match(path.name))
    if not files:
        raise UsageError(
            f"{golden_dir / case_id}.out: no such golden file, and the case prints; "
            f"./check --update-golden {case_id.partition('_')[0]} writes it"
        )
    for path in files:
        try:
            line = conflict_line(path.read_bytes().decode())
        except (OSError, UnicodeError) as error:
            raise UsageError(f"{path}: cannot be read as a golden file: {error}") from None
        if line:
            raise UsageError(f"{path}:{line}: golden file has a merge conflict; resolve it")


def conflict_line(text: str) -> int | None:
    """The first line (from 1) that a merge conflict left in a golden file; None for none.

    A line of seven ``=`` alone is not enough: programs print such rulers.
    """
    found = [n for n, line in enumerate(text.split("\n"), 1) if _CONFLICT.match(line)]
    lines = text.split("\n")
    return found[0] if any(lines[n - 1][:1] in "<>" for n in found) else None


def compare(output: str, golden: Path | None, default: Path, bad: Path) -> Comparison:
    """Compare `output` with the file `golden`, and keep it as `bad` where they differ.

    :param golden: the golden file that counts, or None where there is none.
    :param default: where a first golden file would be written, for the message.
    """
    if golden is None:
        _keep(bad, output)
        return Comparison(
            default,
            f"no golden file {default.name}; look at {bad.name}, then --update-golden writes it",
            _diff("", output, "/dev/null", bad.name),
        )
    try:
        expected = golden.read_bytes().decode()
    except (OSError, UnicodeError) as error:
        return Comparison(golden, f"cannot read golden file {golden}: {error}")
    if line := conflict_line(expected):
        return Comparison(golden, f"{golden}:{line}: golden file has a merge conflict; resolve it")
    if expected == output:
        return Comparison(golden)
    _keep(bad, output)
    return Comparison(
        golden,
        f"output differs from golden file {golden.name}",
        _diff(expected, output, str(golden), bad.name),
    )


def update(output: str, golden: Path | None, default: Path) -> Comparison:
    """Write `output` to the golden file that counts, or to `default`; says whether it changed."""
    path = golden or default
    old = path.read_bytes().decode(errors="replace") if path.is_file() else None
    if old == output:
        return Comparison(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, output)
    verb = "wrote new" if old is None else "changed"
    diff = _diff(old or "", output, f"{path.name} (old)", path.name)
    return Comparison(path, f"{verb} golden file {path.name}; look at it and run again", diff, True)


def _keep(bad: Path, output: str) -> None:
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_bytes(output.encode(errors="backslashreplace"))


def _diff(expected: str, seen: str, expected_name: str, seen_name: str) -> str:
    """A unified diff that also shows where only the newline at the end is missing."""
    lines = difflib.unified_diff(
        expected.splitlines(keepends=True), seen.splitlines(keepends=True), expected_name, seen_name
    )
    marked = (
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
    return "".join(marked)

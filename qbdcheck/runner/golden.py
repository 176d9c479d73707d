"""The output of a case, and its comparison with the golden file.

The comparison is exact: white space counts. If a golden file is missing or has a merge conflict,
./check does not start the run, and plain pytest fails the case. A golden file may have variants:
the first that exists of ``017_x.qcow2.nocache.out``, ``017_x.qcow2.out``, ``017_x.nocache.out`` and
``017_x.out`` is used. Each may have variants by the version of QEMU: ``017_x.qemu-8.0.out`` is used
in place of ``017_x.out`` from QEMU 8.0 on, until a variant of a higher version follows.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from qbdcheck.errors import UsageError
from qbdcheck.files import COMMAND, write_atomically
from qbdcheck.programs.qemu_version import Version
from qbdcheck.runner.filters import Filters

_CONFLICT = re.compile(r"^(?:<{7} |={7}$|>{7} |\|{7} )")
_NO_CACHE = ("none", "directsync")
"""Cache modes that open with O_DIRECT: the variant ``.nocache``."""
_SINCE = re.compile(r"\.qemu-(?P<major>\d+)\.(?P<minor>\d+)\.out\Z")


@dataclass
class Output:
    """The value of the fixture ``golden``: a call prints text through the filters."""

    filters: Filters = field(default_factory=Filters)
    log: Path | None = None
    """full.log, which gets the unfiltered text; None for no log."""
    used: bool = False
    _parts: list[str] = field(default_factory=list)

    def __call__(self, *values: object) -> None:
        """Print `values`, separated by blanks, with exactly one newline at the end."""
        self.used = True
        text = " ".join(str(value) for value in values)
        text = text if text.endswith("\n") else text + "\n"
        if self.log is not None:
            with self.log.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(text)
        self._parts.append(self.filters.apply(text))

    def json(self, value: object) -> None:
        """Print `value` as indented JSON with sorted keys."""
        self(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str))

    def replace(self, text: str, word: str) -> None:
        """Print `word` instead of the exact path or name `text` from now on."""
        pairs = (*self.filters.replacements, (text, word))
        self.filters = Filters(self.filters.scratch, pairs)

    @property
    def text(self) -> str:
        """The whole output, filtered."""
        return "".join(self._parts)


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison. ``message`` is empty if output and golden file are equal."""

    golden: Path
    message: str = ""
    diff: str = ""
    updated: bool = False


def variants(case_id: str, image_format: str, cache: str) -> list[str]:
    """Return the names of golden files for a case, the most specific first."""
    parts = [f".{image_format}"] + ([".nocache"] if cache in _NO_CACHE else [])
    names = [f"{case_id}{''.join(parts)}.out"]
    names += [f"{case_id}{part}.out" for part in parts if len(parts) > 1]
    return [*names, f"{case_id}.out"]


def find_golden(
    golden_dir: Path,
    case_id: str,
    image_format: str,
    cache: str,
    qemu_version: Callable[[], Version],
) -> Path | None:
    """Return the golden file for this run of the case; None if there is none.

    :param qemu_version: called only if there are variants by version.
    """
    for name in variants(case_id, image_format, cache):
        stem = name.removesuffix(".out")
        since = {
            (int(found["major"]), int(found["minor"])): path
            for path in golden_dir.glob(f"{stem}.qemu-*.out")
            if (found := _SINCE.fullmatch(path.name, len(stem)))
        }
        if since:
            reached = [version for version in since if version <= qemu_version()]
            if reached:
                return since[max(reached)]
        if (golden_dir / name).is_file():
            return golden_dir / name
    return None


def check_golden_files(golden_dir: Path, case_id: str) -> None:
    """Check before a run that a case that prints has usable golden files.

    :raise UsageError: it has none, or one has a merge conflict.
    """
    names = re.compile(rf"{re.escape(case_id)}(?:\.\w+)*(?:\.qemu-\d+\.\d+)?\.out\Z")
    files = sorted(path for path in golden_dir.glob(f"{case_id}*") if names.match(path.name))
    if not files:
        raise UsageError(
            f"{golden_dir / case_id}.out: no such golden file, but the case prints; "
            f"{COMMAND} --update-golden {case_id.partition('_')[0]} writes it"
        )
    for path in files:
        try:
            line = conflict_line(path.read_bytes().decode())
        except (OSError, UnicodeError) as error:
            raise UsageError(f"{path}: cannot be read as a golden file: {error}") from None
        if line:
            raise UsageError(f"{path}:{line}: golden file has a merge conflict; resolve it")


def conflict_line(text: str) -> int | None:
    """Return the first line (from 1) of a merge conflict in a golden file; None without one.

    A line of seven ``=`` alone does not count: programs print such rulers.
    """
    found = [n for n, line in enumerate(text.split("\n"), 1) if _CONFLICT.match(line)]
    lines = text.split("\n")
    return found[0] if any(lines[n - 1][:1] in "<>" for n in found) else None


def compare(output: str, golden: Path | None, default: Path, bad: Path) -> Comparison:
    """Compare `output` with the file `golden`; write it to `bad` if they differ.

    :param golden: the golden file, or None if there is none.
    :param default: the path for a first golden file, for the message.
    """
    if golden is None:
        _keep(bad, output)
        return Comparison(
            default,
            f"no golden file {default.name}; check {bad.name}, then --update-golden writes it",
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
    """Write `output` to the file `golden`, or to `default`; report whether it changed."""
    path = golden or default
    old = path.read_bytes().decode(errors="replace") if path.is_file() else None
    if old == output:
        return Comparison(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, output)
    verb = "wrote new" if old is None else "changed"
    diff = _diff(old or "", output, f"{path.name} (old)", path.name)
    return Comparison(path, f"{verb} golden file {path.name}; check it and run again", diff, True)


def _keep(bad: Path, output: str) -> None:
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_bytes(output.encode(errors="backslashreplace"))


_CONTEXT = 3
_NEAR_START = 15
"""Lines, as ``_CONTEXT``."""


def _diff(expected: str, seen: str, expected_name: str, seen_name: str) -> str:
    """Return a unified diff that also shows if only the newline at the end is missing.

    A difference near the start is shown from the first line on, which heads the columns of a table.
    """
    old, new = expected.splitlines(keepends=True), seen.splitlines(keepends=True)
    pairs = enumerate(zip(old, new, strict=False))
    first = next((number for number, (one, other) in pairs if one != other), 0)
    context = max(first, _CONTEXT) if first <= _NEAR_START else _CONTEXT
    lines = difflib.unified_diff(old, new, expected_name, seen_name, n=context)
    marked = (
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
    return "".join(marked)

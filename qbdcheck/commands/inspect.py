"""`./check inspect FILE [--log WRITELOG] [--html PAGE]`: make the page of an image or a saved run.

FILE is a raw image with stamps of qbdcheck (such as a volume that --keep has kept), a report of
--json, or a bundle. With a log of the writes to the image (dm-log-writes format) each logged sector
must have the data of its last write, and the page shows the life of the first wrong sectors.
Without --html the page is written beside FILE.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from blockio.write_log import Entry, LogFlag, WriteLogError, read_log
from oracles.damage import Confidence, Damage, Operation
from oracles.damage_map import Kind, Stretch, svg
from oracles.diagnosis import diagnose
from oracles.finding import SECTOR, Finding
from oracles.inspection import marked_foreign, stretches, summary
from oracles.life import Moment, life_of
from oracles.stamps import operation_of
from qbdcheck import clock
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.report.events import CaseEnded, RunEnded, RunStarted
from qbdcheck.report.html import page
from qbdcheck.report.output import open_report
from qbdcheck.report.tally import Tally
from qbdcheck.saved.runs import is_run, read_run
from qbdcheck.verdict import Verdict

_MOST = 100
"""Findings of an image; the page counts the rest."""
_LIVES = 3
_ROWS = 400
"""Stretches that the page lists."""
USAGE = "usage: ./check inspect FILE [--log WRITELOG] [--html PAGE]"


_ABOUT = """\
Make the page of an image or a saved run. FILE is a raw image with stamps of
qbdcheck (such as a volume that --keep has kept), a report of --json, or a
bundle."""
_EXAMPLE = """\
example:
  ./check inspect volume.img --log writes.log --html page.html"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {USAGE}")


def main(arguments: Sequence[str]) -> int:
    """Write the page, print what was found, and return 1 if something is wrong, else 0.

    :raise UsageError: an argument or a file is wrong.
    """
    parser = _Parser(
        prog="./check inspect",
        usage=USAGE[7:],
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--log",
        type=Path,
        metavar="WRITELOG",
        help="log of the writes to the image (dm-log-writes format): each"
        " logged sector must have the data of its last write",
    )
    parser.add_argument("--html", type=Path, metavar="PAGE", help="default: beside FILE")
    given = parser.parse_args(arguments)
    if not given.file.is_file():
        raise UsageError(f"{given.file}: {'is not a' if given.file.exists() else 'no such'} file")
    target = given.html or given.file.with_name(f"{given.file.name}.html")
    if target.exists() and target.samefile(given.file):
        raise UsageError(f"--html {target} would overwrite the file that is inspected")
    command = " ".join(["./check inspect", *map(str, arguments)])
    if is_run(given.file):
        if given.log is not None:
            raise UsageError("--log is for images; a saved run has its own record")
        return _write(target, read_run(given.file), command)
    with tempfile.TemporaryDirectory(prefix="qbdcheck-inspect-") as directory:
        tally = _tally_of(given.file, given.log, Path(directory))
        return _write(target, tally, command)


def _write(target: Path, tally: Tally, command: str) -> int:
    with open_report(target) as file:
        file.write(page(tally, command))
    print(f"page: {target}")
    bad = any(case.verdict.is_bad for case in tally.cases)
    return ExitCode.RED if bad else ExitCode.GREEN


def _tally_of(image: Path, log: Path | None, directory: Path) -> Tally:
    """Return an image as a run of one case, whose findings are what is wrong with it."""
    started_s, clock_s = clock.wall_s(), clock.now_s()
    try:
        rows = marked_foreign(list(stretches(image)))
        size = image.stat().st_size
        findings = list(_of_image(rows))
        if log is not None:
            findings += _of_log(image, size, read_log(log), findings)
    except OSError as error:
        raise UsageError(f"cannot read {error.filename or image}: {error.strerror}") from None
    except WriteLogError as error:
        raise UsageError(str(error)) from None
    lines = summary(rows)
    print("sectors", *lines, sep="\n")
    picture, listing = directory / "volume.svg", directory / "sectors.txt"
    picture.write_text(svg(rows, image.name), encoding="utf-8")
    listing.write_text("\n".join(_listed(rows)) + "\n", encoding="utf-8")
    whole = Operation(0, 0, size, "prefill", 0)
    findings = [replace(one, last_writes=(*one.last_writes, whole)) for one in findings]
    elapsed_s = clock.now_s() - clock_s
    verdict = Verdict.FAIL if findings else Verdict.PASS
    case = CaseEnded(
        case_id=image.name,
        number=0,
        sentence="This case checks that each sector has a whole stamp of its own place"
        + (", and the data of its last logged write." if log else "."),
        groups=("inspect",),
        image_format="raw",
        verdict=verdict,
        elapsed_s=elapsed_s,
        message=f"{len(findings)} findings" if findings else "",
        details="\n".join(line.strip() for line in lines),
        findings=tuple(findings[:_MOST]),
        artefacts=(str(picture), str(listing)),
    )
    run = RunStarted("", 0, image.name, ("raw",), 1, 1, started_s)
    counts = {one.name.lower(): int(one is verdict) for one in Verdict}
    return Tally(run=run, end=RunEnded(elapsed_s, counts, int(bool(findings))), cases=[case])


def _listed(rows: Sequence[Stretch]) -> Iterator[str]:
    yield f"{'sector':>12} {'sectors':>10} {'offset':>14}  content"
    for row in rows[:_ROWS]:
        yield f"{row.first:>12} {row.count:>10} {row.first * SECTOR:>14}  {row.text}"
    if len(rows) > _ROWS:
        yield f"... and {len(rows) - _ROWS} more: python -m oracles.inspection lists all"


def _of_image(rows: Sequence[Stretch]) -> Iterator[Finding]:
    """Yield what the sectors say by themselves."""
    kinds = {
        Kind.MISDIRECTED: Damage.MISDIRECTED,
        Kind.DAMAGED: Damage.ALTERED,
        Kind.MIXED: Damage.FOREIGN,
    }
    for row in rows:
        kind = Kind.MIXED if row.text.endswith(", FOREIGN") else row.kind
        damage = kinds.get(kind)
        if damage is not None:
            place = row.first * SECTOR, row.count * SECTOR
            # A write of a part of a sector leaves a damaged stamp, too.
            likely = damage is Damage.ALTERED
            confidence = Confidence.LIKELY if likely else Confidence.CERTAIN
            moved = _moved(row.text)
            yield Finding(damage, *place, moved=moved, confidence=confidence, remark=row.text)


def _moved(text: str) -> int | None:
    """Return by how many bytes a stretch is away from its place, as its text says."""
    _, found, rest = text.partition("MISDIRECTED by ")
    return int(rest.split()[0]) * SECTOR if found else None


def _of_log(
    image: Path, size: int, entries: Sequence[Entry], known: Sequence[Finding]
) -> Iterator[Finding]:
    """Yield each logged range that does not have the data of its last write."""
    known_sectors = {one.sector for one in known}
    moments = [_moment(number, entry) for number, entry in enumerate(entries, 1)]
    last: dict[int, tuple[int, Entry]] = {}
    for number, entry in enumerate(entries, 1):
        if entry.length and not entry.flags & LogFlag.MARK:
            first = entry.offset // SECTOR
            for sector in range(first, first + entry.length // SECTOR):
                last[sector] = number, entry
    lives = 0
    with image.open("rb") as file:
        for sector, (number, entry) in sorted(last.items()):
            place = sector * SECTOR
            if place + SECTOR > size or entry.flags & LogFlag.DISCARD:
                continue  # a discarded sector may be old or zero
            start = place - entry.offset
            wanted = bytes(entry.data[start : start + SECTOR])
            file.seek(place)
            for found in diagnose(file.read(SECTOR), place, wanted):
                write = Operation(number, entry.offset, entry.length, "write")
                life: tuple[Moment, ...] = ()
                if lives < _LIVES:
                    lives += 1
                    life = life_of(moments, [(place, SECTOR)])
                if sector not in known_sectors:
                    yield replace(found, last_writes=(write,), life=life)


def _moment(number: int, entry: Entry) -> Moment:
    kind = "discard" if entry.flags & LogFlag.DISCARD else "write"
    if entry.flags & LogFlag.MARK:
        kind = "fault"
    elif entry.flags & LogFlag.FLUSH and not entry.length:
        kind = "flush"
    text = bytes(entry.data).decode(errors="replace") if entry.flags & LogFlag.MARK else ""
    stamped = None
    if kind == "write":
        stamped = operation_of(np.frombuffer(entry.data, dtype=np.uint8), entry.offset)
    return Moment(
        kind=kind,
        number=stamped or number,
        offset=entry.offset,
        length=entry.length,
        fua=bool(entry.flags & LogFlag.FUA),
        lane="write log",
        text=f"mark {text}" if text else "",
    )

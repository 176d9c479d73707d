"""What a failed case shows, as words that can be compared: damage, request, flags, size, errno.

Findings are data already. A failure without findings has only its message: the request, the errno
and the end of a program are read from it. Numbers, paths and names of targets are removed, so that
two failures of one kind have equal symptoms.
"""

from __future__ import annotations

import errno as numbers
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from oracles.damage import Content, Damage, What
from oracles.finding import SECTOR, Finding
from qbdcheck.report.cause import SERVER_DIED, cause_of, is_judged, main_finding

READ, WRITE, ZEROES = "read", "write", "write zeroes"
DISCARD, FLUSH, STATUS = "discard", "flush", "block status"
_COMMANDS: Sequence[tuple[str, re.Pattern[str]]] = (
    (STATUS, re.compile(r"block[ _]status|\bextents?\b|\bmap\b", re.IGNORECASE)),
    (ZEROES, re.compile(r"write[ _]zeroes|\bwrite -[a-y]*z|NO_HOLE|FAST_ZERO", re.IGNORECASE)),
    (DISCARD, re.compile(r"\b(?:discard|trim)\b", re.IGNORECASE)),
    ("resize", re.compile(r"\bresized?\b|\bgrow|\bshr[iu]nk", re.IGNORECASE)),
    ("snapshot", re.compile(r"\bsnapshots?\b|\bclones?\b", re.IGNORECASE)),
    (FLUSH, re.compile(r"\bflush", re.IGNORECASE)),
    ("cache", re.compile(r"\bCACHE\b")),
    (
        "lock",
        re.compile(r"\bfailed to get [\w\" ]*lock\b|another process using the", re.IGNORECASE),
    ),
    (
        "handshake",
        re.compile(
            r"handshake|can't open|could not open|\boption\b"
            r"|\b(?-i:LIST|GO|EXPORT_NAME|STARTTLS|STRUCTURED_REPLY|(?:SET|LIST)_META_CONTEXT)\b",
            re.IGNORECASE,
        ),
    ),
    (WRITE, re.compile(r"\b(?:aio_)?write\b", re.IGNORECASE)),
    (READ, re.compile(r"\b(?:aio_)?read\b", re.IGNORECASE)),
)
"""Commands with what names them in a message, the most specific first."""
_CHANGES = {"write": WRITE, "zero": ZEROES, "discard": DISCARD}
"""Changes in the life of a place, as commands."""
_FEW = 0.1
"""Of many findings this share may have another request: the last one there need not be lost."""
_NAMED = re.compile(r"\b(connection to) \S+")
"""A volume of any name, such as `grown`, which is no command."""
_FLAGS = re.compile(r"\b(FUA|NO_HOLE|FAST_ZERO|DF|REQ_ONE)\b")
_SIGNAL = re.compile(r"([\w./-]+)[^.;:]*?\b(?:was killed by|died (?:by|of)) (SIG[A-Z0-9]+)")
_ERRNOS = {os.strerror(number): name for number, name in numbers.errorcode.items()}
_ENDS: Sequence[tuple[str, re.Pattern[str]]] = (
    ("server died", re.compile(r"server (?:died|was killed|crashed)", re.IGNORECASE)),
    (
        "no answer",
        re.compile(r"timed? ?-?out|time limit|no answer|did not (?:answer|end)|no reply"),
    ),
    ("connection lost", re.compile(r"reset|[Bb]roken pipe|closed the connection|EOF|disconnect")),
    ("corrupt image", re.compile(r"[Ll]eaked cluster|[Ii]mage is corrupt|bad magic|bad header")),
    ("pattern differs", re.compile(r"[Pp]attern verification failed")),
    ("output differs", re.compile(r"^output (?:line|differs)", re.MULTILINE)),
    ("must fail", re.compile(r"expected an error|DID NOT RAISE|must fail|succeeded")),
)
_TEST_FAILED = re.compile(r"^(?:ext[234] |xfs )?[\w.#-]+: (?:fail|broken|timed out): ")
"""The message of a case whose test in a guest failed; the rest of it is that test's own output."""
_BLAMED = re.compile(r"QEMU [\d.]+ is to blame, not the target")
"""Begins the message of a case that fails without the target, too (`without_target`)."""
_SIZES = ((SECTOR, "at most 512 bytes"), (4096, "at most 4 KiB"), (1 << 16, "at most 64 KiB"),
          (1 << 20, "at most 1 MiB"))  # fmt: skip
_STATES = {
    "crash": "after a crash or a restart",
    "states": "after a power cut",
    "concurrent": "with requests in flight",
}
"""Groups of cases that say in which state the connection or the target is."""
_STRUCK = re.compile(r"0x[0-9a-fA-F]+|\d+|'[^']*'|\"[^\"]*\"|json:\S+|/\S+|\b[0-9a-f]{8,}\b")
_SHAPE_MAX = 60


@dataclass(frozen=True)
class Symptoms:
    """What one failure shows. Empty strings and tuples stand for unknown.

    :ivar damage: kinds of damage, that of the main finding first.
    :ivar command: the request that did it, or whose answer is wrong.
    :ivar size: size class of the damaged place; ``alignment``: of its offset.
    :ivar end: how a request or program ended, such as ``no answer``.
    :ivar program: a program that died, with its signal.
    :ivar expected: what had to be there: ``zeroes`` if anywhere, else ``data``, or nothing known.
    :ivar moved: how far data is from its place, if it is misplaced.
    :ivar shape: command, errno and kind of text in one line without numbers.
    """

    damage: tuple[str, ...] = ()
    command: str = ""
    flags: tuple[str, ...] = ()
    size: str = ""
    alignment: str = ""
    state: str = ""
    errno: str = ""
    end: str = ""
    program: str = ""
    expected: str = ""
    moved: str = ""
    shape: str = ""


def symptoms_of(
    message: str,
    details: str,
    findings: Sequence[Finding],
    groups: Iterable[str] = (),
) -> Symptoms:
    """Return the symptoms of a failure, from the fields of its ``case_ended`` event."""
    if blamed := _BLAMED.match(message):
        return Symptoms(end=blamed[0], shape=blamed[0])
    main = main_finding(findings)
    text = f"{message}\n{cause_of(message, details, findings)}"
    first = [main] if main else []
    damage = dict.fromkeys(finding.damage.value for finding in [*first, *findings])
    command, flags = _request(main, text)
    errno = _errno(main, text)
    end = "" if _is_judged(main) else _first(_ENDS, text)
    if main is None and _TEST_FAILED.match(message):
        command, flags, errno, end = "", (), "", "a test in the guest failed"
    return Symptoms(
        damage=tuple(damage),
        command=command,
        flags=flags,
        size=size_class(main.length) if main and main.length else "",
        alignment=alignment_of(main.offset, main.length) if main and main.length else "",
        state=next((_STATES[group] for group in groups if group in _STATES), ""),
        errno=errno,
        end=end,
        program=_program(main, text),
        expected=_expected(findings),
        moved=moved_by(main),
        shape=_shape(main, command, errno, end, text),
    )


def of_event(event: Mapping[str, object], findings: Sequence[Finding]) -> Symptoms:
    """Return the symptoms of a case in an event of the JSON-lines report."""
    groups = event.get("groups", ())
    assert isinstance(groups, Sequence)
    return symptoms_of(str(event["message"]), str(event.get("details", "")), findings, groups)


def command_of(text: str) -> str:
    """Return the command that a text names; "" without one."""
    return _first(_COMMANDS, _NAMED.sub(r"\1", text))


def is_contradicted(trait: tuple[str, str], findings: Sequence[Finding]) -> bool:
    """Return whether a finding of a failure shows that a trait does not hold for all of it.

    A trait comes from the finding that tells most; the others may have another size or request.
    """
    kind, value = trait
    damaged = [one for one in findings if one.damage.rank == 0 and one.length]
    match kind:
        case "command":
            writes = [one for one in damaged if one.last_writes or lost_change(one)]
            others = [one for one in writes if _command_to_blame(one) not in (value, "prefill")]
            return len(others) > _FEW * len(writes)
        case "size":
            limit = next((size for size, name in _SIZES if name == value), None)
            return limit is not None and any(one.length > limit for one in findings)
        case "alignment":
            places = [(one.offset, one.length) for one in findings if one.length]
            return any(alignment_of(*place) != value for place in places)
        case "moved":
            return any(moved_by(one) != value for one in damaged if one.moved)
        case "expected":
            kinds = {one.expected.what is What.ZEROES for one in damaged if one.expected}
            return kinds == {True, False}
    return False


def _command_to_blame(finding: Finding) -> str:
    """Return the command of the change that is not there, or of the last one; or ``prefill``."""
    if lost := lost_change(finding):
        return lost[0]
    text = finding.last_writes[0].text
    return text if text == "prefill" else command_of(text)


def _is_judged(finding: Finding | None) -> bool:
    return finding is not None and is_judged(finding)


def _program(main: Finding | None, text: str) -> str:
    """Return which program died, and how."""
    if main is not None and main.remark.startswith(SERVER_DIED):
        return main.remark.removeprefix(SERVER_DIED)
    died = _SIGNAL.search(text)
    return f"{died[1].rpartition('/')[2]} was killed by {died[2]}" if died else ""


def _first(patterns: Iterable[tuple[str, re.Pattern[str]]], text: str) -> str:
    return next((name for name, pattern in patterns if pattern.search(text)), "")


def _request(main: Finding | None, text: str) -> tuple[str, tuple[str, ...]]:
    """Return the command and its flags; damaged data is due to what should have written it."""
    texts: Iterator[str] = iter((text,))
    if main is not None and (lost := lost_change(main)):
        return lost
    if main is not None and main.damage.rank == 0:
        last = [one.text for one in main.last_writes if one.text != "prefill"]
        if last:
            texts = iter(last[:1])
        elif main.last_writes:
            return "", ()
        elif main.request:
            texts = iter((main.request,))
    elif main is not None and main.damage is Damage.NOT_LINEARIZABLE:
        return "", ()  # the text names reads and writes, none of which is to blame alone
    elif main is not None and main.request:
        texts = iter((main.request, text))
    for one in texts:
        if command := command_of(one):
            return command, tuple(dict.fromkeys(_FLAGS.findall(one)))
    return "", ()


def lost_change(finding: Finding) -> tuple[str, tuple[str, ...]] | None:
    """Return the command and the flags of the change that a finding contradicts; None without."""
    if finding.fit is not None and finding.fit.is_lost and finding.fit.change.text != "prefill":
        text = finding.fit.change.text
        return command_of(text), tuple(_FLAGS.findall(text))
    culprit = finding.culprit if finding.damage.rank == 0 else None
    if culprit is None:
        return None
    one = finding.life[culprit.change]
    command = _CHANGES.get(one.kind)
    return (command, ("FUA",) if one.fua else ()) if command else None


def _errno(main: Finding | None, text: str) -> str:
    if _is_judged(main) and main is not None and main.damage is not Damage.ERROR:
        return ""
    seen = main.seen if main else None
    if isinstance(seen, Content) and seen.what is What.ERROR and seen.number is not None:
        return numbers.errorcode.get(seen.number, "success" if seen.number == 0 else "")
    found = [(text.find(words), name) for words, name in _ERRNOS.items() if words in text]
    if found:
        return min(found)[1]
    named = re.search(r"\b(E[A-Z]{2,})\b", text)
    return named[1] if named and named[1] in numbers.errorcode.values() else ""


def size_class(length: int) -> str:
    """Return the class of a length in bytes, such as ``at most 4 KiB``."""
    return next((name for limit, name in _SIZES if length <= limit), "over 1 MiB")


def alignment_of(offset: int, length: int) -> str:
    """Return how a range of bytes is aligned."""
    place = offset | length
    if place % SECTOR:
        return "unaligned"
    return "aligned to 4096" if place % 4096 == 0 else "aligned to 512"


def _expected(findings: Sequence[Finding]) -> str:
    kinds = {
        "zeroes" if one.expected.what is What.ZEROES else "data"
        for one in findings
        if one.expected is not None and one.damage.rank == 0
    }
    return next((kind for kind in ("zeroes", "data") if kind in kinds), "")


def moved_by(main: Finding | None) -> str:
    """Return how far data is from its place; "" where it is not misplaced."""
    if main is None or not main.moved:
        return ""
    if main.moved % SECTOR:
        return f"{main.moved:+d} bytes away"
    return f"{main.moved // SECTOR:+d} sectors away"


def _shape(main: Finding | None, command: str, errno: str, end: str, text: str) -> str:
    """Return one line; a judged finding needs no text."""
    words = [command, errno, end]
    if not any((errno, end, _is_judged(main))):
        first = text.strip().partition("\n")[0]
        words.append(" ".join(_STRUCK.sub("N", first).split())[:_SHAPE_MAX])
    return "; ".join(filter(None, words))

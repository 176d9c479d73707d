"""The title of a cause: one sentence that says what its failures have in common.

The subject comes first: ``reads return zeroes at places of writes with FUA, after a power cut``. It
is made of the telling traits of the failures (`qbdcheck.report.traits`), or of the story that most
of their findings tell: a discard that reached too far, a change that reached a snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from oracles.damage import Damage
from oracles.finding import DISCARDED, FROM_AFAR, Finding
from oracles.fits import How
from oracles.life import Moment
from qbdcheck.report import symptoms
from qbdcheck.report.page_place import relative_of
from qbdcheck.report.shared_facts import NOT_THERE
from qbdcheck.report.traits import Trait, weight

NOTHING = "failures whose texts have no request and no kind of damage in common"
BREAK_PROTOCOL = "break the protocol"
_TOLD = 5
"""Traits in a title."""
_MOST = 0.8
"""A story needs this share of the failures."""
_HALF = 0.5
_TOO_FAR = "discards reach beyond their range"
_PLACES = {
    "at most 512 bytes": "each place has at most 512 bytes",
    "over 1 MiB": "each place has over 1 MiB",
    "unaligned": "no place begins and ends at a sector boundary",
}
"""Sizes and alignments that say something; others are usual, whatever the bug is."""
_REQUESTS = {
    symptoms.READ: "reads",
    symptoms.WRITE: "writes",
    symptoms.ZEROES: "write zeroes requests",
    symptoms.DISCARD: "discards",
    symptoms.FLUSH: "flushes",
    symptoms.STATUS: "block status requests",
    "resize": "resizes",
    "snapshot": "requests about snapshots",
    "cache": "cache requests",
    "lock": "requests for a lock",
}
_CHANGES = (symptoms.WRITE, symptoms.ZEROES, symptoms.DISCARD)
_DATA = {
    Damage.ZEROED: "zeroes",
    Damage.STALE: "older data",
    Damage.NEWER: "newer data",
    Damage.NEVER_WRITTEN: "what was there before",
    Damage.LOST: "what was there before",
    Damage.OTHER_WRITE: "the data of another write",
    Damage.MISDIRECTED: "data of another place",
    Damage.SWAPPED: "swapped sectors",
    Damage.FOREIGN: "data of another volume or run",
    Damage.TORN: "torn sectors",
    Damage.ALTERED: "data with a few changed bytes",
    Damage.BIT_FLIP: "data with changed bits",
    Damage.SHIFTED: "shifted data",
    Damage.TRUNCATED: "data whose end is missing",
    Damage.CHANGING: "other data each time",
    Damage.UNKNOWN: "unknown data",
}
"""What reads return, for the kinds of damage that are said of data."""
_SAID = {
    Damage.BEYOND_END.value: "data beyond the end of the volume is read or written",
    Damage.NOT_LINEARIZABLE.value: "reads fit no order of the requests",
    Damage.METADATA.value: "the structures of an image or of a file system are damaged",
    Damage.FILE.value: "a file, or a row of a database, is not what was promised",
    Damage.SIZE.value: "the size is wrong",
    Damage.NOT_READY.value: "the server is not ready",
    Damage.DIED.value: "a program died",
    "server died": "the server died",
    "connection lost": "the connection is lost",
    "corrupt image": "an image is corrupt",
    "pattern differs": "qemu-io reads another pattern than was written",
    "output differs": "the output differs from the expected one",
}
_OF_REQUESTS = {
    Damage.PROTOCOL.value: f"replies to {{0}} {BREAK_PROTOCOL}",
    Damage.LENGTH.value: "replies to {0} have a wrong length",
    Damage.STATUS.value: "the block status is wrong after {0}",
    Damage.HANG.value: "{0} hang",
    "no answer": "{0} get no answer",
    "must fail": "{0} succeed where they must fail",
}
_WITHOUT = {
    Damage.PROTOCOL.value: f"replies {BREAK_PROTOCOL}",
    Damage.LENGTH.value: "replies have a wrong length",
    Damage.STATUS.value: "the block status is wrong",
    Damage.HANG.value: "something does not end in its time limit",
    "no answer": "there is no answer",
    "must fail": "requests succeed where they must fail",
}
"""The same where no request is known."""
_ENDED = frozenset(("ECONNRESET", "EPIPE", "ECONNABORTED"))
"""Error numbers that no server sends: the connection ended."""
_NO_ERROR = "success"
_MOVED = re.compile(r"([+-])(\d+) (bytes|sectors) away")
_STATUS: Sequence[tuple[str, re.Pattern[str]]] = (
    (
        "the block status says zero where there is data",
        re.compile(r"called zero, but|said to read as zeroes|are called zero|: zero, after"),
    ),
    ("changed places are not dirty", re.compile(r"changed, but is clean|\(clean\), expected")),
    ("unchanged places are dirty", re.compile(r"\(dirty\), expected")),
)
"""What a wrong block status says, by the words of its finding."""


def title_of(root: Trait, shared: set[Trait]) -> str:
    """Return what the failures of a cause have in common, as a sentence without a full stop.

    :param root: the trait that points to the cause. :param shared: those that all failures have.
    """
    others = sorted(shared - {root}, key=lambda trait: (-weight(trait), trait))
    chosen: dict[str, list[str]] = {}
    roots = [root] if root in shared or root[0] == "damage" else []
    for kind, value in [*roots, *others][:_TOLD]:
        chosen.setdefault(kind, []).append(value)
    told = _what(chosen)
    if not told:
        return NOTHING
    if chosen.get("expected") and " zeroes" not in told and " instead of" not in told:
        told += " instead of zeroes"
    comma = "" if told.endswith(" lost") else ","
    told += "".join(f"{comma} {value}" for value in chosen.get("state", ()))
    places = [_distance(value) for value in chosen.get("moved", ())]
    usual = [*chosen.get("size", ()), *chosen.get("alignment", ())]
    places += [_PLACES[value] for value in usual if value in _PLACES]
    return "; ".join([told, *places])


def kinds_in_words(kinds: Sequence[str]) -> str:
    """Return what reads return, for words of `Damage`: ``zeroes or older data``."""
    words = list(dict.fromkeys(_DATA.get(Damage(kind), kind) for kind in kinds))
    if _DATA[Damage.STALE] in words:
        words = [one for one in words if one != _DATA[Damage.NEVER_WRITTEN]]
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def story_of(mains: Sequence[Finding | None]) -> str:
    """Return the title of a cause whose failures tell the same story; "" if they tell none.

    :param mains: the finding of each failure that explains most; None for a failure without one.
    """
    known = [one for one in mains if one is not None]
    if not known or len(known) < _MOST * len(mains):
        return ""
    stories = (
        (_came_from_others, _HALF, "changes of a volume also change its snapshots or clones"),
        (_was_right, _MOST, "data that was right when it was read is damaged later"),
        (_is_from_afar, _HALF, "discards or write zeroes requests go to wrong places"),
        (_is_untouched_beside, _HALF, _TOO_FAR),
        (_lies_beside, _MOST, _TOO_FAR),
    )
    for holds, share, title in stories:
        if sum(map(holds, known)) >= share * len(known):
            return title
    if all(one.damage is Damage.STATUS for one in known):
        for title, pattern in _STATUS:
            if all(pattern.search(f"{one.request}: {one.text}") for one in known):
                return title
    return ""


def lost_title(mains: Sequence[Finding]) -> str:
    """Return the title of failures that show that what was written is not there."""
    changes = [one for one in map(_lost_change, mains) if one is not None]
    if len(changes) < _MOST * len(mains):
        return "data that was written is not there"
    if all(one.kind == "prefill" for one in changes):
        return "data that no request had changed is not there"
    kinds = {one.kind for one in changes if one.kind != "prefill"}
    words = {"write": "writes", "zero": "write zeroes requests", "discard": "discards"}
    name = words[kinds.pop()] if len(kinds) == 1 else "changes"
    flags = " with FUA" if all(one.fua for one in changes) else ""
    where = ""
    for kind in ("snapshot", "clone"):
        if all(one.volume.startswith(f"{kind} ") for one in mains):
            where = f" in {kind}s"
    seen = kinds_in_words([kind.value for kind in dict.fromkeys(one.damage for one in mains)])
    return f"acknowledged {name}{flags} are not there{where}: reads return {seen}"


def _lost_change(finding: Finding) -> Moment | None:
    culprit = finding.culprit
    if culprit is None:
        return None
    return finding.life[culprit.change]


def _came_from_others(finding: Finding) -> bool:
    fit = finding.fit
    return relative_of(finding) is not None or (fit is not None and fit.how is How.OTHERS)


def _is_untouched_beside(finding: Finding) -> bool:
    """Return whether a place lies beside a later discard, and no request to the place is lost."""
    lost = _lost_change(finding)
    return _lies_beside(finding) and (lost is None or lost.kind == "prefill")


def _was_right(finding: Finding) -> bool:
    return bool(finding.since_right)


def _is_from_afar(finding: Finding) -> bool:
    return any(line.startswith(FROM_AFAR) for line in finding.evidence)


def _lies_beside(finding: Finding) -> bool:
    return any(line.startswith(DISCARDED) for line in finding.evidence)


def _what(chosen: Mapping[str, Sequence[str]]) -> str:
    """Return what went wrong, as a sentence; "" if nothing is known of it."""
    if "program" in chosen:
        return chosen["program"][0]
    damage, ends = list(chosen.get("damage", ())), list(chosen.get("end", ()))
    if Damage.ERROR.value in damage:
        return _of_errors(chosen)
    contents = [kind for kind in damage if Damage(kind) in _DATA]
    parts = [_of_contents(contents, chosen)] if contents else []
    if Damage.HANG.value in damage:
        ends = [one for one in ends if one != "no answer"]
    parts += [_of(kind, chosen) for kind in [*damage, *ends] if kind not in contents]
    if not parts and (requests := _requests(chosen)):
        is_flush = symptoms.FLUSH in chosen.get("command", ())
        wrong = "do not make data durable, or end wrongly" if is_flush else "have a wrong outcome"
        parts = [f"{requests} {wrong}"]
    told = ", and ".join(dict.fromkeys(parts))
    errors = "" if contents else " and ".join(_errors(chosen))
    return f"{told} with {errors}" if told and errors else told or errors


def _of_errors(chosen: Mapping[str, Sequence[str]]) -> str:
    requests = _requests(chosen) or "requests"
    errors = set(chosen.get("errno", ()))
    if errors == {_NO_ERROR}:
        return f"{requests} succeed where they must fail"
    if errors and errors <= _ENDED:
        return f"the connection ends instead of replies to {requests}"
    named = " and ".join(_errors(chosen))
    return f"{requests} fail with {named}" if named else f"{requests} have a wrong outcome"


def _errors(chosen: Mapping[str, Sequence[str]]) -> list[str]:
    return [one for one in chosen.get("errno", ()) if one != _NO_ERROR]


def _of(kind: str, chosen: Mapping[str, Sequence[str]]) -> str:
    """Return what a kind of damage that is not said of data, or the end of a program, means."""
    requests = _requests(chosen)
    is_about_status = kind == Damage.STATUS.value and requests.startswith("block status")
    if kind in _OF_REQUESTS and requests and not is_about_status:
        return _OF_REQUESTS[kind].format(requests)
    return _WITHOUT.get(kind) or _SAID.get(kind, kind)


def _of_contents(kinds: Sequence[str], chosen: Mapping[str, Sequence[str]]) -> str:
    """Return what reads return, and which requests were to put other data there."""
    if set(kinds) == {Damage.MISDIRECTED.value}:
        return "data is at wrong places"
    seen, requests = kinds_in_words(kinds), _requests(chosen)
    commands = chosen.get("command", ())
    is_lost = all(Damage(kind) in NOT_THERE for kind in kinds)
    if symptoms.FLUSH in commands:
        return "flushed data is lost" if is_lost else f"reads return {seen} instead of flushed data"
    if set(kinds) == {Damage.LOST.value} and requests:
        return f"{requests} are lost"
    if not requests or symptoms.READ in commands or Damage.FOREIGN.value in kinds:
        return f"reads return {seen}"
    of = "at places of" if set(commands) <= set(_CHANGES) else "after"
    return f"reads return {seen} {of} {requests}"


def _requests(chosen: Mapping[str, Sequence[str]]) -> str:
    """Return ``writes with FUA``; "" if no command and no flag is known."""
    commands = [_REQUESTS.get(value, value) for value in chosen.get("command", ())]
    flags = " and ".join(chosen.get("flag", ()))
    if "handshake" in commands:
        return "messages of the handshake"
    if not commands and not flags:
        return ""
    name = " and ".join(commands) or "requests"
    return f"{name} with {flags}" if flags else name


def _distance(value: str) -> str:
    """Return ``it is 8 sectors too high`` for ``+8 sectors away``; others as they are."""
    found = _MOVED.fullmatch(value)
    if found is None:
        return value
    unit = found[3].removesuffix("s") if found[2] == "1" else found[3]
    return f"it is {found[2]} {unit} too {'high' if found[1] == '+' else 'low'}"

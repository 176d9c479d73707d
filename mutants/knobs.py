"""The knobs of a mutant: how often it strikes, from when on, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from blockio.layers import Command

ALWAYS = ("rate", "after", "idle", "seed")
"""Knobs of a bug that has occasions."""
ALL = (*ALWAYS, "scope", "offset", "connection")
"""Knobs of a bug whose occasions are requests."""
FIXED = ()
"""A bug that is a fixed fact, such as a wrong size in the handshake, takes none."""
COMMANDS = {
    "read": Command.READ,
    "write": Command.WRITE,
    "flush": Command.FLUSH,
    "discard": Command.TRIM,
    "cache": Command.CACHE,
    "write_zeroes": Command.WRITE_ZEROES,
    "block_status": Command.BLOCK_STATUS,
}
"""Words of the knob ``scope``."""
_LAST_OFFSET = (1 << 63) - 1


class KnobError(ValueError):
    """A knob, its value, and what is allowed in its place; one line."""


class Knobs:
    """What the words say, converted.

    ``rate`` N: one in N occasions, by chance from ``seed``. ``after`` N: the first N occasions
    pass. ``idle`` seconds: none counts until for so long no request came. ``scope`` commands,
    ``offset`` LO-HI (bytes, both included; a request that touches one of them) and ``connection``
    N (from 1, in the order in which a server lets them in): other requests are no occasions.

    :param words: values by knob, as text.
    :param takes: knobs that this bug has; ``commands``: those that it is a bug of.
    :raise KnobError: a knob that it does not take, or a value that is wrong.
    """

    def __init__(
        self,
        words: Mapping[str, str],
        usual_rate: int = 1,
        takes: Iterable[str] = ALL,
        commands: Iterable[Command] = tuple(COMMANDS.values()),
    ) -> None:
        for knob, value in words.items():
            if knob not in ALL:
                raise KnobError(f"{knob}={value}: no such knob; there are {', '.join(ALL)}")
            if knob not in takes:
                raise KnobError(f"{knob}={value}: {_why_not(tuple(takes))}")
        self.rate = _whole(words, "rate", usual_rate, 1)
        self.after = _whole(words, "after", 0, 0)
        self.seed = _whole(words, "seed", 1, 0)
        self.connection = _whole(words, "connection", 0, 1)
        self.idle_s = _seconds(words, "idle")
        self.commands = _scope(words, tuple(commands))
        self.first, self.last = _range(words, self.commands)
        self.has_range = "offset" in words


def split(words: Iterable[str]) -> dict[str, str]:
    """Return the knobs of words ``KEY=VALUE``.

    :raise KnobError: a word is no pair, or a knob stands there twice.
    """
    found: dict[str, str] = {}
    for word in words:
        knob, equals, value = word.partition("=")
        if not (knob and equals):
            raise KnobError(f"{word or 'an empty word'}: a knob is written KEY=VALUE")
        if knob in found:
            raise KnobError(f"{word}: {knob} is there twice")
        found[knob] = value
    return found


def _why_not(takes: tuple[str, ...]) -> str:
    if not takes:
        return "this bug is a fixed fact, and takes no knobs"
    return f"this bug is no layer of requests, and takes only {', '.join(takes)}"


def _whole(words: Mapping[str, str], knob: str, usual: int, least: int) -> int:
    text = words.get(knob)
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise KnobError(f"{knob}={text}: must be a whole number from {least} on")
    return int(text)


def _seconds(words: Mapping[str, str], knob: str) -> float:
    text = words.get(knob, "0")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise KnobError(f"{knob}={text}: must be a number of seconds from 0 on")
    return value


def _scope(words: Mapping[str, str], commands: tuple[Command, ...]) -> tuple[Command, ...]:
    text = words.get("scope")
    if text is None:
        return commands
    for word in text.split("+"):
        if word not in COMMANDS:
            raise KnobError(f"scope={text}: {word or 'nothing'} is none of {', '.join(COMMANDS)}")
    chosen = tuple(COMMANDS[word] for word in text.split("+") if COMMANDS[word] in commands)
    if not chosen:
        own = ", ".join(name for name, command in COMMANDS.items() if command in commands)
        raise KnobError(f"scope={text}: this is a bug of {own}")
    return chosen


def _range(words: Mapping[str, str], commands: tuple[Command, ...]) -> tuple[int, int]:
    text = words.get("offset")
    if text is None:
        return 0, _LAST_OFFSET
    low, dash, high = text.partition("-")
    numbers = all(part.isascii() and part.isdigit() for part in (low, high))
    if not (dash and numbers and int(low) <= int(high) <= _LAST_OFFSET):
        raise KnobError(f"offset={text}: must be LO-HI, in bytes, with LO <= HI < 2^63")
    if commands == (Command.FLUSH,):
        raise KnobError(f"offset={text}: a flush has no offset")
    return int(low), int(high)

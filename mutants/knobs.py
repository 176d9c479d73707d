"""The knobs of a mutant: how often, since when, and where its bug occurs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from blockio.layers import Command

ALWAYS = ("rate", "after", "idle", "seed")
"""Knobs of a bug that is not in requests."""
ALL = (*ALWAYS, "scope", "offset", "connection")
"""Knobs of a bug in requests."""
FIXED = ()
"""Knobs of a bug that is a fixed fact, such as a wrong size in the handshake: none."""
COMMANDS = {
    "read": Command.READ,
    "write": Command.WRITE,
    "flush": Command.FLUSH,
    "discard": Command.TRIM,
    "cache": Command.CACHE,
    "write_zeroes": Command.WRITE_ZEROES,
    "block_status": Command.BLOCK_STATUS,
}
"""Values of the knob ``scope``."""
_LAST_OFFSET = (1 << 63) - 1


class KnobError(ValueError):
    """A knob or its value is wrong; the message is one line and says what is allowed."""


class Knobs:
    """The values of the knobs, converted.

    ``rate`` N: the bug occurs at one in N occasions, drawn from ``seed``. ``after`` N: the first N
    occasions pass. ``idle`` seconds: the bug is armed only after this time without a request.
    ``scope`` commands, ``offset`` LO-HI (bytes, both included; requests that touch one of them) and
    ``connection`` N (from 1, in the order of connecting): other requests are no occasions.

    :param options: values by knob, as text.
    :param takes: knobs of this bug; ``commands``: the commands that it can damage.
    :raise KnobError: the bug does not have the knob, or the value is wrong.
    """

    def __init__(
        self,
        options: Mapping[str, str],
        default_rate: int = 1,
        takes: Iterable[str] = ALL,
        commands: Iterable[Command] = tuple(COMMANDS.values()),
    ) -> None:
        for knob, value in options.items():
            if knob not in ALL:
                raise KnobError(f"{knob}={value}: unknown knob; knobs are {', '.join(ALL)}")
            if knob not in takes:
                raise KnobError(f"{knob}={value}: {_why_not(tuple(takes))}")
        self.rate = _whole(options, "rate", default_rate, 1)
        self.after = _whole(options, "after", 0, 0)
        self.seed = _whole(options, "seed", 1, 0)
        self.connection = _whole(options, "connection", 0, 1)
        self.idle_s = _seconds(options, "idle")
        self.commands = _scope(options, tuple(commands))
        self.first, self.last = _range(options, self.commands)
        self.has_range = "offset" in options


def split(texts: Iterable[str]) -> dict[str, str]:
    """Return the knobs of texts ``KEY=VALUE``.

    :raise KnobError: a text has another form, or a knob is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        knob, equals, value = text.partition("=")
        if not (knob and equals):
            raise KnobError(f"{text or 'an empty knob'}: write a knob as KEY=VALUE")
        if knob in found:
            raise KnobError(f"{text}: {knob} is given twice")
        found[knob] = value
    return found


def _why_not(takes: tuple[str, ...]) -> str:
    if not takes:
        return "this bug is a fixed fact and has no knobs"
    return f"this bug is not in requests and has only the knobs {', '.join(takes)}"


def _whole(options: Mapping[str, str], knob: str, default: int, least: int) -> int:
    text = options.get(knob)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise KnobError(f"{knob}={text}: must be a whole number of at least {least}")
    return int(text)


def _seconds(options: Mapping[str, str], knob: str) -> float:
    text = options.get(knob, "0")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise KnobError(f"{knob}={text}: must be a number of seconds, at least 0")
    return value


def _scope(options: Mapping[str, str], commands: tuple[Command, ...]) -> tuple[Command, ...]:
    text = options.get("scope")
    if text is None:
        return commands
    for word in text.split("+"):
        if word not in COMMANDS:
            raise KnobError(
                f"scope={text}: {word or 'nothing'} is not one of {', '.join(COMMANDS)}"
            )
    chosen = tuple(COMMANDS[word] for word in text.split("+") if COMMANDS[word] in commands)
    if not chosen:
        own = ", ".join(name for name, command in COMMANDS.items() if command in commands)
        raise KnobError(f"scope={text}: this bug damages only {own}")
    return chosen


def _range(options: Mapping[str, str], commands: tuple[Command, ...]) -> tuple[int, int]:
    text = options.get("offset")
    if text is None:
        return 0, _LAST_OFFSET
    low, dash, high = text.partition("-")
    numbers = all(part.isascii() and part.isdigit() for part in (low, high))
    if not (dash and numbers and int(low) <= int(high) <= _LAST_OFFSET):
        raise KnobError(f"offset={text}: must be LO-HI, in bytes, with LO <= HI < 2^63")
    if commands == (Command.FLUSH,):
        raise KnobError(f"offset={text}: a flush has no offset")
    return int(low), int(high)

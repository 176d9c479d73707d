"""Scripts: sequences of operations on a volume, as people and `./check replay` read them.

    qbdcheck script: 1
    size: 65536
    steps:
      - {do: write, offset: 0, length: 4096, fua: true}
      - {do: power-cut, seed: 3}
      - {do: read, offset: 0, length: 4096}

At the start every sector of the volume has a durable stamp, unless ``prefill: false`` is given. At
the end of each script the whole volume is read. A script can also be exported as commands of
qemu-io or of nbdsh, to repeat it without qbdcheck.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

_HEADER = "qbdcheck script"
_VERSION = 1
_PLACE = ("offset", "length")
STEPS: dict[str, tuple[str, ...]] = {
    "write": (*_PLACE, "fua", "fill", "connection"),
    "zero": (*_PLACE, "fua", "no_hole", "connection"),
    "discard": (*_PLACE, "fua", "connection"),
    "read": (*_PLACE, "connection"),
    "status": (*_PLACE, "connection"),
    "flush": ("connection",),
    "resize": ("size",),
    "snapshot": (),
    "reopen": ("connection",),
    "reconnect": ("connection",),
    "restart": (),
    "kill": (),
    "power-cut": ("seed",),
    "fault": ("kind", "errno"),
    "wait": ("ms",),
}
"""Each step with its keys. ``reconnect`` drops the connection, ``reopen`` closes it in good order;
``restart`` stops the server in its normal way and starts it again; ``fault`` makes the next request
of a kind fail."""
_DEFAULTS = {"fua": False, "no_hole": False, "fill": -1, "connection": 1}
"""Keys that may be left out."""
_LIMITS = {"fill": (-1, 255), "connection": (1, 8), "ms": (1, 60_000)}
FAULTS = ("write", "zero", "flush", "read")
ERRNOS = ("EIO", "ENOSPC")
SIZE_MAX = 64 << 20
"""Bytes of the largest volume of a script: it is kept in memory and read as a whole."""


class ScriptError(ValueError):
    """A script is wrong; the message says where, and what is allowed."""


@dataclass(frozen=True)
class Step:
    """One operation; offsets, lengths and sizes are in bytes. `STEPS` has the keys of each.

    ``fill`` is the byte that a write has all over; -1: it writes stamps. ``connection`` is the
    number of the connection, from 1. ``ms`` are the milliseconds of a wait.
    """

    do: str
    offset: int = 0
    length: int = 0
    fua: bool = False
    no_hole: bool = False
    size: int = 0
    seed: int = 0
    kind: str = ""
    errno: str = ""
    fill: int = -1
    connection: int = 1
    ms: int = 0

    def mapping(self) -> dict[str, Any]:
        """Return the mapping that the YAML file has; flags that are not set are left out."""
        wanted = STEPS[self.do]
        given = {key: getattr(self, key) for key in wanted}
        return {"do": self.do, **{k: v for k, v in given.items() if v != _DEFAULTS.get(k, "")}}

    def __str__(self) -> str:
        words = [self.do]
        if "offset" in STEPS[self.do]:
            words.append(f"{self.offset}+{self.length}")
        words += [key for key in ("fua", "no_hole") if getattr(self, key)]
        words += [f"of 0x{self.fill:02x}"] if self.fill >= 0 else []
        words += [str(getattr(self, key)) for key in ("size", "seed", "kind", "errno")
                  if key in STEPS[self.do]]  # fmt: skip
        words += [f"{self.ms} ms"] if self.do == "wait" else []
        words += [f"on connection {self.connection}"] if self.connection > 1 else []
        return " ".join(words)


@dataclass(frozen=True)
class Script:
    """Steps on a volume of ``size`` bytes. ``about`` is free text, kept in the file.

    ``prefill`` is False if nothing is written to the volume before the steps.
    """

    size: int
    steps: tuple[Step, ...]
    about: str = ""
    prefill: bool = True

    def to_yaml(self) -> str:
        """Return the text of the file."""
        head = {_HEADER: _VERSION, **({"about": self.about} if self.about else {})}
        head |= {"size": self.size, **({} if self.prefill else {"prefill": False})}
        text: str = yaml.safe_dump(head, sort_keys=False, width=90)
        lines = [f"  - {_one_line(step.mapping())}\n" for step in self.steps]
        return f"{text}steps:\n{''.join(lines)}"

    @classmethod
    def read(cls, path: Path) -> Script:
        """Read a file.

        :raise ScriptError: it is wrong; the message names the file and the step, and how to fix it.
        """
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ScriptError(f"{path}: {error.strerror}") from None
        except UnicodeError:
            raise ScriptError(f"{path}: is not UTF-8 text") from None
        except (yaml.YAMLError, ValueError, LookupError) as error:
            raise ScriptError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
        if not isinstance(document, dict) or document.get(_HEADER) != _VERSION:
            raise ScriptError(f"{path}: no script; its first line must be '{_HEADER}: {_VERSION}'")
        return cls.of(document, str(path))

    @classmethod
    def of(cls, document: Mapping[str, Any], name: str) -> Script:
        """Return the script of a YAML document; error messages begin with ``name``.

        :raise ScriptError: it is wrong.
        """
        unknown = set(document) - {_HEADER, "about", "size", "steps", "prefill"}
        if unknown:
            known = "about, prefill, size, steps"
            raise ScriptError(f"{name}: unknown key '{min(unknown)}'; known: {known}")
        prefill = document.get("prefill", True)
        if not isinstance(prefill, bool):
            raise ScriptError(f"{name}: prefill must be true or false")
        size = _whole(document.get("size"), f"{name}: size", SIZE_MAX)
        given = document.get("steps")
        if not isinstance(given, list) or not given:
            raise ScriptError(f"{name}: steps must be a list of at least one step")
        steps = []
        now = size
        for number, one in enumerate(given, 1):
            step = _step(one, f"{name}: step {number}", now)
            now = step.size if step.do == "resize" else now
            steps.append(step)
        return cls(size, tuple(steps), str(document.get("about", "")), prefill)


def _one_line(mapping: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(mapping), default_flow_style=True, sort_keys=False, width=1000)
    return text.strip()


def _step(one: object, where: str, size: int) -> Step:
    if not isinstance(one, dict) or one.get("do") not in STEPS:
        raise ScriptError(f"{where}: 'do' must be one of {', '.join(STEPS)}")
    allowed = STEPS[one["do"]]
    unknown = set(one) - {"do", *allowed}
    if unknown:
        known = ", ".join(allowed) or "none"
        raise ScriptError(f"{where}: {one['do']} has no '{min(unknown)}'; it has: {known}")
    values: dict[str, Any] = {"do": one["do"]}
    kinds = {field.name: field.type for field in fields(Step)}
    for key in allowed:
        if kinds[key] == "bool":
            values[key] = one.get(key, False)
            if not isinstance(values[key], bool):
                raise ScriptError(f"{where}: {key} must be true or false")
        elif kinds[key] == "int":
            most = {"size": SIZE_MAX, "seed": 1 << 32}.get(key, size)
            least, most = _LIMITS.get(key, (0, most))
            given = one.get(key, _DEFAULTS.get(key))
            values[key] = _whole(given, f"{where}: {key}", most, least)
        else:
            choice = FAULTS if key == "kind" else ERRNOS
            values[key] = one.get(key)
            if values[key] not in choice:
                raise ScriptError(f"{where}: {key} must be one of {', '.join(choice)}")
    step = Step(**values)
    if step.offset + step.length > size:
        raise ScriptError(f"{where}: {step.offset}+{step.length} is beyond the end at {size}")
    return step


def _whole(value: object, where: str, most: int, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ScriptError(f"{where} must be a whole number from {least} to {most}")
    return value


class _Expected:
    """The pattern that each byte was last written with; None where that is not certain."""

    def __init__(self, size: int, first: int) -> None:
        self.bytes: list[int | None] = [first] * size

    def do(self, step: Step, pattern: int) -> None:
        place = slice(step.offset, step.offset + step.length)
        if step.do in ("write", "zero", "discard"):
            filled = step.fill if step.fill >= 0 else pattern
            known = {"write": filled, "zero": 0, "discard": None}[step.do]
            self.bytes[place] = [known] * step.length
        elif step.do == "resize":
            added = max(0, step.size - len(self.bytes))
            self.bytes = self.bytes[: step.size] + [0] * added
        elif step.do in ("power-cut", "kill", "fault"):
            self.bytes = [None] * len(self.bytes)  # a person must judge the contents

    def runs(self, offset: int, length: int) -> Iterator[tuple[int, int, int | None]]:
        start = offset
        for at in range(offset, offset + length):
            if at + 1 == offset + length or self.bytes[at + 1] != self.bytes[start]:
                yield start, at + 1 - start, self.bytes[start]
                start = at + 1


_BY_HAND = {
    "power-cut": "cut the server's power here, and start it again",
    "kill": "kill the server here, and start it again",
    "reconnect": "drop the connection here",
    "restart": "stop the server here in its normal way, and start it again",
    "snapshot": "take a snapshot of the volume here",
    "resize": "give the volume {size} bytes here",
    "fault": "make the next {kind} fail with {errno} here",
}


def _by_hand(step: Step) -> str:
    text = _BY_HAND.get(step.do, "")
    return text.format(size=step.size, kind=step.kind, errno=step.errno)


def to_qemu_io(script: Script) -> str:
    """Return a shell script that needs only qemu-io; ``$1`` is an NBD URI or a file name.

    Contents that are certain are verified as patterns. Steps that only a person can do ask for it.
    After a power cut or an error, reads only print.
    """
    lines = [
        "#!/bin/sh",
        "# usage: sh FILE VOLUME   (raw, of at least this size)",
        f"# {script.size} bytes; {script.about}".rstrip("; "),
        "set -e",
        "volume=$1",
        'io() { qemu-io -t writeback -d unmap -f raw "$@" "$volume"; }',
    ]
    expected = _Expected(script.size, 0xFF if script.prefill else 0)
    commands = [f"write -q -P 0xff 0 {script.size}", "flush"] if script.prefill else []
    pattern = 0

    def close() -> None:
        if commands:
            lines.append("io " + " ".join(f"-c '{command}'" for command in commands))
            commands.clear()

    for step in script.steps:
        pattern = pattern % 250 + 1
        if step.do in _BY_HAND or step.do == "reopen":
            close()
            text = _by_hand(step)
            lines += [f'printf "{text}, then press Enter: "; read -r _'] if text else []
        else:
            commands.extend(_qemu_io(step, pattern, expected))
        expected.do(step, pattern)
    commands.extend(_qemu_io(Step("read", 0, len(expected.bytes)), 0, expected))
    close()
    return "\n".join(lines) + "\n"


def _qemu_io(step: Step, pattern: int, expected: _Expected) -> Iterator[str]:
    place, fua = f"{step.offset} {step.length}", " -f" if step.fua else ""
    match step.do:
        case "write":
            yield f"write -q{fua} -P {step.fill if step.fill >= 0 else pattern} {place}"
        case "zero":
            yield f"write -q{fua} -z{'' if step.no_hole else ' -u'} {place}"
        case "discard":
            yield f"discard -q {place}"
        case "flush":
            yield "flush"
        case "wait":
            yield f"sleep {step.ms}"
        case "read":
            for offset, length, known in expected.runs(step.offset, step.length):
                if known is None:
                    yield f"read -v {offset} {length}"
                else:
                    yield f"read -q -P {known} {offset} {length}"


def to_nbdsh(script: Script) -> str:
    """Return a program for nbdsh, the shell of libnbd; it has the limits of `to_qemu_io`."""
    lines = ["""# usage: nbdsh -u URI -c 'exec(open("FILE").read())'"""]
    lines += [f"# {script.size} bytes; {script.about}".rstrip("; ")]
    lines += ["def same(offset, length, byte):",
              "    assert h.pread(length, offset) == bytes([byte]) * length, (offset, length)",
              ]  # fmt: skip
    lines += [f"h.pwrite(b'\\xff' * {script.size}, 0)", "h.flush()"] if script.prefill else []
    expected = _Expected(script.size, 0xFF if script.prefill else 0)
    pattern = 0
    for step in (*script.steps, None):
        pattern = pattern % 250 + 1
        last = step is None
        step = step or Step("read", 0, len(expected.bytes))  # noqa: PLW2901
        place = f"{step.length}, {step.offset}"
        flags = "|".join(
            (["nbd.CMD_FLAG_FUA"] if step.fua else [])
            + (["nbd.CMD_FLAG_NO_HOLE"] if step.no_hole else [])
        ) or "0"  # fmt: skip
        match step.do:
            case "write":
                data = f"bytes([{step.fill if step.fill >= 0 else pattern}]) * {step.length}"
                lines.append(f"h.pwrite({data}, {step.offset}, flags={flags})")
            case "zero":
                lines.append(f"h.zero({place}, flags={flags})")
            case "discard":
                lines.append(f"h.trim({place}, flags={flags})")
            case "flush":
                lines.append("h.flush()")
            case "read":
                for offset, length, known in expected.runs(step.offset, step.length):
                    print_it = f"print({offset}, h.pread({length}, {offset}))"
                    verify = f"same({offset}, {length}, {known})"
                    lines.append(print_it if known is None else verify)
            case "status" | "reopen":
                lines.append(f"# {step}")
            case "wait":
                lines.append(f"import time; time.sleep({step.ms / 1000})")
            case _:
                text = _by_hand(step)
                lines.append(f"input('{text}, then press Enter: ')")
        if not last:
            expected.do(step, pattern)
    return "\n".join(lines) + "\n"

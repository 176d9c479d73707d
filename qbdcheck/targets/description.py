"""A target's profile: the schema of targets/*.yaml (manual: docs/targets.md).

Everything is checked when the file is read: unknown keys, wrong types, unknown placeholders and
words. An error is one line that names the file, the line, the key, and the mend.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from signal import Signals
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from qbdcheck.catalogue.capability_words import CAPABILITIES, IMAGE_FORMATS
from qbdcheck.errors import UsageError
from qbdcheck.targets import marked_yaml
from qbdcheck.targets.marked_yaml import KeyPath, Marked
from qbdcheck.targets.placeholders import KNOWN, names_in

OptionName = Literal["min_block", "preferred_block", "max_block", "read_only", "tls", "mutual_tls",
                     "write_log"]  # fmt: skip
SignalName = Literal["TERM", "KILL", "INT", "QUIT", "HUP", "USR1", "USR2"]
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s)?")


def _seconds(value: object) -> object:
    """Take ``5``, ``5 s`` and ``500 ms``."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_action(value: object) -> object:
    return {"command": value} if isinstance(value, str | list) else value


def _command(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"{str(error).lower()} in the command") from None
    if not words:
        raise ValueError("the command is empty")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=3600)]
Command = Annotated[str, pydantic.AfterValidator(_command)]
Commands = Annotated[list[Command], BeforeValidator(_as_list)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Action(_Strict):
    """What does something to a volume or its server: commands, a signal, or a control command."""

    command: Commands = []
    signal: SignalName | None = None
    control: str | None = None
    arguments: dict[str, Any] = {}
    restart: bool = False
    """Whether the server must be stopped before and started after."""

    @pydantic.model_validator(mode="after")
    def _is_one_thing(self) -> _Action:
        given = [name for name in ("command", "signal", "control") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError("give exactly one of: command, signal, control")
        if self.arguments and not self.control:
            raise ValueError("arguments: goes with control:")
        return self

    @property
    def number(self) -> Signals | None:
        """The signal, as a number."""
        return Signals[f"SIG{self.signal}"] if self.signal else None


Action = Annotated[_Action, BeforeValidator(_as_action)]


class Volume(_Strict):
    """How volumes are made and changed."""

    create: Commands = []
    remove: Commands = []
    resize: Action | None = None
    snapshot: Action | None = None
    snapshot_name: str | None = None
    """Under which name the server serves a snapshot: it takes the place of ``{name}``."""
    snapshot_remove: Action | None = None
    clone: Action | None = None
    add: Action | None = None

    @pydantic.model_validator(mode="after")
    def _snapshots_fit_together(self) -> Volume:
        for key in ("snapshot_name", "snapshot_remove", "clone"):
            if getattr(self, key) and not self.snapshot:
                raise ValueError(f"{key}: needs snapshot:")
        if self.snapshot_name and "snapshot" not in names_in(self.snapshot_name):
            raise ValueError('snapshot_name: needs {snapshot}, as in "{name}@{snapshot}"')
        return self


class Ready(_Strict):
    """When a server that was started is ready: something accepts connections there."""

    socket: str | None = None
    port: str | None = None
    pid_file: str | None = None
    """Where a server that goes into the background writes its process id."""
    within: Seconds = 5.0

    @pydantic.model_validator(mode="after")
    def _is_one_thing(self) -> Ready:
        if (self.socket is None) == (self.port is None):
            raise ValueError('give one of: socket: "{socket}", port: "{port}"')
        return self


class Deviation(_Strict):
    """A case that fails on this target for a reason that is known and written down."""

    case: str
    """Number or stem of a case."""
    finding: str
    """Anchor in docs/findings.md."""
    formats: list[str] = []
    """Image formats under which it fails; all by default."""


class Description(_Strict):
    """A whole profile."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    about: str
    programs: list[str] | dict[str, str] = []
    environment: dict[str, str] = {}
    files: dict[str, str] = {}
    """Path to contents of files that the server needs; written before each start."""
    volume: Volume = Volume()
    options: dict[OptionName, str] = {}
    start: Command | None = None
    ready: Ready | None = None
    blockdev: dict[str, Any]
    nbd: str | None = None
    filename: str | None = None
    path: str | None = None
    control: str | None = None
    stop: Action = _Action(signal="TERM")
    kill: Action | None = None
    crash: Action | None = None
    volatile: bool = False
    """Whether volumes live only as long as their server."""
    lacks: list[str] = []
    deviations: list[Deviation] = []

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Description:
        if self.start and not self.ready:
            raise ValueError('start: needs ready: {socket: "{socket}", within: 5 s}')
        if self.volatile and (self.kill or not self.start):
            raise ValueError("volatile: goes with start: and without kill:")
        if not isinstance(self.blockdev.get("driver"), str):
            raise ValueError("blockdev: needs a driver")
        for key in ("kill", "crash"):
            if getattr(self, key) and not self.start:
                raise ValueError(f"{key}: needs a server, that is start:")
        return self

    @property
    def program_paths(self) -> dict[str, str]:
        """Name of each program that the profile names, and its path (or just its name)."""
        if isinstance(self.programs, dict):
            return dict(self.programs)
        return {name: name for name in self.programs}

    def expected_deviation(self, case_id: str, image_format: str) -> str | None:
        """Return where the deviation is written down that makes a case fail, None if it must pass.

        :param case_id: the stem of the case, ``017_discard_reads_zero``.
        """
        for deviation in self.deviations:
            wanted = deviation.case
            number = case_id.partition("_")[0]
            numbers = wanted.isdigit() and number.isdigit()
            if (wanted == case_id or (numbers and int(wanted) == int(number))) and (
                not deviation.formats or image_format in deviation.formats
            ):
                return f"docs/findings.md#{deviation.finding}"
        return None


def find(target: str, targets_dir: Path) -> Path:
    """Return the profile of a target, given by its name in targets/ or by the path of a file.

    :raise UsageError: there is none; names the nearest.
    """
    if "/" in target or target.endswith((".yaml", ".yml")):
        file = Path(target)
        if not file.is_file():
            raise UsageError(f"target file {target} does not exist")
        return file
    file = targets_dir / f"{target}.yaml"
    if file.is_file():
        return file
    profiles = targets_dir.glob("*.yaml")
    names = sorted(known.stem for known in profiles if known.stem != "EXAMPLE")
    near = difflib.get_close_matches(target, names, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names)}"
    raise UsageError(f"unknown target '{target}'; {hint} (or give a path to a YAML file)")


def load(file: Path) -> Description:
    """Read and check a profile.

    :raise UsageError: anything is wrong with it; one line with file, line, key and mend.
    """
    document = marked_yaml.load(file)
    if not isinstance(document.value, dict):
        raise UsageError(f"{file}:1: a profile is a mapping that begins with name:")
    try:
        description = Description.model_validate(document.value)
    except pydantic.ValidationError as error:
        raise UsageError(_first_error(file, document, error)) from None
    problem = next(_wrong_words(document.value, description), None)
    if problem is not None:
        path, text = problem
        raise UsageError(f"{file}:{document.line(path)}: {_key(path)}: {text}")
    return description


def _key(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)


def _first_error(file: Path, document: Marked, error: pydantic.ValidationError) -> str:
    """Turn the first error of pydantic into one line."""
    errors = error.errors()
    # A key that is missing may be one that is misspelt: that comes first.
    unknown = [one for one in errors if one["type"] == "extra_forbidden"]
    first = (unknown or errors)[0]
    path = tuple(part for part in first["loc"] if part not in _UNION_BRANCHES)
    where = f"{file}:{document.line(path)}: "
    if first["type"] == "extra_forbidden":
        known = sorted(_keys_at(path[:-1]))
        near = difflib.get_close_matches(str(path[-1]), known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"{where}unknown key '{_key(path)}'; {hint}"
    if first["type"] == "missing":
        return f"{where}key '{_key(path)}' is missing; see docs/targets.md"
    text = first["msg"].removeprefix("Value error, ")
    given = "" if isinstance(first["input"], dict | list) else f" (it is {first['input']!r})"
    return f"{where}{_key(path) + ': ' if path else ''}{text}{given}"


_UNION_BRANCHES = {"list[str]", "dict[str,str]", "[key]"}
_PARTS: dict[str, type[BaseModel]] = {
    "volume": Volume,
    "ready": Ready,
    "deviations": Deviation,
    **dict.fromkeys(
        ("stop", "kill", "crash", "resize", "snapshot", "snapshot_remove", "clone", "add"), _Action
    ),
}


def _keys_at(path: KeyPath) -> Iterator[str]:
    """Give the keys that may stand under a path."""
    model: type[BaseModel] = Description
    for part in path:
        model = _PARTS.get(str(part), model)
    yield from model.model_fields


def _wrong_words(value: dict[str, Any], description: Description) -> Iterator[tuple[KeyPath, str]]:
    """Give each placeholder, capability and format that nobody knows, with its place."""
    for key, item in value.items():
        for name in names_in(item):
            if name not in KNOWN:
                known = ", ".join(f"{{{known}}}" for known in KNOWN)
                yield (key,), f"unknown placeholder {{{name}}}; known: {known}"
    for number, word in enumerate(description.lacks):
        if word not in CAPABILITIES:
            near = difflib.get_close_matches(word, CAPABILITIES, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(CAPABILITIES)}"
            yield ("lacks", number), f"unknown capability '{word}'; {hint}"
    for number, deviation in enumerate(description.deviations):
        for word in deviation.formats:
            if word not in IMAGE_FORMATS:
                text = f"unknown format '{word}'; known: {', '.join(IMAGE_FORMATS)}"
                yield ("deviations", number, "formats"), text

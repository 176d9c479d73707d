"""A target's profile: the schema of targets/*.yaml (manual: docs/targets.md).

A file is checked when it is read: unknown keys, wrong types, unknown placeholders, capabilities,
policies, cases and findings. An error is one line with the file, the line, the key and the fix.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, Field

from qbdcheck.catalogue.capability_words import CAPABILITIES, IMAGE_FORMATS
from qbdcheck.catalogue.policies import POLICIES
from qbdcheck.errors import UsageError
from qbdcheck.files import COMMAND, ROOT
from qbdcheck.programs.installed import Programs
from qbdcheck.suggestions import suggestion
from qbdcheck.targets import marked_yaml, scope
from qbdcheck.targets.marked_yaml import KeyPath, Marked
from qbdcheck.targets.placeholders import KNOWN, fill, names_in
from qbdcheck.targets.profile_errors import key_text, nearest, sentence_of_union
from qbdcheck.targets.profile_parts import (
    Action,
    Command,
    Deviation,
    Need,
    Node,
    OneAction,
    Ready,
    Seconds,
    Strict,
    Volume,
)
from qbdcheck.targets.server_version import is_in_range, server_version

OptionName = Literal["min_block", "preferred_block", "max_block", "read_only", "tls", "mutual_tls",
                     "write_log", "request_log"]  # fmt: skip


class Description(Strict):
    """A whole profile."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    about: str
    programs: list[str] | dict[str, str] = []
    build: Command | None = None
    """A command that builds the programs, for the message that one is missing."""
    install: str | None = None
    """The part of ``./check --install --with`` that installs the programs."""
    needs: list[Need] = []
    """What the machine must have: ``root``, or paths that must exist."""
    environment: dict[str, str] = {}
    files: dict[str, str] = {}
    """Contents of files that the server needs, by path. Written before each start."""
    volume: Volume = Volume()
    options: dict[OptionName, str] = {}
    scope: Literal["case", "run"] = "case"
    """Whether each volume has a server, or all volumes of a run share one."""
    start: Command | None = None
    ready: Ready | None = None
    objects: list[str] = []
    """Definitions of objects that each program of QEMU gets, such as TLS credentials."""
    client: Command | None = None
    """A command that runs the programs of QEMU, so that they reach the server."""
    blockdev: dict[str, Any]
    nbd: str | None = None
    vhost_user: str | None = None
    """The Unix socket of a vhost-user-blk server of the volume, for guests."""
    filename: str | None = None
    path: str | None = None
    control: str | None = None
    stop: Action = OneAction(signal="TERM")
    kill: Action | None = None
    crash: Action | None = None
    volatile: Literal["connection"] | bool = False
    """Whether volumes live only as long as their server, or as long as one connection."""
    fresh: Literal["zero", "undefined"] = "zero"
    """What a volume reads as before it is written."""
    version: Command | None = None
    """A command that prints the version of the server."""
    lacks: list[str] = []
    waives: list[str] = []
    """Policies that do not apply to the target (qbdcheck.catalogue.policies)."""
    deviations: list[Deviation] = []
    nodes: list[Node] = []
    """The nodes, if the target is a cluster."""
    leader: Command | None = None
    """A command that prints the name of the node that leads, for nodes that do not print it."""
    settled: Command | None = None
    """A command that exits with 0 when all nodes serve, and each has all data."""
    failover: Seconds = 10.0
    """The time after which a cluster that lost a node, or a link, serves again."""

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Description:
        if self.start and not self.ready:
            raise ValueError('start: requires ready: {socket: "{socket}", within: 5 s}')
        if self.volatile and (self.kill or not self.start):
            raise ValueError("volatile: requires start: and excludes kill:")
        if self.has_volume_per_connection and self.nbd is None:
            raise ValueError("volatile: connection requires nbd:")
        if not isinstance(self.blockdev.get("driver"), str):
            raise ValueError("blockdev: has no driver")
        if self.is_read_only and self.path is None:
            raise ValueError("read-only: requires path:, the file behind the volume")
        for key in ("kill", "crash"):
            if getattr(self, key) and not self.start:
                raise ValueError(f"{key}: requires a server; add start:")
        if self.version is None and any(deviation.versions for deviation in self.deviations):
            raise ValueError("versions: in deviations: requires version:")
        self._nodes_fit_together()
        return self

    def _nodes_fit_together(self) -> None:
        names = {node.name for node in self.nodes}
        if len(names) != len(self.nodes):
            raise ValueError("nodes: two nodes have the same name")
        if len({node.has_ip for node in self.nodes}) > 1:
            raise ValueError("nodes: address: use IPv4 addresses for all nodes, or for none")
        for node in self.nodes:
            if not names - {node.name} >= node.links.keys():
                raise ValueError(f"nodes: links: of node {node.name} must name other nodes")
            if node.has_ip and node.links:
                raise ValueError(f"nodes: links: of node {node.name} requires paths of addresses")
            if not (self.leader or node.leads):
                raise ValueError(f"nodes: node {node.name} requires leads:, or a command leader:")
        for key in ("leader", "settled"):
            if getattr(self, key) and not self.nodes:
                raise ValueError(f"{key}: requires nodes:")

    @property
    def has_volume_per_connection(self) -> bool:
        """Whether each connection has a volume of its own, which ends with it."""
        return self.volatile == "connection"

    @property
    def is_read_only(self) -> bool:
        """Whether no client can write a volume. Its contents are written to the file ``path:``."""
        return self.blockdev.get("read-only") is True

    @property
    def program_paths(self) -> dict[str, str]:
        """The path, or the bare name, of each program that the profile names."""
        if isinstance(self.programs, dict):
            return {name: fill(path, {"root": str(ROOT)}) for name, path in self.programs.items()}
        return {name: name for name in self.programs}

    def not_here(self) -> tuple[str, ...]:
        """Return why no case can run on this machine: it lacks what ``needs:`` names, or programs.

        A missing program is a reason only with ``install:``, which says how to get it.
        """
        reasons = []
        for need in self.needs:
            if need == "root" and os.geteuid() != 0:
                reasons.append(f"target {self.name} needs root")
            if need != "root" and not Path(need).exists():
                reasons.append(f"target {self.name} needs {need}, which does not exist")
        if self.install is not None:
            programs = Programs(self.program_paths, install=self.install)
            absent = [name for name in self.program_paths if programs.path(name) is None]
            reasons += [programs.missing(name) for name in absent]
        return tuple(reasons)

    def expected_deviation(self, case_id: str, image_format: str) -> Deviation | None:
        """Return the deviation that makes a case fail, or None if the case must pass.

        :param case_id: the stem of the case, ``017_discard_reads_zero``.
        :raise SetupError: the version of the server or of QEMU is needed and cannot be found.
        """
        for deviation in self.deviations:
            if deviation.is_of(case_id, image_format) and self._applies(deviation):
                return deviation
        return None

    def _applies(self, deviation: Deviation) -> bool:
        """Return whether the versions of the server and of QEMU are those of the deviation."""
        if deviation.versions and not is_in_range(self.server_version(), deviation.versions):
            return False
        return deviation.qemu is None or is_in_range(self.qemu_version(), deviation.qemu)

    def qemu_version(self) -> str:
        """Return the version of the target's qemu-img, such as ``7.2.22``.

        :raise SetupError: qemu-img fails, or prints no version.
        """
        paths = tuple(self.program_paths.items())
        return server_version(self.name, "qemu-img --version", paths)

    def server_version(self) -> str:
        """Return the version that the command ``version:`` prints, or "" without the key.

        :raise SetupError: the command fails, or prints no version.
        """
        if self.version is None:
            return ""
        return server_version(self.name, self.version, tuple(self.program_paths.items()))

    def waived(self, policy: str) -> bool:
        """Return whether the profile waives a policy. ``fresh: undefined`` waives its policy too.

        :raise KeyError: there is no such policy.
        """
        return POLICIES[policy].name in self.waived_policies

    @property
    def waived_policies(self) -> frozenset[str]:
        """The names of all policies that the profile waives."""
        fresh = {"fresh-volume-reads-zero"} if self.fresh == "undefined" else set()
        return frozenset({*self.waives, *fresh})


def find(target: str, targets_dir: Path) -> Path:
    """Return the profile of a target, given by its name in targets/ or by the path of a file.

    :raise UsageError: there is no such profile; names the nearest.
    """
    if "/" in target or target.endswith((".yaml", ".yml")):
        file = Path(target)
        if not file.is_file():
            why = "is not a file" if file.exists() else "does not exist"
            raise UsageError(f"target file {target} {why}")
        return file
    file = targets_dir / f"{target}.yaml"
    if file.is_file():
        return file
    profiles = targets_dir.glob("*.yaml")
    names = sorted(known.stem for known in profiles if known.stem != "EXAMPLE")
    hint = nearest(target, names)
    raise UsageError(f"unknown target '{target}'; {hint} (or give the path of a YAML file)")


def load(file: Path, suites_dir: Path = ROOT / "suites") -> Description:
    """Read and check a profile.

    :param suites_dir: holds the cases that deviations may name, besides the shipped ones.
    :raise UsageError: the profile has a mistake; one line with the file, line, key and fix.
    """
    document = marked_yaml.load(file)
    if not isinstance(document.value, dict):
        raise UsageError(f"{file}:1: a profile is a mapping of keys, such as name: and blockdev:")
    try:
        description = Description.model_validate(document.value)
    except pydantic.ValidationError as error:
        raise UsageError(_first_error(file, document, error)) from None
    found = _unknown_names(document.value, description, suites_dir)
    problem = next(itertools.chain(found, scope.problems(document.value)), None)
    if problem is not None:
        path, text = problem
        raise UsageError(f"{file}:{document.line(path)}: {key_text(path)}: {text}")
    return description


def _first_error(file: Path, document: Marked, error: pydantic.ValidationError) -> str:
    """Return the most useful error of pydantic as one line."""
    errors = error.errors()
    # A missing key may be a misspelt one, so unknown keys come first.
    unknown = [one for one in errors if one["type"] == "extra_forbidden"]
    first = (unknown or errors)[0]
    path = _key_path(first)
    where = f"{file}:{document.line(path)}: "
    if first["type"] == "extra_forbidden":
        hint = nearest(str(path[-1]), sorted(_keys_at(path[:-1])), "known keys")
        return f"{where}unknown key '{key_text(path)}'; {hint}"
    if first["type"] == "missing":
        return f"{where}key '{key_text(path)}' is missing; see docs/targets.md"
    branches = [one for one in errors if _key_path(one) == path]
    return f"{where}{key_text(path) + ': ' if path else ''}{sentence_of_union(branches)}"


def _key_path(error: Mapping[str, Any]) -> KeyPath:
    """Return the keys of an error, without the branches of a union that pydantic puts there."""
    return tuple(
        part
        for part in error["loc"]
        if part not in _UNION_BRANCHES and not str(part).startswith("literal[")
    )


_UNION_BRANCHES = {"list[str]", "dict[str,str]", "[key]", "bool"}
_PARTS: dict[str, type[BaseModel]] = {
    "volume": Volume,
    "ready": Ready,
    "deviations": Deviation,
    "nodes": Node,
    **dict.fromkeys(
        (
            "stop",
            "kill",
            "crash",
            "resize",
            "snapshot",
            "snapshot_remove",
            "clone",
            "add",
            "volume_remove",
        ),
        OneAction,
    ),
}


def _keys_at(path: KeyPath) -> Iterator[str]:
    """Yield the keys that are allowed under a path."""
    model: type[BaseModel] = Description
    for part in path:
        model = _PARTS.get(str(part), model)
    yield from model.model_fields


Problem = tuple[KeyPath, str]


def _unknown_names(
    value: dict[str, Any], description: Description, suites_dir: Path
) -> Iterator[Problem]:
    """Yield each unknown placeholder, capability, policy, format, case and finding."""
    for key, item in value.items():
        for name in names_in(item):
            if name not in KNOWN:
                known = ", ".join(f"{{{known}}}" for known in KNOWN)
                yield (key,), f"unknown placeholder {{{name}}}; known: {known}"
    for number, word in enumerate(description.lacks):
        if word not in CAPABILITIES:
            yield ("lacks", number), f"unknown capability '{word}'; {nearest(word, CAPABILITIES)}"
    for number, word in enumerate(description.waives):
        if word not in POLICIES:
            yield ("waives", number), f"unknown policy '{word}'; {nearest(word, POLICIES)}"
    yield from _unknown_in_deviations(description.deviations, suites_dir)


def _unknown_in_deviations(deviations: Sequence[Deviation], suites_dir: Path) -> Iterator[Problem]:
    if not deviations:
        return
    places = {suites_dir, ROOT / "suites"}
    stems = [path.stem for place in places for path in place.rglob("[0-9]*_*.py")]
    findings = ROOT / "docs" / "findings.md"
    text = findings.read_text(encoding="utf-8") if findings.is_file() else ""
    anchors = [line[3:].strip() for line in text.splitlines() if line.startswith("## ")]
    for number, deviation in enumerate(deviations):
        place: KeyPath = ("deviations", number)
        if stems and not any(deviation.is_of(stem, _any_format(deviation)) for stem in stems):
            near = suggestion(deviation.case, stems)
            hint = f"did you mean '{near}'?" if near else f"{COMMAND} -l lists the cases"
            yield (*place, "case"), f"unknown case '{deviation.case}'; {hint}"
        if anchors and deviation.finding not in anchors:
            near = suggestion(deviation.finding, anchors)
            hint = f"did you mean '{near}'?" if near else "docs/findings.md has their names"
            yield (*place, "finding"), f"unknown finding '{deviation.finding}'; {hint}"
        for word in deviation.formats:
            if word not in IMAGE_FORMATS:
                hint = f"known: {', '.join(IMAGE_FORMATS)}"
                yield (*place, "formats"), f"unknown format '{word}'; {hint}"


def _any_format(deviation: Deviation) -> str:
    return deviation.formats[0] if deviation.formats else "raw"

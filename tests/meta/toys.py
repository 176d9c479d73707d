"""Toy suites: small cases with known results, run by the real ``python -m qbdcheck``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qbdcheck.files import ROOT
from tests.proc_files import write_proc

GROUPS = "quick: fast\nslow: slow\nrw: reads and writes\ndisabled: only when named\n"


@dataclass
class Finished:
    """A run that ended, with its events."""

    code: int
    out: str
    err: str
    events: list[dict[str, Any]]

    @property
    def cases(self) -> dict[str, dict[str, Any]]:
        return {one["case_id"]: one for one in self.ends}

    @property
    def ends(self) -> list[dict[str, Any]]:
        return [one for one in self.events if "verdict" in one]

    def verdict(self, case_id: str) -> str:
        return str(self.cases[case_id]["verdict"]).lower().replace("_", " ")


@dataclass
class Toy:
    """A directory with its own suites, goldens and cache."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def suites(self) -> Path:
        return self.directory / "suites"

    @property
    def golden(self) -> Path:
        return self.directory / "golden"

    @property
    def cache(self) -> Path:
        return self.directory / "cache" / "qbdcheck"

    @property
    def temporary(self) -> Path:
        return Path(self.environment["TMPDIR"])

    def case(self, stem: str, body: str, arguments: str = "", **declared: object) -> Path:
        """Write a case; `declared` goes into @case, together with the group quick."""
        options = "".join(f", {name}={value!r}" for name, value in declared.items())
        groups = "" if "groups" in declared else 'groups="quick"'
        head = f'"""This case checks that {stem} does as it should."""\n'
        head += "from qbdcheck.kit import case\n\n"
        declaration = (
            f"@case({groups}{options if groups else options[2:]})\ndef test({arguments}):\n"
        )
        path = self.suites / f"{stem}.py"
        path.write_text(head + declaration + textwrap.indent(textwrap.dedent(body).strip(), "    "))
        return path

    def argv(self, *arguments: str) -> list[str]:
        directories = ["--suites-dir", str(self.suites), "--golden-dir", str(self.golden)]
        events = ["--events", str(self.directory / "events")]
        return [
            sys.executable,
            "-m",
            "qbdcheck",
            "-t",
            "file",
            "-j1",
            *directories,
            *events,
            *arguments,
        ]

    def run(self, *arguments: str, timeout_s: float = 60) -> Finished:
        done = subprocess.run(
            self.argv(*arguments), capture_output=True, text=True, timeout=timeout_s,
            env=self.environment, cwd=ROOT,
        )  # fmt: skip
        return Finished(done.returncode, done.stdout, done.stderr, self.events())

    def command(self, *arguments: str) -> Finished:
        """Run a subcommand, which takes neither the target nor the suites of the toy."""
        done = subprocess.run(
            [sys.executable, "-m", "qbdcheck", *arguments], capture_output=True, text=True,
            timeout=60, env=self.environment, cwd=self.directory,
        )  # fmt: skip
        return Finished(done.returncode, done.stdout, done.stderr, [])

    def events(self) -> list[dict[str, Any]]:
        path = self.directory / "events"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def left_over(self, names: Sequence[str] = ()) -> list[str]:
        """Return what runs left behind: directories, and processes whose command has a name."""
        found = [str(path) for path in self.temporary.iterdir()]
        mark = str(self.temporary).encode()
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdigit() or int(entry.name) == os.getpid():
                    continue
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            is_ours = bool(command) and (mark in command or mark in environment)
            if is_ours or any(word.encode() in command for word in names):
                found.append(command.decode())
        return found


def make_toy(directory: Path, temporary: Path) -> Toy:
    """Return an empty toy in `directory`; its runs have their scratch in `temporary`."""
    for name in ("suites", "golden", "cache", "home"):
        (directory / name).mkdir()
    (directory / "suites" / "groups.yaml").write_text(GROUPS)
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(directory / "cache"),
        "HOME": str(directory / "home"),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(ROOT),
        # An idle machine: time limits of a second mean a second, whatever else runs here.
        "QBDCHECK_PROC": str(write_proc(directory / "proc")),
    }
    environment.pop("QBDCHECK_SKIP", None)
    return Toy(directory, environment)

"""What a worker must know before it can run the units of a run. It is sent once per worker."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qbdcheck.bootstrap.version import version_and_commit
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.options import Execution, Options
from qbdcheck.workers.source import source_digest

_HERE = "@ROOT@"
"""The first part of a path below the project's directory, which differs between machines."""


@dataclass(frozen=True)
class Setup:
    """The options of a run, and all its units.

    ``options`` is a pickled `Options`; it is read only if ``source`` is the same on both sides.
    ``profile`` is the digest of a profile that is not the project's own; "" for the others.
    """

    session: str
    source: str
    version: str
    options: bytes
    planned: tuple[tuple[str, str], ...] = ()
    profile: str = ""

    @classmethod
    def of(cls, options: Options, planned: Sequence[tuple[str, str]]) -> Setup:
        """Return the setup of a run on this machine.

        :param planned: (case_id, image_format) of each unit.
        """
        target, profile = options.target, ""
        if Path(target.name).is_file():
            target = replace(target, name=str(Path(target.name).absolute()))
            profile = _digest(Path(target.name))
        execution = options.execution
        of_workers = replace(
            options,
            target=target,
            selection=replace(options.selection, exclude_file=None),
            execution=replace(
                Execution(),
                seed=execution.seed,
                depth=execution.depth,
                timeout_s=execution.timeout_s,
                soak_s=execution.soak_s,
                debug=execution.debug,
                golden_dir=execution.golden_dir,
                run_id=execution.run_id,
            ),
        )
        return cls(
            session=execution.run_id,
            source=source_digest(),
            version=version_and_commit(),
            options=pickle.dumps(_with_paths(of_workers, ROOT, Path(_HERE))),
            planned=tuple(planned),
            profile=profile,
        )

    def check_source(self) -> None:
        """Check that this machine has the same code.

        :raise UsageError: it has other code.
        """
        if source_digest() != self.source:
            raise UsageError(
                f"it has qbdcheck {version_and_commit()} in {ROOT} with other files; the run has"
                f" {self.version}"
            )

    def here(self) -> Options:
        """Return the options with the paths of this machine.

        :raise UsageError: the profile of the target is missing or has another content here.
        """
        options: Options = _with_paths(
            pickle.loads(self.options),  # noqa: S301  # from the scheduler, which runs code anyway
            Path(_HERE),
            ROOT,
        )
        if self.profile and _digest(Path(options.target.name)) != self.profile:
            raise UsageError(f"it has another {options.target.name} (or none); copy it there")
        return options


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return "none"


def _with_paths(value: Any, old: Path, new: Path) -> Any:
    """Return dataclasses with each path below `old` moved below `new`."""
    if isinstance(value, Path) and value.is_relative_to(old):
        return new / value.relative_to(old)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            one.name: _with_paths(getattr(value, one.name), old, new)
            for one in dataclasses.fields(value)
        }
        return replace(value, **changed)
    return value

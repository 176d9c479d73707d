"""``./check --probe FILE``: prove every claim of a target's profile, one per line.

Run this first for a new profile: a case that fails because of a wrong profile proves nothing about
the target.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qbdcheck.catalogue.capability_words import CAPABILITIES
from qbdcheck.catalogue.policies import POLICIES
from qbdcheck.clock import now_s
from qbdcheck.commands.kept_data import KeepsNothing
from qbdcheck.commands.profile_claims import CLAIMS, option_claim
from qbdcheck.commands.progress import Progress
from qbdcheck.commands.stress import TRIALS
from qbdcheck.errors import NotRun, QbdcheckError, SetupError, UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions
from qbdcheck.programs.qemu_io import IoFailed
from qbdcheck.report.causes import EVERYTHING, Contradiction
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.capabilities import Scratch, capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from qbdcheck.targets.run_server import ENDS_SERVER, shared_servers_end
from qbdcheck.targets.server_death import ServerDiedError
from qbdcheck.targets.session import TargetSession

_DETAIL_MAX = 200
_STYLES = {"ok": "green", "WRONG": "bold red", "absent": "dim", "not tried": "yellow"}
_TITLES = {
    "start": "starts, and QEMU opens a volume",
    "fresh": "fresh volumes",
    "sizes": "sizes of volumes",
    "data": "keeps what is written",
    "stop": "keeps it over stop and start",
}
_FAILURES = (QbdcheckError, AssertionError, ValueError, *HANDSHAKE_ERRORS)
"""What a claim raises that does not hold."""
_NO_DATA = "needs a volume that keeps data"
_NEED_NO_DATA = frozenset(("control", "nbd", "few_clients", "volume_per_connection"))
"""Capabilities whose claims write nothing, or nothing that a client must find again."""


@dataclass(frozen=True)
class Step:
    """One claim and its result: ``ok``, ``WRONG``, ``absent`` (not claimed) or ``not tried``.

    :ivar keeps_nothing: the target keeps no data, so no claim that needs data can be tried.
    """

    claim: str
    state: str
    detail: str
    elapsed_s: float = 0.0
    keeps_nothing: bool = False


def main(
    options: TargetOptions,
    file: str | Path,
    *,
    color: bool = True,
    stress: bool = False,
    suites_dir: Path = ROOT / "suites",
) -> int:
    """Probe the profile in ``file`` (or a name in targets/) and print a table.

    :param stress: try many connections, deep queues and the limits of sizes too.
    :return: 0 if all claims hold, 1 if one does not.
    :raise UsageError: the profile has a mistake, or the target does not start (exit code 2).
    """
    plain = replace(options, cache="writeback", aio=None, image_options="", formats=("raw",))
    description = descriptions.load(descriptions.find(str(file), options.targets_dir), suites_dir)
    console = Console(no_color=not color or "NO_COLOR" in os.environ, highlight=False)
    with Progress(f"probe of {description.name}") as progress:
        steps = list(probe(description, plain, stress=stress, progress=progress))
    console.print(_table(description, steps))
    wrong = [step for step in steps if step.state == "WRONG"]
    if wrong:
        left = sum(step.state == "not tried" for step in steps)
        more = f"; {left} were not tried, because they need data" if left else ""
        tried = sum(step.state in {"ok", "WRONG"} for step in steps)
        verb = "do" if len(wrong) != 1 else "does"
        console.print(f"{len(wrong)} of {tried} claims {verb} not hold{more}", style="red")
        return ExitCode.RED
    console.print(f"all {sum(step.state == 'ok' for step in steps)} claims hold", style="green")
    return ExitCode.GREEN


def _table(description: Description, steps: list[Step]) -> Table:
    table = Table(title=f"{description.name}: {description.about}", title_justify="left")
    table.add_column("claim", no_wrap=True)
    table.add_column("")
    table.add_column("ms", justify="right")
    table.add_column("result", overflow="fold")
    for step in steps:
        elapsed = f"{step.elapsed_s * 1000:.0f}" if step.elapsed_s else ""
        state = Text(step.state, style=_STYLES[step.state])
        table.add_row(step.claim, state, elapsed, Text(step.detail))
    return table


def probe(
    description: Description,
    options: TargetOptions,
    *,
    stress: bool = False,
    progress: Progress | None = None,
) -> Iterator[Step]:
    """Yield the steps, in order.

    :param progress: gets the name of each claim that is tried.
    :raise SetupError: the target does not start.
    """
    with Scratch() as scratch, shared_servers_end():
        found = capabilities(description, options, scratch)
        # What the target could do if its profile had no lacks: key.
        bare = capabilities(description.model_copy(update={"lacks": []}), options, scratch)
        context = _Context(
            description, options, scratch, found, is_first_fatal=True, progress=progress
        )
        if description.has_volume_per_connection:
            yield from _of_one_connection(context)
            return
        for name in ("start", "fresh", "sizes", "data"):
            yield (step := context.run(f"{_TITLES[name]}", CLAIMS[name]))
        context.keeps_nothing = step.keeps_nothing
        if not description.volatile:
            yield context.run_on_data(_TITLES["stop"], CLAIMS["stop"])
        for word, sentence in CAPABILITIES.items():
            yield _capability(context, word, sentence, bare)
        for option in description.options:
            if option in {"min_block", "read_only"} and option not in found:
                yield Step(f"options.{option}", "WRONG", "starts, but no client sees an effect")
                continue
            yield context.run_on_data(f"options.{option}", option_claim(option))
        if stress:
            for title, (needs_nbd, trial) in TRIALS.items():
                if not needs_nbd or "nbd" in found:
                    yield context.run_on_data(title, trial)
                else:
                    yield Step(title, "absent", "no raw NBD client can reach the target")
    yield from _deviations(description)


def _of_one_connection(context: _Context) -> Iterator[Step]:
    """Yield the claims of a target whose volumes end with their connection.

    The others write by one program and read by another.
    """
    for name in ("start", "fresh"):
        yield context.run(_TITLES[name], CLAIMS[name])
    for word in ("nbd", "volume_per_connection"):
        yield context.run(word, CLAIMS[word])


def contradictions_of(
    description: Description,
    options: TargetOptions,
    scratch: Path,
    capabilities: frozenset[str],
) -> list[Contradiction]:
    """Return the claims of a target that do not hold, for a run in which much has failed.

    Options of the command line, such as a cache mode, do not apply: they are not the target's.

    :param capabilities: that the target advertises or its profile states.
    """
    plain = replace(options, cache="writeback", aio=None, image_options="", formats=("raw",))
    directory = scratch / "claims"
    directory.mkdir(mode=0o700, exist_ok=True)
    context = _Context(description, plain, directory, capabilities)
    if not description.has_volume_per_connection:
        kept = context.run("data", CLAIMS["data"])
        if kept.keeps_nothing:
            return [Contradiction(EVERYTHING, kept.detail)]
    found = []
    for word in CAPABILITIES:
        if word in capabilities and word in CLAIMS:
            step = context.run(word, CLAIMS[word])
            if step.state != "ok":
                found.append(Contradiction(word, _first_lines(step.detail)))
    return found


_KEYS = {
    "resize": "volume.resize",
    "snapshot": "volume.snapshot",
    "snapshot_read": "volume.snapshot_name",
    "snapshot_remove": "volume.snapshot_remove",
    "clone": "volume.clone",
    "add_volume": "volume.add",
    "volume_remove": "volume.volume_remove",
    "kill": "kill",
    "crash": "crash",
    "sudden_end": "kill or crash",
    "control": "control",
    "nbd": "nbd",
    **{word: f"options.{word}" for word in ("min_block", "read_only", "write_log", "request_log")},
    "tls": "options.tls",
}
"""The keys of a profile that say how a target does what it cannot be asked for."""


def _capability(context: _Context, word: str, sentence: str, bare: frozenset[str]) -> Step:
    if word in context.description.lacks:
        if word in bare:
            return Step(
                f"lacks {word}", "WRONG", f"the target {sentence}: remove {word} from lacks:"
            )
        return Step(f"lacks {word}", "ok", "the target lacks it")
    run = context.run if word in _NEED_NO_DATA else context.run_on_data
    if word not in context.found and given(context.description, word):
        step = run(word, CLAIMS[word])
        if step.state != "ok":
            return step
        return replace(step, state="WRONG", detail="works now, but failed in the probe")
    if word not in context.found:
        is_unasked = word in _KEYS and word not in context.description.options
        why = f"the profile has no {_KEYS[word]}" if is_unasked else None
        return Step(word, "absent", why or f"no sign that the target {sentence}")
    claim = CLAIMS.get(word)
    return Step(word, "ok", sentence) if claim is None else run(word, claim)


def given(description: Description, word: str) -> bool:
    """Return whether the profile has a key for a capability."""
    if word == "nbd":
        return description.nbd is not None
    key = {"snapshot_read": "serves_snapshots", "add_volume": "add"}.get(word, word)
    return bool(getattr(description.volume, key, None))


@dataclass
class _Context:
    """Runs each claim in a fresh session and a directory of its own."""

    description: Description
    options: TargetOptions
    scratch: Path
    found: frozenset[str]
    is_first_fatal: bool = False
    """Whether an error of use in the first claim ends all: the target does not start."""
    progress: Progress | None = None
    keeps_nothing: bool = False
    """Whether no claim that needs data can be tried."""
    count: int = 0

    def run_on_data(self, name: str, claim: Callable[[TargetSession], str]) -> Step:
        """Run one claim that needs data, unless the target keeps none."""
        if self.keeps_nothing:
            return Step(name, "not tried", _NO_DATA)
        return self.run(name, claim)

    def run(self, name: str, claim: Callable[[TargetSession], str]) -> Step:
        """Run one claim and return its result."""
        self.count += 1
        if self.progress is not None:
            self.progress.step = name
        directory = self.scratch / f"{self.count:x}"
        directory.mkdir(mode=0o700)
        started_s = now_s()
        try:
            session = TargetSession(
                self.description,
                self.options,
                directory,
                case_id=name,
                capabilities=self.found,
                ends_server=name in {*ENDS_SERVER, _TITLES["stop"]},
            )
            detail = _tried(claim, session)
        except _FAILURES as error:
            if isinstance(error, UsageError) and self.count == 1 and self.is_first_fatal:
                raise
            kind = "cannot be tried: " if isinstance(error, NotRun) else ""
            nothing = isinstance(error, KeepsNothing)
            return Step(name, "WRONG", kind + _short(error), now_s() - started_s, nothing)
        return Step(name, "ok", detail, now_s() - started_s)


def _tried(claim: Callable[[TargetSession], str], session: TargetSession) -> str:
    """Try a claim, close the session, and return the result of the claim.

    :raise Exception: the claim does not hold. If the server died of it, the error says how. A
        server that cannot be stopped afterwards is not named: the claim failed before that.
    """
    try:
        detail = claim(session)
    except _FAILURES as error:
        try:
            session.close()
        except ServerDiedError:
            raise
        except QbdcheckError:
            raise error from None
        raise
    session.close()
    return detail


def _first_lines(detail: str) -> str:
    """Return the heading of a result and the line below it as one line."""
    first, *rest = detail.splitlines()
    text = f"{first} {rest[0]}" if rest and first.endswith(":") else first
    return " ".join(text.split())[:_DETAIL_MAX]


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, IoFailed):  # the file with the data is of no interest
        lines[0] = re.sub(r" -s \S+", "", lines[0])
    return "\n".join(lines[:4])


def _deviations(description: Description) -> Iterator[Step]:
    """Yield each deviation. That its case and its finding exist was checked when it was read."""
    if description.version is not None:
        try:
            yield Step("version", "ok", description.server_version())
        except SetupError as error:
            yield Step("version", "WRONG", _short(error))
    for deviation in description.deviations:
        versions = f", versions {deviation.versions}" if deviation.versions else ""
        detail = f"docs/findings.md#{deviation.finding}{versions}"
        yield Step(f"deviation {deviation.case}", "ok", detail)
    for policy in description.waives:
        yield Step(f"waives {policy}", "ok", POLICIES[policy].sentence)

"""``./check --probe FILE``: prove every claim of a target's profile, one per line.

Run this first for a new profile: a case that fails because of a wrong profile proves nothing about
the target.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qbdcheck.catalogue.capability_words import CAPABILITIES
from qbdcheck.catalogue.policies import POLICIES
from qbdcheck.clock import now_s
from qbdcheck.commands.connection_volumes import HINT
from qbdcheck.commands.profile_claims import CLAIMS, option_claim
from qbdcheck.commands.stress import TRIALS
from qbdcheck.errors import NotRun, QbdcheckError, SetupError, UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions
from qbdcheck.report.causes import EVERYTHING, Contradiction
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.capabilities import Scratch, capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from qbdcheck.targets.run_server import ENDS_SERVER, shared_servers_end
from qbdcheck.targets.session import TargetSession

_DETAIL_MAX = 200
_STYLES = {"ok": "green", "WRONG": "bold red", "absent": "dim"}
_TITLES = {
    "start": "starts, and QEMU opens a volume",
    "fresh": "fresh volumes",
    "sizes": "sizes of volumes",
    "data": "keeps what is written",
    "stop": "keeps it over stop and start",
}


@dataclass(frozen=True)
class Step:
    """One claim and its result: ``ok``, ``WRONG``, or ``absent`` (not claimed)."""

    claim: str
    state: str
    detail: str
    elapsed_s: float = 0.0


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
    steps = list(probe(description, plain, stress=stress))
    console.print(_table(description, steps))
    wrong = [step for step in steps if step.state == "WRONG"]
    if wrong:
        console.print(f"{len(wrong)} of {len(steps)} claims do not hold", style="red")
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
    description: Description, options: TargetOptions, *, stress: bool = False
) -> Iterator[Step]:
    """Yield the steps, in order.

    :raise SetupError: the target does not start.
    """
    with Scratch() as scratch, shared_servers_end():
        found = capabilities(description, options, scratch)
        # What the target could do if its profile had no lacks: key.
        bare = capabilities(description.model_copy(update={"lacks": []}), options, scratch)
        context = _Context(description, options, scratch, found, is_first_fatal=True)
        if description.has_volume_per_connection:
            yield from _of_one_connection(context)
            return
        for name in (
            "start",
            "fresh",
            "sizes",
            "data",
            *(() if description.volatile else ("stop",)),
        ):
            yield context.run(f"{_TITLES[name]}", CLAIMS[name])
        for word, sentence in CAPABILITIES.items():
            yield _capability(context, word, sentence, bare)
        for option in description.options:
            if option in {"min_block", "read_only"} and option not in found:
                yield Step(f"options.{option}", "WRONG", "starts, but no client sees an effect")
                continue
            yield context.run(f"options.{option}", option_claim(option))
        if stress:
            for title, (needs_nbd, trial) in TRIALS.items():
                if not needs_nbd or "nbd" in found:
                    yield context.run(title, trial)
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
    word = "volume_per_connection"
    is_shared = description.nbd and not description.has_volume_per_connection
    if is_shared and context.run(word, CLAIMS[word]).state == "ok":
        return [Contradiction(EVERYTHING, HINT)]
    found = []
    for word in CAPABILITIES:
        if word in capabilities and word in CLAIMS:
            step = context.run(word, CLAIMS[word])
            if step.state != "ok":
                found.append(Contradiction(word, _first_lines(step.detail)))
    return found


def _capability(context: _Context, word: str, sentence: str, bare: frozenset[str]) -> Step:
    if word in context.description.lacks:
        if word in bare:
            return Step(
                f"lacks {word}", "WRONG", f"the target {sentence}: remove {word} from lacks:"
            )
        return Step(f"lacks {word}", "ok", "the target lacks it")
    if word not in context.found and given(context.description, word):
        step = context.run(word, CLAIMS[word])
        if step.state != "ok":
            return step
        return replace(step, state="WRONG", detail="works now, but failed in the probe")
    if word not in context.found:
        return Step(word, "absent", f"no sign that the target {sentence}")
    claim = CLAIMS.get(word)
    return Step(word, "ok", sentence) if claim is None else context.run(word, claim)


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
    count: int = 0

    def run(self, name: str, claim: Callable[[TargetSession], str]) -> Step:
        """Run one claim and return its result."""
        self.count += 1
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
            try:
                detail = claim(session)
            finally:
                session.close()
        except (QbdcheckError, AssertionError, ValueError, *HANDSHAKE_ERRORS) as error:
            if isinstance(error, UsageError) and self.count == 1 and self.is_first_fatal:
                raise
            kind = "cannot be tried: " if isinstance(error, NotRun) else ""
            return Step(name, "WRONG", kind + _short(error), now_s() - started_s)
        return Step(name, "ok", detail, now_s() - started_s)


def _first_lines(detail: str) -> str:
    """Return the heading of a result and the line below it as one line."""
    first, *rest = detail.splitlines()
    text = f"{first} {rest[0]}" if rest and first.endswith(":") else first
    return " ".join(text.split())[:_DETAIL_MAX]


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
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

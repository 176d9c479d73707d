"""The kill matrix and fingerprints on the workers of ``--cluster``: one unit for each mutant.

A worker runs the same command for one mutant, in one lane; its JSON comes back.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mutants.catalogue import is_control
from qbdcheck.errors import UsageError
from qbdcheck.mutation import fingerprint_run
from qbdcheck.mutation.mutant_run import NOT_READY, Fate
from qbdcheck.mutation.wanted import Wanted
from qbdcheck.options import Options
from qbdcheck.programs.process import tail
from qbdcheck.report import fingerprints as files
from qbdcheck.workers.commands import Answer, run_commands

_FATES = "fates.json"
_SAMPLES = "samples.jsonl"


def kill_matrix(
    options: Options, wanted: Sequence[Wanted], flags: Sequence[str], ended: Callable[[Fate], None]
) -> None:
    """Run each mutant on a worker until its first kill.

    :param flags: arguments that select cases, with the seed.
    :param ended: gets each fate when it is known.
    :raise SetupError: no worker can be used, or none is left.
    """
    each = ["--each-suite"] if options.mutation.each_suite else []
    commands = [
        (one.name, _argv(one, [*flags, *each, "--json", f"@DIR@/{_FATES}"])) for one in wanted
    ]
    run_commands(options, commands, lambda at, answer: ended(fate_of(wanted[at], answer)), _say)


def fate_of(one: Wanted, answer: Answer) -> Fate:
    """Return the fate in the answer of a worker; without one, the mutant was not ready."""
    fate = Fate(id=one.mutant.id, control=is_control(one.mutant), knobs=one.knobs, state=NOT_READY)
    try:
        fate = Fate.from_json(json.loads(answer.files[_FATES])[0])
    except (LookupError, ValueError, TypeError):
        fate.diagnosis = tail(answer.output, 1).removeprefix("check: ")
    fate.knobs, fate.knobs_left_out = one.knobs, one.left_out
    return fate


def fingerprints(options: Options, wanted: Sequence[Wanted], flags: Sequence[str]) -> None:
    """Take the samples that the file does not have yet, each on a worker.

    :raise SetupError: no worker can be used, or none is left.
    :raise UsageError: the file cannot be read or written.
    """
    mutation = options.mutation
    assert mutation.fingerprints_file is not None
    progress = fingerprint_run.Progress.load(mutation.fingerprints_file)
    seeds = range(mutation.first_seed, mutation.first_seed + options.execution.repeat)
    left = [
        (one, seed)
        for seed in seeds
        for one in wanted
        if not progress.has(one.mutant.id, one.knobs, seed)
    ]
    of_one = [*flags, "--fingerprints", f"@DIR@/{_SAMPLES}", "--seed"]
    commands = [(f"{one.name}-seed-{seed}", _argv(one, [*of_one, str(seed)])) for one, seed in left]

    def ended(at: int, answer: Answer) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / _SAMPLES
            file.write_bytes(answer.files.get(_SAMPLES, b""))
            samples = files.read(file)
        if not samples:
            raise UsageError(f"{commands[at][0]}: no sample: {tail(answer.output, 1)}")
        progress.add(samples[0])
        fingerprint_run.say(samples[0])

    run_commands(options, commands, ended, _say)


def _argv(one: Wanted, flags: Sequence[str]) -> list[str]:
    return ["-m", "qbdcheck", "--no-config", "--mutants", one.name, "-j1", *flags]


def _say(line: str) -> None:
    sys.stderr.write(f"check: {line}\n")

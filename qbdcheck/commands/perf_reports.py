"""What all subjects of ``./check perf`` print and write."""

from __future__ import annotations

from pathlib import Path

from qbdcheck.errors import UsageError
from qbdcheck.options import Options
from qbdcheck.perf import noise
from qbdcheck.perf.rounds import NoisyError


def measured_noise(options: Options) -> noise.Noise:
    """Measure the noise of the machine and print it.

    :raise NoisyError: it is more than the options accept.
    """
    found, accepted = noise.measure(), options.perf.accepted_noise
    print(
        f"noise: other programs use {found.others:.0%} of the CPU; the same work takes\n"
        f"  {found.spread:.1%} more or less time (accepted: {accepted:.0%})",
        flush=True,
    )
    if found.worst > accepted:
        raise NoisyError(f"{found.worst:.0%} of noise; --accept-noise accepts {accepted:.0%}")
    return found


def write_text(file: Path, text: str) -> None:
    """Write a report.

    :raise UsageError: it cannot be written.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot write it: {error.strerror}") from None

"""The arguments of perf: with the flags of all commands, and the one-line errors."""

from __future__ import annotations

import pytest

from qbdcheck.arguments import parse
from qbdcheck.errors import UsageError


def test_flags_of_perf_and_of_all_commands_go_together() -> None:
    options = parse(["perf", "-t", "nbdkit", "--vs", "reference", "--seed", "7",
                     "--max-regression", "5%", "--accept-noise=20", "--rounds", "9"])  # fmt: skip
    perf = options.perf
    assert (options.subcommand, options.arguments) == ("perf", ())
    assert (options.target.name, options.execution.seed) == ("nbdkit", 7)
    assert (perf.what, perf.versus, perf.profile, perf.rounds) == (
        "matrix",
        "reference",
        "quick",
        9,
    )
    assert perf.max_regression == pytest.approx(0.05) and perf.accepted_noise == pytest.approx(0.2)
    assert parse(["perf", "growth", "-t", "nbdkit"]).perf.what == "growth"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["reference"], "unknown subject; known: matrix faults growth; a target needs -t"),
        (["--rounds", "4"], "not a whole number >= 5"),
        (["--max-regression", "5%"], "requires --baseline FILE or --vs NAME"),
        (["--vs", "a", "--max-regression", "x"], "not a percentage such as 5%"),
        (["--accept-noise", "-3%"], "percentage|expected one argument"),
        (["faults", "--vs", "nbdkit"], "--vs does not go together with perf faults"),
        (["--profile", "huge"], "invalid choice"),
        (["--sizes", "4k"], "unknown flag --sizes"),
        (["--update-baseline"], "--update-baseline requires --baseline FILE"),
    ],
)
def test_mistakes_are_one_line(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(["perf", *argv])

"""The arguments of ``./check perf`` that other commands do not have."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from qbdcheck.argument_parser import Parser
from qbdcheck.argument_types import number
from qbdcheck.errors import UsageError
from qbdcheck.options import PERF_PROFILES, PERF_SUBJECTS, PerfOptions

_LEAST_ROUNDS = 5
_DESCRIPTION = """\
Measure the speed of a target (docs/perf.md).
  perf -t A [--vs B]             the matrix of shapes of load
  perf faults -t A               latency during faults, resyncs and snapshots
  perf growth -t A               the cost of a request by size and snapshots
Further flags are those of ./check: -t, --json, --html, --guest-image, --seed,
--observe, and --baseline FILE with --update-baseline, here for a file of
measurements."""
_EXAMPLE = """\
example:
  ./check perf -t mine.yaml --vs reference"""


def percent(text: str) -> float:
    """Return the share of ``5%``, ``0.5 %`` or ``5``: 0.05."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage such as 5%")
    return value / 100


def split(argv: Sequence[str]) -> tuple[PerfOptions, list[str]]:
    """Return the options of perf, and the arguments that all commands have.

    :param argv: without the word ``perf``.
    :raise UsageError: a value is wrong, or flags do not go together; one line.
    """
    what, argv = PERF_SUBJECTS[0], list(argv)
    if argv and not argv[0].startswith("-"):
        what = argv.pop(0)
        if what not in PERF_SUBJECTS:
            known = " ".join(PERF_SUBJECTS)
            raise UsageError(f"perf {what}: unknown subject; known: {known}; a target needs -t")
    given, rest = _parser().parse_known_args(argv)
    for flag, is_there in (("--vs", given.vs), ("--guest", given.guest)):
        if is_there and what != PERF_SUBJECTS[0]:
            raise UsageError(f"{flag} does not go together with perf {what}")
    if given.max_regression is not None and not (given.vs or _has(rest, "--baseline")):
        raise UsageError("--max-regression requires --baseline FILE or --vs NAME")
    options = PerfOptions(
        what=what,
        versus=given.vs,
        profile=given.profile,
        in_guest=given.guest,
        max_regression=given.max_regression,
        accepted_noise=given.accept_noise,
        rounds=given.rounds or 0,
        only=given.only,
    )
    return options, rest


def _has(rest: Sequence[str], flag: str) -> bool:
    return any(word == flag or word.startswith(f"{flag}=") for word in rest)


def _parser() -> Parser:
    parser = Parser(
        prog="./check perf",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--vs", default="", metavar="NAME", help="another target, measured in turns with -t")
    add("--profile", choices=PERF_PROFILES, default=PERF_PROFILES[0],
        help="how many shapes, how long; default: quick")  # fmt: skip
    add("--guest", action="store_true", help="measure in a guest, by fio on the target's disk")
    add("--max-regression", type=percent, metavar="5%",
        help="fail if the target is slower than --vs or --baseline by more than this beyond"
             " doubt; default with --baseline: 5%%")  # fmt: skip
    add("--accept-noise", type=percent, default=0.10, metavar="10%",
        help="how much noise of the machine is accepted; more is BROKEN")  # fmt: skip
    add("--rounds", type=lambda text: number(text, _LEAST_ROUNDS), metavar="N",
        help="samples of each shape and target, at least 5")  # fmt: skip
    add("--only", default="", metavar="TEXT", help="only shapes whose name contains TEXT: 4k:qd16")
    return parser

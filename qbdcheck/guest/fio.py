"""Parser for the output of fio: JSON, json+, text and terse of 2.x and 3.x, with its messages."""

from __future__ import annotations

from qbdcheck.guest.fio_json import has_json, parse_json
from qbdcheck.guest.fio_messages import signals, verify_failures
from qbdcheck.guest.fio_result import FioOutputError, FioResult
from qbdcheck.guest.fio_terse import has_terse, parse_terse
from qbdcheck.guest.fio_text import has_text, parse_text

__all__ = ["FioOutputError", "FioResult", "parse"]


def parse(output: str, errors: str = "") -> FioResult:
    """Return the result of a run of fio.

    :param output: its standard output: JSON with or without lines of text around it, text, or
        terse. Where it has several results of the same jobs, the last one counts.
    :param errors: its standard error, which has the verify failures.
    :raise FioOutputError: the output is none of these, or a part of it is not understood.
    """
    everything = f"{output}\n{errors}"
    if has_json(output):
        result = parse_json(output)
    elif has_text(output):
        result = parse_text(output)
    elif has_terse(output):
        result = parse_terse(output)
    else:
        raise FioOutputError("no JSON, no text and no terse output of fio")
    return result.model_copy(
        update={"failures": list(verify_failures(everything)), "signals": signals(everything)}
    )

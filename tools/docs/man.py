"""Write docs/qbdcheck.1, the manual page, from the parser: ``python -m tools.docs.man``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from qbdcheck.arguments import build_parser
from qbdcheck.command_help import EPILOG
from qbdcheck.files import ROOT

PAGE = ROOT / "docs" / "qbdcheck.1"
_FILES = {
    "~/.cache/qbdcheck": "durations, history, guests; $XDG_CACHE_HOME changes the place",
    "~/.cache/qbdcheck/results": "the results of each run; the link latest leads to the newest",
    ".qbdcheck.toml, pyproject.toml": "default flags, in the current directory",
    "targets/NAME.yaml": "target profiles",
}


def text() -> str:
    """Return the page in the macros of man(7)."""
    parser = build_parser()
    return "\n".join([*_head(parser), *_options(parser), *_tail()]) + "\n"


def _head(parser: argparse.ArgumentParser) -> list[str]:
    return [
        '.TH QBDCHECK 1 "" "qbdcheck" "User Commands"',
        ".SH NAME",
        r"qbdcheck \- verify a QEMU block backend with numbered cases",
        ".SH SYNOPSIS",
        ".B ./check",
        r"[\fIFLAG\fR]... [\fICASE\fR]...",
        ".br",
        ".B ./check",
        r"\fISUBCOMMAND\fR [\fIARGUMENT\fR]...",
        ".SH DESCRIPTION",
        roff(f"{parser.description} Without a selection, the group quick runs."),
        "A",
        ".I CASE",
        "is a number (17), a range (001-100, 12-, -20) or a name.",
    ]


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield ".SH OPTIONS"
    for group in parser._action_groups:  # noqa: SLF001
        shown = [
            action
            for action in group._group_actions  # noqa: SLF001
            if action.option_strings and action.help != argparse.SUPPRESS
        ]
        if not shown:
            continue
        yield f".SS {roff((group.title or '').capitalize())}"
        for action in shown:
            flags = ", ".join(rf"\fB{roff(flag)}\fR" for flag in action.option_strings)
            name = action.metavar or "|".join(map(str, action.choices or ()))
            value = "" if action.nargs == 0 else rf" \fI{roff(str(name))}\fR"
            yield from (".TP", flags + value, roff((action.help or "").replace("%%", "%")))


def _tail() -> Iterator[str]:
    """Return the sections after the flags, from the epilogue of the help."""
    kinds: dict[str, str] = {}
    name = ""
    for line in EPILOG.splitlines():
        if found := re.match(r"(\w[\w ]*): (.*)", line):
            name, line = found[1], found[2]  # noqa: PLW2901
        kinds[name] = f"{kinds.get(name, '')} {line.strip()}".strip()
    exit_codes = kinds.pop("exit code")
    kinds.pop("selection")
    yield ".SH SUBCOMMANDS"
    for kind, listed in kinds.items():
        yield f".SS {roff(kind.capitalize())}"
        for one in re.split(r"; ", listed):
            yield from (".TP", rf"\fB{roff(one)}\fR", "")
    yield ".SH EXIT STATUS"
    for one in exit_codes.split("; "):
        code, _, meaning = one.partition(" ")
        yield from (".TP", rf"\fB{code}\fR", roff(meaning))
    yield ".SH FILES"
    for path, what in _FILES.items():
        yield from (".TP", rf"\fI{roff(path)}\fR", roff(what))
    yield ".SH SEE ALSO"
    yield ".BR qemu-img (1),"
    yield ".BR qemu-nbd (8)"


def roff(plain: str) -> str:
    """Return text in which nothing is a request or an escape of roff."""
    made = " ".join(plain.split()).replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{made}" if made[:1] in (".", "'") else made


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")

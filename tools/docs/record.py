#!/usr/bin/env python3
"""Record a real run of ./check as docs/session.svg, for the README.

    .venv/bin/python tools/docs/record.py [--output FILE] [--lines N] -- ./check -j2 1-20

The command runs once, with colours and with its output in a pipe, so that the picture shows its
lines and not the redrawing of a live display. The picture shows the command as the prompt.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 112


def capture(command: list[str]) -> str:
    """Return the output of `command` with its colours.

    Exit if the command did not start (exit code 2). A red run (1) is recorded too.
    """
    argv = [*command, "--color", "on"] if command[0].endswith("check") else command
    done = subprocess.run(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode not in (0, 1):
        sys.exit(f"not recorded: {shlex.join(command)} exited with {done.returncode}")
    return done.stdout


def shortened(lines: list[str], limit: int) -> list[str]:
    """Return at most `limit` lines: the first, a count of those left out, and the last."""
    if len(lines) <= limit:
        return lines
    head = limit * 2 // 3
    tail = limit - head - 1
    return [*lines[:head], f"... {len(lines) - head - tail} lines ...", *lines[-tail:]]


def main() -> int:
    """Record the command of the arguments; return 0."""
    parser = argparse.ArgumentParser(description="Record a run as SVG.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "session.svg")
    parser.add_argument("--lines", type=int, default=40, help="keep at most this many lines")
    parser.add_argument("command", nargs="*", default=["./check", "-j2"])
    options = parser.parse_args()
    lines = capture(options.command).splitlines()
    console = Console(record=True, width=WIDTH, force_terminal=True, file=sys.stdout)
    console.print(Text.assemble(("$ ", "bold green"), (shlex.join(options.command), "bold")))
    for line in shortened(lines, options.lines):
        text = Text.from_ansi(line)
        text.truncate(WIDTH, overflow="ellipsis")
        console.print(text, soft_wrap=True)
    title = shlex.join(options.command)
    drawing = console.export_svg(title=title, clear=True)
    # no request to a font server when somebody reads the README
    drawing = re.sub(r"@font-face \{.*?\}\n", "", drawing, flags=re.DOTALL)
    options.output.write_text(drawing, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

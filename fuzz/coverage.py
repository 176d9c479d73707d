"""Run the same sessions under atheris, which searches inputs that reach new code.

``python -m fuzz.coverage SIDE FOLDER SECONDS``; libFuzzer adds such inputs to the folder. atheris
is not a dependency of the project: install it with ``pip install atheris``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Run for the given time; libFuzzer ends the process itself."""
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        sys.exit("atheris is not installed: .venv/bin/pip install atheris")
    side, folder, seconds = arguments
    with atheris.instrument_imports(include=["reference_backend.nbd", "reference_backend.store"]):
        from fuzz import client, server  # atheris instruments modules at import
    run = {"server": server.run, "client": client.run}[side]
    options = [f"-max_total_time={seconds}", "-max_len=600", "-timeout=10", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, folder], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])

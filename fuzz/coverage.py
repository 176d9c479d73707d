"""The same sessions under atheris, which looks for inputs that reach new places of the code.

``python -m fuzz.coverage SIDE FOLDER SECONDS``; libFuzzer adds to the folder what reaches new ones.
atheris is no dependency: ``pip install atheris`` where this is wanted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Run until the time is over; libFuzzer ends the process itself."""
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        sys.exit("atheris is not installed: .venv/bin/pip install atheris")
    side, folder, seconds = arguments
    with atheris.instrument_imports(include=["reference_backend.nbd", "reference_backend.store"]):
        from fuzz import client, server  # the import is what is instrumented
    run = {"server": server.run, "client": client.run}[side]
    options = [f"-max_total_time={seconds}", "-max_len=600", "-timeout=10", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, folder], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])

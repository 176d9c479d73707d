"""``./check --tests``: run the project's own tests with tox, on any machine with Python.

On Debian and Ubuntu, pip refuses to install packages outside of an environment (PEP 668), and some
systems have no pip. Therefore tox is installed into its own environment, ``.tox/bootstrap``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

from qbdcheck.bootstrap.system_packages import (
    InstallError,
    ensurepip_fix,
    note,
    run_or_raise,
)
from qbdcheck.files import ROOT

TOX = "tox>=4.11"


def run_tests(arguments: Sequence[str]) -> int:
    """Replace this process with ``tox run`` and `arguments`; return only if it cannot start.

    :raise InstallError: the environment of tox cannot be created.
    """
    environment = ROOT / ".tox" / "bootstrap"
    tox = environment / "bin" / "tox"
    if not tox.exists():
        if importlib.util.find_spec("ensurepip") is None:
            raise InstallError(
                f"{sys.executable} cannot create environments: its module ensurepip is missing;"
                f" ask an administrator to run: {ensurepip_fix()}"
            )
        note("installing tox into .tox/bootstrap")
        python = environment / "bin" / "python"
        run_or_raise([sys.executable, "-m", "venv", "--clear", str(environment)], "making .tox")
        run_or_raise(
            [str(python), "-m", "pip", "install", "--quiet", "--no-input",
             "--disable-pip-version-check", "--retries", "2", TOX],
            "installing tox with pip",
        )  # fmt: skip
    os.chdir(ROOT)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(tox, [str(tox), "run", *arguments])  # noqa: S606

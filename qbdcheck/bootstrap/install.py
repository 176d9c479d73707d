"""Find or make the environment of a run. Standard library only.

There are two parts: system packages (`system_packages.py`) and Python packages (`.venv`, from
requirements.lock). Only `--install` installs them. Every start comes through here, so it must be
fast: it hashes one file.

An import of a third-party package here, or in qbdcheck/__init__.py, would fail on a bare machine.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from qbdcheck.bootstrap.extras import install_extras, take_extras
from qbdcheck.bootstrap.project_tests import run_tests
from qbdcheck.bootstrap.system_packages import (
    InstallError,
    ensurepip_fix,
    install_programs,
    note,
    run_or_raise,
)
from qbdcheck.command_help import ON_SAVED_RUNS
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import COMMAND, INSTALLED, ROOT

MODULES = (
    "pytest",
    "hypothesis",
    "pexpect",
    "qemu.qmp",
    "yaml",
    "pydantic",
    "rich",
    "numpy",
    "xxhash",
    "psutil",
    "cryptography",
    "elftools",
    "jinja2",
    "apsw",
)
"""The modules of the dependencies in pyproject.toml."""
_STAMP = "qbdcheck-lock.sha256"
_NEEDS_ONLY_PYTHON = frozenset(["-l", "--list", "--version"])
_ON_TARGETS = ("replay", "fio", "runtest", "certify", "--probe", "--mutants")
_NEEDS_PACKAGES = frozenset(["new", "rules", "inspect", *_ON_TARGETS, *ON_SAVED_RUNS])
_HELP_NEEDS_PACKAGES = frozenset(["inspect", *ON_SAVED_RUNS])
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def main(arguments: Sequence[str]) -> int:
    """Run qbdcheck with `arguments` in an environment that has its packages; 2 if there is none.

    If this interpreter lacks the packages, another one replaces it by exec.
    """
    own = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    rest = list(arguments[len(own) :])
    os.environ["PATH"] = path_with_sbin(os.environ.get("PATH", os.defpath))
    try:
        extras, own = take_extras(own)
        if _wants_help(own) and not _HELP_NEEDS_PACKAGES.intersection(own[:1]):
            return _run_here([*own, *rest])
        wants_install = "--install" in own
        own = [argument for argument in own if argument != "--install"]
        if wants_install:
            _install(extras)
        if "--tests" in own and INSTALLED:
            raise InstallError(
                "--tests needs a checkout; git clone the project and use ./check there"
            )
        if "--tests" in own:
            return run_tests([argument for argument in own if argument != "--tests"])
        if _NEEDS_ONLY_PYTHON.intersection(own) and not _NEEDS_PACKAGES.intersection(own):
            return _run_here([*own, *rest])
        try:
            return run_qbdcheck([*own, *rest])
        except InstallError:
            if "--doctor" not in own:
                raise
            return _run_here([*own, *rest])  # the doctor says what is missing
    except InstallError as error:
        note(str(error))
        return ExitCode.USAGE


def _wants_help(own: Sequence[str]) -> bool:
    """Return whether to show help: then nothing is installed or started, whatever else is asked."""
    return not {"-h", "--help"}.isdisjoint(own)


def _install(extras: Sequence[str]) -> None:
    try:
        install_programs()
        if not INSTALLED:  # pip has installed the Python packages
            make_venv()
        install_extras(extras)
    except KeyboardInterrupt:
        note(f"interrupted; {COMMAND} --install continues from here")
        raise SystemExit(ExitCode.INTERRUPTED) from None


def path_with_sbin(path: str) -> str:
    """Return `path` with the directories of mkfs and nbd-server, which Debian's users lack."""
    have = path.split(os.pathsep)
    return os.pathsep.join([*have, *[each for each in _SBIN if each not in have]])


# Section: the Python that runs qbdcheck


def run_qbdcheck(arguments: list[str]) -> int:
    """Run ``python -m qbdcheck``: in .venv if it is up to date, else in this interpreter.

    An installed qbdcheck has the packages of its own environment only.

    :raise InstallError: no interpreter has the packages.
    """
    if INSTALLED:
        if missing := missing_modules():
            raise InstallError(
                f"Python packages are missing ({', '.join(missing)});"
                " install qbdcheck again, with its dependencies"
            )
        return _run_here(arguments)
    venv = ROOT / ".venv"
    venv_python = venv / "bin" / "python"
    in_venv = venv.is_dir() and Path(sys.prefix).samefile(venv)
    if not in_venv and is_current(venv):
        _exec(venv_python, arguments)
    missing = missing_modules()
    if not missing:
        return _run_here(arguments)
    if not in_venv and venv_python.exists():
        note(".venv does not match requirements.lock; ./check --install updates it")
        _exec(venv_python, arguments)
    if in_venv:  # packages were removed: let --install check again
        (venv / _STAMP).unlink(missing_ok=True)
    raise InstallError(
        f"Python packages are missing ({', '.join(missing)}); run: {ROOT / 'check'} --install"
    )


def _run_here(arguments: Sequence[str]) -> int:
    sys.argv = [str(ROOT / "check"), *arguments]
    runpy.run_module("qbdcheck", run_name="__main__", alter_sys=True)
    return ExitCode.GREEN  # not reached: the module exits


def _exec(python: Path, arguments: Sequence[str]) -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os.execv(python, [str(python), str(ROOT / "check"), *arguments])  # noqa: S606


def missing_modules() -> list[str]:
    """Return the MODULES that this interpreter does not find."""

    def is_there(module: str) -> bool:
        try:
            return importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # its parent package is missing
            return False

    return [module for module in MODULES if not is_there(module)]


def lock_stamp(python_version: tuple[int, int]) -> str:
    """Return the stamp of an up-to-date .venv: hash of the lock file, Python version, directory."""
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    return f"{digest} python{python_version[0]}.{python_version[1]} {ROOT}\n"


def is_current(venv: Path) -> bool:
    """Return whether `venv` was made from this lock file, in this place, and has a Python."""
    try:
        stamp = (venv / _STAMP).read_text(encoding="utf-8")
    except OSError:
        return False
    made_for = stamp.split()[1].removeprefix("python") if len(stamp.split()) > 1 else ""
    if not made_for.replace(".", "").isdigit() or made_for.count(".") != 1:
        return False
    major, minor = made_for.split(".")
    return stamp == lock_stamp((int(major), int(minor))) and (venv / "bin" / "python").exists()


def make_venv() -> None:
    """Make .venv match requirements.lock; do nothing if it matches already.

    :raise InstallError: it cannot be created, or pip failed.
    """
    venv = ROOT / ".venv"
    if is_current(venv):
        return
    if importlib.util.find_spec("ensurepip") is None:
        raise InstallError(
            f"{sys.executable} cannot create environments: its module ensurepip is missing;"
            f" ask an administrator to run: {ensurepip_fix()}"
        )
    note("installing Python packages into .venv")
    python = venv / "bin" / "python"
    if not _is_usable(python):
        run_or_raise([sys.executable, "-m", "venv", "--clear", str(venv)], "making .venv")
    run_or_raise(
        [
            *[str(python), "-m", "pip", "install", "--quiet", "--no-input"],
            *["--disable-pip-version-check", "--retries", "2"],
            *["--requirement", str(ROOT / "requirements.lock")],
        ],
        "installing the packages of requirements.lock with pip",
    )
    (venv / _STAMP).write_text(lock_stamp(sys.version_info[:2]), encoding="utf-8")


def _is_usable(python: Path) -> bool:
    """Return whether `python` starts, has pip, and has the same version as this one."""
    program = "import sys, pip; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-c", program], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.split() == [str(part) for part in sys.version_info[:2]]

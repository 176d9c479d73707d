"""`check` on machines that lack something, each run in a process of its own on a copied tree."""

from __future__ import annotations

import ast
import os
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from qbdcheck.bootstrap import system_packages
from qbdcheck.bootstrap.install import MODULES, is_current, missing_modules, path_with_sbin
from qbdcheck.bootstrap.system_packages import (
    PROGRAMS,
    InstallError,
    ensurepip_fix,
    packages_of,
    run_or_raise,
    setup_command,
)
from qbdcheck.bootstrap.version import FIRST_RELEASE
from qbdcheck.catalogue.catalogue import CASE_FILE
from qbdcheck.files import ROOT

PYTHON = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
"""The interpreter under any virtual environment: what a user's `python3` is."""
SYSTEM_PYTHON = Path("/usr/bin/python3")
_NO_NETWORK = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}


def copy_tree(root: Path) -> Path:
    """Make a checkout with the files that `check` needs to start, and an empty lock file."""
    shutil.copytree(ROOT / "qbdcheck", root / "qbdcheck")
    shutil.copy(ROOT / "check", root)
    (root / "requirements.lock").write_text("# nothing\n")
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy_tree(tmp_path / "tree")


@pytest.fixture(scope="module")
def first_install(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A tree after its first ``./check --install``, and what that wrote."""
    root = copy_tree(tmp_path_factory.mktemp("installed") / "tree")
    return root, start(root, "--install", "--version", env=_NO_NETWORK).stderr


@pytest.fixture
def installed(first_install: tuple[Path, str]) -> Path:
    """The same tree with the packages in .venv, its lock file as it was, and the stamp renewed."""
    root, _ = first_install
    (root / "requirements.lock").write_text("# nothing\n")
    packages_of_venv(root).write_text(f"{sysconfig.get_path('purelib')}\n")
    assert start(root, "--install", "--version", env=_NO_NETWORK).returncode == 0
    return root


def packages_of_venv(tree: Path) -> Path:
    """Return the file by which the tree's .venv finds this interpreter's packages: no download."""
    (site_packages,) = tree.glob(".venv/lib/python3.*/site-packages")
    return site_packages / "packages.pth"


def start(
    tree: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    python: Path = PYTHON,
) -> subprocess.CompletedProcess[str]:
    """Run the tree's `check` from another directory, isolated from this interpreter's packages."""
    return subprocess.run(
        # -S: no site packages, as on a machine where pip never ran
        [python, "-S", tree / "check", *arguments],
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **(env or {})},
        cwd="/",
        user=user,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_packages_one_line_names_them_and_the_command(tree: Path) -> None:
    done = start(tree, "1")
    assert done.returncode == 2
    assert done.stdout == ""
    expected = f"check: Python packages are missing ({', '.join(MODULES)}); run: {tree}/check"
    assert done.stderr == f"{expected} --install\n"
    assert not (tree / ".venv").exists()


def test_the_first_install_makes_the_environment(first_install: tuple[Path, str]) -> None:
    tree, stderr = first_install
    assert "installing Python packages into .venv" in stderr
    assert (tree / ".venv/bin/python").exists()


def test_a_second_start_installs_nothing_and_is_quick(installed: Path) -> None:
    assert is_stamped(installed)
    began = time.monotonic()
    done = start(installed, "--install", "--version", env=_NO_NETWORK)
    assert time.monotonic() - began < 2
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("qbdcheck ")


def test_an_environment_without_its_packages_is_not_believed(installed: Path) -> None:
    packages_of_venv(installed).unlink()
    done = start(installed, "1")
    assert done.returncode == 2
    assert done.stderr.startswith("check: Python packages are missing (pytest, ")
    assert not is_stamped(installed), "so that --install looks again"


def test_a_changed_lock_file_makes_the_environment_stale(installed: Path) -> None:
    (installed / "requirements.lock").write_text("# something else\n")
    refused = f"check: no {installed}/suites/groups.yaml: it lists the groups that cases may name\n"
    message = start(installed, "1").stderr
    assert message.startswith("check: .venv does not match requirements.lock")
    assert message.endswith(refused), "the run continues"
    assert start(installed, "--install", "--version", env=_NO_NETWORK).returncode == 0
    assert start(installed, "1").stderr == refused


def is_stamped(tree: Path) -> bool:
    return (tree / ".venv" / "qbdcheck-lock.sha256").exists()


def test_a_failed_download_is_one_line_and_the_next_start_tries_again(installed: Path) -> None:
    (installed / "requirements.lock").write_text("qbdcheck-has-no-such-package==1\n")
    for _ in range(2):
        done = start(installed, "--install", env=_NO_NETWORK)
        assert done.returncode == 2
        last = done.stderr.splitlines()[-1]
        assert last.startswith("check: installing the packages of requirements.lock with pip fail")
        assert "qbdcheck-has-no-such-package" in last
        assert "Traceback" not in done.stderr


def test_a_python_that_cannot_make_environments_names_the_debian_package(tree: Path) -> None:
    install = tree / "qbdcheck" / "bootstrap" / "install.py"
    blocked = install.read_text().replace('find_spec("ensurepip")', 'find_spec("ensurepip_gone")')
    install.write_text(blocked)
    done = start(tree, "--install", env=_NO_NETWORK)
    assert done.returncode == 2
    assert f"ask an administrator to run: {ensurepip_fix()}" in done.stderr


def test_the_command_for_an_administrator_includes_what_environments_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system_packages, "missing_programs", lambda: ["fio"])
    monkeypatch.setattr(system_packages, "package_manager", lambda: "apt")
    monkeypatch.setattr(system_packages, "_has_ensurepip", lambda: False)
    monkeypatch.setattr(sys, "executable", "/usr/bin/no-python")
    venv = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    command = "apt-get install --no-install-recommends"
    assert setup_command() == f"{command} fio {venv}"
    monkeypatch.setattr(system_packages, "_has_ensurepip", lambda: True)
    assert setup_command() == f"{command} fio"
    monkeypatch.setattr(system_packages, "missing_programs", list)
    assert setup_command() == ""  # it is not None


@pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run([SYSTEM_PYTHON, "-c", "import tomllib"]).returncode != 0,
    reason="needs root to become a user without rights, and a Python 3.11 which that user may run",
)
def test_a_user_without_rights_is_told_the_command_and_the_run_goes_on(tree: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    for path in [tree, *tree.rglob("*")]:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    for parent in tree.parents:
        if parent.stat().st_uid == os.geteuid() and parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(0o755)  # pytest's directories, of which xdist makes one more
    programs = tree / "bin"
    programs.mkdir()
    (programs / "apt-get").symlink_to("/bin/true")  # a Debian with none of our programs
    done = start(
        tree,
        "--install",
        env={**_NO_NETWORK, "PATH": str(programs)},
        user="nobody",
        python=SYSTEM_PYTHON,
    )
    wanted = [line for line in done.stderr.splitlines() if "ask an administrator to run" in line]
    missing = [name for name in PROGRAMS if not any(is_in_sbin(name))]
    packages = " ".join(packages_of(missing, "apt"))
    message = "check: packages are missing and this user may not install them; ask an administrator"
    command = "apt-get install --no-install-recommends"
    assert wanted == [f"{message} to run: {command} {packages}"]
    assert "continuing without them" in done.stderr
    assert "installing Python packages into .venv" in done.stderr


def is_in_sbin(name: str) -> list[bool]:
    return [Path(each, name).exists() for each in path_with_sbin("").split(os.pathsep) if each]


def test_an_old_python_is_told_in_one_line_what_is_needed(tree: Path) -> None:
    script = tree / "check"
    script.write_text(script.read_text().replace("OLDEST = (3, 11)", "OLDEST = (3, 90)"))
    done = start(tree)
    assert done.returncode == 2
    have = ".".join(str(part) for part in sys.version_info[:3])
    assert done.stderr == (
        f"check: Python 3.90 or newer is required, but this is {have} ({PYTHON});"
        " install a newer one as python3 or python3.N on PATH\n"
    )


def test_check_itself_can_be_read_by_python_3_6() -> None:
    ast.parse((ROOT / "check").read_text(), feature_version=(3, 6))


def test_modules_are_those_of_the_dependencies(tmp_path: Path) -> None:
    assert missing_modules() == []
    assert not is_current(tmp_path)


def test_every_program_has_a_package_for_each_package_manager() -> None:
    for name, package in PROGRAMS.items():
        assert package.apt, name
        assert package.dnf, name
    assert packages_of(["qemu-img", "qemu-io", "fio"], "apt") == ["qemu-utils", "fio"]
    assert packages_of(["qemu-img", "qemu-io", "nbdcopy"], "dnf") == ["qemu-img", "libnbd"]


@pytest.mark.parametrize("argument", ["-h", "--help"])
def test_help_needs_only_python(tree: Path, argument: str) -> None:
    done = start(tree, argument)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ./check")


def test_the_doctor_needs_only_python_and_names_the_packages_that_are_missing(tree: Path) -> None:
    shutil.copytree(ROOT / "blockio", tree / "blockio")
    shutil.copytree(ROOT / "oracles", tree / "oracles")
    shutil.copytree(ROOT / "suites", tree / "suites")
    done = start(tree, "--doctor")
    assert (done.returncode, done.stderr) == (2, "")
    assert "qemu-storage-daemon" in done.stdout
    assert f"Python packages are missing: {', '.join(MODULES)}" in done.stdout
    assert "./check --install" in done.stdout
    assert not (tree / ".venv").exists()


def test_version_and_list_need_only_python(tree: Path) -> None:
    done = start(tree, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"qbdcheck {FIRST_RELEASE}\n", "")
    shutil.copytree(ROOT / "suites", tree / "suites")
    done = start(tree, "-l", env={"HOME": "/no/such", "TMPDIR": "/no/such"})
    assert (done.returncode, done.stderr) == (0, "")
    count = sum(CASE_FILE.match(path.name) is not None for path in (ROOT / "suites").rglob("*.py"))
    assert len(done.stdout.splitlines()) == count
    quick = start(tree, "-l", "-g", "quick").stdout.splitlines()
    assert 0 < len(quick) < count


def test_the_version_of_a_checkout_with_a_tag_is_the_description_of_git(tree: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        subprocess.run(["git", "-C", tree, *identity, *arguments], check=True, capture_output=True)

    def version() -> str:
        return start(tree, "--version").stdout.split()[1]

    git("init")
    git("add", "check")
    git("commit", "-m", "one")
    assert re.fullmatch(rf"{re.escape(FIRST_RELEASE)}\.dev1\+g[0-9a-f]+", version())
    git("tag", "v7.8.9")
    assert version() == "7.8.9"
    git("commit", "--allow-empty", "-m", "two")
    assert re.fullmatch(r"7\.8\.9\.post1\+g[0-9a-f]+", version())
    (tree / "check").write_text((tree / "check").read_text() + "\n")
    assert version().endswith(".dirty")


def test_an_unpacked_sdist_has_the_version_of_its_build(tree: Path) -> None:
    (tree / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: qbdcheck\nVersion: 7.8.9\n")
    assert start(tree, "--version").stdout == "qbdcheck 7.8.9\n"


def test_tests_run_by_tox_in_an_environment_of_its_own(tree: Path) -> None:
    tox = tree / ".tox/bootstrap/bin/tox"
    tox.parent.mkdir(parents=True)
    tox.write_text('#!/bin/sh\necho "$PWD: $@"\n')
    tox.chmod(0o755)
    done = start(tree, "--tests", "-e", "lint")
    assert done.stdout == f"{tree}: run -e lint\n"
    assert done.returncode == 0


def test_a_certificate_that_is_not_trusted_is_named() -> None:
    pip = "print('ERROR: SSLCertVerificationError(1, [SSL: CERTIFICATE_VERIFY_FAILED] self-signed')"
    command = [sys.executable, "-c", f"{pip}; print('ERROR: No matching distribution'); exit(1)"]
    with pytest.raises(InstallError, match="set PIP_CERT"):
        run_or_raise(command, "pip")


def test_an_unmet_dependency_is_named() -> None:
    apt = " qemu-system-x86 : Depends: seabios (> 1.17) but 1.16 is to be installed"
    last = "E: The following information from --solver 3.0 may provide additional context:"
    command = [sys.executable, "-c", f"print({apt!r}); print({last!r}); exit(100)"]
    with pytest.raises(InstallError, match=r"seabios \(> 1.17\) but 1.16") as caught:
        run_or_raise(command, "apt-get install qemu-system-x86")
    assert "network" not in str(caught.value)
    assert "additional context" not in str(caught.value)

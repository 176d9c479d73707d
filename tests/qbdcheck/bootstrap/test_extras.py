"""``--install --with NAME``: names are checked, and only missing packages are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.bootstrap import extras
from qbdcheck.bootstrap.extras import EXTRAS, install_extras, take_extras
from qbdcheck.bootstrap.system_packages import InstallError
from qbdcheck.files import ROOT
from qbdcheck.targets.description import load

KNOWN = ", ".join((*EXTRAS, "all"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--install", "--with", "qbd-driver", "-t", "qbd"],
        ["--with=qbd-driver", "--install", "-t", "qbd"],
        ["--install", "--with", "qbd-driver,qbd-driver", "-t", "qbd"],
    ],
)
def test_the_names_are_taken_out_of_the_arguments(arguments: list[str]) -> None:
    assert take_extras(arguments) == (["qbd-driver"], ["--install", "-t", "qbd"])


def test_all_are_all() -> None:
    assert take_extras(["--install", "--with", "all"])[0] == list(EXTRAS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--install", "--with", "qdb"],
            f"--with: unknown part 'qdb'; known: {KNOWN}",
        ),
        (["--install", "--with"], f"--with: unknown part ''; known: {KNOWN}"),
        (["--with", "all"], "--with works only together with --install"),
    ],
)
def test_wrong_use_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(InstallError) as caught:
        take_extras(arguments)
    assert str(caught.value) == message


def test_missing_packages_are_installed_and_then_the_part_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[object] = []
    monkeypatch.setattr(extras, "_is_installed", lambda package: package != "make")
    monkeypatch.setattr(extras, "package_manager", lambda: "apt")
    monkeypatch.setattr(extras, "root_prefix", lambda: ["sudo"])
    monkeypatch.setattr(extras, "apt_install", lambda *arguments: steps.append(arguments))
    monkeypatch.setattr(extras, "run_or_raise", lambda command, _: steps.append(command))
    install_extras(["qbd-driver"])
    assert steps == [(["sudo"], ["make"]), EXTRAS["qbd-driver"].build]


@pytest.mark.parametrize(
    ("manager", "prefix", "message"),
    [
        ("dnf", [], "--with qbd-driver needs Debian or Ubuntu (for apt-get install make)"),
        (
            "apt",
            None,
            "--with qbd-driver: ask an administrator to run: apt-get install make",
        ),
    ],
)
def test_without_apt_or_root_the_command_is_named(
    manager: str, prefix: list[str] | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda package: package != "make")
    monkeypatch.setattr(extras, "package_manager", lambda: manager)
    monkeypatch.setattr(extras, "root_prefix", lambda: prefix)
    with pytest.raises(InstallError) as caught:
        install_extras(["qbd-driver"])
    assert str(caught.value) == message


def test_a_part_of_packages_only_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[object] = []
    monkeypatch.setattr(extras, "_is_installed", lambda _package: False)
    monkeypatch.setattr(extras, "package_manager", lambda: "apt")
    monkeypatch.setattr(extras, "root_prefix", list)
    monkeypatch.setattr(extras, "apt_install", lambda *arguments: steps.append(arguments))
    monkeypatch.setattr(extras, "run_or_raise", lambda command, _: steps.append(command))
    install_extras(["iscsi"])
    assert steps == [([], list(EXTRAS["iscsi"].apt))]


@pytest.mark.parametrize("profile", sorted((ROOT / "targets").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_part_that_a_profile_names_exists(profile: Path) -> None:
    assert load(profile).install in (None, *EXTRAS)

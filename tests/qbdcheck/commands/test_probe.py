"""``--probe`` tries each claim of a profile, and finds the false ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qbdcheck.commands.probe import main
from qbdcheck.errors import SetupError, UsageError
from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions

TARGETS = ROOT / "targets"
OPTIONS = TargetOptions(targets_dir=TARGETS)

_NEEDS_MORE = ("are not built; run: make", "is not installed; run: ./check --install --with")
"""Of targets whose programs a checkout does not have before somebody asks for them."""


def _changed(tmp_path: Path, target: str, old: str, new: str) -> Path:
    text = (TARGETS / f"{target}.yaml").read_text()
    assert old in text
    file = tmp_path / "changed.yaml"
    file.write_text(text.replace(old, new, 1))
    return file


_SLOW = {"quorum", "reference-cluster", "rbd", "rbd-cluster", "rbd-cluster-unsafe"}
"""Targets that start many processes: a probe takes one to five minutes."""


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(path.stem, marks=[pytest.mark.nightly] if path.stem in _SLOW else [])
        for path in sorted(TARGETS.glob("*.yaml"))
    ],
)
def test_every_claim_of_a_shipped_profile_holds(
    target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(OPTIONS, target, color=False)
    except SetupError as error:
        if not any(word in str(error) for word in _NEEDS_MORE):
            raise
        pytest.skip(str(error))
    output = capsys.readouterr().out
    assert (code, "WRONG" in output, "None" in output) == (0, False, False), output


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("qemu-nbd", "stop:", "lacks: [flush]\nstop:"), "lacks flush"),
        (("qemu-nbd", " {size}\n", " 2M\n"), "QEMU sees 2097152"),
        (("qemu-nbd", "--shrink {dir}/{name} {size}", "--shrink {dir}/{name} 2M"), "resize"),
        (("qemu-nbd", "read_only: --read-only", "read_only: --verbose"), "options.read_only"),
        (("nbdkit-file", "kill: {signal: KILL}", "kill: rm {dir}/{name}"), "kill"),
        (("nbdkit", "blocksize-minimum={value}", "blocksize-minimum=512"), "options.min_block"),
        (("nbdkit", "volatile: true", ""), "keeps it over stop"),
        (("EXAMPLE", '.{snapshot}"\n', '.{snapshot}x"\n'), "snapshot_read"),
        (("EXAMPLE", "rm {dir}/{name}.{snapshot}", "ls {dir}"), "it was removed"),
        (("EXAMPLE", "cp --sparse=always {dir}/{name}.{", "ln {dir}/{name}.{"), "clone"),
        (("reference", "add: {control: volume-create", "add: {control: volumes"), "add_volume"),
        (("EXAMPLE", "volume_remove: rm", "volume_remove: ls"), "it was removed"),
        (("qemu-nbd", "version: qemu-nbd --version", "version: echo none"), "no version number"),
        (
            ("nbdkit", "memory size={size}", "--filter=cow pattern size={size}"),
            "add fresh: undefined",
        ),
    ],
)
def test_false_claim_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str, str], expected: str
) -> None:
    code = main(OPTIONS, _changed(tmp_path, *change), color=False)
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert code == 1
    assert "WRONG" in output
    assert expected in output


def test_a_further_volume_can_be_removed_without_snapshots_and_clones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (TARGETS / "EXAMPLE.yaml").read_text()
    lines = [line for line in text.splitlines() if not re.match(r" +(snapshot\w*|clone):", line)]
    file = tmp_path / "plain.yaml"
    file.write_text("\n".join(lines))
    assert main(OPTIONS, file, color=False) == 0
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "volume_remove ok" in output
    assert "the profile has no volume.clone" in output
    file.write_text("\n".join(lines).replace("volume_remove: rm", "volume_remove: ls"))
    assert main(OPTIONS, file, color=False) == 1
    assert "the further volume can be read" in " ".join(
        capsys.readouterr().out.replace("│", " ").split()
    )


def test_what_the_nbd_document_allows_is_no_false_claim(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = "--no-flush --write-cache through --layer mutants.controls:CacheRefused {options}"
    code = main(OPTIONS, _changed(tmp_path, "reference", "{options}", odd), color=False)
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (code, "WRONG" in output) == (0, False), output
    assert "refused with EINVAL, as the NBD document allows" in output
    assert "a read on one connection covers a write on another" in output


def test_target_that_does_not_start_is_an_error_of_setup(tmp_path: Path) -> None:
    file = _changed(tmp_path, "qemu-nbd", "--persistent", "--no-such-flag")
    with pytest.raises(SetupError, match="unrecognized option '--no-such-flag'"):
        main(OPTIONS, file)


def test_profile_with_a_mistake_is_not_probed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown key 'blokdev'"):
        main(OPTIONS, _changed(tmp_path, "file", "blockdev:", "blokdev:"))


def test_oldstyle_server_is_probed_like_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "oldstyle.yaml"
    file.write_text(
        "name: oldstyle\nabout: a test\n"
        "start: nbdkit --foreground --oldstyle --unix={socket} memory size={size}\n"
        'ready: {socket: "{socket}"}\nvolatile: true\nnbd: "nbd+unix:///?socket={socket}"\n'
        'blockdev: {driver: nbd, server: {type: unix, path: "{socket}"}}\n'
    )
    code = main(OPTIONS, file)
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert code == 1
    # nbdkit in this mode fails each FLUSH, so that no claim about data holds.
    assert output.count("so the flush failed") == output.count("WRONG") == 1
    assert output.count("needs a volume that keeps data") == 7
    assert "simple replies, no block sizes advertised" in output


def _nbdkit(tmp_path: Path, arguments: str, more: str) -> Path:
    file = tmp_path / "odd.yaml"
    file.write_text(
        "name: odd\nabout: a test\nprograms: [nbdkit]\n"
        f"start: nbdkit --foreground --unix={{socket}} {arguments}\n"
        'ready: {socket: "{socket}"}\nnbd: "nbd+unix:///{name}?socket={socket}"\n'
        'blockdev: {driver: nbd, server: {type: unix, path: "{socket}"}, export: "{name}"}\n'
        f"{more}"
    )
    return file


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("null {size}", "the target does not store data"),
        ("full {size}", "no volume can be filled with data: write failed: No space left on device"),
        (
            "--filter=protect memory {size} protect=4096-8191",
            "no volume can be filled with data: write failed: Operation not permitted",
        ),
        ("tmpdisk size={size} command='truncate -s {size} $disk'", "write volatile: connection"),
    ],
)
def test_target_that_keeps_nothing_is_one_claim_that_does_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, expected: str
) -> None:
    code = main(OPTIONS, _nbdkit(tmp_path, arguments, "volatile: true\n"), color=False)
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (code, output.count("WRONG")) == (1, 1), output
    assert expected in output
    assert "were not tried, because they need data" in output


def test_server_that_forgets_its_volumes_is_told_to_be_volatile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(OPTIONS, _nbdkit(tmp_path, "memory {size}", ""), color=False)
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (code, output.count("WRONG")) == (1, 1), output
    assert "if volumes live only as long as their server, write volatile: true" in output


def test_a_target_that_writes_each_byte_of_a_volume_is_not_asked_for_a_huge_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, asked = tmp_path / "whole.yaml", tmp_path / "asked"
    file.write_text(
        "name: whole\nabout: a test\n"
        f"volume: {{create: \"sh -c 'test {{size}} -le 33554432 || echo {{size}} >> {asked}; "
        "head -c {size} /dev/zero | head -c 33554432 > {dir}/{name}; "
        "truncate -s {size} {dir}/{name}'\"}\n"
        "start: qemu-nbd -t --shared=0 -f raw -k {socket} -x {name} {dir}/{name}\n"
        'ready: {socket: "{socket}"}\nnbd: "nbd+unix:///{name}?socket={socket}"\n'
        'blockdev: {driver: nbd, server: {type: unix, path: "{socket}"}, export: "{name}"}\n'
    )
    main(OPTIONS, file, color=False)
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "each byte of a new volume is written" in output
    assert not asked.exists(), asked.read_text()


def test_read_only_option_of_a_target_with_undefined_fresh_volumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "noise.yaml"
    file.write_text(
        "name: noise\nabout: a test\nfresh: undefined\noptions: {read_only: --read-only}\n"
        "volume: {create: \"sh -c 'test {size} -le 33554432 && "
        "head -c {size} /dev/urandom > {dir}/{name}'\"}\n"
        "start: qemu-nbd -t --shared=0 -f raw -k {socket} -x {name} {options} {dir}/{name}\n"
        'ready: {socket: "{socket}"}\nnbd: "nbd+unix:///{name}?socket={socket}"\n'
        'blockdev: {driver: nbd, server: {type: unix, path: "{socket}"}, export: "{name}"}\n'
    )
    code = main(OPTIONS, file, color=False)
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (code, "WRONG" in output) == (0, False), output
    assert "undefined data" in output
    assert "writes are refused" in output


def test_server_that_leaves_with_its_last_client_is_named(tmp_path: Path) -> None:
    # Not nbdkit's filter exitlast: nbdkit 1.32 sometimes dies by SIGSEGV when it ends like this.
    file = _changed(tmp_path, "qemu-nbd", " --persistent", "")
    with pytest.raises(SetupError, match=r"exited with 0 .*; it must run until it is stopped, "):
        main(OPTIONS, str(file))

"""``--probe`` believes nothing: each false claim of a profile is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.commands.probe import main
from qbdcheck.errors import SetupError, UsageError
from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions

TARGETS = ROOT / "targets"
OPTIONS = TargetOptions(targets_dir=TARGETS)


def _changed(tmp_path: Path, target: str, old: str, new: str) -> Path:
    text = (TARGETS / f"{target}.yaml").read_text()
    assert old in text
    file = tmp_path / "changed.yaml"
    file.write_text(text.replace(old, new, 1))
    return file


@pytest.mark.parametrize(
    "target",
    [path.stem for path in sorted(TARGETS.glob("*.yaml"))],
)
def test_every_claim_of_a_shipped_profile_holds(
    target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(OPTIONS, target, color=False)
    output = capsys.readouterr().out
    assert (code, "WRONG" in output) == (0, False), output


@pytest.mark.parametrize(
    ("change", "words"),
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
        (
            ("file", "path:", "deviations: [{case: '1', finding: nowhere}]\npath:"),
            "no heading #nowhere",
        ),
    ],
)
def test_false_claim_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str, str], words: str
) -> None:
    code = main(OPTIONS, _changed(tmp_path, *change), color=False)
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert code == 1
    assert "WRONG" in output
    assert words in output


def test_target_that_does_not_start_is_an_error_of_setup(tmp_path: Path) -> None:
    file = _changed(tmp_path, "qemu-nbd", "--persistent", "--no-such-flag")
    with pytest.raises(SetupError, match="unrecognized option '--no-such-flag'"):
        main(OPTIONS, file)


def test_profile_with_a_mistake_is_not_probed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown key 'blokdev'"):
        main(OPTIONS, _changed(tmp_path, "file", "blockdev:", "blokdev:"))

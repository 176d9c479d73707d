"""A profile waives policies: their failures are notes, and a MUST stays red."""

from __future__ import annotations

import pytest

from qbdcheck.files import ROOT
from tests.meta.toys import Toy

MUST, DISCARD = "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"
FOREIGN = """
    disk = new_disk("1M")
    with qemu_io(disk) as io:
        io.discard(65536, 65536)
    with open(disk.volume_path, "r+b") as file:
        file.seek({at})
        file.write(b"\\xff" * 4096)
    disk.verify()
"""


@pytest.fixture
def waiving(toy: Toy) -> Toy:
    """A toy with a profile ``waives.yaml``: the target file, without a policy."""
    plain = (ROOT / "targets" / "file.yaml").read_text()
    (toy.directory / "waives.yaml").write_text(f"{plain}\nwaives: [discard-old-or-zero]\n")
    toy.case("001_policy", "assert 1 == 2, 'sector 8 reads 0xff'", basis=DISCARD)
    toy.case("002_must", "assert 1 == 2, 'sector 8 reads 0xff'", basis=MUST)
    toy.case("003_both", "assert 1 == 2, 'sector 8 reads 0xff'", basis=(MUST, DISCARD))
    toy.case("004_part", "with policy('discard-old-or-zero'):\n    assert 1 == 2, 'sector 9'",
             "policy", basis=(MUST, DISCARD))  # fmt: skip
    toy.case("005_discarded", FOREIGN.format(at=65536), "new_disk, qemu_io", basis=(MUST, DISCARD))
    toy.case("006_written", FOREIGN.format(at=0), "new_disk, qemu_io", basis=(MUST, DISCARD))
    return toy


def test_without_a_waiver_all_fail_the_musts_first_each_with_its_basis(waiving: Toy) -> None:
    done = waiving.run()
    assert [one["verdict"] for one in done.ends] == ["fail"] * 6
    assert {name[:3]: case["basis"] for name, case in done.cases.items()} == {
        "001": [DISCARD],
        "002": [MUST],
        "003": [MUST, DISCARD],
        "004": [DISCARD],
        "005": [DISCARD],
        "006": [MUST, DISCARD],
    }
    assert "Failures: 002 003 006 001 004 005" in done.out
    assert f"  001: sector 8 reads 0xff  [{DISCARD}]" in done.out
    assert f"basis: {MUST}; {DISCARD}" in done.out


def test_a_waiver_makes_notes_of_its_policy_and_never_of_a_must(waiving: Toy) -> None:
    profile = str(waiving.directory / "waives.yaml")
    done = waiving.run("-t", profile)
    assert {name[:3]: case["verdict"] for name, case in done.cases.items()} == {
        "001": "pass",
        "002": "fail",
        "003": "fail",
        "004": "pass",
        "005": "pass",
        "006": "fail",
    }
    assert done.cases["001_policy"]["waived"] == ["discard-old-or-zero: sector 8 reads 0xff"]
    assert "[waived: discard-old-or-zero: sector 9" in done.out
    assert "  004: waived: discard-old-or-zero: sector 9" in done.out
    assert waiving.run("-t", profile, "1", "4", "5").code == 0


@pytest.mark.parametrize("name", ["no-such-policy", "MUST: NBD, NBD_CMD_READ"])
def test_a_must_or_an_unknown_policy_in_waives_is_an_error(waiving: Toy, name: str) -> None:
    path = waiving.directory / "waives.yaml"
    path.write_text(path.read_text().replace("discard-old-or-zero", f'"{name}"'))
    done = waiving.run("-t", str(path), "1")
    assert done.code == 2
    assert f"unknown policy '{name}'" in done.err

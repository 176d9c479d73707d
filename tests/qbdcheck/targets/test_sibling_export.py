"""Snapshots, clones and further volumes of one server, on real targets."""

from __future__ import annotations

import pytest

from qbdcheck.errors import CaseBroken, NotRun, ProgramError
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.disk_io import WrongData
from tests.qbdcheck.targets.conftest import Opener

KIB, MIB = 1 << 10, 1 << 20
TARGETS = ("reference", "reference-file", "EXAMPLE")


@pytest.mark.parametrize("target", TARGETS)
def test_snapshots_and_clones_have_their_own_contents(open_target: Opener, target: str) -> None:
    session = open_target(target)
    disk = session.new_disk("1M")
    snapshot = disk.snapshot("a")
    clone = snapshot.clone("copy")
    other = session.new_disk("2M", beside=disk)
    for one in (disk, clone, other):
        with session.qemu_io(one) as io:
            io.write(64 * KIB, 4 * KIB)
    clone.resize(3 * MIB)
    later = clone.snapshot("b")
    for one in (disk, snapshot, clone, later, other):
        one.verify()
    assert {one.name for one in (disk, clone, other)} == {"disk", "copy", other.name}
    snapshot.remove()
    with pytest.raises(ProgramError):
        snapshot.read_all()
    for one in (disk, clone, later, other):
        one.verify()


@pytest.mark.parametrize("target", TARGETS)
def test_a_removed_volume_leaves_all_others_as_they_are(open_target: Opener, target: str) -> None:
    session = open_target(target)
    disk = session.new_disk("1M")
    snapshot = disk.snapshot("a")
    clone = snapshot.clone("copy")
    other = session.new_disk("2M", beside=disk)
    clone.remove()
    other.remove()
    for one in (disk, snapshot, snapshot.clone("copy")):
        one.verify()
    with pytest.raises(ProgramError):
        other.read_all()
    with pytest.raises(CaseBroken, match="first volume"):
        disk.remove()


@pytest.mark.parametrize("target", TARGETS)
def test_actions_of_the_profile_are_capabilities(open_target: Opener, target: str) -> None:
    session = open_target(target)
    found = capabilities(session.description, session.options, session.scratch)
    assert {"snapshot", "snapshot_read", "snapshot_remove", "clone", "add_volume"} <= found
    assert "volume_remove" in found


def test_the_life_of_each_disk_has_the_changes_of_its_snapshots(open_target: Opener) -> None:
    disk = open_target("reference").new_disk(MIB)
    first = disk.snapshot("one")
    clone = first.clone("child")
    disk.snapshot("two").remove()
    told = [
        "snapshot one of disk was taken",
        "clone child was made of snapshot one",
        "snapshot two of disk was taken",
        "snapshot two of disk was removed",
    ]
    for each in (disk, first, clone):
        life = each.shadow.history.life((0, 512))
        assert [one.text for one in life if one.kind == "snapshot"] == told


def test_a_wrong_snapshot_is_found(open_target: Opener) -> None:
    session = open_target("EXAMPLE")
    disk = session.new_disk("1M")
    snapshot = disk.snapshot("a")
    with session.qemu_io(disk) as io:
        io.write(64 * KIB, 4 * KIB)
    snapshot.volume_path.write_bytes(disk.volume_path.read_bytes())
    with pytest.raises(WrongData, match=r"newer \(generation 1"):
        snapshot.verify()


def test_a_snapshot_is_as_durable_as_its_volume_was(open_target: Opener) -> None:
    disk = open_target("reference").new_disk("1M")
    data = disk.shadow.stamped(0, 4096)
    disk.shadow.write(0, data)
    snapshot = disk.snapshot("a")
    disk.shadow.flush()
    assert snapshot.shadow.ambiguous() == []
    disk.backend.crash()
    assert snapshot.shadow.ambiguous() == list(range(8))
    assert disk.shadow.ambiguous() == []


def test_all_exports_share_their_server(open_target: Opener) -> None:
    session = open_target("reference-file")
    disk = session.new_disk("1M")
    clone = disk.snapshot("a").clone("copy")
    assert clone.backend.pid == disk.backend.pid
    clone.backend.kill()
    assert clone.backend.state is disk.backend.state
    with pytest.raises(CaseBroken, match="must be running"):
        disk.backend.kill()
    clone.backend.start()
    clone.verify()
    disk.verify()
    with pytest.raises(CaseBroken, match="cannot be made again"):
        clone.backend.create(1)


def test_missing_actions_are_not_run(open_target: Opener) -> None:
    session = open_target("qemu-nbd")
    disk = session.new_disk("1M", prefill=False)
    with pytest.raises(NotRun, match="target qemu-nbd does not serve its snapshots"):
        disk.snapshot("a")
    with pytest.raises(NotRun, match="target qemu-nbd serves one volume per server"):
        session.new_disk("1M", beside=disk)


def test_volumes_outside_of_the_directory_are_removed(open_target: Opener) -> None:
    session = open_target("file")
    elsewhere = session.scratch / "elsewhere"
    elsewhere.mkdir()
    volume = f"""name: mine
about: a test
blockdev: {{driver: file, filename: "{elsewhere}/{{name}}"}}
volume:
  create: truncate -s {{size}} {elsewhere}/{{name}}
  remove: rm {elsewhere}/{{name}}
  snapshot: cp {elsewhere}/{{name}} {elsewhere}/{{name}}@{{snapshot}}
  snapshot_name: "{{name}}@{{snapshot}}"
  snapshot_remove: rm {elsewhere}/{{name}}@{{snapshot}}
  clone: cp {elsewhere}/{{name}}@{{snapshot}} {elsewhere}/{{new}}
  add: truncate -s {{size}} {elsewhere}/{{new}}
"""
    mine = open_target(volume)
    disk = mine.new_disk("64K")
    disk.snapshot("a").clone("copy").verify()
    mine.new_disk("64K", beside=disk).verify()
    assert len(list(elsewhere.iterdir())) == 4
    mine.close()
    assert list(elsewhere.iterdir()) == []


BY_OPTIONS = """\
name: copies
about: a file whose snapshots are copies, which an option of the node names
volume:
  create: truncate -s {size} {dir}/{name}
  snapshot: cp {dir}/{name} {dir}/{name}.{snapshot}
  snapshot_blockdev: {filename: "{dir}/{name}.{snapshot}"}
  snapshot_remove: rm {dir}/{name}.{snapshot}
blockdev: {driver: file, filename: "{dir}/{name}"}
filename: "{dir}/{name}"
"""


def test_a_snapshot_can_be_reached_by_options_of_the_node(open_target: Opener) -> None:
    session = open_target(BY_OPTIONS)
    disk = session.new_disk(1 << 20)
    older = disk.snapshot("older")
    with session.qemu_io(disk) as io:
        io.write(1000, 70_000)
        io.flush()
    newer = disk.snapshot("newer")
    assert older.protocol_blockdev()["filename"].endswith("/disk.older")
    assert disk.protocol_blockdev()["filename"].endswith("/disk")
    older.verify()
    newer.verify()
    older.remove()
    newer.verify()
    with pytest.raises(ProgramError):
        older.read_all()

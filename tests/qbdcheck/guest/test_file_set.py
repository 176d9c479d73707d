"""Files of a guest that are checked later: what the message says of one that is wrong."""

import pytest

from qbdcheck.guest.file_set import FileSet
from qbdcheck.guest.guest import Guest, GuestFailed


def test_a_damaged_file_is_named_with_its_wrong_bytes(restored: Guest) -> None:
    restored.run("mkdir -p /files")
    files = FileSet(restored, "/files")
    files.add("late", 9000)
    files.remove("file7")
    files.must_be_intact()

    restored.run("dd if=/dev/zero of=/files/file2 bs=4096 seek=2 count=1 conv=notrunc 2>&1")
    with pytest.raises(GuestFailed) as found:
        files.must_be_intact()
    text = str(found.value).partition("\n")[0]
    assert "/files/file2, 140002 bytes: " in text
    _, _, numbers = text.partition("140002 bytes: ")
    numbers, _, since = numbers.partition("; all were right before these commands: ")
    assert since == "dd if=/dev/zero of=/files/file2 bs=4096 seek=2 count=1 ..."
    wrong, _, _, first, _, last, *_, zero, _, _, _, _ = numbers.split()
    assert 8192 <= int(first) < 8300
    assert 12188 < int(last) <= 12287
    assert wrong == zero

    restored.run("rm /files/deep/moved && truncate -s 8999 /files/late")
    with pytest.raises(GuestFailed) as found:
        files.must_be_intact()
    text = str(found.value).partition("\n")[0]
    assert "/files/deep/moved is missing; wrong too: /files/file2" in text
    assert "; /files/late has 8999 bytes, expected 9000; all were right before" in text
    assert "cd /tmp/kept || exit 2" not in text.partition("before these commands")[2][:40]

"""Files of packages are found before and after the merge of /usr."""

from pathlib import Path

import pytest

from qbdcheck.errors import CaseBroken
from qbdcheck.guest.libraries import Contents, closure

ELF = Path("/bin/true")
"""A small program that needs libc.so.6 and ld-linux."""


def put(tree: Path, path: str, data: bytes = b"") -> Path:
    file = tree / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


@pytest.mark.parametrize(
    ("has", "asked"),
    [
        ("bin/tool", "bin/tool"),
        ("usr/bin/tool", "bin/tool"),
        ("usr/bin/tool", "sbin/tool"),
        ("bin/tool", "usr/sbin/tool"),
        ("usr/lib64/ld.so", "lib64/ld.so"),
        ("lib64/ld.so", "usr/lib64/ld.so"),
    ],
)
def test_a_file_is_found_wherever_its_package_has_it(tmp_path: Path, has: str, asked: str) -> None:
    put(tmp_path, has)
    put(tmp_path, "usr/share/doc/tool")
    put(tmp_path, "usr/share/doc/ld.so")
    assert Contents(tmp_path).find(asked) == tmp_path / has


def test_a_file_of_that_name_in_another_kind_of_directory_is_another(tmp_path: Path) -> None:
    put(tmp_path, "usr/share/bash-completion/tool")
    put(tmp_path, "usr/lib/tool")
    assert Contents(tmp_path).find("bin/tool") is None


def test_the_path_itself_comes_first(tmp_path: Path) -> None:
    put(tmp_path, "bin/tool")
    put(tmp_path, "usr/bin/tool")
    assert Contents(tmp_path).find("usr/bin/tool") == tmp_path / "usr/bin/tool"


def test_libraries_of_the_default_directories_come_first(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/aaa/libx.so.1")
    contents = Contents(tmp_path)
    assert contents.find_library("libx.so.1") == tmp_path / "usr/lib/aaa/libx.so.1"
    put(tmp_path, "usr/lib/x86_64-linux-gnu/libx.so.1")
    found = Contents(tmp_path).find_library("libx.so.1")
    assert found == tmp_path / "usr/lib/x86_64-linux-gnu/libx.so.1"
    assert Contents(tmp_path).find_library("liby.so.1") is None


def test_links_are_followed_within_the_tree(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/x86_64-linux-gnu/libx.so.1.2")
    link = tmp_path / "usr/lib/x86_64-linux-gnu/libx.so.1"
    link.symlink_to("/lib/x86_64-linux-gnu/libx.so.1.2")  # by its path from before the merge
    assert Contents(tmp_path).real(link).name == "libx.so.1.2"
    loop = tmp_path / "usr/lib/loop"
    loop.symlink_to("loop")
    with pytest.raises(CaseBroken, match="is a loop of symbolic links"):
        Contents(tmp_path).real(loop)


@pytest.mark.parametrize("home", ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"])
def test_a_program_comes_with_its_libraries_on_every_release(tmp_path: Path, home: str) -> None:
    put(tmp_path, "usr/bin/true", ELF.read_bytes())
    put(tmp_path, f"{home}/libc.so.6")
    found = dict(closure(Contents(tmp_path), ["bin/true"]))
    assert found == {
        "bin/true": tmp_path / "usr/bin/true",
        f"{home}/libc.so.6": tmp_path / home / "libc.so.6",
    }
    (tmp_path / home / "libc.so.6").unlink()
    with pytest.raises(CaseBroken, match=r"no package has libc\.so\.6, which bin/true needs"):
        dict(closure(Contents(tmp_path), ["bin/true"]))

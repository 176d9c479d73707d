"""Golden files: the choice of the variant, and the exact comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.programs.qemu_version import Version
from qbdcheck.runner.golden import (
    Output,
    check_golden_files,
    compare,
    conflict_line,
    find_golden,
    update,
    variants,
)


def no_version() -> Version:
    raise AssertionError("the version is needed only if there are variants by version")


def test_variants_combine_and_the_most_specific_comes_first() -> None:
    assert variants("017_x", "qcow2", "none") == [
        "017_x.qcow2.nocache.out", "017_x.qcow2.out", "017_x.nocache.out", "017_x.out",
    ]  # fmt: skip
    assert variants("017_x", "raw", "writeback") == ["017_x.raw.out", "017_x.out"]


def test_the_first_existing_variant_is_used(tmp_path: Path) -> None:
    for name in variants("017_x", "qcow2", "none")[::-1]:
        (tmp_path / name).write_text(name)
        found = find_golden(tmp_path, "017_x", "qcow2", "directsync", no_version)
        assert found is not None
        assert found.name == name
    assert find_golden(tmp_path, "018_y", "raw", "writeback", no_version) is None


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ((7, 2), "017_x.out"),
        ((7, 10), "017_x.out"),
        ((8, 0), "017_x.qemu-8.0.out"),
        ((9, 1), "017_x.qemu-8.0.out"),
        ((9, 9), "017_x.qemu-8.0.out"),
        ((9, 10), "017_x.qemu-9.10.out"),
        ((10, 0), "017_x.qemu-9.10.out"),
    ],
)
def test_a_variant_by_version_counts_from_its_version_on(
    tmp_path: Path, version: Version, name: str
) -> None:
    files = "017_x.out", "017_x.qemu-8.0.out", "017_x.qemu-9.10.out", "017_xy.qemu-7.0.out"
    for file in files:
        (tmp_path / file).touch()
    found = find_golden(tmp_path, "017_x", "raw", "writeback", lambda: version)
    assert found == tmp_path / name


def test_a_variant_by_format_counts_before_one_by_version(tmp_path: Path) -> None:
    for file in ("017_x.out", "017_x.qemu-8.0.out", "017_x.qcow2.out"):
        (tmp_path / file).touch()

    def find(image_format: str) -> Path | None:
        return find_golden(tmp_path, "017_x", image_format, "writeback", lambda: (8, 0))

    assert find("qcow2") == tmp_path / "017_x.qcow2.out"
    assert find("raw") == tmp_path / "017_x.qemu-8.0.out"
    (tmp_path / "017_x.qcow2.qemu-7.2.out").touch()
    assert find("qcow2") == tmp_path / "017_x.qcow2.qemu-7.2.out"


def test_a_case_may_have_a_golden_only_from_a_version_on(tmp_path: Path) -> None:
    (tmp_path / "017_x.qemu-8.0.out").touch()
    assert find_golden(tmp_path, "017_x", "raw", "writeback", lambda: (7, 2)) is None


def test_a_conflict_in_a_variant_by_version_is_found_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "017_x.out").write_text("a\n")
    (tmp_path / "017_x.qcow2.qemu-8.0.out").write_text("<<<<<<< ours\n")
    with pytest.raises(UsageError, match=r"017_x\.qcow2\.qemu-8\.0\.out:1: .*merge conflict"):
        check_golden_files(tmp_path, "017_x")


def test_a_difference_near_the_start_shows_the_heads_of_the_columns(tmp_path: Path) -> None:
    golden, bad = tmp_path / "1.out", tmp_path / "1.out.bad"
    lines = ["errno  read  write\n", *(f"{n}  {n}  {n}\n" for n in range(1, 40))]
    golden.write_text("".join(lines))
    near = "".join(["errno  read  write\n", *lines[1:6], "6  6  5\n", *lines[7:]])
    assert "@@ -1,13 +1,13 @@\n errno  read  write\n" in compare(near, golden, golden, bad).diff
    far = "".join([*lines[:30], "other\n", *lines[31:]])
    assert "@@ -28,7 +28,7 @@\n" in compare(far, golden, golden, bad).diff


@pytest.mark.parametrize(
    ("golden", "seen"),
    [
        ("a\n", "a"),
        ("a\n", "a \n"),
        ("a\n", "a\r\n"),
        ("a b\n", "a  b\n"),
        ("a\n", "a\n\n"),
        ("", "a\n"),
    ],
)
def test_no_difference_is_too_small(tmp_path: Path, golden: str, seen: str) -> None:
    file = tmp_path / "1.out"
    file.write_bytes(golden.encode())
    result = compare(seen, file, file, tmp_path / "results" / "1.out.bad")
    assert result.message == "output differs from golden file 1.out"
    assert (tmp_path / "results" / "1.out.bad").read_bytes() == seen.encode()
    assert result.diff.startswith("--- ")


def test_equal_output_leaves_no_bad_file(tmp_path: Path) -> None:
    (tmp_path / "1.out").write_text("a\n")
    assert compare("a\n", tmp_path / "1.out", tmp_path / "1.out", tmp_path / "bad").message == ""
    assert not (tmp_path / "bad").exists()


def test_a_missing_golden_file_is_a_failure_that_keeps_the_output(tmp_path: Path) -> None:
    result = compare("a\n", None, tmp_path / "1.out", tmp_path / "1.out.bad")
    assert "no golden file 1.out" in result.message
    assert "+a" in result.diff
    assert (tmp_path / "1.out.bad").read_text() == "a\n"


def test_a_merge_conflict_is_named_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "1.out"
    file.write_text("a\n<<<<<<< ours\nb\n=======\nc\n>>>>>>> theirs\n")
    result = compare("a\n", file, file, tmp_path / "bad")
    assert result.message == f"{file}:2: golden file has a merge conflict; resolve it"


def test_a_ruler_of_equal_signs_is_no_merge_conflict() -> None:
    assert conflict_line("Title\n=======\ntext\n") is None
    assert conflict_line("a\n=======\n>>>>>>> theirs\n") == 2


def test_a_golden_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.out").write_bytes(b"\xff\xfe")
    result = compare("a\n", tmp_path / "1.out", tmp_path / "1.out", tmp_path / "bad")
    assert "cannot read golden file" in result.message


def test_update_writes_the_variant_in_use_and_reports_it(tmp_path: Path) -> None:
    variant = tmp_path / "1.qcow2.out"
    variant.write_text("old\n")
    result = update("new\n", variant, tmp_path / "1.out")
    assert (result.updated, variant.read_text()) == (True, "new\n")
    assert result.message.startswith("changed golden file 1.qcow2.out")
    assert "-old\n+new" in result.diff
    assert not update("new\n", variant, tmp_path / "1.out").updated


def test_update_writes_a_first_golden_file(tmp_path: Path) -> None:
    result = update("new\n", None, tmp_path / "golden" / "1.out")
    assert result.message.startswith("wrote new golden file 1.out")
    assert (tmp_path / "golden" / "1.out").read_text() == "new\n"


def test_output_prints_lines_through_the_filters_and_logs_them_unfiltered(tmp_path: Path) -> None:
    output = Output(log=tmp_path / "log")
    output("node #block12", 5)
    output("text\n")
    output.json({"b": 1, "a": "#block3"})
    assert output.used
    assert output.text == 'node NODE_NAME 5\ntext\n{\n  "a": "NODE_NAME",\n  "b": 1\n}\n'
    assert "#block12" in (tmp_path / "log").read_text()


def test_output_replaces_names_on_request() -> None:
    output = Output()
    output.replace("/srv/images", "IMAGES")
    output("/srv/images/a")
    assert output.text == "IMAGES/a\n"

"""The filters: what they replace, and what they must not hide."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.runner.filters import (
    Filters,
    filter_case_words,
    filter_dates,
    filter_disk_usage,
    filter_json_errors,
    filter_node_names,
    filter_path,
    filter_pids,
    filter_throughput,
    filter_uuids,
    filter_versions,
)


@pytest.mark.parametrize(
    "line",
    [
        "4 KiB, 1 ops; 00.00 sec (9.6 MiB/sec and 2461.6301 ops/sec)",
        "512 bytes, 1 ops; 0.0001 sec (3.123 MiB/sec and 6501 ops/sec)",
        "0 bytes, 1 ops; 00.01 sec (0 bytes/sec and 100.0000 ops/sec)",
        "1 MiB, 12 ops; 00:00:01.50 (1.2 GiB/sec and 8 ops/sec)",
        "4 KiB, 1 ops; 00.00 sec (inf EiB/sec and inf ops/sec)",
    ],
)
def test_time_and_throughput_become_fixed_but_the_size_stays(line: str) -> None:
    size = line.partition(",")[0]
    assert filter_throughput(f"wrote 4096/4096 bytes at offset 0\n{line}") == (
        "wrote 4096/4096 bytes at offset 0\n"
        f"{size}, X ops; XX:XX:XX.X (XXX YYY/sec and XXX ops/sec)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "read 512/4096 bytes at offset 7",
        "Pattern verification failed at offset 0, 512 bytes",
        "4 KiB, 1 ops",
        "discard failed: Operation not supported",
    ],
)
def test_the_throughput_filter_hides_nothing_else(text: str) -> None:
    assert filter_throughput(text) == text


def test_generated_node_names_become_fixed_and_chosen_ones_stay() -> None:
    assert filter_node_names("node #block123 on #block045") == "node NODE_NAME on NODE_NAME"
    assert filter_node_names("node block123 #blocks disk0") == "node block123 #blocks disk0"


def test_the_word_of_a_case_goes_and_other_names_stay() -> None:
    assert filter_case_words("export=qc01234abc-disk") == "export=disk"
    for kept in ("export=qc0123-disk", "xqc01234abc-disk", "qc01234abc", "c01234abc-disk"):
        assert filter_case_words(kept) == kept


def test_uuids_become_fixed_and_other_hexadecimal_stays() -> None:
    assert filter_uuids("id 01234567-89ab-cdef-0123-456789abcdef.") == "id UUID."
    for kept in ("0123456789abcdef", "01234567-89ab-cdef-0123", "0x89ab-cdef"):
        assert filter_uuids(kept) == kept


def test_disk_usage_becomes_fixed_and_virtual_sizes_stay() -> None:
    text = "virtual size: 8 MiB (8388608 bytes)\ndisk size: 196 KiB\ncluster_size: 65536\n"
    assert filter_disk_usage(text) == (
        "virtual size: 8 MiB (8388608 bytes)\ndisk size: SIZE\ncluster_size: 65536\n"
    )
    assert filter_disk_usage("disk size: unavailable") == "disk size: unavailable"
    json = '"virtual-size": 8388608, "actual-size": 200704'
    assert filter_disk_usage(json) == '"virtual-size": 8388608, "actual-size": SIZE'


def test_dates_and_qmp_timestamps_become_fixed_and_numbers_stay() -> None:
    assert filter_dates("1 snap 0 B 2026-11-23 02:11:48 00:00") == "1 snap 0 B DATE 00:00"
    assert filter_dates("at 2026-11-23T02:11:48.123Z") == "at DATE"
    event = '{"timestamp": {"seconds": 1732300000, "microseconds": 5}, "event": "STOP"}'
    assert filter_dates(event) == '{"timestamp": "TIMESTAMP", "event": "STOP"}'
    for kept in ("offset 2026-1123", "1:30:00 h", '"seconds": 5', "2026-11-23"):
        assert filter_dates(kept) == kept


def test_pids_become_fixed_and_other_numbers_stay() -> None:
    assert filter_pids("pid 4711, PID=12, process 9") == "pid PID, PID=PID, process PID"
    for kept in ("rapid 12", "processes: 3", "pid file", "stupid=4"):
        assert filter_pids(kept) == kept


def test_versions_of_programs_become_fixed_and_format_versions_stay() -> None:
    text = "qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7)\nQEMU emulator version 9.0.1"
    assert filter_versions(text) == "qemu-img version VERSION\nQEMU emulator version VERSION"
    for kept in ("format version 3", "compat: 1.1", "qcow2 version 2", "10.0.0.1"):
        assert filter_versions(kept) == kept


def test_paths_are_replaced_and_names_below_them_stay() -> None:
    text = "open '/tmp/qc-1/a/disk.raw' nbd+unix:///d?socket=%2Ftmp%2Fqc-1%2Fs"
    assert filter_path(text, "/tmp/qc-1", "TEST_DIR") == (
        "open 'TEST_DIR/a/disk.raw' nbd+unix:///d?socket=TEST_DIR%2Fs"
    )


@pytest.mark.parametrize("kept", ["/tmp/qc-12/x", "/tmp/qc-1x", "/tmp/qc-1.bak", "/tmp/qc"])
def test_paths_with_the_same_prefix_stay(kept: str) -> None:
    assert filter_path(kept, "/tmp/qc-1", "TEST_DIR") == kept


def test_an_empty_path_replaces_nothing() -> None:
    assert filter_path("abc", "", "X") == "abc"


def test_the_longest_replacement_wins_whatever_the_order() -> None:
    filters = Filters(Path("/tmp/qc-1/2"), (("/tmp/qc-1/2/disk", "DISK"), ("/tmp", "TMP")))
    assert filters.apply("/tmp/qc-1/2/disk /tmp/qc-1/2/s") == "DISK TEST_DIR/s"


def test_all_filters_together_leave_errors_and_data_alone() -> None:
    text = "write failed: No space left\nPattern verification failed at offset 512, 512 bytes\n"
    assert Filters(Path("/tmp/qc-1/2")).apply(text) == text


def test_json_errors_have_the_words_of_qemu_10() -> None:
    new = "Could not parse the JSON options: 1:2: JSON parse error, premature end of input"
    old = "Could not parse the JSON options: JSON parse error, premature EOI"
    assert filter_json_errors(new) == old
    assert filter_json_errors(old) == old
    assert filter_json_errors("x: 1:107: JSON parse error, duplicate key") == (
        "x: JSON parse error, duplicate key"
    )
    kept = "x: JSON parse error, invalid keyword; y: 1:2: no error of the parser"
    assert filter_json_errors(kept) == kept

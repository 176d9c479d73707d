"""What iscsi-test-cu prints about failed tests."""

from __future__ import annotations

from qbdcheck.kit.libiscsi import failures_of

OUTPUT = """\
    [FAILED] UNMAP command failed with status 2

Suite Unmap, Test ZeroBlocks had failures:
    1. test_unmap_0blocks.c:80  - CU_ASSERT_EQUAL(_r,0)
Suite GetLBAStatus, Test UnmapSingle had failures:
    1. test_get_lba_status_unmap_single.c:135  - CU_FAIL("[FAILED] GETLBASTATUS")
    2. test_get_lba_status_unmap_single.c:140  - CU_FAIL("other")

Run Summary:    Type  Total    Ran Passed Failed Inactive
"""


def test_each_failed_test_is_named_with_its_first_failed_check() -> None:
    status = 'test_get_lba_status_unmap_single.c:135  - CU_FAIL("[FAILED] GETLBASTATUS")'
    assert failures_of(OUTPUT) == [
        "Unmap.ZeroBlocks (test_unmap_0blocks.c:80  - CU_ASSERT_EQUAL(_r,0))",
        f"GetLBAStatus.UnmapSingle ({status})",
    ]
    assert failures_of("Run Summary:") == []

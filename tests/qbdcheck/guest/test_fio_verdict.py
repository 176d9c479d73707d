"""Verdicts on runs of fio: green only where the volume moved and fio verified what it claims."""

from pathlib import Path

import pytest

from qbdcheck.guest.fio_job_file import JobFile, read_job_file
from qbdcheck.guest.fio_result import Direction, FioResult, Job, VerifyFailure
from qbdcheck.guest.fio_verdict import BROKEN, FAIL, PASS, Moved, Verdict, judge

MIB = 1 << 20
VOLUME = 16 * MIB


@pytest.fixture
def jobs(tmp_path: Path) -> JobFile:
    return job_file(tmp_path, "direct=1\nrw=randwrite\nverify=md5\n")


def job_file(directory: Path, options: str) -> JobFile:
    file = directory / "x.fio"
    file.write_text(f"[a]\nfilename=/dev/vdb\nsize=4m\n{options}")
    return read_job_file(file, {})


def done(
    read: int = 0, write: int = 0, *, trim: int = 0, mixed: int = 0, error: int = 0
) -> FioResult:
    parts = {"read": read, "write": write, "trim": trim, "mixed": mixed}
    directions = {name: Direction(bytes_done=size) for name, size in parts.items()}
    return FioResult(jobs=[Job.model_validate({"name": "a", "error": error, **directions})])


def verdict(
    jobs: JobFile, result: FioResult, *moved: tuple[int, int], status: int = 0, failed: int = 0
) -> Verdict:
    volumes = [Moved(read, written, 0, failed) for read, written in moved]
    return judge(jobs, result, status, volumes, VOLUME)


def test_a_run_that_moved_the_volume_and_verified_passes(jobs: JobFile) -> None:
    assert verdict(jobs, done(4 * MIB, 4 * MIB), (4 * MIB + 8192, 4 * MIB)).word == PASS
    two = [(MIB, 3 * MIB), (3 * MIB, MIB)]
    assert verdict(jobs, done(4 * MIB, 4 * MIB), *two).word == PASS


@pytest.mark.parametrize(
    ("result", "moved", "message"),
    [
        (done(), (0, 0), "fio did no I/O"),
        (done(4 * MIB, 4 * MIB), (4 * MIB, 0), "4194304 bytes of write, but the volume counted 0"),
        (done(4 * MIB, 4 * MIB), (0, 4 * MIB), "4194304 bytes of read, but the volume counted 0"),
        (done(4 * MIB, 4 * MIB), (4 * MIB, 4 * MIB - 512), "of write, but the volume counted 4193"),
        (done(0, 4 * MIB), (0, 4 * MIB), "wrote 4194304 bytes with verify, but read back only 0"),
        (done(MIB, 4 * MIB), (MIB, 4 * MIB), "read back only 1048576"),
        (done(mixed=8 * MIB), (4096, 4096), "8388608 bytes in all, but the volume counted 8192"),
        (done(mixed=5 * MIB), (MIB, 4 * MIB), "wrote 4194304 bytes with verify, but read back"),
    ],
)
def test_a_run_that_shows_nothing_is_broken(
    jobs: JobFile, result: FioResult, moved: tuple[int, int], message: str
) -> None:
    found = verdict(jobs, result, moved)
    assert found.word == BROKEN
    assert message in found.reason


def test_unified_reporting_passes(jobs: JobFile) -> None:
    assert verdict(jobs, done(mixed=8 * MIB), (4 * MIB, 4 * MIB)).word == PASS


def test_buffered_jobs_may_use_the_page_cache_but_not_only(tmp_path: Path) -> None:
    jobs = job_file(tmp_path, "rw=randread\n")
    assert verdict(jobs, done(400 * MIB), (4 * MIB, 0)).word == PASS
    found = verdict(jobs, done(400 * MIB), (4096, 0))
    assert (found.word, "page cache: add direct=1" in found.reason) == (BROKEN, True)
    assert verdict(jobs, done(4096), (0, 0)).word == BROKEN


def test_a_job_that_uses_few_places_often_may_read_little(tmp_path: Path) -> None:
    for option in ("norandommap", "random_distribution=zipf:1.1"):
        jobs = job_file(tmp_path, f"rw=randread\n{option}\n")
        assert verdict(jobs, done(4 * MIB), (65536, 0)).word == PASS
        assert verdict(jobs, done(4 * MIB), (0, 0)).word == BROKEN


def test_trims_that_nobody_counted_are_broken(tmp_path: Path) -> None:
    jobs = job_file(tmp_path, "direct=1\nrw=trim\n")
    found = judge(jobs, done(trim=4 * MIB), 0, [Moved(0, 0, 0, 0)], VOLUME)
    assert found == Verdict(BROKEN, "fio reports 4194304 bytes of trim, but the volume counted 0")
    assert judge(jobs, done(trim=4 * MIB), 0, [Moved(0, 0, 4 * MIB, 0)], VOLUME).word == PASS


def test_a_run_that_was_ended_by_its_runtime_says_so(tmp_path: Path) -> None:
    jobs = job_file(tmp_path, "direct=1\nrw=write\nverify=md5\nruntime=2\n")
    found = verdict(jobs, done(0, MIB), (0, MIB))
    assert (found.word, "runtime= or time_based" in found.reason) == (BROKEN, True)


def test_trimmed_blocks_are_not_read_back(tmp_path: Path) -> None:
    jobs = job_file(tmp_path, "direct=1\nrw=randwrite\nverify=md5\ntrim_percentage=40\n")
    assert verdict(jobs, done(MIB, 4 * MIB), (MIB, 4 * MIB)).word == PASS
    assert verdict(jobs, done(0, 4 * MIB), (0, 4 * MIB)).word == BROKEN


def test_what_the_backend_does_wrong_is_a_failure(jobs: JobFile) -> None:
    wrong = VerifyFailure(file="/dev/vdb", offset=512, length=4096, what="md5: verify failed")
    result = done(4 * MIB, 4 * MIB).model_copy(update={"failures": [wrong, wrong]})
    found = verdict(jobs, result, (4 * MIB, 4 * MIB), status=1)
    assert found.word == FAIL
    assert found.reason.endswith(
        "/dev/vdb offset 512, 4096 bytes: md5: verify failed; wrong blocks in all: 2"
    )
    found = verdict(jobs, done(error=5), (0, 0), status=1, failed=3)
    assert found == Verdict(
        FAIL, "the volume failed 3 requests; fio ended [a] with error 5 (Input/output error)"
    )
    assert verdict(jobs, done(error=84), (0, 0), status=1).word == FAIL


def test_what_fio_does_wrong_is_never_the_backends(jobs: JobFile) -> None:
    died = done(4 * MIB, 4 * MIB).model_copy(update={"signals": (11,)})
    found = verdict(jobs, died, (4 * MIB, 4 * MIB))
    assert found == Verdict(
        BROKEN, "a process of fio died by SIGSEGV: not all of the jobs was done"
    )
    found = verdict(jobs, done(error=22), (0, 0), status=1)
    assert found.word == BROKEN
    assert (
        found.reason
        == "fio ended [a] with error 22 (Invalid argument), but the volume failed no request"
    )


def test_counters_are_the_difference_of_two_answers() -> None:
    before = {"rd_bytes": 10, "wr_bytes": 20, "failed_wr_operations": 1}
    after = {"rd_bytes": 15, "wr_bytes": 50, "unmap_bytes": 7, "failed_wr_operations": 3}
    assert Moved.between(before, after) == Moved(5, 30, 7, 2)
    assert Moved.between(before, after, 4096).discarded == 4096
    assert Moved(1, 2, 3, 4) + Moved(1, 1, 1, 1) == Moved(2, 3, 4, 5)

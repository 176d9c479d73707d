"""Job files of fio: each kind runs on the guest's disks, or is refused with its line and a fix."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.guest.fio_job_file import JobFile, read_job_file, size_of
from qbdcheck.guest.fio_limits import check_job_file, region_bytes

VOLUME = 32 << 20


def read(
    directory: Path, text: str | bytes, environment: Mapping[str, str] | None = None
) -> JobFile:
    file = directory / "x.fio"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    jobs = read_job_file(file, environment or {})
    check_job_file(jobs, VOLUME)
    return jobs


def test_a_job_for_vdb_stays_as_it_is(tmp_path: Path) -> None:
    text = "[global]\nfilename=/dev/vdb\nbs=16k\n[first]\nrw=randread\nsize=1m\n"
    jobs = read(tmp_path, text)
    assert (jobs.text, jobs.disks, jobs.notes) == (text, 1, [])


def test_other_disks_get_the_names_of_the_guest(tmp_path: Path) -> None:
    text = (
        "[a]\nfilename=/dev/nvme3n1\nrw=write\n[b]\nfilename = /dev/vdb:/dev/sdq ; two\nrw=read\n"
    )
    jobs = read(tmp_path, text)
    assert jobs.disks == 3
    assert (
        jobs.text == "[a]\nfilename=/dev/vdc\nrw=write\n[b]\nfilename=/dev/vdb:/dev/vdd\nrw=read\n"
    )
    assert jobs.notes == [
        "/dev/nvme3n1 of the job file is /dev/vdc in the guest",
        "/dev/sdq of the job file is /dev/vdd in the guest",
    ]


def test_a_job_without_a_file_runs_on_the_volume(tmp_path: Path) -> None:
    jobs = read(tmp_path, "[one]\nrw=write\n[idle]\nioengine=cpuio\ncpuload=5\nruntime=1\n")
    assert jobs.text == (
        "[one]\nfilename=/dev/vdb\nrw=write\n[idle]\nioengine=cpuio\ncpuload=5\nruntime=1\n"
    )
    assert jobs.notes == ["[one] names no file: it runs on /dev/vdb"]
    assert "filename=/dev/vdc\n" in jobs.text_for(["/dev/vdc"])


def test_includes_variables_line_ends_and_comments(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/part.inc").write_text("include more.inc\nbs=${SIZE}k # of a block\n")
    (tmp_path / "deep/more.inc").write_text("filename=${WHERE}\n")
    text = b"\xef\xbb\xbf; first\r\n[a]\r\ninclude deep/part.inc\r\nrw=read\r\n"
    jobs = read(tmp_path, text, {"SIZE": "8", "WHERE": "/dev/sdc"})
    assert jobs.text == "[a]\nfilename=/dev/vdb\nbs=8k\nrw=read\n"
    assert jobs.notes == ["/dev/sdc of the job file is /dev/vdb in the guest"]
    assert jobs.where_of("bs=8k").endswith("part.inc, line 2")
    (tmp_path / "loop.inc").write_text("include loop.inc\n")
    with pytest.raises(UsageError, match=r"loop\.inc, line 1: more than 16 files include each"):
        read(tmp_path, "[a]\ninclude loop.inc\n")


GOOD = "[a]\nfilename=/dev/vdb\nsize=1m\n"
VERIFY = f"{GOOD}rw=randwrite\nverify=md5\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "x.fio, line 1: the file has no job; add a section"),
        ("; only this\n\n", "line 1: the file has no job"),
        ("[global]\nrw=read\n", "line 2: the file has no job"),
        ("rw=read\n[a]\n", "line 1: 'rw=read' is in no section; add"),
        ("[a]\nioengine=cpuio\n", "line 1: no job does I/O"),
        ("[a]\nrw=read\nfilename=data.bin\n", "line 3: filename=data.bin is not a disk; use one"),
        ("[a]\nfilename=/srv/data\n", "line 2: filename=/srv/data is not a disk"),
        ("[a]\nfilename=/dev/null\n", "line 2: filename=/dev/null is not a disk"),
        ("[a]\nfilename=/dev/vdb:/dev/shm/x\n", "line 2: filename=/dev/shm/x is not a disk"),
        ("[a]\ndirectory=/srv\nrw=write\n", "line 2: directory: .* not on the volume; replace"),
        ("[a]\nfilename_format=x.$jobnum\n", "line 2: filename_format"),
        ("[a]\nread_iolog=trace\n", "line 2: read_iolog: the log is not in the guest"),
        ("[global]\nioengine=null\n[a]\nrw=read\n", "line 2: ioengine=null does not use the vol"),
        ("[a]\nioengine=rados ; far\n", "line 2: ioengine=rados does not use .*; use ioengine=lib"),
        ("[a]\nbs=${NONE}\n", "line 2: the variable NONE is not set; run NONE=VALUE ./check fio"),
        ("[a]\ninclude no.inc\n", "line 2: .*no.inc: no such file; include a file that exists"),
        ("[a]\nfilename=/dev/vdb\nrw=read\nsize=33m\n",
         r"line 4: \[a\] ends at 34603008 bytes, .* has 33554432; .* run ./check fio FILE 33M"),
        (f"{GOOD}offset=31.5m\n", "line 3: .* ends at 34078720"),
        (f"{GOOD}rw=write\nnumjobs=40\noffset_increment=1m\n", "line 3: .* ends at 41943040"),
        ("[v]\nfilename=/dev/vdb\nrw=randread\nverify=sha256\n",
         r"line 4: \[v\] verifies /dev/vdb, which no job before it writes; add a job"),
        (f"{VERIFY}verify_only=1\n", "line 5: .* which no job before it writes"),
        (VERIFY.replace("randwrite", "randwrite:4"), "line 4: rw=randwrite:4 with verify: fio rep"),
        (f"{VERIFY}norandommap\n", "line 6: norandommap with verify: fio reports wrong blocks"),
        (f"{VERIFY}ioengine=mmap\n", "line 6: ioengine=mmap with verify"),
        (f"{VERIFY}numjobs=2\n", "line 6: the copies of .* add offset_increment"),
        (f"{VERIFY}numjobs=2\noffset_increment=1020k\n", "line 6: the copies"),
        (f"{VERIFY}[b]\nfilename=/dev/vdb\nrw=write\noffset=1020k\nsize=1m\n",
         r"line 6: \[a\] and \[b\] use one region at the same time with verify: .*or add stonew"),
    ],
)  # fmt: skip
def test_a_job_that_cannot_be_right_is_refused_with_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        f"{VERIFY}numjobs=2\noffset_increment=1m\n",
        f"{VERIFY}norandommap=0\nnumjobs=1\n",
        f"{VERIFY}[b]\nstonewall\nfilename=/dev/vdb\nrw=write\nsize=1m\n",
        f"{VERIFY}[b]\nfilename=/dev/vdc\nrw=write\nsize=1m\nverify=md5\n",
        f"{VERIFY}do_verify=0\n[b]\nstonewall\nfilename=/dev/vdb\nrw=read\nsize=1m\nverify=md5\n",
        f"{GOOD}rw=randwrite:8\nnorandommap\nnumjobs=3\n",
        f"{GOOD}rw=write:4k\nverify=crc32c\n",
        "[global]\nfilename=/dev/vdb\nsize=50%\nrw=write\nverify=md5\n[a]\noffset=50%\n[b]\nbs=8k\n",
    ],
)
def test_a_job_that_fio_can_verify_is_taken(tmp_path: Path, text: str) -> None:
    read(tmp_path, text)


def test_sizes_as_fio_reads_them() -> None:
    words = ("7", "2k", "3KB", "1MiB", "25%", "1.5g", "x", "1m+2")
    sizes = [7, 2048, 3072, 1_000_000, 100, 1610612736, None, None]
    assert [size_of(word, 400) for word in words] == sizes
    assert [size_of(word, 0, "1000") for word in ("2k", "2KiB")] == [2000, 2048]


def test_the_region_of_all_jobs(tmp_path: Path) -> None:
    text = f"{GOOD}rw=write\nnumjobs=3\noffset_increment=2m\n[b]\nfilename=/dev/vdb\nrw=read\n"
    assert region_bytes(read(tmp_path, text), VOLUME) == (3 << 20) + VOLUME
    text = f"{GOOD}rw=write\nzonesize=4k\n"
    assert region_bytes(read(tmp_path, text), VOLUME) == 0

"""What fio printed, in several versions and forms, as typed results."""

from pathlib import Path

import pytest

from qbdcheck.guest.fio import FioOutputError, FioResult, parse
from qbdcheck.guest.fio_run import FioRun

SAVED = Path(__file__).parent / "saved"
OLD = """
fio-2.1.3
Starting 1 process
a: (groupid=0, jobs=1): err= 0: pid=2: Mon Jan  6 10:00:00 2014
  write: io=1024.0MB, bw=52428KB/s, iops=13107, runt= 20000msec
    slat (usec): min=3, max=2K, avg= 7.10, stdev= 4.00
    clat (usec): min=60, max=9000, avg=1200.00, stdev=300.50
     lat (msec): min=1, max=9, avg= 1.20, stdev= 0.31
    lat (msec) : 2=90.00%, >=2000=10.00%
  cpu          : usr=3.00%, sys=9.50%, ctx=100, majf=0, minf=7
     issued    : total=r=0/w=262144/d=0, short=r=0/w=0/d=0
"""
OLD_JSON = """fio: this platform does not support process shared mutexes
{
  "fio version" : "fio-2.2.10",
  "jobs" : [{"jobname" : "a", "error" : 0, "read" : {
    "io_bytes" : 1024, "bw" : 512, "iops" : 128.0, "runtime" : 2000, "total_ios" : 256,
    "clat" : {"min" : 10, "max" : 400, "mean" : 70.5, "stddev" : 1.5,
              "percentile" : {"99.000000" : 300, "0.00" : 0}}}}]
}
"""


def saved(name: str, errors: str = "") -> FioResult:
    text = (SAVED / errors).read_text(encoding="utf-8") if errors else ""
    return parse((SAVED / name).read_text(encoding="utf-8"), text)


def test_the_text_of_the_talk() -> None:
    result = saved("fio-2.19.txt")
    (job,) = result.jobs
    assert (result.version, job.name, job.error, result.error) == ("fio-2.19", "fio-4k", 0, 0)
    assert (job.write.iops, job.write.bytes_per_s) == (111_000, 432 << 20)
    assert (job.write.runtime_ms, job.write.requests) == (60001, 6635628)
    assert job.write.bytes_done == round(25.4 * 2**30)
    assert (job.write.slat.least, job.write.slat.most) == (1000, 955_000)
    assert (job.write.clat.mean, job.write.clat.deviation) == (140_580, 38_970)
    assert job.write.clat.percentiles[99.99] == 1_048_000
    assert len(job.write.clat.percentiles) == 17
    assert job.buckets["250 us"] == 97.65
    assert (job.user_cpu, job.system_cpu) == (15.55, 46.40)
    assert (result.disks[0].name, result.disks[0].writes) == ("vdb", 6623273)
    assert not job.read.requests
    assert list(job.directions) == ["write"]


def test_text_and_json_of_3_33() -> None:
    plus, text = saved("fio-3.33.json-plus"), saved("fio-3.33.txt")
    for result in (plus, text):
        (job,) = result.jobs
        assert result.version == "fio-3.33"
        assert job.write.requests + job.read.requests >= 256
        assert job.write.clat.least <= job.write.clat.mean <= job.write.clat.most
        assert job.write.clat.percentiles[99.0] > 0
        assert job.buckets
        assert result.disks[0].name == "vdb"
        assert result.error == 0
    write = plus.jobs[0].write
    assert sum(write.clat.bins.values()) == write.requests
    assert write.bytes_done == write.requests * 4096
    assert plus.jobs[0].options["verify"] == "md5"
    assert "IOPS" in plus.summary()[0]


def test_verify_failures_have_offsets_and_dumps() -> None:
    result = saved("fio-3.33.bad.json", "fio-3.33.bad.err")
    first = result.failures[1]
    assert (first.file, first.offset, first.length) == ("/dev/vdb", 12288, 4096)
    assert "bad magic header a83f" in first.what
    assert first.dumps == ("vdb.12288.hdr_fail",)
    assert len(result.failures) == 9
    assert result.error == 84
    with pytest.raises(AssertionError, match=r"/dev/vdb offset 0, 4096 bytes: .*; 9 blocks"):
        FioRun(1, result, "", "").must_be_clean()


def test_the_words_of_a_checksum_that_differs() -> None:
    errors = (
        "md5: verify failed at file /dev/vdb offset 8192, length 0"
        " (requested block: offset=8192, length=4096, flags=88)\n"
        "       Expected CRC: aa\n       Received CRC: bb\n"
        "       received data dumped as vdb.8192.received\n"
        "       expected data dumped as vdb.8192.expected\n"
    )
    result = parse(OLD, errors)
    (failure,) = result.failures
    assert (failure.offset, failure.length) == (8192, 4096)
    assert failure.dumps == ("vdb.8192.received", "vdb.8192.expected")
    assert result.error == 84


def test_text_and_json_of_fio_2() -> None:
    (job,) = parse(OLD).jobs
    assert (job.write.bytes_done, job.write.bytes_per_s) == (1 << 30, 52428 * 1024)
    assert (job.write.iops, job.write.runtime_ms) == (13107, 20000)
    assert job.write.slat.most == 2_000_000
    assert job.write.lat.mean == 1_200_000
    assert job.buckets == {"2 ms": 90.0, ">=2000 ms": 10.0}
    assert job.write.requests == 262144
    (job,) = parse(OLD_JSON).jobs
    assert (job.read.bytes_done, job.read.bytes_per_s) == (1 << 20, 512 << 10)
    assert job.read.clat.percentiles == {99.0: 300_000}
    assert job.read.clat.mean == 70_500


@pytest.mark.parametrize("text", ["", "hello", "{\n}x", '{\n "jobs": [{}]}', '{\n "jobs": 7}'])
def test_what_is_no_output_of_fio_is_refused(text: str) -> None:
    if text == "{\n}x":
        assert parse(text).jobs == []
        return
    with pytest.raises(FioOutputError):
        parse(text)

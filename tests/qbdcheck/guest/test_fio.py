"""Output of fio in several versions and forms, as typed results."""

from pathlib import Path

import pytest

from qbdcheck.errors import CaseBroken
from qbdcheck.guest.fio import FioOutputError, FioResult, parse
from qbdcheck.guest.fio_run import FioRun, _without_result

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
    text = r"/dev/vdb offset 0, 4096 bytes: .*; wrong blocks in all: 9"
    with pytest.raises(AssertionError, match=text):
        FioRun(1, result, "", "").must_be_clean()


def test_the_message_of_a_checksum_that_differs() -> None:
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


def test_a_length_that_fio_read_from_the_data_is_not_taken() -> None:
    errors = (
        "pattern: verify failed at file /dev/vdb offset 8192, length 4022250974"
        " (requested block: offset=8192, length=8192, flags=88)\n"
        "fio: verify type mismatch (61374 media, 18 given)\n"
    )
    (failure,) = parse(OLD, errors).failures
    assert (failure.offset, failure.length) == (8192, 8192)


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


def document(error: int, **directions: str) -> str:
    parts = "".join(f', "{name}": {{{text}}}' for name, text in directions.items())
    return f'{{"fio version": "fio-3.35", "jobs": [{{"jobname": "j", "error": {error}{parts}}}]}}'


def counted(size: int, requests: int) -> str:
    return (
        f'"io_bytes": {size}, "io_kbytes": {size >> 10}, "bw_bytes": 7, "iops": 1.5,'
        f' "runtime": 1000, "total_ios": {requests}, "clat_ns": {{"mean": 3}}'
    )


def test_of_several_documents_the_last_one_counts() -> None:
    text = f"fio: started\n{document(0, read=counted(512, 1))}\n\nfio: a line between\n"
    text += f"  {document(5, read=counted(1536, 3))}\nfio: the end\n"
    result = parse(text)
    assert (result.error, result.jobs[0].read.requests, result.bytes_done("read")) == (5, 3, 1536)
    with pytest.raises(FioOutputError, match=r"begins in line 4 is damaged or cut off"):
        parse(f"{document(0, read=counted(512, 1))}\n\n\n{document(5, read=counted(9, 3))[:-9]}")


def test_unified_reporting_is_summed_up() -> None:
    result = parse(document(0, mixed=counted(12288, 24)))
    assert list(result.jobs[0].directions) == ["mixed"]
    assert result.bytes_done("mixed") == 12288
    assert result.summary()[0].startswith("j: mixed 24 requests, 12288 bytes")
    text = OLD.replace("write: io=", "mixed: io=").replace("r=0/w=262144", "r=100/w=50")
    (job,) = parse(text).jobs
    assert (job.mixed.requests, job.mixed.bytes_done, job.write.requests) == (150, 1 << 30, 0)


def test_an_option_that_is_given_twice_keeps_both_values() -> None:
    options = '"job options": {"filename": "/dev/vdc", "bs": "8k", "filename": "/dev/vdd"},'
    text = document(0, read=counted(512, 1)).replace('"error"', f'{options} "error"')
    (job,) = parse(text).jobs
    assert job.options == {"filename": "/dev/vdd", "bs": "8k"}
    assert job.all_options == (("filename", "/dev/vdc"), ("bs", "8k"), ("filename", "/dev/vdd"))


def test_a_client_reports_jobs_of_servers_and_their_sum() -> None:
    text = document(0, read=counted(512, 1)).replace("jobs", "client_stats")
    both = text.replace("}]}", f"}}, {text[text.index('[') + 1 :]}".replace('"j"', '"All clients"'))
    assert [job.name for job in parse(both).jobs] == ["j"]
    lines = OLD.replace("\n", "\n<big-host> ") + "\nAll clients: (groupid=0, jobs=1): err= 0: pid=0"
    lines += "\n  write: io=1024.0MB, bw=52428KB/s, iops=13107, runt= 20000msec\n"
    (job,) = parse(lines).jobs
    assert (job.name, job.write.bytes_done) == ("a", 1 << 30)


OLDER = """r: (g=0): rw=read, bs=8K-8K/8K-8K, ioengine=sync, iodepth=1
2.0.13
Starting 1 process

r: (groupid=0, jobs=1): err= 0: pid=17
  read : io=3072.0KB, bw=314572 B/s, iops=38 , runt= 10000msec
    clat (usec): min=20 , max=1400 , avg=99.50, stdev=12.25
  cpu          : usr=1.00%, sys=2.50%, ctx=400, majf=0, minf=20
     issued    : total=r=384/w=0/d=0, short=r=0/w=0/d=0

Run status group 0 (all jobs):
   READ: io=3072KB, aggrb=307KB/s, minb=307KB/s, maxb=307KB/s, mint=10000msec, maxt=10000msec

Disk stats (read/write):
  dm-3: ios=384/2, merge=0/0, ticks=30/1, in_queue=31, util=55.50%, aggrios=9/9, aggrutil=99.00%
  md127: ios=7/0
"""


def test_text_of_fio_2_0() -> None:
    result = parse(OLDER)
    (job,) = result.jobs
    assert result.version == "2.0.13"
    assert (job.read.bytes_done, job.read.bytes_per_s, job.read.iops) == (3 << 20, 314572, 38)
    assert (job.read.requests, job.read.runtime_ms) == (384, 10000)
    assert (job.read.clat.least, job.read.clat.most, job.read.clat.mean) == (20e3, 1.4e6, 99.5e3)
    assert (job.user_cpu, job.system_cpu) == (1.0, 2.5)
    assert [(one.name, one.reads, one.utilisation) for one in result.disks] == [
        ("dm-3", 384, 55.5), ("md127", 7, 0.0)
    ]  # fmt: skip
    twice = OLDER.partition("Disk stats")[0] + OLDER.replace("r=384", "r=500")
    assert [job.read.requests for job in parse(twice).jobs] == [500], "the first report counted"


@pytest.mark.parametrize(
    ("old", "new"),
    [("bw=314572 B/s", "bw=fast"), ("avg=99.50", "avg=often"), ("total=r=384", "total=many")],
)
def test_a_line_of_text_that_is_not_understood_is_named(old: str, new: str) -> None:
    with pytest.raises(FioOutputError, match=f"not understood: .*{new}"):
        parse(OLDER.replace(old, new))


def test_decimal_and_binary_units_of_fio_3() -> None:
    line = "  write: IOPS=2048, BW={}/s (1kB/s)({}/2000msec)"
    text = "a: (groupid=0, jobs=1): err= 0: pid=2\n" + line
    (job,) = parse(text.format("8MB", "16.0MB")).jobs
    assert (job.write.bytes_per_s, job.write.bytes_done) == (8_000_000, 16_000_000)
    (job,) = parse(text.format("8MiB", "16.0MiB")).jobs
    assert (job.write.bytes_per_s, job.write.bytes_done) == (8 << 20, 16 << 20)


def terse(version: int, size: int = 2048) -> str:
    percentiles = ["1.000000%=11", "99.000000%=77", *["0%=0"] * 18]
    more = ["0"] * 6 if version == 5 else []
    part = [
        "{}",
        "1024",
        "256",
        "2000",
        "1",
        "2",
        "1.5",
        "0.5",
        "3",
        "9",
        "6.0",
        "1.0",
        *percentiles,
        "4",
        "11",
        "7.5",
        "1.5",
        "0",
        "0",
        "0.000000%",
        "0.0",
        "0.0",
        *more,
    ]
    none = ["0"] * 12 + ["0%=0"] * 20 + ["0"] * (9 + len(more))
    parts = [*[word.format(size) for word in part], *none, *(none if version > 3 else [])]
    return ";".join(
        [str(version), "fio-3.33", "t", "0", "0", *parts, "1.0%", "2.0%", "7", "0", "0"]
    )


@pytest.mark.parametrize("version", [3, 4, 5])
def test_terse_output(version: int) -> None:
    result = parse(f"fio: a line before\n{terse(version)}\n")
    (job,) = result.jobs
    assert (result.version, job.name, job.error) == ("fio-3.33", "t", 0)
    assert (job.read.bytes_done, job.read.bytes_per_s) == (2 << 20, 1 << 20)
    assert (job.read.iops, job.read.runtime_ms, job.read.requests) == (256, 2000, 512)
    assert (job.read.slat.mean, job.read.clat.most, job.read.lat.mean) == (1500, 9000, 7500)
    assert job.read.clat.percentiles == {1.0: 11000, 99.0: 77000}
    assert list(job.directions) == ["read"]
    with pytest.raises(FioOutputError, match="cut off"):
        parse(terse(version)[:300])
    with pytest.raises(FioOutputError, match="'often' is not a percentile"):
        parse(terse(version).replace("1.000000%=11", "often"))


MESSAGES = """verify: bad magic header 12, wanted acca at file /srv/a disk/b at c offset 512, length 512
crc32c: verify failed at file /srv/a disk/b offset 1024, length 512 (requested block: offset=1024, length=512, flags=8)
       received data dumped as b.1024.received
verify: unsupported header version 9, wanted 4. Are you trying to verify across versions of fio? at file /dev/dm-0 offset 1536, length 512 (requested block: offset=1536, length=512)
verify failed for zeroed data at file /dev/dm-0 offset 2048, length 512, block offset 3
fio: verify type mismatch (9 media, 2 given)
fio: got pattern '17', wanted '2a'. Bad bits 5
fio: bad pattern block offset 7
pattern: verify failed at file /dev/dm-0 offset 2560, length 0 (requested block: offset=2560, length=512)
fio: verify header exceeds buffer length (40 > 32)
"""  # noqa: E501


def test_every_kind_of_verify_message() -> None:
    failures = parse(OLD, MESSAGES).failures
    assert [(one.file, one.offset, one.length) for one in failures] == [
        ("/srv/a disk/b at c", 512, 512), ("/srv/a disk/b", 1024, 512), ("/dev/dm-0", 1536, 512),
        ("/dev/dm-0", 2048, 512), ("/dev/dm-0", 2560, 512), ("", -1, 0),
    ]  # fmt: skip
    assert failures[1].dumps == ("b.1024.received",)
    assert failures[2].what.startswith("verify: unsupported header version 9")
    assert failures[3].what == "verify failed for zeroed data"
    assert len(failures[4].details) == 3
    assert str(failures[5]) == "verify header exceeds buffer length (40 > 32)"
    with pytest.raises(FioOutputError, match="verify message of fio not understood"):
        parse(OLD, "verify: something new at file /dev/vdb offset 512 and more\n")


def test_a_process_that_died_is_known() -> None:
    text = document(0, write=counted(512, 1))
    assert parse(text, "fio: pid=44, got signal=6\nfio: pid=45, got signal=11\n").signals == (6, 11)
    assert parse(text).signals == ()
    died = parse(text, "fio: pid=44, got signal=6\n")
    with pytest.raises(CaseBroken, match="a process of fio died by signal 6"):
        FioRun(0, died, "", "").must_be_clean()


@pytest.mark.parametrize(
    ("status", "errors", "is_refused"),
    [
        (1, "Bad option <blok=4k>\nDid you mean block?", True),
        (1, "fio: failed parsing size=many", True),
        (139, "Bad option <blok=4k>", False),
        (1, "fio: pid=3, got signal=11\nBad option <x>", False),
        (1, "fio: out of memory", False),
    ],
)
def test_only_what_fio_refuses_is_an_error_of_the_user(
    status: int, errors: str, is_refused: bool
) -> None:
    error = _without_result(status, "", errors, "no output")
    assert error.refused == is_refused
    assert str(error).startswith("fio died by signal 11" if status == 139 else "fio ended with 1")


@pytest.mark.parametrize(
    "text",
    ["", "hello", "{\n}x", '{\n "jobs": [{}]}', '{\n "jobs": 7}', '{"jobs": []}', "{",
     '{"jobs": [{"jobname": "j", "error": 0}]}',
     document(0, read='"io_bytes": 1, "iops": 2'),
     document(0, read=counted(1, 1)).replace('"bw_bytes"', '"bw_other"')],
)  # fmt: skip
def test_what_is_not_output_of_fio_is_refused(text: str) -> None:
    with pytest.raises(FioOutputError):
        parse(text)

"""dstat: the text of the QEMU talk (CLK 2017), CSV, several disks, and iostat in that form."""

import pytest

from qbdcheck.guest.dstat import DstatError, parse_dstat, table
from qbdcheck.guest.iostat import DiskRecord

TALK = """root@os10:~/qbd# dstat -rd --disk-util --disk-tps -D vdb 1 5
---io/vdb-- --dsk/vdb-- vdb- --dsk/vdb--
      read  writ |  read  writ | util| reads  writes
  0.19 28.0k| 783B| 109M| 28.1| 0 28k
  0 111k| 0 435M| 100| 0 111k
  0 115k| 0 448M| 100| 0 114k
  0 116k| 0 451M| 100| 0 115k
  0 108k| 0 420M| 100| 0 107k
  0 113k| 0 440M| 100| 0 112k
root@os10:~/qbd#
"""


def test_the_text_of_the_talk() -> None:
    first, *rest = parse_dstat(TALK)
    assert first.model_dump() == {
        "disk": "vdb", "reads_per_s": 0.19, "writes_per_s": 28000.0, "read_bytes_per_s": 783.0,
        "write_bytes_per_s": 109.0 * 2**20, "utilisation": 28.1,
    }  # fmt: skip
    assert [one.writes_per_s for one in rest] == [111e3, 115e3, 116e3, 108e3, 113e3]
    assert {one.utilisation for one in rest} == {100.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no header"),
        ("usr sys idl\n 1 2 3\n", "no header"),
        (TALK.partition("  0.19")[0], "no interval"),
        (TALK.replace("| 28.1|", "|"), "has 6 columns, not the 7"),
        (TALK.replace("435M", "435X"), "'435X' is no number"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(DstatError, match=message):
        parse_dstat(text)


def test_records_of_iostat_are_shown_in_the_form_of_dstat() -> None:
    record = DiskRecord(
        disk="vdb", interval_s=1, reads_per_s=0, writes_per_s=111_000, read_bytes_per_s=783,
        write_bytes_per_s=435 * 2**20, read_wait_ms=0, write_wait_ms=0.1, queue=13,
        utilisation=99.6,
    )  # fmt: skip
    assert list(table([record])) == [
        "--io/vdb--- --dsk/vdb-- vdb-",
        " read  writ| read  writ|util",
        "    0  111k| 783B  435M| 100",
    ]


CSV = """"pcp-dstat 5.3.6 CSV output"
"Author:","nobody",,,,"URL:","none"
"Cmdline:","dstat -t -rd --disk-tps --disk-util -D sdc,dm-1",,,,"Date:","1 Jan"

"system","io/sdc",,"io/dm-1",,"dsk/sdc",,"dsk/dm-1",,"sdc","dm-1"
"time","read","writ","read","writ","read","writ","read","writ","util","util"
"01-01 00:00:01",1.5,2.0,3.0,4.0,512.0,1024.0,0.0,2048.0,10.0,20.5
"01-01 00:00:02",0,0,0,0,0,0,0,0,0,
"""


def test_csv_of_several_disks() -> None:
    records = parse_dstat(CSV)
    assert [one.disk for one in records] == ["sdc", "dm-1"] * 2
    assert records[1].model_dump() == {
        "disk": "dm-1", "reads_per_s": 3.0, "writes_per_s": 4.0, "read_bytes_per_s": 0.0,
        "write_bytes_per_s": 2048.0, "utilisation": 20.5,
    }  # fmt: skip
    assert (records[2].utilisation, records[3].utilisation) == (0.0, None)
    with pytest.raises(DstatError, match="has 2 columns, not the 11"):
        parse_dstat(CSV + "1,2\n")
    with pytest.raises(DstatError, match="'many' is no number"):
        parse_dstat(CSV.replace("2048.0", "many"))


DISKS = """----system---- --io/sda-----io/dm-0--- sda--dm-0 --dsk/sda----dsk/dm-0--
     time     | read  writ: read  writ|util:util|#read #writ:#read #writ
01-01 00:00:01|2.00     0 :   -  5.00 | 1.5:77.0|   2     0 :   9     5
"""


def test_several_disks_beside_a_time() -> None:
    first, second = parse_dstat(DISKS)
    assert (first.disk, first.reads_per_s, first.writes_per_s) == ("sda", 2.0, 0.0)
    assert (first.utilisation, first.read_bytes_per_s) == (1.5, None)
    assert (second.disk, second.reads_per_s, second.utilisation) == ("dm-0", 9.0, 77.0)


def test_only_the_utilisation() -> None:
    (first, second) = parse_dstat("sdx--sdy-\nutil:util\n 3.5:  99\n")
    assert (first.utilisation, second.disk, second.utilisation) == (3.5, "sdy", 99)
    text = "---load-avg--- sdx--sdy-\n 1m   5m  15m |util:util\n 0.1  0.2  0.3|  12:34.5\n"
    assert [(one.disk, one.utilisation, one.reads_per_s) for one in parse_dstat(text)] == [
        ("sdx", 12.0, None), ("sdy", 34.5, None),
    ]  # fmt: skip


def test_requests_of_disk_tps_count_where_there_is_no_io_column() -> None:
    text = "--dsk/sda-- --dsk/sda--\n read  writ|#read #writ\n  1k    2M |   3     4k\n"
    (record,) = parse_dstat(text)
    assert (record.read_bytes_per_s, record.write_bytes_per_s) == (1024, 2 << 20)
    assert (record.reads_per_s, record.writes_per_s) == (3, 4000)

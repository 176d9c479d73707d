"""dstat: the text of the QEMU talk (CLK 2017), and the same form from what iostat told."""

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
    ("text", "words"),
    [
        ("", "no header"),
        ("usr sys idl\n 1 2 3\n", "no header"),
        (TALK.partition("  0.19")[0], "no interval"),
        (TALK.replace("| 28.1|", "|"), "has 6 columns, not the 7"),
        (TALK.replace("435M", "435X"), "'435X' is no number"),
    ],
)
def test_other_text_is_refused(text: str, words: str) -> None:
    with pytest.raises(DstatError, match=words):
        parse_dstat(text)


def test_what_iostat_told_is_shown_as_dstat_does() -> None:
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

"""iostat: JSON of sysstat 12.6 in a guest, the text of the QEMU talk (CLK 2017), and others."""

import pytest

from qbdcheck.guest.iostat import IostatError, parse_iostat

PRINTED = """{"sysstat": {
  "hosts": [{
    "nodename": "(none)", "sysname": "Linux", "release": "6.1.0", "machine": "x86_64",
    "number-of-cpus": 1, "date": "11/23/26",
    "statistics": [
      {"disk": [{"disk_device": "vdb", "r/s": 2.00, "w/s": 1427.00, "d/s": 0.00, "f/s": 0.00,
        "rkB/s": 8.00, "wkB/s": 5708.00, "rrqm/s": 0.00, "wrqm/s": 0.00, "r_await": 0.50,
        "w_await": 0.63, "aqu-sz": 0.89, "rareq-sz": 4.00, "wareq-sz": 4.00, "util": 16.40}]},
      {"disk": []}
    ]}]
}}
"""


def test_rates_are_bytes_and_milliseconds() -> None:
    (record,) = parse_iostat(PRINTED)
    assert (record.disk, record.writes_per_s) == ("vdb", 1427.0)
    assert (record.read_bytes_per_s, record.write_bytes_per_s) == (8192, 5708 * 1024)
    assert (record.read_wait_ms, record.write_wait_ms) == (0.5, 0.63)
    assert (record.queue, record.utilisation) == (0.89, 16.4)
    (same,) = parse_iostat(PRINTED.replace('"wkB/s": 5708.00', '"wMB/s": 2'))
    assert same.write_bytes_per_s == 2 << 20


TALK = """Linux 4.4.0-72-generic (os10)    x86_64 (8 CPU)

avg-cpu: %user %nice %system %iowait %steal %idle
          0.30    0.00   0.90    0.34    0.00   98.47

Device:    rrqm/s wrqm/s     r/s     w/s     rMB/s    wMB/s avgrrq-sz avgqu-sz    await r_await w_await svctm %util
vda        0.00   0.63   4.27   0.47   0.12    0.03    67.47    0.00    0.29    0.14    1.56    0.12   0.06
vdb        0.00   0.00   0.65 17682.92   0.00   69.07    8.00    2.39    0.14    0.20    0.14   0.01  17.40

avg-cpu: %user %nice %system %iowait %steal %idle
          1.53    0.00   4.84   0.00   0.00   93.63

Device:    rrqm/s wrqm/s     r/s     w/s     rMB/s    wMB/s avgrrq-sz avgqu-sz    await r_await w_await svctm %util
vda        0.00   0.00   0.00   0.00   0.00    0.00    0.00    0.00    0.00    0.00    0.00   0.00   0.00
vdb        0.00   0.00   0.00 101640.00   0.00   397.03    8.00   13.03    0.13    0.00    0.13   0.01  99.60
"""  # noqa: E501


def test_the_text_of_the_talk() -> None:
    records = parse_iostat(TALK)
    assert [record.disk for record in records] == ["vda", "vdb"] * 2
    last = records[-1]
    assert (last.reads_per_s, last.writes_per_s) == (0.0, 101640.0)
    assert last.write_bytes_per_s == pytest.approx(397.03 * 2**20)
    assert (last.queue, last.write_wait_ms, last.utilisation) == (13.03, 0.13, 99.6)
    assert records[1].read_wait_ms == 0.20


def test_older_and_newer_names_of_columns() -> None:
    old = "Device: rrqm/s wrqm/s r/s w/s rsec/s wsec/s avgrq-sz avgqu-sz await svctm %util\n"
    (record,) = parse_iostat(old + "sda 0 0 1 2 8 16 8 0.5 3.5 1 9\n")
    assert (record.read_bytes_per_s, record.read_wait_ms, record.queue) == (4096, 3.5, 0.5)
    new = "Device r/s rkB/s rrqm/s %rrqm r_await rareq-sz w/s wkB/s w_await aqu-sz %util\n"
    (record,) = parse_iostat(new + "vdb 1 4 0 0 0.25 4 2 8 0.75 0.1 1.5\n")
    assert (record.write_bytes_per_s, record.write_wait_ms, record.queue) == (8192, 0.75, 0.1)
    with pytest.raises(IostatError, match=r"'vdb 1 4 0 0 x .*' is no line of iostat"):
        parse_iostat(new + "vdb 1 4 0 0 x 4 2 8 0.75 0.1 1.5\n")


@pytest.mark.parametrize("text", ["", "Linux", '{"sysstat": {}}', PRINTED[:300],
                                  PRINTED.replace('"w/s"', '"x"')])  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(IostatError, match="no JSON of iostat"):
        parse_iostat(text)


def test_a_comma_before_the_first_interval_is_ignored() -> None:
    text = PRINTED.replace('"statistics": [', '"statistics": [\n,\n')
    records = parse_iostat(text)
    assert records == parse_iostat(PRINTED)
    assert not records.unread


def test_of_json_that_is_cut_off_the_complete_records_are_kept() -> None:
    cut = PRINTED.replace('{"disk": []}', '{"disk": [{"disk_device": "vdb", "r/s": 1')
    records = parse_iostat(cut.partition('"r/s": 1\n')[0])
    assert records == parse_iostat(PRINTED)
    assert "cut off" in records.unread
    assert "1 records are complete" in records.unread
    assert not parse_iostat(PRINTED).unread


SIMPLE = "Device  tps  kB_read/s  kB_wrtn/s  kB_read  kB_wrtn\nsdb 3.00 1.00 2.00 10 20\n"


def test_output_without_x_is_named() -> None:
    with pytest.raises(IostatError, match="no column 'r/s'; run iostat with -x"):
        parse_iostat(SIMPLE)
    text = (
        '{"sysstat": {"hosts": [{"statistics": [{"disk": [{"disk_device": "sdb", "tps": 3}]}]}]}}'
    )
    with pytest.raises(IostatError, match="sdb has no 'r/s'; run iostat with -x"):
        parse_iostat(text)


NEW = "Device r/s rkB/s rrqm/s %rrqm r_await rareq-sz w/s wkB/s w_await aqu-sz %util\n"


def test_decimal_commas() -> None:
    records = parse_iostat(NEW + "vdc 1,50 6,00 0,00 0,00 0,25 4,00 2,00 8,00 0,75 0,10 1,50\n")
    (record,) = records
    assert (record.reads_per_s, record.read_bytes_per_s, record.read_wait_ms) == (1.5, 6144, 0.25)
    assert (record.queue, record.utilisation) == (0.1, 1.5)


HUMAN = """
  r/s     rkB/s  %rrqm r_await Device
 3.00      1.5M   0.0%    0.20 nvme0n1
 7.00     20.0k   0.0%    0.50 dm-0

  w/s     wkB/s  %wrqm w_await Device
 4.00      0.0k   0.0%    0.00 nvme0n1
 8.00    512.0B   0.0%    0.75 dm-0

aqu-sz  %util Device
  0.25   3.0% nvme0n1
  0.50  60.0% dm-0
"""


def test_tables_with_the_device_last_are_joined() -> None:
    records = parse_iostat(HUMAN + HUMAN.replace(" 7.00", " 9.00"))
    assert [(one.disk, one.reads_per_s) for one in records] == [
        ("nvme0n1", 3.0), ("dm-0", 7.0), ("nvme0n1", 3.0), ("dm-0", 9.0),
    ]  # fmt: skip
    first, second = records[:2]
    assert (first.read_bytes_per_s, first.write_bytes_per_s) == (1.5 * 2**20, 0)
    assert (second.read_bytes_per_s, second.write_bytes_per_s) == (20480, 512)
    assert (first.queue, first.utilisation, second.write_wait_ms) == (0.25, 3.0, 0.75)


def test_a_line_that_is_cut_off_is_named() -> None:
    line = "vdb 1 4 0 0 0.25 4 2 8 0.75 0.1 1.5\n"
    records = parse_iostat(f"{NEW}{line}\n{NEW}vdb 1 4 0")
    assert len(records) == 1
    assert records.unread == "the last line is cut off: 'vdb 1 4 0'"
    with pytest.raises(IostatError, match="4 columns, not 12"):
        parse_iostat(f"{NEW}vdb 1 4 0\n{line}")

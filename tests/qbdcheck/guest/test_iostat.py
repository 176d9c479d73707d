"""The JSON of iostat, as sysstat 12.6 printed it in a guest."""

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


@pytest.mark.parametrize("text", ["", "Linux", '{"sysstat": {}}', PRINTED[:300],
                                  PRINTED.replace('"w/s"', '"x"')])  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(IostatError, match="no JSON of iostat"):
        parse_iostat(text)

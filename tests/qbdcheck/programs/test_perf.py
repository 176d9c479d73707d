"""Flame graphs from the output of `perf script`."""

import shutil
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from qbdcheck.errors import ProgramError
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.perf import (
    DEEPEST,
    PerfRecording,
    busiest,
    flame_difference,
    flame_graph,
    fold,
)
from qbdcheck.programs.process import Process

SCRIPT = (Path(__file__).parent / "perf-script.txt").read_text()


def test_stacks_begin_with_the_outermost_function() -> None:
    stacks = fold(SCRIPT)
    first = next(iter(stacks))
    assert first.startswith("python;[unknown];read;entry_SYSCALL_64_after_hwframe;do_syscall_64;")
    assert first.endswith(";folio_zero_user;__cond_resched")
    assert sum(stacks.values()) == len(SCRIPT.strip().split("\n\n"))


def test_code_translated_by_tcg_has_a_name() -> None:
    text = "qemu-system-x86 12/14 [001] 3.5: 1 cpu-clock:\n\t 7f0 [unknown] (/tmp/perf-12.map)\n"
    text += "\t 7f1 [unknown] (/usr/bin/qemu-system-x86_64)\n"
    assert fold(text) == {"qemu-system-x86;[qemu-system-x86_64];[translated]": 1}


def test_no_samples_are_no_stacks() -> None:
    assert not fold("")
    assert not fold("nonsense\n\tmore")


def test_boxes_are_as_wide_as_their_share() -> None:
    root = ET.fromstring(flame_graph(Counter({"a;b<c>": 3, "a;d": 1}), "title & more"))
    ns = "{http://www.w3.org/2000/svg}"
    boxes = {
        group.findtext(f"{ns}title"): float(rect.attrib["width"])
        for group in root.iter(f"{ns}g")
        for rect in group.iter(f"{ns}rect")
    }
    assert boxes == {
        "a: 4 samples, 100.0%": 1199.5,
        "b<c>: 3 samples, 75.0%": 899.5,
        "d: 1 samples, 25.0%": 299.5,
    }


def test_small_stacks_are_left_out_and_deep_ones_are_cut() -> None:
    deep = ";".join(f"f{number}" for number in range(100))
    text = flame_graph(Counter({"p;big": 2000, "p;small": 3, deep: 1000}), "t")
    assert "big" in text and "small" not in text
    assert "[deeper]: 1000 samples" in text
    assert f"f{DEEPEST - 2}:" in text and f"f{DEEPEST - 1}:" not in text


def test_a_difference_shows_what_grew() -> None:
    before = Counter({"p;read": 50, "p;copy": 50, "p;gone": 10})
    after = Counter({"p;read": 100, "p;copy": 300})
    root = ET.fromstring(flame_difference(before, after, "t"))
    ns = "{http://www.w3.org/2000/svg}"
    fills = {
        (group.findtext(f"{ns}title") or "").partition(":")[0]: rect.attrib["fill"]
        for group in root.iter(f"{ns}g")
        for rect in group.iter(f"{ns}rect")
    }
    assert fills.keys() == {"p", "read", "copy"}
    assert fills["copy"].startswith("hsl(0,") and fills["read"].startswith("hsl(220,")
    assert fills["p"].endswith("100%)")
    assert "copy: 300 samples, 75.0%, +29.5%" in flame_difference(before, after, "t")


def test_busiest_functions_do_not_count_their_callees() -> None:
    stacks = Counter({"p;a;b": 6, "p;a": 3, "p;c;b": 1})
    assert busiest(stacks, 2) == [("b", 0.7), ("a", 0.3)]


def test_busy_program_is_in_the_samples(tmp_path: Path) -> None:
    if shutil.which("perf") is None:
        pytest.skip("no perf here")
    busy = Process(["sh", "-c", "while :; do :; done"], tmp_path, "busy")
    try:
        recording = PerfRecording([busy.pid], tmp_path, "p")
        busy.has_ended_in(Limit(2))  # perf starts late on a loaded machine
        try:
            stacks = recording.stop()
        except ProgramError as error:
            if "no sample" in str(error):
                raise
            pytest.skip(f"perf is not permitted here: {error}")
    finally:
        busy.kill()
    assert any(stack.startswith("sh;") for stack in stacks)


def test_recording_of_a_process_that_is_gone_is_an_error(tmp_path: Path) -> None:
    if shutil.which("perf") is None:
        pytest.skip("no perf here")
    gone = Process(["true"], tmp_path, "gone")
    assert gone.has_ended_within(10)
    recording = PerfRecording([gone.pid], tmp_path, "p")
    with pytest.raises(ProgramError, match="perf"):
        recording.stop()

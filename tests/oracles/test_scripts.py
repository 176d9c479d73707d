import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.scripts import ERRNOS, FAULTS, STEPS, Script, ScriptError, Step, to_nbdsh, to_qemu_io

SIZE = 1 << 16


@st.composite
def steps(draw: st.DrawFn) -> Step:
    do = draw(st.sampled_from(sorted(STEPS)))
    offset = draw(st.integers(0, SIZE))
    values: dict[str, Any] = {
        "offset": offset, "length": draw(st.integers(0, SIZE - offset)), "size": SIZE,
        "fua": draw(st.booleans()), "no_hole": draw(st.booleans()),
        "seed": draw(st.integers(0, 99)), "kind": draw(st.sampled_from(FAULTS)),
        "errno": draw(st.sampled_from(ERRNOS)), "fill": draw(st.integers(-1, 255)),
        "connection": draw(st.integers(1, 8)), "ms": draw(st.integers(1, 60_000)),
    }  # fmt: skip
    return Step(do, **{key: values[key] for key in STEPS[do]})


@given(st.lists(steps(), min_size=1), st.text(st.characters(codec="ascii"), max_size=50))
def test_a_saved_script_can_be_read_again(tmp_path_factory: pytest.TempPathFactory,
                                       some: list[Step], about: str) -> None:  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "script.yaml"
    script = Script(SIZE, tuple(some), about)
    path.write_text(script.to_yaml())
    assert Script.read(path) == script


HEAD = "qbdcheck script: 1\nsize: 4096\nsteps:\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its first line must be 'qbdcheck script: 1'"),
        ("a: [", "no YAML"),
        ("qbdcheck script: 2\n", "no script"),
        ("qbdcheck script: 1\nsize: -1\n", "size must be a whole number from 0 to 67108864"),
        ("qbdcheck script: 1\nsize: 4096\n", "steps must be a list"),
        (HEAD + "  - {do: jump}", "step 1: 'do' must be one of write,"),
        (HEAD + "  - {do: flush}\n  - {do: flush, offset: 1}", "step 2: flush has no 'offset'"),
        (HEAD + "  - {do: write, offset: 0}", "step 1: length must be a whole number"),
        (HEAD + "  - {do: write, offset: 4096, length: 1}", "4096\\+1 is beyond the end at 4096"),
        (HEAD + "  - {do: write, offset: 0, length: 1, fua: 3}", "fua must be true or false"),
        (HEAD + "  - {do: fault, kind: status, errno: EIO}", "kind must be one of write, zero"),
        (HEAD + "  - {do: fault, kind: read, errno: EPERM}", "errno must be one of EIO, ENOSPC"),
        (HEAD + "  - {do: flush}\nmore: 1\n", "unknown key 'more'"),
    ],
)
def test_a_wrong_script_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ScriptError, match=message) as failure:
        Script.read(path)
    assert str(path) in str(failure.value)


PLAIN = Script(
    8192,
    (
        Step("write", 100, 3000),
        Step("zero", 1000, 500, fua=True),
        Step("flush"),
        Step("read", 0, 4096),
        Step("status", 0, 4096),
        Step("reopen"),
        Step("write", 4096, 4096, fua=True),
        Step("discard", 4096, 512),
    ),
)


def test_the_form_for_qemu_io_runs_and_sees_a_wrong_volume(tmp_path: Path) -> None:
    image, program = tmp_path / "image", tmp_path / "script.sh"
    image.write_bytes(bytes(8192))
    program.write_text(to_qemu_io(PLAIN))
    done = subprocess.run(["sh", program, image], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    program.write_text(to_qemu_io(PLAIN).replace("write -q -P 1 100", "write -q -P 9 100"))
    assert subprocess.run(["sh", program, image], capture_output=True).returncode != 0


@pytest.mark.skipif(not Path("/usr/bin/nbdsh").exists(), reason="nbdsh is not installed")
def test_the_form_for_nbdsh_runs_and_sees_a_wrong_volume(tmp_path: Path) -> None:
    program = tmp_path / "script.py"
    shell = ["nbdkit", "-U", "-", "memory", "8192", "--run"]
    for text, right in (
        (to_nbdsh(PLAIN), True),
        (to_nbdsh(PLAIN).replace("bytes([1]) * 3000", "bytes([9]) * 3000"), False),
    ):
        program.write_text(text)
        command = f'exec(open("{program}").read())'
        run = f'/usr/bin/python3 -m nbd -u "$uri" -c {shlex.quote(command)}'
        done = subprocess.run([*shell, run], capture_output=True, text=True)
        assert (done.returncode == 0) == right, done.stderr


def test_steps_that_need_a_person_are_instructions_in_the_text() -> None:
    script = Script(4096, (Step("write", 0, 512), Step("power-cut", seed=1), Step("read", 0, 512)))
    assert "cut the server's power here" in to_qemu_io(script)
    assert "cut the server's power here" in to_nbdsh(script)
    assert "read -v 0 512" in to_qemu_io(script)

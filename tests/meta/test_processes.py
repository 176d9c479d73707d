"""Hangs, left-over processes and deaths affect only their own case, and leave nothing behind."""

from __future__ import annotations

import shutil

import pytest

from tests.meta.toys import Toy


def test_a_case_that_hangs_is_ended_with_its_stack_and_processes_shown(toy: Toy) -> None:
    body = """
    import subprocess, sys, time
    hung = [sys.executable, "-c", "import time; time.sleep(600)  # toy-hang"]
    subprocess.Popen(hung, start_new_session=True)
    print("before the hang", flush=True)
    time.sleep(600)
    """
    toy.case("001_hangs", body, limit_s=1)
    toy.case("002_passes", "pass")
    done = toy.run(timeout_s=30)
    case = done.cases["001_hangs"]
    assert (done.code, done.verdict("001_hangs"), done.verdict("002_passes")) == (1, "fail", "pass")
    assert case["message"] == "timed out after 1 s"
    assert 1 <= case["elapsed_s"] < 10
    for shown in ("001_hangs.py", "in test", "toy-hang", "before the hang"):
        assert shown in case["details"]
    assert toy.left_over(["toy-hang"]) == []


def test_a_time_out_lists_the_requests_in_flight_of_the_server(toy: Toy) -> None:
    toy.case("001_hangs", "import time\ntime.sleep(600)", "disk", limit_s=3)
    done = toy.run("-t", "reference", timeout_s=30)
    details = done.cases["001_hangs"]["details"]
    assert "Requests in flight at disk:\n  none" in details
    assert "reference_backend" in details


@pytest.mark.parametrize(
    ("after", "verdict", "message"),
    [
        (
            "continue",
            "broken",
            "timed out after 7 s, but nothing hangs: the target still answers (",
        ),
        ("time.sleep(600)", "fail", "timed out after 7 s"),
        ("time.sleep(6)", "fail", "timed out after 7 s"),
    ],
)
def test_a_slow_target_is_broken_and_one_that_hangs_or_stalls_fails(
    toy: Toy, after: str, verdict: str, message: str
) -> None:
    body = f"""
    import time
    with nbd_io(disk) as io:
        while True:
            io.read(0, 512)
            time.sleep(0.1)
            {after}
    """
    toy.case("001_endless", body, "disk, nbd_io", limit_s=7)
    case = toy.run("-t", "reference", timeout_s=60).cases["001_endless"]
    assert case["verdict"] == verdict
    assert case["message"].startswith(message)
    assert ("--timeout" in case["message"]) == (verdict == "broken")


def test_a_hang_that_ignores_all_signals_is_killed(toy: Toy) -> None:
    body = """
    import signal
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    while True:
        signal.pause()
    """
    toy.case("001_hangs", body)
    done = toy.run("--timeout", "1", timeout_s=30)
    assert done.cases["001_hangs"]["message"] == "timed out after 1 s"


def test_a_stopped_case_is_killed(toy: Toy) -> None:
    toy.case("001_stops", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", limit_s=1)
    assert toy.run(timeout_s=30).cases["001_stops"]["message"] == "timed out after 1 s"


def test_a_leftover_process_fails_its_case_and_is_named_and_killed(toy: Toy) -> None:
    child = 'subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600) #toy-left"])'
    toy.case("001_child", f"import subprocess, sys\ncase.kept = {child}")
    toy.case("002_setsid", "run(['sh', '-c', 'setsid sleep 611.5 >/dev/null 2>&1 &'])", "run")
    double = """
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    os.wait()
    """
    toy.case("003_double_fork", double)
    toy.case("004_passes", "pass")
    done = toy.run("-j2", timeout_s=40)
    assert [done.verdict(f"00{n}_{name}") for n, name in
            ((1, "child"), (2, "setsid"), (3, "double_fork"), (4, "passes"))] == [
        "fail", "fail", "fail", "pass",
    ]  # fmt: skip
    assert "left a process behind" in done.cases["001_child"]["message"]
    assert "toy-left" in done.cases["001_child"]["message"]
    assert done.cases["002_setsid"]["message"] == "left a process behind: sleep 611.5"
    assert "left a process behind" in done.cases["003_double_fork"]["message"]
    assert toy.left_over(["toy-left", "sleep 611.5"]) == []


def test_processes_of_a_case_that_died_are_killed(toy: Toy) -> None:
    body = """
    import os, subprocess
    subprocess.Popen(["setsid", "sleep", "612.5"])
    os.kill(os.getpid(), 9)
    """
    toy.case("001_dies", body)
    done = toy.run()
    assert "SIGKILL" in done.cases["001_dies"]["message"]
    assert toy.left_over(["sleep 612.5"]) == []


def test_a_process_that_ends_within_the_grace_period_does_not_fail_the_case(toy: Toy) -> None:
    toy.case("001_soon", "import subprocess\ncase.kept = subprocess.Popen(['sleep', '0.05'])")
    assert toy.run().verdict("001_soon") == "pass"


def test_a_scratch_directory_that_was_made_read_only_is_removed(toy: Toy) -> None:
    body = """
    (scratch / "a" / "b").mkdir(parents=True)
    (scratch / "a").chmod(0o500)
    """
    toy.case("001_read_only", body, "scratch")
    assert toy.run().code == 0
    assert toy.left_over() == []


def test_the_suite_time_limit_ends_running_cases_and_starts_no_others(toy: Toy) -> None:
    toy.case("001_hangs", "import time\ntime.sleep(600)")
    toy.case("002_passes", "pass")
    done = toy.run("--suite-timeout", "1.5", timeout_s=30)
    assert done.code == 1
    assert "the time limit of the run has expired" in done.cases["001_hangs"]["message"]
    assert done.verdict("001_hangs") == "broken"  # it may have been about to end
    assert done.verdict("002_passes") == "not run"
    assert toy.left_over() == []


def test_each_case_works_in_a_private_directory_with_a_short_name(toy: Toy) -> None:
    body = """
    import os, stat
    assert os.getcwd() == str(scratch)
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
    assert len(str(scratch)) < 40
    assert sorted(os.listdir()) == ["full.log", "stacks.txt"]
    (scratch / "left").write_text("x")
    """
    toy.case("001_one", body, "scratch")
    toy.case("002_two", body, "scratch")
    assert toy.run("-j2").code == 0
    assert toy.left_over() == []


def test_cases_do_not_share_process_state(toy: Toy) -> None:
    toy.case("001_spoils", "import os, sys\nos.environ['SPOILT'] = '1'\nsys.spoilt = True")
    toy.case(
        "002_looks",
        "import os, sys\nassert 'SPOILT' not in os.environ\nassert not hasattr(sys, 'spoilt')",
    )
    assert toy.run().code == 0


@pytest.mark.parametrize("target", ["file", "reference", "reference-file"])
def test_keep_leaves_the_volume(toy: Toy, target: str) -> None:
    toy.case("001_writes", "qemu_io(disk).write(0, 4096)\nassert False", "disk, qemu_io")
    assert toy.run("-t", target, "--keep").code == 1
    (root,) = toy.temporary.iterdir()
    (case,) = (path for path in root.iterdir() if path.name == "1")
    volumes = [*case.glob("*.img"), *case.glob("disk.volume/disk")]
    assert [path.stat().st_size for path in volumes] == [8 << 20]
    (volume,) = volumes
    assert volume.read_bytes().count(b"\0") < 4 << 20, "it is full of stamps"
    shutil.rmtree(root)


def test_keep_leaves_the_scratch_directories(toy: Toy) -> None:
    toy.case("001_writes", "(scratch / 'trace').write_text('kept')", "scratch")
    assert toy.run("--keep").code == 0
    assert [path.read_text() for path in toy.temporary.rglob("trace")] == ["kept"]


def test_debug_shows_the_full_log(toy: Toy) -> None:
    toy.case("001_logs", "print('printed')\nlog('logged')", "log")
    done = toy.run("-d")
    assert "printed\nlogged\n" in done.err
    assert "printed" not in toy.run().err

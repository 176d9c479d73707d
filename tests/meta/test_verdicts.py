"""Each kind of case gets its verdict, and the run continues after it."""

from __future__ import annotations

import pytest

from qbdcheck.files import ROOT
from tests.meta.toys import Toy


def test_a_case_that_passes_makes_a_green_run(toy: Toy) -> None:
    toy.case("001_passes", "assert True")
    done = toy.run()
    assert (done.code, done.verdict("001_passes")) == (0, "pass")
    assert done.cases["001_passes"]["sentence"] == "001_passes does as it should"


def test_a_failed_assertion_is_a_failure_that_shows_the_values(toy: Toy) -> None:
    toy.case("001_fails", "seen = 1\nassert seen == 2")
    toy.case("002_passes", "pass")
    done = toy.run()
    assert (done.code, done.verdict("001_fails"), done.verdict("002_passes")) == (1, "fail", "pass")
    assert "assert 1 == 2" in done.cases["001_fails"]["message"]


def test_the_rerun_command_of_a_failure_repeats_it_with_the_same_seed(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    toy.case("007_random", "assert seed.stream('x').random() > 2, f'drew {int(seed)}'", "seed")
    first = toy.run("1-").cases["007_random"]
    arguments = first["rerun"].split()
    assert arguments[0] == "./check"
    again = toy.run(*arguments[1:])
    assert list(again.cases) == ["007_random"]
    drew = [one["message"].split()[:2] for one in (first, again.cases["007_random"])]
    assert drew[0] == drew[1]


def test_a_programming_mistake_in_a_case_is_broken_not_failed(toy: Toy) -> None:
    toy.case("001_name", "undefined_name")
    toy.case("002_type", "len(3)")
    toy.case("003_fixture", "pass", "no_such_fixture")
    toy.case(
        "004_says_so", "from qbdcheck.kit import CaseBroken\nraise CaseBroken('no fault fired')"
    )
    done = toy.run()
    assert {case["verdict"].lower() for case in done.ends} == {"broken"}
    assert done.code == 1
    assert "undefined_name" in done.cases["001_name"]["message"]
    assert "no_such_fixture" in done.cases["003_fixture"]["message"]


def test_a_case_that_cannot_go_on_does_not_owe_its_faults(toy: Toy) -> None:
    body = "rules.add({'event': 'none', 'iotype': 'discard', 'errno': 'EIO'})\n"
    ends = "from qbdcheck.kit import NotRun\nraise NotRun('the target serves 4 clients at a time')"
    toy.case("001_ends", body + ends, "rules")
    toy.case("002_owes", body, "rules")
    done = toy.run("-t", "reference")
    assert (done.verdict("001_ends"), done.verdict("002_owes")) == ("not run", "broken")


def test_an_error_of_a_program_or_of_the_system_is_a_failure(toy: Toy) -> None:
    toy.case("001_program", "run(['false'])", "run")
    toy.case("002_connection", "raise ConnectionResetError(104, 'reset by peer')")
    done = toy.run()
    assert (done.verdict("001_program"), done.verdict("002_connection")) == ("fail", "fail")
    assert "false exited with 1" in done.cases["001_program"]["message"]


def test_a_case_that_cannot_be_imported_is_broken_and_names_the_module(toy: Toy) -> None:
    path = toy.case("001_import", "pass")
    path.write_text(path.read_text().replace("from qbdcheck", "import nosuchmodule\nfrom qbdcheck"))
    toy.case("002_passes", "pass")
    done = toy.run()
    assert (done.verdict("001_import"), done.verdict("002_passes")) == ("broken", "pass")
    assert "nosuchmodule" in done.cases["001_import"]["message"]


def test_a_case_that_is_not_python_is_listed_and_broken(toy: Toy) -> None:
    (toy.suites / "001_syntax.py").write_text('"""This case checks that (."""\ndef test(:\n')
    assert "001_syntax" in toy.run("-l", "1").out
    done = toy.run("1")
    assert (done.code, done.verdict("001_syntax")) == (1, "broken")


def test_an_import_that_kills_the_process_fails_only_its_case(toy: Toy) -> None:
    path = toy.case("001_import", "pass")
    path.write_text(
        path.read_text().replace("from qbdcheck", "import os; os.abort()\nfrom qbdcheck")
    )
    toy.case("002_passes", "pass")
    done = toy.run()
    assert (done.verdict("001_import"), done.verdict("002_passes")) == ("fail", "pass")
    assert "SIGABRT" in done.cases["001_import"]["message"]


def test_a_case_that_dies_by_a_signal_fails_with_its_name_and_output(toy: Toy) -> None:
    toy.case("001_dies", "import os\nprint('last words')\nos.kill(os.getpid(), 11)")
    toy.case("002_passes", "pass")
    done = toy.run()
    assert (done.verdict("001_dies"), done.verdict("002_passes")) == ("fail", "pass")
    assert "SIGSEGV" in done.cases["001_dies"]["message"]
    assert "last words" in done.cases["001_dies"]["details"]


def test_a_case_that_leaves_its_process_without_a_verdict_fails(toy: Toy) -> None:
    toy.case("001_exits", "import os\nos._exit(0)")
    toy.case("002_exits", "raise SystemExit(0)")
    done = toy.run()
    assert (done.verdict("001_exits"), done.verdict("002_exits")) == ("fail", "fail")
    assert "exited with 0 without a verdict" in done.cases["001_exits"]["message"]


def test_a_case_that_closes_all_descriptors_affects_no_other_case(toy: Toy) -> None:
    toy.case("001_closes", "import os\nos.closerange(3, 4096)\nassert False")
    toy.case("002_passes", "pass")
    done = toy.run()
    assert (done.verdict("001_closes"), done.verdict("002_passes")) == ("fail", "pass")


def test_a_run_in_which_no_case_ran_is_not_green_and_shows_the_reasons(toy: Toy) -> None:
    toy.case("001_not", "from qbdcheck.kit import NotRun\nraise NotRun('no disk', 'no time')")
    done = toy.run()
    assert done.code == 2
    assert done.cases["001_not"]["reasons"] == ["no disk", "no time"]
    toy.case("002_passes", "pass")
    assert toy.run().code == 0


def test_a_part_that_is_not_run_is_reported_and_the_case_passes(toy: Toy) -> None:
    toy.case("001_partly", "not_run('no O_DIRECT here')", "not_run")
    done = toy.run()
    assert (done.code, done.verdict("001_partly")) == (0, "pass")
    assert done.cases["001_partly"]["partly_not_run"] == ["no O_DIRECT here"]


def test_missing_requirements_are_all_listed_before_the_case_starts(toy: Toy) -> None:
    toy.case("001_needs", "assert False", requires="kill control", programs="nosuchprogram")
    toy.case("002_passes", "pass")
    done = toy.run()
    reasons = " / ".join(done.cases["001_needs"]["reasons"])
    assert done.code == 0
    assert all(word in reasons for word in ("kill", "control", "nosuchprogram"))


@pytest.mark.parametrize(
    ("variable", "fixture"),
    [("QEMU_IO_PROG", "disk"), ("QSD_PROG", "storage_daemon"), ("QEMU_PROG", "machine")],
)
def test_a_missing_qemu_program_affects_only_the_cases_that_need_it(
    toy: Toy, variable: str, fixture: str
) -> None:
    toy.case("001_needs", "pass", fixture)
    toy.case("002_passes", "pass")
    toy.environment[variable] = "/no/such/program"
    done = toy.run("-t", "reference")
    assert (done.code, done.verdict("002_passes")) == (0, "pass")
    assert done.verdict("001_needs") == "not run"
    assert done.cases["001_needs"]["reasons"] == ["program /no/such/program is not installed"]


def test_a_failing_case_with_a_deviation_is_not_run_and_a_passing_one_fails(toy: Toy) -> None:
    toy.case("001_fails", "assert False, 'as it always does'")
    toy.case("002_passes", "pass")
    toy.case("003_passes", "pass")
    toy.case("004_broken", "undefined_name")
    profile = toy.directory / "peer.yaml"
    profile.write_text(
        (ROOT / "targets" / "file.yaml").read_text()
        + "deviations:\n"
        + '  - {case: "1", finding: nbdkit-any-export-name}\n'
        + '  - {case: "002_passes", finding: nbdkit-file-regrows}\n'
        + '  - {case: "3", finding: nbdkit-file-regrows, formats: [qcow2]}\n'
        + '  - {case: "4", finding: nbdkit-any-export-name}\n'
    )
    done = toy.run("-t", str(profile))
    assert done.code == 1
    assert done.verdict("001_fails") == "not run"
    assert done.cases["001_fails"]["reasons"] == [
        "known deviation: docs/findings.md#nbdkit-any-export-name"
    ]
    assert "known deviation: docs/findings.md#nbdkit-any-export-name" in done.out
    assert done.verdict("002_passes") == "fail"
    assert "remove the deviation from the target's profile" in done.cases["002_passes"]["message"]
    assert done.verdict("003_passes") == "pass"
    assert done.verdict("004_broken") == "broken"


def test_strict_turns_reasons_that_are_not_allowed_into_failures(toy: Toy) -> None:
    toy.case("001_not", "from qbdcheck.kit import NotRun\nraise NotRun('no O_DIRECT on tmpfs')")
    toy.case("002_passes", "pass")
    assert toy.run("--strict").code == 1
    (toy.suites / "allowed-not-run.yaml").write_text("- no O_DIRECT on *\n")
    assert toy.run("--strict").code == 0


def test_a_failing_teardown_fails_a_case_that_had_passed(toy: Toy) -> None:
    path = toy.case("001_teardown", "pass", "broken_end")
    fixture = (
        "import pytest\n@pytest.fixture\ndef broken_end():\n    yield\n    assert 0, 'not closed'\n"
    )
    path.write_text(path.read_text().replace("@case", fixture + "@case"))
    done = toy.run()
    assert done.verdict("001_teardown") == "fail"
    assert "in teardown: not closed" in done.cases["001_teardown"]["message"]


def test_several_formats_make_a_matrix_of_items(toy: Toy) -> None:
    toy.case("001_any", "assert target.image_format in ('raw', 'qcow2')", "target", formats="any")
    toy.case("002_raw", "pass")
    done = toy.run("-qcow2", "-raw")
    verdicts = {(one["case_id"], one["image_format"]): one["verdict"].lower() for one in done.ends}
    assert verdicts["001_any", "raw"] == verdicts["001_any", "qcow2"] == "pass"
    assert verdicts["002_raw", "raw"] == "pass"
    assert (
        "qcow2"
        in next(o for o in done.ends if o["verdict"].lower().startswith("not"))["reasons"][0]
    )


def test_findings_of_an_oracle_are_in_the_events(toy: Toy) -> None:
    toy.case("001_bare", "disk = new_disk('64K')\nassert disk.shadow.check(512, bytes(512)) == []",
             "new_disk")  # fmt: skip
    lost = "disk = new_disk('64K')\ndisk.shadow.pattern(4096, 512, 7)\ndisk.verify()"
    toy.case("002_verify", lost, "new_disk")
    toy.case("003_late", "import time\ntime.sleep(60)", limit_s=1)
    toy.case("004_passes", "pass")
    cases = toy.run().cases
    (bare,), (verify,), (late,) = (
        cases[name]["findings"] for name in ("001_bare", "002_verify", "003_late")
    )
    assert (bare["damage"], bare["offset"], bare["length"]) == ("zeroed", 512, 512)
    assert (bare["expected"]["what"], bare["expected"]["generation"]) == ("stamp", 0)
    assert (verify["damage"], verify["expected"]["number"]) == ("never written", 7)
    assert verify["last_writes"][0]["text"] == "write of pattern 0x07"
    assert late["damage"] == "hang"
    assert cases["004_passes"]["findings"] == []

"""Case numbers of three and of four digits."""

from __future__ import annotations

from tests.meta.toys import Toy


def toy_with_numbers(toy: Toy) -> Toy:
    toy.case("001_first", "pass")
    toy.case("199_last_of_three", "pass", groups="slow")
    toy.case("1000_first_of_four", "golden('one')", "golden")
    toy.case("1199_last_of_four", "assert False", groups="slow")
    (toy.golden / "1000_first_of_four.out").write_text("one\n")
    return toy


def test_ranges_and_numbers_select_both_kinds(toy: Toy) -> None:
    toy_with_numbers(toy)
    for selection, expected in (
        (["1-"], ["001", "199", "1000", "1199"]),
        (["001-100"], ["001"]),
        (["1-999"], ["001", "199"]),
        (["1000-"], ["1000", "1199"]),
        (["-199"], ["001", "199"]),
        (["1000"], ["1000"]),
        (["first_of_four"], ["1000"]),
        ([], ["001", "1000"]),
    ):
        ends = toy.run(*selection).ends
        assert [one["case_id"].partition("_")[0] for one in ends] == expected, selection


def test_a_list_has_all_cases_sorted_by_number(toy: Toy) -> None:
    toy_with_numbers(toy)
    toy.case("200_off", "pass", groups="disabled")
    lines = toy.run("-l").out.splitlines()
    numbers = [line.partition("_")[0] for line in lines]
    assert numbers == ["001", "199", "200", "1000", "1199"]
    assert [line.partition("_")[0] for line in toy.run("-l", "-g", "quick").out.splitlines()] == [
        "001",
        "1000",
    ]


def test_columns_of_a_report_and_a_dry_run_are_aligned(toy: Toy) -> None:
    toy_with_numbers(toy)
    done = toy.run("1", "1000")
    assert {line.index("pass") for line in done.out.splitlines() if line[:1].isdigit()} == {5}
    done = toy.run("-n", "1", "1000")
    assert {line.index("raw") for line in done.out.splitlines() if line[:1].isdigit()} == {5}


def test_durations_golden_files_and_reruns_work_with_four_digits(toy: Toy) -> None:
    toy_with_numbers(toy)
    (toy.golden / "1000_first_of_four.out").unlink()
    refused = toy.run("1000")
    assert refused.code == 2
    assert "./check --update-golden 1000 writes it" in refused.err
    assert toy.run("--update-golden", "1000").code == 1
    assert toy.run("1000").code == 0
    done = toy.run("1199")
    assert done.cases["1199_last_of_four"]["rerun"].endswith(" 1199")
    assert toy.run("1199").cases["1199_last_of_four"]["last_s"] is not None

"""Every run leaves its results, and later commands read them."""

from __future__ import annotations

import json
import re

from qbdcheck.report.decode import tally_of_text
from tests.meta.toys import Toy


def test_a_run_says_where_its_results_are(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    toy.case("002_fails", "log('here')\nassert False, 'sector 8 is stale'", "log")
    for flags, pattern in (((), r"^results: (\S+)$"), (("--tap",), r"^# results: (\S+)$")):
        done = toy.run(*flags)
        found = re.search(pattern, done.out, re.M)
        assert found, done.out
        name = found[1].rpartition("/")[2]
        directory = toy.cache / "results" / name
        tally = tally_of_text((directory / "report.json").read_text())
        assert tally.run is not None
        assert tally.run.run_id == name
        assert tally.run.environment["qbdcheck"].startswith("0.")
        assert [case.verdict.value for case in tally.cases] == ["pass", "fail"]
        assert (directory / "002_fails.raw" / "full.log").exists()
        assert (toy.cache / "results" / "latest").resolve() == directory


def test_results_go_where_the_user_says_or_the_run_does_not_start(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    chosen = toy.directory / "chosen"
    assert f"results: {chosen}/" in toy.run("--results", str(chosen)).out
    assert (chosen / "latest" / "report.json").exists()
    assert not (toy.cache / "results").exists()
    (toy.directory / "file").touch()
    done = toy.run("--results", str(toy.directory / "file"))
    assert done.code == 2
    assert re.fullmatch(r"check: --results \S+/file: Not a directory; name a .*\n", done.err)
    assert toy.run("--results", "").code == 2


def test_an_unusable_cache_does_not_stop_a_run(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    toy.cache.parent.mkdir(exist_ok=True)
    toy.cache.write_text("a file where the directory should be")
    done = toy.run()
    assert done.code == 0, done.out + done.err
    assert "results: not saved, " in done.out


def test_diff_tells_a_new_failure_from_an_old_one(toy: Toy) -> None:
    toy.case("001_changes", "pass")
    toy.case("002_fails", "assert False, 'always'")
    toy.run()
    assert toy.command("diff", "latest", "latest").code == 0
    toy.case("001_changes", "assert False, 'sector 8 is stale'")
    toy.run()
    done = toy.command("diff", "latest~1")
    assert done.code == 1, done.err
    assert "new failures: 1\n  001_changes: was pass, now fail: sector 8 is stale\n" in done.out
    assert "still failing: 1\n  002_fails: always\n" in done.out
    back = toy.command("diff", "latest", "latest~1", "--json")
    assert back.code == 0
    made = json.loads(back.out)
    assert [one["case_id"] for one in made["fixed"]] == ["001_changes"]
    assert made["new_failures"] == []
    wrong = toy.command("diff", "latest~9")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert toy.command("diff").code == 2


def test_history_shows_runs_and_a_case_over_them(toy: Toy) -> None:
    assert "there is no run in" in toy.command("history").err
    toy.case("001_changes", "pass")
    toy.case("002_passes", "pass")
    toy.run()
    toy.case("001_changes", "assert False, 'sector 8 is stale'")
    toy.run()
    done = toy.command("history")
    assert done.code == 0, done.err
    assert "  001_changes  |.F|\n" in done.out
    assert "002_passes" not in done.out
    done = toy.command("history", "1", "-t", "file")
    assert "verdict |.F|\n" in done.out
    assert re.search(r"^  \d{8}-\S+ +fail +\d\.\ds  sector 8 is stale$", done.out, re.M)
    made = json.loads(toy.command("history", "--json").out)
    assert [one["verdicts"] for one in made["cases"]] == [["pass", "fail"], ["pass", "pass"]]
    toy.environment |= {"PYTHONIOENCODING": "ascii"}
    assert toy.command("history", "1").code == 0
    for arguments in (["77"], ["-n", "0"], ["-t", "nosuch"], ["--results", "/nosuch"]):
        wrong = toy.command("history", *arguments)
        assert (wrong.code, wrong.err.count("\n"), wrong.out) == (2, 1, "")


def test_the_reports_of_shards_are_merged(toy: Toy) -> None:
    for number in range(1, 6):
        toy.case(f"00{number}_it", "assert False, 'sector 8 is stale'" if number == 2 else "pass")
    files = [str(toy.directory / f"{part}.json") for part in (1, 2, 3)]
    for part, file in enumerate(files, 1):
        toy.run("--shard", f"{part}/3", "--json", file)
    out = {kind: toy.directory / f"merged.{kind}" for kind in ("html", "junit", "json")}
    flags = [word for kind, path in out.items() for word in (f"--{kind}", str(path))]
    done = toy.command("merge", *files, *flags)
    assert done.code == 1, done.err
    assert "Failures: 002\n" in done.out
    assert "Failed 1 of 5 cases" in done.out
    merged = tally_of_text(out["json"].read_text())
    assert [case.number for case in merged.cases] == [1, 2, 3, 4, 5]
    assert 'tests="5" failures="1"' in out["junit"].read_text()
    assert "sector 8 is stale" in out["html"].read_text()
    done = toy.command("merge", files[0], files[2], files[2])
    assert done.code == 1
    assert "note: missing shard: 2/3\n" in done.out
    assert "in 2 reports" in done.out
    assert toy.command("diff", str(out["json"]), files[0]).code == 0


def test_durations_are_written_from_runs(toy: Toy) -> None:
    toy.case("001_slow", "import time\ntime.sleep(1.2)")
    toy.case("002_fails", "assert False")
    toy.run()
    path = toy.directory / "durations.json"
    path.write_text('{"002_fails": {"elapsed_s": 7}, "gone": {"elapsed_s": 1}}')
    done = toy.command("durations", "latest", "-o", str(path))
    assert (done.code, done.err) == (0, ""), done.err
    assert json.loads(path.read_text()) == {}, "the cases of the toy are not those of the suites"

"""Run the cases of a plan, and decide their verdicts.

The life of a case, from selection to report:

1.  `qbdcheck.cli.main` parses the command line into `Options` (`qbdcheck.arguments.parse`).
2.  `qbdcheck.catalogue.plan.make_plan` selects the case: `list_cases` reads its file without
    importing it, `selection.select` applies numbers, groups and exclusions, `ordering` sorts.
3.  `qbdcheck.cli._run` starts the `reaper.Reaper`, which cleans up even if the runner is killed,
    and starts pytest with the plugin `CheckSession`. Plain pytest collects the case itself and
    comes in at the next step (`qbdcheck.pytest_integration.session.run_items`).
4.  `qbdcheck.pytest_integration.session.build_run` makes a `case_run.Unit` of the case for each
    image format, probes the target, and builds the `run.Run`.
5.  `run.Run.execute` sends `RunStarted` to the reports and runs the lanes. For each unit,
    `preflight.decide_before` first checks image format, programs and capabilities: a case that
    cannot run ends here as "not run", with all reasons.
6.  `lanes.Lanes.run` takes the unit when a lane is free, makes its scratch directory and forks a
    child. `run.Run.started` sends `CaseStarted`.
7.  `child.run_child` runs in the child, a process group of its own. `child.run_unit` imports the
    case (`collect_one`) and runs the phases setup, call and teardown of pytest's protocol. Fixtures
    come from `qbdcheck.pytest_integration.fixtures`.
8.  `child.check_golden` compares the output, filtered by `filters.Filters`, with the golden file
    (`golden.compare`), as a part of the call.
9.  `verdict_rules.judge` turns an exception of a phase into a `case_run.Result`; without one the
    case passes. The child writes the result to a pipe (`Result.to_bytes`) and exits.
10. `lanes.Lanes._finish` reads the result, kills processes that the case left
    (`subreaper.end_strays`) and keeps logs and stacks of a case that is not green
    (`artefacts.keep_artefacts`). A crash, a time-out or a lost result is a failure of the case.
11. `run.Run.finished` applies documented deviations (`verdict_rules.apply_deviation`) and --strict,
    records the duration (`qbdcheck.catalogue.history.Elapsed`) and sends `CaseEnded`.
12. Each `qbdcheck.report.reporter.Reporter` handles the events: terminal, TAP, JUnit, JSON, HTML.
    After the last case `run.Run.execute` sends `RunEnded` and returns the `ExitCode`.
"""

"""Register the pytest plugin for the cases in suites/; the code is in qbdcheck.plugin."""

pytest_plugins = ["qbdcheck.plugin"]

"""Run events and the writers that turn them into terminal output, TAP, JUnit and JSON."""

"""Join the runner to pytest: the session of ./check, the items and the fixtures."""

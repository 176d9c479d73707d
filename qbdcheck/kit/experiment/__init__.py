"""Experiments after a failure: repeat it on fresh volumes, make it small, and vary one thing.

`script_search` finds a script that fails and makes it small, `variants` has the single changes,
`thresholds` finds where lengths and places begin to fail, `words` says what the trials mean. These
are pure: they get a function that plays a script. `bench` plays scripts on fresh volumes of a
target, and `experiment` does all of it within a limit of time.
"""

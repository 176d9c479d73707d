"""The runner: select, run, compare, report; the QEMU programs; the targets; the guest."""

"""The QEMU programs as processes of a case; the only place that starts processes."""

"""The programs of QEMU as processes of a case. Only this package starts processes."""

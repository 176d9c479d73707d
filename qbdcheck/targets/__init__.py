"""Targets: profiles of backends, and the volumes, servers and disks of a case."""

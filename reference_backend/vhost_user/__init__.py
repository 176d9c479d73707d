"""vhost-user-blk: a front end for any daemon, and an NBD server above it.

A vhost-user-blk daemon (qemu-storage-daemon, SPDK's vhost, ...) has no network protocol: it reads
requests from rings in the memory of its client. The front end here is such a client:

- ``messages``: the messages on the Unix socket, without the socket;
- ``memory``: the memory that front end and daemon share;
- ``ring``: the driver's side of a split virtqueue in this memory;
- ``front_end``: the handshake, features, rings and the configuration space of one connection;
- ``requests``: requests of virtio-blk, their descriptors, and how they complete;
- ``disk``: the daemon's disk as a device of the NBD server of this package;
- ``bridge``: the command ``vhost-user``, which serves this disk over NBD.

So each case that reads and writes by QEMU or NBD also judges a vhost-user-blk daemon.

Sources: QEMU, docs/interop/vhost-user.rst; Virtual I/O Device (VIRTIO) Version 1.2, sections 2.7
(Split Virtqueues) and 5.2 (Block Device).
"""

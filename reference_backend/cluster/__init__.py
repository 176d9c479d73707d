"""A small cluster of three nodes that keep one volume; docs/cluster.md has the protocol.

``node.Node``, ``leader.Leader`` and ``gateway.Gateway`` are state machines: they get messages and
the time, and put messages into an outbox. They use no sockets, threads, clocks or randomness. So
the same code runs as processes (``process``) and in a simulation
(``qbdcheck.kit.cluster.simulation``).

The life of a write: ``volume.ClusterStore`` (below the NBD server) gives it to the ``Gateway`` of
its process. The gateway sends a ``Request`` to the leader. ``Leader.request`` makes a ``Record``
of the whole granule and sends a ``Put`` to both followers. ``Node._on_put`` stores it in the
``replica.Replica`` and answers with ``PutAck``. The first answer makes two copies: a quorum. The
leader sends ``Reply``, and the gateway completes the request.
"""

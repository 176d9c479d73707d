"""A correct, readable, fast qbd backend that speaks NBD; see docs/architecture.md.

The life of a request, from the socket to the reply:

1. ``acceptor.Acceptor._accept`` accepts the client. ``server.Server._admit`` makes a
   ``session.Connection`` with a ``nbd.negotiation.ServerNegotiation``, or closes the socket if
   there are too many connections.
2. ``Acceptor._negotiate`` receives the client's options, and ``ServerNegotiation.receive`` answers
   them. After GO or EXPORT_NAME, ``Server._enter`` and ``Connection.begin`` start the transmission
   phase.
3. The socket becomes readable. ``Acceptor._ready`` calls ``Server._activate``, which starts a
   thread in ``Server._serve``. The thread runs ``Connection.serve`` until the client is idle.
4. ``Connection._serve`` calls a function of ``transport.receiver``, which receives many requests at
   once into the receive buffer. ``Connection._run_oversize`` receives a request that is longer than
   the buffer.
5. ``nbd.transmission.ServerTransmission.run`` executes the complete requests in the buffer. There
   are two paths:

   - ``ServerTransmission._fast``: READ and WRITE without errors and without active layers go
     directly to ``store.volume.Volume.read`` and ``write``.
   - ``ServerTransmission._other``: everything else. ``nbd.rules.Rules.judge`` checks the request,
     then ``nbd.execution.Executor.execute`` continues.

6. ``Executor.carry_out`` passes the request through the layers (``blockio.layers.stack``; rules are
   in ``rule_layer.RuleLayer``) to ``Executor._bottom``, which calls the volume. A large READ first
   takes memory from ``transport.MemoryBudget``. A request that a layer may pause runs in a thread
   of its own (``Connection._start_blocking``, ``blocking_requests.BlockingRequests.start``).
7. ``store.volume.Volume`` takes its lock, notes the old contents in ``store.write_cache`` if the
   server can cut the power, and calls its store: ``store.memory``, ``store.directory`` or
   ``store.image``.
8. ``Executor._answer`` encodes the reply with ``nbd.replies.ReplyBuilder`` and appends its buffers
   to ``ServerTransmission.out``.
9. ``Connection._serve`` sends all of ``out`` in one system call (``transport.sender``).
   ``Connection._send_large`` sends replies that hold memory of the budget.
10. The client is idle: ``Server._park`` gives the connection back to the acceptor (step 3). The
    client has left, or it broke the protocol: ``Server._end`` closes the connection.

``vhost_user`` is the other way to a volume: its docstring lists the modules.
"""

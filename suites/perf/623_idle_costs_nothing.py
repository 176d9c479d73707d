"""This case checks that a server with idle clients uses no CPU time.

How: four clients make some requests and then none for a second. The server may use a tenth of that
second. An event loop whose socket stays ready uses all of it.
Guards: idle-server-polls.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.request_cost import used_cpu_s

CLIENTS, IDLE_S = 4, 1.0


@case(
    groups="concurrent perf",
    requires="nbd multi_conn",
    basis="POLICY: cost-of-a-request-is-bounded",
)
def test(new_disk, nbd, log):
    disk = new_disk("1M")
    clients = [nbd(disk) for _ in range(CLIENTS)]
    for number, client in enumerate(clients):
        client.read(number * 4096, 4096)
        client.write(number * 4096, bytes(4096))
    pause(0.2)  # what the server puts off until later is not idle time
    before_s = used_cpu_s(disk)
    pause(IDLE_S)
    used_s = used_cpu_s(disk) - before_s
    log(f"the server used {used_s * 1000:.1f} ms of CPU time in {IDLE_S:g} s")
    for client in clients:
        client.read(0, 4096)
    assert used_s < IDLE_S / 10, (
        f"the idle server used {used_s:.2f} s of CPU time in {IDLE_S:g} s; expected none"
    )

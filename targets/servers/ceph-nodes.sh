#!/bin/sh
# Run three nodes of a Ceph in the foreground, in the network namespace of this shell.
#
#     ceph-nodes.sh DIRECTORY
#
# DIRECTORY gets ceph.conf. The nodes end with this shell, also after SIGKILL. If one of them ends, the
# others are ended too.
set -eu
dir=$1
here=$(dirname "$0")
ip link set lo up
pids=
for number in 1 2 3; do
    ip address add "10.77.0.$number/32" dev lo
    setpriv --pdeathsig KILL sh "$here/ceph-node.sh" "$dir" "$number" &
    pids="$pids $!"
done
alive() {  # whether all nodes run
    for pid in $pids; do kill -0 "$pid" 2>/dev/null || return 1; done
}
stop() {  # once: the signal may come again
    trap '' TERM INT
    # shellcheck disable=SC2086  # the words are process ids
    kill $pids 2>/dev/null || true
    for pid in $pids; do
        while kill -0 "$pid" 2>/dev/null; do wait "$pid" || true; done
    done
    exit "$1"
}
trap 'stop 0' TERM INT
while alive; do
    sleep 0.2 &
    wait $! || true
done
echo "ceph-nodes.sh: a node has ended" >&2
stop 1

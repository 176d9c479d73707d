#!/bin/sh
# Run a small Ceph in the foreground: one monitor and one OSD (bluestore in a file), on the loopback
# interface, as any user. The first start makes the stores, later ones use them.
#
#     ceph.sh DIRECTORY
#
# DIRECTORY has ceph.conf. Both daemons end with this shell, also after SIGKILL. If one of them ends,
# the other is ended too.
set -eu
dir=$1
export CEPH_CONF="$dir/ceph.conf"
cd "$dir"

daemon() {  # start a daemon that dies with this shell; its log goes to stderr
    setpriv --pdeathsig KILL "$@" -f 2>&1 &
}

if [ ! -e made ]; then
    rm -rf mon osd
    mkdir osd
    monmaptool --create --fsid "$(ceph-conf --lookup fsid)" \
        --addv a "$(ceph-conf --lookup 'mon host')" --clobber monmap >/dev/null
    ceph-mon --mkfs -i a --monmap monmap >/dev/null 2>&1
fi
daemon ceph-mon -i a
mon=$!
if [ ! -e made ]; then
    uuid=$(cat /proc/sys/kernel/random/uuid)
    ceph --connect-timeout 60 osd new "$uuid" >/dev/null
    ceph-osd -i 0 --mkfs --osd-uuid "$uuid" >/dev/null 2>&1
fi
daemon ceph-osd -i 0
osd=$!
stop() {  # once: the signal may come again
    trap '' TERM INT
    kill $osd 2>/dev/null
    while kill -0 $osd 2>/dev/null; do wait $osd; done
    kill $mon 2>/dev/null
    while kill -0 $mon 2>/dev/null; do wait $mon; done
    exit 0
}
trap stop TERM INT
if [ ! -e made ]; then
    ceph --connect-timeout 60 osd crush add 0 1.0 root=default host=host >/dev/null 2>&1
    ceph --connect-timeout 60 osd pool create rbd 8 8 >/dev/null 2>&1
    # clones of snapshots that need not be protected
    ceph --connect-timeout 60 osd set-require-min-compat-client mimic >/dev/null 2>&1
    touch made
fi
while kill -0 $mon 2>/dev/null && kill -0 $osd 2>/dev/null; do
    sleep 0.2 &
    wait $! || true
done
kill $mon $osd 2>/dev/null || true
echo "ceph.sh: a daemon has ended" >&2
exit 1

#!/bin/sh
# Run one node of a Ceph in the foreground: a monitor and an OSD (bluestore in a file). The first start
# makes the stores, later ones use them. An OSD whose store is gone is made anew.
#
#     ceph-node.sh DIRECTORY NUMBER
#
# DIRECTORY gets ceph.conf. Both daemons end with this shell, also after SIGKILL. If one of them ends,
# the other is ended too.
set -eu
dir=$1
number=$2
here=$(cd "$(dirname "$0")" && pwd)
export CEPH_CONF="$dir/ceph.conf"
cd "$dir"
if [ ! -e ceph.conf ]; then  # three nodes may do this at a time
    sed "s|DIRECTORY|$dir|" "$here/ceph-cluster.conf" >"ceph.conf.$number"
    mv "ceph.conf.$number" ceph.conf
fi

daemon() {  # start a daemon that dies with this shell; its log goes to stderr
    setpriv --pdeathsig KILL "$@" -f 2>&1 &
}
ask() {  # ask the monitors, which may not have a quorum yet
    until ceph --connect-timeout 10 "$@" >/dev/null 2>&1; do sleep 0.2; done
}

if [ ! -e "mon-$number/made" ]; then
    rm -rf "mon-$number"
    addresses= one=0
    for address in $(ceph-conf --lookup 'mon host' | tr ',' ' '); do
        one=$((one + 1))
        addresses="$addresses --addv $one $address"
    done
    # shellcheck disable=SC2086  # the words are arguments
    monmaptool --create --fsid "$(ceph-conf --lookup fsid)" $addresses --clobber \
        "monmap-$number" >/dev/null
    ceph-mon --mkfs -i "$number" --monmap "monmap-$number" >/dev/null 2>&1
    touch "mon-$number/made"
fi
daemon ceph-mon -i "$number"
mon=$!
if [ ! -e "osd-$number/made" ]; then
    if [ -e "osd-$number.known" ]; then
        # Its store is lost. An administrator says so, and replaces it. (osd destroy needs a manager.)
        ask osd lost "$number" --yes-i-really-mean-it
        ask osd rm "$number"
    fi
    rm -rf "osd-$number"
    mkdir "osd-$number"
    uuid=$(cat /proc/sys/kernel/random/uuid)
    ask osd new "$uuid" "$number"
    ceph-osd -i "$number" --mkfs --osd-uuid "$uuid" >/dev/null 2>&1
    ask osd crush add "$number" 1.0 root=default "host=node$number"
    touch "osd-$number/made" "osd-$number.known"
fi
daemon ceph-osd -i "$number"
osd=$!
stop() {  # once: the signal may come again
    trap '' TERM INT
    kill "$osd" 2>/dev/null
    while kill -0 "$osd" 2>/dev/null; do wait "$osd"; done
    kill "$mon" 2>/dev/null
    while kill -0 "$mon" 2>/dev/null; do wait "$mon"; done
    exit 0
}
trap stop TERM INT
while kill -0 "$mon" 2>/dev/null && kill -0 "$osd" 2>/dev/null; do
    sleep 0.2 &
    wait $! || true
done
kill "$mon" "$osd" 2>/dev/null || true
echo "ceph-node.sh: a daemon of node $number has ended" >&2
exit 1

#!/bin/sh
# What a client asks of the Ceph of ceph-node.sh. CEPH_CONF names its configuration.
#
#     ceph-client.sh create IMAGE BYTES COPIES LEAST
#         make the pool, unless it is there, and an image. Each object has so many COPIES. While there
#         are fewer than LEAST, it cannot be used
#     ceph-client.sh serve IMAGE SOCKET   serve an image over NBD, in the foreground
#     ceph-client.sh leader               print the number of the node whose OSD leads
#     ceph-client.sh settled NODES        succeed if all nodes serve and have all data
#     ceph-client.sh replica DIRECTORY NODE   print the objects of a node that does not run
set -eu
pool=rbd
ask() {
    ceph --connect-timeout 20 "$@" 2>/dev/null
}

case $1 in
create)
    if ! rbd ls $pool >/dev/null 2>&1; then
        ask osd pool create $pool 1 1 --size "$4" >/dev/null
        ask osd pool set $pool min_size "$5" >/dev/null
        # clones of snapshots that need not be protected
        ask osd set-require-min-compat-client mimic >/dev/null
    fi
    # An image without a map of its objects is removed object by object: 1 TiB takes minutes.
    if [ "$3" -gt 17179869184 ]; then
        echo "an image of $3 bytes takes minutes to remove; the most is 16 GiB" >&2
        exit 1
    fi
    # Clients that write at the same time must not take the lock of an image from each other.
    rbd create --size "$3B" --image-feature layering "$pool/$2"
    ;;
serve)
    # Without a cache in the client: others write the image too.
    volume="driver=rbd,pool=$pool,image=$2,conf=$CEPH_CONF,node-name=volume,cache.direct=on"
    exec qemu-storage-daemon --blockdev "$volume" --nbd-server "addr.type=unix,addr.path=$3" \
        --export "type=nbd,id=export,node-name=volume,name=,writable=on"
    ;;
leader)
    # The pool has one placement group, so all objects have the same primary OSD.
    ask osd map $pool any -f json | sed -n 's/.*"acting_primary":\([0-9]*\).*/\1/p'
    ;;
settled)
    up=$(ask osd stat -f json | sed -n 's/.*"num_up_osds":\([0-9]*\).*/\1/p')
    monitors=$(ask quorum_status -f json | sed -n 's/.*"quorum":\[\([0-9,]*\)\].*/\1/p')
    group=$(ask osd map $pool any -f json | sed -n 's/.*"pgid":"\([^"]*\)".*/\1/p')
    state=$(ask tell "$group" query | sed -n '0,/"state"/s/.*"state": "\([^"]*\)".*/\1/p')
    echo "OSDs up: $up, monitors: $monitors, placement group: $state"
    test "$up" = "$2" && test "$(echo "$monitors" | tr ',' '\n' | wc -l)" = "$2" &&
        test "$state" = active+clean
    ;;
replica)
    directory=$2 node=$3
    tool() {
        ceph-objectstore-tool --no-mon-config --data-path "$directory/osd-$node" "$@" 2>/dev/null
    }
    objects=$(tool --op list --pgid 1.0) # the first pool has one placement group
    printf '%s\n' "$objects" | grep '"oid":"rbd_data\.' | LC_ALL=C sort |
        while read -r object; do
            tool "$object" get-bytes "$directory/object-$node" >/dev/null </dev/null
            echo "$object"
            od -An -v -tx1 -w512 "$directory/object-$node"
            rm "$directory/object-$node"
        done
    ;;
*)
    echo "ceph-client.sh: unknown command $1" >&2
    exit 2
    ;;
esac

"""This case checks that what a guest synced is there after a power cut, and its journal recovers.

How: three times: ext4 under a load of files, each synced before its name is told; QEMU is killed; a
new guest mounts the disk, and e2fsck finds nothing to mend.
Guards: flush-noop, destage-reorder, fua-write-ack-early, torn-write.
"""

from qbdcheck import case

LOAD = (
    "cd /mnt; n=$(ls | wc -l); while :; do n=$((n+1));"
    " head -c 30000 /dev/urandom > tmp$n; sha256sum < tmp$n > sum$n; sync; mv tmp$n file$n; sync;"
    " echo $n > /tmp/synced; done"
)
LOOK = (
    'cd /mnt; for f in file*; do n=${f#file}; [ "$(sha256sum < file$n)" = "$(cat sum$n)" ]'
    " || echo WRONG $f; done; for n in %s; do [ -e file$n ] || echo LOST file$n; done; echo END"
)


@case(groups="guest crash flush", programs="qemu-system-x86_64", limit_s=240)
def test(new_disk, guest):
    disk = new_disk("24M", prefill=False)
    system = guest(disk)
    system.run("/sbin/mke2fs -q -t ext4 /dev/vdb && mkdir -p /mnt")
    system.run("mount /dev/vdb /mnt && rm -r /mnt/*")
    for _cycle in range(3):
        first = 1 + int(system.run("ls /mnt | wc -l"))
        system.begin(LOAD)
        system.run("sleep 1; until [ -s /tmp/synced ]; do sleep 0.1; done")
        synced = int(system.run("cat /tmp/synced"))
        system.kill()
        system = guest(disk)
        system.run("mkdir -p /mnt && mount /dev/vdb /mnt")
        said = system.run(LOOK % " ".join(map(str, range(first, synced + 1))))
        assert said.split() == ["END"], said
        system.run("umount /mnt && /sbin/e2fsck -fn /dev/vdb 2>&1 && mount /dev/vdb /mnt")

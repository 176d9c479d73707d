#!/bin/sh
# Run three reference backends in the foreground, each with a pool of its own, for a quorum.
#
#     three-backends.sh DIRECTORY PYTHON
#
# DIRECTORY has the pools pool1 to pool3, and gets the sockets s1 to s3. All servers end with this
# shell, also after SIGKILL. If one of them ends, the others are ended too.
set -u
dir=$1
python=$2
servers=
for number in 1 2 3; do
    rm -f "$dir/s$number"
    setpriv --pdeathsig KILL "$python" -S -m reference_backend serve \
        --pool "$dir/pool$number" --socket "$dir/s$number" &
    servers="$servers $!"
done
stop() {  # once: the signal may come again
    trap '' TERM INT
    kill $servers 2>/dev/null
    wait
    exit 0
}
trap stop TERM INT
while kill -0 $servers 2>/dev/null; do
    sleep 0.2 &
    wait $! || true
done
kill $servers 2>/dev/null
echo "three-backends.sh: a server has ended" >&2
exit 1

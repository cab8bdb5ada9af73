# What nginx.sh and h2o.sh share; they read it with `.`. Sets ADDRESS, PORT and FILES, a directory of the server's own, and
# says where it listens once it does. The shell then becomes the server, so that it ends by the process id it was started
# with.
set -euo pipefail

free() { ! (exec 3<>"/dev/tcp/$ADDRESS/$1") 2>/dev/null; }

prepare() {
    local addr=127.0.0.1:0
    [ $# -eq 0 ] || { [ $# -eq 2 ] && [ "$1" = --addr ] && addr=$2; } || { echo "usage: $0 [--addr ADDR:PORT]" >&2; exit 2; }
    ADDRESS=${addr%:*} PORT=${addr##*:}
    # Neither server takes port 0: one below those that clients are given, and that no one listens on.
    while [ "$PORT" -eq 0 ] || ! free "$PORT"; do PORT=$((10000 + RANDOM % 20000)); done
    FILES=${TMPDIR:-/tmp}/shardwise-peer-$(basename "$0" .sh)-$(id -u)
    mkdir -p "$FILES"
    (
        for _ in $(seq 100); do
            if ! free "$PORT"; then
                echo "listening http://$ADDRESS:$PORT"
                exit
            fi
            sleep 0.05
        done
    ) &
}

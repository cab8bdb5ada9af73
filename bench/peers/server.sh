# What the scripts beside it share; they read it with `.`. Sets ADDRESS, PORT, PROTOCOL (--h2, --tls, --h3 or nothing), BEHIND (whom
# a proxy asks, or nothing) and FILES, a directory of the server's own, with a certificate for TLS; and says where it listens once it does. The shell then becomes
# the server, so that it ends by the process id it was started with.
set -euo pipefail

free() { ! (exec 3<>"/dev/tcp/$ADDRESS/$1") 2>/dev/null; }

prepare() {
    local addr=127.0.0.1:0 scheme=http
    PROTOCOL= BEHIND=
    case "$#:${1-}:${3-}" in
        0::) ;;
        2:--addr: | 3:--addr:--h2 | 3:--addr:--tls | 3:--addr:--h3) addr=$2 PROTOCOL=${3-} ;;
        4:--addr:--behind) addr=$2 BEHIND=$4 ;;
        *) echo "usage: $0 [--addr ADDR:PORT [--h2|--tls|--h3|--behind ADDR:PORT,…]]" >&2; exit 2 ;;
    esac
    ADDRESS=${addr%:*} PORT=${addr##*:}
    # Neither server takes port 0: one below those that clients are given, and that no one listens on.
    while [ "$PORT" -eq 0 ] || ! free "$PORT"; do PORT=$((10000 + RANDOM % 20000)); done
    FILES=${TMPDIR:-/tmp}/shardwise-peer-$(basename "$0" .sh)-$(id -u)
    mkdir -p "$FILES"
    head -c 1048576 /dev/zero | tr '\0' x >"$FILES/mebibyte.bin"
    case $PROTOCOL in --tls | --h3) scheme=https ;; esac
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -keyout "$FILES/key.pem" -out "$FILES/cert.pem" 2>/dev/null
    (
        for _ in $(seq 100); do
            if ! free "$PORT"; then
                echo "listening $scheme://$ADDRESS:$PORT"
                exit
            fi
            sleep 0.05
        done
    ) &
}

#!/usr/bin/env bash
# HAProxy as a reverse proxy: haproxy.sh --addr ADDR:PORT --behind ADDR:PORT,… Install it with `apt-get install haproxy`.
. "$(dirname "$0")/server.sh"
prepare "$@"
{
    sed "s/ADDRESS/$ADDRESS:$PORT/" "$(dirname "$0")/haproxy.cfg"
    for ENDPOINT in ${BEHIND//,/ }; do echo "    server ${ENDPOINT//:/-} $ENDPOINT"; done
} >"$FILES/haproxy.cfg"
exec haproxy -db -f "$FILES/haproxy.cfg"

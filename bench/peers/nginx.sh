#!/usr/bin/env bash
# nginx as a peer: nginx.sh [--addr ADDR:PORT [--h2|--tls]]. Install it with `apt-get install nginx-light`.
. "$(dirname "$0")/server.sh"
prepare "$@"
case "$PROTOCOL" in
    --h2) WORDS=http2 ;;
    --tls) WORDS='ssl http2' ;;
    *) WORDS= ;;
esac
sed "s/ADDRESS/$ADDRESS:$PORT/; s/WORDS/$WORDS/; s|FILES|$FILES|" "$(dirname "$0")/nginx.conf" >"$FILES/nginx.conf"
exec nginx -p "$FILES" -c "$FILES/nginx.conf"

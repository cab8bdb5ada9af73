#!/usr/bin/env bash
# nginx as a peer: nginx.sh [--addr ADDR:PORT]. Install it with `apt-get install nginx-light`.
. "$(dirname "$0")/server.sh"
prepare "$@"
sed "s/ADDRESS/$ADDRESS:$PORT/" "$(dirname "$0")/nginx.conf" >"$FILES/nginx.conf"
exec nginx -p "$FILES" -c "$FILES/nginx.conf"

#!/usr/bin/env bash
# nginx as a peer: nginx.sh [--addr ADDR:PORT [--h2|--tls|--h3|--behind ADDR:PORT,…]]. Install it with `apt-get install nginx-light`. A newer Debian's
# speaks HTTP/3: where this one's does not, the one in HTTP3_ROOT is taken, by default the root of .ci/clients/with-http3-clients.
. "$(dirname "$0")/server.sh"
prepare "$@"
if [ -n "$BEHIND" ]; then
    sed "s/ADDRESS/$ADDRESS:$PORT/; s/BEHIND/server ${BEHIND//,/; server };/" "$(dirname "$0")/nginx-proxy.conf" >"$FILES/nginx.conf"
    exec nginx -p "$FILES" -c "$FILES/nginx.conf"
fi
case "$PROTOCOL" in
    --h2) WORDS=http2 ;;
    --tls) WORDS='ssl http2' ;;
    --h3) WORDS=ssl ;;
    *) WORDS= ;;
esac
sed "s/ADDRESS/$ADDRESS:$PORT/; s/WORDS/$WORDS/; s|FILES|$FILES|" "$(dirname "$0")/nginx.conf" >"$FILES/nginx.conf"
[ "$PROTOCOL" = --h3 ] || exec nginx -p "$FILES" -c "$FILES/nginx.conf"
sed -i 's/^        listen .*/&\n        listen '"$ADDRESS:$PORT"' quic reuseport;\n        quic_gso on;/' "$FILES/nginx.conf"
! nginx -V 2>&1 | grep -q with-http_v3_module || exec nginx -p "$FILES" -c "$FILES/nginx.conf"
ROOT=${HTTP3_ROOT:-${CARGO_TARGET_DIR:-$(dirname "$0")/../../target}/http3-clients/root}
[ -x "$ROOT/usr/sbin/nginx" ] || { echo "no nginx here speaks HTTP/3: chroot $ROOT apt-get install nginx-light" >&2; exit 1; }
rm -rf "$ROOT/tmp/peer-nginx"
cp -r "$FILES" "$ROOT/tmp/peer-nginx"
sed -i "s|$FILES|/tmp/peer-nginx|" "$ROOT/tmp/peer-nginx/nginx.conf"
exec chroot "$ROOT" nginx -p /tmp/peer-nginx -c /tmp/peer-nginx/nginx.conf

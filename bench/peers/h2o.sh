#!/usr/bin/env bash
# h2o as a peer: h2o.sh [--addr ADDR:PORT [--h2|--tls]]. Install it with `apt-get install h2o`.
. "$(dirname "$0")/server.sh"
prepare "$@"
[ "$PROTOCOL" != --h3 ] || { echo 'h2o speaks HTTP/3 only as built by oneself' >&2; exit 1; }
printf 'Hello, World!' >"$FILES/plaintext.txt"
printf '{"message":"Hello, World!"}' >"$FILES/json.json"
sed "s|ADDRESS|$ADDRESS|; s|PORT|$PORT|; s|FILES|$FILES|" "$(dirname "$0")/h2o.conf" >"$FILES/h2o.conf"
[ "$PROTOCOL" != --tls ] ||
    sed -i "s|^  port: .*|&\n  ssl:\n    certificate-file: $FILES/cert.pem\n    key-file: $FILES/key.pem\n    minimum-version: TLSv1.3|" "$FILES/h2o.conf"
exec h2o -m worker -c "$FILES/h2o.conf"

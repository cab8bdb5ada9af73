#!/usr/bin/env bash
# The gateway as a contestant: gateway.sh PROGRAM BACKEND --addr ADDR:PORT --behind ADDR:PORT,…
PROGRAM=$1 BACKEND=$2
shift 2
. "$(dirname "$0")/server.sh"
prepare "$@"
cat >"$FILES/gateway.toml" <<TOML
[process]
shards = 1
backend = "$BACKEND"

[[listeners]]
address = "$ADDRESS:$PORT"

# Nothing of the way is told by the others, as they were set up.
[proxy]
via = ""
forwarded = "none"
access_log = false

[[routes]]
prefix = "/"
upstream = "behind"

[upstreams.behind]
endpoints = ["${BEHIND//,/\", \"}"]
connections = { idle_max = 1024 }
TOML
exec "$PROGRAM" --config "$FILES/gateway.toml"

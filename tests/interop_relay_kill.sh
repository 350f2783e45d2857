#!/bin/sh
# relay is killed (SIGKILL) at random instants under a steady load: what it acknowledged arrives, as it was, and every
# duplicate has a kill behind it. EHLO_KILLS is how many, EHLO_SEED what chance begins with. Status 77 if there is no
# dnsmasq, smtp-source or python3.
. "$(dirname "$0")/peers/common.sh"
. "$peers/dns.sh"
. "$peers/relay.sh"

have smtp-source || skip smtp-source
python_with dataclasses || skip python3
seed=${EHLO_SEED:-$$}
start_dns "$("$python" "$peers/relay_kill.py" dns)"
timeout 280 "$python" "$peers/relay_kill.py" run "$bin/relay" "$work" "$port" "$(command -v smtp-source)" \
    "${EHLO_KILLS:-200}" "$seed" >"$work/kill.out" 2>&1 ||
    { grep FAILED "$work/kill.out" | cut -c 1-500; fail "seed $seed"; }
cat "$work/kill.out"

#!/bin/sh
# relay meets next hops that close, reset, say 421, lie and talk without end, at each stage: each message arrives once, or
# its sender has a report, when the schedule says. Status 77 if there is no dnsmasq or python3.
. "$(dirname "$0")/peers/common.sh"
. "$peers/dns.sh"
. "$peers/relay.sh"

python_with dataclasses || skip python3
start_dns "$("$python" "$peers/relay_faults.py" dns)"
timeout 120 "$python" "$peers/relay_faults.py" run "$bin/relay" "$work" "$port" >"$work/faults.out" 2>&1 ||
    { grep -A 20 '^\(FAILED\|Traceback\)' "$work/faults.out" | cut -c 1-1000; fail 'not as it should be'; }
tail -n 1 "$work/faults.out"

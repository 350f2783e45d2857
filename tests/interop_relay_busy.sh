#!/bin/sh
# A destination that takes nothing does not delay the others: 10,000 messages wait for hosts that defer them, or that say
# nothing at all, and are due all the time; those for another destination arrive as soon as without them. Status 77 if
# dnsmasq, python3 or Postfix's smtp-source is not on this machine.
. "$(dirname "$0")/peers/common.sh"
. "$peers/dns.sh"
. "$peers/relay.sh"
PATH=$PATH:/usr/sbin
have smtp-source || skip smtp-source
python_with dataclasses || skip python3

backlog=10000
choose_mx_port
address=127.0.0.2
start_python_host deferring 'rcpt=451 4.3.2 later'
address=127.0.0.3
start_python_host silent connect=HANG
address=127.0.0.4
start sink "$bin/sink" --listen "$address:$mx_port"
start_dns "$(hosts_of deferring.example mx.deferring.example:127.0.0.2)" \
    "$(hosts_of silent.example mx.silent.example:127.0.0.3)" \
    "$(hosts_of quick.example mx.quick.example:127.0.0.4)"
dns_port=$port

now_ms()
{
    echo $(($(date +%s%N) / 1000000))
}

# queue COUNT RECIPIENT
queue()
{
    timeout 120 smtp-source -d -s 20 -m "$1" -l 300 -f '' -t "$2" "127.0.0.1:$relay_port" >"$work/source.log" 2>&1 ||
        fail smtp-source
}

delivered_since()
{
    [ "$(grep -c ': to <b@quick.example>: delivered' "$work/relay.log")" -ge "$1" ]
}

# deliver: sets $took, the ms until 100 messages for the other destination are there, from the first connection on
sent=0
deliver()
{
    began=$(now_ms)
    sent=$((sent + 100))
    queue 100 b@quick.example
    wait_for 'the other destination has its messages' delivered_since "$sent"
    took=$(($(now_ms) - began))
}

start_relay relay --allow 127.0.0.1 --retry-first 1 --retry-max 1 --warn 0 --concurrency 100
relay_port=$port
deliver
deliver
alone=$took
for name in deferring silent; do
    queue $((backlog / 2)) "b@$name.example"
done
tried()
{
    [ "$(grep -c 'deferred, .*again in' "$work/relay.log")" -gt "$1" ]
}
# It is under way: more attempts were made than there are messages of the one, and some of the other came to nothing.
wait_for 'the backlog is tried again and again' tried $((backlog / 2 + 100))
slowest=0
for round in 1 2 3; do
    deliver
    [ "$took" -le "$slowest" ] || slowest=$took
done
before=$(grep -c 'deferred, .*again in' "$work/relay.log")
wait_for 'the backlog is tried still' tried "$before"
[ "$slowest" -le $((3000 + 5 * alone)) ] || fail "100 messages took $slowest ms beside the backlog, $alone ms without it"
echo "ok: 100 messages take $alone ms alone, $slowest ms at most beside $backlog that are due"

#!/bin/sh
# Where relay takes mail to, as real DNS servers tell it: nsd, which knows its own zones and nothing else, and dnsmasq,
# which asks nsd and passes on what it hears. Each message is for a domain of its own; it must arrive at the one host that
# RFC 5321 5.1 and RFC 7505 mean, or be reported with the right status, or stay queued. Status 77 if something is not on
# this machine.
. "$(dirname "$0")/peers/common.sh"
. "$peers/dns.sh"
. "$peers/relay.sh"

have nsd || skip nsd
python_with dataclasses || skip python3
make_messages

# -- hosts: all at the same port -----------------------------------------------------------------------------

choose_mx_port

address=127.0.0.2
start_host two
address=127.0.0.3
start_host three
address=127.0.0.4
start_host home
address=127.0.0.5
start_python_host refusing 'connect=554 5.7.1 not you'
address=127.0.0.6
start_python_host closed 'connect=521 5.3.2 no mail here'
address=127.0.0.10
start_python_host busy 'connect=421 4.3.2 not now'
address=127.0.0.11
start_python_host busier 'connect=421 4.3.2 not now either'
# Nobody may ever come to this one; and at 127.0.0.9 there is none.
address=127.0.0.7
start_python_host never

# -- zones ---------------------------------------------------------------------------------------------------

soa='@ 60 SOA ns.example. hostmaster.example. 1 3600 600 86400 60
@ 60 NS ns.example.'
zones=$work/zones
mkdir "$zones"
cat >"$zones/example" <<END
$soa
\$TTL 60
ns A 127.0.0.1
two A 127.0.0.2
three A 127.0.0.3
home A 127.0.0.4
refusing A 127.0.0.5
closed A 127.0.0.6
never A 127.0.0.7
down A 127.0.0.9
direct A 127.0.0.1
forwarded A 127.0.0.1
sender MX 10 home

; to one host or the other
preferred MX 20 two
preferred MX 10 three
second MX 10 down
second MX 20 two
address A 127.0.0.2
nullmore MX 0 .
nullmore MX 10 two
target MX 10 alias-of-two
alias-of-two CNAME two
alias CNAME preferred
far CNAME hop.other.test.
doubled MX 10 with-two-addresses
with-two-addresses A 127.0.0.9
with-two-addresses A 127.0.0.2
families MX 10 with-both-families
with-both-families AAAA ::ffff:127.0.0.9
with-both-families A 127.0.0.2
many MX 0 two
refused MX 10 refusing
refused MX 20 two
before-us MX 5 two
before-us MX 10 direct
before-us MX 10 forwarded
before-us MX 20 never
literal-too MX 0 127.0.0.7.
literal-too MX 10 two

; nowhere, for good
null MX 0 .
null A 127.0.0.7
lost CNAME nothing
empty TXT "no mail, and no host"
unknown-hosts MX 10 nothing
unknown-hosts MX 20 nothing-more
unknown-hosts A 127.0.0.7
bare-host MX 10 empty
bare-host A 127.0.0.7
literal MX 10 127.0.0.7.
literal A 127.0.0.7
us MX 10 direct
us MX 10 forwarded
us MX 20 never
us A 127.0.0.7
back MX 10 loopback
loopback A 127.0.0.1
unspecified MX 10 zero
zero A 0.0.0.0
takes-none MX 10 closed
only-refused MX 10 refusing

; nowhere, for now
ping CNAME pong
pong CNAME ping
far-ping CNAME pong.other.test.
looped-host MX 10 ping
looped-host A 127.0.0.7
delegated NS ns.delegated
ns.delegated A 127.0.0.9
all-down MX 10 down
all-down A 127.0.0.7
down-before-us MX 5 down
down-before-us MX 10 direct
down-before-us MX 10 forwarded
down-before-us MX 20 never
both-busy MX 10 with-busy-addresses
both-busy A 127.0.0.7
with-busy-addresses A 127.0.0.10
with-busy-addresses A 127.0.0.11
lame-host MX 10 host.broken.test.
lame-host A 127.0.0.7

; for relays of their own
six AAAA ::1
slow MX 10 two
END
equals='1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24'
for each in $equals; do printf 'equal%s MX 10 two\nequal%s MX 10 three\n' "$each" "$each"; done >>"$zones/example"
awk 'BEGIN { for (i = 1; i < 500; i++) printf "many MX %d host%d.of.many\n", i, i }' >>"$zones/example"
cat >"$zones/other.test" <<END
$soa
\$TTL 60
hop CNAME end
end CNAME preferred.example.
pong CNAME far-ping.example.
END
echo '@ SOA this is no zone' >"$zones/broken.test"

# -- DNS servers ---------------------------------------------------------------------------------------------

cat >"$work/nsd.conf" <<END
server:
    ip-address: 127.0.0.1
    server-count: 1
    username: ""
    chroot: ""
    database: ""
    zonesdir: "$zones"
    zonelistfile: "$work/nsd.list"
    pidfile: "$work/nsd.pid"
    xfrdfile: "$work/nsd.state"
    xfrdir: "$work"
remote-control:
    control-enable: no
END
for zone in example other.test broken.test; do
    printf 'zone:\n    name: "%s"\n    zonefile: "%s"\n' "$zone" "$zone" >>"$work/nsd.conf"
done

nsd_at()
{
    exec nsd -d -c "$work/nsd.conf" -p "$port"
}

start_at nsd nsd_at
nsd=$server
nsd_port=$port

# At the same port; sets $nsd.
nsd_again()
{
    port=$nsd_port
    nsd_at >"$work/nsd.log" 2>&1 &
    nsd=$!
    running="$running $nsd"
    wait_for 'nsd is back' listens "$nsd" "$port"
}

dnsmasq_in_front_at()
{
    exec dnsmasq --keep-in-foreground --conf-file=/dev/null --listen-address=127.0.0.1 --bind-interfaces --no-resolv \
        --no-hosts --user="$(id -un)" --server="127.0.0.1#$nsd_port" --port="$port" --pid-file="$work/dnsmasq.pid"
}
start_at dnsmasq dnsmasq_in_front_at
dnsmasq_port=$port

# -- what becomes of messages --------------------------------------------------------------------------------

# submit DOMAIN...: a message for b@ each, from a sender of that name
submit()
{
    for domain in "$@"; do
        send 0 --from "$domain@sender.example" --to "b@$domain" "$work/text.lf"
    done
}

# arrives HOST DOMAIN...: there, whole, and once
arrives()
{
    at=$1
    shift
    for domain in "$@"; do delivered "$at" "b@$domain" text; done
}

# fails STATUS DOMAIN...: it is reported so
fails()
{
    status_expected=$1
    shift
    for domain in "$@"; do
        reported "$domain@sender.example" Action=failed "Status=$status_expected" "Final-Recipient=rfc822;*b@$domain"
    done
}

has_reply()
{
    list "$1"
    awk -v to="b@$2" -v text="$3" '
        seen { ok = $0 ~ text; exit }
        $1 == "queued" && $NF == to { seen = 1 }
        END { exit !ok }' "$work/list.out"
}

# waits TEXT DOMAIN...: it stays queued, for that reason; nothing is reported
waits()
{
    text_expected=$1
    shift
    for domain in "$@"; do
        wait_for "mail for $domain is put off: $text_expected" has_reply "$relay_name" "$domain" "$text_expected"
        [ "$(count home "$domain@sender.example")" -eq 0 ] || fail "a report on mail for $domain"
    done
}

flush()
{
    for domain in "$@"; do
        timeout 20 "$bin/relay" --spool "$work/$relay_name.spool" --flush "$domain" >"$work/flush.log" 2>&1 ||
            fail "--flush $domain"
    done
}

# -- each way, asked of each server --------------------------------------------------------------------------

to_two='second.example address.example nullmore.example target.example doubled.example families.example many.example
    refused.example before-us.example literal-too.example'
to_three='preferred.example alias.example far.example'
no_domain='gone.example lost.example empty.example'
no_host='unknown-hosts.example bare-host.example literal.example'
loops='us.example back.example unspecified.example'
unknown='broken.test elsewhere.test delegated.example ping.example far-ping.example'
for_good="$no_domain $no_host $loops null.example takes-none.example only-refused.example"
unreachable='all-down.example down-before-us.example'

# refuses HOST...: since the last time each of them was come to
refuses()
{
    for each in "$@"; do
        grep -q ' connect ' "$work/$each/log" || fail "nobody came to host $each"
        : >"$work/$each/log"
    done
}

# shellcheck disable=SC2086 # the lists are words
all_ways()
{
    submit $to_two $to_three $for_good $unknown looped-host.example lame-host.example $unreachable both-busy.example
    arrives two $to_two
    arrives three $to_three
    echo "ok: $relay_name: the right host [C113] [C114] [C117] [C119] [C120] [C122] [Q06]"
    fails 5.1.10 null.example
    fails 5.1.2 $no_domain
    fails 5.4.4 $no_host
    fails 5.4.6 $loops
    fails '5.*' takes-none.example only-refused.example
    echo "ok: $relay_name: no host, for good [C115] [C116] [C117] [C118] [C121] [C124] [Q04]"
    waits '451 4[.]4[.]3' $unknown
    waits '[a-z.]*: 4[.]4[.]3' looped-host.example lame-host.example
    waits 'down[.]example: 4[.]4[.]1' $unreachable
    waits 'with-busy-addresses[.]example: 421 4[.]3[.]2' both-busy.example
    refuses refusing closed busy busier
    echo "ok: $relay_name: no host, for now [C116] [C118]"
}

# One that asks a silent server before nsd, and one that asks the silent one alone: they need their time.
silent='
import socket
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 0))
print("ready 127.0.0.1:%d" % silent.getsockname()[1], flush=True)
while True: silent.recv(65536)'
start silent "$python" -c "$silent"
dns_port=$port
relays=
for relay_name in patient deaf; do
    case $relay_name in patient) next="--resolver 127.0.0.1:$nsd_port" ;; deaf) next= ;; esac
    # shellcheck disable=SC2086 # it is two words, or none
    start_relay "$relay_name" --allow 127.0.0.0/8 --retry-first 3600 $next
    relays="$relays $server"
    submit slow.example
done

for relay_name in direct forwarded; do
    case $relay_name in direct) dns_port=$nsd_port ;; forwarded) dns_port=$dnsmasq_port ;; esac
    start_relay "$relay_name" --allow 127.0.0.0/8 --retry-first 3600
    relays="$relays $server"
    all_ways
done
[ ! -s "$work/never/log" ] || fail 'somebody came to the host that nobody may come to'

# -- hosts of the same preference [C113] ---------------------------------------------------------------------

chosen()
{
    for each in $equals; do
        there two "b@equal$each.example" || there three "b@equal$each.example" || return 1
    done
}

for each in $equals; do submit "equal$each.example"; done
wait_for 'mail to hosts of equal preference' chosen
for each in two three; do
    ls "$work/$each" | grep -q '^b@equal' || fail "of two equal hosts $each was never chosen"
done
echo 'ok: hosts of the same preference are chosen by chance [C113]'

# -- a host with an IPv6 address alone -----------------------------------------------------------------------

if grep -q '^0*1 ' /proc/net/if_inet6 2>/dev/null; then
    address='[::1]'
    start_host six
    dns_port=$nsd_port
    start_relay loopback --allow 127.0.0.0/8 --mx-loopback
    relays="$relays $server"
    submit six.example
    arrives six six.example
    echo 'ok: a host with an IPv6 address alone [C114] [C119]'
else
    echo 'skipped: ::1 is not on this machine'
fi

# -- DNS servers that are silent, away, and back -------------------------------------------------------------

relay_name=patient
arrives two slow.example
relay_name=deaf
waits '451 4[.]4[.]3' slow.example
echo 'ok: a silent server in front of one that answers, and alone [C118]'

dns_port=$nsd_port
start_relay late --allow 127.0.0.0/8 --retry-first 3600
relays="$relays $server"
late_port=$port
name=nsd
stop "$nsd"
port=$late_port
submit second.example gone.example null.example
send 0 --from several@sender.example --to b@address.example --to b@lost.example --to b@broken.test "$work/text.lf"
waits '451 4[.]4[.]3' second.example gone.example null.example address.example lost.example broken.test
nsd_again
flush second.example gone.example null.example address.example lost.example
arrives two second.example address.example
fails 5.1.2 gone.example
fails 5.1.10 null.example
reported several@sender.example Action=failed Status=5.1.2 'Final-Recipient=rfc822;*b@lost.example'
waits '451 4[.]4[.]3' broken.test
stop "$nsd"
cat >"$zones/broken.test" <<END
$soa
@ 60 MX 10 three.example.
END
nsd_again
flush broken.test
arrives three broken.test
wait_for 'the queue is empty' idle late
[ "$(count two b@address.example)" -eq 0 ] || fail 'a recipient was sent the message twice'
echo 'ok: a server that was away, and a zone that was mended [C118]'

# -- the end -------------------------------------------------------------------------------------------------

for each in $relays; do
    name=relay
    stop "$each"
    [ "$stopped" -eq 0 ] || fail "a relay ended with status $stopped"
done
[ ! -s "$work/never/log" ] || fail 'somebody came to the host that nobody may come to'
echo 'ok: the end'

#!/bin/sh
# relay as its user and its clients see it: options, who may send where, the fields it adds, the queue as a table, a full
# disk, the end and the next start. Status 77 if there is no python3 or prlimit.
. "$(dirname "$0")/peers/common.sh"

python_with dataclasses || skip python3
have prlimit || skip prlimit
make_messages

# -- options -------------------------------------------------------------------------------------------------

# usage WORD WHY OPTION...: status 64, and the first line on standard error names WORD and says why
usage()
{
    word=$1
    why=$2
    shift 2
    status=0
    timeout 20 "$bin/relay" "$@" >"$work/usage.out" 2>"$work/usage.log" || status=$?
    [ "$status" -eq 64 ] || fail "relay $*: status $status"
    head -n 1 "$work/usage.log" | grep -q -e "^relay: $word: $why" -e "^relay: $word $why" || fail "relay $*: what is said"
    grep -qx 'relay --help says more' "$work/usage.log" || fail "relay $*: no way to help"
    [ ! -s "$work/usage.out" ] || fail "relay $*: something on standard output"
}

usage --spool 'is required'
usage --spool 'is required' --listen 127.0.0.1:0
usage --spool 'is required' --listen 127.0.0.1:0 --spool ''
usage --spool 'a value is missing' --spool
usage --listen 'is required' --spool "$work/none"
usage --list 'and --flush: one at a time' --spool "$work/none" --list --flush a.example
usage --listen 'not with --list' --spool "$work/none" --list --listen 127.0.0.1:0
usage --listen 'not with --flush' --spool "$work/none" --flush a.example --listen 127.0.0.1:0
usage --nonsense 'unknown option' --nonsense
usage nonsense 'unexpected argument' nonsense

# wrong OPTION WHY VALUE...: each of these
wrong()
{
    option=$1
    why=$2
    shift 2
    for value in "$@"; do
        usage "$option" "$why" --listen 127.0.0.1:0 "--spool=$work/none" "$option=$value"
    done
}

wrong --listen '".*" is not ADDR:PORT' '' nonsense 127.0.0.1 127.0.0.1:65536 '[::1]' a.example:25
wrong --allow '".*" is no network' '' nonsense 192.0.2.0/33 192.0.2.0/ 192.0.2/24 /8 2001:db8::/129 192.0.2.0/24x
wrong --domain '".*" is not a domain' '' 'a b' a..example -a.example 'a@b.example'
wrong --hostname '".*" is not a domain' '' 'a b' a_b.example
wrong --smarthost '".*" is not HOST:PORT' '' a.example
wrong --smarthost '.*' a.example: a.example:0 a.example:65536 ':25' 'a b:25' '[nonsense]:25'
wrong --resolver '".*" is no' '' nonsense 127.0.0.1 a.example:53 127.0.0.1:0 '*:53'
wrong --flush '".*" is not a domain' '' @ 'a b' a@b.example
wrong --max-size '.* is not' '' 0 -1 +1 1x x 99999999999999999999
for option in --max-recipients --max-connections --mx-port --concurrency --retry-first --retry-max --expire --timeout; do
    wrong "$option" '.* is not' 0 1x
done
wrong --warn '.* is not' '' -1 x 99999999999999999999
wrong --mx-port '65536 is not between 1 and 65535' 65536
[ ! -e "$work/none" ] || fail 'a spool was made'
echo 'ok: what is wrong with a command line'

"$bin/relay" --help >"$work/help.out" 2>&1 || fail --help
for option in --listen --spool --list --flush --hostname --domain --allow --max-size --max-recipients --max-connections \
    --resolver --smarthost --mx-port --mx-loopback --concurrency --retry-first --retry-max --warn --expire --timeout \
    --trace --help; do
    grep -q -e "^  $option " "$work/help.out" || fail "--help says nothing of $option"
done
[ "$(grep -c '^  --' "$work/help.out")" -eq 22 ] || fail '--help knows more options than this test'
[ "$(awk '{ if (length > n) n = length } END { print n }' "$work/help.out")" -le 100 ] || fail '--help is wide'
echo 'ok: --help'

# failure PATTERN OPTION...: status 1
failure()
{
    pattern=$1
    shift
    status=0
    timeout 20 "$bin/relay" "$@" >"$work/failure.out" 2>"$work/failure.log" || status=$?
    [ "$status" -eq 1 ] || fail "relay $*: status $status"
    grep -q "^relay: $pattern" "$work/failure.log" || fail "relay $*: what is said"
    [ ! -s "$work/failure.out" ] || fail "relay $*: something on standard output"
}
failure "--spool $work/none/spool: No such file" --listen 127.0.0.1:0 --spool "$work/none/spool"
failure "--spool $work/text.lf: Not a directory" --listen 127.0.0.1:0 --spool "$work/text.lf"
failure "--listen 192.0.2.1:0: " --listen 192.0.2.1:0 --spool "$work/spool"
failure "--spool $work/none: there is no spool" --spool "$work/none" --list
failure "--spool $work/none: there is no spool" --spool "$work/none" --flush a.example
echo 'ok: what cannot be done'

# -- who may send where --------------------------------------------------------------------------------------

# ask WHERE STEP...: as ask.py has it; the replies but for the greeting are in $work/ask.out
ask()
{
    timeout 60 "$python" "$peers/ask.py" "$@" >"$work/ask.all" 2>"$work/ask.log" || fail "ask $*"
    sed 1d "$work/ask.all" >"$work/ask.out"
}

# replies PATTERN...: they were these, from the first on
replies()
{
    number=0
    for pattern in "$@"; do
        number=$((number + 1))
        sed -n "${number}p" "$work/ask.out" | grep -q "^$pattern" || fail "reply $number is not $pattern"
    done
    [ "$(wc -l <"$work/ask.out")" -eq "$number" ] || fail 'more replies'
}

mkdir "$work/hop"
start hop "$python" "$peers/next_hop.py" "$work/hop" 127.0.0.2:0 \
    capabilities=PIPELINING,8BITMIME,SMTPUTF8,DSN,ENHANCEDSTATUSCODES
hop=$server
hop_port=$port

# start_relay SPOOL OPTION...
start_relay()
{
    spool=$work/$1
    shift
    start relay "$bin/relay" --spool "$spool" --hostname relay.example --smarthost "127.0.0.2:$hop_port" \
        --domain ours.example --domain second.example --allow 127.0.0.2 --allow 127.0.1.0/25 "$@"
    relay=$server
    here=127.0.0.1:$port
}

# What is queued is in $work/list.out.
list()
{
    timeout 20 "$bin/relay" --spool "$spool" --list >"$work/list.out" 2>"$work/list.log" || fail --list
}

# queue PATTERN: there is a line with it
queue()
{
    list
    grep -q "$1" "$work/list.out"
}

# What leads nowhere is refused before it is ours: domains that DNS cannot know, of senders too, as a report may be due.
start relay "$bin/relay" --listen 127.0.0.1:0 --spool "$work/direct" --hostname relay.example --allow 127.0.0.1 \
    --resolver 127.0.0.1:9
ask "127.0.0.1:$port" 'EHLO client.example' 'MAIL FROM:<a@bücher.example> SMTPUTF8' 'MAIL FROM:<a@[tag:x]>' \
    'MAIL FROM:<a@[127.0.0.9]> SMTPUTF8' 'RCPT TO:<b@bücher.example>' 'RCPT TO:<b@[tag:x]>' 'RCPT TO:<ü@x.example>' QUIT
replies 250 '553 5.1.8 ' '553 5.1.8 ' 250 '553 5.1.2 ' '501 5.1.3 ' 250 221
stop "$server"
echo 'ok: domains without a way'

# Clients leave descriptors for the rest, and for each other.
crowd()
{
    ulimit -n "$1"
    exec "$bin/relay" --listen 127.0.0.1:0 --spool "$work/direct" --hostname relay.example
}
start relay crowd 500
grep -q '^relay: at most 68 clients at once: there are 500 descriptors' "$work/relay.log" || fail 'the number of connections'
"$python" - "$port" >"$work/crowd.out" 2>&1 <<'PYTHON' || fail 'a crowd of clients'
import socket, sys
def greetings(origin, count):
    peers = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20, (origin, 0)) for _ in range(count)]
    return peers, [peer.recv(3) for peer in peers]
one, said = greetings("127.0.0.7", 52)
assert said == [b"220"] * 50 + [b"421"] * 2, said
other, said = greetings("127.0.0.8", 20)
assert said == [b"220"] * 18 + [b"421"] * 2, said
PYTHON
stop "$server"
status=0
(crowd 300) >"$work/few.out" 2>"$work/few.log" || status=$?
[ "$status" -eq 1 ] || fail "300 descriptors: $status"
grep -q '^relay: too few descriptors: --concurrency 100 takes 364' "$work/few.log" || fail 'too few descriptors'
echo 'ok: descriptors'

# By IPv6, where there is any; ::1 is the only address that it has here.
if [ -e /proc/net/if_inet6 ] && grep -q '^0*1 ' /proc/net/if_inet6; then
    for case in '::/127 250' '::1 250' '::1/0 250' '::2 550' '::2/127 550' '::ffff:0:0/96 550' '0.0.0.0/0 550'; do
        mkdir "$work/six"
        start_relay six --listen '[::1]:0' --allow "${case% *}"
        ask "[::1]:$port" 'EHLO client.example' 'MAIL FROM:<>' 'RCPT TO:<b@foreign.example>' QUIT
        replies 250 250 "${case#* }" 221
        stop "$relay"
        rm -r "$work/six"
    done
    echo 'ok: networks of IPv6'
else
    echo 'skipped: there is no IPv6 on this machine'
fi

start_relay spool --listen 127.0.0.1:0
ask "$here" 'EHLO client.example' 'MAIL FROM:<a@ours.example>' 'RCPT TO:<b@foreign.example>' \
    'RCPT TO:<@ours.example:b@foreign.example>' 'RCPT TO:<b@sub.ours.example>' 'RCPT TO:<b@[127.0.0.1]>' \
    'RCPT TO:<b@ours.example.foreign.example>' 'RCPT TO:<b@OURS.example>' 'RCPT TO:<b%foreign.example@second.example>' \
    'RCPT TO:<postmaster>' 'RCPT TO:<PostMaster>' 'VRFY <b@ours.example>' RSET 'ETRN ours.example' QUIT
no='550 5.7.1 '
replies 250 250 "$no" "$no" "$no" "$no" "$no" 250 250 250 250 '252 ' 250 '459 4.7.1 ' 221
head -n 1 "$work/ask.out" >"$work/hello.out"
for word in 'SIZE 52428800' 8BITMIME PIPELINING CHUNKING BINARYMIME ENHANCEDSTATUSCODES SMTPUTF8 HELP DSN ETRN; do
    tr '|' '\n' <"$work/hello.out" | sed 's/^ //; s/ $//' | grep -qx "$word" || fail "$word is not offered"
done
[ "$(tr '|' '\n' <"$work/hello.out" | wc -l)" -eq 11 ] || fail 'more is offered'
for origin in 127.0.0.2 127.0.1.127; do
    ask "$origin@$here" 'EHLO client.example' 'MAIL FROM:<>' 'RCPT TO:<b@foreign.example>' QUIT
    replies 250 250 250 221
done
for origin in 127.0.0.3 127.0.1.128; do
    ask "$origin@$here" 'EHLO client.example' 'MAIL FROM:<>' 'RCPT TO:<b@foreign.example>' QUIT
    replies 250 250 "$no" 221
done
ask "127.0.0.2@$here" 'EHLO client.example' 'ETRN foreign.example' 'ETRN @example' 'ETRN #queue' ETRN QUIT
replies 250 '251 2' '251 2' '458 4' '501 5' 221
echo 'ok: who may send where, and who may ask'

# -- what is added, and what is passed on [C106] [C107] [C108] [C109] [C110] [C183] ----------------------------

# arrived_as NUMBER FILE: the next hop's message of that number ends with the file's octets; what leads it is in
# $work/lead.out, unfolded, with LF
arrived_as()
{
    wait_for "message $1" test -e "$work/hop/$1.eml"
    size=$(wc -c <"$2")
    tail -c "$size" "$work/hop/$1.eml" | cmp - "$2" || fail "message $1 was changed"
    head -c "-$size" "$work/hop/$1.eml" | tr -d '\r' | awk '
        /^[ \t]/ { sub(/^[ \t]+/, " "); line = line $0; next }
        { if (NR > 1) print line; line = $0 }
        END { print line }' >"$work/lead.out"
    [ "$(wc -l <"$work/lead.out")" -eq 1 ] || fail "more than one field leads message $1"
}

# lead PATTERN: the field is that, and then a date
lead()
{
    date='[A-Z][a-z][a-z], [0-9]* [A-Z][a-z][a-z] [0-9]* [0-9:]* [+-][0-9]*'
    grep -qx "Received: $1; $date" "$work/lead.out" || fail "the Received field is not: $1"
}

{
    printf 'Received: from x.example by y.example; Sun, 22 Nov 2026 06:00:00 +0000\r\n'
    printf 'Return-Path: <old@x.example>\r\nReceived: (again)\r\nSubject: fields\r\n\r\n.\r\n..\r\n'
} >"$work/fields"
sed 's/^\./../' "$work/fields" >"$work/fields.stuffed"
from=127.0.0.2@$here
message='DATA <'$work'/fields.stuffed .'
# shellcheck disable=SC2086
ask "$from" 'EHLO client.example' 'MAIL FROM:<a@x.example> RET=HDRS ENVID=QQ+2B314+3D1' \
    'RCPT TO:<b@foreign.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc+3D@ours.example' $message QUIT
replies 250 250 250 354 '250 2.0.0 Queued as ' 221
id=$(sed -n 's/^250 2.0.0 Queued as //p' "$work/ask.out")
arrived_as 1 "$work/fields"
lead "from client.example (\[127.0.0.2\]) by relay.example with ESMTP id $id for <b@foreign.example>"
sed -n 1p "$work/hop/1.env" | grep -q '^<a@x.example> .*RET=HDRS ENVID=QQ+2B314+3D1$' || fail 'RET, ENVID'
sed -n 2p "$work/hop/1.env" | grep -qx '<b@foreign.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc+3D@ours.example' ||
    fail 'NOTIFY, ORCPT'

# Two recipients are not told of each other; HELO is SMTP; nobody is the null path; postmaster is ours.
# shellcheck disable=SC2086
ask "$from" 'HELO [127.0.0.2]' 'MAIL FROM:<>' 'RCPT TO:<b@foreign.example>' 'RCPT TO:<postmaster>' $message QUIT
replies 250 250 250 250 354 250 221
arrived_as 2 "$work/fields"
lead 'from \[127.0.0.2\] (\[127.0.0.2\]) by relay.example with SMTP id [^ ]*'
sed -n 1p "$work/hop/2.env" | grep -q '^<>' || fail 'the null path'
! grep -q -e RET= -e ENVID= -e NOTIFY= -e ORCPT= "$work/hop/2.env" || fail 'more was passed on than came'
grep -q '^<postmaster@ours.example>' "$work/hop/2.env" || fail postmaster

# shellcheck disable=SC2086
ask "$from" 'EHLO client.example' 'MAIL FROM:<ü@x.example> SMTPUTF8' 'RCPT TO:<b@foreign.example> NOTIFY=NEVER' $message QUIT
replies 250 250 250 354 250 221
arrived_as 3 "$work/fields"
lead 'from client.example (\[127.0.0.2\]) by relay.example with UTF8SMTP id [^ ]* for <b@foreign.example>'
sed -n 2p "$work/hop/3.env" | grep -qx '<b@foreign.example> NOTIFY=NEVER' || fail NOTIFY=NEVER
echo 'ok: the Received field, and the parameters of DSN'

# -- 8BITMIME [C166] -----------------------------------------------------------------------------------------

# Whether a next hop has to offer it, the octets tell, and not what a client says that they may be.
mkdir "$work/narrow"
start narrow "$python" "$peers/next_hop.py" "$work/narrow" 127.0.0.2:0 capabilities=ENHANCEDSTATUSCODES
start relay "$bin/relay" --listen 127.0.0.1:0 --spool "$work/direct" --hostname relay.example --allow 127.0.0.1 \
    --smarthost "127.0.0.2:$port"
printf 'Subject: \303\251\r\n\r\n\303\251\r\n' >"$work/eight"
for body in '' ' BODY=7BIT' ' BODY=8BITMIME'; do
    ask "127.0.0.1:$port" 'EHLO client.example' "MAIL FROM:<>$body" 'RCPT TO:<b@seven.example>' DATA \
        "<$work/fields.stuffed" . "MAIL FROM:<>$body" 'RCPT TO:<b@eight.example>' DATA "<$work/eight" . QUIT
    replies 250 250 250 354 250 250 250 354 250 221
done
outcomes()
{
    [ "$(grep -c ': to <b@seven.example>: delivered' "$work/relay.log")" -eq 3 ] &&
        [ "$(grep -c ': to <b@eight.example>: failed, .*5\.6\.3' "$work/relay.log")" -eq 3 ]
}
wait_for 'three are delivered, three are not' outcomes
[ ! -e "$work/narrow/4.eml" ] || fail 'octets above 127 were sent'
stop "$server"
echo 'ok: 8BITMIME'

# -- loops [C111] [Q01] --------------------------------------------------------------------------------------

for hops in 100 101; do
    awk -v hops="$hops" 'BEGIN { for (i = 0; i < hops; i++) printf "Received: by x; Sun, 22 Nov 2026 06:00:00 +0000\r\n"
        printf "\r\nReceived: this is text\r\n" }' >"$work/hops"
    ask "$from" 'EHLO client.example' 'MAIL FROM:<>' 'RCPT TO:<b@foreign.example>' DATA "<$work/hops" . QUIT
    case $hops in 100) replies 250 250 250 354 250 221 ;; *) replies 250 250 250 354 '554 5.4.6 ' 221 ;; esac
done
wait_for 'the message with 100 fields' test -e "$work/hop/4.eml"
echo 'ok: a message that has come too far'

# -- a second one, and the end -------------------------------------------------------------------------------

failure "--spool $spool: process $relay has this spool" --listen 127.0.0.1:0 --spool "$spool"
stop "$hop"
list
grep -qx 'the queue is empty' "$work/list.out" || fail 'the queue is not empty'

# It is asked to end within a message, which it takes; and whoever starts it again finds the port free.
printf 'Subject: late\r\n\r\nfirst\r\n' >"$work/first"
printf 'second\r\n' >"$work/second"
ask "$here" 'EHLO client.example' 'MAIL FROM:<a@x.example>' 'RCPT TO:<b@ours.example>' DATA "<$work/first" "!$relay" \
    "<$work/second" . 'NOOP'
replies 250 250 250 354 250 '\(421 \|closed\)'
wait_for 'relay ends' ended "$relay"
status=0
wait "$relay" || status=$?
[ "$status" -eq 0 ] || fail "relay ended with status $status"
queue ' b@ours.example$' || fail 'the message of the last moment is not queued'


# -- a queue that waits --------------------------------------------------------------------------------------

# Whatever the next hop says, a terminal is shown printable ASCII.
mkdir "$work/later"
start later "$python" "$peers/next_hop.py" "$work/later" 127.0.0.2:0 "rcpt=451 4.3.2 come $(printf '\033')[2Jback" \
    capabilities=ENHANCEDSTATUSCODES
later_port=$port
same=${here#*:}
start relay "$bin/relay" --listen "127.0.0.1:$same" --spool "$spool" --hostname relay.example \
    --smarthost "127.0.0.2:$later_port" --retry-first 30000 --allow 127.0.0.0/8
[ "$port" -eq "$same" ] || fail 'another port'
relay=$server
awk 'BEGIN { for (i = 0; i < 50; i++) printf "%0998d\r\n", 0 }' >"$work/50000"
# Its rows are in the order of arrival.
deferred()
{
    list
    [ "$(grep -c ' 451 4.3.2' "$work/list.out")" -eq "$1" ]
}
wait_for 'the first one is deferred' deferred 1
ask "$here" 'EHLO client.example' 'MAIL FROM:<>' 'RCPT TO:<b@foreign.example>' 'RCPT TO:<c@third.example>' DATA \
    "<$work/50000" . QUIT
replies 250 250 250 250 354 250 221
wait_for 'the second one is deferred' deferred 3
sed 's/^[0-9a-f]\{16\} /0123456789abcdef /; s/ [ 0-9][0-9]s / AGE /; s/ 18[0-9] / 187 /; s/[23]h[0-9][0-9]m/3h05m/' \
    "$work/list.out" >"$work/table.out"
cat >"$work/expected" <<'TABLE'
MESSAGE                  AGE   SIZE  STATE     NEXT TRY  SENDER, RECIPIENTS AND LAST REPLIES
0123456789abcdef         AGE    187                      a@x.example
                                     queued       3h05m  b@ours.example
                                                           127.0.0.2: 451 4.3.2 come ?[2Jback
0123456789abcdef         AGE    49K                      <>
                                     queued       3h05m  b@foreign.example
                                                           127.0.0.2: 451 4.3.2 come ?[2Jback
                                     queued       3h05m  c@third.example
                                                           127.0.0.2: 451 4.3.2 come ?[2Jback
2 messages, 3 recipients
TABLE
diff "$work/expected" "$work/table.out" >"$work/table.log" || fail 'the table'
echo 'ok: --list'

# flush DOMAIN PATTERN: status 0, and that is said
flush()
{
    timeout 20 "$bin/relay" --spool "$spool" --flush "$1" >"$work/flush.out" 2>"$work/flush.log" || fail "--flush $1"
    grep -qx "$2" "$work/flush.out" || fail "--flush $1: what is said"
}

# tried COUNT: so many recipients were named to the next hop
tried()
{
    [ "$(grep -c ' rcpt ' "$work/later/log")" -eq "$1" ]
}

# With a smart host the destination is its name, whatever the domain.
flush 127.0.0.2 'what waits for 127.0.0.2 is tried now'
wait_for 'all are tried again' tried 6
flush nobody.example 'what waits for nobody.example is tried now'
ask "$here" 'EHLO client.example' 'ETRN 127.0.0.2' QUIT
replies 250 '253 2.0.0 2 pending messages' 221
wait_for 'all are tried a third time' tried 9
stop "$relay"
flush 127.0.0.2 "no relay runs on $spool: 127.0.0.2 will be tried when one starts"
start_again()
{
    start relay "$bin/relay" --listen 127.0.0.1:0 --spool "$spool" --hostname relay.example --allow 127.0.0.0/8 "$@"
    relay=$server
    here=127.0.0.1:$port
}
start_again --smarthost "127.0.0.2:$later_port" --retry-first 30000
wait_for 'what was asked for meanwhile is done' tried 12
stop "$relay"
echo 'ok: --flush and ETRN'

# -- a full disk [Q08] ---------------------------------------------------------------------------------------

# A limit of the size of files stands for it: a write beyond it fails. There is no next hop.
spool=$work/small
start_again --smarthost 127.0.0.2:9 --retry-first 30000
awk 'BEGIN { for (i = 0; i < 2000; i++) printf "%0998d\r\n", 0 }' >"$work/2000000"

# to_disk LIMIT REPLY FILE: what is said to this message when no file may be longer than that
to_disk()
{
    prlimit --pid "$relay" --fsize="$1:"
    ask "$here" 'EHLO client.example' 'MAIL FROM:<a@x.example>' 'RCPT TO:<b@x.example>' DATA "<$3" . NOOP QUIT
    replies 250 250 250 354 "$2" 250 221
}
for limit in 0 1 100; do
    to_disk "$limit" '452 4.3.1 ' "$work/first"
done
for limit in 0 1000 500000 1900000; do
    to_disk "$limit" '452 4.3.1 ' "$work/2000000"
done
list
grep -qx 'the queue is empty' "$work/list.out" || fail 'something is half queued'
nothing_left()
{
    [ -z "$(find "$spool/queue" "$spool/tmp" -type f)" ]
}
wait_for 'nothing is left' nothing_left
to_disk unlimited '250 2.0.0 Queued' "$work/2000000"
to_disk unlimited '250 2.0.0 Queued' "$work/first"
list
[ "$(grep -c ' b@x.example$' "$work/list.out")" -eq 2 ] || fail 'not both are queued'
stop "$relay"
[ "$stopped" -eq 0 ] || fail "relay ended with status $stopped"
echo 'ok: a full disk'

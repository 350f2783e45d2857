#!/bin/sh
# relay between real peers: dnsmasq tells it where mail goes, swaks, msmtp, curl, smtp-source, send and Postfix bring
# some, and Postfix, inbox, smtp-sink and a next hop of ours take it, each at an address of its own. What arrives is
# compared with what was sent, octet for octet. Status 77 if one of them is not on this machine, or we are not root.
. "$(dirname "$0")/peers/common.sh"
. "$peers/dns.sh"
. "$peers/postfix.sh"
. "$peers/relay.sh"

for peer in swaks msmtp curl smtp-source smtp-sink; do
    have "$peer" || skip "$peer"
done
python_with dataclasses || skip python3
make_messages

# -- who is where --------------------------------------------------------------------------------------------

choose_mx_port
address=127.0.0.2
start_host two
two=$server
address=127.0.0.3
start_host three
three=$server
address=127.0.0.4
start_host home
postfix_address=127.0.0.5
refusing_address=127.0.0.6
grey_address=127.0.0.7
narrow_address=127.0.0.8
later_address=127.0.0.9
dead_address=127.0.0.10
frank_address=127.0.0.11

start_dns "$(hosts_of both.example first.example:127.0.0.2 second.example:127.0.0.3)" \
    "$(hosts_of two.example two.example:127.0.0.2)" \
    "$(hosts_of three.example three.example:127.0.0.3)" \
    "$(hosts_of sender.example home.example:127.0.0.4)" \
    "$(hosts_of postfix.example mx.postfix.example:$postfix_address)" \
    "$(hosts_of refusing.example mx.refusing.example:$refusing_address)" \
    "$(hosts_of grey.example mx.grey.example:$grey_address)" \
    "$(hosts_of narrow.example mx.narrow.example:$narrow_address)" \
    "$(hosts_of frank.example mx.frank.example:$frank_address)" \
    "$(hosts_of later.example mx.later.example:$later_address)" \
    "$(hosts_of flushed.example mx.flushed.example:$later_address)" \
    "$(hosts_of dead.example mx.dead.example:$dead_address)" \
    "$(hosts_of self.example mx.self.example:127.0.0.1)" \
    "host-record=address.example,127.0.0.2"
dns=$server
dns_port=$port

# One that tries anew after an hour at the earliest, one after a second, and one that gives up soon.
start_relay patient --allow 127.0.0.0/8 --retry-first 3600
patient=$server
patient_port=$port
start_relay eager --allow 127.0.0.0/8 --retry-first 1 --retry-max 1
eager=$server
eager_port=$port
start_relay hasty --allow 127.0.0.0/8 --retry-first 1 --retry-max 1 --warn 1 --expire 9
hasty=$server
hasty_port=$port

# Postfix is a next hop for postfix.example, which it sends on to host two; all else it sends to relay.
postfix_name=postfix.example
inbox_port=$patient_port
listeners()
{
    echo "$postfix_address:$mx_port inet n - n - - smtpd"
}
settings 'mynetworks = 127.0.0.0/8' \
    'smtpd_relay_restrictions = permit_mynetworks, reject' \
    "transport_maps = inline:{{postfix.example = smtp:[127.0.0.2]:$mx_port}}"
start_postfix

# -- content [C106] [C112] -----------------------------------------------------------------------------------

port=$patient_port
name=relay
# With chunks a message need not end with a line end, and then does not do so behind relay either.
for options in --no-chunking ''; do
    [ -n "$options" ] || eol='\r\n' end='' unended >"$work/unended.crlf"
    for message in $messages; do
        # shellcheck disable=SC2086
        send 0 $options --to "b@both.example" "$work/$message.lf"
        delivered two b@both.example "$message"
    done
done
make_messages
send 0 --to b@address.example --to b@three.example --to 'b@[127.0.0.3]' "$work/text.lf"
delivered two b@address.example text
delivered three b@three.example text
delivered three 'b@%5B127.0.0.3%5D' text
echo 'ok: content by send'

for message in text big; do
    curl --silent --show-error --max-time 60 --url "smtp://127.0.0.1:$port/client.example" --mail-from a@sender.example \
        --mail-rcpt b@both.example --upload-file "$work/$message.crlf" >"$work/curl.log" 2>&1 || fail curl
    delivered two b@both.example "$message"
done
msmtp --file=/dev/null --host=127.0.0.1 --port="$port" --timeout=60 --domain=client.example --tls=off --auth=off \
    --from=a@sender.example -- b@both.example <"$work/text.lf" >"$work/msmtp.log" 2>&1 || fail msmtp
delivered two b@both.example text
# These two end every message with an empty line.
cp "$work/text.crlf" "$work/longer.crlf"
printf '\r\n' >>"$work/longer.crlf"
swaks --timeout 60 --server 127.0.0.1 --port "$port" --ehlo client.example --from a@sender.example --to b@both.example \
    --data "@$work/text.lf" >"$work/swaks.log" 2>&1 || fail swaks
delivered two b@both.example longer
smtp-source -M client.example -f a@sender.example -t b@both.example -F "$work/text.lf" "127.0.0.1:$port" \
    >"$work/smtp-source.log" 2>&1 || fail smtp-source
delivered two b@both.example longer
echo 'ok: content by curl, msmtp, swaks and smtp-source'

# Postfix in front of relay, and behind it.
host=$postfix_address
port=$mx_port
hops=2
for message in $messages; do
    send 0 --to b@both.example "$work/$message.lf"
    delivered two b@both.example "$message"
done
host=127.0.0.1
port=$patient_port
for message in $messages; do
    send 0 --to b@postfix.example "$work/$message.lf"
    delivered two b@postfix.example "$message"
done
hops=1
echo 'ok: content by Postfix, and to Postfix'

# -- addresses [C05] [C56] -----------------------------------------------------------------------------------

address=$grey_address
start_python_host grey rcpt=greylist
port=$eager_port
send 0 --from 'MiXed.Sender@sender.example' --to 'MiXed.CASE@grey.example' --to '"two words"@Grey.Example' \
    --to '"a@b\"c"@grey.example' "$work/text.lf"
grey_arrived()
{
    [ -e "$work/grey/$1.eml" ]
}
wait_for 'mail past the grey list' grey_arrived 1
for path in '<MiXed.CASE@grey.example>' '<"two words"@[Gg]rey.[Ee]xample>' '<"a@b\\"c"@grey.example>'; do
    grep -q "^$path" "$work/grey/1.env" || fail "no recipient $path"
done
grep -q '^<MiXed.Sender@sender.example>' "$work/grey/1.env" || fail 'the sender was changed'
[ "$(wc -l <"$work/grey/1.env")" -eq 4 ] || fail 'not three recipients'
arrived text "$work/grey/1.eml"
[ "$(grep -c ' rcpt .* 451' "$work/grey/log")" -eq 3 ] || fail 'the grey list was not met once by each'
echo 'ok: addresses as they came, past a grey list [C128] [C129]'

# -- reports [C131] [C132] -----------------------------------------------------------------------------------

sink_at()
{
    exec smtp-sink -u postfix -4 -f rcpt "$refusing_address:$mx_port" 100
}
sink_at >"$work/smtp-sink.log" 2>&1 &
server=$!
running="$running $server"
wait_for 'smtp-sink listens' listens "$server" "$mx_port"

port=$patient_port
send 0 --from failed@sender.example --to b@refusing.example "$work/text.lf"
reported failed@sender.example Action=failed 'Status=5.*' 'Final-Recipient=rfc822;*b@refusing.example' \
    'Reporting-MTA=dns;*patient.example' 'Remote-MTA=dns;*mx.refusing.example' 'Diagnostic-Code=smtp;*500 *' \
    Original-Recipient= Original-Envelope-Id= 'text=*b@refusing.example*'
send 0 --from failed@sender.example --notify failure --ret hdrs --envid 'QQ+314=1' --to b@refusing.example \
    "$work/text.lf"
reported failed@sender.example Action=failed returned=text/rfc822-headers 'Original-Envelope-Id=QQ+314=1'
! grep -q '^.end' "$work/report.log" || fail 'the report has the whole message'
send 0 --from failed@sender.example --notify failure --ret full --to b@refusing.example "$work/text.lf"
reported failed@sender.example Action=failed returned=message/rfc822
grep -q '^.end' "$work/report.log" || fail 'the report lacks the message'
echo 'ok: reports of failure'

# Of two recipients one is refused: the other has the message.
send 0 --from half@sender.example --to b@refusing.example --to b@two.example "$work/text.lf"
delivered two b@two.example text
reported half@sender.example Action=failed 'Final-Recipient=rfc822;*b@refusing.example'
[ "$(grep -c '^Final-Recipient' "$work/report.log")" -eq 1 ] || fail 'the other one is reported too'
echo 'ok: one of two is refused'

# Names without mail: the domain does not exist; it leads back to us [Q04] [C116].
send 0 --from nowhere@sender.example --to b@nowhere.example "$work/text.lf"
reported nowhere@sender.example Action=failed Status=5.1.2 Diagnostic-Code=
send 0 --from self@sender.example --to b@self.example "$work/text.lf"
reported self@sender.example Action=failed Status=5.4.6
echo 'ok: no such domain, and one that leads back to us'

# Whoever wants no report gets none, and nobody is told that a message from nobody failed [C130] [Q02].
send 0 --from never@sender.example --notify never --to b@refusing.example "$work/text.lf"
send 0 --from '' --to b@refusing.example "$work/text.lf"
wait_for 'the queue is empty' idle patient
[ "$(ls "$work/home" | wc -l)" -eq "$(ls -d "$work/home/"*@sender.example | wc -l)" ] || fail "a report to nobody"
[ "$(count home never@sender.example)" -eq 0 ] || fail 'a report that nobody wanted'
echo 'ok: no report'

# -- DSN towards next hops [C183] [C184] ---------------------------------------------------------------------

# Postfix offers DSN, so it is told, and reports itself when it relays to inbox, which does not.
send 0 --from told@sender.example --notify success,failure --ret hdrs --envid 'QQ+314=1' --to b@postfix.example \
    "$work/text.lf"
hops=2
delivered two b@postfix.example text
hops=1
reported told@sender.example 'Reporting-MTA=dns; postfix.example' Action=relayed 'Original-Envelope-Id=QQ+314=1' \
    'Final-Recipient=rfc822; b@postfix.example'
send 0 --from told@sender.example --notify success --envid 'QQ+314=2' --to b@two.example "$work/text.lf"
delivered two b@two.example text
reported told@sender.example 'Reporting-MTA=dns;*patient.example' Action=relayed 'Status=2.*' \
    'Original-Envelope-Id=QQ+314=2' returned=text/rfc822-headers
echo 'ok: DSN to a next hop that has it, and one that has not'

# submit FROM TO MAIL-OPTIONS RCPT-OPTIONS: text, with parameters that send does not know
submit()
{
    "$python" -c '
import smtplib, sys
port, sender, recipient, mail_options, rcpt_options, path = sys.argv[1:]
with smtplib.SMTP("127.0.0.1", int(port), "client.example", timeout=60) as client, open(path, "rb") as message:
    client.sendmail(sender, recipient, message.read(), mail_options.split(), rcpt_options.split())
' "$port" "$@" "$work/text.crlf" >"$work/submit.log" 2>&1 || fail "submit $*"
}

address=$frank_address
start_python_host frank capabilities=PIPELINING,DSN
port=$patient_port
submit told@sender.example b@frank.example 'RET=HDRS ENVID=QQ+2B314' \
    'NOTIFY=DELAY,FAILURE ORCPT=rfc822;first+2Bone@x.example'
submit told@sender.example c@frank.example '' 'NOTIFY=NEVER'
submit told@sender.example d@frank.example '' ''
frank_has()
{
    grep -qx -e "$1" "$work/frank/"*.env 2>/dev/null
}
wait_for 'three messages' [ -e "$work/frank/3.eml" ]
for pattern in '<told@sender.example>.* RET=HDRS.*' '<told@sender.example>.* ENVID=QQ+2B314.*' \
    '<b@frank.example>.* ORCPT=rfc822;first+2Bone@x.example.*' '<c@frank.example> NOTIFY=NEVER.*' \
    '<d@frank.example>'; do
    frank_has "$pattern" || fail "DSN parameters: no line $pattern"
done
frank_has '<b@frank.example>.* NOTIFY=FAILURE,DELAY.*' || frank_has '<b@frank.example>.* NOTIFY=DELAY,FAILURE.*' ||
    fail NOTIFY
submit told@sender.example b@refusing.example 'ENVID=QQ+2B314' 'ORCPT=rfc822;first+2Bone@x.example'
reported told@sender.example Action=failed 'Original-Recipient=rfc822; first+one@x.example' 'Original-Envelope-Id=QQ+314'
submit told@sender.example b@refusing.example '' 'NOTIFY=SUCCESS,DELAY'
wait_for 'the queue is empty' idle patient
[ "$(count home told@sender.example)" -eq 0 ] || fail 'a report that nobody wanted'
echo 'ok: DSN parameters are passed on'

# -- a queue that waits: --list, --flush, ETRN [C221] --------------------------------------------------------

# etrn NODE PATTERN: what relay replies to it begins so
etrn()
{
    "$python" -c '
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), "client.example", timeout=20) as client:
    client.ehlo()
    print(*(part if type(part) is int else part.decode() for part in client.docmd("ETRN", sys.argv[2])))
' "$patient_port" "$1" >"$work/etrn.out" 2>&1 || fail ETRN
    grep -q "^$2" "$work/etrn.out" || fail "ETRN $1"
}

send 0 --from waits@sender.example --to b@later.example --to c@later.example "$work/text.lf"
send 0 --from waits@sender.example --to b@flushed.example "$work/text.lf"
all_refused()
{
    list patient
    [ "$(grep -c ': 4\.4\.1 ' "$work/list.out")" -eq 3 ]
}
wait_for 'the first attempts were made' all_refused
for text in ' waits@sender.example' ' queued .* b@later.example' ' queued .* c@later.example' \
    ' queued .* b@flushed.example'; do
    queued patient "$text" || fail "--list has no $text"
done
address=$later_address
start_host later
timeout 20 "$bin/relay" --spool "$work/patient.spool" --flush flushed.example >"$work/flush.log" 2>&1 || fail --flush
delivered later b@flushed.example text
queued patient b@later.example || fail 'more was flushed than was asked for'
port=$patient_port
etrn '' 501
etrn later.example..x 501
etrn '#queue' 45[89]
etrn nowhere.example '25[0-3] 2\.'
etrn later.example '25[0-3] 2\.'
delivered later b@later.example text
delivered later c@later.example text
wait_for 'the queue is empty' idle patient
echo 'ok: --list, --flush and ETRN'

# -- fail-over, and hosts that come and go -------------------------------------------------------------------

name=two
stop "$two"
port=$patient_port
send 0 --to d@both.example "$work/text.lf"
delivered three d@both.example text
echo 'ok: the second host takes what the first cannot'

# all_there HOST COUNT: each of that many numbered recipients of smtp-source has a message
all_there()
{
    number=0
    while [ "$number" -lt "$2" ]; do
        number=$((number + 1))
        there "$1" "${number}n@two.example" || return 1
    done
}

# Host two is away at first, comes, is asked to end, comes again, is killed, and comes to stay.
port=$eager_port
smtp-source -N -d -s 5 -m 300 -M client.example -f a@sender.example -t n@two.example -F "$work/text.lf" \
    "127.0.0.1:$port" >"$work/smtp-source.log" 2>&1 &
source=$!
address=127.0.0.2
some_there()
{
    set -- "$1" "$work/two/"*n@two.example
    [ "$#" -gt "$1" ]
}
start_host two
wait_for 'some messages' some_there 20
name=two
stop "$server"
start_host two
wait_for 'more messages' some_there 60
kill_9 "$server"
start_host two
two=$server
wait "$source" || fail smtp-source
wait_for 'all messages' all_there two 300
wait_for 'the queue is empty' idle eager
copies=0
number=0
while [ "$number" -lt 300 ]; do
    number=$((number + 1))
    for file in "$work/two/${number}n@two.example/new/"*; do
        arrived longer "$file"
        copies=$((copies + 1))
    done
done
rm -r "$work/two/"*n@two.example
echo "ok: 300 messages to a host that is stopped once and killed once: $copies copies"

# -- delay and expiry [C127] ---------------------------------------------------------------------------------

port=$hasty_port
name=relay
send 0 --from late@sender.example --envid late --to b@dead.example "$work/text.lf"
reported late@sender.example Action=delayed 'Status=4.*' 'Will-Retry-Until=*' Original-Envelope-Id=late
reported late@sender.example Action=failed Status=4.4.7 'Final-Recipient=rfc822;*b@dead.example'
wait_for 'the queue is empty' idle hasty
[ "$(count home late@sender.example)" -eq 0 ] || fail 'a third report'
echo 'ok: a delay is told once, then that it was too long'

# -- loops [Q01] [C111] --------------------------------------------------------------------------------------

hop()
{
    awk -v hops="$1" 'BEGIN { for (i = 0; i < hops; i++) print "Received: from a by b; Sun, 22 Nov 2026 06:00:00 +0000" }'
    cat "$work/text.lf"
}
port=$patient_port
hop 101 >"$work/looping.lf"
send 1 --to b@two.example "$work/looping.lf"
grep -q '^b@two.example rejected final 554 5.4.6' "$work/send.out" || fail 'a message with 101 Received fields'
hop 95 >"$work/hops95.lf"
LC_ALL=C awk '{ printf "%s\r\n", $0 }' "$work/hops95.lf" >"$work/hops95.crlf"
send 0 --to b@two.example "$work/hops95.lf"
delivered two b@two.example hops95
echo 'ok: a message that has come too far'

# Two relays, each of which is told that the other is the host.
lines=$(hosts_of sender.example home.example:127.0.0.4)
start_dns "$lines" "$(hosts_of loop.example left.example:127.0.0.21)"
left_dns=$port
start_dns "$lines" "$(hosts_of loop.example right.example:127.0.0.22)"
right_dns=$port
# shellcheck disable=SC2034 # start_relay's
for side in left right; do
    mkdir "$work/$side.spool"
    case $side in left) where=127.0.0.21 other=$right_dns ;; right) where=127.0.0.22 other=$left_dns ;; esac
    start "$side" "$bin/relay" --listen "$where:$mx_port" --spool "$work/$side.spool" --hostname "$side.example" \
        --resolver "127.0.0.1:$other" --mx-port "$mx_port" --allow 127.0.0.0/8
done
host=127.0.0.21
port=$mx_port
send 0 --from looped@sender.example --to b@loop.example "$work/text.lf"
reported looped@sender.example Action=failed Status=5.4.6 'Diagnostic-Code=smtp;*554*5.4.6*'
wait_for 'the left queue is empty' idle left
wait_for 'the right queue is empty' idle right
[ "$(count home looped@sender.example)" -eq 0 ] || fail 'a second report'
host=127.0.0.1
echo 'ok: two relays that are each other'"'"'s next hop'

# -- smart hosts ---------------------------------------------------------------------------------------------

start_relay smart --smarthost "$dead_address:$mx_port" --smarthost "127.0.0.3:$mx_port" --allow 192.0.2.0/24 \
    --domain nowhere.example
smart=$server
send 0 --to b@nowhere.example "$work/text.lf"
delivered three b@nowhere.example text
send 1 --to b@two.example "$work/text.lf"
grep -q '^b@two.example rejected rcpt 550 5.7.1' "$work/send.out" || fail 'relay is open'
echo 'ok: the second smart host, and who may relay'

# -- SMTPUTF8 [C175] -----------------------------------------------------------------------------------------

address=$narrow_address
start_python_host narrow capabilities=PIPELINING,8BITMIME
port=$patient_port
send 0 --smtputf8 --from utf8@sender.example --to bücher@two.example "$work/eight_bit.lf"
delivered two b%C3%BCcher@two.example eight_bit
send 0 --smtputf8 --from utf8@sender.example --to bücher@narrow.example "$work/text.lf"
reported utf8@sender.example Action=failed Status=5.6.7 Diagnostic-Code= 'Final-Recipient=*b*cher@narrow.example'
[ ! -e "$work/narrow/1.eml" ] || fail 'the message was sent to a host without SMTPUTF8'
echo 'ok: SMTPUTF8'

# -- damage: a message that is not what was accepted is never delivered [Q09] ---------------------------------

send 0 --to d1@dead.example "$work/text.lf"
send 0 --to d2@dead.example "$work/text.lf"
send 0 --to d3@dead.example "$work/text.lf"
attempted()
{
    list patient
    [ "$(grep -c ': 4\.4\.1 ' "$work/list.out")" -eq 3 ]
}
wait_for 'the first attempts were made' attempted
name=relay
stop "$patient"
[ "$stopped" -eq 0 ] || fail "relay ended with status $stopped"
for file in "$work/patient.spool/queue/"*; do
    if grep -q 'd1@dead' "$file"; then
        sed 's/Subject: text/Subject: Text/' "$file" >"$work/changed"
        cat "$work/changed" >"$file"
    elif grep -q 'd2@dead' "$file"; then
        head -c 500 "$file" >"$work/changed"
        cat "$work/changed" >"$file"
    fi
done
start_relay patient --allow 127.0.0.0/8 --retry-first 3600
patient=$server
patient_port=$port
address=$dead_address
start_host dead
timeout 20 "$bin/relay" --spool "$work/patient.spool" --flush dead.example >"$work/flush.log" 2>&1 || fail --flush
delivered dead d3@dead.example text
wait_for 'no message is left' idle patient
[ "$(count dead d1@dead.example)" -eq 0 ] || fail 'a changed message was delivered'
[ "$(count dead d2@dead.example)" -eq 0 ] || fail 'a cut message was delivered'
echo 'ok: damaged messages'

# -- a file that cannot grow is an error of that message [Q08] -----------------------------------------------

mkdir "$work/small.spool"
start small sh -c 'ulimit -f 200 && exec "$@"' sh "$bin/relay" --listen 127.0.0.1:0 --spool "$work/small.spool" \
    --resolver "127.0.0.1:$dns_port" --mx-port "$mx_port" --allow 127.0.0.0/8
small=$server
send 75 --to b@two.example "$work/big.lf"
grep -q '^b@two.example deferred [a-z]* 45[12] ' "$work/send.out" || fail 'a message over the limit'
send 0 --to b@two.example "$work/text.lf"
delivered two b@two.example text
idle small || fail 'half a message is queued'
echo 'ok: a message that the disk does not take'

# -- the end -------------------------------------------------------------------------------------------------

status=0
timeout 20 "$bin/relay" --listen 127.0.0.1:0 --spool "$work/patient.spool" >"$work/second.log" 2>&1 || status=$?
if [ "$status" -eq 0 ] || [ "$status" -eq 124 ]; then fail "a second relay on the same spool: $status"; fi
for each in "$patient" "$eager" "$hasty" "$smart" "$small"; do
    name=relay
    stop "$each"
    [ "$stopped" -eq 0 ] || fail "relay ended with status $stopped"
done
stop_postfix
echo 'ok: the end'

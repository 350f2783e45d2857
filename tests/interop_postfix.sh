#!/bin/sh
# send delivers to a real Postfix, which relays to inbox: what inbox stored ends with what was sent, octet for octet.
# Status 77 if Postfix is not on this machine, or we are not root, without whom its master does not start.
. "$(dirname "$0")/peers/common.sh"
. "$peers/postfix.sh"

make_messages
start_inbox
settings 'mynetworks = 127.0.0.0/8' \
    'smtpd_relay_restrictions = permit_mynetworks, reject' \
    'smtpd_recipient_restrictions = check_recipient_access inline:{{unknown@x.example = 550 5.1.1 nobody here}}' \
    'smtpd_data_restrictions = reject_unauth_pipelining' \
    'smtpd_recipient_limit = 20' \
    'message_size_limit = 10000000'
start_postfix

for options in '' --no-chunking '--no-chunking --no-pipelining'; do
    for message in $messages; do
        # shellcheck disable=SC2086
        relay_send 0 $options --to b@x.example "$work/$message.lf"
        outcomes 'b@x.example delivered final 250'
        filed "$message" b@x.example
    done
    case $options in
    '') wait_for 'the large message in chunks' logged 'disconnect from .* bdat=[1-9].* quit=1 ' ;;
    *) wait_for 'the large message by DATA' logged 'disconnect from .* data=1 quit=1 commands=5$' ;;
    esac
    echo "ok: content $options"
done

# One refused recipient costs the others nothing.
send 1 --to b@x.example --to unknown@x.example --to c@x.example "$work/text.lf"
outcomes 'b@x.example delivered final 250' 'unknown@x.example rejected rcpt 550' 'c@x.example delivered final 250'
filed text b@x.example
filed text c@x.example
echo 'ok: one refused recipient'

# More recipients than Postfix takes at once (452 4.5.3): they are served in three transactions of one connection.
all=
number=0
: >"$work/all.expected"
while [ "$number" -lt 45 ]; do
    number=$((number + 1))
    all="$all --to r$number@x.example"
    echo "r$number@x.example delivered final 250" >>"$work/all.expected"
done
# shellcheck disable=SC2086
relay_send 0 $all "$work/text.lf"
cut -d ' ' -f 1-4 "$work/send.out" | diff "$work/all.expected" - >"$work/outcomes.log" || fail '45 recipients: outcomes'
for number in 1 20 21 40 41 45; do
    filed text "r$number@x.example"
done
wait_for 'three transactions' logged 'disconnect from .* mail=3 '
echo 'ok: more recipients than the server takes at once'

relay_send 0 --count 3 --to d@x.example "$work/text.lf"
wait_for 'three messages over one connection' logged 'disconnect from .* mail=3 rcpt=3 '
echo 'ok: three copies over one connection'

# report LINE...: Postfix sends one, which has these lines; no more than that of the message is in it
report()
{
    wait_for 'the report' filed_once a@sender.example
    cat "$work/mail/a@sender.example/new/"* | tr -d '\r' >"$work/report.log"
    rm "$work/mail/a@sender.example/new/"*
    for line in 'Message-ID: <text@sender.example>' "$@"; do
        grep -q "^$line" "$work/report.log" || fail "the report has no line $line"
    done
}

# inbox knows no DSN, so that Postfix itself must report; the envelope's identifier is in it.
send 0 --notify success,failure --ret hdrs --envid 'QQ+314=1' --to dsn@x.example "$work/text.lf"
filed text dsn@x.example
report 'Original-Envelope-Id: QQ+314=1' 'Final-Recipient: rfc822; dsn@x.example' 'Action: relayed'

# A mailbox that is too long for inbox: as much of the message comes back as was asked for, or no report at all.
label=abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz
long=b@$label.$label.$label.$label.abcdefghijklmnopqrstuvwxyz.example
send 0 --notify failure --ret full --to "$long" "$work/text.lf"
report "Final-Recipient: rfc822; $long" 'Action: failed' 'Status: 5' '.end'
send 0 --notify failure,delay --ret hdrs --to "$long" "$work/text.lf"
report 'Action: failed'
! grep -q '^.end' "$work/report.log" || fail 'the report has the whole message'
relay_send 0 --notify never --to "$long" "$work/text.lf"
wait_for 'the message is given up' logged ': removed$'
! logged 'notification' || fail 'a report was sent that nobody wanted'
echo 'ok: DSN'

send 0 --smtputf8 --to bücher@x.example "$work/eight_bit.lf"
filed eight_bit b%C3%BCcher@x.example UTF8SMTP
echo 'ok: SMTPUTF8'

# Postfix says how much it takes (SIZE), and more is not sent.
cat "$work/big.lf" "$work/big.lf" >"$work/huge.lf"
relay_send 1 --to e@x.example "$work/huge.lf"
grep -q '^e@x.example rejected ' "$work/send.out" || fail 'a message over the limit'
wait_for 'no body' logged 'disconnect from '
! logged 'disconnect from .* \(data\|bdat\)=' || fail 'a message over the limit was begun'
echo 'ok: SIZE'

stop_postfix
send 75 --to b@x.example "$work/text.lf"
outcomes 'b@x.example not-sent connect -'
stop "$inbox"
echo 'ok: no server'

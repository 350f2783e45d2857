#!/bin/sh
# send delivers to Postfix's smtp-sink, with each of its faults: the outcome, the exit status, and the octets that
# arrived. Status 77 if smtp-sink is not on this machine.
. "$(dirname "$0")/peers/common.sh"

PATH=$PATH:/usr/sbin:/usr/lib/postfix/sbin
have smtp-sink || skip smtp-sink
make_messages

# As root it wants to be told who to be.
user=
mkdir "$work/dumps"
if [ "$(id -u)" -eq 0 ]; then
    user='-u postfix'
    chmod 755 "$work"
    chown postfix "$work/dumps"
fi

smtp_sink()
{
    # shellcheck disable=SC2086
    exec smtp-sink $user "$@" "127.0.0.1:$port" 20
}

# sink OPTION...
sink()
{
    start_at "smtp-sink $*" smtp_sink "$@"
    case " $* " in
    *' -L '*) lmtp=--lmtp ;;
    *) lmtp= ;;
    esac
}

# try STATUS OUTCOME STAGE CODE [ARGUMENT...]: to two recipients, who share one outcome
try()
{
    expected_outcome="$2 $3 $4"
    status=$1
    shift 4
    # shellcheck disable=SC2086
    send "$status" $lmtp --to b@x.example --to c@x.example "$@"
    outcomes "b@x.example $expected_outcome" "c@x.example $expected_outcome"
}

# fault STATUS OUTCOME STAGE CODE OPTION...
fault()
{
    expected="$1 $2 $3 $4"
    shift 4
    sink "$@"
    # shellcheck disable=SC2086
    try $expected "$work/text.lf"
    stop "$server"
}

# -- what arrives --------------------------------------------------------------------------------------------

# dumped MESSAGE: the only file in dumps/ holds what was sent, with LF as its line ends and an empty line behind it
dumped()
{
    set -- "$1" "$work/dumps/"*
    [ $# -eq 2 ] || fail "$name: the message $1 did not arrive once"
    tr -d '\r' <"$work/$1.crlf" >"$work/text.expected"
    echo >>"$work/text.expected"
    size=$(wc -c <"$work/text.expected")
    tail -c "$size" "$2" | cmp - "$work/text.expected" || fail "$name: the message $1 was changed"
    head -c "-$size" "$2" | tail -n 1 | grep -q '^	.*, .*:.*:' || fail "$name: more than the message $1 arrived"
    for line in 'X-Helo-Args: client.example' 'X-Rcpt-Args: <b@x.example>' 'X-Rcpt-Args: <c@x.example>'; do
        grep -qa "^$line" "$2" || fail "$name: no line begins with $line"
    done
    grep -qa '^X-Mail-Args: <a@sender.example>' "$2" || fail "$name: the reverse-path"
    rm "$2"
}

# content OPTION...: each message arrives as it was sent
content()
{
    sink "$@" -d "$work/dumps/one."
    for message in $messages; do
        try 0 delivered final 250 "$work/$message.lf"
        dumped "$message"
    done
    try 0 delivered final 250 --no-pipelining "$work/text.lf"
    dumped text
    stop "$server"
}

content
content -p
content -L
content -L -p -N -E -a -C -F
echo 'ok: content'

# Several messages over one connection, in one file: as many as were asked for, one after the other.
sink -c -n 1 -D "$work/dumps/all."
send 0 --to b@x.example --to c@x.example --count 3 "$work/text.lf"
wait_for 'smtp-sink ends after one session' ended "$server"
set -- "$work/dumps/all."*
[ "$(grep -c '^Message-ID: ' "$1")" -eq 3 ] || fail 'three copies did not arrive over one connection'
[ "$(grep -c '^X-Rcpt-Args: ' "$1")" -eq 6 ] || fail 'three copies did not arrive for both'
rm "$@"
echo 'ok: three copies over one connection'

# A server that does not announce 8BITMIME gets 7-bit text alone.
sink -8 -d "$work/dumps/one."
try 0 delivered final 250 "$work/text.lf"
dumped text
send 1 --to b@x.example "$work/eight_bit.lf"
[ -z "$(ls "$work/dumps")" ] || fail '8-bit text arrived at a server without 8BITMIME'
stop "$server"
echo 'ok: 8BITMIME'

# In a root folder of its own, as root alone may.
if [ -n "$user" ]; then
    sink -R "$work/dumps" -d one.
    try 0 delivered final 250 "$work/dots.lf"
    dumped dots
    stop "$server"
    echo 'ok: root folder'
fi

# -- faults --------------------------------------------------------------------------------------------------

# Refusals for good, for now, 421, and a connection that is closed without a word.
while read -r command stage; do
    fault 1 rejected "$stage" 500 -f "$command"
    fault 75 deferred "$stage" 450 -r "$command"
    fault 75 deferred "$stage" 421 -Q "$command"
    fault 75 not-sent "$stage" - -q "$command"
done <<STAGES
CONNECT greeting
EHLO,HELO hello
MAIL mail
RCPT rcpt
DATA data
STAGES
fault 1 rejected final 500 -f .
fault 75 deferred final 450 -r .
fault 75 deferred final 421 -Q .
fault 76 uncertain final - -q .
fault 75 deferred hello 450 -r EHLO
fault 1 rejected rcpt 550 -f RCPT -B '550 5.1.1 nobody here'
fault 75 deferred final 452 -r . -b '452 4.3.1 no room'
echo 'ok: faults'

while read -r command stage; do
    fault 1 rejected "$stage" 500 -L -f "$command"
    fault 75 deferred "$stage" 450 -L -r "$command"
    [ "$command" = . ] || fault 75 deferred "$stage" 421 -L -Q "$command"
done <<STAGES
LHLO hello
MAIL mail
RCPT rcpt
DATA data
. final
STAGES
fault 75 not-sent data - -L -q DATA
fault 76 uncertain final - -L -q .

# 421 is the first recipient's result; what became of the other one was not said.
sink -L -Q .
send 76 --lmtp --to b@x.example --to c@x.example "$work/text.lf"
outcomes 'b@x.example deferred final 421' 'c@x.example uncertain final -'
stop "$server"
echo 'ok: faults of LMTP'

# What is wrong behind the message, or with what is not needed, costs nothing.
for fault in '-f EHLO' '-e' '-P' '-f QUIT' '-q QUIT' '-Q QUIT' '-h mx.example' '-N -E' '-w 1' '-H 1' \
    '-W .:1'; do
    # shellcheck disable=SC2086
    fault 0 delivered final 250 $fault
done
echo 'ok: harmless faults'

# A server that stops reading after DATA and says 550; the message is larger than what the kernels hold.
sink -A 0
try 1 rejected data 550 "$work/big.lf"
stop "$server"

# A small window, and a server that begins to read late.
sink -T 2000 -H 1 -d "$work/dumps/one."
try 0 delivered final 250 "$work/big.lf"
dumped big
stop "$server"
echo 'ok: slow servers'

# No reply within the time.
for command in CONNECT EHLO MAIL DATA; do
    sink -p -W "$command:30" # pipelined, the replies to what follows overtake
    send 75 --timeout 1 --to b@x.example "$work/text.lf"
    stop "$server"
done
sink -W .:30
try 76 uncertain final - --timeout 1 "$work/text.lf"
stop "$server"
try 75 not-sent connect - "$work/text.lf"
echo 'ok: time-outs'

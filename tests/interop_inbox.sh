#!/bin/sh
# Clients that others wrote deliver to inbox and to sink, by SMTP and LMTP; what inbox stored is compared with what
# was sent, octet for octet. EHLO_BIN is the folder of the programs. A client that is not on this machine is named
# as skipped, and is a failure where CI=true; status 77 if there is none at all.
bin=${EHLO_BIN:?is the folder of the built programs}
. "$(dirname "$0")/peers/servers.sh"
present=0
missing=

# A server of ours that was asked to end does so with status 0.
stop_well()
{
    stop "$server"
    [ "$stopped" -eq 0 ] || fail "$name ended with status $stopped"
}

# -- messages: text with LF line ends in .lf, what it is on the wire in .crlf --------------------------------

header()
{
    printf 'From: a@sender.example\nTo: b@x.example\nDate: Sun, 22 Nov 2026 06:00:00 +0000\n'
    printf 'Message-ID: <%s@sender.example>\nSubject: %s\n\n' "$1" "$1"
}

small_message()
{
    header small
    printf '.\n..\n.leading dot\n.. two\n \n\nFrom the line\n8 bit: \303\251 \377\n'
    awk 'BEGIN { for (i = 0; i < 990; i++) printf "x"; print "" }'
    printf '\nend\n\n\n'
}

# Larger than every buffer on the way.
large_message()
{
    header large
    awk 'BEGIN { for (i = 0; i < 20000; i++) printf "%s line %d of many, all of them somewhat long\n", i % 7 ? "" : ".", i }'
}

make_messages()
{
    for size in small large; do
        "${size}_message" >"$work/$size.lf"
        LC_ALL=C awk '{ printf "%s\r\n", $0 }' "$work/$size.lf" >"$work/$size.crlf"
    done
}

# -- clients: PEER_present says whether it is here; PEER_send SIZE RECIPIENT sends to 127.0.0.1:$port --------

curl_present()
{
    have curl && curl --version | grep -qw smtp
}

curl_send()
{
    curl --silent --show-error --max-time 60 --url "smtp://127.0.0.1:$port/client.example" \
        --mail-from a@sender.example --mail-rcpt "$2" --upload-file "$work/$1.crlf"
}

swaks_present()
{
    have swaks
}

# swaks and smtp-source end every message with an empty line.
empty_line_added()
{
    printf '\r\n' >>"$work/sent"
}

swaks_send()
{
    empty_line_added
    swaks --timeout 60 --server 127.0.0.1 --port "$port" --ehlo client.example --from a@sender.example --to "$2" \
        --data "@$work/$1.lf"
}

msmtp_present()
{
    have msmtp
}

msmtp_send()
{
    msmtp --file=/dev/null --host=127.0.0.1 --port="$port" --timeout=60 --domain=client.example --tls=off --auth=off \
        --from=a@sender.example -- "$2" <"$work/$1.lf"
}

python3_present()
{
    have python3 && python3 -c 'import smtplib' 2>/dev/null
}

python3_send()
{
    python3 -c '
import smtplib, sys
port, path, recipient = sys.argv[1:]
with smtplib.SMTP("127.0.0.1", int(port), "client.example", timeout=60) as client, open(path, "rb") as message:
    client.sendmail("a@sender.example", [recipient], message.read())
' "$port" "$work/$1.crlf" "$2"
}

smtp_source_present()
{
    PATH=$PATH:/usr/sbin:/usr/lib/postfix/sbin
    have smtp-source
}

smtp_source_send()
{
    empty_line_added
    smtp-source -T 60 -M client.example -f a@sender.example -t "$2" -F "$work/$1.lf" "127.0.0.1:$port"
}

lmtp_source_present()
{
    smtp_source_present
}

lmtp_source_send()
{
    empty_line_added
    smtp-source -L -T 60 -M client.example -f a@sender.example -t "$2" -F "$work/$1.lf" "127.0.0.1:$port"
}

# -- what is tried with each ---------------------------------------------------------------------------------

# send PEER SIZE RECIPIENT: $work/sent is what should arrive
send()
{
    cp "$work/$2.crlf" "$work/sent"
    "$1_send" "$2" "$3" >"$work/$1.log" 2>&1 || fail "$1 could not send the $2 message to $name"
}

# compare PEER SIZE: the only file in new/ is what was sent, and tmp/ is empty
compare()
{
    set -- "$1" "$2" "$work/mail/$1-$2@x.example/new/"*
    if [ $# -ne 3 ] || [ ! -f "$3" ]; then fail "$1: the $2 message is not there once"; fi
    cmp "$work/sent" "$3" || fail "$1: the $2 message was changed"
    for left in "$work/mail/$1-$2@x.example/tmp/"*; do
        [ ! -e "$left" ] || fail "$1: $left was left behind"
    done
}

deliver()
{
    for size in small large; do
        send "$1" "$size" "$1-$size@x.example"
        [ "$name" = sink ] || compare "$1" "$size"
    done
    echo "ok: $1 to $name"
}

# each SERVER-NAME PEER...: whoever is here delivers
each()
{
    for peer in "$@"; do
        if "${peer}_present"; then
            present=$((present + 1))
            deliver "$peer"
        else
            echo "skipped: $peer is not on this machine"
            missing="$missing $peer"
        fi
    done
}

# Without --raw two fields lead, and the rest is what was sent. `for` is there, as there is one recipient.
check_trace_fields()
{
    python3_present || return 0
    start inbox "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --hostname mx.example
    send python3 small trace@x.example
    stop_well
    set -- "$work"/mail/trace@x.example/new/*
    [ -f "$1" ] || fail "the message with trace fields is not there"
    size=$(wc -c <"$work/small.crlf")
    tail -c "$size" "$1" | cmp - "$work/small.crlf" || fail "the message behind the trace fields was changed"
    lead=$(($(wc -c <"$1") - size))
    head -c "$lead" "$1" | tr -d '\r' | awk 'NR > 1 && !/^[ \t]/ { print line; line = "" }
        { sub(/^[ \t]+/, line == "" ? "" : " "); line = line $0 } END { print line }' >"$work/lead.log"
    grep -q '^Return-Path: <a@sender\.example>$' "$work/lead.log" || fail "Return-Path"
    grep -q '^Received: from client\.example (\[127\.0\.0\.1\]) by mx\.example with ESMTP id [^ ;]* for <trace@x\.example>; ' \
        "$work/lead.log" || fail "Received"
    [ "$(wc -l <"$work/lead.log")" -eq 2 ] || fail "more than two fields lead"
    echo "ok: trace fields"
}

# A file over the system's limit is an error of that message, not the end of the server.
check_file_limit()
{
    python3_present || return 0
    start inbox sh -c 'ulimit -f 200 && exec "$@"' sh "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --raw
    cp "$work/large.crlf" "$work/sent"
    if python3_send large limit@x.example >"$work/python3.log" 2>&1; then fail "a message over the file limit was accepted"; fi
    send python3 small limit@x.example
    stop_well
    set -- "$work"/mail/limit@x.example/new/*
    [ $# -eq 1 ] || fail "what was filed is not the small message alone"
    echo "ok: file limit"
}

make_messages
smtp_peers="curl swaks msmtp python3 smtp_source"

start inbox "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --raw
# shellcheck disable=SC2086
each $smtp_peers
stop_well

start inbox-lmtp "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --raw --lmtp
each lmtp_source
stop_well

start sink "$bin/sink" --listen 127.0.0.1:0
# shellcheck disable=SC2086
each $smtp_peers
stop_well

start sink "$bin/sink" --listen 127.0.0.1:0 --lmtp
each lmtp_source
stop_well

check_trace_fields
check_file_limit

[ "$present" -gt 0 ] || exit 77
if [ -n "$missing" ] && [ "${CI:-}" = true ]; then fail "CI must have every client:$missing"; fi

#!/bin/sh
# send takes a file of 1 GB to sink, by chunks and by DATA: neither of them holds more than a small part of it at any
# time. Status 77 if this machine has no /proc, or no room for the file.
. "$(dirname "$0")/peers/common.sh"

octets=1073741824
peak_max=32768 # KB: a TLS library and a sanitizer have their share

[ -r /proc/self/status ] || skip /proc
[ "$(df -Pk "$work" | awk 'NR == 2 { print $4 }')" -gt $((octets / 1024 + 65536)) ] || skip "room for 1 GB in $work"

# peak PROCESS: the most memory that it has held, in KB; nothing once it has ended
peak()
{
    while read -r key value rest; do
        [ "$key" != VmHWM: ] || echo "$value"
    done 2>/dev/null <"/proc/$1/status"
}

# Looks at it again and again until it ends; sets $most and $looks
watch()
{
    most=0
    looks=0
    while now=$(peak "$1") && [ -n "$now" ]; do
        [ "$now" -le "$most" ] || most=$now
        looks=$((looks + 1))
        sleep 0.1
    done
}

# deliver OPTION...: all of it arrives, and at no time much of it is held
deliver()
{
    "$bin/send" --server "127.0.0.1:$port" --ehlo client.example --from a@sender.example --to b@mx.example "$@" \
        "$work/gigabyte" >"$work/send.out" 2>"$work/send.log" &
    sender=$!
    watch $sender
    status=0
    wait $sender || status=$?
    [ $status -eq 0 ] || fail "send $* ended with $status"
    outcomes 'b@mx.example delivered final 250'
    served=$(peak "$server")
    echo "send $*: at most $most KB in $looks looks; sink: $served KB"
    [ $looks -ge 2 ] || fail "send was over before it was looked at"
    [ "$most" -le $peak_max ] || fail "send $* held $most KB"
    [ "$served" -le $peak_max ] || fail "sink held $served KB"
}

# Lines of 998 octets, which begin with a dot so that transparency has something to do.
awk 'BEGIN { printf "."; for (i = 1; i < 998; i++) printf "x"; printf "\r\n" }' >"$work/line"
yes "$(cat "$work/line")" | head -c $octets >"$work/gigabyte"
start sink "$bin/sink" --listen 127.0.0.1:0
deliver
deliver --no-chunking
stop "$server"

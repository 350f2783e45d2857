#!/bin/sh
# What examples/relay takes in, keeps on disk and hands on, beside Postfix on the same disk, each in turn, so that both see
# the same weather. On loopback only.
#
#     sh tests/bench/bench_relay.sh [BUILD]       the build folder; build/tests if not given
#
# ROUNDS=5      times that both are loaded, in turn; medians and extremes are printed
# MESSAGES=5000 messages of a round
# JOBS=100000   messages that are queued for the second part
# TMPDIR=/tmp   the disk
#
# Prints messages per second, from the first connection until the next hop has the last message; then, of a relay that
# starts on a full spool, its memory per message, and how long it takes until it listens.
set -eu

source=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$source/build/tests}
rounds=${ROUNDS:-5}
messages=${MESSAGES:-5000}
jobs=${JOBS:-100000}
bin=$build/examples
peers=$source/tests/peers
. "$peers/servers.sh"
. "$peers/postfix.sh"

[ -x "$bin/relay" ] || fail "there is no relay in $build: build with -DEHLO_DEVELOP=ON"
python_with dataclasses || skip python3
case $rounds$messages$jobs in *[!0-9]*) fail 'ROUNDS, MESSAGES and JOBS are numbers' ;; esac

now()
{
    date +%s%N
}

# spread FILE...: median [min-max] of the numbers in a file, or of the quotients of the lines of two
spread()
{
    paste "$@" | awk '{ print (NF > 1) ? $1 / $2 : $1 }' | sort -n | awk '
        { value[NR] = $1 }
        END {
            number = value[1] < 10 ? "%.2f" : "%.0f"
            printf number " [" number "-" number "]", value[int((NR + 1) / 2)], value[1], value[NR]
        }'
}

# -- throughput ----------------------------------------------------------------------------------------------

smtp_sink()
{
    exec smtp-sink -u nobody -c -m 1000 "127.0.0.2:$port" 1000 >"$work/counters"
}

# Sets $received, the messages that the next hop had.
count_received()
{
    received=$(tail -c 200 "$work/counters" | tr '\r' '\n' | sed -n 's/.*mesg=\([0-9]*\).*/\1/p' | tail -n 1)
    received=${received:-0}
}

has_received()
{
    count_received
    [ "$received" -ge "$1" ]
}

# load PORT MESSAGES
load()
{
    timeout 300 smtp-source -s 20 -l 1024 -m "$2" -f a@client.example -t b@d.example "127.0.0.1:$1" ||
        fail 'smtp-source failed'
}

# measure NAME PORT: its messages per second, behind those of other rounds in a file
measure()
{
    count_received
    goal=$((received + messages))
    began=$(now)
    load "$2" "$messages"
    accepted=$(now)
    wait_for "the next hop has all from $1" has_received "$goal"
    ended=$(now)
    echo "$messages $began $ended" | awk '{ print $1 * 1e9 / ($3 - $2) }' >>"$work/$1.rate"
    echo "$messages $began $accepted" | awk '{ print $1 * 1e9 / ($3 - $2) }' >>"$work/$1.accepted"
}

# cpu_us PROCESS: microseconds that it has run, all its threads together
cpu_us()
{
    sed 's/.*) //' "/proc/$1/stat" | awk -v hz="$(getconf CLK_TCK)" '{ printf "%.0f\n", ($12 + $13) * 1000000 / hz }'
}

measure_throughput()
{
    start_at smtp-sink smtp_sink
    hop=$port
    inbox_port=$hop
    settings "relayhost = [127.0.0.2]:$hop"
    start_postfix
    postfix_port=$port
    start relay "$bin/relay" --listen 127.0.0.1:0 --spool "$work/spool" --hostname relay.example --allow 127.0.0.1 \
        --smarthost "127.0.0.2:$hop"
    relay=$server relay_port=$port
    measure relay "$relay_port" # the first round of each warms up
    measure postfix "$postfix_port"
    rm "$work"/*.rate "$work"/*.accepted
    before=$(cpu_us "$relay")
    round=0
    while [ $round -lt "$rounds" ]; do
        measure relay "$relay_port"
        measure postfix "$postfix_port"
        round=$((round + 1))
    done
    after=$(cpu_us "$relay")
    stop "$relay"
    stop_postfix
    printf '%-44s %-18s %-18s %s\n' 'messages per second, 1 KB at 20 sessions' relay Postfix 'relay / Postfix'
    printf '%-44s %-18s %-18s %s\n' 'accepted, on disk, and delivered' "$(spread "$work/relay.rate")" \
        "$(spread "$work/postfix.rate")" "$(spread "$work/relay.rate" "$work/postfix.rate")"
    printf '%-44s %-18s %-18s %s\n' 'accepted' "$(spread "$work/relay.accepted")" \
        "$(spread "$work/postfix.accepted")" "$(spread "$work/relay.accepted" "$work/postfix.accepted")"
    echo "relay: $(((after - before) / messages / rounds)) us of processor time per message"
}

# -- a full queue --------------------------------------------------------------------------------------------

# Octets that a process holds.
memory()
{
    echo $(($(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status") * 1024))
}

# start_on SPOOL: a relay whose next hop takes connections and says nothing; sets $took, the ms until it is ready
start_on()
{
    began=$(now)
    start relay "$bin/relay" --listen 127.0.0.1:0 --spool "$1" --hostname relay.example --allow 127.0.0.1 \
        --smarthost "127.0.0.2:$hop"
    took=$((($(now) - began) / 1000000))
}

measure_queue()
{
    mkdir "$work/silent"
    start silent "$python" "$peers/next_hop.py" "$work/silent" 127.0.0.2:0 connect=HANG
    hop=$port
    start_on "$work/empty"
    empty=$(memory "$server")
    stop "$server"
    start_on "$work/full"
    load "$port" "$jobs"
    grown=$(memory "$server")
    stop "$server"
    start_on "$work/full"
    full=$(memory "$server")
    stop "$server"
    echo "$jobs queued: $(((full - empty) / jobs)) octets of memory per message, $took ms from start to ready;" \
        "in the relay that took them in $(((grown - empty) / jobs)) octets per message"
}

measure_throughput
echo
[ "$jobs" -eq 0 ] || measure_queue

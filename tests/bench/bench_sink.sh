#!/bin/sh
# What a server over sockets costs: examples/sink, and in turn with it, where it is present and we are root, Postfix's
# smtp-sink, so that both see the same weather. On loopback only.
#
#     sh tests/bench/bench_sink.sh [BUILD]        the build folder; build/tests if not given
#
# ROUNDS=5    times that both are loaded, in turn; medians and extremes are printed
# IDLE=10000  sessions held open after EHLO; smtp-sink gets 900 at most
#
# Prints the server's processor time per message; its memory per idle session; and, where valgrind and smtp-source are
# present, its instructions in user space, which no other program disturbs, as a difference of two numbers of
# messages, so that start and end are no part of them.
set -eu

source=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$source/build/tests}
rounds=${ROUNDS:-5}
idle=${IDLE:-10000}
sink=$build/examples/sink
load=$build/tests/load
PATH=$PATH:/usr/sbin:/usr/lib/postfix/sbin
work=$(mktemp -d)
pids=

fail()
{
    echo "bench_sink: $*" >&2
    tail -n 5 "$work"/*.log >&2 2>/dev/null || :
    exit 1
}

have()
{
    command -v "$1" >/dev/null 2>&1
}

end()
{
    for pid in "$@"; do
        kill "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || :
    done
}

clean_up()
{
    status=$?
    trap - EXIT
    # shellcheck disable=SC2086
    end $pids
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 143' INT TERM HUP

[ -x "$sink" ] && [ -x "$load" ] || fail "there is no sink and no load in $build: build with -DEHLO_DEVELOP=ON"
case $rounds$idle in *[!0-9]*) fail "ROUNDS and IDLE are numbers" ;; esac
# The server on one processor, its clients on another.
pin=
pin_client=
if have taskset && [ "$(nproc)" -gt 1 ]; then
    pin='taskset -c 0'
    pin_client='taskset -c 1'
fi
# Nobody waits for ever.
client()
{
    # shellcheck disable=SC2086
    timeout 120 $pin_client "$@" >"$work/client.log" 2>&1 || fail "$1 failed"
}

# until_true COMMAND...: within 20 seconds
until_true()
{
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "$* did not come true"
        sleep 0.1
    done
}

# -- servers -------------------------------------------------------------------------------------------------

is_ready()
{
    port=$(sed -n 's/^ready .*://p' "$work/ready") && [ -n "$port" ]
}

# start_sink COMMAND...: sets $pid and $port
start_sink()
{
    : >"$work/ready"
    "$@" "$sink" --listen 127.0.0.1:0 >"$work/ready" 2>"$work/sink.log" &
    pid=$!
    pids="$pids $pid"
    until_true is_ready
}

answers()
{
    "$load" "$port" idle 1 </dev/null >/dev/null 2>&1
}

# It cannot pick a port itself: sink finds a free one, and leaves it.
start_smtp_sink()
{
    start_sink $pin
    end "$pid"
    # shellcheck disable=SC2086
    $pin smtp-sink -u nobody -m 1000 "127.0.0.1:$port" 100 >"$work/smtp-sink.log" 2>&1 &
    pid=$!
    pids="$pids $pid"
    until_true answers
}

# -- processor time ------------------------------------------------------------------------------------------

# Microseconds that a process of one thread has run: schedstat counts nanoseconds, stat ticks.
cpu_us()
{
    if [ -r "/proc/$1/schedstat" ]; then
        awk '{ printf "%.0f\n", $1 / 1000 }' "/proc/$1/schedstat"
    else
        sed 's/.*) //' "/proc/$1/stat" | awk -v hz="$(getconf CLK_TCK)" '{ printf "%.0f\n", ($12 + $13) * 1000000 / hz }'
    fi
}

# The four kinds of load, with names as long as the table's first column. KIND MESSAGES
apply()
{
    case $1 in
    small) client smtp-source -d -C 20 -s 20 -m "$2" -l 1024 "127.0.0.1:$port" ;;
    pipelined) client "$load" "$port" send 20 "$2" 1024 ;;
    large) client smtp-source -d -C 20 -s 4 -m "$2" -l 1000000 "127.0.0.1:$port" ;;
    dots) client "$load" "$port" send 4 "$2" 1000000 dots ;;
    esac
}

# cost SERVER KIND MESSAGES: microseconds per message, behind those of other rounds in a file
cost()
{
    eval "pid=\$${1}_pid port=\$${1}_port"
    before=$(cpu_us "$pid")
    apply "$2" "$3"
    after=$(cpu_us "$pid")
    echo "$before $after $3" | awk '{ print ($2 - $1) / $3 }' >>"$work/$1.$2"
}

# spread FILE...: median [min-max] of the numbers in a file, or of the quotients of the lines of two
spread()
{
    paste "$@" | awk '{ print (NF > 1) ? $1 / $2 : $1 }' | sort -n | awk '
        { value[NR] = $1 }
        END {
            number = value[1] < 10 ? "%.3f" : "%.1f"
            printf number " [" number "-" number "]", value[int((NR + 1) / 2)], value[1], value[NR]
        }'
}

# row TITLE KIND MESSAGES
row()
{
    round=0
    while [ $round -lt "$rounds" ]; do
        cost sink "$2" "$3"
        [ -z "$peer_pid" ] || cost peer "$2" "$3"
        round=$((round + 1))
    done
    printf '%-34s %-26s' "$1" "$(spread "$work/sink.$2")"
    [ -z "$peer_pid" ] || printf ' %-26s %s' "$(spread "$work/peer.$2")" "$(spread "$work/sink.$2" "$work/peer.$2")"
    echo
}

measure_time()
{
    printf '%-34s %-26s %-26s %s\n' 'processor time, us per message' sink "${peer_pid:+smtp-sink}" "${peer_pid:+sink / smtp-sink}"
    if have smtp-source; then
        row '1 KB at 20 sessions, stop and wait' small 10000
        row '1 MB at 4 sessions' large 200
    else
        echo 'skipped: smtp-source is not on this machine'
    fi
    row '1 KB at 20 sessions, pipelined' pipelined 20000
    row '1 MB at 4, every line dot-stuffed' dots 200
}

# -- memory --------------------------------------------------------------------------------------------------

# Octets that a process holds: its share of what it shares with others, or else all of it.
memory()
{
    sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' "/proc/$1/smaps_rollup" 2>/dev/null >"$work/kib" || :
    [ -s "$work/kib" ] || sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status" >"$work/kib"
    echo $(($(cat "$work/kib") * 1024))
}

is_holding()
{
    kill -0 "$holder" || fail "the sessions could not be opened"
    grep -q '^ready' "$work/holder.log"
}

# idle_row NAME SESSIONS: of the server at $pid and $port
idle_row()
{
    answers
    before=$(memory "$pid")
    mkfifo "$work/hold"
    timeout 120 "$load" "$port" idle "$2" <"$work/hold" >"$work/holder.log" 2>&1 &
    holder=$!
    pids="$pids $holder"
    exec 3>"$work/hold"
    until_true is_holding
    echo "$1: $((($(memory "$pid") - before) / $2)) octets of resident memory per idle session, $2 sessions after EHLO"
    exec 3>&-
    wait "$holder" || fail "the sessions could not be held"
    rm "$work/hold"
}

# Servers of their own: no load has grown them yet.
measure_memory()
{
    ulimit -n "$(ulimit -H -n)" || :
    most=$(ulimit -n)
    if [ "$most" != unlimited ] && [ "$idle" -gt $((most - 50)) ]; then idle=$((most - 50)); fi
    start_sink
    idle_row sink "$idle"
    end "$pid"
    [ -n "$peer_pid" ] || return 0
    start_smtp_sink
    idle_row smtp-sink "$((idle < 900 ? idle : 900))"
    end "$pid"
}

# -- instructions --------------------------------------------------------------------------------------------

# instructions KIND MESSAGES: of a sink that is started for them
instructions()
{
    start_sink valgrind --tool=callgrind --callgrind-out-file=/dev/null
    case $1 in
    one) client smtp-source -d -s 1 -m "$2" -l 1024 "127.0.0.1:$port" ;;
    one_pipelined) client "$load" "$port" send 1 "$2" 1024 ;;
    one_large) client smtp-source -d -s 1 -m "$2" -l 1000000 "127.0.0.1:$port" ;;
    esac
    end "$pid"
    counted=$(sed -n 's/^.*Collected : \([0-9][0-9]*\).*$/\1/p' "$work/sink.log")
    [ -n "$counted" ] || fail "valgrind counted nothing"
}

# difference KIND MESSAGES MORE-MESSAGES: sets $more, the instructions of what is more
difference()
{
    instructions "$1" "$2"
    more=$counted
    instructions "$1" "$3"
    more=$((counted - more))
}

measure_instructions()
{
    have valgrind && have smtp-source || { echo 'skipped: valgrind or smtp-source is not on this machine'; return 0; }
    echo 'instructions of sink in user space'
    difference one 100 600
    echo "1 KB, stop and wait: $((more / 500)) per message"
    difference one_pipelined 100 600
    echo "1 KB, pipelined: $((more / 500)) per message"
    difference one_large 2 6
    echo "1 MB: $((more / 40000))" | sed 's/\([0-9][0-9]\)$/.\1 per octet/; s/: \./: 0./'
}

# -- all of it -----------------------------------------------------------------------------------------------

start_sink $pin
sink_pid=$pid sink_port=$port peer_pid=
if have smtp-sink && [ "$(id -u)" = 0 ]; then
    start_smtp_sink
    peer_pid=$pid peer_port=$port
else
    echo 'skipped: smtp-sink is not on this machine, or we are not root'
fi
measure_time
end "$sink_pid"
# shellcheck disable=SC2086
[ -z "$peer_pid" ] || end $peer_pid
echo
measure_memory
echo
measure_instructions

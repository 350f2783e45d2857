#!/bin/sh
# The smallest server and the smallest sender of the README compile as they stand there, and do what is said of them:
# the server takes the sender's message for its domain and prints it, and refuses other recipients; the sender says
# which. EHLO_BUILD_DIR is the build folder.
set -eu

source=${EHLO_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
build=${EHLO_BUILD_DIR:?is the build folder}
cc=${CC:-cc}
work=$(mktemp -d)
server_pid=

fail()
{
    echo "FAILED: $*" >&2
    for log in "$work"/*.log; do
        [ ! -s "$log" ] || tail -n 20 "$log" >&2
    done
    exit 1
}

clean_up()
{
    status=$?
    trap - EXIT
    stop
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 143' INT TERM HUP

# Waits for its end, too: the port is free then.
stop()
{
    [ -n "$server_pid" ] || return 0
    kill "$server_pid" 2>/dev/null || :
    wait "$server_pid" 2>/dev/null || :
    server_pid=
}

# program NUMBER NAME SED-SCRIPT: the so-and-so-many-th program of the README, with what the script changes
program()
{
    awk -v wanted="$1" '/^```$/ { inside = 0 } inside && n == wanted { print } /^```c$/ { inside = 1; n++ }' \
        "$source/README.md" | sed "$3" >"$work/$2.c"
}

# compile NAME
compile()
{
    "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$source/include" "$work/$1.c" \
        "$build/libehlo-net.a" "$build/libehlo.a" -lpthread -o "$work/$1" 2>"$work/compiler.log" ||
        fail "the $1 of the README does not compile"
}

# They have no way to pick a port and tell, so free ones are tried.
# build_all PORT
build_all()
{
    program 1 server "s/\.port = 2525/.port = $1/"
    program 2 sender "s/\.port = 2525/.port = $1/"
    program 2 stranger "s/\.port = 2525/.port = $1/; s/someone@example\.org/someone@elsewhere.example/"
    for name in server sender stranger; do
        grep -q "\.port = $1[^0-9]" "$work/$name.c" || fail "the $name of the README does not use port 2525"
        compile $name
    done
    ! cmp -s "$work/sender.c" "$work/stranger.c" || fail "the sender of the README does not send to someone@example.org"
}

# start PORT: 1 if it could not listen there
start()
{
    build_all "$1"
    "$work/server" >"$work/printed" 2>"$work/server.log" &
    server_pid=$!
    tries=0
    until "$work/stranger" >"$work/stranger.log" 2>&1 || [ "$(cat "$work/stranger.log")" = "rejected, code 550" ]; do
        kill -0 "$server_pid" 2>/dev/null || return 1
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "it does not refuse a recipient elsewhere with 550"
        sleep 0.1
    done
    kill -0 "$server_pid" 2>/dev/null
}

port=$((20000 + $$ % 10000))
attempts=0
until start $port; do
    stop
    attempts=$((attempts + 1))
    [ $attempts -lt 10 ] || fail "no free port"
    port=$((port + 37))
done

[ "$(cat "$work/stranger.log")" = "rejected, code 550" ] || fail "a recipient elsewhere is not refused with 550"
[ ! -s "$work/printed" ] || fail "a refused message was printed"
"$work/sender" >"$work/sender.log" 2>&1 || fail "the message was not taken"
[ "$(cat "$work/sender.log")" = "delivered, code 250" ] || fail "the sender does not say what became of the message"
printf 'From: me@example.com\r\nSubject: hello\r\n\r\nLine ends become CRLF.\r\n.\r\nThe end\r\n' >"$work/sent"
cmp "$work/sent" "$work/printed" || fail "what it printed is not what was sent"
kill -0 "$server_pid" || fail "the server has ended"

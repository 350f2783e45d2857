#!/bin/sh
# The smallest server of the README compiles as it stands there and does what is said of it: it takes a message for
# its domain and prints it, and refuses other recipients. EHLO_BUILD_DIR is the build folder.
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

have()
{
    command -v "$1" >/dev/null 2>&1
}

# send PORT RECIPIENT
if have curl && curl --version | grep -qw smtp; then
    send()
    {
        curl --verbose --silent --show-error --max-time 20 --url "smtp://127.0.0.1:$1/client.example" \
            --mail-from a@sender.example --mail-rcpt "$2" --upload-file "$work/sent"
    }
elif have python3; then
    send()
    {
        python3 -c '
import smtplib, sys
port, path, recipient = sys.argv[1:]
with smtplib.SMTP("127.0.0.1", int(port), "client.example", timeout=20) as client, open(path, "rb") as message:
    client.set_debuglevel(1)
    client.sendmail("a@sender.example", [recipient], message.read())
' "$1" "$work/sent" "$2"
    }
else
    echo "skipped: neither curl nor python3 is on this machine"
    exit 77
fi

# It has no way to pick a port and tell, so free ones are tried.
awk '/^```$/ { exit_now = inside } exit_now { exit } inside { print } /^```c$/ { inside = 1 }' "$source/README.md" \
    >"$work/readme.c"
[ "$(grep -c '\.port = 2525' "$work/readme.c")" = 1 ] || fail "the README has no server at port 2525"
sed 's/\.port = 2525/.port = PORT/' "$work/readme.c" >"$work/server.c"

# start PORT: 1 if it could not listen there
start()
{
    "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror -DPORT="$1" -I"$source/include" "$work/server.c" \
        "$build/libehlo-net.a" "$build/libehlo.a" -lpthread -o "$work/server" 2>"$work/compiler.log" ||
        fail "the server of the README does not compile"
    "$work/server" >"$work/printed" 2>"$work/server.log" &
    server_pid=$!
    tries=0
    until send "$1" someone@elsewhere.example >"$work/refused.log" 2>&1 || grep -q "[ ']550 " "$work/refused.log"; do
        kill -0 "$server_pid" 2>/dev/null || return 1
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "it does not refuse a recipient elsewhere with 550"
        sleep 0.1
    done
    kill -0 "$server_pid" 2>/dev/null
}

printf 'Subject: hello\r\n\r\n.a dot\r\n..\r\nthe end\r\n' >"$work/sent"
port=$((20000 + $$ % 10000))
attempts=0
until start $port; do
    stop
    attempts=$((attempts + 1))
    [ $attempts -lt 10 ] || fail "no free port"
    port=$((port + 37))
done

grep -q "[ ']550 " "$work/refused.log" || fail "a recipient elsewhere is not refused with 550"
[ ! -s "$work/printed" ] || fail "a refused message was printed"
send $port someone@example.org >"$work/client.log" 2>&1 || fail "the message was not taken"
cmp "$work/sent" "$work/printed" || fail "what it printed is not what was sent"
kill -0 "$server_pid" || fail "the server has ended"

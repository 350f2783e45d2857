# Sourced by the tests in which send delivers to servers that others wrote. EHLO_BIN is the folder of the programs.
# Sets $bin, $peers (this folder) and $work (a folder that goes away at the end, as do the servers).
set -eu

bin=${EHLO_BIN:?is the folder of the built programs}
peers=$(cd "$(dirname "$0")/peers" && pwd)
work=$(mktemp -d)
running= # process ids of the servers
starts=0
port=

fail()
{
    echo "FAILED: $*" >&2
    for log in "$work"/*.log "$work/send.out"; do
        [ -s "$log" ] && echo "-- $log" >&2 && tail -n 20 "$log" >&2
    done
    exit 1
}

# A test that has more to end says it again.
end_others()
{
    :
}

clean_up()
{
    status=$?
    trap - EXIT
    end_others
    for each in $running; do
        kill "$each" 2>/dev/null || :
        wait "$each" 2>/dev/null || :
    done
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 143' INT TERM HUP

have()
{
    command -v "$1" >/dev/null 2>&1
}

# skip WHAT: status 77 says that this machine lacks it; CI has to have it
skip()
{
    echo "skipped: $* is not on this machine"
    [ "${CI:-}" != true ] || fail "CI must have $*"
    exit 77
}

# python_with MODULE: sets $python to one that has it. The system's packages are not seen by every python3.
python_with()
{
    for python in python3 /usr/bin/python3; do
        if "$python" -c "import $1" 2>/dev/null; then return 0; fi
    done
    return 1
}

# -- servers -------------------------------------------------------------------------------------------------

# wait_for WHAT CONDITION...: asks again and again, for 20 s and more
wait_for()
{
    what=$1
    shift
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 1000 ] || fail "waited in vain: $what"
        sleep 0.02
    done
}

alive()
{
    kill -0 "$1" 2>/dev/null
}

ended()
{
    ! alive "$1"
}

says_ready()
{
    port=$(sed -n 's/^ready .*://p' "$work/$name.ready")
    [ -n "$port" ] || ended "$server"
}

# start NAME PROGRAM ARGUMENTS...: one that prints "ready ADDRESS:PORT"; sets $server (its process id) and $port
start()
{
    name=$1
    shift
    : >"$work/$name.ready" # the server's own redirection may come only after the first look into it
    "$@" >"$work/$name.ready" 2>"$work/$name.log" &
    server=$!
    running="$running $server"
    wait_for "$name is ready" says_ready
    [ -n "$port" ] || fail "$name did not start"
}

# listens PROCESS PORT: asked of the kernel, as a connection might be counted, and to another's server
listens()
{
    inodes=$(awk -v port=":$(printf '%04X' "$2")" '$4 == "0A" && substr($2, 9) == port { print $10 }' /proc/net/tcp)
    for inode in $inodes; do
        if ls -l "/proc/$1/fd" 2>/dev/null | grep -qF "socket:[$inode]"; then return 0; fi
    done
    return 1
}

listens_or_ended()
{
    listens "$server" "$port" || ended "$server"
}

# Sets $port to another one that may be free. It lies below those that kernels give to outgoing connections.
next_port()
{
    starts=$((starts + 1))
    port=$((20000 + ($$ * 31 + starts) % 12000))
}

# start_at NAME COMMAND ARGUMENTS...: a function that runs (by `exec`) a server on $port, which is chosen for it, and
# passed over where it is taken; sets $server and $port
start_at()
{
    name=$1
    shift
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        next_port
        "$@" >"$work/server.log" 2>&1 &
        server=$!
        wait_for "$name listens, attempt $attempt" listens_or_ended
        if listens "$server" "$port"; then
            running="$running $server"
            return 0
        fi
        wait "$server" || :
    done
    fail "$name did not start"
}

# stop PROCESS: it is asked to end, and does so soon
stop()
{
    kill "$1"
    wait_for "$name ends" ended "$1"
    wait "$1" || :
    rest=
    for each in $running; do
        [ "$each" = "$1" ] || rest="$rest $each"
    done
    running=$rest
}

# -- messages ------------------------------------------------------------------------------------------------

# Each prints itself with $eol as its line ends; $end is the last one that a message without it is given on the wire.
empty()
{
    :
}

dot()
{
    printf ".$eol"
}

dots()
{
    printf ".$eol..$eol...$eol.$eol$eol.a$eol. $eol..$eol.$eol"
}

unended()
{
    printf "Subject: unended$eol$eol.the last line has no end$end"
}

long()
{
    printf "Subject: long$eol$eol"
    awk -v eol="$eol" '
        function line(first) { printf "%s", first; for (i = 1; i < 998; i++) printf "x"; printf "%s", eol }
        BEGIN { line("x"); line("."); line("y") }'
}

nuls()
{
    printf "Subject: nuls$eol$eol\\000$eol.\\000.$eol\\000\\000\\000between\\000$eol"
}

eight_bit()
{
    printf "Subject: eight$eol$eol\\303\\251 \\200\\377\\376$eol.\\377$eol\\240$eol"
}

text()
{
    printf "From: a@sender.example${eol}To: b@x.example${eol}Date: Sun, 22 Nov 2026 06:00:00 +0000$eol"
    printf "Message-ID: <text@sender.example>${eol}Subject: text$eol$eol.$eol..$eol \\t$eol$eol.end$eol$eol$eol"
}

# 5 MB, larger than every buffer on the way.
big()
{
    printf "Subject: big$eol$eol"
    awk -v eol="$eol" 'BEGIN { for (i = 0; i < 88000; i++)
        printf "%s%07d of many lines, all of them somewhat longer than a word%s", i % 7 ? "" : ".", i, eol }'
}

messages='empty dot dots unended long nuls eight_bit text big'

# $work/NAME.lf is what send is given, $work/NAME.crlf what arrives. LF and CRLF are written as printf's escapes.
make_messages()
{
    for message in $messages; do
        eol='\n' end='' "$message" >"$work/$message.lf"
        eol='\r\n' end='\r\n' "$message" >"$work/$message.crlf"
    done
}

# -- send ----------------------------------------------------------------------------------------------------

# send STATUS ARGUMENTS...: to 127.0.0.1:$port, from a@sender.example; what it printed is in $work/send.out
send()
{
    expected=$1
    shift
    status=0
    timeout 60 "$bin/send" --server "127.0.0.1:$port" --ehlo client.example --from a@sender.example --trace "$@" \
        >"$work/send.out" 2>"$work/send.log" || status=$?
    [ "$status" -eq "$expected" ] || fail "$name: send $* ended with $status, not $expected"
}

# outcomes LINE...: what send said is exactly this, as far as ADDRESS OUTCOME STAGE CODE
outcomes()
{
    printf '%s\n' "$@" >"$work/outcomes.expected"
    cut -d ' ' -f 1-4 "$work/send.out" | diff "$work/outcomes.expected" - >"$work/outcomes.log" ||
        fail "$name: outcomes"
}

# arrived MESSAGE FILE: the file ends with what was sent; sets $lead, the octets before it
arrived()
{
    [ -f "$2" ] || fail "$name: the message $1 is not there"
    lead=$(($(wc -c <"$2") - $(wc -c <"$work/$1.crlf")))
    [ "$lead" -ge 0 ] || fail "$name: octets of the message $1 are missing"
    tail -c "+$((lead + 1))" "$2" | cmp - "$work/$1.crlf" || fail "$name: the message $1 was changed"
}

# Sourced by the tests that start servers. Sets $work, a folder that goes away at the end, as do the servers.
set -eu

work=$(mktemp -d)
running= # process ids of the servers
starts=0
port=

fail()
{
    echo "FAILED: $*" >&2
    for log in "$work"/*.log "$work"/*.out; do
        [ -s "$log" ] && echo "-- $log" >&2 && tail -n 20 "$log" >&2
    done
    exit 1
}

# A test that has more to end says it again.
end_others()
{
    :
}

stop_all()
{
    for each in $running; do
        kill "$each" 2>/dev/null || :
        wait "$each" 2>/dev/null || :
    done
    running=
}

clean_up()
{
    status=$?
    trap - EXIT
    end_others
    stop_all
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

# A build without OpenSSL takes no other policy than none.
has_tls()
{
    status=0
    "$bin/send" --server 127.0.0.1:1 --from '' --to b@x.example --tls required </dev/null \
        >"$work/tls.log" 2>&1 || status=$?
    [ "$status" -ne 64 ]
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

# stop PROCESS: it is asked to end, and does so soon; sets $stopped, the status that it ended with
stop()
{
    kill "$1"
    wait_for "$name ends" ended "$1"
    stopped=0
    wait "$1" || stopped=$?
    rest=
    for each in $running; do
        [ "$each" = "$1" ] || rest="$rest $each"
    done
    running=$rest
}

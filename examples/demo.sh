#!/bin/sh
# Builds the programs of this folder, lets `send` send a message to `inbox`, and shows what was said and what was
# stored. Nothing is left behind but packages that were missing:
#
#     sh examples/demo.sh
#
# A compiler and CMake are needed; on Debian and its kin they are installed when they are not there and you
# are root. EHLO_BIN=FOLDER uses programs that are built already.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
inbox_pid=

fail()
{
    echo "demo: $*" >&2
    exit 1
}

clean_up()
{
    status=$?
    trap - EXIT
    if [ -n "$inbox_pid" ]; then
        kill "$inbox_pid" 2>/dev/null || :
        wait "$inbox_pid" 2>/dev/null || :
    fi
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say()
{
    printf '\n== %s\n' "$*"
}

have()
{
    command -v "$1" >/dev/null 2>&1
}

# Runs a command whose words matter only if it fails.
quietly()
{
    "$@" >"$work/log" 2>&1 || {
        tail -n 40 "$work/log" >&2
        fail "this failed: $*"
    }
}

have_tools()
{
    have cmake && { have cc || have gcc || have clang; } && { have make || have ninja; }
}

install_tools()
{
    have_tools && return
    have apt-get || fail "please install a C compiler, make and CMake"
    [ "$(id -u)" -eq 0 ] || fail "please install them first: apt-get install gcc libc6-dev make cmake (or run this as root)"
    say "Installing a compiler and CMake"
    quietly apt-get update
    quietly env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc libc6-dev make cmake
    have_tools || fail "a compiler or CMake is still missing"
}

build()
{
    install_tools
    say "Building"
    quietly cmake -S "$root" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DEHLO_EXAMPLES=ON
    quietly cmake --build "$work/build" --parallel 2
    bin=$work/build/examples
}

# Sets $address to what the `ready` line says. Waits 20 seconds at most.
start_inbox()
{
    "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --hostname inbox.example --trace \
        >"$work/ready" 2>"$work/said" &
    inbox_pid=$!
    tries=0
    until address=$(sed -n 's/^ready //p' "$work/ready") && [ -n "$address" ]; do
        kill -0 "$inbox_pid" 2>/dev/null || {
            cat "$work/said" >&2
            fail "inbox did not start"
        }
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || fail "inbox did not say that it is ready"
        sleep 0.1
    done
}

write_message()
{
    {
        echo "From: Alice <alice@sender.example>"
        echo "To: Bob <bob@inbox.example>"
        echo "Subject: Hello from the demo"
        echo "Date: $(LC_ALL=C date '+%a, %d %b %Y %H:%M:%S %z')"
        echo "Message-ID: <demo.$$@sender.example>"
        echo
        echo "Hello Bob,"
        echo "the next line is a lone dot, which does not end a message that is sent with care:"
        echo "."
        echo "Alice"
    } >"$work/message"
}

send_message()
{
    say "Sending a message with send to $address"
    quietly "$bin/send" --server "$address" --ehlo client.example --timeout 30 \
        --from alice@sender.example --to bob@inbox.example "$work/message"
    cat "$work/log"
}

stop_inbox()
{
    kill "$inbox_pid" || fail "inbox is gone"
    status=0
    wait "$inbox_pid" || status=$?
    inbox_pid=
    [ "$status" -eq 0 ] || fail "inbox ended with status $status"
}

show()
{
    say "What was said (C: the client, S: inbox)"
    sed -n 's/^inbox: #[0-9]* \([CS]: \)/\1/p' "$work/said"
    set -- "$work"/mail/bob@inbox.example/new/*
    if [ $# -ne 1 ] || [ ! -f "$1" ]; then fail "no message was stored"; fi
    say "What is stored, at bob@inbox.example/new/$(basename "$1")"
    cat "$1"
}

if [ -n "${EHLO_BIN:-}" ]; then bin=$EHLO_BIN; else build; fi
for program in inbox send; do [ -x "$bin/$program" ] || fail "there is no program $bin/$program"; done
write_message
start_inbox
send_message
stop_inbox
show

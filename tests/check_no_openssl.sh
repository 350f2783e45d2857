#!/bin/sh
# Where OpenSSL is not, all else builds; send and inbox say what is missing, and go on without where that is safe.
set -eu

source=${EHLO_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' INT TERM HUP

fail()
{
    echo "FAILED: $*" >&2
    tail -n 60 "$work/log" >&2
    exit 1
}

{
    cmake -S "$source" -B "$work/build" -DCMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON -DCMAKE_C_COMPILER="${CC:-cc}" \
        -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS='-Wall -Wextra -Werror' -DEHLO_EXAMPLES=ON
    cmake --build "$work/build" --parallel 2 --target ehlo_example_send ehlo_example_inbox
} >"$work/log" 2>&1 || fail 'the build without OpenSSL'
bin=$work/build/examples

for program in send inbox; do
    ! ldd "$bin/$program" 2>/dev/null | grep -E 'libssl|libcrypto' || fail "$program is linked with OpenSSL"
done

# refuses WORDS PROGRAM ARGUMENTS...: status 64, and standard error has the words
refuses()
{
    words=$1
    program=$2
    shift 2
    status=0
    timeout 20 "$bin/$program" "$@" >"$work/out" 2>"$work/log" </dev/null || status=$?
    [ "$status" -eq 64 ] || fail "$program $* ended with $status, not 64"
    grep -qi -- "$words" "$work/log" || fail "$program $*: nothing is said of $words"
    [ ! -s "$work/out" ] || fail "$program $* wrote to standard output"
}

# An opportunity that is not there: nobody listens, and nothing else is wrong.
status=0
"$bin/send" --server 127.0.0.1:1 --from a@x.example --to b@x.example --tls opportunistic >"$work/out" 2>"$work/log" \
    </dev/null || status=$?
[ "$status" -eq 75 ] || fail "send --tls opportunistic ended with $status"
grep -q 'goes in clear: .*OpenSSL' "$work/log" || fail "send --tls opportunistic does not say that it goes in clear"

echo secret >"$work/password"
for policy in required wrapped; do
    refuses openssl send --server 127.0.0.1:1 --from a@x.example --to b@x.example --tls $policy
done
refuses openssl send --server 127.0.0.1:1 --from a@x.example --to b@x.example --user u --password-file "$work/password"
refuses openssl inbox --listen 127.0.0.1:0 --maildir "$work/mail" --tls-cert c.pem --tls-key k.pem

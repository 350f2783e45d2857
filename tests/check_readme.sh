#!/bin/sh
# The smallest programs of the README compile as they stand there, and do what is said of them: the server takes the
# sender's message for its domain and prints it, and refuses other recipients; the sender says which; the submission logs
# in at inbox, inside TLS, or says why it does not. EHLO_BUILD_DIR is the build folder.
. "$(dirname "$0")/peers/servers.sh"

source=${EHLO_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
build=${EHLO_BUILD_DIR:?is the build folder}
cc=${CC:-cc}

# program NUMBER NAME SED-SCRIPT: the so-and-so-many-th program of the README, with what the script changes
program()
{
    awk -v wanted="$1" '/^```$/ { inside = 0 } inside && n == wanted { print } /^```c$/ { inside = 1; n++ }' \
        "$source/README.md" | sed "$3" >"$work/$2.c"
}

# compile NAME ARGUMENT...
compile()
{
    compiled=$1
    shift
    "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$source/include" "$work/$compiled.c" "$@" \
        "$build/libehlo-net.a" "$build/libehlo.a" -lpthread -o "$work/$compiled" 2>"$work/compiler.log" ||
        fail "the $compiled of the README does not compile"
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

# start_at_port PORT: 1 if it could not listen there
start_at_port()
{
    build_all "$1"
    "$work/server" >"$work/printed" 2>"$work/server.log" &
    server=$!
    running=$server
    tries=0
    until "$work/stranger" >"$work/stranger.log" 2>&1 || [ "$(cat "$work/stranger.log")" = "rejected, code 550" ]; do
        kill -0 "$server" 2>/dev/null || return 1
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "it does not refuse a recipient elsewhere with 550"
        sleep 0.1
    done
    kill -0 "$server" 2>/dev/null
}

port=$((20000 + $$ % 10000))
attempts=0
until start_at_port $port; do
    stop_all
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
kill -0 "$server" || fail "the server has ended"

# The provider is inbox. Where the build has no OpenSSL there is no submission.
[ -f "$build/examples/libehlo_openssl.a" ] || exit 0
. "$(dirname "$0")/peers/certificates.sh"
make_certificates

# submission NAME CA-FILE: the third program, at $port
submission()
{
    program 3 "$1" "s/smtp\.example\.org\")/localhost\"), .port = $port/; s#= NULL}; /\* the auth.*#= \"$2\"};#"
    grep -q "localhost.*$port" "$work/$1.c" && grep -q "$2" "$work/$1.c" || fail "the submission of the README is another one"
    compile "$1" -I"$source/examples" "$source/examples/tls_openssl.c" -lssl -lcrypto
}

start inbox "$build/examples/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --hostname mx.example --raw \
    --user me@example.org:secret --require-auth --tls-cert "$certs/server.pem" --tls-key "$certs/server.key"
submission submission "$certs/ca.pem"
submission mistrust "$certs/another_ca.pem"
"$work/submission" >"$work/submission.log" 2>&1 || fail "the submission was not taken"
[ "$(cat "$work/submission.log")" = "delivered, code 250" ] || fail "the submission does not say what became of it"
printf 'From: me@example.org\r\nSubject: hello\r\n\r\nNobody else can read this.\r\n' >"$work/submitted"
cat "$work"/mail/someone@example.org/new/* | cmp "$work/submitted" - || fail "what was filed is not what was submitted"
! "$work/mistrust" >"$work/mistrust.log" 2>&1 || fail "a certificate of an unknown authority was trusted"
grep -q 'certificate' "$work/mistrust.log" || fail "the submission does not say what is wrong with the certificate"
[ "$(ls "$work/mail/someone@example.org/new" | wc -l)" -eq 1 ] || fail "a message went to a stranger"

#!/bin/sh
# send and inbox meet peers that cut TLS off, never end a handshake, talk past it and lie: what is told, what is filed,
# and what is left. Status 77 if there is no python3, no openssl, or no TLS in the programs.
. "$(dirname "$0")/peers/common.sh"

. "$peers/certificates.sh"

python_with ssl || skip python3
has_tls || skip 'OpenSSL, to build with,'

make_certificates
echo secret >"$certs/password"
printf 'Subject: hostile\n\nx\n' >"$certs/message"

# --timeout is for handshakes too
serve()
{
    start "$1" "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/maildir" --hostname test.example --timeout 2 \
        --tls-cert "$certs/server.pem" --tls-key "$certs/server.key" $2
}

serve plain ''
arguments="$server $port"
serve wrapped --tls-wrapped
arguments="$arguments $server $port"
# shellcheck disable=SC2086 # they are four
"$python" "$peers/tls_hostile.py" "$bin/send" "$certs" $arguments "$work/maildir" >"$work/hostile.out" 2>&1 ||
    { grep -A 20 '^FAILED' "$work/hostile.out" | head -n 200; fail 'not as it should be'; }
tail -n 1 "$work/hostile.out"
stop "${arguments%% *}"
[ "$stopped" -eq 0 ] || fail "inbox ended with $stopped"
stop "$server"
[ "$stopped" -eq 0 ] || fail "inbox with --tls-wrapped ended with $stopped"

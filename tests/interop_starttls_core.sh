#!/bin/sh
# examples/starttls_core, which does STARTTLS itself over the bare core: send delivers to it inside TLS, and what is said in
# clear behind STARTTLS is never heard [T01].
. "$(dirname "$0")/peers/common.sh"
. "$peers/certificates.sh"

[ -x "$bin/starttls_core" ] || skip 'starttls_core (OpenSSL)'
have python3 || skip python3
make_messages
make_certificates
start starttls_core "$bin/starttls_core" --listen 127.0.0.1:0 --tls-cert "$certs/server.pem" --tls-key "$certs/server.key"

for message in text dots big; do
    send 0 --tls required --ca "$certs/ca.pem" --to b@x.example "$work/$message.lf"
    outcomes 'b@x.example delivered final 250'
done
grep -q 'C: STARTTLS' "$work/send.log" || fail 'no STARTTLS was said'
send 0 --tls none --to b@x.example "$work/text.lf"
echo 'ok: messages inside TLS, and in clear'

# The reply to STARTTLS is the last that comes, whatever was said behind it.
cat >"$work/inject.py" <<'END'
import socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
connection.sendall(b"EHLO a.example\r\nSTARTTLS\r\n" + sys.argv[2].encode().decode("unicode_escape").encode())
heard = b""
while True:
    octets = connection.recv(65536)
    if not octets: break
    heard += octets
assert heard.count(b"\r\n220 2.0.0") == 1 and heard.split(b"\r\n")[-2].startswith((b"220 ", b"554 ", b"421 ")), heard
assert b"\r\n250 2" not in heard, heard
END
for behind in 'NOOP\r\n' 'NOO' 'MAIL FROM:<injected@x.example>\r\nRCPT TO:<b@x.example>\r\n'; do
    timeout 30 python3 "$work/inject.py" "$port" "$behind" || fail "octets behind STARTTLS: $behind"
done
send 0 --tls required --ca "$certs/ca.pem" --to b@x.example "$work/text.lf"
stop "$server"
[ "$stopped" -eq 0 ] || fail "starttls_core ended with $stopped"
echo 'ok: clear text behind STARTTLS'

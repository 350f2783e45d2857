#!/bin/sh
# send delivers to aiosmtpd, by SMTP and LMTP, in clear and through TLS; what arrived is compared with what was sent,
# octet for octet. Status 77 if no python3 of this machine has aiosmtpd.
. "$(dirname "$0")/peers/common.sh"

python_with aiosmtpd || skip aiosmtpd
make_messages

# serve NAME OPTION...
serve()
{
    store=$work/$1
    mkdir "$store"
    stored=0
    name=$1
    shift
    start "$name" "$python" "$peers/aiosmtpd_store.py" "$store" "$@"
}

# envelope LINE...: of the last message, as far as the parameters that are not SIZE and BODY
envelope()
{
    printf '%s\n' "$@" >"$work/envelope.expected"
    sed 's/ SIZE=[0-9]*//; s/ BODY=8BITMIME//' "$store/$stored.env" | diff "$work/envelope.expected" - \
        >"$work/envelope.log" || fail "$name: envelope"
}

# came MESSAGE: the next one is there, as it was sent and with nothing added
came()
{
    stored=$((stored + 1))
    arrived "$1" "$store/$stored.eml"
    [ "$lead" -eq 0 ] || fail "$name: octets were put before the message $1"
}

none_came()
{
    [ ! -e "$store/$((stored + 1)).eml" ] || fail "$name: a message arrived that should not"
}

# content OPTION...: each message arrives as it was sent
content()
{
    for message in $messages; do
        send 0 "$@" --to b@x.example "$work/$message.lf"
        outcomes 'b@x.example delivered final 250'
        came "$message"
        envelope a@sender.example b@x.example
    done
    echo "ok: content, $name"
}

serve smtp
content
send 1 --to b@x.example --to unknown@x.example --to c@x.example "$work/dots.lf"
outcomes 'b@x.example delivered final 250' 'unknown@x.example rejected rcpt 550' 'c@x.example delivered final 250'
came dots
envelope a@sender.example b@x.example c@x.example

send 1 --to unknown@x.example "$work/text.lf"
outcomes 'unknown@x.example rejected rcpt 550'
none_came

send 0 --count 3 --to b@x.example --to c@x.example "$work/unended.lf"
for copy in 1 2 3; do
    came unended
    envelope a@sender.example b@x.example c@x.example
done
none_came

send 0 --smtputf8 --to bücher@x.example "$work/eight_bit.lf"
came eight_bit
envelope 'a@sender.example SMTPUTF8' bücher@x.example

# Standard input, by a pipe.
cat "$work/big.lf" | send 0 --to b@x.example -
came big

# A bare CR could be anything behind the next server: it is not sent.
printf 'Subject: bare\n\na\rb\n' >"$work/bare.lf"
send 1 --to b@x.example "$work/bare.lf"
outcomes 'b@x.example rejected data 554'
none_came
stop "$server"
echo 'ok: smtp'

# Without SMTPUTF8 a message that needs it is not sent.
serve plain --no-utf8
send 1 --smtputf8 --to bücher@x.example "$work/eight_bit.lf"
none_came
stop "$server"
echo 'ok: no SMTPUTF8'

serve lmtp --lmtp
content --lmtp
send 75 --lmtp --to b@x.example --to full@x.example --to c@x.example "$work/dots.lf"
outcomes 'b@x.example delivered final 250' 'full@x.example deferred final 452' 'c@x.example delivered final 250'
came dots
send 1 --lmtp --to full@x.example --to unknown@x.example --to c@x.example "$work/text.lf"
outcomes 'full@x.example deferred final 452' 'unknown@x.example rejected rcpt 550' 'c@x.example delivered final 250'
came text
stop "$server"
echo 'ok: lmtp'

# -- TLS ------------------------------------------------------------------------------------------------------

has_tls || skip 'OpenSSL, to build with,'
. "$peers/certificates.sh"
make_certificates
echo 'a secret' >"$work/password"
echo guessed >"$work/wrong_password"

# submit STATUS OPTION...: as alice
submit()
{
    submit_status=$1
    shift
    send "$submit_status" --ca "$certs/ca.pem" --user alice --password-file "$work/password" --to b@x.example "$@"
}

# came_from_alice MESSAGE
came_from_alice()
{
    came "$1"
    grep -qx 'alice TLSv1\.[23]' "$store/$stored.who" || fail "$name: who sent the message $1?"
}

for how in starttls wrapped; do
    serve $how "--$how" "$certs/server.chain"
    case $how in
    starttls) policy=required ;;
    wrapped) policy=wrapped ;;
    esac
    for message in $messages; do
        submit 0 --tls $policy "$work/$message.lf"
        outcomes 'b@x.example delivered final 250'
        came_from_alice "$message"
    done
    for mechanism in PLAIN LOGIN; do
        submit 0 --tls $policy --auth $mechanism "$work/text.lf"
        came_from_alice text
        submit 1 --tls $policy --auth $mechanism --password-file "$work/wrong_password" "$work/text.lf"
        outcomes 'b@x.example rejected auth 535'
    done
    submit 0 --tls $policy --count 3 "$work/unended.lf"
    for copy in 1 2 3; do
        came_from_alice unended
    done
    send 1 --tls $policy --ca "$certs/ca.pem" --to b@x.example "$work/text.lf"
    outcomes 'b@x.example rejected mail 530'
    submit 75 --tls $policy --auth SCRAM-SHA-256 "$work/text.lf"
    outcomes 'b@x.example not-sent auth -'
    submit 75 --tls $policy --ca "$certs/another_ca.pem" "$work/text.lf"
    outcomes 'b@x.example not-sent starttls -'
    none_came
    stop "$server"
    echo "ok: $how"
done

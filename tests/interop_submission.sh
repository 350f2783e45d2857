#!/bin/sh
# Clients that others wrote submit mail to inbox: by STARTTLS and inside TLS from the first octet on, each with every
# mechanism that it has; what was stored, and the Received field before it, is looked at. A client that is not on this
# machine is named as skipped, and is a failure where CI=true; status 77 if there is no OpenSSL on this machine or in
# this build.
. "$(dirname "$0")/peers/common.sh"
. "$peers/certificates.sh"

has_tls || skip 'OpenSSL, to build with,'
make_messages
make_certificates
missing=

# A token is a word (RFC 6750 2.1), a password need not be one.
password='a "good" pass:word'
token='eyJhbGciOiJub25lIn0.~token+/-_=='
printf '%s\n' "$password" >"$work/password"
printf '%s\n' "$token" >"$work/token"
echo guessed >"$work/guessed"

# -- servers --------------------------------------------------------------------------------------------------

served=

# serve NAME OPTION...: sets the variable of that name to its port, and NAME_process
serve()
{
    name=$1
    shift
    start "$name" "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --hostname mx.example --trace "$@"
    eval "$name=\$port ${name}_process=\$server"
    served="$served $name"
}

tls="--tls-cert $certs/server.pem --tls-key $certs/server.key"
all='PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER EXTERNAL'

submission()
{
    # shellcheck disable=SC2086
    serve "$@" $tls --tls-ca "$certs/ca.pem" --user "alice:$password" --user "bearer:$token" --auth-mechanisms "$all" \
        --require-auth
}

# -- clients: PEER_present says whether it is here; PEER_mechanisms are those that it has; PEER_send, with the message
# -- $message for $recipient, sends to 127.0.0.1:$port, where TLS is to be had in the way of $how, as $user with the
# -- secret in $secret, by $mechanism

curl_present()
{
    have curl && curl --version | grep -qw smtps
}

curl_mechanisms='PLAIN LOGIN CRAM-MD5 XOAUTH2 OAUTHBEARER EXTERNAL'
! curl --version 2>/dev/null | grep -qw gsasl || curl_mechanisms="$curl_mechanisms SCRAM-SHA-1 SCRAM-SHA-256"

curl_send()
{
    case $how in
    starttls) set -- --ssl-reqd --url "smtp://127.0.0.1:$port/client.example" ;;
    wrapped) set -- --url "smtps://127.0.0.1:$port/client.example" ;;
    esac
    case $mechanism in
    *OAUTH*) set -- "$@" --user "$user:" --oauth2-bearer "$(cat "$secret")" ;;
    EXTERNAL) set -- "$@" --user "$user:" --cert "$certs/$certificate.pem" --key "$certs/$certificate.key" ;;
    *) set -- "$@" --user "$user:$(cat "$secret")" ;;
    esac
    curl --silent --show-error --verbose --max-time 60 --cacert "$certs/ca.pem" --login-options "AUTH=$mechanism" \
        --mail-from a@sender.example --mail-rcpt "$recipient" --upload-file "$work/$message.crlf" "$@"
}

swaks_present()
{
    have swaks && swaks --support >"$work/swaks.able" 2>/dev/null &&
        grep -q 'TLS supported' "$work/swaks.able" && grep -q 'CRAM-MD5 supported' "$work/swaks.able"
}

swaks_mechanisms='PLAIN LOGIN CRAM-MD5'

# It ends every message with an empty line.
swaks_send()
{
    printf '\r\n' >>"$work/sent.crlf"
    case $how in
    starttls) set -- --tls ;;
    wrapped) set -- --tls-on-connect ;;
    esac
    swaks --timeout 60 --server 127.0.0.1 --port "$port" --ehlo client.example --from a@sender.example \
        --to "$recipient" --data "@$work/$message.lf" --tls-verify --tls-ca-path "$certs/ca.pem" \
        --auth "$mechanism" --auth-user "$user" --auth-password "$(cat "$secret")" "$@"
}

msmtp_present()
{
    have msmtp && msmtp --version | grep -q '^TLS/SSL library: [A-Z]'
}

msmtp_mechanisms='PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER EXTERNAL'

msmtp_send()
{
    case $how in
    starttls) set -- --tls-starttls=on ;;
    wrapped) set -- --tls-starttls=off ;;
    esac
    [ "$mechanism" != EXTERNAL ] ||
        set -- "$@" --tls-cert-file="$certs/$certificate.pem" --tls-key-file="$certs/$certificate.key"
    msmtp --file=/dev/null --debug --host=127.0.0.1 --port="$port" --timeout=60 --domain=client.example --tls=on \
        --tls-trust-file="$certs/ca.pem" --auth="$(echo "$mechanism" | tr '[:upper:]' '[:lower:]')" --user="$user" \
        --passwordeval="cat $secret" --from=a@sender.example "$@" -- "$recipient" <"$work/$message.lf"
}

smtplib_present()
{
    python_with smtplib,ssl
}

smtplib_mechanisms='PLAIN LOGIN CRAM-MD5'

smtplib_send()
{
    "$python" "$peers/submission.py" send "$how" "$mechanism" "$user" "$secret" "$certs/ca.pem" "$port" "$recipient" \
        "$work/$message.crlf"
}

s_client_present()
{
    have base64
}

s_client_mechanisms=PLAIN

# By hand, all at once: what a server says is not waited for. (-quiet: a line that begins with R or Q is but a line.)
s_client_send()
{
    case $how in
    starttls) set -- -starttls smtp -name client.example ;;
    wrapped) set -- ;;
    esac
    {
        printf 'EHLO client.example\nAUTH PLAIN %s\n' \
            "$(printf '\0%s\0%s' "$user" "$(cat "$secret")" | base64 | tr -d '\n')"
        printf 'MAIL FROM:<a@sender.example>\nRCPT TO:<%s>\nDATA\n' "$recipient"
        sed 's/^\./../' "$work/$message.lf"
        printf '.\nQUIT\n'
    } | timeout 60 openssl s_client -connect "127.0.0.1:$port" -CAfile "$certs/ca.pem" -verify_return_error -quiet \
        -crlf "$@" >"$work/s_client.said" 2>"$work/s_client.log"
    cat "$work/s_client.said" "$work/s_client.log"
    grep -q '^250 2.0.0 Filed' "$work/s_client.said"
}

# Our own, which has them all.
send_present()
{
    :
}

send_mechanisms=$all

send_send()
{
    case $how in
    starttls) set -- --tls required ;;
    wrapped) set -- --tls wrapped ;;
    esac
    case $mechanism in
    EXTERNAL) set -- "$@" --cert "$certs/$certificate.pem" --key "$certs/$certificate.key" ;;
    *) set -- "$@" --user "$user" --password-file "$secret" ;;
    esac
    timeout 60 "$bin/send" --server "127.0.0.1:$port" --ca "$certs/ca.pem" --auth "$mechanism" --ehlo client.example \
        --from a@sender.example --to "$recipient" "$@" "$work/$message.lf"
}

# -- what is tried with each ----------------------------------------------------------------------------------

# attempt: PEER_send with what is set; what it said is in $work/peer.log
attempt()
{
    cp "$work/$message.crlf" "$work/sent.crlf"
    "${peer}_send" >"$work/peer.log" 2>&1
}

# what_leads FILE MESSAGE: the fields before it, each in a line, to $work/lead.fields
what_leads()
{
    arrived "$2" "$1"
    head -c "$lead" "$1" | tr -d '\r' | awk 'NR > 1 && !/^[ \t]/ { print line; line = "" }
        { sub(/^[ \t]+/, line == "" ? "" : " "); line = line $0 } END { print line }' >"$work/lead.fields"
}

# filed PROTOCOL: it is there once, as it was sent, behind Return-Path and a Received field that names the protocol
filed()
{
    protocol=$1
    set -- "$work/mail/$recipient/new/"*
    if [ $# -ne 1 ] || [ ! -f "$1" ]; then fail "$name: the message for $recipient is not there once"; fi
    what_leads "$1" sent
    [ "$(wc -l <"$work/lead.fields")" -eq 2 ] || fail "$recipient: not two fields lead"
    grep -qx 'Return-Path: <a@sender\.example>' "$work/lead.fields" || fail "$recipient: Return-Path"
    grep -q "^Received: from [^ ]* (\[127\.0\.0\.1\]) by mx\.example with $protocol id [^ ;]* for <$recipient>; " \
        "$work/lead.fields" || fail "$recipient: Received"
}

submit()
{
    recipient=$peer-$mechanism-$how@x.example
    attempt || fail "$peer could not submit by $mechanism to $name"
    filed 'ESMTPSA (TLSv1\.[23][^()]*)'
}

# fail_to_submit: who has a wrong secret is told so, and nothing arrives
fail_to_submit()
{
    recipient=wrong-$recipient
    certificate=stranger
    secret=$work/guessed
    ! attempt || fail "$peer submitted by $mechanism with the wrong secret to $name"
    [ "$mechanism" = EXTERNAL ] || grep -qE '535|5\.7\.8' "$work/peer.log" || fail "$peer, $mechanism: it saw no 535"
    [ ! -e "$work/mail/$recipient" ] || fail "$name: a message for $recipient"
}

# whose MECHANISM: sets who submits by it, and with what
whose()
{
    user=alice
    secret=$work/password
    certificate=client
    case $1 in *OAUTH*) user=bearer secret=$work/token ;; esac
}

submit_all()
{
    eval "mechanisms=\$${peer}_mechanisms"
    for mechanism in $mechanisms; do
        for how in wrapped starttls; do
            name=$how
            eval "port=\$$how"
            whose "$mechanism"
            submit
        done
        fail_to_submit
    done
    echo "ok: $peer: $mechanisms"
}

message=text
submission starttls
submission wrapped --tls-wrapped
for peer in curl swaks msmtp smtplib s_client send; do
    if "${peer}_present"; then
        submit_all
    else
        echo "skipped: $peer is not on this machine"
        missing="$missing $peer"
    fi
done

# -- channel binding: GNU SASL's own program, which submits nothing --------------------------------------------

# bind_channel MECHANISM PASSWORD
bind_channel()
{
    timeout 30 gsasl --smtp --starttls --mechanism="$1" --connect="localhost:$hello_first" \
        --x509-ca-file="$certs/ca.pem" --authentication-id=alice --password="$2" --verbose </dev/null \
        >"$work/gsasl.log" 2>&1
}

if have gsasl && have python3; then
    start hello_first python3 "$peers/hello_first.py" "$starttls"
    hello_first=$port
    for mechanism in SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS; do
        bind_channel $mechanism "$password" || fail "gsasl could not log in by $mechanism"
        grep -q "<alice> authenticated by $mechanism" "$work/starttls.log" || fail "inbox tells of no $mechanism"
        ! bind_channel $mechanism guessed || fail "gsasl logged in by $mechanism with the wrong password"
        grep -q '^535' "$work/gsasl.log" || fail "$mechanism: no 535"
    done
    stop "$server"
    echo 'ok: gsasl: SCRAM with channel binding'
else
    echo 'skipped: gsasl, with python3, is not on this machine'
    missing="$missing gsasl"
fi

# -- the rules of submission ------------------------------------------------------------------------------------

# submit_now HOW NAME: $message, by smtplib and PLAIN
submit_now()
{
    peer=smtplib
    mechanism=PLAIN
    how=$1
    name=$2
    eval "port=\$$name"
    recipient=$name-$message@x.example
    whose $mechanism
    attempt || fail "smtplib could not submit $message to $name"
}

# completed FIELD...: what is stored has one of each of these fields more than was sent, and nothing else
completed()
{
    stored=$(echo "$work/mail/$recipient/new/"*)
    tr -d '\r' <"$stored" | awk '/^Return-Path:|^Received:/ && !other { next }
        !other && /^[ \t]/ { next } { other = 1; print }' >"$work/stored.lf"
    diff "$work/$message.lf" "$work/stored.lf" | sed -n 's/^[<>]/&/p' >"$work/added.log"
    [ "$(wc -l <"$work/added.log")" -eq $# ] || fail "$message: not as many fields were added as it lacks"
    for field in "$@"; do
        grep -qx "> $field" "$work/added.log" || fail "$message: no field was added such as $field"
    done
    sed '/^$/,$d' "$work/stored.lf" >"$work/stored.head"
    [ "$(grep -ciE '^(date|message-id) *:' "$work/stored.head")" -eq 2 ] || fail "$message: not one Date and one Message-ID"
}

number='[0-9][0-9]*'
date="Date: [A-Z][a-z][a-z], $number [A-Z][a-z][a-z] 20[0-9][0-9] [0-9:]\\{8\\} [-+][0-9]\\{4\\}"
message_id='Message-ID: <[^@ ]*@mx\.example>'

if python_with smtplib,ssl; then
    "$python" "$peers/submission.py" rules "$certs" "$starttls" alice "$work/password" >"$work/rules.log" 2>&1 ||
        fail 'a rule of submission'
    echo 'ok: rules'

    printf 'From: a@sender.example\n\nDate: not this one\n' >"$work/bare.lf"
    printf 'From: a@sender.example\nDATE:Sun, 22 Nov 2026 06:00:00 +0000\n\nbody\n' >"$work/dated.lf"
    printf 'message-id : <x@y.example>\nX: message\n date: folded\n\nbody\n' >"$work/named.lf"
    for message in bare dated named; do
        LC_ALL=C awk '{ printf "%s\r\n", $0 }' "$work/$message.lf" >"$work/$message.crlf"
        submit_now starttls starttls
        case $message in
        bare) completed "$date" "$message_id" ;;
        dated) completed "$message_id" ;;
        named) completed "$date" ;;
        esac
    done
    echo 'ok: Date and Message-ID'

    # Whoever is not asked to submit gets nothing added: a message from elsewhere is not ours to complete.
    message=bare
    # shellcheck disable=SC2086
    serve relay $tls --user "alice:$password" --domain mx.example
    submit_now starttls relay
    filed 'ESMTPSA (TLS[^()]*)'

    serve clear --user "alice:$password" --domain mx.example
    grep -q 'warning: --user without --tls-cert' "$work/clear.log" || fail 'there is no warning of passwords in clear'
    submit_now clear clear
    filed ESMTPA
    echo 'ok: without the submission role, and without TLS'
fi

# Each ends well, and in its log is no secret, as it was typed or in base64.
encoded=$(printf '\0alice\0%s' "$password" | base64 | tr -d '\n')
for name in $served; do
    eval "stop \$${name}_process"
    [ "$stopped" -eq 0 ] || fail "$name ended with status $stopped"
    ! grep -F -e "$password" -e "$token" -e "$encoded" "$work/$name.log" || fail "$name shows a secret"
done

# -- the command line -------------------------------------------------------------------------------------------

# refuses WORDS OPTION...: status 64, and standard error begins with the words
refuses()
{
    words=$1
    shift
    status=0
    timeout 20 "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" "$@" >"$work/inbox.out" 2>"$work/inbox.log" ||
        status=$?
    [ "$status" -eq 64 ] || fail "inbox $* ended with $status, not 64"
    [ ! -s "$work/inbox.out" ] || fail "inbox $* was ready"
    grep -q "^inbox: $words" "$work/inbox.log" || fail "inbox $*: it does not say $words"
}

refuses '--user ' --user alice
refuses '--user ' --user :secret
refuses '--user "alice": ' --user alice:
refuses '--user "alice": ' --user alice:one --user alice:two
refuses '--require-auth: --user is missing' --require-auth
refuses '--auth-mechanisms: --user is missing' --auth-mechanisms PLAIN
refuses '--auth-mechanisms: "MAGIC" is none of ' --user alice:secret --auth-mechanisms 'PLAIN MAGIC'
refuses '--tls-cert no-such-file: ' --tls-cert no-such-file
refuses '--tls-cert [^ ]*/server.pem: ' --tls-cert "$certs/server.pem"
refuses '--tls-key [^ ]*/client.key: ' --tls-cert "$certs/server.pem" --tls-key "$certs/client.key"
refuses '--tls-ca [^ ]*/server.key: ' --tls-cert "$certs/server.chain" --tls-ca "$certs/server.key"
for option in --tls-key --tls-ca; do
    refuses "$option: --tls-cert is missing" $option "$certs/server.pem"
done
refuses '--tls-wrapped: --tls-cert is missing' --tls-wrapped
echo 'ok: the command line'

if [ -n "$missing" ] && [ "${CI:-}" = true ]; then fail "CI must have every client:$missing"; fi

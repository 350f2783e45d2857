#!/bin/sh
# send submits to a real Postfix that asks Dovecot who may: by STARTTLS and inside TLS from the first octet on, with
# every mechanism that Dovecot has; and it sends neither mail nor password where that would be read by others. Postfix
# relays to inbox, where what was stored is compared with what was sent. Status 77 if one of them, or OpenSSL, is not
# on this machine, or we are not root, or this is a build without TLS.
. "$(dirname "$0")/peers/common.sh"
. "$peers/postfix.sh"
. "$peers/certificates.sh"

have dovecot || skip dovecot
has_tls || skip 'OpenSSL, to build with,'
make_messages
make_certificates
start_inbox

# -- who may send: Dovecot alone knows ------------------------------------------------------------------------

# A token is a word (RFC 6750 2.1), a password need not be one.
password='a "good" pass=word, écrit'
token='eyJhbGciOiJub25lIn0.~token+/-_=='
printf '%s\nof no matter\n' "$password" >"$work/password"
printf '%s\n' "$token" >"$work/token"
printf 'guessed\n' >"$work/guessed"
printf 'alice:{PLAIN}%s\nbearer:{PLAIN}%s\n' "$password" "$token" >"$work/users"
chmod 644 "$work/users"
mkdir "$work/run" "$work/state"

auth_configuration()
{
    cat <<CONF
base_dir = $work/run
state_dir = $work/state
log_path = $work/dovecot.log
instance_name = sasl
protocols =
ssl = no
default_internal_user = dovecot
default_login_user = dovecot
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2 anonymous
auth_anonymous_username = anonymous
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = username_format=%u $work/users
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = $port
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
CONF
}

dovecot_at()
{
    auth_configuration >"$work/dovecot.conf"
    exec dovecot -F -c "$work/dovecot.conf"
}

start_at dovecot dovecot_at
dovecot=$server
auth_port=$port

# -- where it listens, at ports next to each other ------------------------------------------------------------

listeners()
{
    offset=0
    while read -r listener options; do
        echo "127.0.0.1:$((port + offset)) inet n - n - - smtpd $options"
        eval "$listener=\$((port + offset))"
        offset=$((offset + 1))
    done <<LISTENERS
submission
wrapped -o smtpd_tls_wrappermode=yes
other_name -o smtpd_tls_chain_files=$certs/other_name.chain
expired -o smtpd_tls_chain_files=$certs/expired.chain
self_signed -o smtpd_tls_chain_files=$certs/self_signed.chain
wrapped_expired -o smtpd_tls_wrappermode=yes -o smtpd_tls_chain_files=$certs/expired.chain
old_tls -o smtpd_tls_mandatory_protocols=TLSv1.2 -o smtpd_tls_protocols=TLSv1.2
clear -o smtpd_tls_security_level=none -o smtpd_tls_auth_only=no
clear_plain -o smtpd_tls_security_level=none -o smtpd_tls_auth_only=no -o smtpd_sasl_mechanism_filter=plain,login
LISTENERS
}

settings 'mynetworks =' \
    'smtpd_relay_restrictions = permit_sasl_authenticated, reject' \
    'smtpd_sasl_auth_enable = yes' \
    'smtpd_sasl_type = dovecot' \
    "smtpd_sasl_path = inet:127.0.0.1:$auth_port" \
    'smtpd_sasl_security_options =' \
    'smtpd_sasl_authenticated_header = yes' \
    'smtpd_tls_received_header = yes' \
    'smtpd_error_sleep_time = 0' \
    'smtpd_tls_security_level = may' \
    'smtpd_tls_auth_only = yes' \
    "smtpd_tls_chain_files = $certs/server.chain"
start_postfix

# -- what is tried --------------------------------------------------------------------------------------------

# submit STATUS PORT OPTION...: $message to b@x.example, as $user with the secret in $secret
message=text
user=alice
secret=$work/password
submit()
{
    submit_status=$1
    port=$2
    shift 2
    relay_send "$submit_status" --user "$user" --password-file "$secret" --to b@x.example "$@" "$work/$message.lf"
}

# verified STATUS PORT OPTION...: and trusts the CA of the tests
verified()
{
    verified_status=$1
    verified_port=$2
    shift 2
    submit "$verified_status" "$verified_port" --ca "$certs/ca.pem" "$@"
}

# authenticated MECHANISM: is what Postfix says of it
authenticated()
{
    wait_for "Postfix tells of $1" logged "sasl_method=$1, sasl_username=${2:-alice}"
}

# refused STAGE WORDS PORT OPTION...: status 75, and the reason has the words (an expression); neither password nor
# message was sent, as we and Postfix say
refused()
{
    stage=$1
    words=$2
    shift 2
    submit 75 "$@"
    outcomes "b@x.example not-sent $stage -"
    grep -qiE "$words" "$work/send.out" || fail "$*: the reason has no $words"
    ! grep '^C: ' "$work/send.log" | grep -vE '^C: (EHLO client\.example|STARTTLS|QUIT)$' >"$work/said.log" ||
        fail "$*: too much was said"
    wait_for 'Postfix sees the end' logged 'disconnect from '
    ! logged 'disconnect from .* \(auth\|mail\|rcpt\|data\|bdat\)=' || fail "$*: too much was heard"
    echo "ok: $(cut -d ' ' -f 2- "$work/send.out")"
}

# by MECHANISM: through both doors, and with a wrong secret through neither
by()
{
    for door in "$submission --tls required" "$wrapped --tls wrapped"; do
        # shellcheck disable=SC2086
        verified 0 $door --auth "$1"
        outcomes 'b@x.example delivered final 250'
        authenticated "$1" "$user"
        filed text b@x.example ESMTPSA
        ! grep -qF -e "$password" -e "$token" "$work/send.log" || fail "$1: the secret was shown"
    done
    # shellcheck disable=SC2086
    verified 1 $door --auth "$1" --password-file "$work/guessed"
    outcomes 'b@x.example rejected auth 535'
    echo "ok: $1"
}

for mechanism in PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256; do
    by $mechanism
done
user=bearer
secret=$work/token
for mechanism in OAUTHBEARER XOAUTH2; do
    by $mechanism
done
user=alice
secret=$work/password

# Postfix lets nobody relay who did not say who it is.
port=$submission
relay_send 1 --ca "$certs/ca.pem" --tls required --auth ANONYMOUS --to b@x.example "$work/text.lf"
outcomes 'b@x.example rejected rcpt 554'
grep -q '^S: 235 ' "$work/send.log" || fail 'ANONYMOUS is not accepted'
echo 'ok: ANONYMOUS'

for message in $messages; do
    verified 0 "$submission"
    filed "$message" b@x.example ESMTPSA
done
verified 0 "$wrapped" --tls wrapped --no-chunking --no-pipelining
filed "$message" b@x.example ESMTPSA
message=text
echo 'ok: content'

# -- the strongest is chosen, and what others could read is not said ------------------------------------------

verified 0 "$submission"
authenticated SCRAM-SHA-256
filed text b@x.example ESMTPSA
echo 'ok: TLS and SCRAM-SHA-256 are chosen where nothing is asked for'

submit 0 "$clear" --tls none
authenticated SCRAM-SHA-256
filed text b@x.example ESMTPA
refused auth 'without TLS' "$clear_plain" --tls none
refused auth 'without TLS' "$clear" --tls opportunistic --auth PLAIN
submit 0 "$clear_plain" --tls none --auth-clear
authenticated PLAIN
filed text b@x.example ESMTPA
refused starttls . "$clear" --tls required --ca "$certs/ca.pem"
refused starttls . "$clear" --ca "$certs/ca.pem"

# -- certificates ---------------------------------------------------------------------------------------------

for host in 127.0.0.1 localhost; do
    verified 0 "$submission"
    filed text b@x.example ESMTPSA
    refused starttls "another name than $host" "$other_name" --ca "$certs/ca.pem"
done
host=127.0.0.1
for door in "$submission --tls required" "$wrapped --tls wrapped"; do
    # shellcheck disable=SC2086
    refused starttls 'local issuer' $door --ca "$certs/another_ca.pem"
    # shellcheck disable=SC2086
    refused starttls 'local issuer' $door
done
refused starttls expired "$expired" --tls required --ca "$certs/ca.pem"
refused starttls expired "$wrapped_expired" --tls wrapped --ca "$certs/ca.pem"
refused starttls self.signed "$self_signed" --tls required --ca "$certs/ca.pem"
verified 0 "$old_tls" --tls required
filed text b@x.example ESMTPSA

for listener in "$expired" "$other_name" "$self_signed"; do
    submit 0 "$listener" --tls opportunistic
    filed text b@x.example ESMTPSA
done
echo 'ok: any certificate will do where TLS is but an opportunity'

stop_postfix
name=dovecot
stop "$dovecot"
name=inbox
stop "$inbox"
[ "$stopped" -eq 0 ] || fail "inbox ended with status $stopped"

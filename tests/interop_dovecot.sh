#!/bin/sh
# send delivers to Dovecot's LMTP server: a result for each recipient, and in each Maildir what was sent, octet for
# octet, behind the fields that Dovecot adds. Status 77 if Dovecot with its LMTP server is not on this machine.
. "$(dirname "$0")/peers/common.sh"

PATH=$PATH:/usr/sbin
have dovecot || skip dovecot
libexec=$(doveconf -d -h libexec_dir 2>/dev/null) || libexec=/usr/lib/dovecot
[ -x "$libexec/lmtp" ] || skip "dovecot's LMTP server"
make_messages

# Mail is never root's.
owner=$(id -un)
if [ "$owner" = root ]; then
    owner=dovecot
    chmod 755 "$work"
fi
group=$(id -gn "$owner")
mkdir "$work/mail" "$work/run" "$work/state"
chown "$owner:$group" "$work/mail"
printf '%s:{PLAIN}\n' b@x.example c@x.example d@x.example >"$work/users"

configuration()
{
    cat <<CONF
base_dir = $work/run
state_dir = $work/state
log_path = $work/dovecot.log
instance_name = interop
protocols = lmtp
listen = 127.0.0.1
ssl = no
default_internal_user = $owner
default_internal_group = $group
default_login_user = $owner
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:$work/mail/%u
mail_save_crlf = yes
lmtp_add_received_header = yes
hostname = mx.example
postmaster_address = postmaster@x.example
passdb {
  driver = passwd-file
  args = username_format=%u $work/users
}
userdb {
  driver = static
  args = uid=$owner gid=$group home=$work/mail/%u
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = $port
  }
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
CONF
}

dovecot_at()
{
    configuration >"$work/dovecot.conf"
    exec dovecot -F -c "$work/dovecot.conf"
}

# filed MESSAGE USER: the only message in the user's new/ is what was sent, behind fields of Dovecot's
filed()
{
    set -- "$1" "$2" "$work/mail/$2/new/"*
    [ $# -eq 3 ] || fail "$name: the message $1 is not there once for $2"
    arrived "$1" "$3"
    head -c "$lead" "$3" | tr -d '\r' >"$work/lead.log"
    grep -q '^Return-Path: <a@sender.example>$' "$work/lead.log" || fail "$name: Return-Path"
    ! grep -v '^[R	 ]' "$work/lead.log" || fail "$name: something leads the message $1"
    rm "$3"
}

start_at dovecot dovecot_at

for options in '' --no-chunking '--no-chunking --no-pipelining'; do
    for message in $messages; do
        # shellcheck disable=SC2086
        send 1 --lmtp $options --to b@x.example --to unknown@x.example --to c@x.example "$work/$message.lf"
        outcomes 'b@x.example delivered final 250' 'unknown@x.example rejected rcpt 550' \
            'c@x.example delivered final 250'
        filed "$message" b@x.example
        filed "$message" c@x.example
    done
    echo "ok: content $options"
done

send 1 --lmtp --to unknown@x.example --to nobody@x.example "$work/text.lf"
outcomes 'unknown@x.example rejected rcpt 550' 'nobody@x.example rejected rcpt 550'

send 0 --lmtp --count 3 --to d@x.example "$work/text.lf"
[ "$(find "$work/mail/d@x.example/new" -type f | wc -l)" -eq 3 ] || fail 'three copies did not arrive'
[ "$(grep -c LHLO "$work/send.log")" -eq 1 ] || fail 'three copies took more than one connection'
echo 'ok: three copies over one connection'

# A folder that cannot be written to defers its own recipient alone.
rm -rf "$work/mail/c@x.example"
: >"$work/mail/c@x.example"
send 75 --lmtp --to b@x.example --to c@x.example "$work/text.lf"
cut -d ' ' -f 1-3 "$work/send.out" >"$work/stages.log"
grep -qx 'b@x.example delivered final' "$work/stages.log" || fail 'b@x.example shares the fault of c@x.example'
grep -q '^c@x.example deferred ' "$work/stages.log" || fail 'c@x.example is not deferred'
filed text b@x.example
stop "$server"
echo 'ok: one mailbox cannot be written to'

# Sourced, behind common.sh, by the tests that run a real Postfix, which relays to inbox: what inbox stored ends with
# what was sent, octet for octet. The Postfix is one of its own, with all its folders in $work; any other on this
# machine is left alone.
PATH=$PATH:/usr/sbin:/usr/lib/postfix/sbin
have postfix || skip postfix
[ "$(id -u)" -eq 0 ] || skip 'postfix, for one who is not root,' # its master does not start

postfix_name=relay.example
config=$work/etc
queue=$work/queue

start_inbox()
{
    start inbox "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --raw --hostname inbox.example --trace
    inbox_port=$port
    inbox=$server
}

# settings LINE...: what every Postfix here has, then the lines. What it adds to messages of its neighbours
# (local_header_rewrite_clients) is not wanted.
settings()
{
    mkdir "$config" "$queue" "$work/data"
    chmod 755 "$work" "$config" "$queue"
    chown postfix "$work/data"
    cat >"$config/main.cf" <<CONF
compatibility_level = 3.6
queue_directory = $queue
data_directory = $work/data
maillog_file = $work/mail.log
maillog_file_prefixes = $work
mail_owner = postfix
setgid_group = postdrop
myhostname = $postfix_name
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:$inbox_port
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
local_header_rewrite_clients =
smtputf8_enable = yes
smtp_line_length_limit = 0
CONF
    printf '%s\n' "$@" >>"$config/main.cf"
}

# Where it listens, in lines of master.cf; a test that wants more than this says it again.
listeners()
{
    echo "127.0.0.1:$port inet n - n - - smtpd"
}

services()
{
    listeners
    cat <<CONF
postlog   unix-dgram n - n - 1 postlogd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
tlsmgr    unix  - - n 1000? 1 tlsmgr
CONF
}

# It does not start where the port is taken.
start_postfix()
{
    name=postfix
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        next_port
        services >"$config/master.cf"
        if timeout 60 postfix -c "$config" start >"$work/start.log" 2>&1; then return 0; fi
    done
    fail "postfix did not start in $attempt attempts"
}

end_others()
{
    [ ! -e "$queue/pid/master.pid" ] || postfix -c "$config" stop >/dev/null 2>&1 || :
}

stop_postfix()
{
    postfix -c "$config" stop >"$work/stop.log" 2>&1 || fail 'postfix did not stop'
}

# logged PATTERN: Postfix's log has a line with it, from a certain line on
logged()
{
    tail -n "+$logged_from" "$work/mail.log" | grep -q "$1"
}

# relay_send STATUS ARGUMENTS...: what Postfix writes into its log from now on is looked at
relay_send()
{
    logged_from=$(($(wc -l <"$work/mail.log") + 1))
    send "$@"
}

filed_once()
{
    set -- "$1" "$work/mail/$1/new/"*
    [ $# -eq 2 ] && [ -f "$2" ]
}

# filed MESSAGE RECIPIENT [PROTOCOL]: inbox has it once, behind the Received field of Postfix alone
filed()
{
    wait_for "the message $1 for $2" filed_once "$2"
    set -- "$1" "$2" "${3:-ESMTP}" "$work/mail/$2/new/"*
    arrived "$1" "$4"
    head -c "$lead" "$4" | tr -d '\r' >"$work/lead.log"
    ! grep -v -e '^Received: from client.example ' -e '^	' -e '^$' "$work/lead.log" || fail "more leads the message $1"
    grep -q "^	by $postfix_name (Postfix) with $3 id " "$work/lead.log" || fail "$1: Received"
    rm "$4"
}

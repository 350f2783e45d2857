# Sourced, behind common.sh and dns.sh, by the tests in which relay delivers to several hosts. All listen at the same
# port, each at a loopback address of its own; relay is at 127.0.0.1.
export PYTHONDONTWRITEBYTECODE=1

# -- next hops -----------------------------------------------------------------------------------------------

# One at which nobody listens.
choose_mx_port()
{
    next_port
    while grep -q ":$(printf '%04X' "$port") [0-9A-F:]* 0A " /proc/net/tcp; do
        next_port
    done
    mx_port=$port
}

# start_host NAME OPTION...: an inbox at $address
start_host()
{
    host_name=$1
    shift
    start "$host_name" "$bin/inbox" --listen "$address:$mx_port" --maildir "$work/$host_name" --raw \
        --hostname "$host_name.example" "$@"
}

# start_python_host NAME STAGE=REPLY...: see next_hop.py
start_python_host()
{
    host_name=$1
    shift
    mkdir -p "$work/$host_name"
    start "$host_name" "$python" "$peers/next_hop.py" "$work/$host_name" "$address:$mx_port" "$@"
}

# kill_9 PROCESS
kill_9()
{
    kill -9 "$1"
    wait_for "$1 is gone" ended "$1"
    wait "$1" 2>/dev/null || :
    rest=
    for each in $running; do
        [ "$each" = "$1" ] || rest="$rest $each"
    done
    running=$rest
}

# -- relay ---------------------------------------------------------------------------------------------------

# start_relay NAME OPTION...: with $work/NAME.spool; sets $server and $port
start_relay()
{
    relay_name=$1
    shift
    mkdir -p "$work/$relay_name.spool"
    start "$relay_name" "$bin/relay" --listen 127.0.0.1:0 --spool "$work/$relay_name.spool" \
        --hostname "$relay_name.example" --resolver "127.0.0.1:$dns_port" --mx-port "$mx_port" "$@"
}

# list NAME: what is queued there
list()
{
    timeout 20 "$bin/relay" --spool "$work/$1.spool" --list >"$work/list.out" 2>"$work/list.log" || fail "$1: --list"
}

# queued NAME PATTERN
queued()
{
    list "$1"
    grep -q "$2" "$work/list.out"
}

idle()
{
    ! queued "$1" @
}

# -- what arrived --------------------------------------------------------------------------------------------

# count HOST RECIPIENT: how many messages there are for it
count()
{
    set -- "$work/$1/$2/new/"*
    if [ -f "$1" ]; then echo $#; else echo 0; fi
}

there()
{
    [ "$(count "$1" "$2")" -ge 1 ]
}

# delivered HOST RECIPIENT MESSAGE: it arrives there, once, and is what was sent, behind the Received fields of as many
# hosts as $hops says. It is taken away. With two hosts one is Postfix, which puts an empty line in front of what is no
# header.
hops=1
delivered()
{
    wait_for "a message at $1 for $2" there "$1" "$2"
    [ "$(count "$1" "$2")" -eq 1 ] || fail "$2 has $(count "$1" "$2") messages"
    set -- "$1" "$2" "$3" "$work/$1/$2/new/"*
    arrived "$3" "$4"
    head -c "$lead" "$4" | tr -d '\r' >"$work/lead.log"
    case $hops in 1) blank='^Received: ' ;; *) blank='^$' ;; esac
    ! grep -v -e '^Received: ' -e '^[ 	]' -e "$blank" "$work/lead.log" ||
        fail "more than Received fields leads the message $3"
    [ "$(grep -c '^Received: ' "$work/lead.log")" -eq "$hops" ] ||
        fail "the message $3 has other hops behind it than $hops"
    rm "$4"
}

# reported SENDER REQUIREMENT...: a report arrives there, once, and is as report.py demands; it is taken away, and is in
# $work/report.log
reported()
{
    reported_to=$1
    shift
    wait_for "a report to $reported_to" there home "$reported_to"
    [ "$(count home "$reported_to")" -eq 1 ] || fail "$reported_to has $(count home "$reported_to") reports"
    cp "$work/home/$reported_to/new/"* "$work/report.log"
    rm "$work/home/$reported_to/new/"*
    "$python" "$peers/report.py" "$work/report.log" "$@" >"$work/report.out" 2>&1 || fail "the report to $reported_to"
}

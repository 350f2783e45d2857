# Sourced by the tests in which send delivers to servers that others wrote. EHLO_BIN is the folder of the programs.
# Sets $bin, $peers (this folder) and what servers.sh does.
bin=${EHLO_BIN:?is the folder of the built programs}
peers=$(cd "$(dirname "$0")/peers" && pwd)
. "$peers/servers.sh"

# -- messages ------------------------------------------------------------------------------------------------

# Each prints itself with $eol as its line ends; $end is the last one that a message without it is given on the wire.
empty()
{
    :
}

dot()
{
    printf ".$eol"
}

dots()
{
    printf ".$eol..$eol...$eol.$eol$eol.a$eol. $eol..$eol.$eol"
}

unended()
{
    printf "Subject: unended$eol$eol.the last line has no end$end"
}

long()
{
    printf "Subject: long$eol$eol"
    awk -v eol="$eol" '
        function line(first) { printf "%s", first; for (i = 1; i < 998; i++) printf "x"; printf "%s", eol }
        BEGIN { line("x"); line("."); line("y") }'
}

nuls()
{
    printf "Subject: nuls$eol$eol\\000$eol.\\000.$eol\\000\\000\\000between\\000$eol"
}

eight_bit()
{
    printf "Subject: eight$eol$eol\\303\\251 \\200\\377\\376$eol.\\377$eol\\240$eol"
}

text()
{
    printf "From: a@sender.example${eol}To: b@x.example${eol}Date: Sun, 22 Nov 2026 06:00:00 +0000$eol"
    printf "Message-ID: <text@sender.example>${eol}Subject: text$eol$eol.$eol..$eol \\t$eol$eol.end$eol$eol$eol"
}

# 5 MB, larger than every buffer on the way.
big()
{
    printf "Subject: big$eol$eol"
    awk -v eol="$eol" 'BEGIN { for (i = 0; i < 88000; i++)
        printf "%s%07d of many lines, all of them somewhat longer than a word%s", i % 7 ? "" : ".", i, eol }'
}

messages='empty dot dots unended long nuls eight_bit text big'

# $work/NAME.lf is what send is given, $work/NAME.crlf what arrives. LF and CRLF are written as printf's escapes.
make_messages()
{
    for message in $messages; do
        eol='\n' end='' "$message" >"$work/$message.lf"
        eol='\r\n' end='\r\n' "$message" >"$work/$message.crlf"
    done
}

# -- send ----------------------------------------------------------------------------------------------------

host=127.0.0.1

# send STATUS ARGUMENTS...: to $host:$port, from a@sender.example; what it printed is in $work/send.out
send()
{
    expected=$1
    shift
    status=0
    timeout 60 "$bin/send" --server "$host:$port" --ehlo client.example --from a@sender.example --trace "$@" \
        >"$work/send.out" 2>"$work/send.log" || status=$?
    [ "$status" -eq "$expected" ] || fail "$name: send $* ended with $status, not $expected"
}

# outcomes LINE...: what send said is exactly this, as far as ADDRESS OUTCOME STAGE CODE
outcomes()
{
    printf '%s\n' "$@" >"$work/outcomes.expected"
    cut -d ' ' -f 1-4 "$work/send.out" | diff "$work/outcomes.expected" - >"$work/outcomes.log" ||
        fail "$name: outcomes"
}

# arrived MESSAGE FILE: the file ends with what was sent; sets $lead, the octets before it
arrived()
{
    [ -f "$2" ] || fail "$name: the message $1 is not there"
    lead=$(($(wc -c <"$2") - $(wc -c <"$work/$1.crlf")))
    [ "$lead" -ge 0 ] || fail "$name: octets of the message $1 are missing"
    tail -c "+$((lead + 1))" "$2" | cmp - "$work/$1.crlf" || fail "$name: the message $1 was changed"
}

#!/bin/sh
# examples/demo.sh, with the programs in EHLO_BIN, shows a dialogue and the stored file, and leaves nothing behind.
set -eu

: "${EHLO_BIN:?is the folder of the built programs}"
source=${EHLO_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
shell=$(command -v sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' INT TERM HUP

fail()
{
    echo "FAILED: $*" >&2
    cat "$work/output" >&2
    exit 1
}

# demo NAME: its output holds what it must; $TMPDIR is empty afterwards
demo()
{
    mkdir "$work/tmp"
    TMPDIR="$work/tmp" PATH="$work/path" "$shell" "$source/examples/demo.sh" >"$work/output" 2>&1 || fail "$1: demo.sh"
    for line in 'S: 220 inbox\.example ' 'C: MAIL FROM:<alice@sender\.example>' 'S: 354 ' 'S: 250 2\.0\.0 Filed as ' \
        'Return-Path: <alice@sender\.example>.$' 'Received: from client\.example ' 'Subject: Hello from the demo.$' \
        'the next line is a lone dot' '\..$' 'Alice.$'; do
        grep -qi "^$line" "$work/output" || fail "$1: no line begins with $line"
    done
    rmdir "$work/tmp" || fail "$1: something was left behind"
    echo "ok: $1"
}

# The folder that demo.sh finds its programs in: what it cannot do without, and one client.
path_with()
{
    rm -rf "$work/path"
    mkdir "$work/path"
    for program in awk basename cat date dirname grep id mktemp rm sed sleep tail "$1"; do
        printf '#!/bin/sh\nPATH="%s" exec "%s" "$@"\n' "$PATH" "$(command -v "$program")" >"$work/path/$program"
        chmod +x "$work/path/$program"
    done
}

present=
for client in curl swaks python3 bash; do
    if command -v $client >/dev/null; then
        present=yes
        path_with $client
        demo $client
        grep -q "with $client to" "$work/output" || fail "$client: another client was used"
    else
        echo "skipped: $client is not on this machine"
    fi
done
[ -n "$present" ] || exit 77

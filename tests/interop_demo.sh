#!/bin/sh
# examples/demo.sh, with the programs in EHLO_BIN and little else to call, shows a dialogue and the stored file, and
# leaves nothing behind.
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

# The folder that demo.sh finds its programs in: what it cannot do without.
mkdir "$work/path" "$work/tmp"
for program in basename cat date dirname mktemp rm sed sleep tail; do
    printf '#!/bin/sh\nPATH="%s" exec "%s" "$@"\n' "$PATH" "$(command -v "$program")" >"$work/path/$program"
    chmod +x "$work/path/$program"
done

TMPDIR="$work/tmp" PATH="$work/path" "$shell" "$source/examples/demo.sh" >"$work/output" 2>&1 || fail "demo.sh"
for line in 'S: 220 inbox\.example ' 'C: MAIL FROM:<alice@sender\.example>' 'C: BDAT [0-9]* LAST' \
    'S: 250 2\.0\.0 Filed as ' 'bob@inbox\.example delivered final 250 2\.0\.0 Filed as ' \
    'Return-Path: <alice@sender\.example>.$' 'Received: from client\.example ' 'Subject: Hello from the demo.$' \
    'the next line is a lone dot' '\..$' 'Alice.$'; do
    grep -qi "^$line" "$work/output" || fail "no line begins with $line"
done
rmdir "$work/tmp" || fail "something was left behind"

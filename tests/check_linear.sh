#!/bin/sh
# The work per octet does not grow with the input: twice the octets of a command line, of one over the limit, of lines
# that begin with a dot, and of one-octet chunks take at most 2.3 times the instructions, fed whole and octet by octet
# [C239]. Instructions are counted, not time, so that a busy machine changes nothing. EHLO_BUILD_DIR is the build folder.
set -eu

linear=${EHLO_BUILD_DIR:?is the build folder}/tests/linear
octets=262144
command -v valgrind >/dev/null || { echo "skipped: valgrind is not on this machine"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# instructions CASE CUT OCTETS
instructions()
{
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$linear" "$@" 2>"$work/log" ||
        { cat "$work/log" >&2; return 1; }
    sed -n 's/^.*Collected : \([0-9][0-9]*\).*$/\1/p' "$work/log"
}

# What the program costs without any octets is no part of it. In tenths, as the shell has no fractions.
check()
{
    none=$(instructions "$1" "$2" 0)
    once=$(($(instructions "$1" "$2" $octets) - none))
    twice=$(($(instructions "$1" "$2" $((2 * octets))) - none))
    echo "$1, $3: $once instructions for $octets octets, $twice for twice as many"
    [ "$once" -gt 0 ] && [ $((twice * 10)) -le $((once * 23)) ] || { echo "FAILED: more than 2.3 times"; failed=1; }
}

for input in line endless dots chunks; do
    check $input 0 whole
    check $input 1 'octet by octet'
done
exit $failed

#!/bin/sh
# What the libraries need and what they show: floors 1 and 2 call mem* and str* alone, no floor uses a higher one,
# and the shared libraries export nothing but ehlo_*. EHLO_BUILD_DIR is the build folder.
set -eu
LC_ALL=C
export LC_ALL

source=${EHLO_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
build=${EHLO_BUILD_DIR:?is the build folder}
command -v nm >/dev/null || { echo "skipped: nm is not on this machine"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

complain()
{
    echo "FAILED: $1"
    sed 's/^/    /' "$2"
    failed=1
}

# symbols FLOOR defined|undefined: what its objects define for others, or need from them
symbols()
{
    find "$build/CMakeFiles/$1.dir" -name '*.o' >"$work/objects"
    [ -s "$work/objects" ] || { echo "FAILED: no objects of $1 in $build" >&2; exit 1; }
    xargs nm -P <"$work/objects" |
        awk -v want="$2" '
            NF > 1 && $2 ~ /^[A-Zvw]$/ && want == ($2 ~ /^[Uvw]$/ ? "undefined" : "defined") { print $1 }' |
        sort -u
}

# What a compiler itself brings in: stack protection, position-independent code, processor detection, fortified
# mem* and str*, sanitizers.
helpers='^(__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__cpu_model|__cpu_indicator_init|__(mem|str)[a-z]+_chk)$'
helpers="$helpers|^(__asan|__ubsan|__sanitizer|__sancov|__start___sancov|__stop___sancov|asan\\.)"
libc='^(mem|str)[a-z]+$'

symbols ehlo_syntax defined >"$work/syntax"
symbols ehlo_core defined | cat - "$work/syntax" | sort -u >"$work/core"

# floor FLOOR FILE: all that FLOOR needs is libc's mem* and str*, a compiler helper, or in FILE
floor()
{
    symbols "$1" undefined >"$work/needed"
    comm -23 "$work/needed" "$2" | grep -Ev "$helpers|$libc" >"$work/surplus" || true
    [ ! -s "$work/surplus" ] || complain "$1 needs" "$work/surplus"
}
floor ehlo_syntax "$work/syntax"
floor ehlo_core "$work/core"

# Of the floors below, the socket floor may use what a shared libehlo exports.
for library in libehlo libehlo-net; do
    file=$(find "$build" -maxdepth 1 -name "$library.so" | head -n 1)
    [ -n "$file" ] || { echo "FAILED: there is no $library.so in $build"; exit 1; }
    nm -D --defined-only -P "$file" | cut -d ' ' -f 1 | sort -u >"$work/$library"
    grep -Ev "^ehlo_|$helpers" "$work/$library" >"$work/surplus" || true
    [ ! -s "$work/surplus" ] || complain "$library.so exports" "$work/surplus"
    grep -q '^ehlo_' "$work/$library" || complain "$library.so exports nothing" /dev/null
done
symbols ehlo_net_objects undefined | grep '^ehlo_' >"$work/needed"
symbols ehlo_net_objects defined | cat - "$work/libehlo" | sort -u >"$work/reachable"
comm -23 "$work/needed" "$work/reachable" >"$work/surplus"
[ ! -s "$work/surplus" ] || complain "ehlo_net uses hidden names" "$work/surplus"

# What a header promises is there.
cat "$source"/include/ehlo/*.h | grep -oE 'EHLO_API [^(]*\(' | grep -oE 'ehlo_[a-z0-9_]+\($' | tr -d '(' |
    sort -u >"$work/promised"
sort -u "$work/libehlo" "$work/libehlo-net" | comm -13 - "$work/promised" >"$work/missing"
[ ! -s "$work/missing" ] || complain "declared but not exported" "$work/missing"
exit $failed

#!/bin/sh
# The house rules that a machine can see: what the top level holds, how long functions are, how code is laid out.
set -eu

source=${EHLO_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$source"
work=$(mktemp)
trap 'rm -f "$work"' EXIT
failed=0

# complain TEXT: what is in $work is wrong
complain()
{
    [ -s "$work" ] || return 0
    echo "FAILED: $1"
    sed 's/^/    /' "$work"
    failed=1
}

# Build folders aside, which git ignores too.
for entry in *; do
    case $entry in
    include | lib | examples | tests | fuzz | CMakeLists.txt | README.md | LICENSE | build*) ;;
    *) echo "$entry" ;;
    esac
done >"$work"
complain "not a thing for the top level"

awk 'FNR == 1 { start = 0 }
    /^\{/ { start = FNR }
    /^\}/ { if (start && FNR - start - 1 > 80) printf "%s:%d: %d lines\n", FILENAME, start, FNR - start - 1; start = 0 }
' lib/*/*.c lib/*/*.h >"$work"
complain "functions above 80 lines"

grep -nE '[[:space:]]$|	' include/ehlo/*.h lib/*/*.[ch] >"$work" || true
complain "trailing spaces, or tabs"

grep -nE '//( |$)|TODO|FIXME|XXX' include/ehlo/*.h lib/*/*.[ch] >"$work" || true
complain "a comment that is not of this house"

# Versions of clang-format differ; this is the one that the settings were made with.
formatter=
for name in clang-format-14 clang-format; do
    if command -v $name >/dev/null && $name --version | grep -q 'version 14\.'; then formatter=$name; fi
done
if [ -n "$formatter" ]; then
    find include lib examples tests fuzz -name '*.[ch]' -exec $formatter --dry-run {} + 2>"$work"
    complain "$formatter would lay it out otherwise"
fi
[ $failed -eq 0 ] || exit 1
[ -n "$formatter" ] || { echo "skipped: clang-format 14 is not on this machine"; exit 77; }

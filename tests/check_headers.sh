#!/bin/sh
# Each public header compiles alone, and twice over, as C11 and as C++11.
set -eu

source=${EHLO_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
cc=${CC:-cc}
cxx=${CXX:-c++}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

compile()
{
    "$@" -Wall -Wextra -Wpedantic -Werror -I"$source/include" -c -o "$work/out.o" || failed=1
}

for header in "$source"/include/ehlo/*.h; do
    include="#include <ehlo/${header##*/}>"
    printf '%s\n%s\nint main(void) { return 0; }\n' "$include" "$include" >"$work/alone.c"
    cp "$work/alone.c" "$work/alone.cc"
    compile "$cc" -std=c11 "$work/alone.c"
    if command -v "$cxx" >/dev/null; then compile "$cxx" -std=c++11 "$work/alone.cc"; fi
done
[ $failed -eq 0 ] || exit 1
command -v "$cxx" >/dev/null || { echo "skipped: no C++ compiler ($cxx) on this machine"; exit 77; }

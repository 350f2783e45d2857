#!/bin/sh
# Floors 1 and 2 need no operating system: they include no header but a few of C's own, name no other floor's files
# by path, and compile as freestanding code.
set -eu

source=${EHLO_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
cc=${CC:-cc}
allowed='<(stddef|stdint|string|limits|stdbool|emmintrin|immintrin)\.h>'
allowed="$allowed|<ehlo/(types|syntax|body|sasl|server|client|transaction|opening|dns|dsn|relay)\\.h>|\"[a-z0-9_]+\\.h\""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
cd "$source"

if grep -nE '^[[:space:]]*#[[:space:]]*include' lib/syntax/*.[ch] lib/core/*.[ch] include/ehlo/types.h \
    include/ehlo/syntax.h include/ehlo/body.h include/ehlo/sasl.h include/ehlo/server.h include/ehlo/client.h \
    include/ehlo/transaction.h include/ehlo/opening.h include/ehlo/dns.h \
    include/ehlo/dsn.h include/ehlo/relay.h | grep -vE "include ($allowed)"; then
    echo "FAILED: the lines above include what floors 1 and 2 may not"
    failed=1
fi
if grep -nE '^[[:space:]]*#[[:space:]]*include ("[^"]*/|<ehlo/.*/)' lib/*/*.[ch]; then
    echo "FAILED: the lines above reach into another floor"
    failed=1
fi
for file in lib/syntax/*.c lib/core/*.c; do
    "$cc" -std=c11 -ffreestanding -Wall -Wextra -Werror -Iinclude -Ilib/core -Ilib/syntax -c "$file" \
        -o "$work/out.o" || failed=1
done
exit $failed

#!/bin/sh
# Builds everything and runs all tests that this machine can run: sh tests/run.sh
#
# EHLO_BUILD  the build folder; build/tests beside this one if not set
# CI=true     a skipped test is a failure
#
# What is missing to build (a compiler, CMake, cmocka) is installed where apt-get is there and we are root; OpenSSL too, but
# without it all else is built and tested.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
build=${EHLO_BUILD:-$source/build/tests}
jobs=$(nproc 2>/dev/null || echo 2)
log=$build/run.log

fail()
{
    echo "$*" >&2
    exit 1
}

# have HEADER...: the compiler finds the last, which needs those before it
have()
{
    for header in "$@"; do echo "#include <$header>"; done | ${CC:-cc} -E -x c - >/dev/null 2>&1
}

may_install()
{
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]
}

missing=
command -v "${CC:-cc}" >/dev/null || missing="$missing gcc libc6-dev"
command -v cmake >/dev/null || missing="$missing cmake"
command -v make >/dev/null || command -v ninja >/dev/null || missing="$missing make"
have stdarg.h stddef.h stdint.h setjmp.h cmocka.h || missing="$missing libcmocka-dev"
[ -z "$missing" ] || may_install || fail "The tests need these Debian packages:$missing"
have openssl/ssl.h || { may_install && missing="$missing libssl-dev"; } || echo "Without OpenSSL (libssl-dev): no test of TLS"
if [ -n "$missing" ]; then
    echo "Installing$missing"
    mkdir -p "$build"
    # shellcheck disable=SC2086 # each package is a word of its own
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
        >"$log" 2>&1 || { cat "$log"; fail "could not install$missing"; }
fi

mkdir -p "$build"
echo "Building in $build"
{ cmake -S "$source" -B "$build" -DEHLO_DEVELOP=ON -DEHLO_EXAMPLES=ON && cmake --build "$build" --parallel "$jobs"; } \
    >"$log" 2>&1 || { tail -n 60 "$log"; fail "the build failed"; }

status=0
(cd "$build" && ctest --parallel "$jobs" --output-on-failure --no-tests=error) >"$log" 2>&1 || status=$?
if [ $status -ne 0 ]; then
    cat "$log"
else
    grep -E '^ *[0-9]+/[0-9]+ Test ' "$log" | sed 's/^ *[0-9]*\/[0-9]* //'
fi

passed=$(grep -cE '^ *[0-9]+/[0-9]+ Test .* Passed ' "$log" || true)
skipped=$(sed -nE 's/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: ([^ ]+) .*\*\*\*Skipped.*/\1/p' "$log")
failed=$(grep -E '^ *[0-9]+/[0-9]+ Test ' "$log" | grep -cvE ' Passed |\*\*\*Skipped' || true)
grep -h '^skipped: ' "$build/Testing/Temporary/LastTest.log" | sort -u || true
echo
echo "$passed passed, $failed failed, $(echo $skipped | wc -w) skipped"
[ $status -eq 0 ] && [ "$failed" -eq 0 ] || exit 1
if [ "${CI:-}" = true ] && [ -n "$skipped" ]; then fail "a test was skipped, and CI=true"; fi

#!/bin/sh
# The three ways to depend on libehlo: find_package and pkg-config on an installed copy, and add_subdirectory, which
# stays quiet: no message, no test, no example, nothing installed, no flag of the project around it changed.
set -eu

source=${EHLO_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
cc=${CC:-cc}
command -v cmake >/dev/null || { echo "skipped: cmake is not on this machine"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail()
{
    echo "FAILED: $*"
    exit 1
}

# run LOG COMMAND...: shows the log where it fails
run()
{
    log=$work/$1.log
    shift
    "$@" >"$log" 2>&1 || { cat "$log"; fail "$*"; }
}

# -- a program that uses both libraries --------------------------------------------------------------

mkdir "$work/consumer" "$work/around"
cat >"$work/consumer/consumer.c" <<'END'
#include <ehlo/ehlo.h>
#include <ehlo/net.h>

int main(void)
{
    ehlo_path path;
    ehlo_address address;
    if (ehlo_mailbox_parse(ehlo_str_from("user@example.org"), 0, &path, NULL) != EHLO_OK) return 1;
    return ehlo_address_parse(ehlo_str_from("127.0.0.1:25"), &address) == EHLO_OK && address.port == 25 ? 0 : 2;
}
END
cat >"$work/consumer/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.16)
project(consumer LANGUAGES C)
find_package(ehlo 0.1 REQUIRED)
add_executable(shared consumer.c)
target_link_libraries(shared PRIVATE ehlo::net ehlo::ehlo)
add_executable(static consumer.c)
target_link_libraries(static PRIVATE ehlo::net_static ehlo::ehlo_static)
END
cat >"$work/around/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.16)
project(around LANGUAGES C)
enable_testing()
set(before "${CMAKE_C_FLAGS}|${CMAKE_C_FLAGS_RELEASE}|${CMAKE_BUILD_TYPE}|${CMAKE_C_STANDARD}")
message(STATUS "begin")
add_subdirectory("${EHLO_SOURCE}" ehlo)
message(STATUS "end")
if(NOT before STREQUAL "${CMAKE_C_FLAGS}|${CMAKE_C_FLAGS_RELEASE}|${CMAKE_BUILD_TYPE}|${CMAKE_C_STANDARD}")
    message(FATAL_ERROR "the subproject changed flags")
endif()
add_executable(around ../consumer/consumer.c)
target_link_libraries(around PRIVATE ehlo::net_static)
install(TARGETS around DESTINATION bin)
END

# -- installed ---------------------------------------------------------------------------------------

prefix=$work/prefix
run configure cmake -S "$source" -B "$work/build" -DCMAKE_C_COMPILER="$cc" -DEHLO_EXAMPLES=OFF
grep -q '^CMAKE_BUILD_TYPE:.*=$' "$work/build/CMakeCache.txt" || fail "a default build type was written to the cache"
run build cmake --build "$work/build" --parallel 2
run install cmake --install "$work/build" --prefix "$prefix"
for header in "$source"/include/ehlo/*.h; do
    cmp "$header" "$prefix/include/ehlo/${header##*/}" || fail "the header was not installed"
done
# A moved tree is found as well.
mv "$prefix" "$work/moved"
prefix=$work/moved

run find cmake -S "$work/consumer" -B "$work/found" -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix"
run find-build cmake --build "$work/found"
"$work/found/shared" || fail "find_package, shared"
"$work/found/static" || fail "find_package, static"

# -- pkg-config --------------------------------------------------------------------------------------

skipped=
if command -v pkg-config >/dev/null; then
    folder=$(dirname "$(find "$prefix" -name ehlo.pc)")
    PKG_CONFIG_PATH=$folder
    export PKG_CONFIG_PATH
    pkg-config --exists ehlo ehlo-net || fail "pkg-config does not find them"
    # shellcheck disable=SC2046 # each flag is a word of its own
    run pkg-config "$cc" -std=c11 "$work/consumer/consumer.c" $(pkg-config --cflags --libs ehlo-net) -o "$work/packaged"
    LD_LIBRARY_PATH=$(dirname "$folder") "$work/packaged" || fail "pkg-config"
else
    skipped=pkg-config
fi

# -- inside another project --------------------------------------------------------------------------

run around cmake -S "$work/around" -B "$work/inside" -DCMAKE_C_COMPILER="$cc" -DEHLO_SOURCE="$source"
sed -n '/-- begin/,/-- end/p' "$work/around.log" | sed '1d;$d' | grep . && fail "the subproject has something to say"
(cd "$work/inside" && ctest -N) | grep -q 'Total Tests: 0' || fail "the subproject adds tests"
run around-build cmake --build "$work/inside" --parallel 2
"$work/inside/around" || fail "add_subdirectory"
find "$work/inside/ehlo" -name sink -o -name 'test_*' | grep . && fail "the subproject builds programs"
run around-install cmake --install "$work/inside" --prefix "$work/target"
[ "$(cd "$work/target" && find . -type f)" = ./bin/around ] || fail "the subproject installs something"

[ -z "$skipped" ] || { echo "skipped: $skipped is not on this machine"; exit 77; }

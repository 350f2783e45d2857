#!/bin/sh
# Doxygen builds the public headers without a warning.
set -eu

source=${EHLO_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
command -v doxygen >/dev/null || { echo "skipped: doxygen is not on this machine"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$source"
{ cat .doxygen && echo "OUTPUT_DIRECTORY = $work"; } | doxygen - >"$work/log" 2>"$work/warnings" || failed=1
cat "$work/warnings"
[ -z "${failed:-}" ] && [ ! -s "$work/warnings" ] && [ -s "$work/html/index.html" ]

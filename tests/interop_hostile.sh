#!/bin/sh
# send meets a server of ours that refuses inside a pipelined group, stops, closes and lies: the outcome, the exit
# status, and the octets that arrived. Status 77 if there is no python3.
. "$(dirname "$0")/peers/common.sh"

python_with dataclasses || skip python3
"$python" "$peers/hostile.py" "$bin/send"

#!/bin/sh
# The command line of `send`: help, usage errors, output and exit statuses, and what each option does; against our own
# inbox and sink, and against a scripted server where refusals and lost connections are needed. EHLO_BIN is the folder
# of the programs.
bin=${EHLO_BIN:?is the folder of the built programs}
. "$(dirname "$0")/peers/servers.sh"
have python3 || { echo "skipped: python3 is not on this machine"; exit 77; }

# A server by the book but for what is said: BEGINNING=REPLY for what begins so ("connect" and "message" too), where
# the reply may be "close" or "wait"; EHLO:KEYWORD. What it was told goes to said.log, each group on a line of its own.
cat >"$work/scripted.py" <<'END'
import socket, sys, threading, time

said = open(sys.argv[1], "w", buffering=1)
replies = dict(a.split("=", 1) for a in sys.argv[2:] if not a.startswith("EHLO:"))
keywords = [a[5:] for a in sys.argv[2:] if a.startswith("EHLO:")]

def reply(conn, said_now, default):
    text = next((r for start, r in replies.items() if said_now.startswith(start)), default)
    if text == "close":
        raise EOFError
    if text == "wait":
        time.sleep(60)
    conn.sendall(text.encode("latin1").decode("unicode_escape").encode("latin1") + b"\r\n")
    return text[:1] in "23"

def read_message(conn, rest):
    if "slow" in replies:
        time.sleep(1)
    while b"\r\n.\r\n" not in b"\r\n" + rest[-70000:] and not rest.startswith(b".\r\n"):
        more = conn.recv(65536)
        if not more:
            raise EOFError
        rest = rest[-4:] + more
    rest = rest.split(b"\r\n.\r\n", 1)[-1] if not rest.startswith(b".\r\n") else rest[3:]
    said.write("group . | %s\n" % rest.replace(b"\r\n", b" | ").decode("latin1"))
    return rest

def talk(conn):
    rest = b""
    greeted = reply(conn, "connect", "220 scripted.example")
    while True:
        while b"\r\n" not in rest:
            more = conn.recv(65536)
            if not more:
                return
            rest += more
            said.write("group %s\n" % more.replace(b"\r\n", b" | ").decode("latin1"))
        line, rest = rest.split(b"\r\n", 1)
        line = line.decode("latin1")
        said.write(line + "\n")
        if line[:4] in ("EHLO", "LHLO"):
            lines = ["scripted.example"] + keywords
            reply(conn, line, "\r\n".join("250" + (" " if k is lines[-1] else "-") + k for k in lines))
        elif line == "DATA":
            if reply(conn, line, "354 go on"):
                rest = read_message(conn, rest)
                reply(conn, "message", "250 2.0.0 kept")
        elif line == "QUIT":
            reply(conn, line, "221 bye")
            return
        else:
            reply(conn, line, "250 2.1.0 fine")

def serve(conn):
    try:
        talk(conn)
    except (EOFError, OSError):
        pass
    conn.close()

listener = socket.create_server(("127.0.0.1", 0))
print("ready 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
END

scripted()
{
    : >"$work/said.log"
    start scripted python3 "$work/scripted.py" "$work/said.log" "$@"
}

printf 'Subject: one\n\n.a dot\n..\n.\nthe end\n' >"$work/message"
awk '{ printf "%s\r\n", $0 }' "$work/message" >"$work/message.crlf"

# run STATUS ARGUMENTS...: `send` ends with it; its output is in send.out and send.log
run()
{
    expected=$1
    shift
    status=0
    timeout 60 "$bin/send" "$@" >"$work/send.out" 2>"$work/send.log" </dev/null || status=$?
    [ "$status" -eq "$expected" ] || fail "status $status, not $expected: send $*"
}

# deliver STATUS ARGUMENTS...: to $port, from a@sender.example
deliver()
{
    expected=$1
    shift
    run "$expected" --server "127.0.0.1:$port" --from a@sender.example "$@" "$work/message"
}

# printed PATTERN...: these lines are all of standard output
printed()
{
    [ "$(wc -l <"$work/send.out")" -eq $# ] || fail "not $# lines"
    line=0
    for pattern in "$@"; do
        line=$((line + 1))
        sed -n "${line}p" "$work/send.out" | grep -qE "^$pattern\$" || fail "line $line is not: $pattern"
    done
}

said()
{
    grep -qF -- "$1" "$work/said.log" || fail "it was not said: $1"
}

ok()
{
    stop_all
    echo "ok: $*"
}

# -- help and usage ------------------------------------------------------------------------------------------

run 0 --help
[ ! -s "$work/send.log" ] || fail "--help writes to standard error"
for option in --server --from --to --ehlo --lmtp --tls --ca --cert --key --auth --user \
    --password-file --auth-clear --notify --ret --envid \
    --smtputf8 --no-pipelining --no-chunking --count --timeout --trace FILE; do
    grep -q -- "$option" "$work/send.out" || fail "--help does not tell of $option"
done

# refuses WORDS ARGUMENTS...: status 64, and standard error has the words
refuses()
{
    words=$1
    shift
    run 64 "$@"
    [ ! -s "$work/send.out" ] || fail "an error on standard output: send $*"
    grep -qF -- "$words" "$work/send.log" || fail "\"$words\" is not on standard error: send $*"
}

# with WORDS ARGUMENTS...: likewise, behind all that is required
with()
{
    words=$1
    shift
    refuses "$words" --server 127.0.0.1:1 --from a@x.example --to b@x.example "$@"
}

refuses "--server" --from a@x.example --to b@x.example
refuses "--from" --server 127.0.0.1:1 --to b@x.example
refuses "--to" --server 127.0.0.1:1 --from a@x.example
refuses "--bogus" --bogus
with "--bogus" --bogus
with "extra" message extra
with "--to" --to
with "--server: \"127.0.0.1\"" --server 127.0.0.1
with "--server: \"port\"" --server 127.0.0.1:port
with "--server: 65536" --server 127.0.0.1:65536
with "--server: \"a b\"" --server "a b:25"
with "--to: \"not an address\"" --to "not an address"
with "--from: \"a@x..example\"" --from a@x..example
with "--to: \"b@x.example" --to "$(printf 'b@x.example>\r\nRSET')"
with "--envid: " --envid "$(printf 'a\nb')"
with "--ehlo: \"no_name\"" --ehlo no_name
with "--notify: \"SOMETIMES\"" --notify SOMETIMES
with "--notify: NEVER" --notify NEVER,DELAY
with "--ret: \"ALL\"" --ret ALL
with "--count: 0" --count 0
with "--count: \"x\"" --count x
with "--timeout: 0" --timeout 0
with "--tls: \"maybe\"" --tls maybe
with "--auth: \"MAGIC\" is none of SCRAM-SHA-256-PLUS " --auth MAGIC
with "--password-file: --user is missing" --password-file file
with "--auth-clear: --user is missing" --auth-clear
with "--auth EXTERNAL: --cert is missing" --tls none --auth EXTERNAL
with "--user u: --password-file is missing" --tls none --user u
with "password-file no-such-file: " --tls none --auth-clear --user u --password-file no-such-file
echo >"$work/empty"
with "password-file $work/empty: " --tls none --auth-clear --user u --password-file "$work/empty"
if has_tls; then
    with "--ca no-such-file: " --tls required --ca no-such-file
    with "--ca $work/message: " --tls required --ca "$work/message"
    with "--ca: only" --ca "$work/message"
    with "--cert no-such-file: " --cert no-such-file
    with "--key: --cert is missing" --key "$work/message"
    with "--user u: --password-file is missing" --user u
    with "--auth PLAIN: --user is missing" --auth PLAIN
    with "in clear" --tls none --auth PLAIN --user u --password-file "$work/message"
fi
with "no-such-file" "$work/no-such-file"
refuses "port 25" --server 127.0.0.1:25 --from a@x.example --to b@x.example --lmtp "$work/message"
ok "help and usage"

# -- what arrives --------------------------------------------------------------------------------------------

# arrived RECIPIENT FILE: as the only one of its maildir, octet for octet
arrived()
{
    set -- "$2" "$work/mail/$1/new/"*
    if [ $# -ne 2 ] || [ ! -f "$2" ]; then fail "it did not arrive once"; fi
    cmp "$1" "$2" || fail "it was changed on its way"
}

start inbox "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --raw --domain x.example
deliver 0 --to file@x.example
printed 'file@x\.example delivered final 250 2\.0\.0 Filed as .+'
[ ! -s "$work/send.log" ] || fail "something on standard error"
arrived file@x.example "$work/message.crlf"

for name in none dash redirected piped; do
    set -- --server "127.0.0.1:$port" --from '<>' --to "$name@x.example"
    case $name in
    none) "$bin/send" "$@" <"$work/message" ;;
    dash) "$bin/send" "$@" - <"$work/message" ;;
    redirected) { read -r _ && "$bin/send" "$@"; } <"$work/message" ;;
    piped) cat "$work/message" | "$bin/send" "$@" ;;
    esac >"$work/send.out" 2>"$work/send.log" || fail "standard input: $name"
    [ $name = redirected ] || arrived "$name@x.example" "$work/message.crlf"
done

: >"$work/empty"
run 0 --server "127.0.0.1:$port" --from a@sender.example --to empty@x.example "$work/empty"
arrived empty@x.example "$work/empty"

deliver 1 --to known@x.example --to stranger@y.example
printed 'known@x\.example delivered final 250 .*' 'stranger@y\.example rejected rcpt 550 5\.7\.1 .+'
arrived known@x.example "$work/message.crlf"

deliver 0 --to copies@x.example --count 7 --trace
[ "$(grep -c '^copies@x\.example delivered final 250 2\.0\.0 ' "$work/send.out")" -eq 7 ] || fail "not seven lines"
[ "$(ls "$work/mail/copies@x.example/new" | wc -l)" -eq 7 ] || fail "not seven copies"
[ "$(grep -c '^C: EHLO ' "$work/send.log")" -eq 1 ] || fail "not one connection"
grep -q '^S: 250-SIZE ' "$work/send.log" || fail "--trace does not show what the server said"
! grep -q 'a dot' "$work/send.log" || fail "--trace shows the message"
ok "what arrives"

# The smaller programs that send. One of them is there only where libuv is.
start inbox "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --raw --domain x.example
for name in client_core foreign_loop; do
    [ -x "$bin/$name" ] || { echo "skipped: $name is not built"; continue; }
    "$bin/$name" --help | grep -q '^usage: ' || fail "$name --help"
    status=0
    "$bin/$name" --server "127.0.0.1:$port" --from a@sender.example --to $name@x.example --to b@y.example \
        <"$work/message" >"$work/send.out" 2>"$work/send.log" || status=$?
    [ $status -eq 1 ] || fail "$name: status $status"
    printed "$name@x\\.example: delivered, final, 250" 'b@y\.example: rejected, rcpt, 550'
    arrived $name@x.example "$work/message.crlf"
done
ok "smaller programs"

start inbox "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --raw --lmtp
deliver 0 --lmtp --to one@l.example --to two@l.example --trace
printed 'one@l\.example delivered final 250 2\..*' 'two@l\.example delivered final 250 2\..*'
grep -q '^C: LHLO ' "$work/send.log" || fail "no LHLO"
arrived one@l.example "$work/message.crlf"
arrived two@l.example "$work/message.crlf"
ok "LMTP"

# More than is kept in memory, from a file and over a pipe.
awk 'BEGIN { for (i = 0; i < 400000; i++) printf "%s line %d of many, all of them somewhat long\n", i % 7 ? "" : ".", i }' \
    >"$work/large"
awk '{ printf "%s\r\n", $0 }' "$work/large" >"$work/large.crlf"
start inbox "$bin/inbox" --listen 127.0.0.1:0 --maildir "$work/mail" --raw --max-size 100000000
for way in file pipe data; do
    set -- --server "localhost:$port" --from a@x.example --to "$way@large.example"
    case $way in
    file) run 0 "$@" "$work/large" ;;
    pipe) cat "$work/large" | "$bin/send" "$@" >"$work/send.out" 2>"$work/send.log" || fail "a large message from a pipe" ;;
    data) run 0 "$@" --no-chunking "$work/large" ;;
    esac
    printed "$way@large\.example delivered final 250 2\..*"
    arrived $way@large.example "$work/large.crlf"
done
python3 - "$bin/send" "$port" "$work/message" "$work/large" <<'END' || fail "a large message takes much memory"
import resource, subprocess, sys

def peak(path):
    subprocess.check_call([sys.argv[1], "--server", "127.0.0.1:" + sys.argv[2], "--from", "a@x.example", "--to",
                           "memory@large.example", path], stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss

small = peak(sys.argv[3])
sys.exit(peak(sys.argv[4]) > small + 6000)
END
ok "large messages"

# -- outcomes and statuses -----------------------------------------------------------------------------------

scripted 'RCPT TO:<later@=451 4.2.0 Not now' 'RCPT TO:<never@=550 5.1.1 No such\x1b[31m \tone'
deliver 75 --to b@x.example --to later@x.example
printed 'b@x\.example delivered final 250 2\.0\.0 kept' 'later@x\.example deferred rcpt 451 4\.2\.0 Not now'
deliver 1 --to later@x.example --to never@x.example
printed 'later@x\.example deferred rcpt 451 .*' 'never@x\.example rejected rcpt 550 5\.1\.1 No such\?\[31m  one'
ok "the worst outcome decides"

scripted message=close
deliver 76 --to b@x.example
printed 'b@x\.example uncertain final - - .+'
ok "uncertain"

scripted 'RCPT TO:<never@=550 5.1.1 No' message=close
deliver 76 --to never@x.example --to b@x.example
printed 'never@x\.example rejected rcpt 550 5\.1\.1 No' 'b@x\.example uncertain final - - .+'
ok "uncertain before rejected"

scripted DATA=close
deliver 75 --to b@x.example
printed 'b@x\.example not-sent data - - .+'
ok "not sent"

scripted 'message=250-first\r\n250 second'
deliver 0 --to b@x.example
printed 'b@x\.example delivered final 250 - first second'
ok "lines of a reply"

scripted 'connect=554 No mail here'
deliver 1 --to b@x.example
printed 'b@x\.example rejected greeting 554 - No mail here'
ok "refused by the greeting"

scripted
dead=$port
stop_all
port=$dead
deliver 75 --to b@x.example --to c@x.example
printed 'b@x\.example not-sent connect - - .+' 'c@x\.example not-sent connect - - .+'
deliver 75 --to b@x.example --count 3
[ "$(wc -l <"$work/send.out")" -eq 3 ] || fail "not a line per copy"
scripted
run 0 --server "127.0.0.1:$dead" --server "127.0.0.1:$port" --from a@x.example --to b@x.example "$work/message"
printed 'b@x\.example delivered final 250 2\.0\.0 kept'
ok "alternate servers"

scripted connect=wait
run 75 --server "127.0.0.1:$port" --timeout 1 --from a@x.example --to b@x.example "$work/message"
printed 'b@x\.example not-sent greeting - - .+'
ok "--timeout"

# -- what is said --------------------------------------------------------------------------------------------

scripted EHLO:PIPELINING EHLO:DSN EHLO:8BITMIME EHLO:SMTPUTF8 EHLO:SIZE
deliver 0 --to b@x.example --notify success,FAILURE,DELAY --ret HDRS --envid Q+1 --smtputf8 --ehlo client.example
said 'EHLO client.example'
grep -qE '^MAIL FROM:<a@sender\.example>( [^ ]+)* SMTPUTF8( |$)' "$work/said.log" || fail "SMTPUTF8"
grep -qE '^MAIL .* RET=HDRS' "$work/said.log" || fail "RET"
grep -qE '^MAIL .* ENVID=Q\+2B1' "$work/said.log" || fail "ENVID"
grep -qE "^MAIL .* SIZE=$(wc -c <"$work/message.crlf")( |\$)" "$work/said.log" || fail "SIZE"
grep -qE '^RCPT TO:<b@x\.example> NOTIFY=SUCCESS,FAILURE,DELAY' "$work/said.log" || fail "NOTIFY"
grep -qE '^group MAIL .* RCPT .* DATA ' "$work/said.log" || fail "not pipelined"
ok "parameters"

scripted EHLO:PIPELINING EHLO:DSN
deliver 0 --to b@x.example --notify NEVER --no-pipelining --tls none
said 'RCPT TO:<b@x.example> NOTIFY=NEVER'
! grep -qE '^group MAIL .* RCPT ' "$work/said.log" || fail "pipelined"
said 'EHLO ['
ok "--no-pipelining"

start sink "$bin/sink" --listen 127.0.0.1:0
run 0 --server "127.0.0.1:$port" --from a@x.example --to b@x.example --trace "$work/large"
grep -q '^C: BDAT ' "$work/send.log" || fail "no BDAT"
run 0 --server "127.0.0.1:$port" --from a@x.example --to b@x.example --trace --no-chunking "$work/large"
grep -q '^C: DATA$' "$work/send.log" || fail "no DATA"
ok "--no-chunking"

# -- several copies ------------------------------------------------------------------------------------------

scripted EHLO:PIPELINING 'EHLO:LIMITS MAILMAX=2'
deliver 0 --to b@x.example --count 5
[ "$(grep -c '^EHLO ' "$work/said.log")" -eq 3 ] || fail "not three connections"
[ "$(grep -c '^DATA' "$work/said.log")" -eq 5 ] || fail "not five messages"
[ "$(grep -c '^QUIT' "$work/said.log")" -eq 3 ] || fail "a connection without QUIT"
grep -qE '^group \. \| MAIL .* RCPT .* DATA ' "$work/said.log" || fail "the next envelope does not leave with the end of the message"
ok "MAILMAX"

cat >"$work/fickle.py" <<'END'
import socket

listener = socket.create_server(("127.0.0.1", 0))
print("ready 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    conn = listener.accept()[0]
    f = conn.makefile("rwb", buffering=0)
    f.write(b"220 x\r\n")
    for line in conn.makefile("rb"):
        if line.startswith(b"EHLO"):
            f.write(b"250-x\r\n250 PIPELINING\r\n")
        elif line == b"DATA\r\n":
            f.write(b"354 go on\r\n")
        elif line[:4] in (b"MAIL", b"RCPT"):
            f.write(b"250 fine\r\n")
        elif line == b".\r\n":
            f.write(b"250 kept\r\n")
            break
    conn.shutdown(socket.SHUT_WR)
    while conn.recv(65536): pass
    conn.close()
END
start fickle python3 "$work/fickle.py"
deliver 0 --to b@x.example --count 4
[ "$(grep -c '^b@x\.example delivered final 250 - kept$' "$work/send.out")" -eq 4 ] || fail "not four times"
ok "a server that closes after each message"

scripted message=close
deliver 76 --to b@x.example --count 3
printed 'b@x\.example uncertain final .*' 'b@x\.example not-sent .*' 'b@x\.example not-sent .*'
ok "a server that fails"

# -- signals and terminals -----------------------------------------------------------------------------------

# interrupt SIGNALS STATUS WAIT-FOR: each as soon as the server was told that, and a while later
interrupt()
{
    "$bin/send" --server "127.0.0.1:$port" --from a@x.example --to b@x.example --count 2 --trace "$work/message" \
        >"$work/send.out" 2>"$work/send.log" &
    pid=$!
    tries=0
    until grep -q "$3" "$work/said.log"; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "the server was not told $3"
        sleep 0.1
    done
    signals=$1
    while kill -0 $pid 2>/dev/null; do
        [ "$signals" -eq 0 ] || kill $pid
        signals=$((signals > 0 ? signals - 1 : 0))
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { kill -9 $pid; fail "it did not end"; }
        sleep 0.3
    done
    status=0
    wait $pid || status=$?
    [ $status -eq "$2" ] || fail "status $status, not $2, after a signal"
}

scripted RCPT=wait
interrupt 1 75 '^RCPT'
printed 'b@x\.example not-sent .*' 'b@x\.example not-sent .*'
ok "a signal before the message has left"

scripted message=wait
interrupt 2 76 '^DATA'
printed 'b@x\.example not-sent .*' 'b@x\.example uncertain final .*'
ok "a signal after the message has left"

scripted slow=yes
python3 - "$bin/send" "$port" "$work/large" <<'END' || fail "no progress is shown on a terminal"
import os, pty, subprocess, sys
ours, theirs = pty.openpty()
send = subprocess.Popen([sys.argv[1], "--server", "127.0.0.1:" + sys.argv[2], "--from", "a@x.example", "--to",
                         "b@x.example", sys.argv[3]], stdout=subprocess.DEVNULL, stderr=theirs)
os.close(theirs)
shown = b""
while True:
    try:
        more = os.read(ours, 4096)
    except OSError:
        break
    if not more:
        break
    shown += more
last = shown.rstrip(b"\r").rsplit(b"\r", 1)[-1]
sys.exit(send.wait() or not (b"%" in shown and b"MB/s" in shown and last.strip() == b""))
END
ok "progress"

scripted
status=0
"$bin/send" --trace --server "127.0.0.1:$port" --from a@x.example --to b@x.example "$work/message" <&- >&- 2>&- || status=$?
[ $status -eq 0 ] || fail "status $status with nothing open"
grep -q 'C:' "$work/said.log" && fail "the server was told what belongs to a log"
ok "no standard descriptors"

status=0
"$bin/send" --server "127.0.0.1:$port" --from a@x.example --to b@x.example "$work/message" >/dev/full 2>"$work/send.log" || status=$?
[ $status -eq 75 ] || fail "status $status where the outcome could not be printed"
grep -q 'standard output: ' "$work/send.log" || fail "nobody is told that the outcome could not be printed"
ok "a full standard output"

status=0
timeout -k 20 1 "$bin/send" --server 127.0.0.1:1 --from a@x.example --to b@x.example --count 4000000000 "$work/message" \
    >/dev/null 2>&1 || status=$?
[ $status -lt 128 ] || fail "a signal does not end a long list of outcomes"
ok "a signal among the outcomes"

stop_all
scripted EHLO:SIZE
yes 'a line that ends in LF alone' | head -n 200000 >"$work/lf"
run 0 --server "127.0.0.1:$port" --from a@x.example --to b@x.example --trace "$work/lf"
size=$(($(wc -c <"$work/lf") + 200000))
grep -q "^C: MAIL FROM:<a@x.example> SIZE=$size\$" "$work/send.log" || fail "the size is not that on the wire, $size"
ok "the size of a large file"

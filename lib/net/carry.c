/* lib/net/carry.c - a connection that carries a session: what is seldom needed, and all that TLS changes. */
#include "carry.h"

#include "handshake.h"
#include "rare.h"

/* Reads grow from the first to the size of the input buffer as long as the session takes all of them: what a
 * blocked session left has to be kept, and a peer should not make us keep much. */
enum { READ_MIN = 1 << 14, READ_MAX = 1 << 30 };

static void secure_ready(ehlo_loop *loop, ehlo_source *source, unsigned events);

void ehlo_carry_prepare(ehlo_carrier *carrier, const ehlo_session_calls *calls)
{
    carrier->calls = calls;
    carrier->wants = 0;
    carrier->read_size = READ_MIN;
    carrier->eof = 0;
    carrier->stalled = 0;
}

void *ehlo_carry_host(ehlo_carrier *carrier, void *session, const ehlo_conn_driver *driver)
{
    carrier->session = session;
    ehlo_conn_drive(&carrier->conn, driver);
    if (carrier->conn.tls != NULL) carrier->conn.source.ready = secure_ready;
    return ehlo_carry_drive(carrier);
}

void ehlo_carry_put_off(ehlo_carrier *carrier)
{
    carrier->wants |= EHLO_CARRY_ANEW;
    ehlo_conn_expire_by(&carrier->conn, carrier->conn.loop->now);
}

/* -- input ------------------------------------------------------------------------------------------ */

/* A session that is blocked goes on with what it left once it is not. */
static void note_stalled(ehlo_carrier *carrier, size_t left)
{
    uint64_t deadline;
    carrier->stalled = left != 0 && !(carrier->calls->status(carrier->session, &deadline) & EHLO_WANT_READ);
    if (carrier->stalled) carrier->read_size = READ_MIN;
}

static int feed_stash(ehlo_carrier *carrier)
{
    size_t used = 0;
    ehlo_str bytes = ehlo_stash_view(carrier->conn.stash);
    int result = carrier->calls->feed(carrier->session, carrier->conn.loop->now, bytes.ptr, bytes.len, &used);
    note_stalled(carrier, bytes.len - used);
    ehlo_stash_drop(&carrier->conn.stash, used);
    return result;
}

/* Keeps what the session left of the input, which began with what the stash holds; sees to secrets and the size of the
 * next read. */
int ehlo_carry_keep(ehlo_carrier *carrier, size_t len, size_t used, int result)
{
    char *input = carrier->conn.loop->input;
    note_stalled(carrier, len - used);
    int kept = ehlo_stash_keep(&carrier->conn.stash, input + used, len - used);
    if (carrier->wants & EHLO_WANT_SECRET) ehlo_secret_wipe(input, len);
    if (len >= carrier->read_size && !carrier->stalled && carrier->read_size < READ_MAX) carrier->read_size *= 2;
    return result > EHLO_ERR_FATAL ? kept : result;
}

ptrdiff_t ehlo_carry_read(ehlo_carrier *carrier, size_t len, ehlo_str *bytes)
{
    ehlo_conn *conn = &carrier->conn;
    return conn->tls != NULL ? ehlo_tls_receive(conn, len, bytes) : ehlo_conn_receive(conn, len, bytes);
}

/* -- inside TLS ------------------------------------------------------------------------------------- */

/* A call that did nothing may wait for something else than the one before. */
int ehlo_carry_encrypt(ehlo_carrier *carrier, const ehlo_str *parts, size_t n, size_t *taken)
{
    carrier->wants |= EHLO_CARRY_ANEW;
    return ehlo_tls_send(&carrier->conn, parts, n, taken);
}

/* 1 if octets came. What the engine holds then is caught up with when the session has settled. */
static int receive_secure(ehlo_carrier *carrier, size_t len)
{
    ehlo_str bytes;
    ehlo_carry_drive(carrier);
    ptrdiff_t received = ehlo_carry_read(carrier, len < carrier->read_size ? len : carrier->read_size, &bytes);
    carrier->wants |= EHLO_CARRY_ANEW;
    ehlo_carry_settle(carrier->calls, carrier, ehlo_carry_take(carrier->calls, carrier, received, bytes));
    return received > 0;
}

static int reads_secure(const ehlo_carrier *carrier)
{
    return carrier->conn.tls != NULL && (carrier->wants & EHLO_WANT_READ);
}

static size_t readable(const ehlo_carrier *carrier)
{
    return reads_secure(carrier) ? ehlo_tls_pending(carrier->conn.tls) : 0;
}

static void read_pending(ehlo_carrier *carrier)
{
    size_t pending = readable(carrier);
    while (pending > 0 && receive_secure(carrier, pending)) pending = readable(carrier);
}

/* No poll tells of octets that the engine holds. They are read in one place: a peer that has sent many little ones must
 * not have us call ourselves as often. The input may be lent to a session that runs further out. */
static void catch_up(ehlo_carrier *carrier)
{
    if (readable(carrier) == 0 || carrier->conn.tls->catching_up) return;
    if (carrier->conn.loop->lent) {
        ehlo_carry_put_off(carrier);
        return;
    }
    carrier->conn.tls->catching_up = 1;
    read_pending(carrier);
    if (carrier->conn.tls != NULL) carrier->conn.tls->catching_up = 0;
}

/* What the engine waits for tells nothing of what the session may do then, and one may have got what the other waited
 * for: so all of it is tried. The driver may have more to do in a loop that is to stop. */
static void secure_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_carrier *carrier = (ehlo_carrier *)source;
    if (carrier->wants & EHLO_WANT_WRITE || !reads_secure(carrier)) {
        ehlo_carry_drive(carrier);
        ehlo_carry_settle(carrier->calls, carrier,
                          ehlo_carry_flush(carrier, carrier->wants & EHLO_WANT_WRITE ? EHLO_POLL_WRITE : events));
    }
    if (reads_secure(carrier)) receive_secure(carrier, carrier->read_size);
    if (ehlo_loop_stopping(loop) && source->fd >= 0) carrier->conn.driver->stop(&carrier->conn);
}

/* -- STARTTLS --------------------------------------------------------------------------------------- */

static void tls_started(ehlo_carrier *carrier, size_t held, const ehlo_tls_facts *facts)
{
    void *session = ehlo_carry_drive(carrier);
    ehlo_carry_settle(carrier->calls, carrier,
                      carrier->calls->tls_started(session, carrier->conn.loop->now, held, facts));
}

/* What came with the last octets of the handshake the engine may not have looked at: it is asked once. */
static void handshake_done(ehlo_conn *conn, int established)
{
    ehlo_carrier *carrier = (ehlo_carrier *)conn;
    ehlo_carry_drive(carrier);
    if (established) {
        conn->source.ready = secure_ready;
        tls_started(carrier, 0, &conn->tls->facts);
        if (reads_secure(carrier)) receive_secure(carrier, carrier->read_size);
    } else
        ehlo_carry_settle(carrier->calls, carrier, EHLO_ERR_TRANSPORT);
}

/* What was said in clear behind STARTTLS, or behind its 220, was not said by whom TLS will name: there is no handshake
 * then (RFC 3207 4.2, CVE-2011-0411, CVE-2021-22947). */
static void start_tls(ehlo_carrier *carrier)
{
    size_t held = ehlo_stash_view(carrier->conn.stash).len;
    if (held != 0)
        tls_started(carrier, held, NULL);
    else if (carrier->calls->open_tls(carrier) == EHLO_OK)
        ehlo_handshake_start(&carrier->conn, handshake_done);
    else
        carrier->calls->over(carrier, 1);
}

/* -- after every call ------------------------------------------------------------------------------- */

static void watch(ehlo_carrier *carrier)
{
    ehlo_conn *conn = &carrier->conn;
    unsigned interest = 0;
    if (carrier->wants & EHLO_WANT_READ) interest |= conn->tls != NULL ? conn->tls->read_needs : EHLO_POLL_READ;
    if (carrier->wants & EHLO_WANT_WRITE) interest |= conn->tls != NULL ? conn->tls->write_needs : EHLO_POLL_WRITE;
    ehlo_conn_watch(conn, interest);
}

/* A secret in a command line is known as one only once that was read. */
static void wipe_input(const ehlo_loop *loop)
{
    if (!loop->lent) ehlo_secret_wipe(loop->input, loop->input_size);
}

/* The last that was read may hold a secret, though nobody is left to be answered. */
void ehlo_carry_lost(ehlo_carrier *carrier)
{
    uint64_t deadline;
    if (carrier->calls->status(carrier->session, &deadline) & EHLO_WANT_SECRET) wipe_input(carrier->conn.loop);
    carrier->calls->over(carrier, 1);
}

/* The session wants something else than before. What it left when it was blocked goes first once it reads again, and
 * no new octet need come for that. */
void ehlo_carry_turn(ehlo_carrier *carrier, unsigned wants)
{
    const ehlo_session_calls *calls = carrier->calls;
    if (carrier->stalled && (wants & EHLO_WANT_READ)) {
        ehlo_carry_settle(calls, carrier, feed_stash(carrier));
        return;
    }
    int in_handshake = wants & EHLO_WANT_TLS && carrier->conn.tls != NULL;
    if (wants & ~(unsigned)carrier->wants & EHLO_WANT_SECRET) wipe_input(carrier->conn.loop);
    carrier->wants = (uint8_t)wants;
    if (in_handshake) return;
    if (wants & EHLO_WANT_TLS)
        start_tls(carrier);
    else if (wants & EHLO_WANT_CLOSE)
        calls->over(carrier, 0);
    else {
        watch(carrier);
        catch_up(carrier);
    }
}

/* -- events ----------------------------------------------------------------------------------------- */

/* Reading or writing tells what happened to a connection that is gone, if we do either. The interest may have changed
 * since the events were collected. */
unsigned ehlo_carry_events(const ehlo_source *source, unsigned events)
{
    if (!(events & EHLO_POLL_GONE)) return events & source->interest;
    return source->interest != 0 ? source->interest : EHLO_POLL_GONE;
}

int ehlo_carry_flush(ehlo_carrier *carrier, unsigned events)
{
    if (events & EHLO_POLL_GONE) return EHLO_ERR_TRANSPORT;
    if (!(events & EHLO_POLL_WRITE)) return EHLO_OK;
    return carrier->calls->flush(carrier->session, carrier->conn.loop->now);
}

void ehlo_carry_expired(ehlo_conn *conn)
{
    ehlo_carrier *carrier = (ehlo_carrier *)conn;
    void *session = ehlo_carry_drive(carrier);
    ehlo_carry_settle(carrier->calls, carrier, carrier->calls->tick(session, conn->loop->now));
}

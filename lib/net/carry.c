/* lib/net/carry.c - a connection that carries a session: what is not needed at every event. */
#include "carry.h"

/* Reads grow from the first to the size of the input buffer as long as the session takes all of them: what a
 * blocked session left has to be kept, and a peer should not make us keep much. */
enum { READ_MIN = 1 << 14, READ_MAX = 1 << 30 };

void ehlo_carry_prepare(ehlo_carrier *carrier, const ehlo_session_calls *calls)
{
    carrier->calls = calls;
    carrier->wants = 0;
    carrier->read_size = READ_MIN;
    carrier->eof = 0;
    carrier->stalled = 0;
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
    if (carrier->wants & EHLO_WANT_SECRET) ehlo_wipe(input, len);
    if (len >= carrier->read_size && !carrier->stalled && carrier->read_size < READ_MAX) carrier->read_size *= 2;
    return result > EHLO_ERR_FATAL ? kept : result;
}

/* -- after every call ------------------------------------------------------------------------------- */

/* The session wants something else than before. What it left when it was blocked goes first once it reads again, and
 * no new octet need come for that. */
void ehlo_carry_turn(ehlo_carrier *carrier, unsigned wants)
{
    const ehlo_session_calls *calls = carrier->calls;
    unsigned interest = 0;
    if (wants & EHLO_WANT_READ) interest |= EHLO_POLL_READ;
    if (wants & EHLO_WANT_WRITE) interest |= EHLO_POLL_WRITE;
    if (carrier->stalled && (wants & EHLO_WANT_READ)) {
        ehlo_carry_settle(calls, carrier, feed_stash(carrier));
        return;
    }
    carrier->wants = wants;
    if (wants & EHLO_WANT_TLS)
        calls->over(carrier, 1); /* no TLS engine is there */
    else if (wants & EHLO_WANT_CLOSE)
        calls->over(carrier, 0);
    else
        ehlo_conn_watch(&carrier->conn, interest);
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

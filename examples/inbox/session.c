#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "session.h"

#include "log.h"
#include "reply.h"
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* From MAIL to the reply behind the message. At the end of data it passes from the session to a worker, which
 * answers by the number of the connection: a session that is gone by then is no matter. Its message stays
 * filed, though nobody was told: the peer will send it again, and a message twice is better than none. */
struct transaction {
    struct job job; /* first: a worker gets this address */
    struct letter letter;
    ehlo_header header;
    char last; /* octet of the message so far */
    char *reverse_path;
    char *recipient; /* the first, as written */
    uint32_t recipients;
    uint64_t size;
    ehlo_loop *loop;
    ehlo_conn_id conn;
    ehlo_token token;
};

static struct inbox *inbox_of(const ehlo_server *s)
{
    return ehlo_conn_ctx(s);
}

/* -- transactions ----------------------------------------------------------------------------------- */

/* NUL-ended; NULL if there is no memory. Validated paths and names hold no NUL. */
static char *copy_text(ehlo_str text)
{
    char *copy = malloc(text.len + 1);
    if (copy == NULL) return NULL;
    if (text.len > 0) memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return copy;
}

static void transaction_free(struct transaction *t)
{
    if (t == NULL) return;
    letter_end(&t->letter);
    free(t->reverse_path);
    free(t->recipient);
    free(t);
}

static struct transaction *transaction_new(struct inbox *inbox, ehlo_str reverse_path)
{
    struct transaction *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    letter_init(&t->letter, &inbox->maildir);
    t->reverse_path = copy_text(reverse_path);
    if (t->reverse_path != NULL) return t;
    transaction_free(t);
    return NULL;
}

static int transaction_address(struct transaction *t, const ehlo_path *path, const char *mailbox)
{
    if (t->recipients == 0) {
        free(t->recipient);
        t->recipient = copy_text(path->mailbox);
        if (t->recipient == NULL) return ENOMEM;
    }
    int error = letter_address(&t->letter, mailbox);
    if (error == 0) t->recipients++;
    return error;
}

static void log_result(const struct transaction *t, int error)
{
    log_line("%s: from <%s>, %" PRIu32 " recipients, %" PRIu64 " octets: %s", t->letter.id, t->reverse_path,
             t->recipients, t->size, error == 0 ? "filed" : strerror(error));
}

/* RFC 5321 4.4: the trace fields lead. `for` names the recipient where that tells it to nobody else. */
static int write_lead(ehlo_server *s, struct transaction *t, const struct session *session)
{
    char lead[TRACE_LEAD_MAX];
    char tls[TRACE_TLS_MAX];
    size_t len = 0;
    ehlo_received received;
    trace_session(s, &received, tls);
    received.hello = ehlo_str_from(session->hello);
    received.id = ehlo_str_from(t->letter.id);
    if (t->recipients == 1 && strchr(t->recipient, '@') != NULL) received.recipient = ehlo_str_from(t->recipient);
    if (trace_lead_write(ehlo_str_from(t->reverse_path), &received, lead, &len) != EHLO_OK) return EINVAL;
    return letter_write(&t->letter, lead, len);
}

/* RFC 6409 8.2, 8.3 */
static int write_additions(ehlo_server *s, struct transaction *t)
{
    char fields[512];
    size_t len = 0;
    ehlo_header_additions additions = { .time = (int64_t)time(NULL),
                                        .id = ehlo_str_from(t->letter.id),
                                        .domain = inbox_of(s)->hostname };
    if (ehlo_header_complete(&t->header, &additions, fields, sizeof fields, &len) != EHLO_OK) return EINVAL;
    return letter_write(&t->letter, fields, len);
}

/* The first `header` octets are of the header, which ends here. One that is malformed is left as it is. */
static int write_completed(ehlo_server *s, struct transaction *t, const char *bytes, size_t len, size_t header)
{
    int error = letter_write(&t->letter, bytes, header);
    if (error == 0 && !t->header.malformed) error = write_additions(s, t);
    return error == 0 ? letter_write(&t->letter, bytes + header, len - header) : error;
}

/* The message is nothing but a header, which perhaps lacks the end of its last line. */
static int write_rest(ehlo_server *s, struct transaction *t)
{
    int error = 0;
    if (t->header.malformed) return 0;
    if (t->size > 0 && t->last != '\n') error = letter_write(&t->letter, "\r\n", 2);
    return error == 0 ? write_additions(s, t) : error;
}

/* -- workers ---------------------------------------------------------------------------------------- */

static void file_message(struct job *job)
{
    struct transaction *t = (struct transaction *)(void *)job;
    char text[MAILDIR_ID_MAX + 16];
    int error = letter_file(&t->letter);
    snprintf(text, sizeof text, "Filed as %s", t->letter.id);
    ehlo_reply reply = error == 0 ? reply_make(250, 0, 0, text) : reply_failure(error);
    log_result(t, error);
    ehlo_loop_answer(t->loop, t->conn, t->token, &reply);
    transaction_free(t);
}

/* -- callbacks -------------------------------------------------------------------------------------- */

static int on_hello(ehlo_server *s, ehlo_token token, const ehlo_hello *hello, ehlo_reply *r, void *user)
{
    struct session *session = user;
    (void)s;
    (void)token;
    char *name = copy_text(hello->name);
    if (name == NULL) {
        *r = reply_failure(ENOMEM);
        return EHLO_OK;
    }
    free(session->hello);
    session->hello = name;
    return EHLO_OK;
}

static int on_mail(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *r, void *user)
{
    struct session *session = user;
    (void)token;
    session->transaction = transaction_new(inbox_of(s), mail->path.mailbox);
    if (session->transaction == NULL) *r = reply_failure(ENOMEM);
    return EHLO_OK;
}

/* Ours, or of somebody we know. RFC 5321 4.5.1: postmaster without a domain always is. */
static int may_send_to(const ehlo_server *s, ehlo_str domain)
{
    const struct inbox *inbox = inbox_of(s);
    if (inbox->domain_count == 0 || domain.len == 0 || (ehlo_server_with(s) & EHLO_WITH_AUTH) != 0) return 1;
    for (size_t i = 0; i < inbox->domain_count; i++) {
        if (ehlo_domain_equal(inbox->domains[i], domain)) return 1;
    }
    return 0;
}

static int on_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    struct session *session = user;
    char mailbox[MAILBOX_NAME_MAX + 1];
    (void)token;
    if (!may_send_to(s, rcpt->path.domain)) {
        *r = reply_make(550, 7, 1, "We do not relay");
    } else if (mailbox_name(&rcpt->path, mailbox) != 0) {
        *r = reply_make(553, 1, 3, "Mailbox name too long");
    } else {
        int error = transaction_address(session->transaction, &rcpt->path, mailbox);
        if (error != 0) *r = reply_failure(error);
    }
    return EHLO_OK;
}

static int on_data(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    struct session *session = user;
    struct transaction *t = session->transaction;
    (void)token;
    int error = letter_begin(&t->letter);
    if (error == 0 && !inbox_of(s)->raw) error = write_lead(s, t, session);
    if (error != 0) *r = reply_failure(error);
    return EHLO_OK;
}

static int on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    struct session *session = user;
    struct transaction *t = session->transaction;
    int ended = t->header.ended;
    size_t header = ehlo_header_scan(&t->header, bytes, len);
    *taken = len;
    if (t->header.received > EHLO_HOPS_MAX) {
        *r = reply_mail_loop();
        return EHLO_REFUSE;
    }
    t->size += len;
    if (len > 0) t->last = bytes[len - 1];
    int completes = inbox_of(s)->completing && t->header.ended && !ended;
    int error = completes ? write_completed(s, t, bytes, len, header) : letter_write(&t->letter, bytes, len);
    if (error == 0) return EHLO_OK;
    log_result(t, error);
    *r = reply_failure(error);
    return EHLO_REFUSE;
}

/* LMTP needs no more: all recipients have the message or none has, so one result is every recipient's. */
static int on_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *r, void *user)
{
    struct session *session = user;
    struct transaction *t = session->transaction;
    (void)message;
    session->transaction = NULL;
    int error = inbox_of(s)->completing && !t->header.ended ? write_rest(s, t) : 0;
    t->job.run = file_message;
    t->loop = ehlo_conn_loop(s);
    t->conn = ehlo_conn_number(s);
    t->token = token;
    if (error == 0) error = workers_submit(inbox_of(s)->workers, &t->job);
    if (error == 0) return EHLO_LATER;
    *r = reply_failure(error);
    transaction_free(t);
    return EHLO_OK;
}

/* Once more, without either: the peer has cancelled it, or the session has given up. */
static int on_auth(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *r, void *user)
{
    struct session *session = user;
    if (mechanism.ptr != NULL || response.ptr != NULL) return auth_step(s, token, mechanism, response, r);
    auth_forget(&session->exchange);
    return EHLO_OK;
}

static void on_reset(ehlo_server *s, int reason, void *user)
{
    struct session *session = user;
    (void)s;
    (void)reason;
    transaction_free(session->transaction);
    session->transaction = NULL;
}

static void on_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    struct session *session = user;
    (void)s;
    (void)reason;
    (void)pending;
    auth_forget(&session->exchange);
    free(session->hello);
    session->hello = NULL;
}

ehlo_server_callbacks session_callbacks(int trace)
{
    ehlo_server_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.on_hello = on_hello;
    callbacks.on_mail = on_mail;
    callbacks.on_rcpt = on_rcpt;
    callbacks.on_data = on_data;
    callbacks.on_body = on_body;
    callbacks.on_message = on_message;
    callbacks.on_auth = on_auth;
    callbacks.on_reset = on_reset;
    callbacks.on_close = on_close;
    callbacks.on_trace = trace ? log_session : NULL;
    return callbacks;
}

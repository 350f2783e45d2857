/* [S18] Every sequence of up to five commands against a model of the rules. EHLO_MODEL_DEPTH sets another
 * length (four is quick under sanitizers). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ehlo/server.h>

typedef enum token {
    T_EHLO,
    T_MAIL,
    T_MAIL_BAD,
    T_RCPT,
    T_RCPT_REFUSED,
    T_DATA,
    T_BDAT,
    T_BDAT_LAST,
    T_RSET,
    T_AUTH,
    T_STARTTLS,
    T_VRFY,
    T_NOOP,
    T_QUIT,
    T_COUNT
} token;

static const char *const lines[T_COUNT] = {
    "EHLO c.example\r\n",
    "MAIL FROM:<a@x.example>\r\n",
    "MAIL FROM:<a@x.\r\n",
    "RCPT TO:<b@x.example>\r\n",
    "RCPT TO:<reject@x.example>\r\n",
    "DATA\r\n",
    "BDAT 6\r\nQUIT\r\n",
    "BDAT 6 LAST\r\nQUIT\r\n",
    "RSET\r\n",
    "AUTH PLAIN AAAA\r\n",
    "STARTTLS\r\n",
    "VRFY x\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
};
static const char message[] = "Subject: x\r\n\r\ntext\r\n.\r\n";

/* -- the model -------------------------------------------------------------------------------------- */

typedef struct model {
    int hello, tls, auth, closed;
    int mail; /* 0 none, 1 open, 2 chunks came, 3 dead */
    int rcpts, refused;
    int messages, resets; /* what the application sees */
} model;

static void model_end(model *m, int message_or_reset)
{
    if (m->mail == 1 || m->mail == 2) *(message_or_reset ? &m->messages : &m->resets) += 1;
    m->mail = m->rcpts = m->refused = 0;
}

static int model_chunk(model *m, int last)
{
    if (!m->hello || m->mail == 0) return 503;
    if (m->mail != 3 && m->rcpts > 0) {
        m->mail = 2;
        if (last) model_end(m, 1);
        return 250;
    }
    if (m->mail != 3) m->resets++;
    m->mail = 3;
    if (last) m->mail = m->rcpts = m->refused = 0;
    return 503;
}

static int model_data(model *m)
{
    if (!m->hello || m->mail != 1) return 503;
    if (m->rcpts == 0) return m->refused ? 554 : 503;
    model_end(m, 1);
    return 354;
}

static int model_hello(model *m)
{
    model_end(m, 0);
    m->hello = 1;
    return 250;
}

static int model_starttls(model *m)
{
    if (!m->hello || m->tls || m->mail != 0) return 503;
    m->tls = 1;
    m->hello = m->auth = 0;
    return 220;
}

/* The code of the reply; for DATA the code before the message, which is then always accepted. */
static int model_step(model *m, token t)
{
    int free_to_start = m->hello && m->mail == 0;
    switch (t) {
    case T_EHLO:
        return model_hello(m);
    case T_MAIL:
        return free_to_start ? (m->mail = 1, 250) : 503;
    case T_MAIL_BAD:
        return free_to_start ? 501 : 503;
    case T_RCPT:
        return m->mail == 1 ? (m->rcpts++, 250) : 503;
    case T_RCPT_REFUSED:
        return m->mail == 1 ? (m->refused = 1, 550) : 503;
    case T_DATA:
        return model_data(m);
    case T_BDAT:
        return model_chunk(m, 0);
    case T_BDAT_LAST:
        return model_chunk(m, 1);
    case T_RSET:
        model_end(m, 0);
        return 250;
    case T_AUTH:
        return free_to_start && !m->auth ? (m->auth = 1, 235) : 503;
    case T_STARTTLS:
        return model_starttls(m);
    case T_VRFY:
        return 252;
    case T_NOOP:
        return 250;
    default:
        model_end(m, 0);
        m->closed = 1;
        return 221;
    }
}

/* -- the session ------------------------------------------------------------------------------------ */

typedef struct run {
    ehlo_server *session;
    int code;
    int replies;
    int mails, messages, resets, closes;
} run;

static int on_write(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    run *r = user;
    (void)s;
    *taken = 0;
    for (size_t i = 0; i < n; i++) {
        const char *line = parts[i].ptr, *end = line + parts[i].len;
        while (line < end) {
            r->code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
            if (line[3] != '-') r->replies++;
            line = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
        }
        *taken += parts[i].len;
    }
    return 0;
}

static int on_mail(ehlo_server *s, ehlo_token t, const ehlo_mail *mail, ehlo_reply *reply, void *user)
{
    run *r = user;
    (void)s, (void)t, (void)mail, (void)reply;
    r->mails++;
    return EHLO_OK;
}

static int on_rcpt(ehlo_server *s, ehlo_token t, const ehlo_rcpt *rcpt, ehlo_reply *reply, void *user)
{
    (void)s, (void)t, (void)user;
    if (rcpt->path.local_part.ptr[0] == 'r') reply->code = 550;
    return EHLO_OK;
}

static int on_message(ehlo_server *s, ehlo_token t, const ehlo_message *m, ehlo_reply *reply, void *user)
{
    run *r = user;
    (void)s, (void)t, (void)m, (void)reply;
    r->messages++;
    return EHLO_OK;
}

static int on_auth(ehlo_server *s, ehlo_token t, ehlo_str mechanism, ehlo_str response, ehlo_reply *reply, void *user)
{
    (void)s, (void)t, (void)mechanism, (void)response, (void)user;
    reply->code = 235;
    return EHLO_OK;
}

static void on_reset(ehlo_server *s, int reason, void *user)
{
    run *r = user;
    (void)s, (void)reason;
    r->resets++;
}

static void on_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    run *r = user;
    (void)s, (void)reason, (void)pending;
    r->closes++;
}

/* -- comparing -------------------------------------------------------------------------------------- */

static union {
    char bytes[65536];
    max_align_t align;
} service_mem, session_mem;

static const ehlo_service *make_service(void)
{
    ehlo_service *service;
    ehlo_service_config config;
    ehlo_server_callbacks cb;
    memset(&config, 0, sizeof config);
    memset(&cb, 0, sizeof cb);
    config.hostname = ehlo_str_from("mx.example");
    config.extensions = EHLO_CAP_PIPELINING | EHLO_CAP_CHUNKING | EHLO_CAP_STARTTLS | EHLO_CAP_AUTH;
    config.auth_mechanisms = ehlo_str_from("PLAIN");
    config.flags = EHLO_SERVICE_AUTH_CLEAR;
    cb.write = on_write;
    cb.on_mail = on_mail;
    cb.on_rcpt = on_rcpt;
    cb.on_message = on_message;
    cb.on_auth = on_auth;
    cb.on_reset = on_reset;
    cb.on_close = on_close;
    assert_int_equal(ehlo_service_init(&service, &service_mem, sizeof service_mem, &config, &cb), EHLO_OK);
    return service;
}

static const char *sequence_text(const token *sequence, size_t len)
{
    static char text[512];
    text[0] = '\0';
    for (size_t i = 0; i < len; i++) {
        strncat(text, lines[sequence[i]], strcspn(lines[sequence[i]], "\r"));
        strcat(text, "; ");
    }
    return text;
}

static void say(run *r, const char *bytes, size_t len)
{
    size_t used;
    int before = r->replies;
    assert_int_equal(ehlo_server_feed(r->session, 1, bytes, len, &used), EHLO_OK);
    assert_int_equal(used, len);
    assert_int_equal(r->replies, before + 1);
}

static int step(run *r, token t)
{
    int code;
    say(r, lines[t], strlen(lines[t]));
    code = r->code;
    if (t == T_DATA && code == 354) {
        say(r, message, sizeof message - 1);
        assert_int_equal(r->code, 250);
    }
    if (t == T_STARTTLS && code == 220) {
        assert_int_equal(ehlo_server_wants(r->session), EHLO_WANT_TLS);
        assert_int_equal(ehlo_server_tls_started(r->session, 1, 0, NULL), EHLO_OK);
    }
    return code;
}

static void compare(const ehlo_service *service, const token *sequence, size_t len)
{
    model m;
    run r;
    memset(&m, 0, sizeof m);
    memset(&r, 0, sizeof r);
    assert_int_equal(ehlo_server_init(&r.session, &session_mem, sizeof session_mem, service, NULL, &r), EHLO_OK);
    assert_int_equal(ehlo_server_start(r.session, 0), EHLO_OK);
    for (size_t i = 0; i < len && !m.closed; i++) {
        int expected = model_step(&m, sequence[i]), got = step(&r, sequence[i]);
        if (expected != got) fail_msg("%s at %zu: expected %d, got %d", sequence_text(sequence, len), i, expected, got);
        if (r.messages != m.messages || r.resets != m.resets) {
            fail_msg("%s at %zu: expected %d messages and %d resets, got %d and %d", sequence_text(sequence, len), i,
                     m.messages, m.resets, r.messages, r.resets);
        }
    }
    if (m.closed)
        assert_int_equal(ehlo_server_wants(r.session), EHLO_WANT_CLOSE);
    else
        assert_int_equal(ehlo_server_wants(r.session) & ~(unsigned)EHLO_WANT_SECRET, EHLO_WANT_READ);
    assert_int_equal(ehlo_server_close(r.session), EHLO_OK);
    model_end(&m, 0);
    assert_int_equal(r.resets, m.resets);
    assert_int_equal(r.mails, r.messages + r.resets);
    assert_int_equal(r.closes, 1);
}

static int next_sequence(token *sequence, size_t len)
{
    for (size_t i = len; i-- > 0;) {
        sequence[i] = (token)(sequence[i] + 1);
        if (sequence[i] < T_COUNT) return 1;
        sequence[i] = T_EHLO;
    }
    return 0;
}

static void every_sequence_of_commands_equals_the_model(void **state)
{
    const char *wanted = getenv("EHLO_MODEL_DEPTH");
    size_t depth = wanted != NULL ? (size_t)strtoul(wanted, NULL, 10) : 5;
    const ehlo_service *service = make_service();
    (void)state;
    for (size_t len = 1; len <= depth; len++) {
        token sequence[16] = { T_EHLO };
        assert_true(len <= 16);
        do compare(service, sequence, len);
        while (next_sequence(sequence, len));
    }
}

/* Five commands are too few for two messages in a row: behind EHLO, MAIL, RCPT every three more. */
static void every_continuation_of_a_transaction_equals_the_model(void **state)
{
    static const token starts[][4] = {
        { T_EHLO, T_MAIL, T_RCPT, T_BDAT },         { T_EHLO, T_MAIL, T_RCPT, T_DATA },
        { T_EHLO, T_MAIL, T_RCPT_REFUSED, T_BDAT }, { T_EHLO, T_MAIL, T_RCPT, T_RCPT_REFUSED },
        { T_EHLO, T_STARTTLS, T_EHLO, T_AUTH },     { T_EHLO, T_AUTH, T_MAIL, T_RCPT },
    };
    const ehlo_service *service = make_service();
    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        token sequence[7];
        memcpy(sequence, starts[i], sizeof starts[i]);
        sequence[4] = sequence[5] = sequence[6] = T_EHLO;
        do compare(service, sequence, 7);
        while (next_sequence(sequence + 4, 3));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sequence_of_commands_equals_the_model),
        cmocka_unit_test(every_continuation_of_a_transaction_equals_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

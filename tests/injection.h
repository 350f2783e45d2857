/* Ways for text of the application's to the wire: each function of the public headers that takes such text is
 * called here with arguments that are all good, but for the one that a test has changed; what it makes of them is
 * in `wire`. */
#ifndef EHLO_TESTS_INJECTION_H
#define EHLO_TESTS_INJECTION_H

#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <ehlo/ehlo.h>
#include <ehlo/net.h>

#include "dummy_server.h"

enum { WIRE_MAX = 1 << 19, NOT_TOUCHED = 0x5A };

/* What reached the wire, or the buffer of the caller who would put it there. */
static struct {
    char bytes[WIRE_MAX];
    size_t len;
} wire;

static inline void wire_add(const char *bytes, size_t len)
{
    if (len > WIRE_MAX - wire.len) fail_msg("more octets on the wire than there is room for");
    if (len > 0) memcpy(wire.bytes + wire.len, bytes, len);
    wire.len += len;
}

/* -- arguments -------------------------------------------------------------------------------------- */

/* Variants of them, or'ed. */
enum { WITH_UTF8 = 1, WITH_UTF8_ORCPT = 2, WITH_CHALLENGE = 4 };

/* Whatever the functions take. Each call reads its part. */
typedef struct args {
    ehlo_verb verb;
    ehlo_str text;
    ehlo_str second;
    unsigned with;
    ehlo_mail_command mail;
    ehlo_rcpt_command rcpt;
    ehlo_recipient recipient;
    ehlo_mail_command more;
    ehlo_envelope envelope;
    ehlo_client_config client;
    ehlo_host host;
    ehlo_service_config service;
    ehlo_received received;
    ehlo_header_additions additions;
    ehlo_credentials credentials;
    ehlo_tls_facts facts;
    ehlo_sasl_server_config sasl;
    ehlo_str own_name;
    ehlo_dsn dsn;
    ehlo_dsn_recipient dsn_rcpt;
    ehlo_reply reply;
    const char *event; /* the callback that gives `reply`, or the mechanism that `credentials` are for */
} args;

#define GOOD(text) ehlo_str_make(text, sizeof(text) - 1)

static inline ehlo_mail_command good_mail(unsigned with)
{
    return (ehlo_mail_command){
        .mailbox = GOOD("ann@sender.example"),
        .present = EHLO_PARAM_ENVID | EHLO_PARAM_AUTH | EHLO_PARAM_HOLDUNTIL |
                   (with & WITH_UTF8 ? (uint32_t)EHLO_PARAM_SMTPUTF8 : 0),
        .envid = GOOD("envelope-7"),
        .auth = GOOD("login@sender.example"),
        .hold_until = GOOD("2030-01-01T00:00:00Z"),
        .params = GOOD("XFOO=1"),
    };
}

static inline ehlo_rcpt_command good_rcpt(unsigned with)
{
    return (ehlo_rcpt_command){
        .mailbox = GOOD("bob@mx.example"),
        .present = EHLO_PARAM_ORCPT | EHLO_PARAM_RRVS,
        .utf8 = (with & WITH_UTF8) != 0,
        .orcpt_type = with & WITH_UTF8_ORCPT ? GOOD("utf-8") : GOOD("rfc822"),
        .orcpt = GOOD("original@mx.example"),
        .rrvs = GOOD("2014-04-03T23:01:00Z"),
        .params = GOOD("XBAR=2"),
    };
}

static inline ehlo_recipient good_recipient(unsigned with)
{
    return (ehlo_recipient){
        .to = GOOD("bob@mx.example"),
        .orcpt_type = with & WITH_UTF8_ORCPT ? GOOD("utf-8") : GOOD("rfc822"),
        .orcpt = GOOD("original@mx.example"),
        .params = GOOD("XBAR=2"),
    };
}

static inline ehlo_envelope good_envelope(unsigned with)
{
    return (ehlo_envelope){
        .from = GOOD("ann@sender.example"),
        .nrcpts = 1,
        .flags = with & WITH_UTF8 ? EHLO_SEND_UTF8 : 0,
        .envid = GOOD("envelope-7"),
        .auth = GOOD("login@sender.example"),
        .params = GOOD("XFOO=1"),
        .content = GOOD("Subject: text\r\n\r\nx\r\n"),
    };
}

static inline ehlo_service_config good_service(void)
{
    return (ehlo_service_config){
        .hostname = GOOD("mx.example"),
        .greeting = GOOD("ESMTP ready"),
        .flags = EHLO_SERVICE_AUTH_CLEAR,
        .extensions = EHLO_CAP_XCLIENT * 2 - 1,
        .auth_mechanisms = GOOD("PLAIN LOGIN"),
        .keywords = GOOD("XFOO 1"),
        .deliverby = GOOD("120"),
        .mt_priority = GOOD("STANAG4406"),
        .hold_until = GOOD("2038-01-01T00:00:00Z"),
        .xclient = GOOD("NAME ADDR"),
    };
}

static inline ehlo_received good_received(void)
{
    return (ehlo_received){
        .hello = GOOD("client.example"),
        .remote = { .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 1 } },
        .by = GOOD("mx.example"),
        .with = EHLO_WITH_ESMTP | EHLO_WITH_TLS,
        .tls = GOOD("TLSv1.3 TLS_AES_256_GCM_SHA384"),
        .id = GOOD("4Fxyz"),
        .recipient = GOOD("bob@mx.example"),
    };
}

static inline ehlo_credentials good_credentials(void)
{
    return (ehlo_credentials){
        .user = GOOD("user"), .password = GOOD("pencil"), .token = GOOD("token"), .host = GOOD("mx.example"), .clear = 1
    };
}

/* A report has an address of a kind for each of its fields. */
static inline ehlo_dsn good_dsn(unsigned with)
{
    return (ehlo_dsn){
        .reporting_mta = GOOD("relay.example"),
        .to = GOOD("ann@sender.example"),
        .id = GOOD("20261122.4fxyz"),
        .time = 1795348800,
        .envid = GOOD("envelope-7"),
        .received_from = GOOD("client.example"),
        .arrived = 1795348700,
        .utf8 = (with & WITH_UTF8) != 0,
        .nrcpts = 1,
    };
}

static inline ehlo_dsn_recipient good_dsn_recipient(unsigned with)
{
    return (ehlo_dsn_recipient){
        .to = GOOD("bob@mx.example"),
        .orcpt_type = with & WITH_UTF8_ORCPT ? GOOD("utf-8") : GOOD("rfc822"),
        .orcpt = GOOD("original@mx.example"),
        .action = EHLO_ACTION_FAILED,
        .status = { 5, 1, 1 },
        .code = 550,
        .text = GOOD("Unheard of"),
        .remote_mta = GOOD("next.example"),
        .last_attempt = 1795348790,
    };
}

static inline args good_args(unsigned with)
{
    return (args){
        .with = with,
        .text = GOOD("PLAIN"),
        .second = GOOD("secret"),
        .mail = good_mail(with),
        .rcpt = good_rcpt(with),
        .recipient = good_recipient(with),
        .more = { .present = EHLO_PARAM_HOLDUNTIL, .hold_until = GOOD("2030-01-01T00:00:00Z") },
        .envelope = good_envelope(with),
        .client = { .name = GOOD("client.example"), .flags = EHLO_CLIENT_NO_CHUNKING | EHLO_CLIENT_AUTH_CLEAR },
        .service = good_service(),
        .received = good_received(),
        .additions = { .time = 1795348800, .id = GOOD("20261122.4Fxyz"), .domain = GOOD("mx.example") },
        .credentials = good_credentials(),
        .facts = { .version = GOOD("TLSv1.3"), .exporter = GOOD("0123456789abcdef0123456789ABCDEF") },
        .sasl = { .hostname = GOOD("mx.example") },
        .own_name = GOOD("relay.example"),
        .dsn = good_dsn(with),
        .dsn_rcpt = good_dsn_recipient(with),
        .reply = { .code = 250, .text = GOOD("Fine by me") },
    };
}

/* -- writers ---------------------------------------------------------------------------------------- */

/* What a writer is given to write to. Zero octets reach the wire: the buffer is as it was, whatever the length. */
static inline char *buffer(void)
{
    memset(wire.bytes, NOT_TOUCHED, sizeof wire.bytes);
    return wire.bytes;
}

static inline int written(int result, size_t len)
{
    wire.len = len;
    if (result >= 0) return result;
    if (len != 0 && result != EHLO_ERR_SPACE) fail_msg("a refused line has a length of %zu", len);
    for (wire.len = WIRE_MAX; wire.len > 0 && wire.bytes[wire.len - 1] == NOT_TOUCHED;) wire.len--;
    return result;
}

/* Where a line may be of any length, the buffer is what refuses it. */
enum { BUFFER = 1 << 14 };

#define WRITER(name, ...)                                                                                              \
    static int name(args *a)                                                                                           \
    {                                                                                                                  \
        size_t len = 0;                                                                                                \
        char *out = buffer();                                                                                          \
        (void)a, (void)out;                                                                                            \
        int result = __VA_ARGS__;                                                                                      \
        return written(result, len);                                                                                   \
    }

WRITER(write_command, ehlo_command_write(a->verb, a->text, out, WIRE_MAX, &len, NULL))
WRITER(write_hello, ehlo_hello_write(EHLO_VERB_EHLO, a->text, out, WIRE_MAX, &len, NULL))
WRITER(write_mail, ehlo_mail_write(&a->mail, out, WIRE_MAX, &len, NULL))
WRITER(write_rcpt, ehlo_rcpt_write(&a->rcpt, out, WIRE_MAX, &len, NULL))
WRITER(write_auth, ehlo_auth_write(a->text, a->second, out, WIRE_MAX, &len, NULL))
WRITER(write_auth_response, ehlo_auth_response_write(a->second, out, WIRE_MAX, &len))
WRITER(encode_xtext, ehlo_xtext_encode(a->text, out, BUFFER, &len))
WRITER(encode_base64, ehlo_base64_encode(a->text, out, BUFFER, &len))
WRITER(check_reply, ehlo_reply_check(&a->reply, (a->with & WITH_UTF8) != 0 ? EHLO_REPLY_UTF8 : 0, NULL))
WRITER(write_reply,
       ehlo_reply_write(&a->reply, (a->with & WITH_UTF8) != 0 ? EHLO_REPLY_UTF8 : 0, out, WIRE_MAX, &len, NULL))
WRITER(write_received, ehlo_received_write(&a->received, out, WIRE_MAX, &len))
WRITER(complete_header, ehlo_header_complete(&(ehlo_header){ 0 }, &a->additions, out, WIRE_MAX, &len))
WRITER(write_query, ehlo_dns_query_write(7, a->text, EHLO_DNS_A, out, WIRE_MAX, &len))

/* Reads no further than what there is room for, and says so by 1. */
WRITER(clean_text, ehlo_text_clean(a->text, out, WIRE_MAX, &len))

/* -- a client session ------------------------------------------------------------------------------- */

static inline int client_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)c, (void)user;
    *taken = 0;
    for (size_t i = 0; i < n; i++) {
        wire_add(parts[i].ptr, parts[i].len);
        *taken += parts[i].len;
    }
    return 0;
}

static const ehlo_client_callbacks client_callbacks = { .write = client_write };
static max_align_t client_memory[8192 / sizeof(max_align_t)];
static max_align_t transaction_memory[8192 / sizeof(max_align_t)];

static inline void client_hears(ehlo_client *c, const char *text)
{
    size_t used;
    assert_int_equal(ehlo_client_feed(c, 0, text, strlen(text), &used), EHLO_OK);
    assert_int_equal(used, strlen(text));
}

/* A session that has been greeted; what it said so far stays in `wire`. */
static inline int client_open(ehlo_client **c, const args *a)
{
    size_t size = ehlo_client_size(&a->client);
    int result = ehlo_client_init(c, client_memory, size == 0 ? sizeof client_memory : size, &a->client,
                                  &client_callbacks, NULL);
    wire.len = 0;
    if (result != EHLO_OK) return result;
    assert_int_equal(ehlo_client_start(*c, 0, NULL, NULL), EHLO_OK);
    client_hears(*c, DUMMY_GREETING);
    assert_int_equal(ehlo_client_hello(*c, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(*c, 0), EHLO_OK);
    return EHLO_OK;
}

static inline ehlo_client *client_new(const args *a)
{
    ehlo_client *c;
    assert_int_equal(client_open(&c, a), EHLO_OK);
    client_hears(c, "250-mx.example\r\n" DUMMY_EXTENSIONS "250 X-LAST\r\n");
    assert_true(ehlo_client_wants(c) & EHLO_WANT_NEXT);
    wire.len = 0;
    return c;
}

/* What was refused has left nothing behind: the next command goes out as if nothing had been. */
static inline int client_done(ehlo_client *c, int result)
{
    static const char noop[] = "NOOP\r\n";
    assert_int_equal(ehlo_client_flush(c, 0), EHLO_OK);
    if (result != EHLO_OK && wire.len == 0 && !(ehlo_client_wants(c) & EHLO_WANT_SECRET)) {
        assert_int_equal(ehlo_client_command(c, EHLO_VERB_NOOP, GOOD(""), NULL, NULL, NULL), EHLO_OK);
        assert_int_equal(ehlo_client_flush(c, 0), EHLO_OK);
        assert_int_equal(wire.len, sizeof noop - 1);
        assert_memory_equal(wire.bytes, noop, sizeof noop - 1);
        wire.len = 0;
    }
    assert_int_equal(ehlo_client_close(c), EHLO_OK);
    return result;
}

static int size_client(args *a)
{
    wire.len = 0;
    return ehlo_client_size(&a->client) == 0 ? EHLO_ERR_ARG : EHLO_OK;
}

static int init_client(args *a)
{
    ehlo_client *c;
    int result = client_open(&c, a);
    if (result == EHLO_OK) assert_int_equal(ehlo_client_close(c), EHLO_OK);
    return result;
}

static int client_command(args *a)
{
    ehlo_client *c = client_new(a);
    return client_done(c, ehlo_client_command(c, a->verb, a->text, NULL, NULL, NULL));
}

static int client_mail(args *a)
{
    ehlo_client *c = client_new(a);
    return client_done(c, ehlo_client_mail(c, &a->mail, NULL, NULL, NULL));
}

static int client_rcpt(args *a)
{
    ehlo_client *c = client_new(a);
    return client_done(c, ehlo_client_rcpt(c, &a->rcpt, NULL, NULL, NULL));
}

static int client_auth(args *a)
{
    ehlo_client *c = client_new(a);
    return client_done(c, ehlo_client_auth(c, a->text, a->second, NULL, NULL, NULL));
}

/* A challenge waits, and only "*" could follow a response that was refused. */
static int client_auth_answer(args *a)
{
    ehlo_client *c = client_new(a);
    assert_int_equal(ehlo_client_auth(c, GOOD("PLAIN"), ehlo_str_make(NULL, 0), NULL, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(c, 0), EHLO_OK);
    client_hears(c, "334 \r\n");
    wire.len = 0;
    int result = ehlo_client_auth_answer(c, a->second, NULL, NULL);
    assert_int_equal(ehlo_client_flush(c, 0), EHLO_OK);
    assert_int_equal(ehlo_client_close(c), EHLO_OK);
    return result;
}

/* -- a transaction ---------------------------------------------------------------------------------- */

static inline const ehlo_envelope *envelope_of(args *a)
{
    a->envelope.rcpts = &a->recipient;
    a->envelope.more = &a->more;
    return &a->envelope;
}

static int check_envelope(args *a)
{
    wire.len = 0;
    return ehlo_envelope_check(envelope_of(a), NULL);
}

static int start_transaction(args *a)
{
    static const ehlo_transaction_callbacks none = { .body = NULL };
    ehlo_transaction *t;
    ehlo_envelope_fault fault;
    ehlo_client *c = client_new(a);
    assert_true(ehlo_transaction_size() <= sizeof transaction_memory);
    return client_done(c, ehlo_transaction_start(&t, transaction_memory, sizeof transaction_memory, c, envelope_of(a),
                                                 &none, NULL, &fault));
}

/* -- a server session ------------------------------------------------------------------------------- */

static inline int server_write(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)s, (void)user;
    *taken = 0;
    for (size_t i = 0; i < n; i++) {
        wire_add(parts[i].ptr, parts[i].len);
        *taken += parts[i].len;
    }
    return 0;
}

static max_align_t service_memory[(1 << 17) / sizeof(max_align_t)];
static max_align_t server_memory[(1 << 17) / sizeof(max_align_t)];

static inline ehlo_server *server_new(const ehlo_service *service, args *a)
{
    ehlo_server *s;
    wire.len = 0;
    assert_true(ehlo_server_size(service) <= sizeof server_memory);
    assert_int_equal(ehlo_server_init(&s, server_memory, sizeof server_memory, service, NULL, a), EHLO_OK);
    assert_int_equal(ehlo_server_start(s, 0), EHLO_OK);
    return s;
}

static inline void server_hears(ehlo_server *s, const char *text)
{
    size_t used;
    assert_int_equal(ehlo_server_feed(s, 0, text, strlen(text), &used), EHLO_OK);
    assert_int_equal(used, strlen(text));
}

static int size_service(args *a)
{
    wire.len = 0;
    return ehlo_service_size(&a->service) == 0 ? EHLO_ERR_ARG : EHLO_OK;
}

static int init_service(args *a)
{
    static const ehlo_server_callbacks callbacks = { .write = server_write };
    ehlo_service *service;
    wire.len = 0;
    int result = ehlo_service_init(&service, service_memory, sizeof service_memory, &a->service, &callbacks);
    if (result != EHLO_OK) return result;
    ehlo_server *s = server_new(service, a);
    server_hears(s, "EHLO client.example\r\n");
    assert_int_equal(ehlo_server_close(s), EHLO_OK);
    return result;
}

static int new_net_service(args *a)
{
    static const ehlo_server_callbacks callbacks = { .on_connect = NULL };
    ehlo_service *service = NULL;
    wire.len = 0;
    int result = ehlo_net_service_new(&service, &a->service, &callbacks);
    if (result == EHLO_OK) ehlo_net_service_free(service);
    return result;
}

static ehlo_token mail_token;

static inline int answers_later(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *r, void *user)
{
    (void)s, (void)mail, (void)r, (void)user;
    mail_token = token;
    return EHLO_LATER;
}

/* Refused, the token stays open, and the default reply ends the wait. */
static int answer_server(args *a)
{
    static const ehlo_server_callbacks callbacks = { .write = server_write, .on_mail = answers_later };
    static const ehlo_reply standard = { .code = 0 };
    ehlo_service *service;
    assert_int_equal(ehlo_service_init(&service, service_memory, sizeof service_memory, &a->service, &callbacks),
                     EHLO_OK);
    ehlo_server *s = server_new(service, a);
    server_hears(s, "EHLO client.example\r\nMAIL FROM:<a@b>\r\n");
    wire.len = 0;
    int result = ehlo_server_answer(s, 0, mail_token, &a->reply);
    if (result != EHLO_OK && wire.len == 0) {
        assert_int_equal(ehlo_server_answer(s, 0, mail_token, &standard), EHLO_OK);
        assert_memory_equal(wire.bytes, "250 2.1.0", 9);
        wire.len = 0;
    }
    assert_int_equal(ehlo_server_close(s), EHLO_OK);
    return result;
}

/* -- callbacks that give a reply -------------------------------------------------------------------- */

/* If this is the event of the test, the reply has its text. */
static inline int gives_reply(const args *a, const char *event, unsigned code, ehlo_reply *r)
{
    if (strcmp(a->event, event) != 0) return 0;
    r->code = (uint16_t)code;
    r->text = a->reply.text;
    return 1;
}

static inline int on_connect(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    (void)s, (void)token;
    gives_reply(user, "on_connect", 220, r);
    return EHLO_OK;
}

static inline int on_hello(ehlo_server *s, ehlo_token token, const ehlo_hello *hello, ehlo_reply *r, void *user)
{
    (void)s, (void)token, (void)hello;
    gives_reply(user, "on_hello", 250, r);
    return EHLO_OK;
}

static inline int on_mail(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *r, void *user)
{
    (void)s, (void)token, (void)mail;
    gives_reply(user, "on_mail", 250, r);
    return EHLO_OK;
}

static inline int on_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    (void)s, (void)token, (void)rcpt;
    gives_reply(user, "on_rcpt", 250, r);
    return EHLO_OK;
}

static inline int on_data(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    (void)s, (void)token;
    gives_reply(user, "on_data", 354, r);
    return EHLO_OK;
}

static inline int on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    (void)s, (void)bytes, (void)len, (void)taken;
    return gives_reply(user, "on_body", 554, r) ? EHLO_REFUSE : EHLO_OK;
}

static inline int on_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *r, void *user)
{
    (void)s, (void)token, (void)message;
    gives_reply(user, "on_message", strcmp(((args *)user)->event, "on_message") == 0 ? 451 : 250, r);
    return EHLO_OK;
}

static inline int on_result(ehlo_server *s, ehlo_token token, size_t rcpt, ehlo_reply *r, void *user)
{
    (void)s, (void)token, (void)rcpt;
    gives_reply(user, "on_result", 250, r);
    return EHLO_OK;
}

/* Without a mechanism the exchange was given up. */
static inline int on_auth(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *r,
                          void *user)
{
    const args *a = user;
    (void)s, (void)token, (void)response;
    if (mechanism.len > 0) gives_reply(a, "on_auth", a->with & WITH_CHALLENGE ? 334 : 454, r);
    return EHLO_OK;
}

static inline int on_starttls(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    (void)s, (void)token;
    gives_reply(user, "on_starttls", 220, r);
    return EHLO_OK;
}

static inline int on_command(ehlo_server *s, ehlo_token token, const ehlo_command *command, ehlo_reply *r, void *user)
{
    (void)s, (void)token, (void)command;
    gives_reply(user, "on_command", 250, r);
    return EHLO_OK;
}

static const ehlo_server_callbacks reply_callbacks = {
    .write = server_write,
    .on_connect = on_connect,
    .on_hello = on_hello,
    .on_mail = on_mail,
    .on_rcpt = on_rcpt,
    .on_data = on_data,
    .on_body = on_body,
    .on_message = on_message,
    .on_result = on_result,
    .on_auth = on_auth,
    .on_starttls = on_starttls,
    .on_command = on_command,
};

/* By LMTP, as it has every callback. A text that may not be sent costs nobody the session: it gets what it waits for,
 * and all of it is replies. */
static int reply_from_callback(args *a)
{
    ehlo_service *service;
    a->service.flags |= EHLO_SERVICE_LMTP;
    assert_int_equal(ehlo_service_init(&service, service_memory, sizeof service_memory, &a->service, &reply_callbacks),
                     EHLO_OK);
    ehlo_server *s = server_new(service, a);
    server_hears(s, "LHLO client.example\r\nNOOP\r\nAUTH PLAIN\r\n");
    if (strcmp(a->event, "on_auth") == 0 && a->with & WITH_CHALLENGE) server_hears(s, "*\r\n");
    server_hears(s, a->with & WITH_UTF8 ? "MAIL FROM:<a@b> SMTPUTF8\r\n" : "MAIL FROM:<a@b>\r\n");
    server_hears(s, "RCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nSTARTTLS\r\n");
    assert_int_equal(ehlo_server_wants(s), EHLO_WANT_TLS);
    assert_int_equal(ehlo_server_close(s), EHLO_OK);
    return EHLO_OK;
}

#endif

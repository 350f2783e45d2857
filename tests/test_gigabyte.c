/* A message of 1 GB streams in constant memory: pulled a view at a time, by DATA and by BDAT, into a transport that
 * swallows it. What the process holds at its peak hardly grows; each octet of the message arrives. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <sys/resource.h>

#include <cmocka.h>

#include <ehlo/transaction.h>

#include "dummy_server.h"

enum { PIECE = 64 * 1024, LINE = 1024, GROWTH_MAX_KB = 4 * 1024 };

static const uint64_t gigabyte = 1024 * 1024 * 1024;

typedef struct sending {
    ehlo_client *client;
    ehlo_transaction *transaction;
    ehlo_recipient recipient;
    uint8_t body;
    char *piece;
    uint64_t pulled;
    dummy_server server;
    int outcome;
} sending;

static void *client_memory;
static void *transaction_memory;

/* Lines of text, each of which begins with a dot: transparency has something to do. */
static char *make_piece(void)
{
    char *piece = malloc(PIECE);
    assert_non_null(piece);
    memset(piece, 'x', PIECE);
    for (size_t at = 0; at < PIECE; at += LINE) {
        piece[at] = '.';
        memcpy(piece + at + LINE - 2, "\r\n", 2);
    }
    return piece;
}

static int on_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    sending *s = user;
    (void)c;
    *taken = 0;
    for (size_t i = 0; i < n; i++) {
        dummy_take(&s->server, parts[i].ptr, parts[i].len);
        *taken += parts[i].len;
    }
    return 0;
}

static int give_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    sending *s = user;
    (void)t;
    *piece = ehlo_str_make(s->piece + offset % PIECE, PIECE - (size_t)(offset % PIECE));
    *last = offset + piece->len == gigabyte;
    s->pulled = offset + piece->len;
    return EHLO_OK;
}

static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    (void)t;
    ((sending *)user)->outcome = outcome;
}

static void on_hello(ehlo_client *c, const ehlo_reply *r, void *user)
{
    static const ehlo_transaction_callbacks callbacks = { .body = give_body, .on_done = on_done };
    sending *s = user;
    assert_int_equal(r->code, 250);
    s->recipient.to = ehlo_str_from("bob@mx.example");
    ehlo_envelope envelope = { .from = ehlo_str_from("ann@sender.example"),
                               .rcpts = &s->recipient,
                               .nrcpts = 1,
                               .body = s->body,
                               .size = gigabyte };
    assert_int_equal(ehlo_transaction_start(&s->transaction, transaction_memory, ehlo_transaction_size(), c, &envelope,
                                            &callbacks, s, NULL),
                     EHLO_OK);
}

static void on_greeting(ehlo_client *c, const ehlo_reply *r, void *user)
{
    assert_int_equal(r->code, 220);
    assert_int_equal(ehlo_client_hello(c, on_hello, user), EHLO_OK);
}

static void sending_open(sending *s, const char *extensions, uint8_t body)
{
    static const ehlo_client_callbacks callbacks = { .write = on_write };
    ehlo_client_config config = { .name = ehlo_str_from("client.example") };
    size_t size = ehlo_client_size(&config);
    memset(s, 0, sizeof *s);
    s->piece = make_piece();
    s->body = body;
    dummy_open(&s->server, extensions);
    client_memory = malloc(size);
    transaction_memory = malloc(ehlo_transaction_size());
    assert_non_null(client_memory);
    assert_non_null(transaction_memory);
    assert_int_equal(ehlo_client_init(&s->client, client_memory, size, &config, &callbacks, s), EHLO_OK);
    assert_int_equal(ehlo_client_start(s->client, 0, on_greeting, s), EHLO_OK);
}

static void sending_close(sending *s)
{
    ehlo_client_close(s->client);
    free(client_memory);
    free(transaction_memory);
    free(s->piece);
}

static long peak_kb(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

/* Replies are fed as long as there are any: the whole message leaves from inside these calls. */
static void run(sending *s)
{
    size_t used;
    while (s->server.replies_len > 0) {
        assert_int_equal(ehlo_client_feed(s->client, 0, s->server.replies, s->server.replies_len, &used), EHLO_OK);
        assert_true(used > 0);
        dummy_read(&s->server, used);
    }
}

static void stream(const char *extensions, uint8_t body, int chunks)
{
    static sending s;
    sending_open(&s, extensions, body);
    long before = peak_kb();
    run(&s);
    long growth = peak_kb() - before;
    assert_string_equal(s.server.fault, "");
    assert_int_equal(s.outcome, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(s.pulled, gigabyte);
    assert_int_equal(s.server.messages, 1);
    assert_int_equal(s.server.content, gigabyte);
    assert_int_equal(s.server.chunks > 0, chunks);
    if (growth > GROWTH_MAX_KB) fail_msg("the process grew by %ld KB", growth);
    sending_close(&s);
}

static void a_gigabyte_streams_in_constant_memory_by_data(void **state)
{
    (void)state;
    stream(DUMMY_EXTENSIONS, EHLO_BODY_DEFAULT, 0);
}

static void a_gigabyte_streams_in_constant_memory_by_chunks_of_text(void **state)
{
    (void)state;
    stream(DUMMY_EXTENSIONS DUMMY_CHUNKING, EHLO_BODY_DEFAULT, 1);
}

static void a_gigabyte_streams_in_constant_memory_by_chunks_of_any_octets(void **state)
{
    (void)state;
    stream(DUMMY_EXTENSIONS DUMMY_CHUNKING, EHLO_BODY_BINARYMIME, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gigabyte_streams_in_constant_memory_by_data),
        cmocka_unit_test(a_gigabyte_streams_in_constant_memory_by_chunks_of_text),
        cmocka_unit_test(a_gigabyte_streams_in_constant_memory_by_chunks_of_any_octets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

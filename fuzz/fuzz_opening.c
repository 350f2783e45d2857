/* The opening of a client session, under each policy, against any octets of a server.
 *
 * The first line of an input is switches, a letter each (see switch_of); the rest is what the server says, line by
 * line, each when the client has nothing more to write. A line of "@text" is a challenge, whose base64 is made here:
 * in it "$n" is the client's nonce, and "$v" the signature that only a server has who knows SCRAM's keys. The same
 * goes through twice, the second time in single octets: both must come to the same. */
#include <stdint.h>

#include <ehlo/opening.h>

#include "sasl_model.h"

enum { TEXT_MAX = 1 << 13, STEPS_MAX = 1 << 18, TICKS_MAX = 16 };

static const char password[] = "pencil-of-the-user";
static const char token[] = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";

typedef struct run {
    ehlo_client *client;
    ehlo_client_config config;
    ehlo_opening_config opening;
    ehlo_credentials who;
    ehlo_tls_policy policy; /* that has to hold */
    ehlo_tls_facts tls;
    const ehlo_tls_facts *facts;
    fake_crypto crypto;
    scram_model model;
    octets nonce, proof, signature;
    int by_octets, at_once, silent, loses, says_quit, fails_handshake, holds, forgets_wrapping;

    const uint8_t *server; /* what the server is still to say */
    size_t left;
    char hold[MODEL_MAX * 2 + TEXT_MAX]; /* fed, not yet consumed */
    size_t held;
    uint64_t now;
    uint64_t output, outcome; /* hashes */

    char *mem; /* of the opening, until it is done */
    size_t mem_len;
    int in_tls, opened, open, in_auth, proven, closes;
    unsigned hellos, auths, blocks;
    uint32_t mechanism;
    size_t write_max;
    char line[EHLO_AUTH_LINE_MAX + 2];
    size_t column;
} run;

static void hash(uint64_t *h, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++) *h = (*h ^ at[i]) * 1099511628211u;
}

/* -- what the client says --------------------------------------------------------------------------- */

static int holds_text(ehlo_str text, const char *what)
{
    size_t len = strlen(what);
    for (size_t i = 0; i + len <= text.len; i++) {
        if (memcmp(text.ptr + i, what, len) == 0) return 1;
    }
    return 0;
}

/* A response of SASL: nobody who listens may learn a secret from it. */
static void check_response(run *r, ehlo_str base64)
{
    static octets plain;
    if (base64.len == 1 && (base64.ptr[0] == '*' || base64.ptr[0] == '=')) return;
    CHECK(octets_decode(&plain, base64));
    ehlo_str text = octets_view(&plain);
    if (!r->in_tls && !r->who.clear) CHECK(!holds_text(text, password) && !holds_text(text, token));
    if (!(r->mechanism & MODEL_SCRAM) || text.len == 0) return;
    if (r->model.bare.len == 0) {
        scram_client_first(&r->model, text);
        octets_set(&r->nonce, scram_attribute(&r->model.bare, 'r'));
    } else {
        scram_client_final(&r->model, text);
        scram_compute(&r->model, &r->proof, &r->signature);
        CHECK(same_text(octets_view(&r->proof), octets_view(&r->model.proof)));
    }
}

static void check_auth(run *r, ehlo_str argument)
{
    ehlo_str name, response;
    CHECK(ehlo_auth_parse(argument, &name, &response, NULL) == EHLO_OK);
    r->mechanism = ehlo_sasl_find(name);
    CHECK(r->opening.credentials != NULL && r->mechanism != 0 && ++r->auths == 1);
    CHECK((r->in_tls && ehlo_tls_trusted(r->facts)) || r->who.clear || !ehlo_sasl_reveals(r->mechanism));
    if (r->who.mechanisms != 0) CHECK(r->who.mechanisms & r->mechanism);
    r->in_auth = 1;
    scram_model_init(&r->model, r->mechanism, r->who.password);
    if (response.len > 0) check_response(r, response);
}

static void check_command(run *r, ehlo_str line)
{
    ehlo_command_line command;
    CHECK(ehlo_command_parse(line, &command, NULL) == EHLO_OK);
    int is_hello = command.verb == EHLO_VERB_EHLO || command.verb == EHLO_VERB_HELO || command.verb == EHLO_VERB_LHLO;
    int is_allowed_in_clear = is_hello || command.verb == EHLO_VERB_STARTTLS || command.verb == EHLO_VERB_QUIT;
    if (r->policy == EHLO_TLS_WRAPPED) CHECK(r->in_tls);
    if (r->policy == EHLO_TLS_REQUIRED) CHECK(r->in_tls || is_allowed_in_clear);
    if (command.verb == EHLO_VERB_STARTTLS) CHECK(!r->in_tls && r->policy != EHLO_TLS_NONE);
    if (command.verb == EHLO_VERB_AUTH) {
        check_auth(r, command.argument);
    } else {
        CHECK(is_allowed_in_clear || r->open);
    }
    r->hellos += (unsigned)is_hello;
}

static void check_line(run *r)
{
    ehlo_str line = ehlo_str_make(r->line, r->column - 2);
    int is_by_us = line.len == 4 && (memcmp(line.ptr, "QUIT", 4) == 0 || memcmp(line.ptr, "NOOP", 4) == 0);
    r->column = 0;
    if (r->in_auth && !(r->opened && is_by_us)) {
        check_response(r, line);
    } else {
        check_command(r, line);
    }
}

static int on_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    run *r = user;
    (void)c;
    *taken = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < parts[i].len && *taken < r->write_max; k++, ++*taken) {
            CHECK(r->column < sizeof r->line);
            r->line[r->column++] = parts[i].ptr[k];
            hash(&r->output, &parts[i].ptr[k], 1);
            if (parts[i].ptr[k] != '\n') continue;
            CHECK(r->column >= 2 && r->line[r->column - 2] == '\r');
            check_line(r);
        }
    }
    return 0;
}

static void on_close(ehlo_client *c, int reason, void *user)
{
    run *r = user;
    (void)c;
    hash(&r->outcome, &reason, sizeof reason);
    r->closes++;
}

static void on_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *user)
{
    (void)c, (void)user;
    CHECK(!secret || bytes.ptr == NULL);
    if (direction == EHLO_TRACE_OUT && bytes.ptr != NULL)
        CHECK(!holds_text(bytes, password) && !holds_text(bytes, token));
}

/* -- what it comes to ------------------------------------------------------------------------------- */

static void check_open(const run *r, const ehlo_opened *opened)
{
    uint32_t m = opened->mechanism;
    CHECK(opened->outcome == EHLO_OUTCOME_NONE && opened->problem.len == 0);
    if (r->policy == EHLO_TLS_REQUIRED || r->policy == EHLO_TLS_WRAPPED) CHECK(r->in_tls);
    if (r->opening.credentials == NULL) CHECK(m == 0);
    if (r->opening.credentials != NULL) CHECK(m != 0 && (m & (m - 1)) == 0 && m == r->mechanism);
    if (m & MODEL_SCRAM) CHECK(r->proven);
    CHECK(r->hellos > 0);
}

static void check_not_open(const ehlo_opened *opened)
{
    unsigned class = opened->reply != NULL ? opened->reply->code / 100 : 0;
    CHECK(opened->stage == EHLO_STAGE_GREETING || opened->stage == EHLO_STAGE_HELLO ||
          opened->stage == EHLO_STAGE_STARTTLS || opened->stage == EHLO_STAGE_AUTH);
    CHECK((opened->outcome == EHLO_OUTCOME_REJECTED) == (class == 5));
    CHECK((opened->outcome == EHLO_OUTCOME_DEFERRED) == (class == 4));
    CHECK(class >= 4 || opened->outcome == EHLO_OUTCOME_NOT_SENT);
    CHECK(opened->problem.len > 0);
}

/* The memory is ours again, and nothing is left in it. */
static void on_opened(ehlo_client *c, const ehlo_opened *opened, void *user)
{
    run *r = user;
    CHECK(++r->opened == 1);
    check_wiped(r->mem, r->mem_len);
    free(r->mem);
    r->mem = NULL;
    hash(&r->outcome, &opened->stage, sizeof opened->stage);
    hash(&r->outcome, &opened->outcome, sizeof opened->outcome);
    hash(&r->outcome, opened->problem.ptr, opened->problem.len);
    r->open = opened->stage == EHLO_STAGE_NONE;
    if (r->open) {
        check_open(r, opened);
        CHECK(ehlo_client_command(c, EHLO_VERB_NOOP, ehlo_str_make(NULL, 0), NULL, NULL, NULL) == EHLO_OK);
        return;
    }
    check_not_open(opened);
    if (!r->says_quit) return;
    int result = ehlo_client_command(c, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL);
    CHECK(result == EHLO_OK || result == EHLO_ERR_STATE || result == EHLO_ERR_FULL);
}

/* -- what the server says --------------------------------------------------------------------------- */

static const octets *value_of(void *ctx, char name)
{
    run *r = ctx;
    if (name == 'n') return &r->nonce;
    if (name == 'v') return &r->signature;
    return NULL;
}

/* "@text" */
static void add_challenge(run *r, ehlo_str text)
{
    static octets plain;
    size_t len;
    if (text.len > 0 && text.ptr[text.len - 1] == '\n') text.len--;
    if (!expand(&plain, text, value_of, r)) plain.len = 0;
    if (plain.len > 2 && memcmp(plain.bytes, "r=", 2) == 0) octets_set(&r->model.server_first, octets_view(&plain));
    if (r->signature.len > 0 && plain.len >= r->signature.len + 2 && memcmp(plain.bytes, "v=", 2) == 0 &&
        memcmp(plain.bytes + 2, r->signature.bytes, r->signature.len) == 0)
        r->proven = 1;
    memcpy(r->hold + r->held, "334 ", 4);
    CHECK(ehlo_base64_encode(octets_view(&plain), r->hold + r->held + 4, MODEL_MAX, &len) == EHLO_OK);
    memcpy(r->hold + r->held + 4 + len, "\r\n", 2);
    r->held += len + 6;
}

static void hear_line(run *r)
{
    const uint8_t *end = memchr(r->server, '\n', r->left);
    size_t len = r->at_once || end == NULL ? r->left : (size_t)(end - r->server) + 1;
    if (r->server[0] == '@') {
        len = end == NULL ? r->left : (size_t)(end - r->server) + 1;
        add_challenge(r, ehlo_str_make((const char *)r->server + 1, len - 1));
    } else {
        memcpy(r->hold + r->held, r->server, len);
        r->held += len;
    }
    r->server += len;
    r->left -= len;
}

/* -- calls ------------------------------------------------------------------------------------------ */

static void moved(const run *r, int result)
{
    uint64_t deadline;
    unsigned wants = ehlo_client_status(r->client, &deadline);
    CHECK(result == EHLO_OK);
    if (wants & EHLO_WANT_CLOSE) CHECK(wants == EHLO_WANT_CLOSE && r->opened == 1);
    if (wants & EHLO_WANT_TLS) CHECK(!(wants & EHLO_WANT_READ) && !r->in_tls);
    if (!(wants & EHLO_WANT_CLOSE) && !r->opened) CHECK(deadline != UINT64_MAX);
}

/* Offers the first of what is held, flush against the end of its own block. */
static size_t offer(run *r, size_t len)
{
    size_t used = 0;
    ehlo_str block = copied(ehlo_str_make(r->hold, len));
    moved(r, ehlo_client_feed(r->client, r->now, block.ptr, len, &used));
    uncopied(block);
    CHECK(used <= len);
    memmove(r->hold, r->hold + used, r->held - used);
    r->held -= used;
    unsigned wants = ehlo_client_wants(r->client);
    if (used < len && (wants & EHLO_WANT_READ)) CHECK(len - used < ehlo_client_input_min(r->client));
    if (wants & EHLO_WANT_CLOSE) CHECK(used == len);
    return used;
}

static void feed(run *r)
{
    if (!r->by_octets) {
        offer(r, r->held);
        return;
    }
    for (size_t offered = 1; offered <= r->held; offered++) {
        offered -= offer(r, offered);
        if (!(ehlo_client_wants(r->client) & EHLO_WANT_READ)) return;
    }
}

static void handshake(run *r)
{
    if (r->fails_handshake) {
        CHECK(ehlo_client_lost(r->client) == EHLO_OK && ehlo_client_wants(r->client) == EHLO_WANT_CLOSE);
        return;
    }
    size_t held = r->held + (r->holds ? 3 : 0);
    r->in_tls = held == 0;
    r->column = 0;
    int result = ehlo_client_tls_started(r->client, r->now, held, r->facts);
    CHECK(result == EHLO_OK);
    if (held > 0) CHECK(ehlo_client_wants(r->client) == EHLO_WANT_CLOSE);
    r->held = 0;
}

/* Until it is over, or the server has nothing more to say. */
static void talk(run *r)
{
    for (unsigned steps = 0;; steps++) {
        unsigned wants = ehlo_client_wants(r->client);
        CHECK(steps < STEPS_MAX);
        if (wants & EHLO_WANT_CLOSE) return;
        if (wants & EHLO_WANT_WRITE) {
            moved(r, ehlo_client_flush(r->client, r->now));
        } else if (wants & EHLO_WANT_TLS) {
            handshake(r);
        } else {
            CHECK(wants & EHLO_WANT_READ);
            if (r->left == 0) return;
            hear_line(r);
            feed(r);
        }
    }
}

static void end(run *r)
{
    unsigned ticks = 0;
    if (r->loses) CHECK(ehlo_client_lost(r->client) == EHLO_OK);
    if (!r->silent && !r->loses) moved(r, ehlo_client_eof(r->client, r->now));
    while (!(ehlo_client_wants(r->client) & EHLO_WANT_CLOSE)) {
        uint64_t deadline = ehlo_client_deadline(r->client);
        CHECK(++ticks < TICKS_MAX);
        if (deadline == UINT64_MAX) break; /* it is open, and nothing is under way */
        r->now = deadline;
        moved(r, ehlo_client_tick(r->client, r->now));
    }
    CHECK(ehlo_client_close(r->client) == EHLO_OK);
    CHECK(r->closes == 1 && r->blocks == 0);
}

/* -- a run ------------------------------------------------------------------------------------------ */

static void *lend(size_t len, void *ctx)
{
    run *r = ctx;
    r->blocks++;
    return malloc(len);
}

static void give(void *mem, size_t len, void *ctx)
{
    run *r = ctx;
    for (size_t i = 0; !r->who.clear && !r->in_tls && i < len; i++) {
        CHECK(len - i < sizeof password || memcmp((char *)mem + i, password, sizeof password - 1) != 0);
    }
    r->blocks--;
    free(mem);
}

static void policy_of(run *r, char letter)
{
    static const char letters[] = "dnorw";
    const char *at = letter != '\0' ? strchr(letters, letter) : NULL;
    if (at != NULL) r->opening.tls = (uint8_t)(at - letters);
}

static void switch_of(run *r, char letter)
{
    static char long_name[9000];
    policy_of(r, letter);
    if (model_facts(&r->tls, letter)) r->facts = &r->tls;
    if (letter >= 'A' && letter <= 'K') r->who.mechanisms |= 1u << (letter - 'A');
    if (letter >= '1' && letter <= '9') r->write_max = (size_t)(letter - '0');
    if (letter == 'c') r->opening.credentials = &r->who;
    if (letter == 'v') r->who.clear = 1;
    if (letter == 'l') r->config.flags |= EHLO_CLIENT_LMTP;
    if (letter == 'p') r->config.flags |= EHLO_CLIENT_NO_PIPELINING;
    if (letter == 'b') r->config.lender = (ehlo_lender){ lend, give, r };
    if (letter == 'f') r->fails_handshake = 1;
    if (letter == 'h') r->holds = 1;
    if (letter == 'a') r->at_once = 1;
    if (letter == 'i') r->silent = 1;
    if (letter == '0') r->loses = 1;
    if (letter == 'q') r->says_quit = 1;
    if (letter == 'W') r->forgets_wrapping = 1;
    if (letter == 'y') r->crypto.fail_at = 2;
    if (letter == 'g' || letter == 'k') {
        memset(long_name, 'u', sizeof long_name);
        r->who.user = ehlo_str_make(long_name, letter == 'g' ? 400 : sizeof long_name);
    }
}

static void configure(run *r, ehlo_str head)
{
    r->write_max = SIZE_MAX;
    r->now = 1;
    r->config.name = ehlo_str_from("c.example");
    fake_crypto_init(&r->crypto, 1);
    r->crypto.iterations_min = 4096;
    r->crypto.iterations_max = 100000;
    r->who.user = ehlo_str_from("user");
    r->who.password = ehlo_str_from(password);
    r->who.token = ehlo_str_from(token);
    r->who.crypto = &r->crypto.table;
    for (size_t i = 0; i < head.len; i++) switch_of(r, head.ptr[i]);
    r->policy = (ehlo_tls_policy)r->opening.tls;
    if (r->policy == EHLO_TLS_DEFAULT)
        r->policy = r->opening.credentials != NULL ? EHLO_TLS_REQUIRED : EHLO_TLS_OPPORTUNISTIC;
}

/* 1 if it has begun. */
static int begin(run *r)
{
    int is_wrapped = r->policy == EHLO_TLS_WRAPPED && !r->forgets_wrapping;
    r->mem_len = ehlo_opening_size(&r->opening);
    r->mem = malloc(r->mem_len > 0 ? r->mem_len : 1);
    CHECK(r->mem_len > 0 && r->mem != NULL);
    memset(r->mem, MODEL_FILL, r->mem_len);
    if (is_wrapped) CHECK(ehlo_client_tls_started(r->client, r->now, 0, r->facts) == EHLO_OK);
    r->in_tls = is_wrapped;
    CHECK(ehlo_opening_start(r->mem, r->mem_len - 1, r->client, r->now, &r->opening, on_opened, r) == EHLO_ERR_SPACE);
    int result = ehlo_opening_start(r->mem, r->mem_len, r->client, r->now, &r->opening, on_opened, r);
    if (r->policy == EHLO_TLS_WRAPPED && !is_wrapped) {
        CHECK(result == EHLO_ERR_STATE && !r->opened);
        return 0;
    }
    moved(r, result);
    return 1;
}

static void do_run(run *r, int by_octets, const uint8_t *data, size_t size)
{
    static const ehlo_client_callbacks callbacks = { on_write, NULL, on_close, on_trace };
    records rest;
    memset(r, 0, sizeof *r);
    configure(r, records_head(&rest, data, size));
    r->by_octets = by_octets;
    r->server = rest.at;
    r->left = rest.at != NULL ? rest.len : 0;
    size_t len = ehlo_client_size(&r->config);
    void *mem = malloc(len);
    CHECK(len > 0 && ehlo_client_init(&r->client, mem, len, &r->config, &callbacks, r) == EHLO_OK);
    if (begin(r)) {
        talk(r);
        end(r);
        CHECK(r->opened == 1);
    } else {
        CHECK(ehlo_client_close(r->client) == EHLO_OK && r->opened == 0);
    }
    free(r->mem);
    free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static run whole, cut;
    if (size > TEXT_MAX) return 0;
    do_run(&whole, 0, data, size);
    do_run(&cut, 1, data, size);
    if (whole.at_once) return 0;
    CHECK(whole.outcome == cut.outcome);
    CHECK(whole.output == cut.output);
    return 0;
}

#include "service.h"

#include <string.h>

#include "chars.h"
#include "datetime.h"
#include "scram.h"

/* Builds the text of a service; with text NULL it only counts. */
typedef struct builder {
    ehlo_service *service;
    char *text;
    size_t len;
    size_t line; /* where the open line starts */
    int bad;     /* something may not be sent */
} builder;

static void put(builder *b, ehlo_str s)
{
    size_t i;
    for (i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c > 0x7E) b->bad = 1; /* RFC 5321 4.2: textstring, but HT */
    }
    if (b->text != NULL && s.len > 0) memcpy(b->text + b->len, s.ptr, s.len);
    b->len += s.len;
}

static void put_number(builder *b, uint64_t n)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    put(b, ehlo_str_make(digits + at, sizeof digits - at));
}

/* Copies s, and returns where it is from then on. */
static ehlo_str keep(builder *b, ehlo_str s)
{
    ehlo_str kept = ehlo_str_make(b->text == NULL ? NULL : b->text + b->len, s.len);
    put(b, s);
    return kept;
}

static void end_line(builder *b, uint32_t extension)
{
    ehlo_service *v = b->service;
    size_t len = b->len - b->line;
    if (v->keyword_count == EHLO_KEYWORDS_MAX || len == 0 || len > 512 - 6) { /* RFC 5321 4.5.3.1.5 */
        b->bad = 1;
        return;
    }
    v->keywords[v->keyword_count].offset = (uint32_t)b->line;
    v->keywords[v->keyword_count].len = (uint16_t)len;
    v->keywords[v->keyword_count].extension = extension;
    v->keyword_count++;
    b->line = b->len;
}

/* One SP between words, and none elsewhere. */
static int well_spaced(ehlo_str words)
{
    for (size_t i = 0; i < words.len; i++) {
        int edge = i == 0 || i + 1 == words.len || words.ptr[i - 1] == ' ';
        if (words.ptr[i] == ' ' && edge) return 0;
    }
    return 1;
}

/* One EHLO line: ehlo-keyword *( SP ehlo-param ), RFC 5321 4.1.1.1. */
static void put_keyword(builder *b, uint32_t extension, const char *keyword, ehlo_str argument)
{
    if (!(b->service->offer.extensions & extension)) return;
    put(b, ehlo_str_from(keyword));
    if (!well_spaced(argument)) b->bad = 1;
    if (argument.len > 0) {
        put(b, ehlo_str_make(" ", 1));
        put(b, argument);
    }
    end_line(b, extension);
}

static void put_size(builder *b)
{
    uint64_t max = b->service->config.max_size;
    if (!(b->service->offer.extensions & EHLO_CAP_SIZE)) return;
    put(b, ehlo_str_from("SIZE "));
    put_number(b, max == EHLO_UNLIMITED ? 0 : max); /* RFC 1870 4: 0 is no fixed maximum */
    end_line(b, EHLO_CAP_SIZE);
}

/* RFC 9422: names and values must be those that are enforced. */
static void put_limits(builder *b)
{
    const ehlo_service_config *c = &b->service->config;
    if (!(b->service->offer.extensions & EHLO_CAP_LIMITS)) return;
    put(b, ehlo_str_from("LIMITS"));
    if (c->max_messages != 0) {
        put(b, ehlo_str_from(" MAILMAX="));
        put_number(b, c->max_messages);
    }
    put(b, ehlo_str_from(" RCPTMAX="));
    put_number(b, c->max_recipients);
    if (c->max_rcpt_domains != 0) {
        put(b, ehlo_str_from(" RCPTDOMAINMAX="));
        put_number(b, c->max_rcpt_domains);
    }
    end_line(b, EHLO_CAP_LIMITS);
}

static void put_futurerelease(builder *b)
{
    if (!(b->service->offer.extensions & EHLO_CAP_FUTURERELEASE)) return;
    if (!ehlo_datetime_valid(b->service->config.hold_until, 1)) b->bad = 1;
    put(b, ehlo_str_from("FUTURERELEASE ")); /* RFC 4865 3 */
    put_number(b, b->service->config.hold_max);
    put(b, ehlo_str_make(" ", 1));
    put(b, b->service->config.hold_until);
    end_line(b, EHLO_CAP_FUTURERELEASE);
}

static void put_keywords(builder *b)
{
    const ehlo_service_config *c = &b->service->config;
    const ehlo_str none = { NULL, 0 };
    b->line = b->len;
    put_keyword(b, EHLO_CAP_PIPELINING, "PIPELINING", none);
    put_size(b);
    put_keyword(b, EHLO_CAP_STARTTLS, "STARTTLS", none);
    put_keyword(b, EHLO_CAP_AUTH, "AUTH", c->auth_mechanisms);
    put_keyword(b, EHLO_CAP_8BITMIME, "8BITMIME", none);
    put_keyword(b, EHLO_CAP_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES", none);
    put_keyword(b, EHLO_CAP_CHUNKING, "CHUNKING", none);
    put_keyword(b, EHLO_CAP_BINARYMIME, "BINARYMIME", none);
    put_keyword(b, EHLO_CAP_SMTPUTF8, "SMTPUTF8", none);
    put_keyword(b, EHLO_CAP_DSN, "DSN", none);
    put_keyword(b, EHLO_CAP_REQUIRETLS, "REQUIRETLS", none);
    put_keyword(b, EHLO_CAP_DELIVERBY, "DELIVERBY", c->deliverby);
    put_keyword(b, EHLO_CAP_MT_PRIORITY, "MT-PRIORITY", c->mt_priority);
    put_futurerelease(b);
    put_limits(b);
    put_keyword(b, EHLO_CAP_RRVS, "RRVS", none);
    put_keyword(b, EHLO_CAP_ETRN, "ETRN", none);
    put_keyword(b, EHLO_CAP_EXPN, "EXPN", none);
    put_keyword(b, EHLO_CAP_VERB, "VERB", none);
    put_keyword(b, EHLO_CAP_XCLIENT, "XCLIENT", c->xclient);
    put_keyword(b, EHLO_CAP_HELP, "HELP", none);
}

/* RFC 5321 4.1.1.1: ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-"), then SP or the end. */
static int begins_with_keyword(ehlo_str line)
{
    size_t i = 0;
    while (i < line.len && ehlo_char_is(line.ptr[i], EHLO_CHAR_LDH)) i++;
    return i > 0 && line.ptr[0] != '-' && (i == line.len || line.ptr[i] == ' ');
}

/* The application's own lines, '\n' between. */
static void put_own_keywords(builder *b, ehlo_str lines)
{
    size_t at = 0;
    while (at < lines.len) {
        const char *nl = memchr(lines.ptr + at, '\n', lines.len - at);
        size_t len = nl == NULL ? lines.len - at : (size_t)(nl - lines.ptr) - at;
        ehlo_str line = ehlo_str_make(lines.ptr + at, len);
        if (!begins_with_keyword(line) || !well_spaced(line)) b->bad = 1;
        put(b, line);
        end_line(b, 0);
        at += len + 1;
    }
}

static uint32_t or_default(uint32_t value, uint32_t instead)
{
    return value != 0 ? value : instead;
}

static void normalise_limits(ehlo_service_config *c)
{
    uint64_t twice;
    if (c->max_size == 0) c->max_size = 52428800;
    twice = c->max_size > UINT64_MAX / 2 ? UINT64_MAX : c->max_size * 2;
    if (c->drain_max == 0) c->drain_max = twice > 16777216 ? twice : 16777216;
    c->line_max = or_default(c->line_max, 2048);
    c->line_drain_max = or_default(c->line_drain_max, c->line_max > 1048576 ? c->line_max : 1048576);
    c->auth_line_max = or_default(c->auth_line_max, 12288); /* RFC 4954 4 */
    c->max_recipients = or_default(c->max_recipients, 1000);
    c->max_bad = or_default(c->max_bad, 20);
    c->max_idle_commands = or_default(c->max_idle_commands, 1000);
    c->tiny_chunk = or_default(c->tiny_chunk, 16);
    c->max_auth_failures = or_default(c->max_auth_failures, 10);
    c->hold_max = or_default(c->hold_max, 604800);
    c->out_max = or_default(c->out_max, 1536);
}

static void normalise_times(ehlo_service_config *c)
{
    c->command_ms = or_default(c->command_ms, 300000);
    c->data_ms = or_default(c->data_ms, 300000);
    c->answer_ms = or_default(c->answer_ms, 600000);
    c->write_ms = or_default(c->write_ms, 300000);
    c->tls_ms = or_default(c->tls_ms, 60000);
    c->close_ms = or_default(c->close_ms, 10000);
    c->data_rate = or_default(c->data_rate, 500);
    c->data_rate_grace_ms = or_default(c->data_rate_grace_ms, 60000);
}

static void normalise_texts(ehlo_service_config *c)
{
    if (c->greeting.len == 0) c->greeting = ehlo_str_from(c->flags & EHLO_SERVICE_LMTP ? "LMTP" : "ESMTP");
    if (c->hold_until.len == 0) c->hold_until = ehlo_str_from("9999-12-31T23:59:59Z");
    if (c->xclient.len == 0) c->xclient = ehlo_str_from("NAME ADDR PORT PROTO HELO LOGIN");
    if (c->extensions == 0 && !(c->flags & EHLO_SERVICE_NO_EXTENSIONS)) {
        c->extensions = EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_PIPELINING | EHLO_CAP_CHUNKING |
                        EHLO_CAP_BINARYMIME | EHLO_CAP_ENHANCEDSTATUSCODES | EHLO_CAP_SMTPUTF8 | EHLO_CAP_HELP;
    }
    /* RFC 2033 5: an LMTP server offers both. */
    if (c->flags & EHLO_SERVICE_LMTP) c->extensions |= EHLO_CAP_PIPELINING | EHLO_CAP_ENHANCEDSTATUSCODES;
    if (c->flags & EHLO_SERVICE_SUBMISSION) c->flags |= EHLO_SERVICE_REQUIRE_AUTH; /* RFC 6409 4.3 */
}

/* The minimum by-time announced (RFC 2852 3): 1*9DIGIT or empty. */
static int read_deliverby(ehlo_str text, uint64_t *minimum)
{
    size_t i;
    *minimum = 0;
    for (i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || i >= 9) return EHLO_ERR_ARG;
        *minimum = *minimum * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return EHLO_OK;
}

/* RFC 5321 4.5.3.1.4: each extension that adds parameters to MAIL or RCPT makes them so much longer. */
static size_t param_line_max(uint32_t extensions)
{
    static const struct {
        uint32_t extension;
        uint16_t mail, rcpt;
    } longer[] = {
        { EHLO_CAP_SIZE, 26, 0 },        { EHLO_CAP_8BITMIME, 17, 0 },      { EHLO_CAP_SMTPUTF8, 10, 0 },
        { EHLO_CAP_DSN, 116, 528 },      { EHLO_CAP_AUTH, 500, 0 },         { EHLO_CAP_DELIVERBY, 17, 0 },
        { EHLO_CAP_MT_PRIORITY, 15, 0 }, { EHLO_CAP_FUTURERELEASE, 34, 0 }, { EHLO_CAP_REQUIRETLS, 11, 0 },
        { EHLO_CAP_RRVS, 0, 36 },
    };
    size_t mail = 512, rcpt = 512, i;
    for (i = 0; i < sizeof longer / sizeof longer[0]; i++) {
        if (!(extensions & longer[i].extension)) continue;
        mail += longer[i].mail;
        rcpt += longer[i].rcpt;
    }
    return mail > rcpt ? mail : rcpt;
}

static int contradicts(const ehlo_service_config *c)
{
    uint32_t e = c->extensions;
    if ((e & EHLO_CAP_BINARYMIME) && !(e & EHLO_CAP_CHUNKING)) return 1; /* RFC 3030 3 */
    if ((e & EHLO_CAP_SMTPUTF8) && !(e & EHLO_CAP_8BITMIME)) return 1;   /* RFC 6531 3.1 */
    if ((e & EHLO_CAP_AUTH) && c->auth_mechanisms.len == 0) return 1;
    if ((c->flags & EHLO_SERVICE_SUBMISSION) && !(e & EHLO_CAP_AUTH)) return 1;
    if ((c->flags & EHLO_SERVICE_REQUIRE_TLS) && !(e & EHLO_CAP_STARTTLS)) return 1;
    return c->line_max < 512 || (c->line_max > c->line_drain_max); /* RFC 5321 4.5.3.1.4 */
}

/* Copies a caller's struct of another version: what it lacks is zero; what we lack must be. */
static int import(void *to, size_t to_size, const void *from, size_t from_size)
{
    size_t i;
    memset(to, 0, to_size);
    memcpy(to, from, from_size < to_size ? from_size : to_size);
    for (i = to_size; i < from_size; i++) {
        if (((const unsigned char *)from)[i] != 0) return EHLO_ERR_ARG;
    }
    return EHLO_OK;
}

/* The grammar's leniencies: a space behind the colon is everywhere, so it is on unless refused. */
static void set_param_rules(ehlo_service *v)
{
    unsigned leniencies = v->config.leniencies & ~(unsigned)EHLO_SYNTAX_UTF8;
    if (!(v->config.flags & EHLO_SERVICE_STRICT_COLON)) leniencies |= EHLO_SYNTAX_COLON_SPACE;
    v->param_rules.leniencies = leniencies;
    v->param_rules.path_max = v->config.path_max;
}

/* The largest reply decides how large the output block is: one may be held while another waits. */
static void set_sizes(ehlo_service *v, size_t text_len)
{
    size_t hello = text_len + 6 * ((size_t)v->keyword_count + 1) + 1 + EHLO_GREETS_MAX;
    size_t least = hello > 512 ? hello : 512;
    size_t auth = v->config.extensions & EHLO_CAP_AUTH ? v->config.auth_line_max : 0;
    size_t line = v->config.line_max > v->param_line_max ? v->config.line_max : v->param_line_max;
    v->out_max = v->config.out_max > 2 * least ? v->config.out_max : 2 * least;
    v->reply_max = v->out_max / 2;
    v->input_min = line > auth ? line : auth;
}

static int check(const ehlo_service_config *given, size_t given_size, ehlo_service *v)
{
    int err = import(&v->config, sizeof v->config, given, given_size);
    ehlo_service_config *c = &v->config;
    if (err != EHLO_OK) return err;
    normalise_limits(c);
    normalise_times(c);
    normalise_texts(c);
    if (contradicts(c) || read_deliverby(c->deliverby, &v->deliverby_min) != EHLO_OK) return EHLO_ERR_ARG;
    if (ehlo_domain_parse(c->hostname, EHLO_SYNTAX_UNDERSCORE, NULL, NULL, NULL) != EHLO_OK) return EHLO_ERR_ARG;
    if (c->bare_cr > EHLO_BARE_PASS || c->bare_lf > EHLO_BARE_PASS) return EHLO_ERR_ARG;
    return ehlo_codec_init(&v->codec, (ehlo_bare_policy)c->bare_cr, (ehlo_bare_policy)c->bare_lf, c->text_line_max);
}

/* Fills *v but for its text, which goes to text if that is not NULL; *len is its length. */
static int build(const ehlo_service_config *given, size_t given_size, ehlo_service *v, char *text, size_t *len)
{
    builder b;
    int err;
    memset(v, 0, sizeof *v);
    err = check(given, given_size, v);
    if (err != EHLO_OK) return err;
    b.service = v;
    b.text = text;
    b.len = 0;
    b.bad = 0;
    v->offer.extensions = v->config.extensions;
    v->offer.flags = v->config.flags;
    v->param_line_max = param_line_max(v->config.extensions);
    put_keywords(&b);
    put_own_keywords(&b, v->config.keywords);
    set_sizes(v, b.len + v->config.hostname.len);
    v->config.hostname = keep(&b, v->config.hostname);
    v->config.greeting = keep(&b, v->config.greeting);
    v->config.auth_mechanisms = keep(&b, v->config.auth_mechanisms);
    v->config.hold_until = keep(&b, v->config.hold_until);
    v->config.keywords = v->config.deliverby = v->config.mt_priority = v->config.xclient = ehlo_str_make(NULL, 0);
    set_param_rules(v);
    *len = b.len;
    return b.bad || v->config.hostname.len + v->config.greeting.len > 500 ? EHLO_ERR_ARG : EHLO_OK;
}

size_t ehlo_service_size_sized(const ehlo_service_config *cfg, size_t cfg_size)
{
    ehlo_service probe;
    size_t len;
    if (cfg == NULL || build(cfg, cfg_size, &probe, NULL, &len) != EHLO_OK) return 0;
    return sizeof(ehlo_service) + len;
}

int ehlo_service_init_sized(ehlo_service **service, void *mem, size_t len, const ehlo_service_config *cfg,
                            size_t cfg_size, const ehlo_server_callbacks *callbacks, size_t callbacks_size)
{
    ehlo_service *v = (ehlo_service *)mem;
    ehlo_service probe;
    size_t text;
    int err;
    if (service == NULL || mem == NULL || cfg == NULL || callbacks == NULL) return EHLO_ERR_ARG;
    err = build(cfg, cfg_size, &probe, NULL, &text);
    if (err != EHLO_OK) return err;
    if (len < sizeof *v + text) return EHLO_ERR_SPACE;
    err = build(cfg, cfg_size, v, v->text, &text);
    if (err == EHLO_OK) err = import(&v->callbacks, sizeof v->callbacks, callbacks, callbacks_size);
    if (err != EHLO_OK || v->callbacks.write == NULL) return EHLO_ERR_ARG;
    if (v->config.lender.lend != NULL && v->config.lender.give == NULL) return EHLO_ERR_ARG;
    *service = v;
    return EHLO_OK;
}

size_t ehlo_service_input_min(const ehlo_service *service)
{
    return service->input_min;
}

ehlo_str ehlo_service_hostname(const ehlo_service *service)
{
    return service->config.hostname;
}

size_t ehlo_service_reply_max(const ehlo_service *service)
{
    return service->reply_max;
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

/* RFC 5801 3.3: the -PLUS form of a mechanism binds the channel, whoever has made it. */
static int is_plus(ehlo_str mechanism)
{
    static const ehlo_str plus = EHLO_LITERAL("-PLUS");
    return mechanism.len > plus.len &&
           ehlo_chars_equal_nocase(ehlo_str_make(mechanism.ptr + mechanism.len - plus.len, plus.len), plus);
}

static int can_work(ehlo_str mechanism, const ehlo_tls_facts *facts)
{
    return ehlo_sasl_fits_tls(is_plus(mechanism) ? EHLO_SASL_SCRAM_PLUS : ehlo_sasl_find(mechanism), facts);
}

int ehlo_service_next_mechanism(ehlo_str *rest, const ehlo_tls_facts *facts, ehlo_str *mechanism)
{
    do {
        const char *sp;
        if (rest->len == 0) return 0;
        sp = memchr(rest->ptr, ' ', rest->len);
        *mechanism = ehlo_str_make(rest->ptr, sp == NULL ? rest->len : (size_t)(sp - rest->ptr));
        rest->ptr += mechanism->len + (sp != NULL);
        rest->len -= mechanism->len + (sp != NULL);
    } while (!can_work(*mechanism, facts));
    return 1;
}

int ehlo_service_has_mechanism(const ehlo_service *service, const ehlo_tls_facts *facts, ehlo_str mechanism)
{
    ehlo_str rest = service->config.auth_mechanisms, offered;
    while (ehlo_service_next_mechanism(&rest, facts, &offered)) {
        if (ehlo_chars_equal_nocase(offered, mechanism)) return 1;
    }
    return 0;
}

/* -- the hello reply -------------------------------------------------------------------------------- */

static char *copy(char *to, ehlo_str s)
{
    if (s.len > 0) memcpy(to, s.ptr, s.len);
    return to + s.len;
}

/* RFC 4954 3: "AUTH" and the mechanisms; no line if there are none. */
static char *copy_auth(char *to, const ehlo_service *service, const ehlo_tls_facts *facts)
{
    const ehlo_str keyword = EHLO_LITERAL("250-AUTH"), space = EHLO_LITERAL(" "), crlf = EHLO_LITERAL("\r\n");
    ehlo_str rest = service->config.auth_mechanisms, mechanism;
    char *at = copy(to, keyword);
    int any = 0;
    for (; ehlo_service_next_mechanism(&rest, facts, &mechanism); any = 1) at = copy(copy(at, space), mechanism);
    return any ? copy(at, crlf) : to;
}

/* ehlo-ok-rsp, RFC 5321 4.1.1.1: each line is "250-" but the last, which is "250 ". */
int ehlo_service_hello(const ehlo_service *service, uint32_t offered, const ehlo_tls_facts *facts, int lines,
                       ehlo_str greets, char *out, size_t *len)
{
    const ehlo_str dash = EHLO_LITERAL("250-"), space = EHLO_LITERAL(" "), crlf = EHLO_LITERAL("\r\n");
    char *last = out, *to;
    uint32_t i;
    if (greets.len > EHLO_GREETS_MAX) return EHLO_ERR_ARG;
    to = copy(copy(out, dash), service->config.hostname);
    if (greets.len > 0) to = copy(copy(to, space), greets);
    to = copy(to, crlf);
    for (i = 0; lines && i < service->keyword_count; i++) {
        const ehlo_keyword *k = &service->keywords[i];
        char *line = to;
        if (k->extension != 0 && !(offered & k->extension)) continue;
        if (k->extension == EHLO_CAP_AUTH)
            to = copy_auth(line, service, facts);
        else
            to = copy(copy(copy(line, dash), ehlo_str_make(service->text + k->offset, k->len)), crlf);
        if (to > line) last = line;
    }
    last[3] = ' ';
    *len = (size_t)(to - out);
    return EHLO_OK;
}

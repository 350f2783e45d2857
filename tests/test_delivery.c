/* One attempt at a batch (relay.h), as scripts: what the delivery asks for, and what it is told. */
#include "table.h"

#include <ehlo/net.h>

#include "delivery_world.h"
#include "seed.h"

/* -- scripts ---------------------------------------------------------------------------------------- */

enum { LINES_MAX = 60, WORDS_MAX = 40, ADDRESSES_MAX = 16 };

/* The lines before the first '>' are settings:
 *     to NAME [NOTIFY,...]    a recipient NAME@example.org; without any there is one, "a"
 *     from MAILBOX | -        the reverse-path; "-" is the null one
 *     destination NAME, age SECONDS, attempt N, warned, requiretls       of the batch
 *     own-name, own-address, loopback, mx-port N, addresses-max N, uncertain retry|fail|trust       of the policy
 *     smart NAME PORT ADDRESS...    a smart host
 * What it must ask for ("*" is any name):
 *     > mx NAME               > connect ADDRESS:PORT NAME [smart] [tls]       > record
 *     > addresses NAME        > send N
 * What it is told:
 *     < mx PREFERENCE NAME... | nodata | nxdomain | servfail | nobody
 *     < addresses ADDRESS... | nodata | nxdomain | failed
 *     < open [HOST]           the session that was asked for, or one that was open still
 *     < failed STAGE OUTCOME [CODE [x.y.z TEXT...]]
 *     < rcpt NAME OUTCOME STAGE [CODE [x.y.z TEXT...]]
 *     < sent [dsn]
 *     < stop
 *     < conclude [SECONDS]    that many after the attempt began
 *     < again                 the next attempt, with those that are still queued
 * What it came to:
 *     = NAME STATE ACTION [CODE [x.y.z]]
 *     = text NAME TEXT...     = host NAME [HOST]     = stage NAME STAGE       = uncertain NAME
 *     = reason NAME           it has a text        = outcome NAME OUTCOME
 *     = next never | FROM TO  seconds from the conclusion
 *     = attempt N             = warned N             = reports ACTION... */
typedef struct script {
    const char *name;
    const char *lines[LINES_MAX];
} script;

static world w;
static max_align_t memory[(1 << 16) / sizeof(max_align_t)];
static ehlo_address smart_addresses[WORLD_HOSTS][ADDRESSES_MAX];
static ehlo_progress progress;
static int is_begun, is_concluded;
static const script *running;
static size_t line_number;

/* One line, cut into words. */
static struct {
    ehlo_str all;
    ehlo_str words[WORDS_MAX];
    size_t n;
} line;

static void wrong(const char *what)
{
    fail_msg("%s: line %zu, \"%s\": %s", running->name, line_number + 1, running->lines[line_number], what);
}

static void cut(const char *text)
{
    line.all = ehlo_str_from(text);
    line.n = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (line.n == WORDS_MAX) wrong("too many words");
        line.words[line.n++] = ehlo_str_make(text, len);
        text += len + (text[len] == ' ');
    }
}

static ehlo_str word(size_t i)
{
    return i < line.n ? line.words[i] : ehlo_str_make(NULL, 0);
}

static int is_word(size_t i, const char *text)
{
    return i < line.n && same_text(line.words[i], ehlo_str_from(text));
}

/* From word i to the end of the line. */
static ehlo_str words_from(size_t i)
{
    if (i >= line.n) return ehlo_str_make(NULL, 0);
    return ehlo_str_make(line.words[i].ptr, (size_t)(line.all.ptr + line.all.len - line.words[i].ptr));
}

static unsigned long number(size_t i)
{
    char *end;
    if (i >= line.n) wrong("a number is missing");
    unsigned long n = strtoul(line.words[i].ptr, &end, 10);
    if (end != line.words[i].ptr + line.words[i].len) wrong("no number");
    return n;
}

static int name_index(size_t i, ehlo_str (*name)(unsigned index), unsigned count)
{
    for (unsigned k = 0; k < count; k++) {
        if (i < line.n && same_text(line.words[i], name(k))) return (int)k;
    }
    wrong("no such name");
    return 0;
}

static ehlo_str outcome_name(unsigned i)
{
    return ehlo_outcome_name((ehlo_outcome)i);
}

static ehlo_str stage_name(unsigned i)
{
    return ehlo_stage_name((ehlo_stage)i);
}

static ehlo_str state_name(unsigned i)
{
    return ehlo_state_name((ehlo_state)i);
}

static ehlo_str action_name(unsigned i)
{
    return i == 0 ? ehlo_str_from("none") : ehlo_action_name((ehlo_action)i);
}

static ehlo_address address_of(ehlo_str text)
{
    ehlo_address address;
    char with_port[80];
    int is_ipv6 = memchr(text.ptr, '[', text.len) == NULL && memchr(text.ptr, ':', text.len) != NULL;
    snprintf(with_port, sizeof with_port, is_ipv6 ? "[%.*s]:0" : "%.*s:0", (int)text.len, text.ptr);
    if (ehlo_address_parse(ehlo_str_from(with_port), &address) != EHLO_OK) wrong("no address");
    return address;
}

/* "CODE x.y.z TEXT" as a reply that was received has it; of our own where the code is 0. */
static ehlo_reply reply_from(size_t i)
{
    ehlo_reply reply = { .code = 0 };
    size_t used;
    if (i >= line.n) return reply;
    reply.code = (uint16_t)number(i);
    ehlo_str enhanced = word(i + 1);
    unsigned class = reply.code != 0 ? reply.code / 100u : enhanced.len > 0 ? (unsigned)(enhanced.ptr[0] - '0') : 0;
    if (enhanced.len > 0 && ehlo_enhanced_parse(enhanced, class, reply.enhanced, &used) != EHLO_OK)
        wrong("no enhanced code");
    reply.text = reply.code != 0 ? words_from(i) : words_from(i + 2);
    return reply;
}

/* -- settings --------------------------------------------------------------------------------------- */

static unsigned notify_from(ehlo_str text)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = { { "never", EHLO_NOTIFY_NEVER },
                  { "success", EHLO_NOTIFY_SUCCESS },
                  { "failure", EHLO_NOTIFY_FAILURE },
                  { "delay", EHLO_NOTIFY_DELAY } };
    unsigned notify = 0;
    for (size_t at = 0; at < text.len;) {
        size_t len = 0;
        while (at + len < text.len && text.ptr[at + len] != ',') len++;
        for (size_t i = 0; i < COUNT(names); i++) {
            if (same_text(ehlo_str_make(text.ptr + at, len), ehlo_str_from(names[i].name))) notify |= names[i].bit;
        }
        at += len + 1;
    }
    return notify;
}

static void add_recipient(ehlo_str name, unsigned notify)
{
    if (w.total == WORLD_RCPTS) wrong("too many recipients");
    ehlo_batch_rcpt *r = &w.rcpts[w.total];
    r->rcpt.to = name;
    r->rcpt.notify = (uint8_t)notify;
    r->number = (uint32_t)w.total;
    w.facts[w.total].to = name;
    w.facts[w.total++].notify = notify;
    w.batch.nrcpts = w.total;
}

static void add_smart_host(void)
{
    size_t i = w.policy.nsmart_hosts++;
    if (i == WORLD_HOSTS || line.n > 3 + ADDRESSES_MAX) wrong("too many smart hosts or addresses");
    w.policy.smart_hosts = w.smart_hosts;
    w.smart_hosts[i] = (ehlo_host){
        .name = word(1), .port = (uint16_t)number(2), .addresses = smart_addresses[i], .naddresses = line.n - 3
    };
    for (size_t k = 3; k < line.n; k++) smart_addresses[i][k - 3] = address_of(word(k));
}

static int set_batch(void)
{
    if (is_word(0, "to")) {
        add_recipient(word(1), notify_from(word(2)));
    } else if (is_word(0, "from")) {
        w.batch.envelope.from = is_word(1, "-") ? ehlo_str_make(NULL, 0) : word(1);
    } else if (is_word(0, "destination")) {
        w.batch.destination = word(1);
    } else if (is_word(0, "age")) {
        w.batch.arrived = w.now - (int64_t)number(1) * 1000;
    } else if (is_word(0, "attempt")) {
        w.batch.attempt = (uint32_t)number(1);
    } else if (is_word(0, "warned")) {
        w.batch.warned = 1;
    } else if (is_word(0, "requiretls")) {
        w.batch.envelope.flags |= EHLO_SEND_REQUIRETLS;
    } else {
        return 0;
    }
    return 1;
}

static int set_policy(void)
{
    if (is_word(0, "own-name")) {
        w.own_name = word(1);
        w.policy.nown_names = 1;
    } else if (is_word(0, "own-address")) {
        w.own_address = address_of(word(1));
        w.policy.nown_addresses = 1;
    } else if (is_word(0, "loopback")) {
        w.policy.allow_loopback = 1;
    } else if (is_word(0, "mx-port")) {
        w.policy.mx_port = (uint16_t)number(1);
    } else if (is_word(0, "addresses-max")) {
        w.policy.addresses_max = (uint32_t)number(1);
    } else if (is_word(0, "uncertain")) {
        w.policy.uncertain = is_word(1, "fail")    ? EHLO_UNCERTAIN_FAIL
                             : is_word(1, "trust") ? EHLO_UNCERTAIN_TRUST
                                                   : EHLO_UNCERTAIN_RETRY;
    } else if (is_word(0, "smart")) {
        add_smart_host();
    } else {
        return 0;
    }
    return 1;
}

static void reset(void)
{
    memset(&w, 0, sizeof w);
    assert_true(ehlo_delivery_size() <= sizeof memory);
    w.mem = memory;
    w.now = 1795348800000;
    w.policy.own_names = &w.own_name;
    w.policy.own_addresses = &w.own_address;
    w.batch.rcpts = w.rcpts;
    w.batch.arrived = w.now;
    w.batch.destination = ehlo_str_from("example.org");
    w.batch.envelope.from = ehlo_str_from("ann@sender.example");
    is_begun = is_concluded = 0;
}

static void begin(void)
{
    if (w.total == 0) add_recipient(ehlo_str_from("a"), 0);
    w.has_reused = 0;
    is_begun = 1;
    is_concluded = 0;
    assert_int_equal(ehlo_relay_policy_check(&w.policy), EHLO_OK);
    assert_int_equal(ehlo_delivery_init(&w.delivery, w.mem, ehlo_delivery_size(), &w.policy, &w.batch, 7), EHLO_OK);
}

/* -- what it asks for ------------------------------------------------------------------------------- */

static void expect_name(ehlo_str name, size_t i)
{
    if (!is_word(i, "*") && !same_text(name, word(i))) wrong("another name");
}

static void expect_connect(const ehlo_task *task)
{
    ehlo_address expected;
    int smart = is_word(4, "smart") || is_word(5, "smart"), tls = is_word(4, "tls") || is_word(5, "tls");
    if (ehlo_address_parse(word(2), &expected) != EHLO_OK) wrong("no address");
    expect_name(task->name, 3);
    if (task->address.family != expected.family || task->address.port != expected.port ||
        memcmp(task->address.octets, expected.octets, sizeof expected.octets) != 0)
        wrong("another address");
    if (task->smart != smart || task->verified_tls != tls) wrong("smart or verified_tls is otherwise");
}

static void expect_task(void)
{
    static const char *const names[] = { "", "mx", "addresses", "connect", "send", "record" };
    const ehlo_task *task = ehlo_delivery_task(w.delivery);
    if (!is_word(1, names[task->kind])) wrong(names[task->kind]);
    if (task->kind == EHLO_TASK_MX || task->kind == EHLO_TASK_ADDRESSES) expect_name(task->name, 2);
    if (task->kind == EHLO_TASK_CONNECT) expect_connect(task);
    if (task->kind == EHLO_TASK_SEND && task->nrcpts != number(2)) wrong("another number of recipients");
    world_try_wrong_events(&w);
}

/* -- what it is told -------------------------------------------------------------------------------- */

static int tell_mx(void)
{
    static dns_message m;
    static ehlo_str bytes;
    ehlo_dns_answer answer;
    char domain[256] = { 0 }, target[256];
    ehlo_str name = ehlo_delivery_task(w.delivery)->name;
    if (is_word(2, "nobody")) return ehlo_delivery_mx(w.delivery, NULL);
    memcpy(domain, name.ptr, name.len);
    unsigned code = is_word(2, "nxdomain") ? DNS_NO_SUCH_NAME : is_word(2, "servfail") ? DNS_SERVFAIL : 0;
    dns_begin(&m, DNS_RESPONSE | code, domain, EHLO_DNS_MX);
    for (size_t i = 2; i + 1 < line.n; i += 2) {
        snprintf(target, sizeof target, "%.*s", (int)word(i + 1).len, word(i + 1).ptr);
        dns_add_mx(&m, domain, (unsigned)number(i), strcmp(target, ".") == 0 ? "" : target);
    }
    if (bytes.ptr != NULL) unguard(bytes);
    bytes = guarded(ehlo_str_make(m.bytes, m.len));
    assert_int_equal(ehlo_dns_answer_parse(bytes.ptr, bytes.len, DNS_ID, name, EHLO_DNS_MX, &answer), EHLO_OK);
    return ehlo_delivery_mx(w.delivery, &answer);
}

static int tell_addresses(void)
{
    ehlo_address addresses[ADDRESSES_MAX];
    if (is_word(2, "nodata")) return ehlo_delivery_addresses(w.delivery, EHLO_DNS_NODATA, NULL, 0);
    if (is_word(2, "nxdomain")) return ehlo_delivery_addresses(w.delivery, EHLO_DNS_NXDOMAIN, NULL, 0);
    if (is_word(2, "failed")) return ehlo_delivery_addresses(w.delivery, EHLO_DNS_FAILED, NULL, 0);
    for (size_t i = 2; i < line.n; i++) addresses[i - 2] = address_of(word(i));
    ehlo_address *told = (void *)guard_copy(addresses, (line.n - 2) * sizeof(ehlo_address));
    int result = ehlo_delivery_addresses(w.delivery, EHLO_DNS_FOUND, told, line.n - 2);
    guard_free((char *)told, (line.n - 2) * sizeof(ehlo_address));
    return result;
}

static int tell_failed(void)
{
    ehlo_stage stage = (ehlo_stage)name_index(2, stage_name, EHLO_STAGE_FINAL + 1);
    ehlo_outcome outcome = (ehlo_outcome)name_index(3, outcome_name, EHLO_OUTCOME_UNCERTAIN + 1);
    ehlo_reply reply = reply_from(4);
    return ehlo_delivery_failed(w.delivery, stage, outcome, line.n > 4 ? &reply : NULL);
}

static size_t index_of(size_t i)
{
    for (size_t k = 0; k < w.batch.nrcpts; k++) {
        if (i < line.n && same_text(w.rcpts[k].rcpt.to, line.words[i])) return k;
    }
    wrong("no such recipient");
    return 0;
}

static int tell_recipient(void)
{
    size_t i = index_of(2);
    ehlo_recipient *rcpt = &w.rcpts[i].rcpt;
    ehlo_reply reply = reply_from(5);
    if (i >= ehlo_delivery_task(w.delivery)->nrcpts) wrong("this recipient is not sent to");
    rcpt->outcome = (uint8_t)name_index(3, outcome_name, EHLO_OUTCOME_UNCERTAIN + 1);
    rcpt->stage = (uint8_t)name_index(4, stage_name, EHLO_STAGE_FINAL + 1);
    rcpt->code = reply.code;
    memcpy(rcpt->enhanced, reply.enhanced, sizeof reply.enhanced);
    return ehlo_delivery_reply(w.delivery, i, line.n > 5 ? &reply : NULL);
}

static void conclude(void)
{
    if (line.n > 2) w.now += (int64_t)number(2) * 1000;
    w.left = 0;
    world_conclude(&w, &progress);
    is_concluded = 1;
}

static void again(void)
{
    world_store(&w, &progress);
    assert_true(w.batch.nrcpts > 0);
    begin();
}

static int tell_open(void)
{
    int result = ehlo_delivery_connected(w.delivery, word(2));
    if (line.n > 2) w.has_reused = 1;
    return result;
}

static void tell(void)
{
    int result = EHLO_OK;
    if (is_word(1, "mx")) {
        result = tell_mx();
    } else if (is_word(1, "addresses")) {
        result = tell_addresses();
    } else if (is_word(1, "open")) {
        result = tell_open();
    } else if (is_word(1, "failed")) {
        result = tell_failed();
    } else if (is_word(1, "rcpt")) {
        result = tell_recipient();
    } else if (is_word(1, "sent")) {
        result = world_sent(&w, is_word(2, "dsn"));
    } else if (is_word(1, "stop")) {
        result = ehlo_delivery_stop(w.delivery);
    } else if (is_word(1, "conclude")) {
        conclude();
    } else if (is_word(1, "again")) {
        again();
    } else {
        wrong("no such event");
    }
    if (result != EHLO_OK) wrong("the event was refused");
}

/* -- what it came to -------------------------------------------------------------------------------- */

static void expect_recipient(const ehlo_batch_rcpt *r)
{
    ehlo_reply reply = reply_from(4);
    if (!same_text(state_name(r->state), word(2))) wrong("another state");
    if (!same_text(action_name(r->action), word(3))) wrong("another action");
    if (line.n > 4 && r->rcpt.code != reply.code) wrong("another code");
    if (line.n > 5 && memcmp(r->rcpt.enhanced, reply.enhanced, sizeof reply.enhanced) != 0)
        wrong("another enhanced code");
}

static void expect_reports(void)
{
    uint8_t reports[COUNT(progress.reports)] = { 0 };
    for (size_t i = 2; i < line.n; i++) reports[name_index(i, action_name, EHLO_ACTION_EXPANDED + 1)] = 1;
    if (memcmp(reports, progress.reports, sizeof reports) != 0) wrong("other reports");
}

static void expect_next(void)
{
    int64_t wait = progress.next_try - w.now;
    if (is_word(2, "never")) {
        if (progress.next_try != EHLO_NEVER) wrong("it is tried again");
    } else if (wait < (int64_t)number(2) * 1000 || wait > (int64_t)number(3) * 1000) {
        wrong("another time");
    }
}

static void expect_end(void)
{
    if (is_word(1, "next")) {
        expect_next();
    } else if (is_word(1, "attempt")) {
        if (progress.attempt != number(2)) wrong("another number of attempts");
    } else if (is_word(1, "warned")) {
        if (progress.warned != number(2)) wrong("warned is otherwise");
    } else if (is_word(1, "reports")) {
        expect_reports();
    } else if (is_word(1, "text")) {
        const ehlo_batch_rcpt *r = &w.rcpts[index_of(2)];
        assert_text(words_from(3), ehlo_str_make(r->text, r->text_len), "the text", running->name);
    } else if (is_word(1, "host")) {
        const ehlo_batch_rcpt *r = &w.rcpts[index_of(2)];
        assert_text(word(3), ehlo_str_make(r->host, r->host_len), "the host", running->name);
    } else if (is_word(1, "stage")) {
        if (!same_text(stage_name(w.rcpts[index_of(2)].rcpt.stage), word(3))) wrong("another stage");
    } else if (is_word(1, "outcome")) {
        if (!same_text(outcome_name(w.rcpts[index_of(2)].rcpt.outcome), word(3))) wrong("another outcome");
    } else if (is_word(1, "reason")) {
        if (w.rcpts[index_of(2)].text_len == 0) wrong("nothing is said");
    } else if (is_word(1, "uncertain")) {
        if (!w.rcpts[index_of(2)].uncertain) wrong("it cannot have arrived");
    } else {
        expect_recipient(&w.rcpts[index_of(1)]);
    }
}

/* -- running them ----------------------------------------------------------------------------------- */

static void run_line(void)
{
    cut(running->lines[line_number]);
    char kind = line.all.ptr[0];
    if (kind == '>' || kind == '<') {
        if (!is_begun) begin();
        if (kind == '>') expect_task();
        if (kind == '<') tell();
    } else if (kind == '=') {
        expect_end();
    } else if (!set_batch() && !set_policy()) {
        wrong("no such setting");
    }
}

static void run(const script *s)
{
    reset();
    running = s;
    for (line_number = 0; s->lines[line_number] != NULL; line_number++) run_line();
    assert_true(is_concluded);
}

/* clang-format off */
#define FOUND(...) "> mx example.org", "< mx " __VA_ARGS__
#define DELIVERED(name) "< rcpt " name " delivered final 250 2.0.0 Queued"

static const script scripts[] = {
    { "a message goes to the one host there is",
      { "> mx example.org", "< mx 10 a.x",
        "> addresses a.x", "< addresses 192.0.2.1",
        "> connect 192.0.2.1:25 a.x", "< open",
        "> send 1", "< rcpt a delivered final 250 2.0.0 Queued as 77", "< sent dsn",
        "> record", "< conclude",
        "= a delivered none 250 2.0.0", "= text a Queued as 77", "= host a a.x",
        "= next never", "= attempt 1", "= warned 0", "= reports" } },
    { "the port of hosts in DNS is a setting",
      { "mx-port 2525", FOUND("10 a.x"), "< addresses 2001:db8::1", "> connect [2001:db8::1]:2525 a.x",
        "< stop", "< conclude" } },

    /* [C113] [C119] fail-over */
    { "each address is tried before the next host, and each host before it is put off",
      { FOUND("20 b.x 10 a.x"),
        "> addresses a.x", "< addresses 192.0.2.1 2001:db8::1",
        "> connect 192.0.2.1:25 a.x", "< failed connect not-sent",
        "> connect [2001:db8::1]:25 a.x", "< failed greeting deferred 421 4.3.2 Too busy",
        "> addresses b.x", "< addresses 192.0.2.2",
        "> connect 192.0.2.2:25 b.x", "< failed connect not-sent 0 4.4.1 Connection refused",
        "> record", "< conclude",
        "= a queued none 0 4.4.1", "= text a Connection refused", "= host a b.x", "= stage a connect", "= next 1800 2025", "= attempt 1" } },
    { "the second address answers",
      { FOUND("10 a.x"), "< addresses 192.0.2.1 192.0.2.2", "< failed connect not-sent",
        "> connect 192.0.2.2:25 a.x", "< open", "> send 1", DELIVERED("a"), "< sent dsn", "> record", "< conclude",
        "= a delivered none 250 2.0.0" } },
    { "where nobody says why, we do",
      { FOUND("10 a.x"), "< addresses 192.0.2.1", "< failed connect not-sent 0", "< conclude", "= a queued none 0 4.4.1",
        "= reason a" } },
    { "a session that ends before it began",
      { FOUND("10 a.x"), "< addresses 192.0.2.1", "< failed hello not-sent", "< conclude", "= a queued none 0 4.4.2",
        "= reason a" } },
    { "a handshake that fails",
      { FOUND("10 a.x"), "< addresses 192.0.2.1", "< failed starttls not-sent", "< conclude", "= a queued none 0 4.7.5",
        "= reason a" } },
    { "what is stopped is neither refused nor forgotten",
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< failed greeting rejected 554 5.7.1 No", "> addresses b.x",
        "< stop", "> record", "< conclude", "= a queued none 0 4.3.2", "= reason a", "= next 1800 2025" } },
    { "a host without an address is passed over",
      { FOUND("10 a.x 20 b.x 30 c.x"), "> addresses a.x", "< addresses nodata", "> addresses b.x", "< addresses failed",
        "> addresses c.x", "< addresses 192.0.2.1", "> connect 192.0.2.1:25 c.x", "< open", "> send 1", DELIVERED("a"),
        "< sent dsn", "< conclude", "= a delivered none" } },
    { "an answer without addresses is none",
      { FOUND("10 a.x"), "< addresses", "> record", "< conclude", "= a queued none 0 4.4.3" } },
    { "addresses are tried in the order they are told, whatever their family",
      { FOUND("10 a.x"), "< addresses 2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2",
        "> connect [2001:db8::1]:25 a.x", "< failed connect not-sent", "> connect 192.0.2.1:25 a.x",
        "< failed connect not-sent", "> connect [2001:db8::2]:25 a.x", "< failed connect not-sent",
        "> connect 192.0.2.2:25 a.x", "< failed connect not-sent", "> record", "< conclude", "= a queued none" } },
    { "hosts that are equally preferred are looked up together",
      { FOUND("10 a.x 10 b.x"), "> addresses *", "< addresses 192.0.2.1", "> addresses *", "< addresses 192.0.2.2",
        "> connect 192.0.2.1:25 *", "< failed connect not-sent", "> connect 192.0.2.2:25 *", "< open", "> send 1",
        DELIVERED("a"), "< sent dsn", "< conclude", "= a delivered none" } },
    { "no more addresses than the policy has are tried",
      { "addresses-max 2", FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "> connect 192.0.2.1:25 a.x",
        "< failed connect not-sent", "< addresses 192.0.2.2 192.0.2.3", "> connect 192.0.2.2:25 b.x",
        "< failed connect not-sent", "> record", "< conclude", "= a queued none" } },
    { "what has addresses left that were not tried is not refused for good",
      { "addresses-max 2", FOUND("10 a.x"), "< addresses 192.0.2.1 192.0.2.2 192.0.2.3",
        "< failed greeting rejected 554 5.7.1 No", "< failed greeting rejected 554 5.7.1 No", "> record", "< conclude",
        "= a queued none", "= next 1800 2025" } },

    /* [C120] [C124] what one host refuses, another may take */
    { "a refusal of all hosts is one",
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< failed greeting rejected 554 5.7.1 Go away",
        "> addresses b.x", "< addresses 192.0.2.2", "> connect 192.0.2.2:25 b.x",
        "< failed hello rejected 550 5.7.1 You too", "> record", "< conclude",
        "= a failed failed 550 5.7.1", "= text a You too", "= host a b.x", "= stage a hello", "= next never", "= reports failed" } },
    { "a refusal of one host is none while another cannot be reached",
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< failed greeting rejected 554 5.7.1 Go away",
        "< addresses 192.0.2.2", "< failed connect not-sent", "> record", "< conclude", "= a queued none", "= host a b.x" } },
    { "the same the other way round",
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< failed connect not-sent", "< addresses 192.0.2.2",
        "< failed greeting rejected 554 5.7.1 Go away", "> record", "< conclude", "= a queued none", "= host a a.x" } },
    { "a refusal of one host is none while another says later",
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< failed greeting deferred 421 4.3.2 Later",
        "< addresses 192.0.2.2", "< failed greeting rejected 521 5.3.2 No mail here", "> record", "< conclude",
        "= a queued none 421 4.3.2", "= text a Later" } },
    { "a refusal of one host is none while the name of another cannot be looked up",
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< failed greeting rejected 554 5.7.1 Go away",
        "< addresses failed", "> record", "< conclude", "= a queued none 0 4.4.3" } },
    { "a host that takes no mail is permanent for it alone",
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< failed greeting rejected 521 5.3.2 No mail here",
        "> addresses b.x", "< addresses 192.0.2.2", "< open", "> send 1", DELIVERED("a"), "< sent dsn", "< conclude",
        "= a delivered none" } },
    { "where the only host takes no mail, that is the end",
      { FOUND("10 a.x"), "< addresses 192.0.2.1", "< failed greeting rejected 521 5.3.2 No mail here", "> record",
        "< conclude", "= a failed failed 521 5.3.2", "= text a No mail here" } },

    /* [C114] [C115] [C118] [C121] [C122] where DNS leads */
    { "a domain without MX is its own host",
      { FOUND("nodata"), "> addresses example.org", "< addresses 192.0.2.1", "> connect 192.0.2.1:25 example.org",
        "< open", "> send 1", DELIVERED("a"), "< sent dsn", "< conclude", "= a delivered none", "= host a example.org" } },
    { "a domain with neither MX nor address is none",
      { FOUND("nodata"), "> addresses example.org", "< addresses nodata", "> record", "< conclude",
        "= a failed failed 550 5.1.2", "= reports failed" } },
    { "a domain that disappears between two questions is none",
      { FOUND("nodata"), "< addresses nxdomain", "> record", "< conclude", "= a failed failed 550 5.1.2" } },
    { "a domain whose addresses cannot be looked up is tried again",
      { FOUND("nodata"), "< addresses failed", "> record", "< conclude", "= a queued none 0 4.4.3", "= next 1800 2025" } },
    { "a domain that does not exist is refused for good",
      { FOUND("nxdomain"), "> record", "< conclude", "= a failed failed 550 5.1.2", "= next never", "= host a",
        "= stage a resolve" } },
    { "a domain whose MX cannot be looked up is tried again",
      { FOUND("servfail"), "> record", "< conclude", "= a queued none 451 4.4.3", "= next 1800 2025" } },
    { "so is one where nobody answers",
      { FOUND("nobody"), "> record", "< conclude", "= a queued none 451 4.4.3" } },
    { "a domain that takes no mail is not connected to",
      { FOUND("0 ."), "> record", "< conclude", "= a failed failed 556 5.1.10", "= reports failed" } },
    { "a null MX beside others is passed over",
      { FOUND("0 . 10 a.x"), "> addresses a.x", "< addresses 192.0.2.1", "> connect 192.0.2.1:25 a.x", "< stop",
        "< conclude", "= a queued none" } },
    { "MX records without a host do not lead to the domain's own addresses",
      { FOUND("10 192.0.2.1 20 a!b.x"), "> record", "< conclude", "= a failed failed 550 5.4.4" } },
    { "hosts without addresses do not either",
      { FOUND("10 a.x 20 b.x"), "> addresses a.x", "< addresses nodata", "> addresses b.x", "< addresses nxdomain",
        "> record", "< conclude", "= a failed failed 550 5.4.4" } },
    { "a host without addresses beside one that cannot be looked up is no reason to refuse",
      { FOUND("10 a.x 20 b.x"), "< addresses nodata", "< addresses failed", "> record", "< conclude",
        "= a queued none 0 4.4.3" } },

    /* [C116] [Q04] [Q05] back to us */
    { "our own name as the best host is a loop",
      { "own-name we.x", FOUND("10 we.x 20 b.x"), "> record", "< conclude", "= a failed failed 554 5.4.6" } },
    { "our own domain without MX is a loop",
      { "own-name example.org", FOUND("nodata"), "> record", "< conclude", "= a failed failed 554 5.4.6" } },
    { "our own name cuts off what is behind it",
      { "own-name we.x", FOUND("10 a.x 20 we.x 30 c.x"), "> addresses a.x", "< addresses 192.0.2.1",
        "< failed connect not-sent", "> record", "< conclude", "= a queued none", "= host a a.x" } },
    { "an address of ours is us, whatever its name",
      { "own-address 192.0.2.9", FOUND("10 a.x 20 b.x"), "> addresses a.x", "< addresses 192.0.2.9", "> record",
        "< conclude", "= a failed failed 554 5.4.6" } },
    { "one such address among others is enough",
      { "own-address 192.0.2.9", FOUND("10 a.x"), "< addresses 192.0.2.1 2001:db8::1 192.0.2.9", "> record", "< conclude",
        "= a failed failed 554 5.4.6" } },
    { "it cuts off those that are equal, before any of them is tried",
      { FOUND("10 a.x 10 b.x"), "> addresses *", "< addresses 192.0.2.1", "> addresses *", "< addresses 127.0.0.1",
        "> record", "< conclude", "= a failed failed 554 5.4.6" } },
    { "it cuts off those that are equal and have no address",
      { FOUND("10 a.x 10 b.x"), "> addresses *", "< addresses failed", "> addresses *", "< addresses 127.0.0.1",
        "> record", "< conclude", "= a failed failed 554 5.4.6" } },
    { "it cuts off those behind it, not those before",
      { FOUND("10 a.x 20 b.x 30 c.x"), "< addresses 192.0.2.1", "> connect 192.0.2.1:25 a.x",
        "< failed greeting deferred 450 4.3.2 Later", "> addresses b.x", "< addresses ::1", "> record", "< conclude",
        "= a queued none 450 4.3.2", "= host a a.x" } },
    { "what those before it refused for good is refused",
      { FOUND("10 a.x 20 b.x 30 c.x"), "< addresses 192.0.2.1", "< failed greeting rejected 554 5.7.1 No", "< addresses ::1",
        "> record", "< conclude", "= a failed failed 554 5.7.1" } },
    { "hosts before ours without an address are no loop, but no host",
      { FOUND("10 a.x 20 b.x"), "< addresses nodata", "> addresses b.x", "< addresses 0.0.0.0", "> record", "< conclude",
        "= a failed failed 550 5.4.4" } },
    { "a domain without MX that leads to the loopback is us",
      { FOUND("nodata"), "< addresses 127.0.0.1", "> record", "< conclude", "= a failed failed 554 5.4.6" } },
    { "the unspecified address is us even where loopback is not",
      { "loopback", FOUND("10 a.x"), "< addresses 0.0.0.0", "> record", "< conclude", "= a failed failed 554 5.4.6" } },
    { "loopback may be another host",
      { "loopback", "own-address 127.0.0.1", FOUND("10 a.x"), "< addresses 127.0.0.2", "> connect 127.0.0.2:25 a.x",
        "< stop", "< conclude", "= a queued none" } },

    /* literals */
    { "a literal needs no questions",
      { "destination [192.0.2.1]", "> connect 192.0.2.1:25 [192.0.2.1]", "< open", "> send 1", DELIVERED("a"),
        "< sent dsn", "< conclude", "= a delivered none", "= host a [192.0.2.1]" } },
    { "nor does one of IPv6",
      { "destination [ipv6:2001:db8::1]", "> connect [2001:db8::1]:25 [ipv6:2001:db8::1]", "< failed connect not-sent",
        "> record", "< conclude", "= a queued none" } },
    { "a literal that is ours is a loop",
      { "destination [127.0.0.1]", "> record", "< conclude", "= a failed failed 554 5.4.6" } },
    { "so is one of IPv6",
      { "destination [ipv6:::1]", "> record", "< conclude", "= a failed failed 554 5.4.6" } },
    { "so is IPv4 in IPv6",
      { "destination [ipv6:::ffff:127.0.0.1]", "> record", "< conclude", "= a failed failed 554 5.4.6" } },
    { "a literal that nobody understands leads nowhere", /* [C60] */
      { "destination [tag:what]", "> record", "< conclude", "= a failed failed 550 5.1.2" } },
    { "a name that DNS has not is not asked for",
      { "destination b\xc3\xbc" "cher.example", "> record", "< conclude", "= a failed failed 550 5.1.2" } },

    /* smart hosts */
    { "smart hosts are tried one by one, and no MX is asked for",
      { "smart one.x 587", "smart two.x 2525", "> addresses one.x", "< addresses 192.0.2.1 192.0.2.2",
        "> connect 192.0.2.1:587 one.x smart", "< failed connect not-sent",
        "> connect 192.0.2.2:587 one.x smart", "< failed connect not-sent",
        "> addresses two.x", "< addresses 192.0.2.3", "> connect 192.0.2.3:2525 two.x smart", "< open", "> send 1",
        DELIVERED("a"), "< sent dsn", "< conclude", "= a delivered none", "= host a two.x" } },
    { "a smart host whose addresses are known is not asked for",
      { "smart one.x 587 192.0.2.1 2001:db8::1", "> connect 192.0.2.1:587 one.x smart", "< failed connect not-sent",
        "> connect [2001:db8::1]:587 one.x smart", "< failed connect not-sent", "> record", "< conclude",
        "= a queued none" } },
    { "a smart host may be an address",
      { "smart 192.0.2.1 587", "smart [ipv6:2001:db8::1] 25", "> connect 192.0.2.1:587 192.0.2.1 smart",
        "< failed connect not-sent", "> connect [2001:db8::1]:25 * smart", "< stop", "< conclude", "= a queued none" } },
    { "a smart host may be anybody",
      { "own-name localhost", "own-address 192.0.2.9", "smart localhost 25", "smart b.x 25 192.0.2.9", "> addresses localhost",
        "< addresses 127.0.0.1 ::1", "> connect 127.0.0.1:25 localhost smart", "< failed connect not-sent",
        "> connect [::1]:25 localhost smart", "< failed connect not-sent", "> connect 192.0.2.9:25 b.x smart", "< stop",
        "< conclude", "= a queued none" } },
    { "a smart host takes literals too",
      { "destination [127.0.0.1]", "smart one.x 25 192.0.2.1", "> connect 192.0.2.1:25 one.x smart", "< stop", "< conclude",
        "= a queued none" } },
    { "a smart host whose name leads nowhere can be mended",
      { "smart one.x 25", "> addresses one.x", "< addresses nxdomain", "> record", "< conclude", "= a queued none" } },
    { "a login that fails can be mended",
      { "smart one.x 25 192.0.2.1", "< failed auth rejected 535 5.7.8 Who are you", "> record", "< conclude",
        "= a queued none 535 5.7.8", "= text a Who are you" } },
    { "a refusal of all smart hosts is one",
      { "smart one.x 25 192.0.2.1", "smart two.x 25 192.0.2.2", "< failed greeting rejected 554 5.7.1 No",
        "< failed greeting rejected 554 5.7.1 No", "> record", "< conclude", "= a failed failed 554 5.7.1" } },

    /* sessions that were open still */
    { "an open session saves all questions",
      { "> mx example.org", "< open b.x", "> send 1", DELIVERED("a"), "< sent dsn", "> record", "< conclude",
        "= a delivered none", "= host a b.x", "= attempt 1" } },
    { "should it be lost, all is as it was",
      { "> mx example.org", "< open b.x", "> send 1", "< rcpt a not-sent mail", "< sent", "> mx example.org",
        "< mx 10 a.x", "> addresses a.x", "< addresses 192.0.2.1", "> connect 192.0.2.1:25 a.x", "< open", "> send 1",
        DELIVERED("a"), "< sent dsn", "> record", "< conclude", "= a delivered none", "= host a a.x", "= attempt 1" } },
    { "it may come while addresses are looked up",
      { FOUND("10 a.x"), "> addresses a.x", "< open b.x", "> send 1", "< rcpt a not-sent mail", "< sent",
        "> addresses a.x", "< addresses 192.0.2.1", "> connect 192.0.2.1:25 a.x", "< stop", "< conclude", "= a queued none" } },
    { "it may come instead of a new one",
      { "smart one.x 25 192.0.2.1", "> connect 192.0.2.1:25 one.x smart", "< open one.x", "> send 1",
        "< rcpt a not-sent mail", "< sent", "> connect 192.0.2.1:25 one.x smart", "< open", "> send 1", DELIVERED("a"),
        "< sent dsn", "< conclude", "= a delivered none", "= host a one.x" } },
    { "what an open session said of some of them stands",
      { "to a", "to b", "to c", "> mx example.org", "< open b.x", "> send 3", "< rcpt a rejected rcpt 550 5.1.1 No such user",
        "< rcpt b not-sent data", "< rcpt c deferred rcpt 450 4.2.2 Full", "< sent", "> mx example.org", "< mx 10 a.x",
        "< addresses 192.0.2.1", "< open", "> send 1", DELIVERED("b"), "< sent dsn", "> record", "< conclude",
        "= a failed failed 550 5.1.1", "= text a No such user", "= host a b.x", "= b delivered none", "= host b a.x",
        "= c queued none 450 4.2.2", "= text c Full", "= reports failed" } },
    { "a server that closes an open session down costs nothing",
      { "> mx example.org", "< open b.x", "> send 1", "< rcpt a deferred mail 421 4.4.2 Idle for too long", "< sent",
        "> mx example.org", "< mx 10 a.x", "< addresses 192.0.2.1", "< open", "> send 1", DELIVERED("a"), "< sent dsn",
        "< conclude", "= a delivered none" } },
    { "what an open session left uncertain is not sent again at once", /* [Q13] */
      { "> mx example.org", "< open b.x", "> send 1", "< rcpt a uncertain final", "< sent", "> record", "< conclude",
        "= a queued none", "= uncertain a", "= next 1800 2025" } },

    /* [C82] [Q13] what was sent, and what was not */
    { "what was not sent goes to the next host",
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< open", "> send 1", "< rcpt a not-sent data", "< sent",
        "> addresses b.x", "< addresses 192.0.2.2", "> connect 192.0.2.2:25 b.x", "< open", "> send 1", DELIVERED("a"),
        "< sent dsn", "> record", "< conclude", "= a delivered none", "= host a b.x" } },
    { "what was sent to nobody waits",
      { FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a not-sent data", "< sent", "> record", "< conclude",
        "= a queued none 0 4.4.2", "= outcome a not-sent", "= host a a.x", "= next 1800 2025" } },
    { "what may have arrived goes to no other host",
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1 192.0.2.2", "< open", "> send 1", "< rcpt a uncertain final",
        "< sent", "> record", "< conclude", "= a queued none 0 4.4.2", "= outcome a uncertain", "= uncertain a", "= reason a",
        "= next 1800 2025", "= attempt 1" } },
    { "even if something was said, as long as it was no answer",
      { FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a uncertain final 421 4.3.2 I leave", "< sent", "> record",
        "< conclude", "= a queued none 421 4.3.2", "= uncertain a", "= text a I leave" } },
    { "that holds for each recipient alone",
      { "to a", "to b", FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< open", "> send 2", "< rcpt a uncertain final",
        "< rcpt b not-sent rcpt", "< sent", "> addresses b.x", "< addresses 192.0.2.2", "< open", "> send 1",
        DELIVERED("b"), "< sent dsn", "> record", "< conclude", "= a queued none", "= uncertain a", "= b delivered none",
        "= host b b.x" } },
    { "what may have arrived may be reported as failed",
      { "uncertain fail", FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a uncertain final", "< sent", "< conclude",
        "= a failed failed", "= uncertain a", "= next never", "= reports failed" } },
    { "or taken for delivered",
      { "uncertain trust", FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a uncertain final", "< sent",
        "< conclude", "= a delivered none", "= uncertain a", "= next never", "= reports" } },
    { "where nobody else will report, we say so", /* [C184] */
      { "uncertain trust", "to a success", FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a uncertain final",
        "< sent", "< conclude", "= a delivered relayed", "= uncertain a", "= reports relayed" } },
    { "that it may have arrived is not forgotten",
      { FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a uncertain final", "< sent", "< conclude", "< again",
        FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a rejected rcpt 550 5.1.1 No", "< sent", "< conclude",
        "= a failed failed 550 5.1.1", "= uncertain a", "= attempt 2" } },
    { "a server that closes down is left for the next",
      { "to a", "to b", FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< open", "> send 2",
        "< rcpt a deferred rcpt 421 4.3.2 Shutting down", "< rcpt b deferred rcpt 421 4.3.2 Shutting down", "< sent",
        "> addresses b.x", "< addresses 192.0.2.2", "< open", "> send 2", "= text a", "= host a b.x", DELIVERED("a"),
        DELIVERED("b"), "< sent dsn",
        "< conclude", "= a delivered none", "= b delivered none" } },
    { "one that closes down, and no other: its word is kept",
      { FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a deferred mail 421 4.3.2 Shutting down", "< sent",
        "> record", "< conclude", "= a queued none 421 4.3.2", "= text a Shutting down", "= outcome a deferred" } },
    { "a 421 in answer to the message is no reason to ask another", /* it may have been kept all the same */
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< open", "< rcpt a deferred final 421 4.3.2 Shutting down",
        "< sent", "> record", "< conclude", "= a queued none 421 4.3.2" } },
    { "4yz is an answer: no other host is asked",
      { FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< open", "< rcpt a deferred rcpt 451 4.7.1 Greylisted", "< sent",
        "> record", "< conclude", "= a queued none 451 4.7.1", "= text a Greylisted", "= host a a.x" } },

    /* [C128] [C129] each recipient for itself */
    { "each recipient has a result of its own, and who has one is not sent to again",
      { "to a", "to b", "to c", "to d", "to e", FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< open", "> send 5",
        DELIVERED("a"), "< rcpt b deferred rcpt 450 4.2.2 Full", "< rcpt c rejected rcpt 550 5.1.1 Unknown",
        "< rcpt d uncertain final", "< rcpt e not-sent final", "< sent dsn", "> addresses b.x", "< addresses 192.0.2.2",
        "> connect 192.0.2.2:25 b.x", "< open", "> send 1", "< rcpt e deferred final 452 4.3.1 No space", "< sent", "> record",
        "< conclude", "= a delivered none 250 2.0.0", "= b queued none 450 4.2.2", "= c failed failed 550 5.1.1",
        "= d queued none", "= e queued none 452 4.3.1", "= host b a.x", "= host e b.x", "= reports failed",
        "= next 1800 2025", "= attempt 1",
        "< again", FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "> send 3", DELIVERED("b"), DELIVERED("d"),
        "< rcpt e rejected final 554 5.6.0 No", "< sent dsn", "< conclude", "= b delivered none", "= d delivered none",
        "= uncertain d", "= e failed failed 554 5.6.0", "= next never", "= attempt 2" } },
    { "all at once: the whole message is refused",
      { "to a", "to b", FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< open",
        "< rcpt a rejected mail 550 5.7.1 Not from you", "< rcpt b rejected mail 550 5.7.1 Not from you", "< sent", "> record",
        "< conclude", "= a failed failed 550 5.7.1", "= b failed failed 550 5.7.1", "= reports failed", "= next never" } },

    /* [C223] RFC 8689 */
    { "a message that demands TLS asks for it",
      { "requiretls", FOUND("10 a.x"), "< addresses 192.0.2.1", "> connect 192.0.2.1:25 a.x tls", "< open", "> send 1",
        DELIVERED("a"), "< sent dsn", "< conclude", "= a delivered none" } },
    { "where none can be had with any host, it goes back",
      { "requiretls", FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "> connect 192.0.2.1:25 a.x tls",
        "< failed starttls not-sent", "> addresses b.x", "< addresses 192.0.2.2", "> connect 192.0.2.2:25 b.x tls",
        "< failed starttls not-sent 0 4.7.5 The certificate is of somebody else", "> record", "< conclude",
        "= a failed failed 0 5.7.10", "= reports failed", "= next never" } },
    { "while one host cannot be reached, it waits",
      { "requiretls", FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1", "< failed starttls not-sent", "< addresses 192.0.2.2",
        "< failed connect not-sent", "> record", "< conclude", "= a queued none" } },
    { "where TLS cannot be had for now, it waits",
      { "requiretls", FOUND("10 a.x"), "< addresses 192.0.2.1", "< failed starttls deferred 454 4.7.0 Later", "> record",
        "< conclude", "= a queued none 454 4.7.0" } },
    { "a host that offers TLS but not REQUIRETLS is left for the next",
      { "requiretls", FOUND("10 a.x 20 b.x"), "< addresses 192.0.2.1",
        "< failed starttls rejected 550 5.7.30 REQUIRETLS is not offered", "> addresses b.x", "< addresses 192.0.2.2",
        "> connect 192.0.2.2:25 b.x tls", "< open", "> send 1", DELIVERED("a"), "< sent dsn", "< conclude",
        "= a delivered none" } },
    { "where no host offers REQUIRETLS, it goes back",
      { "requiretls", FOUND("10 a.x"), "< addresses 192.0.2.1", "< failed starttls rejected 550 5.7.30 REQUIRETLS is not offered",
        "> record", "< conclude", "= a failed failed 550 5.7.30", "= text a REQUIRETLS is not offered" } },
    { "a report that demands TLS is not sent without, and ends there", /* RFC 8689 5 */
      { "requiretls", "from -", FOUND("10 a.x"), "< addresses 192.0.2.1", "> connect 192.0.2.1:25 a.x tls",
        "< failed starttls not-sent", "> record", "< conclude", "= a failed none 0 5.7.10", "= next never" } },
    { "another message does not go back for want of TLS",
      { FOUND("10 a.x"), "< addresses 192.0.2.1", "< failed starttls not-sent", "> record", "< conclude", "= a queued none" } },

    /* [C127] expiry and warning */
    { "a message that is too old is given up behind an attempt",
      { "age 432000", FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a deferred rcpt 450 4.2.2 Full", "< sent",
        "< conclude", "= a expired failed 450 4.2.2", "= text a Full", "= next never", "= reports failed" } },
    { "not before",
      { "age 431990", "warned", FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a deferred rcpt 450 4.2.2 Full",
        "< sent", "< conclude 9", "= a queued none", "= next 1800 2025" } },
    { "it may become too old while it is tried",
      { "age 431990", "warned", FOUND("10 a.x"), "< addresses 192.0.2.1", "< failed connect not-sent", "< conclude 10",
        "= a expired failed", "= next never" } },
    { "one that arrives at last is not given up",
      { "age 432000", "to a", "to b", FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", DELIVERED("a"),
        "< rcpt b uncertain final", "< sent dsn", "< conclude", "= a delivered none", "= b expired failed", "= uncertain b",
        "= reports failed" } },
    { "what a server refused is refused, not too old",
      { "age 432000", FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", "< rcpt a rejected rcpt 550 5.1.1 No", "< sent",
        "< conclude", "= a failed failed 550 5.1.1" } },
    { "the sender is told of a delay once",
      { "age 14400", "attempt 4", FOUND("servfail"), "< conclude", "= a queued delayed 451 4.4.3", "= warned 1", "= reports delayed",
        "= next 10800 12150", "= attempt 5", "< again", FOUND("servfail"), "< conclude", "= a queued none", "= warned 1",
        "= reports", "= attempt 6" } },
    { "not too early",
      { "age 14399", FOUND("servfail"), "< conclude", "= a queued none", "= warned 0", "= reports" } },
    { "who has arrived or failed is not delayed",
      { "age 20000", "to a", "to b", "to c", FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", DELIVERED("a"),
        "< rcpt b rejected rcpt 550 5.1.1 No", "< rcpt c deferred rcpt 450 4.2.2 Full", "< sent dsn", "< conclude",
        "= a delivered none", "= b failed failed", "= c queued delayed", "= warned 1", "= reports failed delayed" } },
    { "where nobody waits any more, nobody is warned",
      { "age 20000", FOUND("10 a.x"), "< addresses 192.0.2.1", "< open", DELIVERED("a"), "< sent dsn", "< conclude",
        "= a delivered none", "= warned 0", "= reports" } },

    /* [C66] [C130] [Q02] the null reverse-path */
    { "nobody is told of what became of a report",
      { "from -", "to a success,failure,delay", "to b", "to c success", "age 20000", FOUND("10 a.x"),
        "< addresses 192.0.2.1", "< open", "< rcpt a rejected rcpt 550 5.1.1 No", "< rcpt b deferred rcpt 450 4.2.2 Full",
        "< rcpt c delivered final 250 2.0.0 Ok", "< sent", "< conclude", "= a failed none", "= b queued none",
        "= c delivered none", "= reports" } },
    { "nor where it ends",
      { "from -", "age 432000", FOUND("servfail"), "< conclude", "= a expired none", "= reports", "= next never" } },
};
/* clang-format on */

static void scripts_go_as_they_are_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(scripts); i++) run(&scripts[i]);
}

/* -- stopped at every point ------------------------------------------------------------------------- */

/* As if the connection were lost: what is sent to is not sent, whatever else is under way is given up. */
static void stop_now(void)
{
    if (ehlo_delivery_task(w.delivery)->kind == EHLO_TASK_SEND) {
        for (size_t i = 0; i < ehlo_delivery_task(w.delivery)->nrcpts; i++) {
            w.rcpts[i].rcpt.outcome = EHLO_OUTCOME_NOT_SENT;
            w.rcpts[i].rcpt.stage = EHLO_STAGE_DATA;
        }
        assert_int_equal(world_sent(&w, 0), EHLO_OK);
    }
    if (ehlo_delivery_task(w.delivery)->kind != EHLO_TASK_RECORD)
        assert_int_equal(ehlo_delivery_stop(w.delivery), EHLO_OK);
    assert_int_equal(ehlo_delivery_task(w.delivery)->kind, EHLO_TASK_RECORD);
}

/* The first `events` of the script; 0 if it has not so many. */
static int run_until(const script *s, size_t events)
{
    reset();
    running = s;
    for (line_number = 0; s->lines[line_number] != NULL; line_number++) {
        if (s->lines[line_number][0] == '<' && events-- == 0) return 1;
        run_line();
    }
    return 0;
}

/* What was under way is not lost, and what had an outcome keeps it: world_conclude looks. */
static void an_attempt_may_be_stopped_at_every_point(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(scripts); i++) {
        for (size_t events = 0; run_until(&scripts[i], events); events++) {
            if (!is_begun) begin();
            if (is_concluded) continue;
            stop_now();
            world_conclude(&w, &progress);
            for (size_t k = 0; k < w.batch.nrcpts; k++) {
                const ehlo_batch_rcpt *r = &w.rcpts[k];
                if (r->rcpt.outcome == EHLO_OUTCOME_NOT_SENT) assert_int_not_equal(r->state, EHLO_STATE_FAILED);
            }
        }
    }
}

/* -- begin ------------------------------------------------------------------------------------------ */

static void a_batch_needs_recipients_a_destination_and_room(void **state)
{
    (void)state;
    size_t size = ehlo_delivery_size();
    reset();
    assert_int_equal(ehlo_delivery_init(&w.delivery, memory, size, NULL, &w.batch, 1), EHLO_ERR_ARG);
    add_recipient(ehlo_str_from("a"), 0);
    w.batch.destination.len = 0;
    assert_int_equal(ehlo_delivery_init(&w.delivery, memory, size, NULL, &w.batch, 1), EHLO_ERR_ARG);
    w.batch.destination = ehlo_str_from("example.org");
    assert_int_equal(ehlo_delivery_init(&w.delivery, memory, size - 1, NULL, &w.batch, 1), EHLO_ERR_SPACE);
    size_t room = (size + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) * _Alignof(max_align_t);
    char *exact = guard_copy(memory, room);
    assert_int_equal(ehlo_delivery_init(&w.delivery, exact, size, NULL, &w.batch, 1), EHLO_OK);
    assert_ptr_equal(w.delivery, exact);
    assert_int_equal(ehlo_delivery_task(w.delivery)->kind, EHLO_TASK_MX);
    guard_free(exact, room);
}

/* Of a struct of an older header only what it has is looked at. */
static void settings_that_a_caller_does_not_have_are_defaults(void **state)
{
    (void)state;
    size_t size = offsetof(ehlo_relay_policy, mx_port);
    reset();
    add_recipient(ehlo_str_from("a"), 0);
    w.batch.destination = ehlo_str_from("[192.0.2.1]");
    w.policy.mx_port = 2525;
    char *old = guard_copy(&w.policy, size);
    assert_int_equal(ehlo_delivery_init_sized(&w.delivery, w.mem, sizeof memory, (const void *)old, size, &w.batch, 1),
                     EHLO_OK);
    guard_free(old, size);
    assert_int_equal(ehlo_delivery_task(w.delivery)->address.port, 25);
}

/* The array of recipients is theirs alone. */
static void recipients_may_lie_at_the_end_of_memory(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 2; n++) {
        reset();
        for (size_t i = 0; i < n; i++) add_recipient(ehlo_str_from("a"), 0);
        ehlo_batch_rcpt *rcpts = (void *)guard_copy(w.rcpts, n * sizeof(ehlo_batch_rcpt));
        w.batch.rcpts = rcpts;
        begin();
        assert_int_equal(ehlo_delivery_connected(w.delivery, ehlo_str_from("open.x")), EHLO_OK);
        for (size_t i = 0; i < n; i++) rcpts[i].rcpt.outcome = EHLO_OUTCOME_NOT_SENT;
        rcpts[0].rcpt.outcome = EHLO_OUTCOME_DELIVERED;
        assert_int_equal(ehlo_delivery_sent(w.delivery, 1), EHLO_OK);
        if (n > 1) assert_int_equal(ehlo_delivery_stop(w.delivery), EHLO_OK);
        assert_int_equal(ehlo_delivery_conclude(w.delivery, w.now, &progress), EHLO_OK);
        assert_int_equal(progress.next_try == EHLO_NEVER, n == 1);
        guard_free((char *)rcpts, n * sizeof(ehlo_batch_rcpt));
    }
}

/* -- chance ------------------------------------------------------------------------------------------ */

/* Which of four equal hosts is looked up first, and when it is tried again: both follow from the seed. */
static void the_seed_decides_what_chance_is_to_decide(void **state) /* [C113] [Q11] */
{
    (void)state;
    enum { SEEDS = 400 };
    const script hosts = { "equal hosts", { "> mx example.org", "< mx 1 a.x 1 b.x 1 c.x 1 d.x" } };
    unsigned firsts[4] = { 0 }, late = 0;
    running = &hosts;
    for (uint64_t i = 0; i < SEEDS; i++) {
        reset();
        add_recipient(ehlo_str_from("a"), 0);
        assert_int_equal(ehlo_delivery_init(&w.delivery, w.mem, sizeof memory, &w.policy, &w.batch, seed_of(i)),
                         EHLO_OK);
        is_begun = 1;
        for (line_number = 0; line_number < 2; line_number++) run_line();
        firsts[ehlo_delivery_task(w.delivery)->name.ptr[0] - 'a']++;
        assert_int_equal(ehlo_delivery_stop(w.delivery), EHLO_OK);
        world_conclude(&w, &progress);
        late += progress.next_try - w.now > 1912500; /* the second half of what is added by chance */
    }
    for (size_t i = 0; i < 4; i++) assert_in_range(firsts[i], 60, 140); /* 100 are due, 8.7 a standard deviation */
    assert_in_range(late, 140, 260);                                    /* 200 are due, 10 */
}

/* -- addresses -------------------------------------------------------------------------------------- */

/* Hosts with 12 addresses each, none of which can be reached. */
static struct {
    unsigned tries;
    unsigned hosts;
} seen;

/* What hosts have, and answer; addresses 0: none are found. */
static void try_hosts_that(const char *mx, uint32_t addresses_max, size_t naddresses, ehlo_outcome outcome)
{
    const ehlo_dns_status status = naddresses > 0 ? EHLO_DNS_FOUND : EHLO_DNS_NODATA;
    const script hosts = { "hosts", { "> mx example.org", mx } };
    ehlo_address addresses[12];
    memset(&seen, 0, sizeof seen);
    reset();
    running = &hosts;
    w.policy.addresses_max = addresses_max;
    for (line_number = 0; line_number < 2; line_number++) run_line();
    for (size_t i = 0; i < COUNT(addresses); i++)
        addresses[i] = (ehlo_address){ .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, (uint8_t)(i + 1) } };
    for (const ehlo_task *task; (task = ehlo_delivery_task(w.delivery))->kind != EHLO_TASK_RECORD;) {
        if (task->kind == EHLO_TASK_ADDRESSES) {
            seen.hosts++;
            assert_int_equal(ehlo_delivery_addresses(w.delivery, status, addresses, naddresses), EHLO_OK);
        } else {
            seen.tries++;
            assert_int_equal(ehlo_delivery_failed(w.delivery, EHLO_STAGE_GREETING, outcome, NULL), EHLO_OK);
        }
    }
    world_conclude(&w, &progress);
}

static void try_hosts(const char *mx, uint32_t addresses_max)
{
    try_hosts_that(mx, addresses_max, 12, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(w.rcpts[0].state, EHLO_STATE_QUEUED);
}

/* Hosts and addresses beyond those that there is room for were not asked: nobody has said the last word. [C115] [C120] */
static void what_was_not_tried_has_not_refused(void **state)
{
    static const char most[] = "< mx 1 a.x 2 b.x 3 c.x 4 d.x 5 e.x 6 f.x 7 g.x 8 h.x 9 i.x 10 j.x 11 k.x 12 l.x 13 m.x "
                               "14 n.x 15 o.x 16 p.x 17 q.x";
    (void)state;
    try_hosts_that(most, 0, 0, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(seen.hosts, EHLO_MX_MAX);
    assert_int_equal(w.rcpts[0].state, EHLO_STATE_QUEUED);
    try_hosts_that("< mx 10 a.x", 100, 12, EHLO_OUTCOME_REJECTED);
    assert_int_equal(w.rcpts[0].state, EHLO_STATE_QUEUED);
    try_hosts_that("< mx 10 a.x", 100, 8, EHLO_OUTCOME_REJECTED);
    assert_int_equal(w.rcpts[0].state, EHLO_STATE_FAILED);
}

static void nobody_fails_with_what_is_no_failure(void **state)
{
    static const script connecting = {
        "connecting", { "> mx example.org", "< mx 10 a.x", "> addresses a.x", "< addresses 192.0.2.1" }
    };
    (void)state;
    reset();
    running = &connecting;
    for (line_number = 0; line_number < 4; line_number++) run_line();
    static const ehlo_outcome wrong[] = { EHLO_OUTCOME_NONE, EHLO_OUTCOME_DELIVERED, EHLO_OUTCOME_UNCERTAIN };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(ehlo_delivery_failed(w.delivery, EHLO_STAGE_CONNECT, wrong[i], NULL), EHLO_ERR_ARG);
    }
    w.rcpts[0].rcpt.outcome = EHLO_OUTCOME_DELIVERED; /* of an attempt before this one */
    assert_int_equal(ehlo_delivery_connected(w.delivery, ehlo_str_make(NULL, 0)), EHLO_OK);
    assert_int_equal(ehlo_delivery_sent(w.delivery, 1), EHLO_OK);
    world_conclude(&w, &progress);
    assert_int_equal(w.rcpts[0].state, EHLO_STATE_QUEUED);
}

static void as_many_addresses_are_tried_as_the_policy_has(void **state) /* [C119] */
{
    (void)state;
    static const unsigned settings[] = { 2, 3, 10, 12 };
    for (size_t i = 0; i < COUNT(settings); i++) {
        try_hosts("< mx 10 a.x 20 b.x", settings[i]);
        assert_int_equal(seen.tries, settings[i]);
    }
    try_hosts("< mx 10 a.x 20 b.x", 0);
    assert_int_equal(seen.tries, 10);
    assert_int_equal(seen.hosts, 2); /* those of the first do not use up all tries */
}

/* Sixteen hosts, all at once or one by one, with more addresses than anybody has use for. */
static void any_number_of_addresses_has_an_end(void **state) /* [Q06] */
{
    (void)state;
    static const char equal[] =
        "< mx 1 a.x 1 b.x 1 c.x 1 d.x 1 e.x 1 f.x 1 g.x 1 h.x 1 i.x 1 j.x 1 k.x 1 l.x 1 m.x 1 n.x "
        "1 o.x 1 p.x";
    static const char ordered[] =
        "< mx 1 a.x 2 b.x 3 c.x 4 d.x 5 e.x 6 f.x 7 g.x 8 h.x 9 i.x 10 j.x 11 k.x 12 l.x 13 m.x "
        "14 n.x 15 o.x 16 p.x";
    try_hosts(equal, UINT32_MAX);
    assert_int_equal(seen.hosts, EHLO_MX_MAX);
    assert_in_range(seen.tries, EHLO_MX_MAX, 12 * EHLO_MX_MAX);
    try_hosts(ordered, UINT32_MAX);
    assert_int_equal(seen.hosts, EHLO_MX_MAX);
    assert_in_range(seen.tries, EHLO_MX_MAX, 12 * EHLO_MX_MAX);
}

/* -- reports ---------------------------------------------------------------------------------------- */

/* RFC 3461 4.1, 5.2: what is due, said once more in other words. */
static unsigned report_due(ehlo_outcome outcome, unsigned notify, int has_dsn, int is_old)
{
    int says_failure = notify == 0 || (notify & EHLO_NOTIFY_FAILURE);
    switch (outcome) {
    case EHLO_OUTCOME_DELIVERED:
        return (notify & EHLO_NOTIFY_SUCCESS) && !has_dsn ? EHLO_ACTION_RELAYED : EHLO_ACTION_NONE;
    case EHLO_OUTCOME_REJECTED:
        return says_failure ? EHLO_ACTION_FAILED : EHLO_ACTION_NONE;
    default:
        if (is_old) return says_failure ? EHLO_ACTION_FAILED : EHLO_ACTION_NONE;
        return notify == 0 || (notify & EHLO_NOTIFY_DELAY) ? EHLO_ACTION_DELAYED : EHLO_ACTION_NONE;
    }
}

static void settle_one(ehlo_outcome outcome, unsigned notify, int has_dsn, int has_sender, int is_old)
{
    reset();
    add_recipient(ehlo_str_from("a"), notify);
    w.batch.arrived = w.now - (is_old ? 432000000 : 14400000);
    if (!has_sender) w.batch.envelope.from.len = 0;
    begin();
    assert_int_equal(ehlo_delivery_connected(w.delivery, ehlo_str_from("open.x")), EHLO_OK);
    w.rcpts[0].rcpt.outcome = (uint8_t)outcome;
    w.rcpts[0].rcpt.stage = EHLO_STAGE_FINAL;
    w.rcpts[0].rcpt.code = outcome == EHLO_OUTCOME_DEFERRED ? 450 : 0;
    assert_int_equal(world_sent(&w, has_dsn), EHLO_OK);
    if (outcome == EHLO_OUTCOME_NOT_SENT) assert_int_equal(ehlo_delivery_stop(w.delivery), EHLO_OK);
    world_conclude(&w, &progress);
}

/* Every wish, with every outcome, with a next hop that reports and one that does not. */
static void senders_are_told_what_they_want_to_know(void **state) /* [C178] [C184] [C66] */
{
    (void)state;
    static const unsigned notifies[] = { 0, EHLO_NOTIFY_NEVER, 2, 4, 6, 8, 10, 12, 14 };
    for (size_t i = 0; i < COUNT(notifies) * 5 * 8; i++) {
        unsigned notify = notifies[i / 40];
        ehlo_outcome outcome = (ehlo_outcome)(EHLO_OUTCOME_DELIVERED + i % 40 / 8);
        int has_dsn = (i & 1) != 0, has_sender = (i & 2) != 0, is_old = (i & 4) != 0;
        settle_one(outcome, notify, has_dsn, has_sender, is_old);
        unsigned due = has_sender ? report_due(outcome, notify, has_dsn, is_old) : EHLO_ACTION_NONE;
        if (w.rcpts[0].action != due)
            fail_msg("notify %u, outcome %d, dsn %d, sender %d, old %d: %u, not %u", notify, outcome, has_dsn,
                     has_sender, is_old, w.rcpts[0].action, due);
    }
}

/* -- what is kept of replies ------------------------------------------------------------------------ */

/* A session is open, and one recipient waits for what is said of it. */
static void begin_sending(void)
{
    reset();
    add_recipient(ehlo_str_from("a"), 0);
    begin();
    assert_int_equal(ehlo_delivery_connected(w.delivery, ehlo_str_from("open.x")), EHLO_OK);
    w.rcpts[0].rcpt.outcome = EHLO_OUTCOME_REJECTED;
    w.rcpts[0].rcpt.code = 550;
}

static ehlo_str kept(ehlo_str said)
{
    ehlo_reply reply = { .code = 550, .text = guarded(said) };
    begin_sending();
    assert_int_equal(ehlo_delivery_reply(w.delivery, 0, &reply), EHLO_OK);
    unguard(reply.text);
    assert_int_equal(world_sent(&w, 0), EHLO_OK);
    world_conclude(&w, &progress);
    return ehlo_str_make(w.rcpts[0].text, w.rcpts[0].text_len);
}

typedef struct kept_case {
    ehlo_str said;
    ehlo_str kept;
} kept_case;

static const kept_case kept_cases[] = {
    { TEXT("550 5.1.1 No such user"), TEXT("No such user") },
    { TEXT("550 5.1.1 No such user\r\n"), TEXT("No such user") },
    { TEXT("550 No such user\r\n"), TEXT("No such user") },
    { TEXT("550-5.7.1 One\r\n550-5.7.1 two\r\n550 5.7.1 three\r\n"), TEXT("One two three") },
    { TEXT("550\r\n"), TEXT("") },
    { TEXT(""), TEXT("") },
    { TEXT("of our own"), TEXT("of our own") },
    /* [C133] */
    { TEXT("550 a\tb\0c\x1b[31md\x7f\r\n"), TEXT("a b?c?[31md?") },
    { TEXT("550 gr\xc3\xbc\xc3\x9f\xff\xc2\x85\xe2\x80\xa8!\r\n"), TEXT("gr\xc3\xbc\xc3\x9f??\?!") },
    { TEXT("550 one\n550 two\r\n"), TEXT("one?550 two") },
    { TEXT("550 one\rtwo\r\n"), TEXT("one?two") },
};

static void replies_are_kept_as_one_clean_line(void **state) /* [C133] */
{
    (void)state;
    for (size_t i = 0; i < COUNT(kept_cases); i++) {
        char name[32];
        snprintf(name, sizeof name, "case %zu", i);
        assert_text(kept_cases[i].kept, kept(kept_cases[i].said), "the text", name);
    }
}

/* One line, many lines, one of letters of two octets, one without end, of any length up to 2 MB. */
static void a_reply_of_any_length_is_kept_in_255_octets(void **state) /* [Q14] [C133] */
{
    (void)state;
    enum { HUGE = 2 << 20 };
    char *said = malloc(HUGE);
    assert_non_null(said);
    for (size_t len = 250; len < HUGE; len += len < 270 ? 1 : len) {
        memset(said, 'x', len);
        memcpy(said, "550 ", 4);
        ehlo_str text = kept(ehlo_str_make(said, len));
        assert_int_equal(text.len, len - 4 < EHLO_REPLY_KEPT ? len - 4 : EHLO_REPLY_KEPT);
        for (size_t i = 4; i + 1 < len; i += 2) memcpy(said + i, "\xc3\xbc", 2);
        text = kept(ehlo_str_make(said, len));
        assert_true(text.len >= EHLO_REPLY_KEPT - 12 && text.len <= EHLO_REPLY_KEPT);
        for (size_t i = 0; i < len; i++) said[i] = "550-y\r\n"[i % 7];
        text = kept(ehlo_str_make(said, len));
        assert_true(text.len > 0 && text.len <= EHLO_REPLY_KEPT);
    }
    free(said);
}

/* There is no room for the space between two lines: what stands behind the text is not touched. */
static void lines_that_end_where_the_room_does_overwrite_nothing(void **state) /* [Q14] */
{
    (void)state;
    char said[1024];
    for (size_t first = EHLO_REPLY_KEPT - 3; first < EHLO_REPLY_KEPT + 3; first++) {
        size_t kept_len = first + 4 < EHLO_REPLY_KEPT ? first + 4 : EHLO_REPLY_KEPT;
        memset(said, 'x', sizeof said);
        memcpy(said, "550-", 4);
        memcpy(said + 4 + first, "\r\n550 two\r\n", 11);
        assert_int_equal(kept(ehlo_str_make(said, first + 15)).len, kept_len);
        assert_text(ehlo_str_from("open.x"), ehlo_str_make(w.rcpts[0].host, w.rcpts[0].host_len), "host", "two lines");
    }
}

static void the_last_word_on_a_recipient_is_kept(void **state)
{
    (void)state;
    ehlo_reply first = { .code = 250, .text = ehlo_str_from("250 2.1.5 A longer text, which says that all is well") };
    ehlo_reply last = { .code = 550, .text = ehlo_str_from("550 5.7.1 No") };
    begin_sending();
    assert_int_equal(ehlo_delivery_reply(w.delivery, 0, &first), EHLO_OK);
    assert_int_equal(ehlo_delivery_reply(w.delivery, 0, &last), EHLO_OK);
    assert_text(ehlo_str_from("No"), ehlo_str_make(w.rcpts[0].text, w.rcpts[0].text_len), "text", "the second reply");
    assert_int_equal(ehlo_delivery_reply(w.delivery, 0, NULL), EHLO_OK);
    assert_int_equal(w.rcpts[0].text_len, 0);
    assert_int_equal(ehlo_delivery_reply(w.delivery, 0, &first), EHLO_OK);
    assert_int_equal(ehlo_delivery_reply(w.delivery, 0, NULL), EHLO_OK);
    assert_int_equal(w.rcpts[0].text_len, 0);
}

/* What was recorded of an earlier attempt is not what is said of this one. */
static void nothing_of_an_earlier_attempt_is_said_of_this_one(void **state) /* [C170] */
{
    (void)state;
    reset();
    add_recipient(ehlo_str_from("a"), 0);
    ehlo_batch_rcpt *r = &w.rcpts[0];
    r->rcpt.outcome = EHLO_OUTCOME_DEFERRED;
    r->rcpt.stage = EHLO_STAGE_RCPT;
    r->rcpt.code = 450;
    r->rcpt.enhanced[0] = 4;
    r->rcpt.enhanced[1] = 2;
    memcpy(r->text, "Mailbox full", r->text_len = 12);
    memcpy(r->host, "old.x", r->host_len = 5);
    r->action = EHLO_ACTION_DELAYED;
    begin();
    assert_int_equal(ehlo_delivery_stop(w.delivery), EHLO_OK);
    world_conclude(&w, &progress);
    assert_int_equal(r->rcpt.outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(r->rcpt.code, 0);
    assert_int_equal(r->action, EHLO_ACTION_NONE);
    assert_int_equal(r->host_len, 0);
    assert_false(same_text(ehlo_str_make(r->text, r->text_len), ehlo_str_from("Mailbox full")));
}

/* -- edges ------------------------------------------------------------------------------------------ */

static void attempts_are_counted_up_to_their_limit(void **state)
{
    (void)state;
    static const uint32_t counts[] = { 0, 1, UINT32_MAX - 1, UINT32_MAX };
    for (size_t i = 0; i < COUNT(counts); i++) {
        reset();
        w.batch.attempt = counts[i];
        begin();
        assert_int_equal(ehlo_delivery_stop(w.delivery), EHLO_OK);
        world_conclude(&w, &progress);
        assert_int_equal(progress.attempt, counts[i] == UINT32_MAX ? UINT32_MAX : counts[i] + 1);
        if (counts[i] > 4) assert_true(progress.next_try >= w.now + 10800000);
    }
}

/* The order of recipients changes; each stays with what is its own. */
static void each_recipient_keeps_what_is_its_own(void **state) /* [C129] */
{
    (void)state;
    static const char *const names[] = { "a", "b", "c", "d", "e" };
    for (unsigned mask = 0; mask < 32; mask++) {
        reset();
        for (size_t i = 0; i < COUNT(names); i++) add_recipient(ehlo_str_from(names[i]), (unsigned)(i * 2));
        begin();
        assert_int_equal(ehlo_delivery_connected(w.delivery, ehlo_str_from("open.x")), EHLO_OK);
        for (size_t i = 0; i < COUNT(names); i++) {
            w.rcpts[i].rcpt.outcome = mask & 1u << i ? EHLO_OUTCOME_DELIVERED : EHLO_OUTCOME_NOT_SENT;
            w.rcpts[i].rcpt.stage = EHLO_STAGE_FINAL;
        }
        assert_int_equal(world_sent(&w, 1), EHLO_OK);
        const ehlo_task *task = ehlo_delivery_task(w.delivery);
        assert_int_equal(task->kind, mask == 31 ? EHLO_TASK_RECORD : EHLO_TASK_MX);
        if (mask != 31) assert_int_equal(ehlo_delivery_stop(w.delivery), EHLO_OK);
        world_conclude(&w, &progress);
        for (size_t i = 0; i < COUNT(names); i++) {
            const ehlo_batch_rcpt *r = &w.rcpts[i];
            assert_text(ehlo_str_from(names[r->number]), r->rcpt.to, "name", "mailbox");
            assert_int_equal(r->rcpt.notify, r->number * 2);
            assert_int_equal(r->state, mask & 1u << r->number ? EHLO_STATE_DELIVERED : EHLO_STATE_QUEUED);
        }
    }
}

static void states_have_names(void **state)
{
    (void)state;
    static const char *const names[] = { "queued", "delivered", "failed", "expired" };
    for (unsigned i = 0; i < COUNT(names); i++)
        assert_text(ehlo_str_from(names[i]), ehlo_state_name((ehlo_state)i), "name", "state");
    assert_non_null(ehlo_state_name((ehlo_state)99).ptr);
}

/* -- any world -------------------------------------------------------------------------------------- */

/* Lives of batches, each attempt of which goes as it goes; what has to hold is in delivery_world.h.
 * [C119] [C128] [C129] [C130] [Q02] [Q11] [Q13] */
static void whatever_the_world_does_every_recipient_comes_to_one_end(void **state)
{
    (void)state;
    enum { LIVES = 20000, OCTETS = 1024 };
    static uint8_t octets[OCTETS];
    for (uint64_t i = 0; i < LIVES; i++) {
        size_t len = seed_of(i) % OCTETS;
        for (size_t k = 0; k < len; k++) octets[k] = (uint8_t)(seed_of(i * OCTETS + k) >> 24);
        world_live(octets, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scripts_go_as_they_are_written),
        cmocka_unit_test(an_attempt_may_be_stopped_at_every_point),
        cmocka_unit_test(a_batch_needs_recipients_a_destination_and_room),
        cmocka_unit_test(settings_that_a_caller_does_not_have_are_defaults),
        cmocka_unit_test(recipients_may_lie_at_the_end_of_memory),
        cmocka_unit_test(the_seed_decides_what_chance_is_to_decide),
        cmocka_unit_test(what_was_not_tried_has_not_refused),
        cmocka_unit_test(nobody_fails_with_what_is_no_failure),
        cmocka_unit_test(as_many_addresses_are_tried_as_the_policy_has),
        cmocka_unit_test(any_number_of_addresses_has_an_end),
        cmocka_unit_test(senders_are_told_what_they_want_to_know),
        cmocka_unit_test(replies_are_kept_as_one_clean_line),
        cmocka_unit_test(a_reply_of_any_length_is_kept_in_255_octets),
        cmocka_unit_test(lines_that_end_where_the_room_does_overwrite_nothing),
        cmocka_unit_test(the_last_word_on_a_recipient_is_kept),
        cmocka_unit_test(nothing_of_an_earlier_attempt_is_said_of_this_one),
        cmocka_unit_test(attempts_are_counted_up_to_their_limit),
        cmocka_unit_test(each_recipient_keeps_what_is_its_own),
        cmocka_unit_test(states_have_names),
        cmocka_unit_test(whatever_the_world_does_every_recipient_comes_to_one_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

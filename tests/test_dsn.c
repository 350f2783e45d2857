/* Reports on delivery (RFC 3464, RFC 3461, RFC 6522, RFC 6533, RFC 3834). Whole ones are in the folder reports. */
#define _GNU_SOURCE /* memmem */
#include "table.h"

#include <ehlo/dsn.h>

#include "report_form.h"

enum { ROOM = 1 << 21, TIME = 1795327400, ARRIVED = 1795327200, ATTEMPT = 1795327300, UNTIL = 1795759200 };

/* -- writing ---------------------------------------------------------------------------------------- */

static char report_octets[ROOM];

/* The next piece, in a block of its exact size, flush against a page that cannot be touched; smaller ones first refuse it
 * and change nothing. */
static int next_piece(const ehlo_dsn *dsn, ehlo_dsn_cursor *cursor, char *out, size_t *len)
{
    ehlo_dsn_cursor before = *cursor;
    char none;
    int result = ehlo_dsn_next(dsn, cursor, &none, 0, len);
    if (result != EHLO_ERR_SPACE) return result;
    size_t need = *len;
    assert_true(need > 0 && need <= EHLO_DSN_PIECE_MAX);
    for (size_t cap = need; cap > 0; cap /= 2) {
        char *block = guard_copy(report_octets, cap - 1);
        assert_int_equal(ehlo_dsn_next(dsn, cursor, block, cap - 1, len), EHLO_ERR_SPACE);
        assert_int_equal(*len, need);
        guard_free(block, cap - 1);
    }
    assert_memory_equal(&before, cursor, sizeof(before));
    char *block = guard_copy(report_octets, need);
    assert_int_equal(ehlo_dsn_next(dsn, cursor, block, need, len), 1);
    assert_int_equal(*len, need);
    memcpy(out, block, need);
    guard_free(block, need);
    return 1;
}

/* A whole report, in memory that the next one takes. */
static ehlo_str write_report(const ehlo_dsn *dsn)
{
    ehlo_dsn_cursor cursor = { 0 };
    size_t total = 0, len;
    int more;
    static char pieces[ROOM];
    while ((more = next_piece(dsn, &cursor, pieces + total, &len)) > 0) {
        total += len;
        assert_true(total < ROOM - 2 * EHLO_DSN_PIECE_MAX);
    }
    assert_int_equal(more, 0);
    assert_int_equal(len, 0);
    memcpy(pieces + total, REPORT_RETURNED, sizeof(REPORT_RETURNED) - 1);
    total += sizeof(REPORT_RETURNED) - 1;
    assert_int_equal(ehlo_dsn_end(dsn, pieces + total, EHLO_DSN_PIECE_MAX, &len), EHLO_OK);
    return ehlo_str_make(pieces, total + len);
}

/* The same, and it is one. */
static ehlo_str write_sound(const ehlo_dsn *dsn, const char *name)
{
    ehlo_str report = write_report(dsn);
    const char *fault = report_fault(report, dsn);
    if (fault != NULL) fail_msg("%s: %s in\n%.*s", name, fault, (int)report.len, report.ptr);
    return report;
}

static void assert_refused_whole(const ehlo_dsn *dsn, const char *name)
{
    ehlo_dsn_cursor cursor = { 0 };
    char out[EHLO_DSN_PIECE_MAX] = { 0 };
    size_t len = 1;
    int result = ehlo_dsn_next(dsn, &cursor, out, sizeof(out), &len);
    if (result != EHLO_ERR_ARG || len != 0) fail_msg("%s: result %d, %zu octets", name, result, len);
    assert_zero(out, sizeof(out), name);
    assert_zero(&cursor, sizeof(cursor), name);
}

/* How often a text stands in another. */
static size_t count(ehlo_str in, const char *text)
{
    size_t found = 0, len = strlen(text);
    for (const char *at = in.ptr; (at = memmem(at, (size_t)(in.ptr + in.len - at), text, len)) != NULL; at += len)
        found++;
    return found;
}

static void assert_has(ehlo_str report, const char *text)
{
    if (count(report, text) == 0) fail_msg("no \"%s\" in\n%.*s", text, (int)report.len, report.ptr);
}

static void assert_lacks(ehlo_str report, const char *text)
{
    if (count(report, text) != 0) fail_msg("\"%s\" in\n%.*s", text, (int)report.len, report.ptr);
}

/* -- material --------------------------------------------------------------------------------------- */

static ehlo_dsn_recipient recipient(const char *to, ehlo_action action)
{
    ehlo_dsn_recipient rcpt = { .action = (uint8_t)action };
    rcpt.to = ehlo_str_from(to);
    return rcpt;
}

/* One that a host has answered for. */
static ehlo_dsn_recipient answered(const char *to, ehlo_action action, uint16_t code, const char *text)
{
    ehlo_dsn_recipient rcpt = recipient(to, action);
    rcpt.remote_mta = ehlo_str_from("mx.example.org");
    rcpt.code = code;
    rcpt.text = ehlo_str_from(text);
    rcpt.last_attempt = ATTEMPT;
    return rcpt;
}

static ehlo_dsn about(const ehlo_dsn_recipient *rcpts, size_t nrcpts)
{
    ehlo_dsn dsn = { .time = TIME, .arrived = ARRIVED, .rcpts = rcpts, .nrcpts = nrcpts };
    dsn.reporting_mta = ehlo_str_from("mx.example.com");
    dsn.to = ehlo_str_from("a@sender.example");
    dsn.id = ehlo_str_from("4f2a9c.0b51e7d3");
    dsn.received_from = ehlo_str_from("client.sender.example");
    return dsn;
}

static void set_enhanced(uint16_t code[3], unsigned class, unsigned subject, unsigned detail)
{
    code[0] = (uint16_t) class;
    code[1] = (uint16_t)subject;
    code[2] = (uint16_t)detail;
}

/* -- whole reports ---------------------------------------------------------------------------------- */

static ehlo_dsn_recipient material[4];

static ehlo_dsn failed(void)
{
    material[0] = answered("nobody@example.org", EHLO_ACTION_FAILED, 550,
                           "No such user here.\nAsk postmaster@example.org, or look up whom you want to reach in the "
                           "directory at directory.example.org.");
    set_enhanced(material[0].enhanced, 5, 1, 1);
    material[0].orcpt_type = ehlo_str_from("rfc822");
    material[0].orcpt = ehlo_str_from("old+name@example.net");
    material[1] = answered("\"a b\"@example.org", EHLO_ACTION_FAILED, 451, "Try again later");
    set_enhanced(material[1].status, 4, 4, 7);
    material[1].may_have_arrived = 1;
    material[2] = recipient("c@nowhere.example", EHLO_ACTION_FAILED);
    set_enhanced(material[2].enhanced, 5, 1, 2);
    material[2].text = ehlo_str_from("The domain does not exist");
    ehlo_dsn dsn = about(material, 3);
    dsn.ret = EHLO_RET_FULL;
    dsn.envid = ehlo_str_from("QQ314159");
    return dsn;
}

static ehlo_dsn delayed(void)
{
    material[0] = recipient("b@example.org", EHLO_ACTION_DELAYED);
    material[0].remote_mta = ehlo_str_from("mx.example.org");
    material[0].text = ehlo_str_from("Connection refused");
    material[0].last_attempt = ATTEMPT;
    material[0].retry_until = UNTIL;
    set_enhanced(material[0].status, 4, 4, 1);
    material[1] = answered("c@example.org", EHLO_ACTION_DELAYED, 452, "Mailbox full");
    set_enhanced(material[1].enhanced, 4, 2, 2);
    material[1].retry_until = UNTIL;
    material[1].may_have_arrived = 1;
    ehlo_dsn dsn = about(material, 2);
    dsn.body = EHLO_BODY_7BIT;
    return dsn;
}

static ehlo_dsn delivered(void)
{
    material[0] = answered("b@example.org", EHLO_ACTION_DELIVERED, 250, "Saved");
    material[0].orcpt_type = ehlo_str_from("rfc822");
    material[0].orcpt = ehlo_str_from("B@Example.ORG");
    set_enhanced(material[0].enhanced, 2, 0, 0);
    ehlo_dsn dsn = about(material, 1);
    dsn.zone_minutes = 330;
    return dsn;
}

static ehlo_dsn relayed(void)
{
    material[0] = answered("b@example.org", EHLO_ACTION_RELAYED, 250, "OK");
    return about(material, 1);
}

static ehlo_dsn expanded(void)
{
    material[0] = recipient("list@example.com", EHLO_ACTION_EXPANDED);
    return about(material, 1);
}

static ehlo_dsn mixed(void)
{
    material[0] = answered("b@example.org", EHLO_ACTION_FAILED, 550, "No");
    material[1] = answered("c@example.org", EHLO_ACTION_RELAYED, 250, "OK");
    material[2] = recipient("d@example.org", EHLO_ACTION_NONE);
    return about(material, 3);
}

static ehlo_dsn utf8(void)
{
    material[0] = answered("b\xc3\xbc"
                           "cher@b\xc3\xbc"
                           "cher.example",
                           EHLO_ACTION_FAILED, 550, "Unbekannter Empf\xc3\xa4nger");
    set_enhanced(material[0].enhanced, 5, 1, 1);
    material[0].orcpt_type = ehlo_str_from("utf-8");
    material[0].orcpt = ehlo_str_from("b\xc3\xbc"
                                      "cherwurm@example.net");
    material[1] = answered("c@example.org", EHLO_ACTION_FAILED, 550, "No such user here");
    ehlo_dsn dsn = about(material, 2);
    dsn.to = ehlo_str_from("j\xc3\xb6rg@sender.example");
    dsn.utf8 = 1;
    return dsn;
}

static const struct {
    const char *name;
    ehlo_dsn (*make)(void);
} wholes[] = {
    { "failed", failed },     { "delayed", delayed }, { "delivered", delivered }, { "relayed", relayed },
    { "expanded", expanded }, { "mixed", mixed },     { "utf8", utf8 },
};

/* The report as it is stored, where lines end in LF. */
static ehlo_str read_whole(const char *name)
{
    static char octets[1 << 14];
    char path[1024];
    const char *source = getenv("EHLO_SOURCE");
    size_t len = 0;
    snprintf(path, sizeof(path), "%s/tests/reports/%s.eml", source != NULL ? source : ".", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("there is no %s: set EHLO_SOURCE", path);
    for (int octet; (octet = getc(file)) != EOF && len + 2 < sizeof(octets);) {
        if (octet == '\n') octets[len++] = '\r';
        octets[len++] = (char)octet;
    }
    fclose(file);
    return ehlo_str_make(octets, len);
}

/* [C131] [C132] [C184] */
static void each_kind_of_report_is_written_as_it_was_read_by_eye(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(wholes); i++) {
        ehlo_dsn dsn = wholes[i].make();
        ehlo_str report = write_sound(&dsn, wholes[i].name);
        assert_text(read_whole(wholes[i].name), report, "the report", wholes[i].name);
    }
}

/* -- actions ---------------------------------------------------------------------------------------- */

static void actions_have_names(void **state)
{
    (void)state;
    static const char *const names[] = { "", "failed", "delayed", "delivered", "relayed", "expanded" };
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_text(ehlo_str_from(names[i]), ehlo_action_name((ehlo_action)i), "the action", names[i]);
    }
    assert_int_equal(ehlo_action_name((ehlo_action)COUNT(names)).len, 0);
    assert_int_equal(ehlo_action_name((ehlo_action)-1).len, 0);
}

/* [C184] [C178] RFC 3461 4.1: every set of NOTIFY, for every action. */
static void notify_says_which_reports_are_wanted(void **state)
{
    (void)state;
    for (unsigned notify = 0; notify < 16; notify++) {
        unsigned said = notify == 0 ? EHLO_NOTIFY_FAILURE | EHLO_NOTIFY_DELAY : notify;
        int never = (notify & EHLO_NOTIFY_NEVER) != 0;
        int success = !never && (said & EHLO_NOTIFY_SUCCESS) != 0;
        assert_int_equal(ehlo_action_wanted(EHLO_ACTION_NONE, notify), 0);
        assert_int_equal(ehlo_action_wanted(EHLO_ACTION_FAILED, notify), !never && (said & EHLO_NOTIFY_FAILURE) != 0);
        assert_int_equal(ehlo_action_wanted(EHLO_ACTION_DELAYED, notify), !never && (said & EHLO_NOTIFY_DELAY) != 0);
        assert_int_equal(ehlo_action_wanted(EHLO_ACTION_DELIVERED, notify), success);
        assert_int_equal(ehlo_action_wanted(EHLO_ACTION_RELAYED, notify), success);
        assert_int_equal(ehlo_action_wanted(EHLO_ACTION_EXPANDED, notify), success);
        assert_int_equal(ehlo_action_wanted((ehlo_action)6, notify), 0);
        assert_int_equal(ehlo_action_wanted((ehlo_action)-1, notify), 0);
    }
}

/* -- what is returned ------------------------------------------------------------------------------- */

enum { MIB = 1048576 };

static const struct {
    uint8_t ret, action, body, utf8;
    uint64_t size, full_max;
    const char *type, *encoding;
} returns[] = {
    /* RFC 3461 4.3: the header, unless FULL was asked for */
    { EHLO_RET_DEFAULT, EHLO_ACTION_FAILED, 0, 0, 0, 0, "text/rfc822-headers", NULL },
    { EHLO_RET_HDRS, EHLO_ACTION_FAILED, 0, 0, 0, 0, "text/rfc822-headers", NULL },
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, 0, 0, 0, 0, "message/rfc822", "8bit" },
    /* "applies only to DSNs that indicate delivery failure" */
    { EHLO_RET_FULL, EHLO_ACTION_DELAYED, 0, 0, 0, 0, "text/rfc822-headers", NULL },
    { EHLO_RET_FULL, EHLO_ACTION_DELIVERED, 0, 0, 0, 0, "text/rfc822-headers", NULL },
    { EHLO_RET_FULL, EHLO_ACTION_RELAYED, 0, 0, 0, 0, "text/rfc822-headers", NULL },
    { EHLO_RET_FULL, EHLO_ACTION_EXPANDED, 0, 0, 0, 0, "text/rfc822-headers", NULL },
    /* by size */
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, 0, 0, MIB, 0, "message/rfc822", "8bit" },
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, 0, 0, MIB + 1, 0, "text/rfc822-headers", NULL },
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, 0, 0, MIB + 1, MIB + 1, "message/rfc822", "8bit" },
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, 0, 0, 2, 1, "text/rfc822-headers", NULL },
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, 0, 0, UINT64_MAX, UINT64_MAX, "message/rfc822", "8bit" },
    /* by body */
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, EHLO_BODY_7BIT, 0, 0, 0, "message/rfc822", "8bit" },
    { EHLO_RET_HDRS, EHLO_ACTION_FAILED, EHLO_BODY_7BIT, 0, 0, 0, "text/rfc822-headers", NULL },
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, EHLO_BODY_8BITMIME, 0, 0, 0, "message/rfc822", "8bit" },
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, EHLO_BODY_BINARYMIME, 0, 0, 0, "text/rfc822-headers", NULL },
    /* RFC 6533 */
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, 0, 1, 0, 0, "message/global", "8bit" },
    { EHLO_RET_FULL, EHLO_ACTION_FAILED, EHLO_BODY_7BIT, 1, 0, 0, "message/global", "8bit" },
    { EHLO_RET_HDRS, EHLO_ACTION_FAILED, 0, 1, 0, 0, "message/global-headers", "8bit" },
    { EHLO_RET_FULL, EHLO_ACTION_DELAYED, 0, 1, 0, 0, "message/global-headers", "8bit" },
};

/* [C132] */
static void ret_says_what_is_returned_of_a_failed_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(returns); i++) {
        char part[128];
        ehlo_dsn_recipient rcpt = recipient("b@example.org", (ehlo_action)returns[i].action);
        ehlo_dsn dsn = about(&rcpt, 1);
        dsn.ret = returns[i].ret;
        dsn.body = returns[i].body;
        dsn.utf8 = returns[i].utf8;
        dsn.size = returns[i].size;
        dsn.full_max = returns[i].full_max;
        int is_full = strcmp(returns[i].type, "message/rfc822") == 0 || strcmp(returns[i].type, "message/global") == 0;
        assert_int_equal(ehlo_dsn_returns_full(&dsn), is_full);
        ehlo_str report = write_sound(&dsn, returns[i].type);
        snprintf(part, sizeof(part), "\r\nContent-Type: %s\r\n%s%s%s\r\n" REPORT_RETURNED, returns[i].type,
                 returns[i].encoding != NULL ? "Content-Transfer-Encoding: " : "",
                 returns[i].encoding != NULL ? returns[i].encoding : "", returns[i].encoding != NULL ? "\r\n" : "");
        assert_has(report, part);
        assert_has(report, is_full ? "\r\nThe message that " : "\r\nThe header of the message that ");
        /* RFC 2045 6.4: what is in a part is in the whole */
        assert_int_equal(count(report, "Content-Transfer-Encoding: 8bit\r\n\r\n--=_") == 1,
                         returns[i].encoding != NULL);
    }
}

/* One failure among others is enough. */
static void full_is_returned_where_any_recipient_failed(void **state)
{
    (void)state;
    ehlo_dsn_recipient rcpts[2] = { recipient("b@example.org", EHLO_ACTION_DELAYED),
                                    recipient("c@example.org", EHLO_ACTION_FAILED) };
    ehlo_dsn dsn = about(rcpts, 2);
    dsn.ret = EHLO_RET_FULL;
    assert_int_equal(ehlo_dsn_returns_full(&dsn), 1);
    rcpts[1].action = EHLO_ACTION_NONE;
    assert_int_equal(ehlo_dsn_returns_full(&dsn), 0);
    dsn.nrcpts = 0;
    assert_int_equal(ehlo_dsn_returns_full(&dsn), 0);
}

/* -- what is refused -------------------------------------------------------------------------------- */

/* [C66] [C130] [Q02] */
static void no_report_is_written_to_a_null_reverse_path(void **state)
{
    (void)state;
    ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_FAILED);
    ehlo_dsn dsn = about(&rcpt, 1);
    dsn.to = ehlo_str_make(NULL, 0);
    assert_refused_whole(&dsn, "null");
    dsn.to = ehlo_str_from("<>");
    assert_refused_whole(&dsn, "<>");
}

/* Those that a session accepts only if it is told to: it has accepted them. */
static void any_reverse_path_that_was_accepted_gets_its_report(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "a@sender.example",
        "a@under_score.example",
        "a@sender.example.",
        "a@[IPv6:2001:db8::1]",
        "\"a >b\"@sender.example",
        "a-local-part-that-is-longer-than-the-sixty-four-octets-which-it-is-allowed-to-have@sender.example",
    };
    for (size_t i = 0; i < COUNT(paths); i++) {
        char line[256];
        ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_FAILED);
        ehlo_dsn dsn = about(&rcpt, 1);
        dsn.to = ehlo_str_from(paths[i]);
        snprintf(line, sizeof(line), "\r\nTo: <%s>\r\nSubject: ", paths[i]);
        assert_has(write_sound(&dsn, paths[i]), line);
    }
}

/* Hostile octets in what is ours to say: refused, nothing is written. [C231] */
static void our_own_words_are_refused_when_they_could_inject(void **state)
{
    (void)state;
    static const ehlo_str payloads[] = {
        TEXT("a@b.example\r\nBcc: x@y"),
        TEXT("a@b\nX: y"),
        TEXT("a@b\rX"),
        TEXT("a\0@b"),
        TEXT("\r\n.\r\n"),
        TEXT("a b"),
        TEXT("a>b"),
        TEXT("\x1b[2J"),
        TEXT("\x85"),
        TEXT("\xe2\x80\xa8@b"),
        TEXT("\xc2\x85@b"),
        TEXT("\xc0\xaf@b"),
        TEXT("\"\r\n\"@b"),
        TEXT("\"a\x7f\"@b"),
        TEXT("(c)@b"),
        TEXT("a;b\"c"),
        TEXT(""),
        TEXT("."),
        TEXT("a..b"),
        TEXT("\xc3\xa9 @b"),
    };
    for (size_t i = 0; i < COUNT(payloads); i++) {
        ehlo_str payload = guarded(payloads[i]);
        for (int sink = 0; sink < 8; sink++) {
            ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_FAILED);
            ehlo_dsn dsn = about(&rcpt, 1);
            dsn.utf8 = sink >= 4;
            if (sink % 4 == 0) dsn.reporting_mta = payload;
            if (sink % 4 == 1) dsn.to = payload;
            if (sink % 4 == 2) dsn.id = payload;
            if (sink % 4 == 3) {
                rcpt.orcpt = ehlo_str_from("x");
                rcpt.orcpt_type = payload;
            }
            assert_refused_whole(&dsn, "payload");
        }
        unguard(payload);
    }
}

static void what_is_out_of_range_is_refused(void **state)
{
    (void)state;
    static char longest[901 + 16];
    ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_FAILED);
    ehlo_dsn sound = about(&rcpt, 1);
    ehlo_dsn dsn = sound;
    memset(longest, 'x', sizeof(longest));
    dsn.id = ehlo_str_make(longest, 65);
    assert_refused_whole(&dsn, "id too long");
    dsn = sound;
    dsn.zone_minutes = 1440;
    assert_refused_whole(&dsn, "zone");
    dsn = sound;
    dsn.time = INT64_MAX;
    assert_refused_whole(&dsn, "time");
    dsn = sound;
    memcpy(longest + 891, "@x.example", 10);
    dsn.to = ehlo_str_make(longest, 901);
    assert_refused_whole(&dsn, "to too long");
    dsn = sound;
    dsn.to = ehlo_str_from("postmaster");
    assert_refused_whole(&dsn, "to without domain");
    dsn.to = ehlo_str_from("j\xc3\xb6rg@sender.example");
    assert_refused_whole(&dsn, "to beyond ASCII without UTF-8");
    dsn = sound;
    dsn.nrcpts = 0;
    assert_refused_whole(&dsn, "nobody");
    dsn = sound;
    rcpt.action = EHLO_ACTION_NONE;
    assert_refused_whole(&dsn, "nothing to tell");
    rcpt.action = EHLO_ACTION_EXPANDED + 1;
    assert_refused_whole(&dsn, "no action");
    rcpt.action = EHLO_ACTION_FAILED;
    rcpt.to = ehlo_str_from("  \t");
    assert_refused_whole(&dsn, "no recipient");
    rcpt.to = ehlo_str_from("b@example.org");
    rcpt.orcpt = ehlo_str_from("x");
    rcpt.orcpt_type = ehlo_str_make(longest, 65);
    assert_refused_whole(&dsn, "type too long");
}

/* -- what others said ------------------------------------------------------------------------------- */

/* Each member of a report that holds what others said, in turn. */
enum { SINKS = 6 };

static void pour(ehlo_dsn *dsn, ehlo_dsn_recipient *rcpt, int sink, ehlo_str text)
{
    ehlo_str *const sinks[SINKS] = { &rcpt->to,   &rcpt->orcpt,        &rcpt->text,
                                     &dsn->envid, &dsn->received_from, &rcpt->remote_mta };
    *sinks[sink] = text;
}

/* [C133] [C231] [C182] Each octet, in each place: the report stays what it is, and the octet is shown or a '?'. */
static void every_octet_of_others_is_cleaned(void **state)
{
    (void)state;
    for (unsigned octet = 0; octet < 256; octet++) {
        char text[] = { 'a', 'b', (char)octet, 'y', 'z' };
        ehlo_str payload = guarded(ehlo_str_make(text, sizeof(text)));
        for (int sink = 0; sink < SINKS; sink++) {
            ehlo_dsn_recipient rcpt = answered("b@example.org", EHLO_ACTION_FAILED, 550, "no");
            ehlo_dsn dsn = about(&rcpt, 1);
            dsn.utf8 = octet % 2;
            rcpt.orcpt_type = ehlo_str_from("rfc822");
            pour(&dsn, &rcpt, sink, payload);
            ehlo_str report = write_sound(&dsn, "octet");
            char shown[16] = { 'a', 'b', octet < 0x20 || octet > 0x7e ? '?' : (char)octet, 'y', 'z' };
            if (octet == '\t') shown[2] = ' ';
            if (sink == 2 && octet == '\n') strcpy(shown, "ab\r\n yz");
            assert_has(report, shown);
        }
        unguard(payload);
    }
}

/* [C231] [N] What would begin a header line, a part or a field, in every place. */
static void nothing_that_others_said_becomes_a_line_of_its_own(void **state)
{
    (void)state;
    static const ehlo_str payloads[] = {
        TEXT("x\r\nBcc: victim@example.org\r\n\r\nbody"),
        TEXT("x\nAction: delivered"),
        TEXT("x\n\nFinal-Recipient: rfc822; forged@example.org\nAction: failed\nStatus: 5.0.0"),
        TEXT("\n--=_4f2a9c.0b51e7d3\nContent-Type: text/html\n\n<script>"),
        TEXT("--=_4f2a9c.0b51e7d3--"),
        TEXT("x\r--=_4f2a9c.0b51e7d3\r"),
        TEXT("To <forged@example.org>:\n    Delivered."),
        TEXT("\x1b]0;owned\x07\x1b[2J"),
        TEXT("\xe2\x80\xa8To: x\xc2\x85y"),
        TEXT("\0\0\0"),
        TEXT("   \t  x"),
        TEXT("\n\n\n\r\n \r\n\n"),
        TEXT("; (comment) \\ \"quoted\r\n\""),
    };
    for (size_t i = 0; i < COUNT(payloads); i++) {
        ehlo_str payload = guarded(payloads[i]);
        for (int sink = 0; sink < 2 * SINKS; sink++) {
            ehlo_dsn_recipient rcpt = answered("b@example.org", EHLO_ACTION_FAILED, 550, "no");
            ehlo_dsn dsn = about(&rcpt, 1);
            dsn.utf8 = sink >= SINKS;
            rcpt.orcpt_type = ehlo_str_from(dsn.utf8 ? "utf-8" : "rfc822");
            if (i == 11 && sink % SINKS != 2) rcpt.code = 0;
            pour(&dsn, &rcpt, sink % SINKS, payload);
            write_sound(&dsn, payload.ptr);
        }
        unguard(payload);
    }
}

/* What is nothing but blanks when it is cleaned is left out. */
static void blank_values_are_left_out(void **state)
{
    (void)state;
    for (int sink = 1; sink < SINKS; sink++) {
        static const char *const names[SINKS] = {
            NULL, "Original-Recipient", NULL, "Original-Envelope-Id", "Received-From-MTA", "Remote-MTA"
        };
        ehlo_dsn_recipient rcpt = answered("b@example.org", EHLO_ACTION_FAILED, 550, "no");
        ehlo_dsn dsn = about(&rcpt, 1);
        rcpt.orcpt_type = ehlo_str_from("rfc822");
        pour(&dsn, &rcpt, sink, ehlo_str_from(" \t "));
        ehlo_str report = write_sound(&dsn, "blank");
        if (names[sink] != NULL) assert_lacks(report, names[sink]);
    }
}

/* -- lengths ---------------------------------------------------------------------------------------- */

/* A text of pattern, over and over. */
static ehlo_str repeated(const char *pattern, size_t len)
{
    static char octets[4][1 << 16];
    static size_t next;
    char *text = octets[next++ % 4];
    for (size_t i = 0; i < len; i++) text[i] = pattern[i % strlen(pattern)];
    return ehlo_str_make(text, len);
}

/* [C230] [C133] Whatever is as long as it may be, or far longer: no line passes 998 octets, no piece its bound. */
static void what_is_too_long_is_cut(void **state)
{
    (void)state;
    static const char *const patterns[] = { "x", "x ",   "x\n", "xy\r\n", "\xc3\xbc", "\xf0\x9f\x92\xa9",
                                            "+", "\xff", " ",   "=\n",    "\\" };
    static const size_t lengths[] = { 1, 64, 77, 78, 79, 255, 256, 499, 500, 501, 899, 900, 901, 998, 4096, 65535 };
    for (size_t i = 0; i < COUNT(patterns) * COUNT(lengths) * 4; i++) {
        const char *pattern = patterns[i / 4 % COUNT(patterns)];
        size_t len = lengths[i / 4 / COUNT(patterns)];
        ehlo_dsn_recipient rcpt = answered("b@example.org", EHLO_ACTION_DELAYED, 451, "");
        ehlo_dsn dsn = about(&rcpt, 1);
        ehlo_str long_one = guarded(repeated(pattern, len));
        dsn.utf8 = i % 2;
        rcpt.orcpt_type = i / 2 % 2 ? ehlo_str_from("utf-8") : repeated("t", 64);
        rcpt.enhanced[0] = 4;
        rcpt.enhanced[1] = rcpt.enhanced[2] = 999;
        rcpt.retry_until = UNTIL;
        rcpt.may_have_arrived = 1;
        for (int sink = strcmp(pattern, " ") == 0; sink < SINKS; sink++) pour(&dsn, &rcpt, sink, long_one);
        write_sound(&dsn, pattern);
        unguard(long_one);
    }
}

/* The longest header: its pieces keep to the bound too. */
static void the_longest_names_of_our_own_fit(void **state)
{
    (void)state;
    static char to[901];
    ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_FAILED);
    ehlo_dsn dsn = about(&rcpt, 1);
    memset(to, 'x', 900);
    memcpy(to + 888, "@example.org", 12);
    dsn.to = ehlo_str_make(to, 900);
    dsn.id = repeated("a", 64);
    dsn.reporting_mta = repeated("abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz.", 251);
    ehlo_str report = write_sound(&dsn, "longest");
    assert_has(report, to);
}

/* One space for each run of blanks and line ends. */
static size_t squeeze(ehlo_str text, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        int is_blank = memchr(" \r\n", text.ptr[i], 3) != NULL;
        if (!is_blank)
            out[len++] = text.ptr[i];
        else if (len > 0 && out[len - 1] != ' ')
            out[len++] = ' ';
    }
    return len;
}

/* [C230] RFC 5322 2.1.1: lines of up to 78 characters wherever there is a space to fold at; no word is lost or divided. */
static void a_long_reply_is_folded_at_its_spaces(void **state)
{
    (void)state;
    static const char link[] = "https://example.org/a/very/long/link/that/nobody/folds/because/it/has/no/spaces/at/all";
    char text[512], squeezed[4096], expected[512];
    snprintf(text, sizeof(text),
             "The mailbox that you have written to is full;  please try again   when its owner has "
             "found the time to delete some of the messages, or write to postmaster@example.org %s",
             link);
    ehlo_dsn_recipient rcpt = answered("b@example.org", EHLO_ACTION_FAILED, 552, text);
    set_enhanced(rcpt.enhanced, 5, 2, 2);
    ehlo_dsn dsn = about(&rcpt, 1);
    ehlo_str report = write_sound(&dsn, "long reply");
    expected[squeeze(ehlo_str_from(text), expected)] = '\0';
    assert_int_equal(count(ehlo_str_make(squeezed, squeeze(report, squeezed)), expected), 2);
    for (const char *line = report.ptr, *end; line < report.ptr + report.len; line = end + 2) {
        end = memmem(line, (size_t)(report.ptr + report.len - line), "\r\n", 2);
        if (end - line > 78) assert_int_equal(count(ehlo_str_make(line, (size_t)(end - line)), link), 1);
    }
}

/* [C131] The lines of a reply stay lines; those without text are dropped. */
static void a_reply_of_many_lines_stays_so(void **state)
{
    (void)state;
    ehlo_dsn_recipient rcpt = answered("b@example.org", EHLO_ACTION_FAILED, 550, "\none\r\n\n  two  \n\r\nthree\n");
    ehlo_dsn dsn = about(&rcpt, 1);
    ehlo_str report = write_sound(&dsn, "lines");
    assert_has(report, "\r\nDiagnostic-Code: smtp; 550 one\r\n two\r\n three\r\nLast-Attempt-Date: ");
    assert_has(report, "\r\n        550 one\r\n        two\r\n        three\r\n\r\n--");
}

/* -- codes ------------------------------------------------------------------------------------------ */

static const struct {
    uint8_t action;
    uint16_t status[3], code, enhanced[3];
    const char *expected, *diagnostic;
} codes[] = {
    { EHLO_ACTION_FAILED, { 0 }, 0, { 0 }, "5.0.0", NULL },
    { EHLO_ACTION_DELAYED, { 0 }, 0, { 0 }, "4.0.0", NULL },
    { EHLO_ACTION_DELIVERED, { 0 }, 0, { 0 }, "2.0.0", NULL },
    { EHLO_ACTION_RELAYED, { 0 }, 0, { 0 }, "2.0.0", NULL },
    { EHLO_ACTION_EXPANDED, { 0 }, 0, { 0 }, "2.0.0", NULL },
    { EHLO_ACTION_FAILED, { 0 }, 550, { 5, 1, 1 }, "5.1.1", "550 5.1.1 text" },
    { EHLO_ACTION_FAILED, { 5, 4, 6 }, 550, { 5, 1, 1 }, "5.4.6", "550 5.1.1 text" },
    { EHLO_ACTION_FAILED, { 4, 4, 7 }, 451, { 4, 2, 0 }, "4.4.7", "451 4.2.0 text" },
    { EHLO_ACTION_FAILED, { 0 }, 451, { 4, 2, 0 }, "4.2.0", "451 4.2.0 text" },
    { EHLO_ACTION_FAILED, { 0 }, 0, { 5, 1, 2 }, "5.1.2", NULL },
    { EHLO_ACTION_DELAYED, { 0 }, 451, { 4, 7, 705 }, "4.7.705", "451 4.7.705 text" },
    /* classes that are not the action's, or not the code's */
    { EHLO_ACTION_DELAYED, { 5, 1, 1 }, 451, { 5, 1, 1 }, "4.0.0", "451 text" },
    { EHLO_ACTION_DELIVERED, { 5, 1, 1 }, 250, { 2, 1, 5 }, "2.1.5", "250 2.1.5 text" },
    { EHLO_ACTION_RELAYED, { 4, 0, 0 }, 250, { 0 }, "2.0.0", "250 text" },
    { EHLO_ACTION_FAILED, { 2, 0, 0 }, 550, { 4, 1, 1 }, "4.1.1", "550 text" },
    { EHLO_ACTION_FAILED, { 9, 0, 0 }, 550, { 3, 0, 0 }, "5.0.0", "550 text" },
    /* RFC 3463 2: parts of three digits */
    { EHLO_ACTION_FAILED, { 5, 999, 999 }, 550, { 5, 999, 999 }, "5.999.999", "550 5.999.999 text" },
    { EHLO_ACTION_FAILED, { 5, 1000, 0 }, 550, { 5, 0, 1000 }, "5.0.0", "550 text" },
};

/* [C131] RFC 3464 2.3.4, 2.3.6 */
static void status_and_diagnostic_code_follow_the_reply(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(codes); i++) {
        char line[128];
        ehlo_dsn_recipient rcpt = answered("b@example.org", (ehlo_action)codes[i].action, codes[i].code, "text");
        memcpy(rcpt.status, codes[i].status, sizeof(rcpt.status));
        memcpy(rcpt.enhanced, codes[i].enhanced, sizeof(rcpt.enhanced));
        ehlo_dsn dsn = about(&rcpt, 1);
        ehlo_str report = write_sound(&dsn, codes[i].expected);
        snprintf(line, sizeof(line), "\r\nStatus: %s\r\n", codes[i].expected);
        assert_has(report, line);
        snprintf(line, sizeof(line), "\r\nDiagnostic-Code: smtp; %s\r\n", codes[i].diagnostic);
        if (codes[i].diagnostic != NULL)
            assert_has(report, line);
        else
            assert_lacks(report, "Diagnostic-Code");
    }
}

/* [C131] What no host has said is in the words for people, and in no field. */
static void a_text_of_our_own_is_for_people(void **state)
{
    (void)state;
    ehlo_dsn_recipient rcpt = answered("b@example.org", EHLO_ACTION_FAILED, 0, "Connection refused");
    ehlo_dsn dsn = about(&rcpt, 1);
    ehlo_str report = write_sound(&dsn, "no reply");
    assert_has(report, "    What happened with the server mx.example.org:\r\n        Connection refused\r\n");
    assert_lacks(report, "Remote-MTA");
    assert_lacks(report, "Diagnostic-Code");
    rcpt.remote_mta.len = 0;
    assert_has(write_sound(&dsn, "no host"), "    The reason:\r\n        Connection refused\r\n");
    rcpt.text.len = 0;
    assert_lacks(write_sound(&dsn, "no text"), "The reason");
}

/* [C131] What cannot be known may have come twice; a message that is only late need not be sent again. */
static void people_are_told_what_they_need_to_know(void **state)
{
    (void)state;
    ehlo_dsn_recipient rcpt = answered("b@example.org", EHLO_ACTION_DELAYED, 451, "later");
    ehlo_dsn dsn = about(&rcpt, 1);
    rcpt.retry_until = UNTIL;
    ehlo_str report = write_sound(&dsn, "delayed");
    assert_has(report, "you need not do");
    assert_has(report, "It will be tried until Fri, 27 Nov 2026 06:00:00 +0000.");
    assert_has(report, "\r\nWill-Retry-Until: Fri, 27 Nov 2026 06:00:00 +0000\r\n");
    assert_lacks(report, "may have arrived");
    rcpt.may_have_arrived = 1;
    assert_has(write_sound(&dsn, "uncertain"), "may have arrived");
    rcpt.action = EHLO_ACTION_FAILED;
    report = write_sound(&dsn, "failed");
    assert_has(report, "may have arrived");
    assert_lacks(report, "Will-Retry-Until");
    assert_lacks(report, "It will be tried until");
    assert_lacks(report, "too old");
    set_enhanced(rcpt.status, 5, 4, 7);
    assert_has(write_sound(&dsn, "expired"), "too old");
    rcpt.action = EHLO_ACTION_DELAYED;
    set_enhanced(rcpt.status, 4, 4, 7);
    assert_lacks(write_sound(&dsn, "not expired"), "too old");
}

/* -- addresses -------------------------------------------------------------------------------------- */

static const struct {
    int utf8;
    const char *to, *type, *orcpt, *final, *original;
} addresses[] = {
    { 0, "b@example.org", "rfc822", "a+b@example.org", "rfc822; b@example.org", "rfc822; a+b@example.org" },
    { 0, "postmaster", "", "", "rfc822; postmaster", NULL },
    { 0, "\"a \\\"b\"@[192.0.2.1]", "x400", "/C=de/ S=x/", "rfc822; \"a \\\"b\"@[192.0.2.1]", "x400; /C=de/ S=x/" },
    { 0, "b@example.org", "rfc822", "caf\xc3\xa9@x", "rfc822; b@example.org", "rfc822; caf?@x" },
    /* RFC 6533 3: without UTF-8, utf-8-addr-xtext */
    { 0, "b@example.org", "utf-8", "caf\xc3\xa9+\xf0\x9f\x92\xa9@x", "rfc822; b@example.org",
      "utf-8; caf\\x{E9}\\x{2B}\\x{1F4A9}@x" },
    { 0, "b@example.org", "UTF-8", "a b@x", "rfc822; b@example.org", "UTF-8; a\\x{20}b@x" },
    /* with it, utf-8-address */
    { 1, "b@example.org", "utf-8", "caf\xc3\xa9@x", "rfc822; b@example.org", "utf-8; caf\xc3\xa9@x" },
    { 1, "caf\xc3\xa9@x", "rfc822", "b+c@x", "utf-8; caf\xc3\xa9@x", "rfc822; b+c@x" },
    { 1,
      "b@b\xc3\xbc"
      "cher.example",
      "utf-8", "a+b@x",
      "utf-8; b@b\xc3\xbc"
      "cher.example",
      "utf-8; a+b@x" },
};

/* [C131] [C183] RFC 3464 2.3.1, 2.3.2, RFC 6533 3 */
static void recipients_have_the_type_of_their_address(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(addresses); i++) {
        char line[128];
        ehlo_dsn_recipient rcpt = recipient(addresses[i].to, EHLO_ACTION_FAILED);
        ehlo_dsn dsn = about(&rcpt, 1);
        dsn.utf8 = (uint8_t)addresses[i].utf8;
        rcpt.orcpt_type = ehlo_str_from(addresses[i].type);
        rcpt.orcpt = ehlo_str_from(addresses[i].orcpt);
        ehlo_str report = write_sound(&dsn, addresses[i].to);
        snprintf(line, sizeof(line), "\r\nFinal-Recipient: %s\r\nAction: failed\r\n", addresses[i].final);
        assert_has(report, line);
        snprintf(line, sizeof(line), "\r\nOriginal-Recipient: %s\r\nFinal-Recipient: ", addresses[i].original);
        if (addresses[i].original != NULL)
            assert_has(report, line);
        else
            assert_lacks(report, "Original-Recipient");
        snprintf(line, sizeof(line), "\r\nTo <%s>:\r\n", addresses[i].to);
        assert_has(report, line);
    }
}

/* What grows beyond an ORCPT when it is encoded cannot have been one. */
static void an_original_recipient_too_long_to_encode_is_left_out(void **state)
{
    (void)state;
    ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_FAILED);
    ehlo_dsn dsn = about(&rcpt, 1);
    rcpt.orcpt_type = ehlo_str_from("utf-8");
    rcpt.orcpt = repeated("\xc3\xbc", 302);
    assert_lacks(write_sound(&dsn, "long"), "Original-Recipient");
    rcpt.orcpt.len = 300;
    assert_has(write_sound(&dsn, "short"), "\r\nOriginal-Recipient: utf-8;\r\n \\x{FC}\\x{FC}");
}

/* -- the frame -------------------------------------------------------------------------------------- */

/* [C232] RFC 5322 3.6, RFC 3834 5: one Date, From and Message-ID; others are told not to answer. */
static void the_header_says_who_when_to_whom_and_that_it_is_automatic(void **state)
{
    (void)state;
    static const struct {
        uint8_t action;
        const char *subject;
    } subjects[] = {
        { EHLO_ACTION_FAILED, "Your message could not be delivered" },
        { EHLO_ACTION_DELAYED, "Your message is delayed" },
        { EHLO_ACTION_DELIVERED, "Your message was delivered" },
        { EHLO_ACTION_RELAYED, "Your message was passed on" },
        { EHLO_ACTION_EXPANDED, "Your message was passed on to several addresses" },
    };
    for (size_t i = 0; i < COUNT(subjects); i++) {
        char header[512];
        ehlo_dsn_recipient rcpt = recipient("b@example.org", (ehlo_action)subjects[i].action);
        ehlo_dsn dsn = about(&rcpt, 1);
        ehlo_str report = write_sound(&dsn, subjects[i].subject);
        int len = snprintf(header, sizeof(header),
                           "Date: Sun, 22 Nov 2026 06:03:20 +0000\r\nMessage-ID: <4f2a9c.0b51e7d3@mx.example.com>\r\n"
                           "From: Mail Delivery System <mailer-daemon@mx.example.com>\r\nTo: <a@sender.example>\r\n"
                           "Subject: %s\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n",
                           subjects[i].subject);
        assert_memory_equal(report.ptr, header, (size_t)len);
    }
}

/* RFC 2046 5.1.1: a boundary has 1 to 70 octets of bchars. All octets of an atom may be in id. */
static void the_boundary_is_made_of_the_id(void **state)
{
    (void)state;
    static const struct {
        const char *id, *boundary;
    } cases[] = {
        { "a", "=_a" },
        { "4F.x-y_z", "=_4F.x-y_z" },
        { "!#$%&'*+-/=?^_`{|}~.9", "=______'_+-/=?_______.9" },
        { "0123456789012345678901234567890123456789012345678901234567890123",
          "=_0123456789012345678901234567890123456789012345678901234567890123" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[128];
        ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_FAILED);
        ehlo_dsn dsn = about(&rcpt, 1);
        dsn.id = ehlo_str_from(cases[i].id);
        ehlo_str report = write_sound(&dsn, cases[i].id);
        snprintf(text, sizeof(text), ";\r\n boundary=\"%s\"\r\n", cases[i].boundary);
        assert_has(report, text);
        snprintf(text, sizeof(text), "\r\n--%s\r\n", cases[i].boundary);
        assert_int_equal(count(report, text), 3);
        snprintf(text, sizeof(text), "\r\n--%s--\r\n", cases[i].boundary);
        assert_int_equal(count(report, text), 1);
    }
}

static void the_end_is_checked_as_the_beginning_is(void **state)
{
    (void)state;
    static const char expected[] = "\r\n--=_4f2a9c.0b51e7d3--\r\n";
    ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_FAILED);
    ehlo_dsn dsn = about(&rcpt, 1);
    size_t len;
    for (size_t cap = 0; cap < sizeof(expected) - 1; cap++) {
        char *block = guard_copy(expected, cap);
        assert_int_equal(ehlo_dsn_end(&dsn, block, cap, &len), EHLO_ERR_SPACE);
        assert_int_equal(len, sizeof(expected) - 1);
        guard_free(block, cap);
    }
    char out[sizeof(expected)];
    assert_int_equal(ehlo_dsn_end(&dsn, out, sizeof(out), &len), EHLO_OK);
    assert_text(ehlo_str_from(expected), ehlo_str_make(out, len), "the end", "end");
    dsn.id = ehlo_str_from("a\r\nb");
    assert_int_equal(ehlo_dsn_end(&dsn, out, sizeof(out), &len), EHLO_ERR_ARG);
    assert_int_equal(len, 0);
}

/* Members that are 0 are left out, and so is a time that no date can tell. */
static void what_is_not_known_is_left_out(void **state)
{
    (void)state;
    static const char *const names[] = { "Original-Envelope-Id", "Received-From-MTA", "Arrival-Date",
                                         "Original-Recipient",   "Remote-MTA",        "Diagnostic-Code",
                                         "Last-Attempt-Date",    "Will-Retry-Until",  "arrived here on",
                                         "tried until" };
    ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_DELAYED);
    ehlo_dsn dsn = about(&rcpt, 1);
    dsn.received_from.len = 0;
    for (int round = 0; round < 2; round++) {
        dsn.arrived = rcpt.last_attempt = rcpt.retry_until = round == 0 ? 0 : INT64_MAX;
        ehlo_str report = write_sound(&dsn, "least");
        for (size_t i = 0; i < COUNT(names); i++) assert_lacks(report, names[i]);
        assert_has(report,
                   "\r\n\r\nReporting-MTA: dns; mx.example.com\r\n\r\nFinal-Recipient: rfc822; b@example.org\r\n"
                   "Action: delayed\r\nStatus: 4.0.0\r\n\r\n--");
    }
}

/* [C131] One report for a thousand recipients, every other of which it does not speak of. */
static void a_thousand_recipients_are_told_one_by_one(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static ehlo_dsn_recipient rcpts[MANY];
    static char names[MANY][24];
    ehlo_dsn_cursor cursor = { 0 };
    static char out[EHLO_DSN_PIECE_MAX];
    size_t len, pieces = 0;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "r%zu@example.org", i);
        rcpts[i] = answered(names[i], i % 2 ? EHLO_ACTION_FAILED : EHLO_ACTION_NONE, 550, "no");
    }
    ehlo_dsn dsn = about(rcpts, MANY);
    ehlo_str report = write_sound(&dsn, "many");
    for (size_t i = 0; i < MANY; i++) {
        char line[64];
        snprintf(line, sizeof(line), "\r\nFinal-Recipient: rfc822; r%zu@example.org\r\n", i);
        assert_int_equal(count(report, line), i % 2);
    }
    while (ehlo_dsn_next(&dsn, &cursor, out, sizeof(out), &len) > 0) pieces++;
    assert_int_equal(pieces, 3 + MANY);
    assert_int_equal(ehlo_dsn_next(&dsn, &cursor, out, sizeof(out), &len), 0);
    assert_int_equal(len, 0);
}

/* -- what is returned is fit to go anywhere ---------------------------------------------------------- */

static void what_is_returned_passes_every_server(void **state) /* [C02] [C132] */
{
    static const struct {
        int utf8;
        uint8_t ret;
        ehlo_str given;
        ehlo_str fit;
    } cases[] = {
        { 0, EHLO_RET_HDRS, TEXT("Subject: caf\xC3\xA9\r\n"), TEXT("Subject: caf??\r\n") },
        { 0, EHLO_RET_HDRS, TEXT("a\rb\nc\0d\r\n\r\r\n"), TEXT("a?b?c?d\r\n?\r\n") },
        { 0, EHLO_RET_FULL, TEXT("caf\xE9\r\r\n\n"), TEXT("caf\xE9?\r\n?") },
        { 1, EHLO_RET_HDRS, TEXT("caf\xC3\xA9\r\n"), TEXT("caf\xC3\xA9\r\n") },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_FAILED);
        ehlo_dsn dsn = about(&rcpt, 1);
        dsn.utf8 = (uint8_t)cases[i].utf8;
        dsn.ret = cases[i].ret;
        for (size_t step = 1; step <= cases[i].given.len; step++) { /* cut everywhere */
            char out[128];
            uint8_t held = 0;
            size_t len = 0;
            for (size_t at = 0; at < cases[i].given.len; at += step) {
                size_t rest = cases[i].given.len - at;
                len += ehlo_dsn_fit(&dsn, &held, cases[i].given.ptr + at, step < rest ? step : rest, out + len);
            }
            assert_int_equal(len, cases[i].fit.len);
            assert_memory_equal(out, cases[i].fit.ptr, len);
        }
    }
}

static void a_failed_content_is_not_returned(void **state)
{
    ehlo_dsn_recipient rcpt = recipient("b@example.org", EHLO_ACTION_FAILED);
    ehlo_dsn dsn = about(&rcpt, 1);
    (void)state;
    dsn.ret = EHLO_RET_FULL;
    assert_true(ehlo_dsn_returns_full(&dsn));
    rcpt.enhanced[0] = 5;
    rcpt.enhanced[1] = 6;
    rcpt.enhanced[2] = 3;
    assert_false(ehlo_dsn_returns_full(&dsn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_report_is_written_as_it_was_read_by_eye),
        cmocka_unit_test(actions_have_names),
        cmocka_unit_test(notify_says_which_reports_are_wanted),
        cmocka_unit_test(ret_says_what_is_returned_of_a_failed_message),
        cmocka_unit_test(what_is_returned_passes_every_server),
        cmocka_unit_test(a_failed_content_is_not_returned),
        cmocka_unit_test(full_is_returned_where_any_recipient_failed),
        cmocka_unit_test(no_report_is_written_to_a_null_reverse_path),
        cmocka_unit_test(any_reverse_path_that_was_accepted_gets_its_report),
        cmocka_unit_test(our_own_words_are_refused_when_they_could_inject),
        cmocka_unit_test(what_is_out_of_range_is_refused),
        cmocka_unit_test(every_octet_of_others_is_cleaned),
        cmocka_unit_test(nothing_that_others_said_becomes_a_line_of_its_own),
        cmocka_unit_test(blank_values_are_left_out),
        cmocka_unit_test(what_is_too_long_is_cut),
        cmocka_unit_test(the_longest_names_of_our_own_fit),
        cmocka_unit_test(a_long_reply_is_folded_at_its_spaces),
        cmocka_unit_test(a_reply_of_many_lines_stays_so),
        cmocka_unit_test(status_and_diagnostic_code_follow_the_reply),
        cmocka_unit_test(a_text_of_our_own_is_for_people),
        cmocka_unit_test(people_are_told_what_they_need_to_know),
        cmocka_unit_test(recipients_have_the_type_of_their_address),
        cmocka_unit_test(an_original_recipient_too_long_to_encode_is_left_out),
        cmocka_unit_test(the_header_says_who_when_to_whom_and_that_it_is_automatic),
        cmocka_unit_test(the_boundary_is_made_of_the_id),
        cmocka_unit_test(the_end_is_checked_as_the_beginning_is),
        cmocka_unit_test(what_is_not_known_is_left_out),
        cmocka_unit_test(a_thousand_recipients_are_told_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

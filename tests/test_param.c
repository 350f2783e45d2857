/* MAIL and RCPT with their parameters. */
#include "table.h"

#define A10 "aaaaaaaaaa"
#define A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10
#define E_ACUTE "\xC3\xA9"

enum {
    ALL = EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_CHUNKING | EHLO_CAP_BINARYMIME | EHLO_CAP_AUTH | EHLO_CAP_DSN |
          EHLO_CAP_SMTPUTF8 | EHLO_CAP_REQUIRETLS | EHLO_CAP_DELIVERBY | EHLO_CAP_MT_PRIORITY | EHLO_CAP_FUTURERELEASE |
          EHLO_CAP_RRVS,
    DSN = EHLO_CAP_DSN,
    DUPLICATES = EHLO_SYNTAX_DUPLICATES
};

/* -- what is accepted ------------------------------------------------------------------------------- */

static ehlo_mail mail_of(const char *argument, uint32_t offered, unsigned leniencies)
{
    ehlo_param_rules rules = { offered, leniencies, 0 };
    ehlo_mail mail;
    ehlo_fault fault;
    ehlo_str text = ehlo_str_from(argument);
    assert_accepted(ehlo_mail_parse(text, &rules, &mail, &fault), fault, argument);
    ehlo_str guard = guarded(text);
    ehlo_mail again;
    assert_int_equal(ehlo_mail_parse(guard, &rules, &again, NULL), EHLO_OK);
    assert_int_equal(again.present, mail.present);
    unguard(guard);
    return mail;
}

static ehlo_rcpt rcpt_of(const char *argument, uint32_t offered, unsigned leniencies)
{
    ehlo_param_rules rules = { offered, leniencies, 0 };
    ehlo_rcpt rcpt;
    ehlo_fault fault;
    ehlo_str text = ehlo_str_from(argument);
    assert_accepted(ehlo_rcpt_parse(text, &rules, &rcpt, &fault), fault, argument);
    ehlo_str guard = guarded(text);
    ehlo_rcpt again;
    assert_int_equal(ehlo_rcpt_parse(guard, &rules, &again, NULL), EHLO_OK);
    assert_int_equal(again.present, rcpt.present);
    unguard(guard);
    return rcpt;
}

static void assert_mailbox(const char *expected, const ehlo_path *path)
{
    assert_text(ehlo_str_from(expected), path->mailbox, "mailbox", expected);
}

static void mail_takes_a_path(void **state)
{
    (void)state;
    ehlo_mail mail = mail_of("FROM:<a@x.example>", 0, 0);
    assert_mailbox("a@x.example", &mail.path);
    assert_int_equal(mail.present, 0);
    assert_int_equal(mail.params.len, 0);
    mail = mail_of("fRoM:<>", 0, 0); /* [C3][C36] */
    assert_mailbox("", &mail.path);
    assert_text(ehlo_str_from("<>"), mail.path.text, "text", "null path");
    mail = mail_of("FROM:<@a,@b:u@d> SIZE=1", ALL, 0); /* [C44] */
    assert_mailbox("u@d", &mail.path);
    assert_text(ehlo_str_from("SIZE=1"), mail.params, "params", "route");
    mail = mail_of("FROM:  <a@b>", 0, EHLO_SYNTAX_COLON_SPACE); /* [C46] */
    assert_mailbox("a@b", &mail.path);
    mail = mail_of("FROM:a@b SIZE=1", ALL, EHLO_SYNTAX_BARE_PATH);
    assert_mailbox("a@b", &mail.path);
    assert_int_equal(mail.size, 1);
}

static void rcpt_takes_a_path_and_postmaster(void **state)
{
    (void)state;
    ehlo_rcpt rcpt = rcpt_of("TO:<b@x.example>", 0, 0);
    assert_mailbox("b@x.example", &rcpt.path);
    rcpt = rcpt_of("tO:<PostMaster>", 0, 0); /* [C3][C42] */
    assert_mailbox("PostMaster", &rcpt.path);
    assert_int_equal(rcpt.path.domain.len, 0);
    rcpt = rcpt_of("TO:<postmaster@x> NOTIFY=NEVER", DSN, 0); /* [C42] */
    assert_mailbox("postmaster@x", &rcpt.path);
    rcpt = rcpt_of("TO:<" E_ACUTE "@x>", 0, EHLO_SYNTAX_UTF8);
    assert_int_equal(rcpt.path.utf8, 1);
}

/* [C160][C161][C162] */
static void size_is_a_number_that_never_wraps(void **state)
{
    (void)state;
    assert_true(mail_of("FROM:<> SIZE=0", ALL, 0).size == 0);
    assert_true(mail_of("FROM:<> SIZE=1000000000000", ALL, 0).size == UINT64_C(1000000000000));
    assert_true(mail_of("FROM:<> SIZE=18446744073709551615", ALL, 0).size == UINT64_MAX);
    assert_true(mail_of("FROM:<> SIZE=18446744073709551616", ALL, 0).size == UINT64_MAX); /* [P01] */
    assert_true(mail_of("FROM:<> SIZE=99999999999999999999", ALL, 0).size == UINT64_MAX);
    assert_true(mail_of("FROM:<> SIZE=00000000000000000012", ALL, 0).size == 12);
    assert_int_equal(mail_of("FROM:<> SIZE=0", ALL, 0).present, EHLO_PARAM_SIZE);
}

/* [C4][C165] */
static void body_is_read_in_any_case(void **state)
{
    (void)state;
    assert_int_equal(mail_of("FROM:<>", ALL, 0).body, EHLO_BODY_DEFAULT);
    assert_int_equal(mail_of("FROM:<> BODY=7BIT", ALL, 0).body, EHLO_BODY_7BIT);
    assert_int_equal(mail_of("FROM:<> body=8bitmime", ALL, 0).body, EHLO_BODY_8BITMIME);
    assert_int_equal(mail_of("FROM:<> BODY=8BITMIME", EHLO_CAP_8BITMIME, 0).body, EHLO_BODY_8BITMIME);
    assert_int_equal(mail_of("FROM:<> BODY=BinaryMime", ALL, 0).body, EHLO_BODY_BINARYMIME);
    assert_int_equal(mail_of("FROM:<> BODY=BINARYMIME", EHLO_CAP_BINARYMIME, 0).body, EHLO_BODY_BINARYMIME);
}

/* [C171][C172][C174] */
static void smtputf8_admits_utf8_wherever_it_stands(void **state)
{
    (void)state;
    ehlo_mail mail = mail_of("FROM:<" E_ACUTE "@" E_ACUTE "> SMTPUTF8", ALL, 0);
    assert_int_equal(mail.present, EHLO_PARAM_SMTPUTF8);
    assert_int_equal(mail.path.utf8, 1);
    mail = mail_of("FROM:<" E_ACUTE "@x> SIZE=5 smtputf8 BODY=8BITMIME", ALL, 0);
    assert_int_equal(mail.present, EHLO_PARAM_SMTPUTF8 | EHLO_PARAM_SIZE | EHLO_PARAM_BODY);
    mail = mail_of("FROM:<a@x> SMTPUTF8", EHLO_CAP_SMTPUTF8, 0);
    assert_int_equal(mail.path.utf8, 0);
}

/* [C180] */
static void dsn_parameters_of_mail_are_read(void **state)
{
    (void)state;
    ehlo_mail mail = mail_of("FROM:<> RET=hdrs ENVID=a+2Bb", DSN, 0);
    assert_int_equal(mail.ret, EHLO_RET_HDRS);
    assert_text(ehlo_str_from("a+2Bb"), mail.envid, "envid", "ENVID");
    assert_int_equal(mail_of("FROM:<> RET=FULL", DSN, 0).ret, EHLO_RET_FULL);
    assert_int_equal(mail_of("FROM:<> ENVID=" A100, DSN, 0).envid.len, 100);
}

/* [C197] */
static void auth_is_a_mailbox_in_xtext_or_null(void **state)
{
    (void)state;
    ehlo_mail mail = mail_of("FROM:<> AUTH=<>", ALL, 0);
    assert_text(ehlo_str_from("<>"), mail.auth, "auth", "null");
    mail = mail_of("FROM:<> AUTH=e+3Dmc2@example.com", ALL, 0);
    assert_text(ehlo_str_from("e+3Dmc2@example.com"), mail.auth, "auth", "xtext");
    mail = mail_of("FROM:<> AUTH=\"a+20b\"@x", ALL, 0);
    assert_int_equal(mail.present, EHLO_PARAM_AUTH);
}

/* [C224] */
static void by_is_time_mode_and_trace(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int32_t seconds;
        ehlo_by mode;
        int trace;
    } rows[] = {
        { "FROM:<> BY=120;R", 120, EHLO_BY_RETURN, 0 },
        { "FROM:<> BY=+120;rt", 120, EHLO_BY_RETURN, 1 },
        { "FROM:<> BY=-1;N", -1, EHLO_BY_NOTIFY, 0 },
        { "FROM:<> BY=0;NT", 0, EHLO_BY_NOTIFY, 1 },
        { "FROM:<> BY=-999999999;N", -999999999, EHLO_BY_NOTIFY, 0 },
        { "FROM:<> by=999999999;R", 999999999, EHLO_BY_RETURN, 0 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        ehlo_mail mail = mail_of(rows[i].text, EHLO_CAP_DELIVERBY, 0);
        assert_int_equal(mail.by_seconds, rows[i].seconds);
        assert_int_equal(mail.by_mode, rows[i].mode);
        assert_int_equal(mail.by_trace, rows[i].trace);
    }
}

/* [C225] */
static void mt_priority_runs_from_minus_nine_to_nine(void **state)
{
    (void)state;
    for (int priority = -9; priority <= 9; priority++) {
        char text[40];
        snprintf(text, sizeof(text), "FROM:<> MT-PRIORITY=%d", priority);
        ehlo_mail mail = mail_of(text, ALL, 0);
        assert_int_equal(mail.mt_priority, priority);
        assert_int_equal(mail.present, EHLO_PARAM_MT_PRIORITY);
    }
}

/* [C226] */
static void a_hold_is_seconds_or_a_utc_date_time(void **state)
{
    (void)state;
    assert_int_equal(mail_of("FROM:<> HOLDFOR=1", ALL, 0).hold_for, 1);
    assert_int_equal(mail_of("FROM:<> HOLDFOR=999999999", ALL, 0).hold_for, 999999999);
    static const char *const times[] = {
        "2026-11-22T06:00:00Z", "2026-11-22t06:00:00z",   "2024-02-29T00:00:00Z",
        "2000-02-29T23:59:60Z", "2026-12-31T23:59:59.9Z", "0000-01-01T00:00:00.123456789Z",
    };
    for (size_t i = 0; i < COUNT(times); i++) {
        char text[80];
        snprintf(text, sizeof(text), "FROM:<> HOLDUNTIL=%s", times[i]);
        ehlo_param_rules rules = { ALL, 0, 0 };
        ehlo_mail mail;
        ehlo_fault fault;
        assert_accepted(ehlo_mail_parse(ehlo_str_from(text), &rules, &mail, &fault), fault, times[i]);
        assert_text(ehlo_str_from(times[i]), mail.hold_until, "hold_until", times[i]);
    }
}

/* [C178] */
static void notify_is_never_or_a_list(void **state)
{
    (void)state;
    assert_int_equal(rcpt_of("TO:<a@b>", DSN, 0).notify, 0);
    assert_int_equal(rcpt_of("TO:<a@b> notify=never", DSN, 0).notify, EHLO_NOTIFY_NEVER); /* [C4] */
    assert_int_equal(rcpt_of("TO:<a@b> NOTIFY=SUCCESS", DSN, 0).notify, EHLO_NOTIFY_SUCCESS);
    assert_int_equal(rcpt_of("TO:<a@b> NOTIFY=DELAY,FAILURE,SUCCESS", DSN, 0).notify,
                     EHLO_NOTIFY_SUCCESS | EHLO_NOTIFY_FAILURE | EHLO_NOTIFY_DELAY);
}

/* [C179] */
static void orcpt_is_a_type_and_an_address(void **state)
{
    (void)state;
    ehlo_rcpt rcpt = rcpt_of("TO:<a@b> ORCPT=rfc822;Bob+2Bx@c", DSN, 0);
    assert_text(ehlo_str_from("rfc822"), rcpt.orcpt_type, "type", "rfc822");
    assert_text(ehlo_str_from("Bob+2Bx@c"), rcpt.orcpt, "orcpt", "rfc822");
    rcpt = rcpt_of("TO:<a@b> ORCPT=x400;;a;b", DSN, 0);
    assert_text(ehlo_str_from(";a;b"), rcpt.orcpt, "orcpt", "semicolons");
    assert_int_equal(
        rcpt_of("TO:<a@b> ORCPT=rfc822;" A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaa", DSN, 0)
            .orcpt.len,
        493);
    static const char *const international[] = {
        "\\x{E9}@x", "a\\x{20}b\\x{2B}\\x{3D}\\x{5C}@x", "\\x{A0}", "\\x{10FFFF}", "\\x{D7FF}\\x{E000}", "plain@x",
        "[;]",
    };
    for (size_t i = 0; i < COUNT(international); i++) {
        char text[80];
        snprintf(text, sizeof(text), "TO:<a@b> ORCPT=UTF-8;%s", international[i]);
        ehlo_param_rules rules = { DSN, 0, 0 };
        ehlo_fault fault;
        assert_accepted(ehlo_rcpt_parse(ehlo_str_from(text), &rules, &rcpt, &fault), fault, international[i]);
    }
    rcpt = rcpt_of("TO:<a@b> ORCPT=utf-8;" E_ACUTE "@x", DSN, EHLO_SYNTAX_UTF8);
    assert_text(ehlo_str_from(E_ACUTE "@x"), rcpt.orcpt, "orcpt", "unitext");
}

static void rrvs_is_a_date_time_and_an_action(void **state)
{
    (void)state;
    ehlo_rcpt rcpt = rcpt_of("TO:<a@b> RRVS=2014-04-03T23:01:00Z", EHLO_CAP_RRVS, 0);
    assert_text(ehlo_str_from("2014-04-03T23:01:00Z"), rcpt.rrvs, "rrvs", "no action");
    assert_int_equal(rcpt.rrvs_action, 0);
    rcpt = rcpt_of("TO:<a@b> RRVS=2014-04-03T23:01:00.5-07:30;c", EHLO_CAP_RRVS, 0);
    assert_text(ehlo_str_from("2014-04-03T23:01:00.5-07:30"), rcpt.rrvs, "rrvs", "continue");
    assert_int_equal(rcpt.rrvs_action, 'C');
    assert_int_equal(rcpt_of("TO:<a@b> RRVS=2014-04-03T23:01:00+00:00;R", EHLO_CAP_RRVS, 0).rrvs_action, 'R');
}

/* [C49] */
static void the_last_of_two_counts_when_lenient(void **state)
{
    (void)state;
    ehlo_mail mail = mail_of("FROM:<> SIZE=1 BY=5;RT SIZE=2 BY=6;N", ALL, DUPLICATES);
    assert_int_equal(mail.size, 2);
    assert_int_equal(mail.by_seconds, 6);
    assert_int_equal(mail.by_mode, EHLO_BY_NOTIFY);
    assert_int_equal(mail.by_trace, 0);
    ehlo_rcpt rcpt = rcpt_of("TO:<a@b> RRVS=2014-04-03T23:01:00Z;R RRVS=2014-04-03T23:01:00Z", ALL, DUPLICATES);
    assert_int_equal(rcpt.rrvs_action, 0);
    assert_int_equal(rcpt_of("TO:<a@b> NOTIFY=NEVER NOTIFY=DELAY", ALL, DUPLICATES).notify, EHLO_NOTIFY_DELAY);
}

static void every_parameter_fits_on_one_command(void **state)
{
    (void)state;
    ehlo_mail mail = mail_of("FROM:<a@b> SIZE=1 BODY=7BIT SMTPUTF8 RET=FULL ENVID=x AUTH=<> REQUIRETLS BY=1;R "
                             "MT-PRIORITY=3 HOLDFOR=5",
                             ALL, 0);
    assert_int_equal(mail.present, 0x3FF);
    ehlo_rcpt rcpt = rcpt_of("TO:<a@b> NOTIFY=NEVER ORCPT=rfc822;a@b RRVS=2014-04-03T23:01:00Z", ALL, 0);
    assert_int_equal(rcpt.present, EHLO_PARAM_NOTIFY | EHLO_PARAM_ORCPT | EHLO_PARAM_RRVS);
}

/* -- what is refused -------------------------------------------------------------------------------- */

typedef struct bad_row {
    const char *name;
    ehlo_str text;
    uint32_t offered;
    unsigned leniencies;
    ehlo_rule rule;
    size_t offset;
} bad_row;

static const bad_row bad_mail_rows[] = {
    { "nothing", TEXT(""), ALL, 0, EHLO_RULE_MISSING, 0 },
    { "no path", TEXT("FROM:"), ALL, 0, EHLO_RULE_BRACKET, 5 },
    { "[C17] space before the colon", TEXT("FROM :<a@b>"), ALL, 0, EHLO_RULE_COLON, 0 },
    { "[C17] no colon", TEXT("FROM<a@b>"), ALL, 0, EHLO_RULE_COLON, 0 },
    { "[C17] MAIL TO", TEXT("TO:<a@b>"), ALL, 0, EHLO_RULE_COLON, 0 },
    { "[C7] two spaces before FROM", TEXT(" FROM:<a@b>"), ALL, 0, EHLO_RULE_COLON, 0 },
    { "[C46] strict about a space", TEXT("FROM: <a@b>"), ALL, 0, EHLO_RULE_BRACKET, 5 },
    { "postmaster without a domain", TEXT("FROM:<postmaster>"), ALL, 0, EHLO_RULE_AT, 16 },
    { "[C43] no domain", TEXT("FROM:<a>"), ALL, 0, EHLO_RULE_AT, 7 },
    { "two paths", TEXT("FROM:<a@b><c@d>"), ALL, 0, EHLO_RULE_UNEXPECTED, 10 },
    { "[P13] a quote right behind the path", TEXT("FROM:<a@b>\""), ALL, 0, EHLO_RULE_UNEXPECTED, 10 },
    { "[P13] a value that is a quote", TEXT("FROM:<a@b> AUTH=\""), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 16 },
    { "[P13] a quote without a keyword", TEXT("FROM:<a@b> \""), ALL, 0, EHLO_RULE_PARAMETER, 11 },
    { "a tab before a parameter", TEXT("FROM:<a@b>\tSIZE=1"), ALL, 0, EHLO_RULE_CONTROL, 10 },
    { "[C7] two spaces before a parameter", TEXT("FROM:<a@b>  SIZE=1"), ALL, 0, EHLO_RULE_PARAMETER, 11 },
    { "[C7] two spaces between parameters", TEXT("FROM:<> SIZE=1  RET=FULL"), ALL, 0, EHLO_RULE_PARAMETER, 15 },
    { "[C48][P09] no keyword", TEXT("FROM:<> =x"), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C48] no value", TEXT("FROM:<> X="), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C48] space before =", TEXT("FROM:<> SIZE =1"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 8 },
    { "[C48] space behind =", TEXT("FROM:<> SIZE= 1"), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C48][P10] a space in a keyword", TEXT("FROM:<> X Y="), ALL, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C48] two =", TEXT("FROM:<> SIZE=1=2"), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C48] keyword that begins with a hyphen", TEXT("FROM:<> -X=1"), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C48] underscore in a keyword", TEXT("FROM:<> MT_PRIORITY=1"), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C48][C06] control in a value", TEXT("FROM:<> SIZE=1\x01"), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C48] DEL in a value", TEXT("FROM:<> ENVID=a\x7F"), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "NUL in a value", TEXT("FROM:<> ENVID=a\0b"), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C47][P11] unknown", TEXT("FROM:<> NOSUCH=1"), ALL, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C47] unknown behind known ones", TEXT("FROM:<> SIZE=1 NOSUCH"), ALL, 0, EHLO_RULE_PARAMETER_UNKNOWN, 15 },
    { "[C47] a parameter of RCPT", TEXT("FROM:<> NOTIFY=NEVER"), ALL, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C47] more than a keyword", TEXT("FROM:<> SIZEX=1"), ALL, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C28][C35] SIZE not offered", TEXT("FROM:<> SIZE=1"), ALL & ~EHLO_CAP_SIZE, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C35] BODY not offered", TEXT("FROM:<> BODY=7BIT"), EHLO_CAP_SIZE, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C35] SMTPUTF8 not offered", TEXT("FROM:<> SMTPUTF8"), 0, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C35] RET not offered", TEXT("FROM:<> RET=FULL"), 0, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C35] ENVID not offered", TEXT("FROM:<> ENVID=x"), 0, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C35] AUTH not offered", TEXT("FROM:<> AUTH=<>"), 0, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C35] REQUIRETLS not offered", TEXT("FROM:<> REQUIRETLS"), 0, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C35] BY not offered", TEXT("FROM:<> BY=1;R"), 0, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C35] MT-PRIORITY not offered", TEXT("FROM:<> MT-PRIORITY=1"), 0, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C35] HOLDFOR not offered", TEXT("FROM:<> HOLDFOR=1"), 0, 0, EHLO_RULE_PARAMETER_UNKNOWN, 8 },
    { "[C49][P06] SIZE twice", TEXT("FROM:<> SIZE=1 SIZE=2"), ALL, 0, EHLO_RULE_PARAMETER_TWICE, 15 },
    { "[C49] twice in two cases", TEXT("FROM:<> SMTPUTF8 smtputf8"), ALL, 0, EHLO_RULE_PARAMETER_TWICE, 17 },
    { "[C180][P14] RET twice", TEXT("FROM:<> RET=FULL RET=HDRS"), ALL, 0, EHLO_RULE_PARAMETER_TWICE, 17 },
    { "[C162][P02] SIZE negative", TEXT("FROM:<> SIZE=-1"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 13 },
    { "[C162][P03] SIZE exponent", TEXT("FROM:<> SIZE=1e3"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 13 },
    { "[C162][P04] SIZE empty", TEXT("FROM:<> SIZE="), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C162][P05] SIZE without a value", TEXT("FROM:<> SIZE"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 8 },
    { "[C162] SIZE of 21 digits", TEXT("FROM:<> SIZE=000000000000000000001"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 13 },
    { "[C165][P07] BODY empty", TEXT("FROM:<> BODY="), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C165] BODY without a value", TEXT("FROM:<> BODY"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 8 },
    { "[C165][P08] BODY unknown", TEXT("FROM:<> BODY=9BIT"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 13 },
    { "[C156] BINARYMIME not offered", TEXT("FROM:<> BODY=BINARYMIME"), EHLO_CAP_8BITMIME, 0, EHLO_RULE_PARAMETER_VALUE,
      13 },
    { "8BITMIME not offered", TEXT("FROM:<> BODY=8BITMIME"), EHLO_CAP_BINARYMIME, 0, EHLO_RULE_PARAMETER_VALUE, 13 },
    { "[C172] SMTPUTF8 with a value", TEXT("FROM:<> SMTPUTF8=x"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 17 },
    { "[C173][C07] UTF-8, SMTPUTF8 not offered", TEXT("FROM:<" E_ACUTE "@x.example>"), 0, 0, EHLO_RULE_NON_ASCII, 6 },
    { "[C173] UTF-8, SMTPUTF8 not given", TEXT("FROM:<a" E_ACUTE "@x> SIZE=1"), ALL, 0, EHLO_RULE_NON_ASCII, 7 },
    { "[C173] SMTPUTF8 inside the path is no parameter", TEXT("FROM:<\"" E_ACUTE " SMTPUTF8 \"@x>"), ALL, 0,
      EHLO_RULE_NON_ASCII, 7 },
    { "[C174] malformed UTF-8", TEXT("FROM:<\xE9@x> SMTPUTF8"), ALL, 0, EHLO_RULE_UTF8, 6 },
    { "[C08] malformed UTF-8 in a value", TEXT("FROM:<a@x.example> SMTPUTF8 X=\xF1\x80"), ALL, 0, EHLO_RULE_PARAMETER,
      28 },
    { "[C19] UTF-8 in a value, SMTPUTF8 not offered", TEXT("FROM:<> X=" E_ACUTE), DSN, 0, EHLO_RULE_NON_ASCII, 10 },
    { "UTF-8 in xtext", TEXT("FROM:<> SMTPUTF8 ENVID=" E_ACUTE), ALL, 0, EHLO_RULE_XTEXT, 23 },
    { "RET unknown", TEXT("FROM:<> RET=BODY"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 12 },
    { "[C180][P14] ENVID empty", TEXT("FROM:<> ENVID="), ALL, 0, EHLO_RULE_PARAMETER, 8 },
    { "[C180] ENVID without a value", TEXT("FROM:<> ENVID"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 8 },
    { "[C180][P14] ENVID of 101", TEXT("FROM:<> ENVID=" A100 "a"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 14 },
    { "[C182][P15] ENVID with NUL", TEXT("FROM:<> ENVID=+00"), ALL, 0, EHLO_RULE_XTEXT, 14 },
    { "[C182][P15] ENVID with LF", TEXT("FROM:<> ENVID=ab+0A"), ALL, 0, EHLO_RULE_XTEXT, 16 },
    { "[C182][P15] ENVID with CRLF", TEXT("FROM:<> ENVID=+0D+0A."), ALL, 0, EHLO_RULE_XTEXT, 14 },
    { "[C181][P15] ENVID half a hexchar", TEXT("FROM:<> ENVID=+"), ALL, 0, EHLO_RULE_XTEXT, 14 },
    { "[C181][P15] ENVID bad hexchar", TEXT("FROM:<> ENVID=+G1"), ALL, 0, EHLO_RULE_XTEXT, 14 },
    { "[C181][P15] ENVID lower hex", TEXT("FROM:<> ENVID=+2b"), ALL, 0, EHLO_RULE_XTEXT, 14 },
    { "[C197][P12] AUTH bad xtext", TEXT("FROM:<> AUTH=++"), ALL, 0, EHLO_RULE_XTEXT, 13 },
    { "[C197][C182][P15] AUTH with LF", TEXT("FROM:<> AUTH=a+0Ab@x"), ALL, 0, EHLO_RULE_XTEXT, 14 },
    { "[C197] AUTH no mailbox", TEXT("FROM:<> AUTH=abc"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 13 },
    { "[C197] AUTH with brackets", TEXT("FROM:<> AUTH=<a@b>"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 13 },
    { "[C197] AUTH decodes to no mailbox", TEXT("FROM:<> AUTH=a+20b@x"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 13 },
    { "[C197] AUTH of 501", TEXT("FROM:<> AUTH=" A100 A100 A100 A100 A100 "a"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 13 },
    { "REQUIRETLS with a value", TEXT("FROM:<> REQUIRETLS=1"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 19 },
    { "[C224] BY zero and return", TEXT("FROM:<> BY=0;R"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224] BY minus zero and return", TEXT("FROM:<> BY=-0;R"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224] BY negative and return", TEXT("FROM:<> BY=-1;RT"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224][P16] BY too long", TEXT("FROM:<> BY=-999999999999;R"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224] BY of ten digits", TEXT("FROM:<> BY=1000000000;R"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224] BY without a mode", TEXT("FROM:<> BY=1"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224] BY with an empty mode", TEXT("FROM:<> BY=1;"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224] BY with trace first", TEXT("FROM:<> BY=1;TR"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224] BY with two modes", TEXT("FROM:<> BY=1;RN"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224] BY without a time", TEXT("FROM:<> BY=;R"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224] BY with a sign alone", TEXT("FROM:<> BY=-;N"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C224] BY with two signs", TEXT("FROM:<> BY=--1;N"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 11 },
    { "[C225][P16] MT-PRIORITY with two signs", TEXT("FROM:<> MT-PRIORITY=--1"), ALL, 0, EHLO_RULE_PARAMETER_VALUE,
      20 },
    { "[C225] MT-PRIORITY beyond nine", TEXT("FROM:<> MT-PRIORITY=10"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 20 },
    { "[C225] MT-PRIORITY below minus nine", TEXT("FROM:<> MT-PRIORITY=-10"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 20 },
    { "[C225] MT-PRIORITY minus zero", TEXT("FROM:<> MT-PRIORITY=-0"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 20 },
    { "[C225] MT-PRIORITY plus", TEXT("FROM:<> MT-PRIORITY=+1"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 20 },
    { "[C225] MT-PRIORITY a sign alone", TEXT("FROM:<> MT-PRIORITY=-"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 20 },
    { "[C226][P16] HOLDFOR too long", TEXT("FROM:<> HOLDFOR=99999999999"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 16 },
    { "[C226] HOLDFOR zero", TEXT("FROM:<> HOLDFOR=0"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 16 },
    { "[C226] HOLDFOR negative", TEXT("FROM:<> HOLDFOR=-1"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 16 },
    { "[C226] both holds", TEXT("FROM:<> HOLDFOR=1 HOLDUNTIL=2026-11-22T06:00:00Z"), ALL, 0, EHLO_RULE_PARAMETER_CLASH,
      18 },
    { "[C226] both holds, the other way", TEXT("FROM:<> HOLDUNTIL=2026-11-22T06:00:00Z HOLDFOR=1"), ALL, DUPLICATES,
      EHLO_RULE_PARAMETER_CLASH, 39 },
    { "[C226] no time", TEXT("FROM:<> HOLDUNTIL=2026-11-22"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] no zone", TEXT("FROM:<> HOLDUNTIL=2026-11-22T06:00:00"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] not UTC", TEXT("FROM:<> HOLDUNTIL=2026-11-22T06:00:00+01:00"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] a month that is not", TEXT("FROM:<> HOLDUNTIL=2026-13-22T06:00:00Z"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] month 0", TEXT("FROM:<> HOLDUNTIL=2026-00-22T06:00:00Z"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] a day that is not", TEXT("FROM:<> HOLDUNTIL=2026-04-31T06:00:00Z"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] no leap year", TEXT("FROM:<> HOLDUNTIL=2026-02-29T06:00:00Z"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] no leap century", TEXT("FROM:<> HOLDUNTIL=1900-02-29T06:00:00Z"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] hour 24", TEXT("FROM:<> HOLDUNTIL=2026-11-22T24:00:00Z"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] minute 60", TEXT("FROM:<> HOLDUNTIL=2026-11-22T06:60:00Z"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] second 61", TEXT("FROM:<> HOLDUNTIL=2026-11-22T06:00:61Z"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] an empty fraction", TEXT("FROM:<> HOLDUNTIL=2026-11-22T06:00:00.Z"), ALL, 0, EHLO_RULE_TIME, 18 },
    { "[C226] text behind", TEXT("FROM:<> HOLDUNTIL=2026-11-22T06:00:00Zz"), ALL, 0, EHLO_RULE_TIME, 18 },
};

static void bad_mail_is_refused_where_it_goes_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_mail_rows); i++) {
        const bad_row *row = &bad_mail_rows[i];
        ehlo_param_rules rules = { row->offered, row->leniencies, 0 };
        ehlo_str text = guarded(row->text);
        ehlo_mail mail;
        ehlo_fault fault;
        memset(&mail, 0xFF, sizeof(mail));
        int result = ehlo_mail_parse(text, &rules, &mail, &fault);
        assert_refused(result, fault, row->rule, row->offset, row->name);
        assert_zero(&mail, sizeof(mail), row->name);
        unguard(text);
    }
}

static const bad_row bad_rcpt_rows[] = {
    { "nothing", TEXT(""), ALL, 0, EHLO_RULE_MISSING, 0 },
    { "null path", TEXT("TO:<>"), ALL, 0, EHLO_RULE_MISSING, 3 },
    { "[C17] RCPT FROM", TEXT("FROM:<a@b>"), ALL, 0, EHLO_RULE_COLON, 0 },
    { "[C43] no domain", TEXT("TO:<a>"), ALL, 0, EHLO_RULE_AT, 5 },
    { "[A15] two paths", TEXT("TO:<a@x.example><b@x.example>"), ALL, 0, EHLO_RULE_UNEXPECTED, 16 },
    { "[C47] a parameter of MAIL", TEXT("TO:<a@b> SIZE=1"), ALL, 0, EHLO_RULE_PARAMETER_UNKNOWN, 9 },
    { "[C35] NOTIFY not offered", TEXT("TO:<a@b> NOTIFY=NEVER"), ALL & ~EHLO_CAP_DSN, 0, EHLO_RULE_PARAMETER_UNKNOWN,
      9 },
    { "[C35] ORCPT not offered", TEXT("TO:<a@b> ORCPT=rfc822;a"), 0, 0, EHLO_RULE_PARAMETER_UNKNOWN, 9 },
    { "[C35] RRVS not offered", TEXT("TO:<a@b> RRVS=2014-04-03T23:01:00Z"), DSN, 0, EHLO_RULE_PARAMETER_UNKNOWN, 9 },
    { "[C49] NOTIFY twice", TEXT("TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY"), ALL, 0, EHLO_RULE_PARAMETER_TWICE, 22 },
    { "[C178][P14] NEVER and more", TEXT("TO:<a@b> NOTIFY=NEVER,SUCCESS"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 22 },
    { "[C178] more and NEVER", TEXT("TO:<a@b> NOTIFY=SUCCESS,NEVER"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 24 },
    { "[C178][P14] a comma", TEXT("TO:<a@b> NOTIFY=,"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 16 },
    { "[C178] a trailing comma", TEXT("TO:<a@b> NOTIFY=DELAY,"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 22 },
    { "[C178] a repeat", TEXT("TO:<a@b> NOTIFY=DELAY,FAILURE,delay"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 30 },
    { "[C178] unknown event", TEXT("TO:<a@b> NOTIFY=ALWAYS"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 16 },
    { "[C178] empty", TEXT("TO:<a@b> NOTIFY="), ALL, 0, EHLO_RULE_PARAMETER, 9 },
    { "[C178] no value", TEXT("TO:<a@b> NOTIFY"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 9 },
    { "[C179][P14] ORCPT without a type", TEXT("TO:<a@b> ORCPT=rcpt@x"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 15 },
    { "[C179] ORCPT with an empty type", TEXT("TO:<a@b> ORCPT=;a@x"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 15 },
    { "[C179] ORCPT with a type that is no atom", TEXT("TO:<a@b> ORCPT=rfc.822;a"), ALL, 0, EHLO_RULE_PARAMETER_VALUE,
      15 },
    { "[C179][P14] ORCPT without an address", TEXT("TO:<a@b> ORCPT=rfc822;"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 15 },
    { "[C179][P14] ORCPT of 501",
      TEXT("TO:<a@b> ORCPT=rfc822;" A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaa"), ALL, 0,
      EHLO_RULE_PARAMETER_VALUE, 15 },
    { "[C181] ORCPT bad xtext", TEXT("TO:<a@b> ORCPT=rfc822;a+b"), ALL, 0, EHLO_RULE_XTEXT, 23 },
    { "[C182] ORCPT with LF", TEXT("TO:<a@b> ORCPT=rfc822;a+0A"), ALL, 0, EHLO_RULE_XTEXT, 23 },
    { "international ORCPT with LF", TEXT("TO:<a@b> ORCPT=utf-8;a\\x{A}b"), ALL, 0, EHLO_RULE_XTEXT, 22 },
    { "international ORCPT with 0A", TEXT("TO:<a@b> ORCPT=utf-8;\\x{0A}"), ALL, 0, EHLO_RULE_XTEXT, 21 },
    { "international ORCPT with an ASCII letter", TEXT("TO:<a@b> ORCPT=utf-8;\\x{41}"), ALL, 0, EHLO_RULE_XTEXT, 21 },
    { "international ORCPT with DEL", TEXT("TO:<a@b> ORCPT=utf-8;\\x{7F}"), ALL, 0, EHLO_RULE_XTEXT, 21 },
    { "international ORCPT in lower hex", TEXT("TO:<a@b> ORCPT=utf-8;\\x{e9}"), ALL, 0, EHLO_RULE_XTEXT, 21 },
    { "international ORCPT with a leading zero", TEXT("TO:<a@b> ORCPT=utf-8;\\x{0E9}"), ALL, 0, EHLO_RULE_XTEXT, 21 },
    { "international ORCPT with a surrogate", TEXT("TO:<a@b> ORCPT=utf-8;\\x{D800}"), ALL, 0, EHLO_RULE_XTEXT, 21 },
    { "international ORCPT above U+10FFFF", TEXT("TO:<a@b> ORCPT=utf-8;\\x{110000}"), ALL, 0, EHLO_RULE_XTEXT, 21 },
    { "international ORCPT of seven digits", TEXT("TO:<a@b> ORCPT=utf-8;\\x{1000000}"), ALL, 0, EHLO_RULE_XTEXT, 21 },
    { "international ORCPT not closed", TEXT("TO:<a@b> ORCPT=utf-8;\\x{E9"), ALL, 0, EHLO_RULE_XTEXT, 21 },
    { "international ORCPT with a backslash", TEXT("TO:<a@b> ORCPT=utf-8;a\\b"), ALL, 0, EHLO_RULE_XTEXT, 22 },
    { "international ORCPT with a plus", TEXT("TO:<a@b> ORCPT=utf-8;a+2Bb"), ALL, 0, EHLO_RULE_XTEXT, 22 },
    { "[C19] raw UTF-8 in ORCPT without SMTPUTF8", TEXT("TO:<a@b> ORCPT=utf-8;" E_ACUTE), ALL, 0, EHLO_RULE_NON_ASCII,
      21 },
    { "raw UTF-8 in xtext", TEXT("TO:<a@b> ORCPT=rfc822;" E_ACUTE), ALL, EHLO_SYNTAX_UTF8, EHLO_RULE_XTEXT, 22 },
    { "[C173] UTF-8 path", TEXT("TO:<" E_ACUTE "@x>"), ALL, 0, EHLO_RULE_NON_ASCII, 4 },
    { "RRVS with a bad action", TEXT("TO:<a@b> RRVS=2014-04-03T23:01:00Z;X"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 34 },
    { "RRVS with an empty action", TEXT("TO:<a@b> RRVS=2014-04-03T23:01:00Z;"), ALL, 0, EHLO_RULE_PARAMETER_VALUE, 34 },
    { "RRVS with a bad time", TEXT("TO:<a@b> RRVS=2014-04-03;C"), ALL, 0, EHLO_RULE_TIME, 14 },
    { "RRVS with a bad offset", TEXT("TO:<a@b> RRVS=2014-04-03T23:01:00+0100"), ALL, 0, EHLO_RULE_TIME, 14 },
};

static void bad_rcpt_is_refused_where_it_goes_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_rcpt_rows); i++) {
        const bad_row *row = &bad_rcpt_rows[i];
        ehlo_param_rules rules = { row->offered, row->leniencies, 0 };
        ehlo_str text = guarded(row->text);
        ehlo_rcpt rcpt;
        ehlo_fault fault;
        memset(&rcpt, 0xFF, sizeof(rcpt));
        int result = ehlo_rcpt_parse(text, &rules, &rcpt, &fault);
        assert_refused(result, fault, row->rule, row->offset, row->name);
        assert_zero(&rcpt, sizeof(rcpt), row->name);
        unguard(text);
    }
}

/* [P17] */
static void four_thousand_parameters_are_read_in_order(void **state)
{
    (void)state;
    enum { MANY = 4096 };
    static char text[7 + MANY * 7];
    memcpy(text, "FROM:<>", 7);
    for (size_t i = 0; i < MANY; i++) memcpy(text + 7 + 7 * i, " SIZE=1", 7);
    ehlo_str whole = guarded(ehlo_str_make(text, sizeof(text)));
    ehlo_param_rules rules = { ALL, 0, 0 };
    ehlo_mail mail;
    ehlo_fault fault;
    int result = ehlo_mail_parse(whole, &rules, &mail, &fault);
    assert_refused(result, fault, EHLO_RULE_PARAMETER_TWICE, 15, "4096 parameters");
    rules.leniencies = DUPLICATES;
    assert_accepted(ehlo_mail_parse(whole, &rules, &mail, &fault), fault, "4096 parameters, lenient");
    size_t count = 0;
    ehlo_str rest = mail.params;
    for (ehlo_str keyword, value; ehlo_param_next(&rest, &keyword, &value) == 1;) count++;
    assert_int_equal(count, MANY);
    unguard(whole);
}

/* -- walking the parameters ------------------------------------------------------------------------- */

static void parameters_are_walked_one_by_one(void **state)
{
    (void)state;
    ehlo_str text = guarded(ehlo_str_from("SIZE=1 SMTPUTF8 X-9=a;\"b\" Y=" E_ACUTE));
    ehlo_str rest = text;
    ehlo_str keyword;
    ehlo_str value;
    assert_int_equal(ehlo_param_next(&rest, &keyword, &value), 1);
    assert_text(ehlo_str_from("SIZE"), keyword, "keyword", "first");
    assert_text(ehlo_str_from("1"), value, "value", "first");
    assert_int_equal(ehlo_param_next(&rest, &keyword, &value), 1);
    assert_text(ehlo_str_from("SMTPUTF8"), keyword, "keyword", "second");
    assert_null(value.ptr);
    assert_int_equal(ehlo_param_next(&rest, &keyword, &value), 1);
    assert_text(ehlo_str_from("X-9"), keyword, "keyword", "third");
    assert_text(ehlo_str_from("a;\"b\""), value, "value", "third");
    assert_int_equal(ehlo_param_next(&rest, &keyword, &value), 1);
    assert_text(ehlo_str_from(E_ACUTE), value, "value", "fourth");
    assert_int_equal(ehlo_param_next(&rest, &keyword, &value), 0);
    assert_null(keyword.ptr);
    assert_int_equal(ehlo_param_next(&rest, &keyword, &value), 0);
    unguard(text);
}

static void a_walk_stops_at_a_malformed_parameter(void **state)
{
    (void)state;
    ehlo_str rest = ehlo_str_from("A=1 B= C=2");
    ehlo_str keyword;
    ehlo_str value;
    assert_int_equal(ehlo_param_next(&rest, &keyword, &value), 1);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(ehlo_param_next(&rest, &keyword, &value), EHLO_ERR_SYNTAX);
        assert_text(ehlo_str_from("B= C=2"), rest, "rest", "stopped");
        assert_null(keyword.ptr);
    }
}

/* [C48] */
static void each_octet_is_admitted_in_a_value_as_the_grammar_has_it(void **state)
{
    (void)state;
    for (int octet = 0; octet < 256; octet++) {
        char text[] = { 'X', '=', 'a', (char)(unsigned char)octet };
        ehlo_str rest = ehlo_str_make(text, 4);
        ehlo_str keyword;
        ehlo_str value;
        int is_value = octet >= 33 && octet <= 126 && octet != '=';
        int result = ehlo_param_next(&rest, &keyword, &value);
        assert_int_equal(result == 1, is_value || octet == ' ');
        if (result == 1) assert_int_equal(value.len, is_value ? 2 : 1);
    }
}

/* A good command cut anywhere is refused or read, and nothing behind the cut is looked at. */
static void a_command_cut_anywhere_stays_within_its_text(void **state)
{
    (void)state;
    static const char mail_text[] = "FROM:<@r:\"a b\"@[IPv6:::1]> SIZE=1 BODY=7BIT SMTPUTF8 RET=FULL ENVID=+2B "
                                    "AUTH=a@b BY=1;RT MT-PRIORITY=-3 HOLDUNTIL=2026-11-22T06:00:00.5Z";
    static const char rcpt_text[] = "TO:<a@b> NOTIFY=DELAY,SUCCESS ORCPT=utf-8;\\x{E9}@x "
                                    "RRVS=2014-04-03T23:01:00+01:00;C";
    ehlo_param_rules rules = { ALL, 0, 0 };
    ehlo_mail mail;
    ehlo_rcpt rcpt;
    ehlo_fault fault;
    for (size_t len = 0; len < sizeof(mail_text); len++) {
        ehlo_str text = guarded(ehlo_str_make(mail_text, len));
        int result = ehlo_mail_parse(text, &rules, &mail, &fault);
        if (result < 0) assert_true(fault.offset <= len);
        assert_within(text, mail.params, "params");
        unguard(text);
    }
    assert_int_equal(ehlo_mail_parse(ehlo_str_from(mail_text), &rules, &mail, NULL), EHLO_OK);
    for (size_t len = 0; len < sizeof(rcpt_text); len++) {
        ehlo_str text = guarded(ehlo_str_make(rcpt_text, len));
        int result = ehlo_rcpt_parse(text, &rules, &rcpt, &fault);
        if (result < 0) assert_true(fault.offset <= len);
        assert_within(text, rcpt.params, "params");
        unguard(text);
    }
    assert_int_equal(ehlo_rcpt_parse(ehlo_str_from(rcpt_text), &rules, &rcpt, NULL), EHLO_OK);
}

/* [C52] */
static void the_path_limit_is_handed_down(void **state)
{
    (void)state;
    ehlo_param_rules rules = { 0, 0, 5 };
    ehlo_mail mail;
    ehlo_rcpt rcpt;
    ehlo_fault fault;
    assert_accepted(ehlo_mail_parse(ehlo_str_from("FROM:<a@b>"), &rules, &mail, &fault), fault, "5");
    int result = ehlo_mail_parse(ehlo_str_from("FROM:<a@bc>"), &rules, &mail, &fault);
    assert_refused(result, fault, EHLO_RULE_TOO_LONG_PATH, 10, "6");
    result = ehlo_rcpt_parse(ehlo_str_from("TO:<a@bc>"), &rules, &rcpt, &fault);
    assert_refused(result, fault, EHLO_RULE_TOO_LONG_PATH, 8, "6");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_takes_a_path),
        cmocka_unit_test(rcpt_takes_a_path_and_postmaster),
        cmocka_unit_test(size_is_a_number_that_never_wraps),
        cmocka_unit_test(body_is_read_in_any_case),
        cmocka_unit_test(smtputf8_admits_utf8_wherever_it_stands),
        cmocka_unit_test(dsn_parameters_of_mail_are_read),
        cmocka_unit_test(auth_is_a_mailbox_in_xtext_or_null),
        cmocka_unit_test(by_is_time_mode_and_trace),
        cmocka_unit_test(mt_priority_runs_from_minus_nine_to_nine),
        cmocka_unit_test(a_hold_is_seconds_or_a_utc_date_time),
        cmocka_unit_test(notify_is_never_or_a_list),
        cmocka_unit_test(orcpt_is_a_type_and_an_address),
        cmocka_unit_test(rrvs_is_a_date_time_and_an_action),
        cmocka_unit_test(the_last_of_two_counts_when_lenient),
        cmocka_unit_test(every_parameter_fits_on_one_command),
        cmocka_unit_test(bad_mail_is_refused_where_it_goes_wrong),
        cmocka_unit_test(bad_rcpt_is_refused_where_it_goes_wrong),
        cmocka_unit_test(four_thousand_parameters_are_read_in_order),
        cmocka_unit_test(parameters_are_walked_one_by_one),
        cmocka_unit_test(a_walk_stops_at_a_malformed_parameter),
        cmocka_unit_test(each_octet_is_admitted_in_a_value_as_the_grammar_has_it),
        cmocka_unit_test(a_command_cut_anywhere_stays_within_its_text),
        cmocka_unit_test(the_path_limit_is_handed_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

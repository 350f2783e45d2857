/* The command writer (RFC 5321 4.1.1): what it writes, and that nothing else gets out. */
#include "table.h"

#include "plain.h"

enum { ROOM = 80000 };

static const unsigned char untouched = 0xAA;
static char out[ROOM];

static void forget_output(void)
{
    memset(out, untouched, sizeof(out));
}

static void assert_untouched(const char *name)
{
    for (size_t i = 0; i < sizeof(out); i++) {
        if ((unsigned char)out[i] != untouched) fail_msg("%s: octet %zu was written", name, i);
    }
}

static void assert_line(int result, size_t len, ehlo_fault fault, ehlo_str expected, const char *name)
{
    assert_accepted(result, fault, name);
    assert_text(expected, ehlo_str_make(out, len), "line", name);
    if ((unsigned char)out[len] != untouched) fail_msg("%s: more was written than it says", name);
}

/* -- commands made of text -------------------------------------------------------------------------- */

typedef struct command_case {
    ehlo_verb verb;
    ehlo_str argument;
    ehlo_str line; /* empty: refused */
    ehlo_rule rule;
    size_t offset;
} command_case;

#define WRITES(verb, argument, line)                                                                                   \
    {                                                                                                                  \
        EHLO_VERB_##verb, TEXT(argument), TEXT(line "\r\n"), EHLO_RULE_NONE, 0                                         \
    }
#define REFUSES(verb, argument, rule, offset)                                                                          \
    {                                                                                                                  \
        EHLO_VERB_##verb, TEXT(argument), TEXT(""), EHLO_RULE_##rule, offset                                           \
    }

static const command_case commands[] = {
    WRITES(EHLO, "mail.example.org", "EHLO mail.example.org"),
    WRITES(EHLO, "[192.0.2.1]", "EHLO [192.0.2.1]"),
    WRITES(HELO, "[IPv6:2001:db8::1]", "HELO [IPv6:2001:db8::1]"),
    WRITES(LHLO, "localhost", "LHLO localhost"),
    REFUSES(EHLO, "", MISSING, 0),
    REFUSES(EHLO, "a b", UNEXPECTED, 1),
    REFUSES(EHLO, "a_b", DOMAIN, 1),
    REFUSES(EHLO, "192.0.2.1]", DOMAIN, 9),
    REFUSES(EHLO, "[192.0.2.300]", LITERAL, 0),
    REFUSES(EHLO,
            "b\xc3\xbc"
            "cher.example",
            NON_ASCII, 1),
    REFUSES(EHLO, "a\r\nQUIT", CONTROL, 1),
    WRITES(MAIL, "FROM:<>", "MAIL FROM:<>"),
    WRITES(MAIL, "FROM:<a@b> SIZE=1 BODY=8BITMIME", "MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME"),
    REFUSES(MAIL, "", MISSING, 0),
    REFUSES(MAIL, "FROM:a@b", BRACKET, 5),
    REFUSES(MAIL, "FROM: <a@b>", BRACKET, 5),
    REFUSES(MAIL, "FROM:<@r:a@b>", ROUTE, 6),
    REFUSES(MAIL, "FROM:<a@b> NOSUCH=1", PARAMETER_UNKNOWN, 11),
    REFUSES(MAIL, "FROM:<a@b> ", UNEXPECTED, 10),
    REFUSES(MAIL, "FROM:<a@b> SIZE=1 ", UNEXPECTED, 17),
    WRITES(RCPT, "TO:<a@b>", "RCPT TO:<a@b>"),
    REFUSES(RCPT, "TO:<a@b> NOTIFY=NEVER ", UNEXPECTED, 21),
    WRITES(RCPT, "TO:<postmaster> NOTIFY=NEVER", "RCPT TO:<postmaster> NOTIFY=NEVER"),
    REFUSES(RCPT, "TO:<>", MISSING, 3),
    REFUSES(RCPT, "TO:<@r,@s:a@b>", ROUTE, 4),
    REFUSES(RCPT, "FROM:<a@b>", COLON, 0),
    WRITES(DATA, "", "DATA"),
    REFUSES(DATA, "x", UNEXPECTED, 0),
    REFUSES(DATA, " ", UNEXPECTED, 0),
    WRITES(BDAT, "0 LAST", "BDAT 0 LAST"),
    REFUSES(BDAT, "-1", NUMBER, 0),
    REFUSES(BDAT, "", MISSING, 0),
    WRITES(RSET, "", "RSET"),
    REFUSES(RSET, "now", UNEXPECTED, 0),
    WRITES(QUIT, "", "QUIT"),
    REFUSES(QUIT, "\r\n", UNEXPECTED, 0),
    WRITES(NOOP, "", "NOOP"),
    WRITES(NOOP, "still here", "NOOP still here"),
    REFUSES(NOOP, "a\nb", CONTROL, 1),
    REFUSES(NOOP, "a ", UNEXPECTED, 2),
    REFUSES(NOOP, " a", UNEXPECTED, 0),
    REFUSES(NOOP, "a  b", UNEXPECTED, 2),
    WRITES(HELP, "", "HELP"),
    WRITES(HELP, "MAIL", "HELP MAIL"),
    WRITES(HELP, "\"a <b>\"", "HELP \"a <b>\""),
    REFUSES(HELP, "\"a", QUOTED, 2),
    REFUSES(HELP, "a\tb", CONTROL, 1),
    WRITES(VERB, "ON", "VERB ON"),
    WRITES(VERB, "", "VERB"),
    WRITES(VRFY, "smith", "VRFY smith"),
    WRITES(VRFY, "John Q. Smith", "VRFY John Q. Smith"),
    WRITES(VRFY, "\"john smith\"", "VRFY \"john smith\""),
    WRITES(VRFY, "\"a b\"@example.org", "VRFY \"a b\"@example.org"),
    WRITES(VRFY, "a@[192.0.2.1]", "VRFY a@[192.0.2.1]"),
    WRITES(VRFY, "<a@b>", "VRFY <a@b>"),
    WRITES(VRFY, "J\xc3\xbcrgen SMTPUTF8", "VRFY J\xc3\xbcrgen SMTPUTF8"),
    WRITES(VRFY, "SMTPUTF8", "VRFY SMTPUTF8"),
    REFUSES(VRFY, "", MISSING, 0),
    REFUSES(VRFY, "J\xc3\xbcrgen", NON_ASCII, 1),
    REFUSES(VRFY, "J\xc3(rgen SMTPUTF8", UTF8, 1),
    REFUSES(VRFY, "J\xc2\x9brgen SMTPUTF8", CONTROL, 1),
    REFUSES(VRFY, "<@r:a@b>", ROUTE, 1),
    REFUSES(VRFY, "<a@b> x", UNEXPECTED, 5),
    REFUSES(VRFY, "<>", MISSING, 0),
    REFUSES(VRFY, "> SIZE=1", UNEXPECTED, 0),
    WRITES(EXPN, "list", "EXPN list"),
    REFUSES(EXPN, "list\r\nQUIT", CONTROL, 4),
    WRITES(ETRN, "example.org", "ETRN example.org"),
    WRITES(ETRN, "@example.org", "ETRN @example.org"),
    WRITES(ETRN, "#queue.1", "ETRN #queue.1"),
    REFUSES(ETRN, "", MISSING, 0),
    REFUSES(ETRN, "a b", DOMAIN, 1),
    WRITES(STARTTLS, "", "STARTTLS"),
    REFUSES(STARTTLS, "x", UNEXPECTED, 0),
    WRITES(AUTH, "EXTERNAL =", "AUTH EXTERNAL ="),
    WRITES(AUTH, "PLAIN AGEAYg==", "AUTH PLAIN AGEAYg=="),
    REFUSES(AUTH, "PLAIN a", BASE64, 7),
    REFUSES(AUTH, "", MISSING, 0),
    WRITES(XCLIENT, "NAME=a.example ADDR=192.0.2.1", "XCLIENT NAME=a.example ADDR=192.0.2.1"),
    WRITES(XCLIENT, "NAME=[UNAVAILABLE] LOGIN=a+20b", "XCLIENT NAME=[UNAVAILABLE] LOGIN=a+20b"),
    REFUSES(XCLIENT, "", MISSING, 0),
    REFUSES(XCLIENT, "NAME", PARAMETER_VALUE, 0),
    REFUSES(XCLIENT, "A=1 NAME=a+0Ab", XTEXT, 10),
    REFUSES(XCLIENT, "A=1 =2", PARAMETER, 4),
    REFUSES(XCLIENT, "A=1 ", PARAMETER, 4),
    WRITES(UNKNOWN, "XFOO", "XFOO"),
    WRITES(UNKNOWN, "XFORWARD ADDR=[UNAVAILABLE] <>", "XFORWARD ADDR=[UNAVAILABLE] <>"),
    REFUSES(UNKNOWN, "", COMMAND, 0),
    REFUSES(UNKNOWN, "mail FROM:<@r:a@b>", COMMAND, 0),
    REFUSES(UNKNOWN, "XFOO ", UNEXPECTED, 4),
    REFUSES(UNKNOWN, "XFOO a\tb", CONTROL, 6),
    REFUSES(UNKNOWN, "XFOO \xc3\xbc", NON_ASCII, 5),
    REFUSES(UNKNOWN, "XFOO\r\nQUIT", CONTROL, 4),
    REFUSES(TURN, "", COMMAND, 0),
    REFUSES(SEND, "FROM:<a@b>", COMMAND, 0),
    REFUSES(SOML, "FROM:<a@b>", COMMAND, 0),
    REFUSES(SAML, "FROM:<a@b>", COMMAND, 0),
    REFUSES(COUNT, "", COMMAND, 0),
};

/* What the server makes of a line is what was given. */
static void assert_read_back(ehlo_verb verb, ehlo_str argument, size_t len, const char *name)
{
    ehlo_command_line line;
    ehlo_fault fault;
    assert_accepted(ehlo_command_parse(ehlo_str_make(out, len - 2), &line, &fault), fault, name);
    assert_int_equal(line.verb, verb);
    if (verb != EHLO_VERB_UNKNOWN) assert_text(argument, line.argument, "argument", name);
}

/* [C18] [C26] [C45] [C176] */
static void every_verb_is_written_by_the_grammar_of_its_argument(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(commands); i++) {
        const command_case *c = &commands[i];
        ehlo_str argument = guarded(c->argument);
        size_t len = 99;
        ehlo_fault fault;
        forget_output();
        int result = ehlo_command_write(c->verb, argument, out, sizeof(out), &len, &fault);
        if (c->rule == EHLO_RULE_NONE) {
            assert_line(result, len, fault, c->line, c->argument.ptr);
            assert_read_back(c->verb, c->argument, len, c->argument.ptr);
        } else {
            if (result != EHLO_ERR_ARG) fail_msg("%s: result %d", c->argument.ptr, result);
            assert_refused(EHLO_ERR_SYNTAX, fault, c->rule, c->offset, c->argument.ptr);
            assert_int_equal(len, 0);
            assert_untouched(c->argument.ptr);
        }
        assert_int_equal(ehlo_command_write(c->verb, argument, out, sizeof(out), &len, NULL), result);
        unguard(argument);
    }
}

static void no_argument_may_be_a_null_view(void **state)
{
    (void)state;
    size_t len;
    ehlo_fault fault;
    ehlo_str none = { NULL, 0 };
    forget_output();
    int result = ehlo_command_write(EHLO_VERB_NOOP, none, out, sizeof(out), &len, &fault);
    assert_line(result, len, fault, (ehlo_str)TEXT("NOOP\r\n"), "NOOP");
    assert_int_equal(ehlo_command_write(EHLO_VERB_UNKNOWN, none, out, sizeof(out), &len, &fault), EHLO_ERR_ARG);
    assert_int_equal(ehlo_command_write(EHLO_VERB_VRFY, none, out, sizeof(out), &len, &fault), EHLO_ERR_ARG);
    assert_int_equal(ehlo_command_write(EHLO_VERB_MAIL, none, out, sizeof(out), &len, &fault), EHLO_ERR_ARG);
}

static void hello_takes_its_three_verbs_alone(void **state)
{
    (void)state;
    size_t len;
    ehlo_fault fault;
    forget_output();
    int result = ehlo_hello_write(EHLO_VERB_LHLO, ehlo_str_from("a.example"), out, sizeof(out), &len, &fault);
    assert_line(result, len, fault, (ehlo_str)TEXT("LHLO a.example\r\n"), "LHLO");
    forget_output();
    result = ehlo_hello_write(EHLO_VERB_VRFY, ehlo_str_from("a.example"), out, sizeof(out), &len, &fault);
    assert_int_equal(result, EHLO_ERR_ARG);
    assert_int_equal(fault.rule, EHLO_RULE_COMMAND);
    assert_int_equal(len, 0);
    assert_untouched("VRFY");
    assert_int_equal(ehlo_hello_write(EHLO_VERB_VRFY, ehlo_str_from("a"), out, sizeof(out), &len, NULL), EHLO_ERR_ARG);
}

static void a_chunk_is_told_in_octets(void **state)
{
    (void)state;
    size_t len;
    ehlo_fault none = { 0, EHLO_RULE_NONE };
    forget_output();
    int result = ehlo_bdat_write(0, 0, out, sizeof(out), &len);
    assert_line(result, len, none, (ehlo_str)TEXT("BDAT 0\r\n"), "0");
    forget_output();
    result = ehlo_bdat_write(UINT64_MAX, 1, out, sizeof(out), &len);
    assert_line(result, len, none, (ehlo_str)TEXT("BDAT 18446744073709551615 LAST\r\n"), "the largest");
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

typedef struct auth_case {
    ehlo_str mechanism;
    ehlo_str response;
    ehlo_str line;
} auth_case;

static const auth_case auths[] = {
    { TEXT("PLAIN"), { NULL, 0 }, TEXT("AUTH PLAIN\r\n") },
    { TEXT("EXTERNAL"), TEXT(""), TEXT("AUTH EXTERNAL =\r\n") },
    { TEXT("PLAIN"), TEXT("\0a\0b"), TEXT("AUTH PLAIN AGEAYg==\r\n") },
    { TEXT("SCRAM-SHA-256-PLUSXX"), TEXT("\r\n\xff"), TEXT("AUTH SCRAM-SHA-256-PLUSXX DQr/\r\n") },
    { TEXT("PLAIN AGEAYg=="), { NULL, 0 }, TEXT("") },
    { TEXT("PLAIN "), { NULL, 0 }, TEXT("") },
    { TEXT("PLAIN\r\nQUIT"), TEXT("x"), TEXT("") },
    { TEXT(""), TEXT("x"), TEXT("") },
    { TEXT("ABCDEFGHIJKLMNOPQRSTU"), TEXT("x"), TEXT("") },
};

/* [C187] [C190] */
static void the_initial_response_is_base64_or_an_equals_sign_or_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(auths); i++) {
        const auth_case *c = &auths[i];
        size_t len = 99;
        ehlo_fault fault;
        forget_output();
        int result = ehlo_auth_write(c->mechanism, c->response, out, sizeof(out), &len, &fault);
        if (c->line.len > 0) {
            assert_line(result, len, fault, c->line, c->mechanism.ptr);
        } else {
            assert_int_equal(result, EHLO_ERR_ARG);
            assert_true(fault.rule != EHLO_RULE_NONE);
            assert_int_equal(len, 0);
            assert_untouched(c->mechanism.ptr);
        }
    }
}

/* [C195] */
static void a_challenge_is_answered_with_base64_or_cancelled(void **state)
{
    (void)state;
    size_t len;
    ehlo_fault none = { 0, EHLO_RULE_NONE };
    static const ehlo_str answers[][2] = {
        { { NULL, 0 }, TEXT("*\r\n") },
        { TEXT(""), TEXT("\r\n") },
        { TEXT("a"), TEXT("YQ==\r\n") },
        { TEXT("\r\n.\r\n"), TEXT("DQouDQo=\r\n") },
    };
    for (size_t i = 0; i < COUNT(answers); i++) {
        forget_output();
        int result = ehlo_auth_response_write(answers[i][0], out, sizeof(out), &len);
        assert_line(result, len, none, answers[i][1], answers[i][1].ptr);
    }
}

/* -- MAIL ------------------------------------------------------------------------------------------- */

typedef struct mail_case {
    ehlo_mail_command mail;
    ehlo_str line; /* empty: refused */
    ehlo_rule rule;
    size_t offset;
} mail_case;

#define PARAM(name) .present = EHLO_PARAM_##name
#define A_MAIL .mailbox = TEXT("a@b")
#define LINE(text) TEXT("MAIL FROM:" text "\r\n"), EHLO_RULE_NONE, 0
#define FAULT(rule, offset) TEXT(""), EHLO_RULE_##rule, offset
#define HUNDRED "1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"

/* clang-format off */
static const mail_case mails[] = {
    { { .present = 0 }, LINE("<>") },
    { { A_MAIL }, LINE("<a@b>") },
    { { .mailbox = TEXT("\"a b\\\"c\"@[IPv6:::1]") }, LINE("<\"a b\\\"c\"@[IPv6:::1]>") },
    { { .mailbox = TEXT("\"plain\"@b") }, LINE("<\"plain\"@b>") },
    { { .mailbox = TEXT("a%c!d@b") }, LINE("<a%c!d@b>") },
    { { .mailbox = TEXT("\xc3\xbc@b\xc3\xbc"), PARAM(SMTPUTF8) }, LINE("<\xc3\xbc@b\xc3\xbc> SMTPUTF8") },
    { { .mailbox = TEXT("\xc3\xbc@b") }, FAULT(NON_ASCII, 0) },
    { { .mailbox = TEXT("a\xc2\x85@b"), PARAM(SMTPUTF8) }, FAULT(CONTROL, 1) },
    { { .mailbox = TEXT("a\xe2\x80\xa8@b"), PARAM(SMTPUTF8) }, FAULT(CONTROL, 1) },
    { { .mailbox = TEXT("a\xff@b"), PARAM(SMTPUTF8) }, FAULT(UTF8, 1) },
    { { .mailbox = TEXT("@r:a@b") }, FAULT(LOCAL_PART, 0) },
    { { .mailbox = TEXT("<a@b>") }, FAULT(LOCAL_PART, 0) },
    { { .mailbox = TEXT("a@b>") }, FAULT(DOMAIN, 3) },
    { { .mailbox = TEXT("a@b ") }, FAULT(DOMAIN, 3) },
    { { .mailbox = TEXT("a@b> SIZE=1") }, FAULT(DOMAIN, 3) },
    { { .mailbox = TEXT("a@b> FOO=<x") }, FAULT(DOMAIN, 3) },
    { { .mailbox = TEXT("a b@c") }, FAULT(LOCAL_PART, 1) },
    { { .mailbox = TEXT("postmaster") }, FAULT(AT, 10) },
    { { .mailbox = TEXT("a\0@b") }, FAULT(CONTROL, 1) },
    { { A_MAIL, PARAM(SIZE), .size = 0 }, LINE("<a@b> SIZE=0") },
    { { A_MAIL, PARAM(SIZE), .size = UINT64_MAX }, LINE("<a@b> SIZE=18446744073709551615") },
    { { A_MAIL, .size = 5, .body = EHLO_BODY_7BIT, .envid = TEXT("x\n") }, LINE("<a@b>") },
    { { A_MAIL, PARAM(BODY), .body = EHLO_BODY_7BIT }, LINE("<a@b> BODY=7BIT") },
    { { A_MAIL, PARAM(BODY), .body = EHLO_BODY_8BITMIME }, LINE("<a@b> BODY=8BITMIME") },
    { { A_MAIL, PARAM(BODY), .body = EHLO_BODY_BINARYMIME }, LINE("<a@b> BODY=BINARYMIME") },
    { { A_MAIL, PARAM(BODY) }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(BODY), .body = 4 }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(RET), .ret = EHLO_RET_FULL }, LINE("<a@b> RET=FULL") },
    { { A_MAIL, PARAM(RET), .ret = EHLO_RET_HDRS }, LINE("<a@b> RET=HDRS") },
    { { A_MAIL, PARAM(RET), .ret = 3 }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(ENVID), .envid = TEXT("QQ+3=14 x") }, LINE("<a@b> ENVID=QQ+2B3+3D14+20x") },
    { { A_MAIL, PARAM(ENVID), .envid = TEXT(HUNDRED) }, LINE("<a@b> ENVID=" HUNDRED) },
    { { A_MAIL, PARAM(ENVID), .envid = TEXT(HUNDRED "1") }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(ENVID) }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(ENVID), .envid = TEXT("a\rb") }, FAULT(CONTROL, 1) },
    { { A_MAIL, PARAM(ENVID), .envid = TEXT("a\tb") }, FAULT(CONTROL, 1) },
    { { A_MAIL, PARAM(ENVID), .envid = TEXT("ab\xc3\xbc") }, FAULT(NON_ASCII, 2) },
    { { A_MAIL, PARAM(AUTH) }, LINE("<a@b> AUTH=<>") },
    { { A_MAIL, PARAM(AUTH), .auth = TEXT("e=mc2@b") }, LINE("<a@b> AUTH=e+3Dmc2@b") },
    { { A_MAIL, PARAM(AUTH), .auth = TEXT("\"a b\"@c") }, LINE("<a@b> AUTH=\"a+20b\"@c") },
    { { A_MAIL, PARAM(AUTH), .auth = TEXT("a") }, FAULT(AT, 1) },
    { { A_MAIL, PARAM(AUTH), .auth = TEXT("<>") }, FAULT(LOCAL_PART, 0) },
    { { A_MAIL, PARAM(REQUIRETLS) }, LINE("<a@b> REQUIRETLS") },
    { { A_MAIL, PARAM(BY), .by_seconds = 120, .by_mode = EHLO_BY_RETURN }, LINE("<a@b> BY=120;R") },
    { { A_MAIL, PARAM(BY), .by_seconds = -999999999, .by_mode = EHLO_BY_NOTIFY, .by_trace = 1 },
      LINE("<a@b> BY=-999999999;NT") },
    { { A_MAIL, PARAM(BY), .by_seconds = 0, .by_mode = EHLO_BY_RETURN }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(BY), .by_seconds = 1000000000, .by_mode = EHLO_BY_NOTIFY }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(BY), .by_seconds = INT32_MIN, .by_mode = EHLO_BY_NOTIFY }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(BY), .by_seconds = 1 }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(MT_PRIORITY), .mt_priority = -9 }, LINE("<a@b> MT-PRIORITY=-9") },
    { { A_MAIL, PARAM(MT_PRIORITY) }, LINE("<a@b> MT-PRIORITY=0") },
    { { A_MAIL, PARAM(MT_PRIORITY), .mt_priority = 10 }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(MT_PRIORITY), .mt_priority = -10 }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(HOLDFOR), .hold_for = 86400 }, LINE("<a@b> HOLDFOR=86400") },
    { { A_MAIL, PARAM(HOLDFOR) }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(HOLDFOR), .hold_for = 1000000000 }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(HOLDUNTIL), .hold_until = TEXT("2030-01-01T00:00:00Z") },
      LINE("<a@b> HOLDUNTIL=2030-01-01T00:00:00Z") },
    { { A_MAIL, PARAM(HOLDUNTIL), .hold_until = TEXT("2030-01-01T00:00:00+01:00") }, FAULT(TIME, 0) },
    { { A_MAIL, PARAM(HOLDFOR) | EHLO_PARAM_HOLDUNTIL, .hold_for = 1, .hold_until = TEXT("2030-01-01T00:00:00Z") },
      FAULT(PARAMETER_CLASH, 0) },
    { { A_MAIL, PARAM(NOTIFY) }, FAULT(PARAMETER_UNKNOWN, 0) },
    { { A_MAIL, .params = TEXT("XFOO=1 XBAR") }, LINE("<a@b> XFOO=1 XBAR") },
    { { A_MAIL, PARAM(SIZE), .size = 7, .params = TEXT("XFOO") }, LINE("<a@b> SIZE=7 XFOO") },
    { { A_MAIL, PARAM(SMTPUTF8), .params = TEXT("X=\xc3\xbc") }, LINE("<a@b> SMTPUTF8 X=\xc3\xbc") },
    { { A_MAIL, .params = TEXT("X=\xc3\xbc") }, FAULT(NON_ASCII, 2) },
    { { A_MAIL, PARAM(SMTPUTF8), .params = TEXT("X=\xc2\x9b") }, FAULT(CONTROL, 2) },
    { { A_MAIL, .params = TEXT("XFOO size=1") }, FAULT(PARAMETER_CLASH, 5) },
    { { A_MAIL, .params = TEXT("X ") }, FAULT(PARAMETER, 2) },
    { { A_MAIL, .params = TEXT(" X") }, FAULT(PARAMETER, 0) },
    { { A_MAIL, .params = TEXT("X  Y") }, FAULT(PARAMETER, 2) },
    { { A_MAIL, .params = TEXT("X Y=") }, FAULT(PARAMETER, 2) },
    { { A_MAIL, .params = TEXT("=x") }, FAULT(PARAMETER, 0) },
    { { A_MAIL, .params = TEXT("X=a=b") }, FAULT(PARAMETER, 0) },
    { { A_MAIL, .params = TEXT("X=a\r\nQUIT") }, FAULT(PARAMETER, 0) },
    { { A_MAIL, PARAM(SIZE) | EHLO_PARAM_BODY | EHLO_PARAM_RET | EHLO_PARAM_ENVID | EHLO_PARAM_AUTH | EHLO_PARAM_BY,
        .size = 1, .body = EHLO_BODY_8BITMIME, .ret = EHLO_RET_HDRS, .envid = TEXT("e"), .by_seconds = 9,
        .by_mode = EHLO_BY_NOTIFY },
      LINE("<a@b> SIZE=1 BODY=8BITMIME RET=HDRS ENVID=e AUTH=<> BY=9;N") },
};
/* clang-format on */

static void assert_written(int result, size_t len, ehlo_fault fault, ehlo_str line, ehlo_rule rule, size_t offset,
                           size_t row)
{
    char name[32];
    snprintf(name, sizeof(name), "row %zu", row);
    if (rule == EHLO_RULE_NONE) {
        assert_line(result, len, fault, line, name);
        return;
    }
    if (result != EHLO_ERR_ARG) fail_msg("%s: result %d", name, result);
    assert_refused(EHLO_ERR_SYNTAX, fault, rule, offset, name);
    assert_int_equal(len, 0);
    assert_untouched(name);
}

/* [C45] [C164] [C181] [C197] [C224] [C225] [C226] */
static void mail_says_its_values_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mails); i++) {
        const mail_case *c = &mails[i];
        ehlo_mail_command mail = c->mail;
        mail.mailbox = guarded(c->mail.mailbox);
        mail.params = guarded(c->mail.params);
        mail.envid = guarded(c->mail.envid);
        mail.auth = guarded(c->mail.auth);
        size_t len = 99;
        ehlo_fault fault;
        forget_output();
        int result = ehlo_mail_write(&mail, out, sizeof(out), &len, &fault);
        assert_written(result, len, fault, c->line, c->rule, c->offset, i);
        assert_int_equal(ehlo_mail_write(&mail, out, sizeof(out), &len, NULL), result);
        unguard(mail.mailbox);
        unguard(mail.params);
        unguard(mail.envid);
        unguard(mail.auth);
    }
}

/* -- RCPT ------------------------------------------------------------------------------------------- */

typedef struct rcpt_case {
    ehlo_rcpt_command rcpt;
    ehlo_str line; /* empty: refused */
    ehlo_rule rule;
    size_t offset;
} rcpt_case;

#undef LINE
#define LINE(text) TEXT("RCPT TO:" text "\r\n"), EHLO_RULE_NONE, 0
#define RFC822 PARAM(ORCPT), .orcpt_type = TEXT("rfc822")
#define UTF_8 PARAM(ORCPT), .orcpt_type = TEXT("UTF-8")

/* clang-format off */
static const rcpt_case rcpts[] = {
    { { A_MAIL }, LINE("<a@b>") },
    { { .mailbox = TEXT("postmaster") }, LINE("<postmaster>") },
    { { .mailbox = TEXT("PostMaster") }, LINE("<PostMaster>") },
    { { .mailbox = TEXT("") }, FAULT(MISSING, 0) },
    { { .mailbox = TEXT("webmaster") }, FAULT(AT, 9) },
    { { .mailbox = TEXT("@r:a@b") }, FAULT(LOCAL_PART, 0) },
    { { .mailbox = TEXT("a@b> NOTIFY=NEVER\r\n") }, FAULT(DOMAIN, 3) },
    { { .mailbox = TEXT("\xc3\xbc@b"), .utf8 = 1 }, LINE("<\xc3\xbc@b>") },
    { { .mailbox = TEXT("\xc3\xbc@b") }, FAULT(NON_ASCII, 0) },
    { { .mailbox = TEXT("a\xc2\x9b@b"), .utf8 = 1 }, FAULT(CONTROL, 1) },
    { { A_MAIL, PARAM(NOTIFY), .notify = EHLO_NOTIFY_NEVER }, LINE("<a@b> NOTIFY=NEVER") },
    { { A_MAIL, PARAM(NOTIFY), .notify = EHLO_NOTIFY_DELAY }, LINE("<a@b> NOTIFY=DELAY") },
    { { A_MAIL, PARAM(NOTIFY), .notify = EHLO_NOTIFY_SUCCESS | EHLO_NOTIFY_FAILURE | EHLO_NOTIFY_DELAY },
      LINE("<a@b> NOTIFY=SUCCESS,FAILURE,DELAY") },
    { { A_MAIL, PARAM(NOTIFY) }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(NOTIFY), .notify = 16 }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(NOTIFY), .notify = EHLO_NOTIFY_NEVER | EHLO_NOTIFY_SUCCESS }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, RFC822, .orcpt = TEXT("Bob+x@c") }, LINE("<a@b> ORCPT=rfc822;Bob+2Bx@c") },
    { { A_MAIL, RFC822, .orcpt = TEXT("\"a b\"@c") }, LINE("<a@b> ORCPT=rfc822;\"a+20b\"@c") },
    { { A_MAIL, RFC822 }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, RFC822, .orcpt = TEXT("\xc3\xbc@b") }, FAULT(NON_ASCII, 0) },
    { { A_MAIL, RFC822, .orcpt = TEXT("a\r\n@b") }, FAULT(CONTROL, 1) },
    { { A_MAIL, RFC822, .orcpt = TEXT(HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED) }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(ORCPT), .orcpt = TEXT("x") }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(ORCPT), .orcpt_type = TEXT("a;b"), .orcpt = TEXT("x") }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(ORCPT), .orcpt_type = TEXT("a b"), .orcpt = TEXT("x") }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(ORCPT), .orcpt_type = TEXT("a=b"), .orcpt = TEXT("x") }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(ORCPT), .orcpt_type = TEXT("a\r\n"), .orcpt = TEXT("x") }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, UTF_8, .orcpt = TEXT("\xc3\xbc+\\=@\xe2\x82\xac\xf0\x9f\x93\xa7") },
      LINE("<a@b> ORCPT=UTF-8;\\x{FC}\\x{2B}\\x{5C}\\x{3D}@\\x{20AC}\\x{1F4E7}") },
    { { A_MAIL, UTF_8, .orcpt = TEXT("\"a b\"@c") }, LINE("<a@b> ORCPT=UTF-8;\"a\\x{20}b\"@c") },
    { { A_MAIL, UTF_8, .orcpt = TEXT("\xf4\x8f\xbf\xbf@c") }, LINE("<a@b> ORCPT=UTF-8;\\x{10FFFF}@c") },
    { { A_MAIL, UTF_8, .orcpt = TEXT("a\xff@c") }, FAULT(UTF8, 1) },
    { { A_MAIL, UTF_8, .orcpt = TEXT("a\n@c") }, FAULT(CONTROL, 1) },
    { { A_MAIL, UTF_8, .orcpt = TEXT("a\xc2\x85@c") }, FAULT(CONTROL, 1) },
    { { A_MAIL, UTF_8, .orcpt = TEXT("++++++++++++++++" HUNDRED HUNDRED HUNDRED HUNDRED) },
      FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, UTF_8, .orcpt = TEXT(HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED) }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, UTF_8, .orcpt = TEXT("") }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(RRVS), .rrvs = TEXT("2014-04-03T23:01:00Z") }, LINE("<a@b> RRVS=2014-04-03T23:01:00Z") },
    { { A_MAIL, PARAM(RRVS), .rrvs = TEXT("2014-04-03T23:01:00Z"), .rrvs_action = 'R' },
      LINE("<a@b> RRVS=2014-04-03T23:01:00Z;R") },
    { { A_MAIL, PARAM(RRVS), .rrvs = TEXT("2014-04-03T23:01:00Z"), .rrvs_action = 'X' }, FAULT(PARAMETER_VALUE, 0) },
    { { A_MAIL, PARAM(RRVS), .rrvs = TEXT("2014-04-03") }, FAULT(TIME, 0) },
    { { A_MAIL, PARAM(SIZE) }, FAULT(PARAMETER_UNKNOWN, 0) },
    { { A_MAIL, .params = TEXT("XFOO=1") }, LINE("<a@b> XFOO=1") },
    { { A_MAIL, .params = TEXT("orcpt=rfc822;x") }, FAULT(PARAMETER_CLASH, 0) },
    { { A_MAIL, PARAM(NOTIFY) | EHLO_PARAM_ORCPT, .notify = EHLO_NOTIFY_SUCCESS, .orcpt_type = TEXT("rfc822"),
        .orcpt = TEXT("c@d"), .params = TEXT("X") }, LINE("<a@b> NOTIFY=SUCCESS ORCPT=rfc822;c@d X") },
};
/* clang-format on */

/* [C45] [C179] [C183] */
static void rcpt_says_its_values_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rcpts); i++) {
        const rcpt_case *c = &rcpts[i];
        ehlo_rcpt_command rcpt = c->rcpt;
        rcpt.mailbox = guarded(c->rcpt.mailbox);
        rcpt.params = guarded(c->rcpt.params);
        rcpt.orcpt = guarded(c->rcpt.orcpt);
        rcpt.orcpt_type = guarded(c->rcpt.orcpt_type);
        size_t len = 99;
        ehlo_fault fault;
        forget_output();
        int result = ehlo_rcpt_write(&rcpt, out, sizeof(out), &len, &fault);
        assert_written(result, len, fault, c->line, c->rule, c->offset, i);
        assert_int_equal(ehlo_rcpt_write(&rcpt, out, sizeof(out), &len, NULL), result);
        unguard(rcpt.mailbox);
        unguard(rcpt.params);
        unguard(rcpt.orcpt);
        unguard(rcpt.orcpt_type);
    }
}

/* -- injection -------------------------------------------------------------------------------------- */

/* A place where text of the caller's gets into a line. */
typedef int sink(ehlo_str text, size_t cap, size_t *len, ehlo_fault *fault);

/* lead, text and tail as one. */
static ehlo_str wrap(const char *lead, ehlo_str text, const char *tail)
{
    static char whole[ROOM];
    size_t lead_len = strlen(lead);
    memcpy(whole, lead, lead_len);
    if (text.len > 0) memcpy(whole + lead_len, text.ptr, text.len);
    memcpy(whole + lead_len + text.len, tail, strlen(tail));
    return ehlo_str_make(whole, lead_len + text.len + strlen(tail));
}

#define COMMAND_SINK(name, verb, lead, tail)                                                                           \
    static int name(ehlo_str text, size_t cap, size_t *len, ehlo_fault *fault)                                         \
    {                                                                                                                  \
        return ehlo_command_write(EHLO_VERB_##verb, wrap(lead, text, tail), out, cap, len, fault);                     \
    }
#define MAIL_SINK(name, ...)                                                                                           \
    static int name(ehlo_str text, size_t cap, size_t *len, ehlo_fault *fault)                                         \
    {                                                                                                                  \
        ehlo_mail_command mail = { __VA_ARGS__ };                                                                      \
        return ehlo_mail_write(&mail, out, cap, len, fault);                                                           \
    }
#define RCPT_SINK(name, ...)                                                                                           \
    static int name(ehlo_str text, size_t cap, size_t *len, ehlo_fault *fault)                                         \
    {                                                                                                                  \
        ehlo_rcpt_command rcpt = { __VA_ARGS__ };                                                                      \
        return ehlo_rcpt_write(&rcpt, out, cap, len, fault);                                                           \
    }

COMMAND_SINK(ehlo_name, EHLO, "", "")
COMMAND_SINK(ehlo_literal, EHLO, "[x:", "]")
COMMAND_SINK(helo_name, HELO, "", "")
COMMAND_SINK(lhlo_name, LHLO, "", "")
COMMAND_SINK(mail_raw, MAIL, "FROM:<", ">")
COMMAND_SINK(mail_raw_value, MAIL, "FROM:<a@b> SIZE=", "")
COMMAND_SINK(rcpt_raw, RCPT, "TO:<", ">")
COMMAND_SINK(data_argument, DATA, "", "")
COMMAND_SINK(bdat_argument, BDAT, "", "")
COMMAND_SINK(rset_argument, RSET, "", "")
COMMAND_SINK(quit_argument, QUIT, "", "")
COMMAND_SINK(noop_argument, NOOP, "", "")
COMMAND_SINK(help_argument, HELP, "", "")
COMMAND_SINK(verb_argument, VERB, "", "")
COMMAND_SINK(vrfy_argument, VRFY, "", "")
COMMAND_SINK(vrfy_utf8, VRFY, "", " SMTPUTF8")
COMMAND_SINK(expn_argument, EXPN, "", "")
COMMAND_SINK(etrn_argument, ETRN, "", "")
COMMAND_SINK(etrn_queue, ETRN, "#", "")
COMMAND_SINK(starttls_argument, STARTTLS, "", "")
COMMAND_SINK(auth_argument, AUTH, "", "")
COMMAND_SINK(auth_raw_response, AUTH, "PLAIN ", "")
COMMAND_SINK(xclient_name, XCLIENT, "", "=x")
COMMAND_SINK(xclient_value, XCLIENT, "NAME=x", "")
COMMAND_SINK(own_verb, UNKNOWN, "", "")
COMMAND_SINK(own_argument, UNKNOWN, "XFOO ", "")
COMMAND_SINK(turn_argument, TURN, "", "")
MAIL_SINK(mail_mailbox, .mailbox = text)
MAIL_SINK(mail_local_part, .mailbox = wrap("", text, "@b"))
MAIL_SINK(mail_quoted, .mailbox = wrap("\"", text, "\"@b"))
MAIL_SINK(mail_domain, .mailbox = wrap("a@", text, ""))
MAIL_SINK(mail_utf8, .mailbox = wrap("\xc3\xbc", text, "@b"), PARAM(SMTPUTF8))
MAIL_SINK(mail_envid, .envid = text, PARAM(ENVID))
MAIL_SINK(mail_auth, .auth = text, PARAM(AUTH))
MAIL_SINK(mail_auth_utf8, .auth = wrap("\xc3\xbc", text, "@b"), PARAM(AUTH) | EHLO_PARAM_SMTPUTF8)
MAIL_SINK(mail_hold_until, .hold_until = text, PARAM(HOLDUNTIL))
MAIL_SINK(mail_params, .params = text)
MAIL_SINK(mail_param_keyword, .params = wrap("", text, "=1"))
MAIL_SINK(mail_param_value, .params = wrap("X=", text, ""))
MAIL_SINK(mail_param_value_utf8, .params = wrap("X=\xc3\xbc", text, ""), PARAM(SMTPUTF8))
RCPT_SINK(rcpt_mailbox, .mailbox = text)
RCPT_SINK(rcpt_local_part, .mailbox = wrap("", text, "@b"))
RCPT_SINK(rcpt_domain, .mailbox = wrap("a@", text, ""))
RCPT_SINK(rcpt_utf8, .mailbox = wrap("\xc3\xbc", text, "@b"), .utf8 = 1)
RCPT_SINK(rcpt_orcpt, A_MAIL, RFC822, .orcpt = text)
RCPT_SINK(rcpt_orcpt_utf8, A_MAIL, UTF_8, .orcpt = text)
RCPT_SINK(rcpt_orcpt_type, A_MAIL, PARAM(ORCPT), .orcpt_type = text, .orcpt = TEXT("x"))
RCPT_SINK(rcpt_rrvs, A_MAIL, PARAM(RRVS), .rrvs = text)
RCPT_SINK(rcpt_params, A_MAIL, .params = text)
RCPT_SINK(rcpt_param_keyword, A_MAIL, .params = wrap("", text, "=1"))
RCPT_SINK(rcpt_param_value, A_MAIL, .params = wrap("X=", text, ""))

static int hello_name(ehlo_str text, size_t cap, size_t *len, ehlo_fault *fault)
{
    return ehlo_hello_write(EHLO_VERB_EHLO, text, out, cap, len, fault);
}

static int auth_mechanism(ehlo_str text, size_t cap, size_t *len, ehlo_fault *fault)
{
    return ehlo_auth_write(text, ehlo_str_from("x"), out, cap, len, fault);
}

static int auth_mechanism_alone(ehlo_str text, size_t cap, size_t *len, ehlo_fault *fault)
{
    return ehlo_auth_write(text, ehlo_str_make(NULL, 0), out, cap, len, fault);
}

/* What a sink makes of printable ASCII. */
typedef enum openness {
    JUDGES,  /* it has a grammar that none of the payloads is part of */
    ENCODES, /* it takes any, and encodes it */
    SPACES,  /* it is quoted, or one of several words that the caller composes: spaces and brackets may be there */
} openness;

typedef struct named_sink {
    const char *name;
    sink *write;
    openness open;
} named_sink;

#define SINK(name, open)                                                                                               \
    {                                                                                                                  \
#name, name, open                                                                                              \
    }

static const named_sink sinks[] = {
    SINK(ehlo_name, JUDGES),
    SINK(ehlo_literal, JUDGES),
    SINK(helo_name, JUDGES),
    SINK(lhlo_name, JUDGES),
    SINK(hello_name, JUDGES),
    SINK(mail_raw, JUDGES),
    SINK(mail_raw_value, JUDGES),
    SINK(rcpt_raw, JUDGES),
    SINK(data_argument, JUDGES),
    SINK(bdat_argument, JUDGES),
    SINK(rset_argument, JUDGES),
    SINK(quit_argument, JUDGES),
    SINK(noop_argument, JUDGES),
    SINK(help_argument, JUDGES),
    SINK(verb_argument, JUDGES),
    SINK(vrfy_argument, JUDGES),
    SINK(vrfy_utf8, JUDGES),
    SINK(expn_argument, JUDGES),
    SINK(etrn_argument, JUDGES),
    SINK(etrn_queue, JUDGES),
    SINK(starttls_argument, JUDGES),
    SINK(auth_argument, JUDGES),
    SINK(auth_raw_response, JUDGES),
    SINK(auth_mechanism, JUDGES),
    SINK(auth_mechanism_alone, JUDGES),
    SINK(xclient_name, JUDGES),
    SINK(xclient_value, SPACES),
    SINK(own_verb, JUDGES),
    SINK(own_argument, SPACES),
    SINK(turn_argument, JUDGES),
    SINK(mail_mailbox, JUDGES),
    SINK(mail_local_part, JUDGES),
    SINK(mail_quoted, SPACES),
    SINK(mail_domain, JUDGES),
    SINK(mail_utf8, JUDGES),
    SINK(mail_envid, ENCODES),
    SINK(mail_auth, JUDGES),
    SINK(mail_auth_utf8, JUDGES),
    SINK(mail_hold_until, JUDGES),
    SINK(mail_params, JUDGES),
    SINK(mail_param_keyword, JUDGES),
    SINK(mail_param_value, JUDGES),
    SINK(mail_param_value_utf8, JUDGES),
    SINK(rcpt_mailbox, JUDGES),
    SINK(rcpt_local_part, JUDGES),
    SINK(rcpt_domain, JUDGES),
    SINK(rcpt_utf8, JUDGES),
    SINK(rcpt_orcpt, ENCODES),
    SINK(rcpt_orcpt_utf8, ENCODES),
    SINK(rcpt_orcpt_type, JUDGES),
    SINK(rcpt_rrvs, JUDGES),
    SINK(rcpt_params, JUDGES),
    SINK(rcpt_param_keyword, JUDGES),
    SINK(rcpt_param_value, JUDGES),
};

typedef struct payload {
    ehlo_str text;
    int printable;
} payload;

static const payload payloads[] = {
    { TEXT("\r\nRCPT TO:<x@y>"), 0 },
    { TEXT("\nQUIT"), 0 },
    { TEXT("\rDATA"), 0 },
    { TEXT("\0"), 0 },
    { TEXT("x\0y"), 0 },
    { TEXT("x\r\n.\r\nMAIL"), 0 },
    { TEXT(" SIZE=0"), 1 },
    { TEXT("> SIZE=1"), 1 },
    { TEXT("> NOTIFY=NEVER\r\n"), 0 },
    { TEXT("\"\r\n\"@x"), 0 },
    { TEXT("x\x7f"), 0 },
    { TEXT("x\ty"), 0 },
    { TEXT("x\x1b"), 0 },
    { TEXT("x\x85"), 0 },
    { TEXT("x\xc2\x85"), 0 },
    { TEXT("x\xe2\x80\xa8"), 0 },
    { TEXT("x\xff\xfe"), 0 },
    { TEXT("x\xc3"), 0 },
    { TEXT("x\xe0\x80\x8a"), 0 },
};

/* One line, with nothing in it that ends or splits it. */
static void assert_one_line(size_t len, const char *name)
{
    if (len < 2 || memcmp(out + len - 2, "\r\n", 2) != 0) fail_msg("%s: no line", name);
    for (size_t i = 0; i + 2 < len; i++) {
        if ((unsigned char)out[i] < 0x20 || out[i] == 0x7F) fail_msg("%s: a control gets out", name);
    }
}

/* [N: each sink with each payload] */
static void nothing_can_be_injected_into_any_argument(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT(sinks); s++) {
        for (size_t p = 0; p < COUNT(payloads); p++) {
            size_t len = 99;
            ehlo_fault fault;
            char name[64];
            snprintf(name, sizeof(name), "%s with payload %zu", sinks[s].name, p);
            ehlo_str text = guarded(payloads[p].text);
            forget_output();
            int result = sinks[s].write(text, sizeof(out), &len, &fault);
            if (payloads[p].printable && sinks[s].open != JUDGES) {
                assert_accepted(result, fault, name);
                assert_one_line(len, name);
            } else {
                if (result != EHLO_ERR_ARG || fault.rule == EHLO_RULE_NONE) fail_msg("%s: result %d", name, result);
                assert_int_equal(len, 0);
                assert_untouched(name);
            }
            unguard(text);
        }
    }
}

/* What is encoded says no parameter of its own. */
static void what_is_encoded_stays_one_value(void **state)
{
    (void)state;
    static const ehlo_param_rules all = { UINT32_MAX, 0, 0 };
    static const char *const texts[] = { " SIZE=0", "> SIZE=1", "a+b=c", "x NOTIFY=NEVER" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        ehlo_mail_command given = { .envid = ehlo_str_from(texts[i]), PARAM(ENVID) };
        ehlo_mail mail;
        ehlo_fault fault;
        size_t len;
        char decoded[64];
        assert_int_equal(ehlo_mail_write(&given, out, sizeof(out), &len, NULL), EHLO_OK);
        ehlo_str argument = ehlo_str_make(out + 5, len - 7);
        assert_accepted(ehlo_mail_parse(argument, &all, &mail, &fault), fault, texts[i]);
        assert_int_equal(mail.present, EHLO_PARAM_ENVID);
        assert_int_equal(ehlo_xtext_decode(mail.envid, decoded, sizeof(decoded), &len, NULL), EHLO_OK);
        assert_text(given.envid, ehlo_str_make(decoded, len), "ENVID", texts[i]);
    }
}

/* [N: 70 KiB] */
static void over_long_text_is_refused_whole(void **state)
{
    (void)state;
    enum { LONG = 70 * 1024 };
    static char text[LONG];
    memset(text, 'x', sizeof(text));
    ehlo_str guarded_text = guarded(ehlo_str_make(text, sizeof(text)));
    for (size_t s = 0; s < COUNT(sinks); s++) {
        size_t len = 99;
        ehlo_fault fault;
        forget_output();
        int result = sinks[s].write(guarded_text, sizeof(out), &len, &fault);
        if (result != EHLO_ERR_ARG && result != EHLO_ERR_SPACE) fail_msg("%s: result %d", sinks[s].name, result);
        if (result == EHLO_ERR_ARG && (len != 0 || fault.rule == EHLO_RULE_NONE)) fail_msg("%s", sinks[s].name);
        if (result == EHLO_ERR_SPACE && len < LONG) fail_msg("%s: needs only %zu", sinks[s].name, len);
        assert_untouched(sinks[s].name);
    }
    unguard(guarded_text);
}

/* -- room ------------------------------------------------------------------------------------------- */

typedef int line_maker(char *to, size_t cap, size_t *len);

static int make_plain(char *to, size_t cap, size_t *len)
{
    return ehlo_command_write(EHLO_VERB_EHLO, ehlo_str_from("a.example"), to, cap, len, NULL);
}

static int make_mail(char *to, size_t cap, size_t *len)
{
    ehlo_mail_command mail = { A_MAIL, PARAM(SIZE), .size = 12345, .params = TEXT("XFOO") };
    return ehlo_mail_write(&mail, to, cap, len, NULL);
}

static int make_rcpt(char *to, size_t cap, size_t *len)
{
    ehlo_rcpt_command rcpt = { A_MAIL, RFC822, .orcpt = TEXT("a@b") };
    return ehlo_rcpt_write(&rcpt, to, cap, len, NULL);
}

static int make_bdat(char *to, size_t cap, size_t *len)
{
    return ehlo_bdat_write(1000, 1, to, cap, len);
}

static int make_auth(char *to, size_t cap, size_t *len)
{
    return ehlo_auth_write(ehlo_str_from("PLAIN"), ehlo_str_make("\0a\0b", 4), to, cap, len, NULL);
}

static int make_response(char *to, size_t cap, size_t *len)
{
    return ehlo_auth_response_write(ehlo_str_from("abcd"), to, cap, len);
}

static void a_line_that_does_not_fit_is_not_begun_and_says_what_it_needs(void **state)
{
    (void)state;
    static line_maker *const makers[] = { make_plain, make_mail, make_rcpt, make_bdat, make_auth, make_response };
    for (size_t i = 0; i < COUNT(makers); i++) {
        size_t need, len;
        char blank[64];
        memset(blank, untouched, sizeof(blank));
        assert_int_equal(makers[i](NULL, 0, &need), EHLO_ERR_SPACE);
        for (size_t cap = 0; cap < need; cap++) {
            char *to = guard_copy(blank, cap);
            assert_int_equal(makers[i](to, cap, &len), EHLO_ERR_SPACE);
            assert_int_equal(len, need);
            assert_memory_equal(to, blank, cap);
            guard_free(to, cap);
        }
        char *to = guard_copy(blank, need);
        assert_int_equal(makers[i](to, need, &len), EHLO_OK);
        assert_int_equal(len, need);
        assert_memory_equal(to + need - 2, "\r\n", 2);
        guard_free(to, need);
    }
}

/* [C53] [C190] [C196] */
static void lines_end_at_the_limit_of_their_verb(void **state)
{
    (void)state;
    static char text[20000];
    ehlo_fault fault;
    size_t len;
    memset(text, 'x', sizeof(text));
    ehlo_str argument = { text, 512 - 7 };
    assert_int_equal(ehlo_command_write(EHLO_VERB_NOOP, argument, out, sizeof(out), &len, &fault), EHLO_OK);
    assert_int_equal(len, 512);
    argument.len++;
    assert_int_equal(ehlo_command_write(EHLO_VERB_NOOP, argument, out, sizeof(out), &len, &fault), EHLO_ERR_SPACE);
    assert_int_equal(len, 513);
    assert_int_equal(fault.rule, EHLO_RULE_NONE);

    ehlo_mail_command mail = { .params = { text, EHLO_LINE_MAX - 15 } };
    assert_int_equal(ehlo_mail_write(&mail, out, sizeof(out), &len, &fault), EHLO_OK);
    assert_int_equal(len, EHLO_LINE_MAX);
    mail.params.len++;
    assert_int_equal(ehlo_mail_write(&mail, out, sizeof(out), &len, &fault), EHLO_ERR_SPACE);
    assert_int_equal(len, EHLO_LINE_MAX + 1);

    ehlo_str response = { text, (EHLO_AUTH_LINE_MAX - 13) / 4 * 3 };
    ehlo_str plain = TEXT("PLAIN");
    assert_int_equal(ehlo_auth_write(plain, response, out, sizeof(out), &len, &fault), EHLO_OK);
    assert_true(len <= EHLO_AUTH_LINE_MAX);
    response.len++;
    assert_int_equal(ehlo_auth_write(plain, response, out, sizeof(out), &len, &fault), EHLO_ERR_SPACE);
    response.len = sizeof(text);
    assert_int_equal(ehlo_auth_response_write(response, out, sizeof(out), &len), EHLO_ERR_SPACE);
}

/* -- quick looks ------------------------------------------------------------------------------------ */

static void assert_written_as_parsed(ehlo_str mailbox)
{
    ehlo_mail_command mail = { .mailbox = mailbox };
    ehlo_path path;
    ehlo_fault parsed;
    ehlo_fault written;
    size_t len;
    int expected = ehlo_mailbox_parse(mailbox, 0, &path, &parsed);
    int result = ehlo_mail_write(&mail, out, sizeof(out), &len, &written);
    int is_same = (result == EHLO_OK) == (expected == EHLO_OK) && written.rule == parsed.rule;
    if (!is_same || written.offset != parsed.offset) fail_msg("\"%.*s\"", (int)mailbox.len, mailbox.ptr);
}

/* [C18] Every string of up to six of these. */
static void every_short_mailbox_is_written_as_it_parses(void **state)
{
    (void)state;
    static const char octets[] = "a.-@>_\"";
    enum { KINDS = sizeof(octets) - 1 };
    for (size_t len = 1, count = KINDS; len <= 6; len++, count *= KINDS) {
        for (size_t number = 0; number < count; number++) {
            char text[6];
            for (size_t i = 0, rest = number; i < len; i++, rest /= KINDS) text[i] = octets[rest % KINDS];
            assert_written_as_parsed(ehlo_str_make(text, len));
        }
    }
}

/* [C50] [C51] */
static void a_mailbox_is_written_as_it_parses_around_each_limit(void **state)
{
    (void)state;
    char text[400];
    for (size_t local = 60; local < 70; local++) {
        for (size_t domain = 60; domain < 270; domain++) {
            memset(text, 'a', sizeof(text));
            text[local] = '@';
            for (size_t dot = 63; dot < domain; dot += 64) text[local + 1 + dot] = '.';
            assert_written_as_parsed(ehlo_str_make(text, local + 1 + domain));
            memset(text + local + 1, 'a', domain);
            assert_written_as_parsed(ehlo_str_make(text, local + 1 + domain));
        }
    }
}

/* [C45] */
static void an_octet_that_is_not_plain_is_seen_wherever_it_stands(void **state)
{
    (void)state;
    enum { LONGEST = 70 };
    char octets[LONGEST];
    memset(octets, ' ', sizeof(octets));
    for (size_t len = 0; len <= LONGEST; len++) {
        char *text = guard_copy(octets, len);
        assert_true(ehlo_chars_are_plain(ehlo_str_make(text, len)));
        for (size_t at = 0; at < len; at++) {
            for (int octet = 0; octet < 256; octet++) {
                text[at] = (char)octet;
                int is_plain = octet >= 0x20 && octet <= 0x7E;
                if (ehlo_chars_are_plain(ehlo_str_make(text, len)) != is_plain) fail_msg("%zu %zu %d", len, at, octet);
            }
            text[at] = at % 2 == 0 ? '~' : ' ';
        }
        guard_free(text, len);
    }
}

static void the_first_octet_above_ascii_is_found_wherever_it_stands(void **state)
{
    (void)state;
    enum { LONGEST = 200 };
    char octets[LONGEST];
    memset(octets, 0x7F, sizeof(octets));
    for (size_t len = 0; len <= LONGEST; len++) {
        char *text = guard_copy(octets, len);
        assert_int_equal(ehlo_chars_find_high(ehlo_str_make(text, len)), len);
        for (size_t at = len; at-- > 0;) {
            text[at] = (char)0x80; /* and so are those behind it */
            assert_int_equal(ehlo_chars_find_high(ehlo_str_make(text, len)), at);
        }
        guard_free(text, len);
    }
}

/* Every parameter at its longest is a line that is allowed. */
static void all_parameters_at_once_fit_in_a_line(void **state)
{
    (void)state;
    static const ehlo_param_rules all = { UINT32_MAX, 0, 0 };
    char mailbox[64 + 1 + 255];
    memset(mailbox, 'a', sizeof(mailbox));
    mailbox[64] = '@';
    for (size_t i = 65 + 63; i < sizeof(mailbox); i += 64) mailbox[i] = '.';
    ehlo_mail_command mail = { .mailbox = { mailbox, sizeof(mailbox) },
                               .present = EHLO_PARAM_SIZE | EHLO_PARAM_BODY | EHLO_PARAM_SMTPUTF8 | EHLO_PARAM_RET |
                                          EHLO_PARAM_ENVID | EHLO_PARAM_AUTH | EHLO_PARAM_REQUIRETLS | EHLO_PARAM_BY |
                                          EHLO_PARAM_MT_PRIORITY | EHLO_PARAM_HOLDUNTIL,
                               .size = UINT64_MAX,
                               .body = EHLO_BODY_BINARYMIME,
                               .ret = EHLO_RET_FULL,
                               .envid = TEXT(HUNDRED),
                               .auth = { mailbox, sizeof(mailbox) },
                               .by_seconds = -999999999,
                               .by_mode = EHLO_BY_NOTIFY,
                               .by_trace = 1,
                               .mt_priority = -9,
                               .hold_until = TEXT("2030-01-01T00:00:00.000000Z") };
    size_t len;
    ehlo_fault fault;
    ehlo_mail parsed;
    assert_accepted(ehlo_mail_write(&mail, out, sizeof(out), &len, &fault), fault, "MAIL");
    ehlo_str argument = ehlo_str_make(out + 5, len - 7);
    assert_accepted(ehlo_mail_parse(argument, &all, &parsed, &fault), fault, "MAIL read back");
    assert_int_equal(parsed.present, mail.present);
    assert_text(mail.mailbox, parsed.path.mailbox, "mailbox", "MAIL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_verb_is_written_by_the_grammar_of_its_argument),
        cmocka_unit_test(no_argument_may_be_a_null_view),
        cmocka_unit_test(hello_takes_its_three_verbs_alone),
        cmocka_unit_test(a_chunk_is_told_in_octets),
        cmocka_unit_test(the_initial_response_is_base64_or_an_equals_sign_or_none),
        cmocka_unit_test(a_challenge_is_answered_with_base64_or_cancelled),
        cmocka_unit_test(mail_says_its_values_or_nothing),
        cmocka_unit_test(rcpt_says_its_values_or_nothing),
        cmocka_unit_test(nothing_can_be_injected_into_any_argument),
        cmocka_unit_test(what_is_encoded_stays_one_value),
        cmocka_unit_test(over_long_text_is_refused_whole),
        cmocka_unit_test(a_line_that_does_not_fit_is_not_begun_and_says_what_it_needs),
        cmocka_unit_test(lines_end_at_the_limit_of_their_verb),
        cmocka_unit_test(every_short_mailbox_is_written_as_it_parses),
        cmocka_unit_test(a_mailbox_is_written_as_it_parses_around_each_limit),
        cmocka_unit_test(an_octet_that_is_not_plain_is_seen_wherever_it_stands),
        cmocka_unit_test(the_first_octet_above_ascii_is_found_wherever_it_stands),
        cmocka_unit_test(all_parameters_at_once_fit_in_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

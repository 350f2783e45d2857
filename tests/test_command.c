/* Command lines, and the arguments of every command but MAIL and RCPT; the texts of rules and results. */
#include "table.h"

static const ehlo_str absent = { NULL, 0 };

/* -- command lines ---------------------------------------------------------------------------------- */

typedef struct line_row {
    const char *name;
    ehlo_str line;
    ehlo_verb verb;
    const char *word;     /* the verb as written; NULL: refused */
    const char *argument; /* NULL: none */
    ehlo_rule rule;
    size_t offset;
} line_row;

static const line_row line_rows[] = {
    { "[C3] mixed case", TEXT("eHlO x"), EHLO_VERB_EHLO, "eHlO", "x", EHLO_RULE_NONE, 0 },
    { "[C3] mAiL fRoM:", TEXT("mAiL fRoM:<>"), EHLO_VERB_MAIL, "mAiL", "fRoM:<>", EHLO_RULE_NONE, 0 },
    { "no argument", TEXT("DATA"), EHLO_VERB_DATA, "DATA", NULL, EHLO_RULE_NONE, 0 },
    { "[C6] trailing spaces", TEXT("NOOP  "), EHLO_VERB_NOOP, "NOOP", "", EHLO_RULE_NONE, 0 },
    { "[C6] trailing space and tab", TEXT("RSET \t"), EHLO_VERB_RSET, "RSET", "", EHLO_RULE_NONE, 0 },
    { "[C6] trailing tab alone", TEXT("RSET\t"), EHLO_VERB_RSET, "RSET", NULL, EHLO_RULE_NONE, 0 },
    { "[C6] tail of an argument", TEXT("EHLO x \t "), EHLO_VERB_EHLO, "EHLO", "x", EHLO_RULE_NONE, 0 },
    { "[C7] a second space is the argument's", TEXT("EHLO  x"), EHLO_VERB_EHLO, "EHLO", " x", EHLO_RULE_NONE, 0 },
    { "a tab inside an argument", TEXT("NOOP a\tb"), EHLO_VERB_NOOP, "NOOP", "a\tb", EHLO_RULE_NONE, 0 },
    { "[C11] a lone quote", TEXT("NOOP \""), EHLO_VERB_NOOP, "NOOP", "\"", EHLO_RULE_NONE, 0 },
    { "[C8] unknown verb", TEXT("X-WIZ 1"), EHLO_VERB_UNKNOWN, "X-WIZ", "1", EHLO_RULE_NONE, 0 },
    { "a verb's beginning is not the verb", TEXT("MAI"), EHLO_VERB_UNKNOWN, "MAI", NULL, EHLO_RULE_NONE, 0 },
    { "more than a verb is not the verb", TEXT("MAILX"), EHLO_VERB_UNKNOWN, "MAILX", NULL, EHLO_RULE_NONE, 0 },
    { "[C09] HTTP", TEXT("POST / HTTP/1.1"), EHLO_VERB_UNKNOWN, "POST", "/ HTTP/1.1", EHLO_RULE_NONE, 0 },
    { "[C17] a space before the colon", TEXT("MAIL FROM :<a@b>"), EHLO_VERB_MAIL, "MAIL", "FROM :<a@b>", EHLO_RULE_NONE,
      0 },
    { "[C08] UTF-8 is for the argument to judge", TEXT("FROP \xF1"), EHLO_VERB_UNKNOWN, "FROP", "\xF1", EHLO_RULE_NONE,
      0 },
    { "[C10] empty line", TEXT(""), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_COMMAND, 0 },
    { "[C10] spaces", TEXT("   "), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_COMMAND, 0 },
    { "[C10] a tab", TEXT("\t"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_COMMAND, 0 },
    { "[C7] leading space", TEXT(" NOOP"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_COMMAND, 0 },
    { "[C17] no space", TEXT("MAILFROM:<a@b>"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_COMMAND, 8 },
    { "[C17] a tab for the space", TEXT("MAIL\tFROM:<a@b>"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_COMMAND, 4 },
    { "a verb beyond ASCII", TEXT("NO\xC3\x96P"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_COMMAND, 2 },
    { "[C01][C19] NUL", TEXT("NOOP\0"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_CONTROL, 4 },
    { "[C02][C19] NUL in a path", TEXT("MAIL FROM:<a\0b@x.example>"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_CONTROL,
      12 },
    { "[C03][C19] bare CR", TEXT("VRFY a\rMAIL FROM:<e@x.example>"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_CONTROL,
      6 },
    { "[C04][C19] bare LF", TEXT("VRFY a\nMAIL FROM:<e@x.example>"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_CONTROL,
      6 },
    { "[C05] CR at the end", TEXT("MAIL FROM:<a@x.example>\r"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_CONTROL, 23 },
    { "[C06] control in a parameter", TEXT("MAIL FROM:<a@x.example> SIZE=1\x01"), EHLO_VERB_UNKNOWN, NULL, NULL,
      EHLO_RULE_CONTROL, 30 },
    { "[C11] controls in quotes", TEXT("NOOP \"\x01\x02\x03\""), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_CONTROL, 6 },
    { "DEL", TEXT("NOOP abcdefghijk\x7F"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_CONTROL, 16 },
    { "[C19] NUL is found before the verb is looked at", TEXT(" \0"), EHLO_VERB_UNKNOWN, NULL, NULL, EHLO_RULE_CONTROL,
      1 },
};

static void command_lines_are_taken_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(line_rows); i++) {
        const line_row *row = &line_rows[i];
        ehlo_str line = guarded(row->line);
        ehlo_command_line out;
        ehlo_fault fault = { 99, EHLO_RULE_COUNT };
        memset(&out, 0xFF, sizeof(out));
        int result = ehlo_command_parse(line, &out, &fault);
        if (row->word == NULL) {
            assert_refused(result, fault, row->rule, row->offset, row->name);
            assert_zero(&out, sizeof(out), row->name);
        } else {
            assert_accepted(result, fault, row->name);
            if (out.verb != row->verb) fail_msg("%s: verb %d", row->name, (int)out.verb);
            assert_text(ehlo_str_from(row->word), out.name, "name", row->name);
            assert_text(ehlo_str_from(row->argument), out.argument, "argument", row->name);
            if ((out.argument.ptr == NULL) != (row->argument == NULL)) fail_msg("%s: argument or none", row->name);
        }
        unguard(line);
    }
}

/* [C19] At every place of lines of every length up to 40, so that no step of the search can miss one. */
static void each_control_octet_is_found_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t len = 5; len <= 40; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int octet = 0; octet < 256; octet++) {
                char text[40];
                memset(text, 'A', sizeof(text));
                text[4] = ' ';
                text[at] = (char)(unsigned char)octet;
                int is_control = (octet < 32 && octet != '\t') || octet == 127;
                ehlo_command_line out;
                ehlo_fault fault;
                ehlo_command_parse(ehlo_str_make(text, len), &out, &fault);
                int is_found = fault.rule == EHLO_RULE_CONTROL && fault.offset == at;
                if (is_found != is_control) fail_msg("octet %d at %zu of %zu", octet, at, len);
            }
        }
    }
}

/* [C3] */
static void every_verb_is_known_by_its_name_in_any_case(void **state)
{
    (void)state;
    for (int verb = EHLO_VERB_UNKNOWN + 1; verb < EHLO_VERB_COUNT; verb++) {
        ehlo_str name = ehlo_verb_name((ehlo_verb)verb);
        assert_true(name.len >= 4);
        for (unsigned cases = 0; cases < 1u << name.len; cases++) {
            char text[16];
            for (size_t i = 0; i < name.len; i++) text[i] = (char)(name.ptr[i] + (cases >> i & 1 ? 'a' - 'A' : 0));
            ehlo_command_line out;
            assert_int_equal(ehlo_command_parse(ehlo_str_make(text, name.len), &out, NULL), EHLO_OK);
            assert_int_equal(out.verb, verb);
        }
    }
    assert_int_equal(ehlo_verb_name(EHLO_VERB_UNKNOWN).len, 0);
    assert_int_equal(ehlo_verb_name(EHLO_VERB_COUNT).len, 0);
}

/* -- EHLO, HELO, LHLO ------------------------------------------------------------------------------- */

typedef struct argument_row {
    const char *name;
    ehlo_str text;
    ehlo_rule rule; /* NONE: accepted */
    size_t offset;
    int kind; /* of a domain */
} argument_row;

static const argument_row hello_rows[] = {
    { "domain", TEXT("c.example"), EHLO_RULE_NONE, 0, EHLO_DOMAIN_NAME },
    { "[C14] one label", TEXT("x"), EHLO_RULE_NONE, 0, EHLO_DOMAIN_NAME },
    { "IPv4 literal", TEXT("[192.0.2.1]"), EHLO_RULE_NONE, 0, EHLO_DOMAIN_IPV4 },
    { "IPv6 literal", TEXT("[IPv6:2001:db8::1]"), EHLO_RULE_NONE, 0, EHLO_DOMAIN_IPV6 },
    { "[C31] nothing", TEXT(""), EHLO_RULE_MISSING, 0, 0 },
    { "[C14] two words", TEXT("a b"), EHLO_RULE_UNEXPECTED, 1, 0 },
    { "[C7] leading space", TEXT(" x"), EHLO_RULE_DOMAIN, 0, 0 },
    { "[C14] open bracket", TEXT("["), EHLO_RULE_LITERAL, 1, 0 },
    { "[C14] open literal", TEXT("[IPv6:"), EHLO_RULE_LITERAL, 6, 0 },
    { "mailbox", TEXT("a@b"), EHLO_RULE_DOMAIN, 1, 0 },
    { "underscore", TEXT("a_b"), EHLO_RULE_DOMAIN, 1, 0 },
    { "text behind a literal", TEXT("[1.2.3.4]x"), EHLO_RULE_DOMAIN, 9, 0 },
    { "[C176] UTF-8", TEXT("\xC3\xA9"), EHLO_RULE_NON_ASCII, 0, 0 },
    { "parenthesis", TEXT("a)b"), EHLO_RULE_DOMAIN, 1, 0 },
};

static void hello_takes_a_domain_or_a_literal(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(hello_rows); i++) {
        const argument_row *row = &hello_rows[i];
        ehlo_str text = guarded(row->text);
        ehlo_hello hello;
        ehlo_fault fault;
        memset(&hello, 0xFF, sizeof(hello));
        int result = ehlo_hello_parse(EHLO_VERB_LHLO, text, 0, &hello, &fault);
        if (row->rule != EHLO_RULE_NONE) {
            assert_refused(result, fault, row->rule, row->offset, row->name);
            assert_zero(&hello, sizeof(hello), row->name);
        } else {
            assert_accepted(result, fault, row->name);
            assert_text(row->text, hello.name, "name", row->name);
            assert_int_equal(hello.domain_kind, row->kind);
            assert_int_equal(hello.verb, EHLO_VERB_LHLO);
        }
        unguard(text);
    }
    ehlo_hello hello;
    ehlo_hello_parse(EHLO_VERB_EHLO, ehlo_str_from("[192.0.2.7]"), 0, &hello, NULL);
    assert_int_equal(hello.octets[3], 7);
    assert_int_equal(ehlo_hello_parse(EHLO_VERB_EHLO, ehlo_str_from("a_b"), EHLO_SYNTAX_UNDERSCORE, &hello, NULL), 0);
}

/* [C13] */
static void a_hello_of_sixteen_thousand_octets_is_refused(void **state)
{
    (void)state;
    static char text[16000];
    memset(text, 'A', sizeof(text));
    ehlo_hello hello;
    ehlo_fault fault;
    int result = ehlo_hello_parse(EHLO_VERB_EHLO, ehlo_str_make(text, sizeof(text)), 0, &hello, &fault);
    assert_refused(result, fault, EHLO_RULE_TOO_LONG_DOMAIN, 63, "16000 octets");
}

/* -- BDAT ------------------------------------------------------------------------------------------- */

typedef struct bdat_row {
    const char *name;
    const char *text;
    ehlo_rule rule; /* NONE: accepted */
    size_t offset;
    uint64_t size;
    int last;
} bdat_row;

static const bdat_row bdat_rows[] = {
    { "[C148] a chunk", "86", EHLO_RULE_NONE, 0, 86, 0 },
    { "[C150] empty chunk", "0", EHLO_RULE_NONE, 0, 0, 0 },
    { "[C150][B14] empty last chunk", "0 LAST", EHLO_RULE_NONE, 0, 0, 1 },
    { "[C155] LAST in any case", "25 lAsT", EHLO_RULE_NONE, 0, 25, 1 },
    { "[C155] twenty digits", "00000000000000000007", EHLO_RULE_NONE, 0, 7, 0 },
    { "[C155][B04] 2^64-1", "18446744073709551615", EHLO_RULE_NONE, 0, UINT64_MAX, 0 },
    { "[C155][B03] 2^64", "18446744073709551616", EHLO_RULE_NUMBER, 0, 0, 0 },
    { "[C155] 2^64 and LAST", "18446744073709551616 LAST", EHLO_RULE_NUMBER, 0, 0, 0 },
    { "[C155] twenty nines", "99999999999999999999", EHLO_RULE_NUMBER, 0, 0, 0 },
    { "[C155] twenty-one digits", "000000000000000000001", EHLO_RULE_NUMBER, 0, 0, 0 },
    { "[C155][B13] twenty-six digits", "12345678901234567890123456", EHLO_RULE_NUMBER, 0, 0, 0 },
    { "[C155][B05] minus", "-1", EHLO_RULE_NUMBER, 0, 0, 0 },
    { "[C155][B06] hex", "0x10", EHLO_RULE_NUMBER, 1, 0, 0 },
    { "[C155][B07] plus", "+5", EHLO_RULE_NUMBER, 0, 0, 0 },
    { "[C155][B08] no space before LAST", "5LAST", EHLO_RULE_NUMBER, 1, 0, 0 },
    { "[C155][B09] a third word", "5 LAST X", EHLO_RULE_UNEXPECTED, 2, 0, 0 },
    { "[C155][B10] no number", "LAST", EHLO_RULE_NUMBER, 0, 0, 0 },
    { "[C155][B11] nothing", "", EHLO_RULE_MISSING, 0, 0, 0 },
    { "[C155][B12] exponent", "1e3", EHLO_RULE_NUMBER, 1, 0, 0 },
    { "[C155] two spaces", "5  LAST", EHLO_RULE_UNEXPECTED, 2, 0, 0 },
    { "[C155] leading space", " 5", EHLO_RULE_NUMBER, 0, 0, 0 },
    { "[C155] trailing space", "5 ", EHLO_RULE_UNEXPECTED, 2, 0, 0 },
    { "[C155] a tab", "5\tLAST", EHLO_RULE_CONTROL, 1, 0, 0 },
    { "[C155] another word", "5 LASTX", EHLO_RULE_UNEXPECTED, 2, 0, 0 },
    { "[C155] half a word", "5 LAS", EHLO_RULE_UNEXPECTED, 2, 0, 0 },
};

static void bdat_takes_its_one_form_and_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bdat_rows); i++) {
        const bdat_row *row = &bdat_rows[i];
        ehlo_str text = guarded(ehlo_str_from(row->text));
        uint64_t size = 99;
        int last = 99;
        ehlo_fault fault;
        int result = ehlo_bdat_parse(text, &size, &last, &fault);
        if (row->rule != EHLO_RULE_NONE) {
            assert_refused(result, fault, row->rule, row->offset, row->name);
        } else {
            assert_accepted(result, fault, row->name);
        }
        if (size != row->size || last != row->last) fail_msg("%s: size or last differs", row->name);
        unguard(text);
    }
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

typedef struct auth_row {
    const char *name;
    const char *text;
    ehlo_rule rule; /* NONE: accepted */
    size_t offset;
    const char *mechanism;
    const char *response; /* NULL: none */
} auth_row;

static const auth_row auth_rows[] = {
    { "[C187] no response", "PLAIN", EHLO_RULE_NONE, 0, "PLAIN", NULL },
    { "[C187][U06] an empty response", "PLAIN =", EHLO_RULE_NONE, 0, "PLAIN", "" },
    { "[C187][U05] a response", "PLAIN AAAA", EHLO_RULE_NONE, 0, "PLAIN", "AAAA" },
    { "longest mechanism", "A1-_567890123456789z dGVzdA==", EHLO_RULE_NONE, 0, "A1-_567890123456789z", "dGVzdA==" },
    { "[C186] an unknown mechanism is the server's to judge", "NOSUCH", EHLO_RULE_NONE, 0, "NOSUCH", NULL },
    { "[C186][U01] nothing", "", EHLO_RULE_MISSING, 0, NULL, NULL },
    { "a response that is not there", "PLAIN ", EHLO_RULE_MISSING, 6, NULL, NULL },
    { "[C189][U03] only padding", "PLAIN ====", EHLO_RULE_BASE64, 6, NULL, NULL },
    { "[C189][U04] three digits", "PLAIN AAA", EHLO_RULE_BASE64, 9, NULL, NULL },
    { "[C189][U09] no base64", "PLAIN !!!!", EHLO_RULE_BASE64, 6, NULL, NULL },
    { "[C189][U10] five digits", "LOGIN AAAAA", EHLO_RULE_BASE64, 11, NULL, NULL },
    { "[C189] inner padding", "PLAIN AA==AAAA", EHLO_RULE_BASE64, 8, NULL, NULL },
    { "two equals signs", "PLAIN ==", EHLO_RULE_BASE64, 8, NULL, NULL },
    { "two spaces", "PLAIN  AAAA", EHLO_RULE_BASE64, 6, NULL, NULL },
    { "a third word", "PLAIN AAAA x", EHLO_RULE_BASE64, 10, NULL, NULL },
    { "mechanism of 21", "A12345678901234567890", EHLO_RULE_PARAMETER, 20, NULL, NULL },
    { "no mechanism", " AAAA", EHLO_RULE_PARAMETER, 0, NULL, NULL },
    { "a dot in the mechanism", "PL.AIN", EHLO_RULE_PARAMETER, 2, NULL, NULL },
    { "a tab", "PLAIN\tAAAA", EHLO_RULE_CONTROL, 5, NULL, NULL },
    { "UTF-8", "PLAIN\xC3\xA9", EHLO_RULE_NON_ASCII, 5, NULL, NULL },
};

static void auth_tells_no_response_from_an_empty_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(auth_rows); i++) {
        const auth_row *row = &auth_rows[i];
        ehlo_str text = guarded(ehlo_str_from(row->text));
        ehlo_str mechanism = { "x", 1 };
        ehlo_str response = { "x", 1 };
        ehlo_fault fault;
        int result = ehlo_auth_parse(text, &mechanism, &response, &fault);
        if (row->rule != EHLO_RULE_NONE) {
            assert_refused(result, fault, row->rule, row->offset, row->name);
        } else {
            assert_accepted(result, fault, row->name);
        }
        assert_text(ehlo_str_from(row->mechanism), mechanism, "mechanism", row->name);
        assert_text(ehlo_str_from(row->response), response, "response", row->name);
        if ((response.ptr == NULL) != (row->response == NULL)) fail_msg("%s: response or none", row->name);
        unguard(text);
    }
}

/* [U07] */
static void auth_takes_a_hundred_thousand_digits(void **state)
{
    (void)state;
    static char text[6 + 100003];
    memset(text, 'A', sizeof(text));
    memcpy(text, "PLAIN ", 6);
    ehlo_str mechanism;
    ehlo_str response;
    ehlo_fault fault;
    int result = ehlo_auth_parse(ehlo_str_make(text, sizeof(text)), &mechanism, &response, &fault);
    assert_refused(result, fault, EHLO_RULE_BASE64, sizeof(text), "100003 digits");
    result = ehlo_auth_parse(ehlo_str_make(text, sizeof(text) - 3), &mechanism, &response, &fault);
    assert_accepted(result, fault, "100000 digits");
    assert_int_equal(response.len, 100000);
}

/* -- VRFY, EXPN ------------------------------------------------------------------------------------- */

typedef struct string_row {
    const char *name;
    ehlo_str text;
    unsigned leniencies;
    ehlo_rule rule; /* NONE: accepted */
    size_t offset;
    ehlo_str string;
    int utf8;
} string_row;

static const string_row string_rows[] = {
    { "[C18] atom", TEXT("smith"), 0, EHLO_RULE_NONE, 0, TEXT("smith"), 0 },
    { "[C18] quoted string", TEXT("\"J. \\\"S\\\" <x>\""), 0, EHLO_RULE_NONE, 0, TEXT("\"J. \\\"S\\\" <x>\""), 0 },
    { "[C18] empty quoted string", TEXT("\"\""), 0, EHLO_RULE_NONE, 0, TEXT("\"\""), 0 },
    { "mailbox", TEXT("a@x.example"), 0, EHLO_RULE_NONE, 0, TEXT("a@x.example"), 0 },
    { "path", TEXT("<\"a b\"@x.example>"), 0, EHLO_RULE_NONE, 0, TEXT("<\"a b\"@x.example>"), 0 },
    { "words", TEXT("John Smith"), 0, EHLO_RULE_NONE, 0, TEXT("John Smith"), 0 },
    { "a backslash outside quotes", TEXT("DOM\\joe"), 0, EHLO_RULE_NONE, 0, TEXT("DOM\\joe"), 0 },
    { "[C92] nothing", TEXT(""), 0, EHLO_RULE_MISSING, 0, { NULL, 0 }, 0 },
    { "[C7] leading space", TEXT(" a"), 0, EHLO_RULE_UNEXPECTED, 0, { NULL, 0 }, 0 },
    { "[C18] unterminated quote", TEXT("\"smith"), 0, EHLO_RULE_QUOTED, 6, { NULL, 0 }, 0 },
    { "[C18] unterminated quote further on", TEXT("a \"b\" \"c"), 0, EHLO_RULE_QUOTED, 8, { NULL, 0 }, 0 },
    { "[C18] a backslash is last", TEXT("\"a\\"), 0, EHLO_RULE_QUOTED, 3, { NULL, 0 }, 0 },
    { "[C55] tab in quotes", TEXT("\"a\tb\""), 0, EHLO_RULE_CONTROL, 2, { NULL, 0 }, 0 },
    { "tab", TEXT("a\tb"), 0, EHLO_RULE_CONTROL, 1, { NULL, 0 }, 0 },
    { "[C19] NUL", TEXT("a\0b"), 0, EHLO_RULE_CONTROL, 1, { NULL, 0 }, 0 },
    { "[S09][C19] UTF-8 where it is not offered", TEXT("\xC3\xA9@x"), 0, EHLO_RULE_NON_ASCII, 0, { NULL, 0 }, 0 },
    { "[C177] UTF-8 without the keyword",
      TEXT("\xC3\xA9@x"),
      EHLO_SYNTAX_UTF8,
      EHLO_RULE_NON_ASCII,
      0,
      { NULL, 0 },
      0 },
    { "[C177] UTF-8 with the keyword", TEXT("\xC3\xA9@x SMTPUTF8"), EHLO_SYNTAX_UTF8, EHLO_RULE_NONE, 0,
      TEXT("\xC3\xA9@x"), 1 },
    { "[C177] the keyword in any case", TEXT("a sMtPuTf8"), EHLO_SYNTAX_UTF8, EHLO_RULE_NONE, 0, TEXT("a"), 1 },
    { "[C177] the keyword where it is not offered", TEXT("a SMTPUTF8"), 0, EHLO_RULE_NONE, 0, TEXT("a SMTPUTF8"), 0 },
    { "[C177] the keyword alone is a string", TEXT("SMTPUTF8"), EHLO_SYNTAX_UTF8, EHLO_RULE_NONE, 0, TEXT("SMTPUTF8"),
      0 },
    { "[C177] the keyword behind a space",
      TEXT(" SMTPUTF8"),
      EHLO_SYNTAX_UTF8,
      EHLO_RULE_UNEXPECTED,
      0,
      { NULL, 0 },
      0 },
    { "[C177] a longer keyword", TEXT("a SMTPUTF88"), EHLO_SYNTAX_UTF8, EHLO_RULE_NONE, 0, TEXT("a SMTPUTF88"), 0 },
    { "[C174] malformed UTF-8", TEXT("a\xC3 SMTPUTF8"), EHLO_SYNTAX_UTF8, EHLO_RULE_UTF8, 1, { NULL, 0 }, 0 },
    { "[C177] the keyword inside a quote",
      TEXT("\"a SMTPUTF8"),
      EHLO_SYNTAX_UTF8,
      EHLO_RULE_QUOTED,
      2,
      { NULL, 0 },
      0 },
};

static void vrfy_takes_strings_mailboxes_and_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(string_rows); i++) {
        const string_row *row = &string_rows[i];
        ehlo_str text = guarded(row->text);
        ehlo_str string = { "x", 1 };
        int utf8 = 99;
        ehlo_fault fault;
        int result = ehlo_string_parse(text, row->leniencies, &string, &utf8, &fault);
        if (row->rule != EHLO_RULE_NONE) {
            assert_refused(result, fault, row->rule, row->offset, row->name);
        } else {
            assert_accepted(result, fault, row->name);
        }
        assert_text(row->string, string, "string", row->name);
        if (utf8 != row->utf8) fail_msg("%s: utf8 %d", row->name, utf8);
        unguard(text);
    }
}

/* -- ETRN ------------------------------------------------------------------------------------------- */

typedef struct etrn_row {
    const char *name;
    ehlo_str text;
    ehlo_rule rule; /* NONE: accepted */
    size_t offset;
    char option;
    ehlo_str node;
} etrn_row;

static const etrn_row etrn_rows[] = {
    { "[C221] domain", TEXT("x.example"), EHLO_RULE_NONE, 0, '\0', TEXT("x.example") },
    { "[C221] domain and subdomains", TEXT("@x.example"), EHLO_RULE_NONE, 0, '@', TEXT("x.example") },
    { "[C221] queue", TEXT("#queue.1"), EHLO_RULE_NONE, 0, '#', TEXT("queue.1") },
    { "[C221] nothing", TEXT(""), EHLO_RULE_MISSING, 0, '\0', { NULL, 0 } },
    { "[C221] no domain", TEXT("@"), EHLO_RULE_MISSING, 1, '\0', { NULL, 0 } },
    { "[C221] no queue", TEXT("#"), EHLO_RULE_MISSING, 1, '\0', { NULL, 0 } },
    { "[C221] two options", TEXT("@@x"), EHLO_RULE_DOMAIN, 1, '\0', { NULL, 0 } },
    { "[C221] shell", TEXT("x;sh"), EHLO_RULE_DOMAIN, 1, '\0', { NULL, 0 } },
    { "[C221] shell in a queue", TEXT("#x;sh"), EHLO_RULE_PARAMETER, 2, '\0', { NULL, 0 } },
    { "[C221] quote in a queue", TEXT("#x\"y"), EHLO_RULE_PARAMETER, 2, '\0', { NULL, 0 } },
    { "[C221] space", TEXT("x y"), EHLO_RULE_DOMAIN, 1, '\0', { NULL, 0 } },
    { "[C221] literal", TEXT("[192.0.2.1]"), EHLO_RULE_DOMAIN, 0, '\0', { NULL, 0 } },
    { "[C221] LF", TEXT("#x\ny"), EHLO_RULE_CONTROL, 2, '\0', { NULL, 0 } },
    { "[C221] UTF-8", TEXT("#\xC3\xA9"), EHLO_RULE_NON_ASCII, 1, '\0', { NULL, 0 } },
};

static void etrn_takes_a_domain_or_a_queue(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(etrn_rows); i++) {
        const etrn_row *row = &etrn_rows[i];
        ehlo_str text = guarded(row->text);
        ehlo_str node = { "x", 1 };
        char option = 'x';
        ehlo_fault fault;
        int result = ehlo_etrn_parse(text, &option, &node, &fault);
        if (row->rule != EHLO_RULE_NONE) {
            assert_refused(result, fault, row->rule, row->offset, row->name);
        } else {
            assert_accepted(result, fault, row->name);
        }
        assert_text(row->node, node, "node", row->name);
        if (option != row->option) fail_msg("%s: option %d", row->name, option);
        unguard(text);
    }
}

/* -- texts ------------------------------------------------------------------------------------------ */

/* Fit for a reply line: printable ASCII, one line, not too long. */
static void assert_printable(ehlo_str text)
{
    assert_true(text.len > 0 && text.len < 100);
    for (size_t i = 0; i < text.len; i++) assert_true(text.ptr[i] >= ' ' && text.ptr[i] <= '~');
}

static void every_rule_has_a_text_of_its_own(void **state)
{
    (void)state;
    for (int rule = 0; rule < EHLO_RULE_COUNT; rule++) {
        assert_printable(ehlo_rule_text((ehlo_rule)rule));
        for (int other = 0; other < rule; other++) {
            assert_false(same_text(ehlo_rule_text((ehlo_rule)rule), ehlo_rule_text((ehlo_rule)other)));
        }
    }
    assert_printable(ehlo_rule_text(EHLO_RULE_COUNT));
}

static void every_result_has_a_text_of_its_own(void **state)
{
    (void)state;
    ehlo_str unknown = ehlo_error_text(-9999);
    assert_printable(unknown);
    for (int result = EHLO_ERR_SYSTEM; result <= EHLO_REFUSE; result++) {
        assert_printable(ehlo_error_text(result));
        assert_false(same_text(ehlo_error_text(result), unknown));
        for (int other = EHLO_ERR_SYSTEM; other < result; other++) {
            assert_false(same_text(ehlo_error_text(result), ehlo_error_text(other)));
        }
    }
    assert_false(same_text(ehlo_error_text(EHLO_ERR_MEMORY), unknown));
    assert_false(same_text(ehlo_error_text(EHLO_ERR_TRANSPORT), unknown));
}

static void an_absent_text_is_an_empty_one(void **state)
{
    (void)state;
    ehlo_fault fault;
    ehlo_command_line line;
    ehlo_hello hello;
    ehlo_path path;
    uint64_t size;
    int last;
    assert_refused(ehlo_command_parse(absent, &line, &fault), fault, EHLO_RULE_COMMAND, 0, "command");
    assert_refused(ehlo_hello_parse(EHLO_VERB_EHLO, absent, 0, &hello, &fault), fault, EHLO_RULE_MISSING, 0, "hello");
    assert_refused(ehlo_bdat_parse(absent, &size, &last, &fault), fault, EHLO_RULE_MISSING, 0, "bdat");
    assert_refused(ehlo_path_parse(absent, 0, 0, &path, NULL, &fault), fault, EHLO_RULE_BRACKET, 0, "path");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_lines_are_taken_apart),
        cmocka_unit_test(each_control_octet_is_found_wherever_it_stands),
        cmocka_unit_test(every_verb_is_known_by_its_name_in_any_case),
        cmocka_unit_test(hello_takes_a_domain_or_a_literal),
        cmocka_unit_test(a_hello_of_sixteen_thousand_octets_is_refused),
        cmocka_unit_test(bdat_takes_its_one_form_and_no_other),
        cmocka_unit_test(auth_tells_no_response_from_an_empty_one),
        cmocka_unit_test(auth_takes_a_hundred_thousand_digits),
        cmocka_unit_test(vrfy_takes_strings_mailboxes_and_words),
        cmocka_unit_test(etrn_takes_a_domain_or_a_queue),
        cmocka_unit_test(every_rule_has_a_text_of_its_own),
        cmocka_unit_test(every_result_has_a_text_of_its_own),
        cmocka_unit_test(an_absent_text_is_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

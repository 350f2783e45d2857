/* Paths, mailboxes, domains, address literals. */
#include "table.h"

/* Long parts, which the tables are made of. */
#define A10 "aaaaaaaaaa"
#define A60 A10 A10 A10 A10 A10 A10
#define LABEL63 A60 "aaa"
#define LABEL64 A60 "aaaa"
#define DOMAIN255 LABEL63 "." LABEL63 "." LABEL63 "." LABEL63
#define DOMAIN256 LABEL63 "." LABEL63 "." LABEL63 "." A60 ".aaa"
#define LOCAL64 LABEL64
#define E_ACUTE "\xC3\xA9"
#define E10 E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE E_ACUTE
#define E60 E10 E10 E10 E10 E10 E10

enum {
    UTF8 = EHLO_SYNTAX_UTF8,
    BARE = EHLO_SYNTAX_BARE_PATH,
    NONE = EHLO_DOMAIN_NONE,
    NAME = EHLO_DOMAIN_NAME,
    IPV4 = EHLO_DOMAIN_IPV4,
    IPV6 = EHLO_DOMAIN_IPV6,
    GENERAL = EHLO_DOMAIN_GENERAL
};

/* -- paths that are accepted ------------------------------------------------------------------------ */

typedef struct good_row {
    const char *name;
    const char *text;
    unsigned leniencies;
    const char *local_part;
    const char *domain;
    int kind;
    const char *route;
    const char *behind; /* what of text is no part of the path */
} good_row;

static const good_row good_rows[] = {
    { "[G01] mailbox", "<a@x.example>", 0, "a", "x.example", NAME, "", "" },
    { "[G11] domain of one label", "<a@x>", 0, "a", "x", NAME, "", "" },
    { "[G12][C36] null path", "<>", 0, "", "", NONE, "", "" },
    { "[G02] quoted space", "<\"a b\"@x>", 0, "\"a b\"", "x", NAME, "", "" },
    { "[G03] quoted quote", "<\"a\\\"b\"@x>", 0, "\"a\\\"b\"", "x", NAME, "", "" },
    { "[G04][A33] empty quoted string", "<\"\"@x>", 0, "\"\"", "x", NAME, "", "" },
    { "[C55] the ends of qtext", "<\" !#[]~\"@x>", 0, "\" !#[]~\"", "x", NAME, "", "" },
    { "[C55] the ends of quoted pairs", "<\"\\ \\~\\\\\"@x>", 0, "\"\\ \\~\\\\\"", "x", NAME, "", "" },
    { "[G05] IPv4 literal", "<a@[127.0.0.1]>", 0, "a", "[127.0.0.1]", IPV4, "", "" },
    { "[G06] IPv6 literal", "<a@[IPv6:::1]>", 0, "a", "[IPv6:::1]", IPV6, "", "" },
    { "[C60] tagged literal", "<a@[x-400:c=no]>", 0, "a", "[x-400:c=no]", GENERAL, "", "" },
    { "[G07] all of atext", "<azAZ09!#$%&'*+-/=?^_`{|}~.a@x>", 0, "azAZ09!#$%&'*+-/=?^_`{|}~.a", "x", NAME, "", "" },
    { "[G08][C50] local part of 64", "<" LOCAL64 "@x>", 0, LOCAL64, "x", NAME, "", "" },
    { "[C51] label of 63", "<a@" LABEL63 ">", 0, "a", LABEL63, NAME, "", "" },
    { "[C51] domain of 255", "<a@" DOMAIN255 ">", 0, "a", DOMAIN255, NAME, "", "" },
    { "[C52] path of 322", "<" LOCAL64 "@" DOMAIN255 ">", 0, LOCAL64, DOMAIN255, NAME, "", "" },
    { "[C52] a route does not count", "<@" DOMAIN255 ":" LOCAL64 "@" DOMAIN255 ">", 0, LOCAL64, DOMAIN255, NAME,
      "@" DOMAIN255, "" },
    { "[G09][C42] postmaster", "<postmaster>", 0, "postmaster", "", NONE, "", "" },
    { "[G10][C42] PostMaster", "<PostMaster>", 0, "PostMaster", "", NONE, "", "" },
    { "[C42] postmaster at a domain", "<postmaster@x>", 0, "postmaster", "x", NAME, "", "" },
    { "[C42] more than postmaster", "<postmasters@x>", 0, "postmasters", "x", NAME, "", "" },
    { "[G13][C44] source route", "<@a,@b.c:u@d>", 0, "u", "d", NAME, "@a,@b.c", "" },
    { "[C5] case is kept", "<MiXed@X.Example>", 0, "MiXed", "X.Example", NAME, "", "" },
    { "parameters behind are left", "<a@x> SIZE=1", 0, "a", "x", NAME, "", " SIZE=1" },
    { "another path behind is left", "<a@x><b@y>", 0, "a", "x", NAME, "", "<b@y>" },
    { "[C57] digits and inner hyphens", "<a@3com.a--b-1>", 0, "a", "3com.a--b-1", NAME, "", "" },
    { "[A32] an expansion is atext", "<${run{x}}@localhost>", 0, "${run{x}}", "localhost", NAME, "", "" },
    { "[A34] percent", "<a%b@x>", 0, "a%b", "x", NAME, "", "" },
    { "[A34] bang", "<b!a@x>", 0, "b!a", "x", NAME, "", "" },
    { "[A34] route and percent", "<@r:a%b@x>", 0, "a%b", "x", NAME, "@r", "" },
    { "[A34] quoted at sign", "<\"a@b\"@x>", 0, "\"a@b\"", "x", NAME, "", "" },
    { "[A34] quoted path", "<\"x <a@b> y\"@c>", 0, "\"x <a@b> y\"", "c", NAME, "", "" },
    { "[A35] an encoded word is literal", "<=?utf-8?q?a=40b=3E=0D=0ARCPT?=@x>", 0,
      "=?utf-8?q?a=40b=3E=0D=0ARCPT?=", "x", NAME, "", "" },
    { "[A36] bad punycode is LDH", "<a@xn--0.xn--99999999>", 0, "a", "xn--0.xn--99999999", NAME, "", "" },
    { "[C174] UTF-8 local part", "<" E_ACUTE ".b@x>", UTF8, E_ACUTE ".b", "x", NAME, "", "" },
    { "[C174] UTF-8 quoted", "<\"" E_ACUTE " b\"@x>", UTF8, "\"" E_ACUTE " b\"", "x", NAME, "", "" },
    { "[C174] U-labels", "<a@b" E_ACUTE "." E_ACUTE ">", UTF8, "a", "b" E_ACUTE "." E_ACUTE, NAME, "", "" },
    { "[C174] A-label", "<a@xn--9ca>", UTF8, "a", "xn--9ca", NAME, "", "" },
    { "U-label of 60 characters in 120 octets", "<a@" E60 ">", UTF8, "a", E60, NAME, "", "" },
    { "[A36] an ideographic stop is no dot", "<a@b\xE3\x80\x82z>", UTF8, "a", "b\xE3\x80\x82z", NAME, "", "" },
    { "[A36] zero-width joiner stays", "<a@b\xE2\x80\x8Dz>", UTF8, "a", "b\xE2\x80\x8Dz", NAME, "", "" },
    { "U-label in a route", "<@" E_ACUTE ":a@x>", UTF8, "a", "x", NAME, "@" E_ACUTE, "" },
    { "underscore, when lenient", "<a@_b_.c_d>", EHLO_SYNTAX_UNDERSCORE, "a", "_b_.c_d", NAME, "", "" },
    { "trailing dot, when lenient", "<a@b.c.>", EHLO_SYNTAX_TRAILING_DOT, "a", "b.c.", NAME, "", "" },
    { "inner dots, when a trailing one may be", "<a@b.c>", EHLO_SYNTAX_TRAILING_DOT, "a", "b.c", NAME, "", "" },
    { "local part of 65, when lenient", "<" LOCAL64 "a@x>", EHLO_SYNTAX_LONG_LOCAL, LOCAL64 "a", "x", NAME, "", "" },
    { "bare path", "a@x", BARE, "a", "x", NAME, "", "" },
    { "bare path, parameters", "\"a b\"@x A=b", BARE, "\"a b\"", "x", NAME, "", " A=b" },
    { "bare postmaster", "Postmaster A=b", BARE, "Postmaster", "", NONE, "", " A=b" },
    { "brackets, when they may be left out", "<@r:a@x> b", BARE, "a", "x", NAME, "@r", " b" },
};

static void check_good_path(const good_row *row)
{
    ehlo_str text = guarded(ehlo_str_from(row->text));
    size_t behind = strlen(row->behind);
    size_t used = 0;
    ehlo_path path;
    ehlo_fault fault;
    int result = ehlo_path_parse(text, row->leniencies, 0, &path, &used, &fault);
    assert_accepted(result, fault, row->name);
    assert_text(ehlo_str_make(row->text, text.len - behind), path.text, "text", row->name);
    assert_text(ehlo_str_from(row->local_part), path.local_part, "local part", row->name);
    assert_text(ehlo_str_from(row->domain), path.domain, "domain", row->name);
    assert_text(ehlo_str_from(row->route), path.route, "route", row->name);
    size_t expected = path.local_part.len + (path.domain.len > 0 ? path.domain.len + 1 : 0);
    if (path.mailbox.len != expected || used != path.text.len) fail_msg("%s: lengths", row->name);
    if (path.domain_kind != row->kind) fail_msg("%s: kind %d", row->name, path.domain_kind);
    if (path.quoted != (row->local_part[0] == '"')) fail_msg("%s: quoted %d", row->name, path.quoted);
    if (path.utf8 != (strpbrk(row->text, "\xC3\xE2\xE3") != NULL)) fail_msg("%s: utf8 %d", row->name, path.utf8);
    assert_within(text, path.mailbox, row->name);
    assert_within(text, path.domain, row->name);
    unguard(text);
}

static void good_paths_are_taken_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_rows); i++) check_good_path(&good_rows[i]);
}

/* A path cut anywhere but at its end is refused, and the parser looks at nothing behind the cut. */
static void a_path_cut_short_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_rows); i++) {
        const good_row *row = &good_rows[i];
        if (row->leniencies & BARE) continue;
        size_t whole = strlen(row->text) - strlen(row->behind);
        for (size_t len = 0; len < whole; len++) {
            ehlo_str text = guarded(ehlo_str_make(row->text, len));
            ehlo_path path;
            ehlo_fault fault;
            int result = ehlo_path_parse(text, row->leniencies, 0, &path, NULL, &fault);
            if (result != EHLO_ERR_SYNTAX || fault.offset > len) fail_msg("%s: cut at %zu: %d", row->name, len, result);
            unguard(text);
        }
    }
}

/* -- paths that are refused ------------------------------------------------------------------------- */

typedef struct bad_row {
    const char *name;
    ehlo_str text;
    unsigned leniencies;
    ehlo_rule rule;
    size_t offset;
} bad_row;

static const bad_row bad_rows[] = {
    { "nothing", TEXT(""), 0, EHLO_RULE_BRACKET, 0 },
    { "[A01] no closing bracket", TEXT("<a@b"), 0, EHLO_RULE_BRACKET, 4 },
    { "[A02] no opening bracket", TEXT("a@b>"), 0, EHLO_RULE_BRACKET, 0 },
    { "a space before the bracket", TEXT(" <a@b>"), 0, EHLO_RULE_BRACKET, 0 },
    { "[A03] two brackets", TEXT("<<a@b>>"), 0, EHLO_RULE_LOCAL_PART, 1 },
    { "[A04] space in the local part", TEXT("<a b@x.example>"), 0, EHLO_RULE_LOCAL_PART, 2 },
    { "[A05] two at signs", TEXT("<a@@x.example>"), 0, EHLO_RULE_DOMAIN, 3 },
    { "[A06] no local part", TEXT("<@x.example>"), 0, EHLO_RULE_ROUTE, 11 },
    { "[A07][C57] empty label", TEXT("<a@x..example>"), 0, EHLO_RULE_DOMAIN, 5 },
    { "[A08] leading dot in the domain", TEXT("<a@.example>"), 0, EHLO_RULE_DOMAIN, 3 },
    { "[A09][C18] unterminated quote", TEXT("<\"a@x.example>"), 0, EHLO_RULE_QUOTED, 14 },
    { "[A10] the closing quote is quoted", TEXT("<\"a\\\"@x.example>"), 0, EHLO_RULE_QUOTED, 16 },
    { "[A11][C58] IPv4 of three", TEXT("<a@[1.2.3]>"), 0, EHLO_RULE_LITERAL, 3 },
    { "[A12][C58] IPv4 beyond 255", TEXT("<a@[1.2.3.256]>"), 0, EHLO_RULE_LITERAL, 3 },
    { "[A13][C59] IPv6 of nine", TEXT("<a@[IPv6:1:2:3:4:5:6:7:8:9]>"), 0, EHLO_RULE_LITERAL, 3 },
    { "[A14] open literal", TEXT("<a@[IPv6:::1>"), 0, EHLO_RULE_LITERAL, 13 },
    { "[A16][C50] local part of 65", TEXT("<" LOCAL64 "a@x>"), 0, EHLO_RULE_TOO_LONG_LOCAL, 65 },
    { "[C50] quotes count", TEXT("<\"" A60 "aaa\"@x>"), 0, EHLO_RULE_TOO_LONG_LOCAL, 65 },
    { "[A17][C51] label of 64", TEXT("<a@" LABEL64 ">"), 0, EHLO_RULE_TOO_LONG_DOMAIN, 66 },
    { "[A18][C51] domain of 256", TEXT("<a@" DOMAIN256 ">"), 0, EHLO_RULE_TOO_LONG_DOMAIN, 258 },
    { "literal of 256", TEXT("<a@[x:" A60 A60 A60 A60 A10 "aa]>"), 0, EHLO_RULE_TOO_LONG_DOMAIN, 258 },
    { "U-label of 64 characters", TEXT("<a@" E60 "aaaa>"), UTF8, EHLO_RULE_TOO_LONG_DOMAIN, 66 },
    { "[A19] DEL", TEXT("<a\x7F@x>"), 0, EHLO_RULE_CONTROL, 2 },
    { "DEL with UTF-8", TEXT("<a\x7F@x>"), UTF8, EHLO_RULE_CONTROL, 2 },
    { "[A20][C55] tab in quotes", TEXT("<\"a\tb\"@x>"), 0, EHLO_RULE_CONTROL, 3 },
    { "[C55] NUL in quotes", TEXT("<\"a\0b\"@x>"), 0, EHLO_RULE_CONTROL, 3 },
    { "[C55] CR in quotes", TEXT("<\"a\rb\"@x>"), 0, EHLO_RULE_CONTROL, 3 },
    { "[C55] LF behind a backslash", TEXT("<\"a\\\nb\"@x>"), 0, EHLO_RULE_CONTROL, 4 },
    { "[C02] NUL in the local part", TEXT("<a\0b@x.example>"), 0, EHLO_RULE_CONTROL, 2 },
    { "NUL in the domain", TEXT("<a@x\0>"), 0, EHLO_RULE_CONTROL, 4 },
    { "CRLF in a literal", TEXT("<a@[x:y\r\nz]>"), 0, EHLO_RULE_CONTROL, 7 },
    { "[A21][C54] leading dot", TEXT("<.a@x>"), 0, EHLO_RULE_LOCAL_PART, 1 },
    { "[A22][C54] trailing dot", TEXT("<a.@x>"), 0, EHLO_RULE_LOCAL_PART, 3 },
    { "[A23][C54] two dots", TEXT("<a..b@x>"), 0, EHLO_RULE_LOCAL_PART, 3 },
    { "[A24][C57] leading hyphen", TEXT("<a@-x.example>"), 0, EHLO_RULE_DOMAIN, 3 },
    { "[C57] trailing hyphen", TEXT("<a@x-.example>"), 0, EHLO_RULE_DOMAIN, 4 },
    { "[C57] underscore", TEXT("<a@x_y>"), 0, EHLO_RULE_DOMAIN, 4 },
    { "[C57] trailing dot", TEXT("<a@b.>"), 0, EHLO_RULE_DOMAIN, 5 },
    { "two trailing dots, when one may be", TEXT("<a@b..>"), EHLO_SYNTAX_TRAILING_DOT, EHLO_RULE_DOMAIN, 5 },
    { "[C19] a plus in the domain", TEXT("<a@x+y>"), 0, EHLO_RULE_DOMAIN, 4 },
    { "space in the domain", TEXT("<a@x y>"), 0, EHLO_RULE_DOMAIN, 4 },
    { "an empty domain", TEXT("<a@>"), 0, EHLO_RULE_DOMAIN, 3 },
    { "[C43] no domain", TEXT("<a>"), 0, EHLO_RULE_AT, 2 },
    { "[C43] nearly postmaster", TEXT("<postmaste>"), 0, EHLO_RULE_AT, 10 },
    { "[C43] more than postmaster", TEXT("<postmasters>"), 0, EHLO_RULE_AT, 12 },
    { "[C43] quoted postmaster", TEXT("<\"postmaster\">"), 0, EHLO_RULE_AT, 13 },
    { "[C43] empty quoted string alone", TEXT("<\"\">"), 0, EHLO_RULE_AT, 3 },
    { "text behind a quoted string", TEXT("<\"a\"b@x>"), 0, EHLO_RULE_LOCAL_PART, 4 },
    { "a quote inside an atom", TEXT("<a\"b\"@x>"), 0, EHLO_RULE_LOCAL_PART, 2 },
    { "a comment", TEXT("<a(c)@x>"), 0, EHLO_RULE_LOCAL_PART, 2 },
    { "a display name", TEXT("A <a@x>"), 0, EHLO_RULE_BRACKET, 0 },
    { "[A31] a shell script", TEXT("<;for i in 0 1 2 3;do read r;done;sh;exit 0;@>"), 0, EHLO_RULE_LOCAL_PART, 1 },
    { "[A31] and no at sign", TEXT("<;x;>"), 0, EHLO_RULE_LOCAL_PART, 1 },
    { "[A34] bang without a domain", TEXT("<a!b>"), 0, EHLO_RULE_AT, 4 },
    { "[A36] percent-encoded domain", TEXT("<a@%E2%80%AEmoc>"), 0, EHLO_RULE_DOMAIN, 3 },
    { "[A36] fullwidth dot without UTF-8", TEXT("<a@x\xEF\xBC\x8Ey>"), 0, EHLO_RULE_NON_ASCII, 4 },
    { "route without a colon", TEXT("<@a,@b>"), 0, EHLO_RULE_ROUTE, 6 },
    { "route without an at sign", TEXT("<@a,b:u@d>"), 0, EHLO_RULE_ROUTE, 4 },
    { "route with a literal", TEXT("<@[1.2.3.4]:u@d>"), 0, EHLO_RULE_DOMAIN, 2 },
    { "route with an empty domain", TEXT("<@:u@d>"), 0, EHLO_RULE_DOMAIN, 2 },
    { "route and nothing else", TEXT("<@a:>"), 0, EHLO_RULE_LOCAL_PART, 4 },
    { "route and a route", TEXT("<@a:@b:u@d>"), 0, EHLO_RULE_LOCAL_PART, 4 },
    { "[C173][C07] UTF-8 without SMTPUTF8", TEXT("<" E_ACUTE "@x>"), 0, EHLO_RULE_NON_ASCII, 1 },
    { "[C173] UTF-8 in the domain", TEXT("<a@" E_ACUTE ">"), 0, EHLO_RULE_NON_ASCII, 3 },
    { "[C173] UTF-8 in quotes", TEXT("<\"" E_ACUTE "\"@x>"), 0, EHLO_RULE_NON_ASCII, 2 },
    { "[C174] Latin-1", TEXT("<\xE9@x>"), UTF8, EHLO_RULE_UTF8, 1 },
    { "[C174] overlong", TEXT("<a\xC0\xAF@x>"), UTF8, EHLO_RULE_UTF8, 2 },
    { "[C174] surrogate in the domain", TEXT("<a@\xED\xA0\x80>"), UTF8, EHLO_RULE_UTF8, 3 },
    { "[C174] above U+10FFFF", TEXT("<\"\xF4\x90\x80\x80\"@x>"), UTF8, EHLO_RULE_UTF8, 2 },
    { "[C174] cut at the end", TEXT("<a@x\xE2\x82"), UTF8, EHLO_RULE_UTF8, 4 },
    { "UTF-8 in a quoted pair", TEXT("<\"\\" E_ACUTE "\"@x>"), UTF8, EHLO_RULE_QUOTED, 3 },
    { "UTF-8 in a literal", TEXT("<a@[x:" E_ACUTE "]>"), UTF8, EHLO_RULE_LITERAL, 6 },
    { "bare path with a closing bracket", TEXT("a@x>"), BARE, EHLO_RULE_BRACKET, 3 },
    { "bare path without a domain", TEXT("a SIZE=1"), BARE, EHLO_RULE_LOCAL_PART, 1 },
    { "bare nothing", TEXT(""), BARE, EHLO_RULE_BRACKET, 0 },
};

static void bad_paths_are_refused_where_they_go_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_rows); i++) {
        const bad_row *row = &bad_rows[i];
        ehlo_str text = guarded(row->text);
        ehlo_path path;
        ehlo_fault fault = { 99, EHLO_RULE_COUNT };
        size_t used = 99;
        memset(&path, 0xFF, sizeof(path));
        int result = ehlo_path_parse(text, row->leniencies, 0, &path, &used, &fault);
        assert_refused(result, fault, row->rule, row->offset, row->name);
        assert_zero(&path, sizeof(path), row->name);
        assert_int_equal(used, 0);
        unguard(text);
    }
}

/* No octet but the allowed ones gets into a local part, a quoted string or a domain. [C54][C55][C57][C19] */
static void each_octet_is_admitted_only_where_the_grammar_has_it(void **state)
{
    (void)state;
    static const char atext[] = "!#$%&'*+-/=?^_`{|}~";
    for (int i = 0; i < 256; i++) {
        char octet = (char)(unsigned char)i;
        int is_let_dig = (i >= '0' && i <= '9') || (i >= 'A' && i <= 'Z') || (i >= 'a' && i <= 'z');
        int in_atom = is_let_dig || (i != 0 && strchr(atext, i) != NULL) || i == '.';
        int in_quotes = i >= 32 && i < 127 && i != '"' && i != '\\';
        int in_domain = is_let_dig || i == '-' || i == '.';
        char atom[] = { '<', 'a', octet, 'b', '@', 'x', '>' };
        char quoted[] = { '<', '"', octet, '"', '@', 'x', '>' };
        char pair[] = { '<', '"', '\\', octet, '"', '@', 'x', '>' };
        char domain[] = { '<', 'a', '@', 'x', octet, 'y', '>' };
        ehlo_path path;
        assert_int_equal(ehlo_path_parse(ehlo_str_make(atom, 7), 0, 0, &path, NULL, NULL) == EHLO_OK, in_atom);
        assert_int_equal(ehlo_path_parse(ehlo_str_make(quoted, 7), 0, 0, &path, NULL, NULL) == EHLO_OK, in_quotes);
        assert_int_equal(ehlo_path_parse(ehlo_str_make(pair, 8), 0, 0, &path, NULL, NULL) == EHLO_OK,
                         i >= 32 && i < 127);
        int ends_early = i == '>';
        assert_int_equal(ehlo_path_parse(ehlo_str_make(domain, 7), 0, 0, &path, NULL, NULL) == EHLO_OK,
                         in_domain || ends_early);
    }
}

/* -- limits ----------------------------------------------------------------------------------------- */

/* [C52] */
static void the_path_limit_counts_brackets_and_no_route(void **state)
{
    (void)state;
    ehlo_path path;
    ehlo_fault fault;
    ehlo_str plain = ehlo_str_from("<ab@c>");
    ehlo_str routed = ehlo_str_from("<@r:ab@c>");
    assert_int_equal(ehlo_path_parse(plain, 0, 6, &path, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_path_parse(routed, 0, 6, &path, NULL, NULL), EHLO_OK);
    int result = ehlo_path_parse(plain, 0, 5, &path, NULL, &fault);
    assert_refused(result, fault, EHLO_RULE_TOO_LONG_PATH, 5, "plain");
    result = ehlo_path_parse(routed, 0, 5, &path, NULL, &fault);
    assert_refused(result, fault, EHLO_RULE_TOO_LONG_PATH, 8, "routed");
    char long_local[400];
    memset(long_local, 'a', sizeof(long_local));
    long_local[0] = '<';
    memcpy(long_local + 397, "@x>", 3);
    result = ehlo_path_parse(ehlo_str_make(long_local, 400), EHLO_SYNTAX_LONG_LOCAL, 0, &path, NULL, &fault);
    assert_refused(result, fault, EHLO_RULE_TOO_LONG_PATH, 322, "default");
    result = ehlo_path_parse(ehlo_str_make(long_local, 400), EHLO_SYNTAX_LONG_LOCAL, 400, &path, NULL, &fault);
    assert_accepted(result, fault, "raised");
}

/* [A37] */
static void ten_thousand_hops_are_read_without_recursion(void **state)
{
    (void)state;
    enum { HOPS = 10000 };
    static char text[1 + HOPS * 3 + 4];
    text[0] = '<';
    for (size_t i = 0; i < HOPS; i++) memcpy(text + 1 + 3 * i, i + 1 < HOPS ? "@a," : "@a:", 3);
    memcpy(text + 1 + 3 * HOPS, "u@d>", 4);
    ehlo_str whole = guarded(ehlo_str_make(text, sizeof(text)));
    ehlo_path path;
    ehlo_fault fault;
    assert_accepted(ehlo_path_parse(whole, 0, 0, &path, NULL, &fault), fault, "10000 hops");
    assert_int_equal(path.route.len, HOPS * 3 - 1);
    assert_text(ehlo_str_from("u@d"), path.mailbox, "mailbox", "10000 hops");
    unguard(whole);
}

/* [A38] */
static void fifty_thousand_nested_openings_are_refused_at_the_first(void **state)
{
    (void)state;
    static const char openings[] = "(<\\[\"";
    static char text[50000];
    for (size_t i = 0; i < sizeof(openings) - 1; i++) {
        memset(text, openings[i], sizeof(text));
        text[0] = '<';
        ehlo_str whole = guarded(ehlo_str_make(text, sizeof(text)));
        ehlo_path path;
        ehlo_fault fault;
        assert_int_equal(ehlo_path_parse(whole, 0, 0, &path, NULL, &fault), EHLO_ERR_SYNTAX);
        assert_true(fault.offset <= 3);
        unguard(whole);
    }
}

/* -- domains and literals --------------------------------------------------------------------------- */

typedef struct domain_row {
    const char *name;
    const char *text;
    int kind; /* NONE: refused */
    uint8_t octets[16];
} domain_row;

static const domain_row domain_rows[] = {
    { "name", "x.example", NAME, { 0 } },
    { "one label", "localhost", NAME, { 0 } },
    { "digits only", "1.2.3.4", NAME, { 0 } },
    { "[C58] IPv4", "[192.0.2.1]", IPV4, { 192, 0, 2, 1 } },
    { "[C58] IPv4 at its ends", "[0.255.00.007]", IPV4, { 0, 255, 0, 7 } },
    { "[C58] three numbers", "[1.2.3]", NONE, { 0 } },
    { "[C58] five numbers", "[1.2.3.4.5]", NONE, { 0 } },
    { "[C58] 256", "[256.1.1.1]", NONE, { 0 } },
    { "[C58] four digits", "[0001.1.1.1]", NONE, { 0 } },
    { "[C58] an empty number", "[1..1.1]", NONE, { 0 } },
    { "[C58] a trailing dot", "[1.1.1.1.]", NONE, { 0 } },
    { "[C58] a sign", "[1.1.1.+1]", NONE, { 0 } },
    { "[C58] hex", "[0x1.1.1.1]", NONE, { 0 } },
    { "[C58] no closing bracket", "[1.2.3.4", NONE, { 0 } },
    { "[C58] no opening bracket", "1.2.3.4]", NONE, { 0 } },
    { "[C58] a space", "[1.2.3.4 ]", NONE, { 0 } },
    { "text behind a literal", "[1.2.3.4]x", NONE, { 0 } },
    { "empty literal", "[]", NONE, { 0 } },
    { "[C14] only a bracket", "[", NONE, { 0 } },
    { "[C14] an open tag", "[IPv6:", NONE, { 0 } },
    { "[C59] full",
      "[IPv6:2001:db8:0:1:a:B:c:FFFF]",
      IPV6,
      { 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0xa, 0, 0xb, 0, 0xc, 0xff, 0xff } },
    { "[C59] the tag in any case", "[ipV6:1::2]", IPV6, { 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2 } },
    { "[C59][G06] gap first", "[IPv6:::1]", IPV6, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 } },
    { "[C59] gap last", "[IPv6:fe80::]", IPV6, { 0xfe, 0x80 } },
    { "[C59] gap alone", "[IPv6:::]", IPV6, { 0 } },
    { "[C59] gap for two groups", "[IPv6:1:2:3::6:7:8]", IPV6, { 0, 1, 0, 2, 0, 3, 0, 0, 0, 0, 0, 6, 0, 7, 0, 8 } },
    { "[C59] gap for one group", "[IPv6:1:2:3:4::6:7:8]", NONE, { 0 } },
    { "[C59] gap for none", "[IPv6:1:2:3:4::5:6:7:8]", NONE, { 0 } },
    { "[C59] two gaps", "[IPv6:1::2::3]", NONE, { 0 } },
    { "[C59] three colons", "[IPv6:1:::2]", NONE, { 0 } },
    { "[C59] seven groups", "[IPv6:1:2:3:4:5:6:7]", NONE, { 0 } },
    { "[C59] nine groups", "[IPv6:1:2:3:4:5:6:7:8:9]", NONE, { 0 } },
    { "[C59] a trailing colon", "[IPv6:1:2:3:4:5:6:7:8:]", NONE, { 0 } },
    { "[C59] a leading colon", "[IPv6::1:2:3:4:5:6:7:8]", NONE, { 0 } },
    { "[C59] a trailing colon behind a gap", "[IPv6:1::2:]", NONE, { 0 } },
    { "[C59] five digits", "[IPv6:12345::1]", NONE, { 0 } },
    { "[C59] no hex", "[IPv6:g::1]", NONE, { 0 } },
    { "[C59] a zone", "[IPv6:fe80::1%eth0]", NONE, { 0 } },
    { "[C59] nothing", "[IPv6:]", NONE, { 0 } },
    { "[C59] full with IPv4",
      "[IPv6:1:2:3:4:5:6:192.0.2.1]",
      IPV6,
      { 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 192, 0, 2, 1 } },
    { "[C59] gap and IPv4",
      "[IPv6:::ffff:192.0.2.1]",
      IPV6,
      { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1 } },
    { "[C59] gap before IPv4", "[IPv6:::192.0.2.1]", IPV6, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1 } },
    { "[C59] four groups, gap, IPv4",
      "[IPv6:1:2::3:4:192.0.2.1]",
      IPV6,
      { 0, 1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 4, 192, 0, 2, 1 } },
    { "[C59] five groups, gap, IPv4", "[IPv6:1:2:3::4:5:192.0.2.1]", NONE, { 0 } },
    { "[C59] seven groups and IPv4", "[IPv6:1:2:3:4:5:6:7:192.0.2.1]", NONE, { 0 } },
    { "[C59] IPv4 first", "[IPv6:192.0.2.1::1]", NONE, { 0 } },
    { "[C59] IPv4 before a gap", "[IPv6:192.0.2.1::]", NONE, { 0 } },
    { "[C59] IPv4 inside", "[IPv6:::192.0.2.1:1]", NONE, { 0 } },
    { "[C59] IPv4 alone", "[IPv6:192.0.2.1]", NONE, { 0 } },
    { "[C59] bad IPv4 at the end", "[IPv6:::192.0.2.256]", NONE, { 0 } },
    { "[C60] unknown tag", "[tag-1:any!thing@]", GENERAL, { 0 } },
    { "[C60] tag without text", "[tag:]", NONE, { 0 } },
    { "[C60] text without a tag", "[:text]", NONE, { 0 } },
    { "[C60] tag that ends in a hyphen", "[tag-:x]", NONE, { 0 } },
    { "[C60] tag with a dot", "[a.b:x]", NONE, { 0 } },
    { "[C60] bracket in the text", "[tag:a[b]", NONE, { 0 } },
    { "[C60] backslash in the text", "[tag:a\\b]", NONE, { 0 } },
    { "no text", "", NONE, { 0 } },
    { "mailbox", "a@b", NONE, { 0 } },
    { "two words", "a b", NONE, { 0 } },
};

static void domains_and_literals_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(domain_rows); i++) {
        const domain_row *row = &domain_rows[i];
        ehlo_str text = guarded(ehlo_str_from(row->text));
        ehlo_domain_kind kind = EHLO_DOMAIN_GENERAL;
        uint8_t octets[16];
        ehlo_fault fault;
        int result = ehlo_domain_parse(text, 0, &kind, octets, &fault);
        if ((result == EHLO_OK) != (row->kind != NONE) || (int)kind != row->kind || fault.offset > text.len) {
            fail_msg("%s: result %d, kind %d", row->name, result, (int)kind);
        }
        if (memcmp(octets, row->octets, sizeof(octets)) != 0) fail_msg("%s: the address differs", row->name);
        assert_int_equal(ehlo_domain_parse(text, 0, NULL, NULL, NULL), result);
        unguard(text);
    }
}

/* [C14] */
static void three_hundred_labels_are_too_many(void **state)
{
    (void)state;
    char text[600];
    for (size_t i = 0; i < sizeof(text); i++) text[i] = i % 2 ? '.' : 'a';
    ehlo_fault fault;
    int result = ehlo_domain_parse(ehlo_str_make(text, 599), 0, NULL, NULL, &fault);
    assert_refused(result, fault, EHLO_RULE_TOO_LONG_DOMAIN, 255, "300 labels");
}

/* [C5][A36] */
static void domains_are_compared_without_ascii_case_alone(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        int equal;
    } rows[] = {
        { "Example.COM", "eXAMPLE.com", 1 },
        { "", "", 1 },
        { "a", "ab", 0 },
        { "a.b", "a-b", 0 },
        { "a@", "a`", 0 },
        { "a[", "a{", 0 },
        { "a.", "a", 0 },
        { "\xC3\x89", "\xC3\xA9", 0 },
        { "\xE2\x84\xAA", "k", 0 },
        { "\xC4\xB0", "i", 0 },
        { "a\xE3\x80\x82z", "a.z", 0 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        ehlo_str a = guarded(ehlo_str_from(rows[i].a));
        ehlo_str b = guarded(ehlo_str_from(rows[i].b));
        if (ehlo_domain_equal(a, b) != rows[i].equal) fail_msg("\"%s\" and \"%s\"", rows[i].a, rows[i].b);
        unguard(a);
        unguard(b);
    }
}

/* -- mailboxes and local parts ---------------------------------------------------------------------- */

static void a_mailbox_stands_alone(void **state)
{
    (void)state;
    static const bad_row rows[] = {
        { "nothing", TEXT(""), 0, EHLO_RULE_LOCAL_PART, 0 },
        { "brackets", TEXT("<a@x>"), 0, EHLO_RULE_LOCAL_PART, 0 },
        { "postmaster has no domain", TEXT("postmaster"), 0, EHLO_RULE_AT, 10 },
        { "text behind", TEXT("a@x b"), 0, EHLO_RULE_DOMAIN, 3 },
        { "closing bracket", TEXT("a@x>"), 0, EHLO_RULE_DOMAIN, 3 },
        { "route", TEXT("@r:a@x"), 0, EHLO_RULE_LOCAL_PART, 0 },
        { "LF", TEXT("a@x\n"), 0, EHLO_RULE_CONTROL, 3 },
        { "UTF-8", TEXT("a@" E_ACUTE), 0, EHLO_RULE_NON_ASCII, 2 },
    };
    ehlo_path path;
    ehlo_fault fault;
    for (size_t i = 0; i < COUNT(rows); i++) {
        ehlo_str text = guarded(rows[i].text);
        int result = ehlo_mailbox_parse(text, rows[i].leniencies, &path, &fault);
        assert_refused(result, fault, rows[i].rule, rows[i].offset, rows[i].name);
        assert_zero(&path, sizeof(path), rows[i].name);
        unguard(text);
    }
    ehlo_str text = guarded(ehlo_str_from("\"a b\"@[192.0.2.9]"));
    assert_accepted(ehlo_mailbox_parse(text, 0, &path, &fault), fault, "quoted");
    assert_text(text, path.text, "text", "quoted");
    assert_text(text, path.mailbox, "mailbox", "quoted");
    assert_int_equal(path.domain_kind, EHLO_DOMAIN_IPV4);
    assert_int_equal(path.octets[3], 9);
    unguard(text);
}

typedef struct write_row {
    const char *mailbox;
    const char *written;
} write_row;

/* [C56][C5] */
static const write_row write_rows[] = {
    { "a.b@x", "a.b" },
    { "MiX@x", "MiX" },
    { "\"a\"@x", "a" },
    { "\"a.b\"@x", "a.b" },
    { "\"\\a\\.\\b\"@x", "a.b" },
    { "\"\"@x", "\"\"" },
    { "\"a b\"@x", "\"a b\"" },
    { "\"a\\ b\"@x", "\"a b\"" },
    { "\"a@b\"@x", "\"a@b\"" },
    { "\".a\"@x", "\".a\"" },
    { "\"a.\"@x", "\"a.\"" },
    { "\"a..b\"@x", "\"a..b\"" },
    { "\".\"@x", "\".\"" },
    { "\"a\\\"b\"@x", "\"a\\\"b\"" },
    { "\"a\\\\b\"@x", "\"a\\\\b\"" },
    { "\"\\!\"@x", "!" },
    { "\"" E_ACUTE "\"@x", E_ACUTE },
    { "\"" E_ACUTE " \"@x", "\"" E_ACUTE " \"" },
};

static void a_local_part_is_written_with_the_fewest_quotes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(write_rows); i++) {
        ehlo_str text = guarded(ehlo_str_from(write_rows[i].mailbox));
        ehlo_str written = ehlo_str_from(write_rows[i].written);
        ehlo_path path;
        assert_int_equal(ehlo_mailbox_parse(text, UTF8, &path, NULL), EHLO_OK);
        char *out = guard_copy(write_rows[i].written, written.len);
        memset(out, 0, written.len);
        size_t len = 99;
        assert_int_equal(ehlo_local_part_write(&path, out, written.len, &len), EHLO_OK);
        assert_text(written, ehlo_str_make(out, len), "local part", write_rows[i].mailbox);
        assert_true(len <= path.local_part.len + 2);
        memset(out, 'z', written.len);
        assert_int_equal(ehlo_local_part_write(&path, out, written.len - 1, &len), EHLO_ERR_SPACE);
        assert_int_equal(len, written.len);
        assert_int_equal(out[0], 'z');
        guard_free(out, written.len);
        unguard(text);
    }
}

static void the_null_path_has_an_empty_local_part(void **state)
{
    (void)state;
    ehlo_path path;
    size_t len = 99;
    assert_int_equal(ehlo_path_parse(ehlo_str_from("<>"), 0, 0, &path, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_local_part_write(&path, NULL, 0, &len), EHLO_OK);
    assert_int_equal(len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_paths_are_taken_apart),
        cmocka_unit_test(a_path_cut_short_is_refused),
        cmocka_unit_test(bad_paths_are_refused_where_they_go_wrong),
        cmocka_unit_test(each_octet_is_admitted_only_where_the_grammar_has_it),
        cmocka_unit_test(the_path_limit_counts_brackets_and_no_route),
        cmocka_unit_test(ten_thousand_hops_are_read_without_recursion),
        cmocka_unit_test(fifty_thousand_nested_openings_are_refused_at_the_first),
        cmocka_unit_test(domains_and_literals_are_told_apart),
        cmocka_unit_test(three_hundred_labels_are_too_many),
        cmocka_unit_test(domains_are_compared_without_ascii_case_alone),
        cmocka_unit_test(a_mailbox_stands_alone),
        cmocka_unit_test(a_local_part_is_written_with_the_fewest_quotes),
        cmocka_unit_test(the_null_path_has_an_empty_local_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

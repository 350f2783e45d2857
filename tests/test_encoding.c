/* xtext, base64 and UTF-8. */
#include "table.h"

/* -- xtext ------------------------------------------------------------------------------------------ */

typedef struct decode_row {
    const char *name;
    ehlo_str text;
    ehlo_str decoded; /* ptr NULL: refused */
    size_t offset;    /* of the fault */
} decode_row;

static const decode_row xtext_rows[] = {
    { "empty text decodes to nothing", TEXT(""), TEXT(""), 0 },
    { "plain xchars stand for themselves", TEXT("QQ314159"), TEXT("QQ314159"), 0 },
    { "[C181] a hexchar is an octet", TEXT("a+2Bb+3Dc"), TEXT("a+b=c"), 0 },
    { "[C181] a space is a hexchar", TEXT("a+20b"), TEXT("a b"), 0 },
    { "a hexchar reaches above ASCII", TEXT("+C3+A9"), TEXT("\xC3\xA9"), 0 },
    { "HT is no line end", TEXT("+09"), TEXT("\t"), 0 },
    { "[C181][P15] lower-case hex is refused", TEXT("ab+2b"), { NULL, 0 }, 2 },
    { "[C181][P15] a lone plus is refused", TEXT("+"), { NULL, 0 }, 0 },
    { "[C181] half a hexchar is refused", TEXT("abc+0"), { NULL, 0 }, 3 },
    { "[P15] a hexchar of other letters is refused", TEXT("+G1"), { NULL, 0 }, 0 },
    { "[C181] a raw = is refused", TEXT("a=b"), { NULL, 0 }, 1 },
    { "[C181] a raw space is refused", TEXT("a b"), { NULL, 0 }, 1 },
    { "a raw control is refused", TEXT("a\tb"), { NULL, 0 }, 1 },
    { "DEL is refused", TEXT("a\x7F"), { NULL, 0 }, 1 },
    { "a raw octet above ASCII is refused", TEXT("a\xC3\xA9"), { NULL, 0 }, 1 },
    { "a raw NUL is refused", TEXT("a\0b"), { NULL, 0 }, 1 },
    { "[C182][P15] a hidden NUL is refused", TEXT("x+00"), { NULL, 0 }, 1 },
    { "[C182][P15] a hidden LF is refused", TEXT("x+0A"), { NULL, 0 }, 1 },
    { "[C182][P15] a hidden CRLF is refused", TEXT("+0D+0A."), { NULL, 0 }, 0 },
    { "[C182][P15] a hidden LF in a mailbox is refused", TEXT("a+0Ab@x"), { NULL, 0 }, 1 },
};

typedef int decoder(ehlo_str text, char *out, size_t cap, size_t *len, ehlo_fault *fault);

static void check_row(const decode_row *row, decoder *decode)
{
    ehlo_str text = guarded(row->text);
    char out[64];
    size_t len = 99;
    ehlo_fault fault = { 99, EHLO_RULE_COUNT };
    int result = decode(text, out, sizeof(out), &len, &fault);
    if (row->decoded.ptr == NULL) {
        assert_refused(result, fault, EHLO_RULE_XTEXT, row->offset, row->name);
        assert_int_equal(len, 0);
    } else {
        assert_accepted(result, fault, row->name);
        assert_text(row->decoded, ehlo_str_make(out, len), "text", row->name);
        if (len > 0) assert_int_equal(decode(text, out, len - 1, &len, NULL), EHLO_ERR_SPACE);
    }
    assert_int_equal(decode(text, NULL, 0, &len, NULL), result);
    unguard(text);
}

static void xtext_decodes_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(xtext_rows); i++) check_row(&xtext_rows[i], ehlo_xtext_decode);
}

/* [C181] */
static void xtext_of_every_allowed_octet_comes_back(void **state)
{
    (void)state;
    char octets[256];
    size_t count = 0;
    for (int octet = 1; octet < 256; octet++) {
        if (octet != '\r' && octet != '\n') octets[count++] = (char)(unsigned char)octet;
    }
    ehlo_str in = guarded(ehlo_str_make(octets, count));
    char encoded[768];
    char decoded[256];
    size_t len;
    size_t back;
    assert_int_equal(ehlo_xtext_encode(in, encoded, sizeof(encoded), &len), EHLO_OK);
    ehlo_str text = guarded(ehlo_str_make(encoded, len));
    assert_int_equal(ehlo_xtext_decode(text, decoded, sizeof(decoded), &back, NULL), EHLO_OK);
    assert_text(in, ehlo_str_make(decoded, back), "text", "all octets");
    unguard(in);
    unguard(text);
}

static void xtext_encodes_what_it_must(void **state)
{
    (void)state;
    static const decode_row rows[] = {
        { "nothing", TEXT(""), TEXT(""), 0 },
        { "plus and equals", TEXT("a+b=c"), TEXT("a+2Bb+3Dc"), 0 },
        { "space, DEL and high octets", TEXT("a \x7F\xFF"), TEXT("a+20+7F+FF"), 0 },
        { "the ends of the plain range", TEXT("!~"), TEXT("!~"), 0 },
        { "[C182] a LF", TEXT("a\nb"), { NULL, 0 }, 0 },
        { "[C182] a CR", TEXT("\r"), { NULL, 0 }, 0 },
        { "[C182] a NUL", TEXT("ab\0"), { NULL, 0 }, 0 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[64];
        size_t len = 99;
        ehlo_str octets = guarded(rows[i].text);
        int result = ehlo_xtext_encode(octets, out, sizeof(out), &len);
        unguard(octets);
        if (rows[i].decoded.ptr == NULL) {
            if (result != EHLO_ERR_ARG || len != 0) fail_msg("%s: result %d", rows[i].name, result);
            continue;
        }
        if (result != EHLO_OK) fail_msg("%s: result %d", rows[i].name, result);
        assert_text(rows[i].decoded, ehlo_str_make(out, len), "text", rows[i].name);
    }
}

static void xtext_says_how_much_room_it_needs(void **state)
{
    (void)state;
    char out[8] = "zzzzzzz";
    size_t len;
    ehlo_str text = ehlo_str_from("a+2Bb");
    assert_int_equal(ehlo_xtext_decode(text, out, 2, &len, NULL), EHLO_ERR_SPACE);
    assert_int_equal(len, 3);
    assert_string_equal(out, "zzzzzzz");
    assert_int_equal(ehlo_xtext_decode(text, out, 3, &len, NULL), EHLO_OK);
    assert_int_equal(out[3], 'z');
    assert_int_equal(ehlo_xtext_encode(ehlo_str_from("a+"), out, 3, &len), EHLO_ERR_SPACE);
    assert_int_equal(len, 4);
    assert_int_equal(ehlo_xtext_encode(ehlo_str_from("a+"), out, 4, &len), EHLO_OK);
    assert_memory_equal(out, "a+2Bzzz", 7);
}

/* -- addresses of ORCPT --------------------------------------------------------------------------------- */

/* RFC 6533 3 */
static const decode_row utf8_address_rows[] = {
    { "plain characters stand for themselves", TEXT("a@b.example"), TEXT("a@b.example"), 0 },
    { "UTF-8 stands for itself", TEXT("\xC3\xA9@b"), TEXT("\xC3\xA9@b"), 0 },
    { "two octets", TEXT("\\x{E9}@b"), TEXT("\xC3\xA9@b"), 0 },
    { "three octets", TEXT("\\x{20AC}@b"), TEXT("\xE2\x82\xAC@b"), 0 },
    { "four octets", TEXT("\\x{10FFFF}@b"), TEXT("\xF4\x8F\xBF\xBF@b"), 0 },
    { "what xtext sets apart", TEXT("a\\x{2B}\\x{3D}\\x{20}\\x{5C}"), TEXT("a+= \\"), 0 },
    { "[C181] a plus is none of it", TEXT("a+2B"), { NULL, 0 }, 1 },
    { "[C182] a hidden LF is refused", TEXT("a\\x{A}"), { NULL, 0 }, 1 },
    { "[C182] a raw CR LF is refused", TEXT("a\r\nb"), { NULL, 0 }, 1 },
    { "[C182] a raw NUL is refused", TEXT("ab\0"), { NULL, 0 }, 2 },
    { "[C181] a raw = is refused", TEXT("a=b"), { NULL, 0 }, 1 },
    { "a raw space is refused", TEXT("a b"), { NULL, 0 }, 1 },
    { "malformed UTF-8 is refused", TEXT("a\x80"), { NULL, 0 }, 1 },
    { "a hidden C1 control is refused", TEXT("a\\x{85}"), { NULL, 0 }, 1 },
    { "a hidden line separator is refused", TEXT("\\x{2028}"), { NULL, 0 }, 0 },
    { "a surrogate is refused", TEXT("\\x{D800}"), { NULL, 0 }, 0 },
    { "a leading zero is refused", TEXT("\\x{0E9}"), { NULL, 0 }, 0 },
    { "lower-case hex is refused", TEXT("\\x{e9}"), { NULL, 0 }, 0 },
    { "an open brace is refused", TEXT("\\x{E9"), { NULL, 0 }, 0 },
};

static int decode_utf8_orcpt(ehlo_str text, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    return ehlo_orcpt_decode(ehlo_str_from("UTF-8"), text, out, cap, len, fault);
}

static void orcpt_of_utf_8_decodes_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(utf8_address_rows); i++) check_row(&utf8_address_rows[i], decode_utf8_orcpt);
}

static void orcpt_of_another_type_is_xtext(void **state)
{
    char out[8];
    size_t len;
    (void)state;
    assert_int_equal(ehlo_orcpt_decode(ehlo_str_from("rfc822"), ehlo_str_from("a+2Bb"), out, sizeof out, &len, NULL),
                     EHLO_OK);
    assert_text(ehlo_str_from("a+b"), ehlo_str_make(out, len), "text", "rfc822");
}

/* -- base64 ----------------------------------------------------------------------------------------- */

static const decode_row base64_rows[] = {
    { "empty", TEXT(""), TEXT(""), 0 },
    { "one octet", TEXT("Zg=="), TEXT("f"), 0 },
    { "two octets", TEXT("Zm8="), TEXT("fo"), 0 },
    { "three octets", TEXT("Zm9v"), TEXT("foo"), 0 },
    { "four octets", TEXT("Zm9vYg=="), TEXT("foob"), 0 },
    { "six octets", TEXT("Zm9vYmFy"), TEXT("foobar"), 0 },
    { "the last digits of the alphabet", TEXT("+/+/"), TEXT("\xFB\xFF\xBF"), 0 },
    { "[U03] zero octets", TEXT("AAAA"), TEXT("\0\0\0"), 0 },
    { "[U02] only padding", TEXT("===="), { NULL, 0 }, 0 },
    { "[C187] a lone = is no base64", TEXT("="), { NULL, 0 }, 1 },
    { "[U04][U11] three digits without padding", TEXT("AAA"), { NULL, 0 }, 3 },
    { "[U10][U11] one digit too many", TEXT("AAAAA"), { NULL, 0 }, 5 },
    { "[U11] two digits", TEXT("AA"), { NULL, 0 }, 2 },
    { "[C189][U09] outside the alphabet", TEXT("!!!!"), { NULL, 0 }, 0 },
    { "[C189][U11] padding inside", TEXT("AA==AAAA"), { NULL, 0 }, 2 },
    { "[C189][U11] padding too long", TEXT("A==="), { NULL, 0 }, 1 },
    { "[U11] a digit behind padding", TEXT("AA=A"), { NULL, 0 }, 2 },
    { "[U11] a space", TEXT("AAA AAAA"), { NULL, 0 }, 3 },
    { "[U11] a line end", TEXT("AAAA\r\n"), { NULL, 0 }, 4 },
    { "[U11] the URL alphabet", TEXT("AA-_"), { NULL, 0 }, 2 },
    { "[C189] four unused bits are not zero", TEXT("Zh=="), { NULL, 0 }, 1 },
    { "[C189] two unused bits are not zero", TEXT("Zm9="), { NULL, 0 }, 2 },
    { "[C189] the higher of two unused bits", TEXT("AAC="), { NULL, 0 }, 2 },
    { "[C189] the lower of two unused bits", TEXT("AAB="), { NULL, 0 }, 2 },
    { "a NUL", TEXT("AA\0A"), { NULL, 0 }, 2 },
    { "an octet above ASCII", TEXT("AAA\xC1"), { NULL, 0 }, 3 },
};

static void base64_decodes_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(base64_rows); i++) {
        const decode_row *row = &base64_rows[i];
        ehlo_str text = guarded(row->text);
        char out[64];
        size_t len = 99;
        ehlo_fault fault = { 99, EHLO_RULE_COUNT };
        int result = ehlo_base64_decode(text, out, sizeof(out), &len, &fault);
        if (row->decoded.ptr == NULL) {
            assert_refused(result, fault, EHLO_RULE_BASE64, row->offset, row->name);
            assert_int_equal(len, 0);
        } else {
            assert_accepted(result, fault, row->name);
            assert_text(row->decoded, ehlo_str_make(out, len), "text", row->name);
        }
        unguard(text);
    }
}

/* [U11] Into buffers of the exact size, and in place: CVE-2018-6789 was one octet too many. */
static void base64_of_every_length_comes_back_within_its_bound(void **state)
{
    (void)state;
    char octets[1024];
    for (size_t i = 0; i < sizeof(octets); i++) octets[i] = (char)(unsigned char)(i * 7 + 3);
    for (size_t count = 0; count <= sizeof(octets); count++) {
        char encoded[1368];
        size_t len;
        size_t back;
        ehlo_str in = guarded(ehlo_str_make(octets, count));
        assert_int_equal(ehlo_base64_encode(in, encoded, 4 * ((count + 2) / 3), &len), EHLO_OK);
        assert_int_equal(len, 4 * ((count + 2) / 3));
        ehlo_str text = guarded(ehlo_str_make(encoded, len));
        char *exact = guard_copy(octets, count);
        if (count > 0) memset(exact, 0, count);
        assert_int_equal(ehlo_base64_decode(text, exact, count, &back, NULL), EHLO_OK);
        assert_text(in, ehlo_str_make(exact, back), "text", "exact buffer");
        char *same = (char *)(uintptr_t)text.ptr;
        assert_int_equal(ehlo_base64_decode(text, same, len, &back, NULL), EHLO_OK);
        assert_text(in, ehlo_str_make(same, back), "text", "in place");
        guard_free(exact, count);
        unguard(text);
        unguard(in);
    }
}

/* [U11] Cutting valid base64 anywhere but between groups makes it invalid. */
static void base64_cut_short_is_refused(void **state)
{
    (void)state;
    static const char whole[] = "SGVsbG8sIHdvcmxkLCBoZWxsbyE=";
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        ehlo_str text = guarded(ehlo_str_make(whole, len));
        size_t decoded;
        int expected = len % 4 == 0 ? EHLO_OK : EHLO_ERR_SYNTAX;
        assert_int_equal(ehlo_base64_decode(text, NULL, 0, &decoded, NULL), expected);
        unguard(text);
    }
}

/* Of the 65536 pairs of octets, exactly 64 times 4 and "==" make one octet. */
static void base64_spells_each_octet_once(void **state)
{
    (void)state;
    int accepted = 0;
    char seen[256] = { 0 };
    for (int first = 0; first < 256; first++) {
        for (int second = 0; second < 256; second++) {
            char text[4] = { (char)(unsigned char)first, (char)(unsigned char)second, '=', '=' };
            char out;
            size_t len;
            if (ehlo_base64_decode(ehlo_str_make(text, 4), &out, 1, &len, NULL) != EHLO_OK) continue;
            assert_int_equal(len, 1);
            assert_int_equal(seen[(unsigned char)out]++, 0);
            accepted++;
        }
    }
    assert_int_equal(accepted, 256);
}

static void base64_says_how_much_room_it_needs(void **state)
{
    (void)state;
    char out[8] = "zzzzzzz";
    size_t len;
    assert_int_equal(ehlo_base64_decode(ehlo_str_from("Zm9v"), out, 2, &len, NULL), EHLO_ERR_SPACE);
    assert_int_equal(len, 3);
    assert_int_equal(ehlo_base64_encode(ehlo_str_from("foo"), out, 3, &len), EHLO_ERR_SPACE);
    assert_int_equal(len, 4);
    assert_string_equal(out, "zzzzzzz");
}

/* -- UTF-8 ------------------------------------------------------------------------------------------ */

typedef struct utf8_row {
    const char *name;
    ehlo_str text;
    int valid;
    size_t bad;
} utf8_row;

static const utf8_row utf8_rows[] = {
    { "nothing", TEXT(""), 1, 0 },
    { "ASCII and NUL", TEXT("a\0b\x7F"), 1, 0 },
    { "two octets, least", TEXT("\xC2\x80"), 1, 0 },
    { "two octets, most", TEXT("\xDF\xBF"), 1, 0 },
    { "three octets, least", TEXT("\xE0\xA0\x80"), 1, 0 },
    { "three octets before the surrogates", TEXT("\xED\x9F\xBF"), 1, 0 },
    { "three octets behind the surrogates", TEXT("\xEE\x80\x80"), 1, 0 },
    { "three octets, most", TEXT("\xEF\xBF\xBF"), 1, 0 },
    { "four octets, least", TEXT("\xF0\x90\x80\x80"), 1, 0 },
    { "four octets, most", TEXT("\xF4\x8F\xBF\xBF"), 1, 0 },
    { "[C174] overlong slash", TEXT("a\xC0\xAF"), 0, 1 },
    { "[C174] overlong in two octets", TEXT("\xC1\xBF"), 0, 0 },
    { "[C174] overlong in three octets", TEXT("ab\xE0\x9F\xBF"), 0, 2 },
    { "[C174] overlong in four octets", TEXT("\xF0\x8F\xBF\xBF"), 0, 0 },
    { "[C174] lowest surrogate", TEXT("\xED\xA0\x80"), 0, 0 },
    { "[C174] highest surrogate", TEXT("\xED\xBF\xBF"), 0, 0 },
    { "[C174] above U+10FFFF", TEXT("\xF4\x90\x80\x80"), 0, 0 },
    { "[C174] leads of five octets", TEXT("\xF8\x88\x80\x80\x80"), 0, 0 },
    { "[C174] FF", TEXT("\xFF"), 0, 0 },
    { "[C174] a tail alone", TEXT("a\x80"), 0, 1 },
    { "[C174] cut after one of two", TEXT("\xC3"), 0, 0 },
    { "[C174] cut after two of three", TEXT("a\xE2\x82"), 0, 1 },
    { "[C174][C08] cut after two of four", TEXT("X=\xF1\x80"), 0, 2 },
    { "[C174] a lead instead of a tail", TEXT("\xC3\xC3\xA9"), 0, 0 },
    { "[C174] ASCII instead of the last tail", TEXT("\xE2\x82z"), 0, 0 },
};

static void utf8_is_judged_by_rfc_3629(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(utf8_rows); i++) {
        const utf8_row *row = &utf8_rows[i];
        ehlo_str text = guarded(row->text);
        size_t bad = 0;
        int valid = ehlo_utf8_valid(text, &bad);
        if (valid != row->valid || bad != row->bad) fail_msg("%s: %d, bad at %zu", row->name, valid, bad);
        assert_int_equal(ehlo_utf8_valid(text, NULL), valid);
        unguard(text);
    }
}

/* Encodes a number as UTF-8 would, whether or not it is a character. */
static size_t encode_point(unsigned long point, char *out)
{
    size_t tails = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const unsigned leads[] = { 0x00, 0xC0, 0xE0, 0xF0 };
    out[0] = (char)(unsigned char)(leads[tails] | point >> (6 * tails));
    for (size_t i = 1; i <= tails; i++) out[i] = (char)(unsigned char)(0x80 | (point >> (6 * (tails - i)) & 0x3F));
    return tails + 1;
}

/* [C174] */
static void utf8_holds_every_character_and_no_other(void **state)
{
    (void)state;
    for (unsigned long point = 0; point < 0x1FFFFF; point++) {
        char out[4];
        size_t len = encode_point(point, out);
        int is_character = point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
        if (ehlo_utf8_valid(ehlo_str_make(out, len), NULL) != is_character) fail_msg("U+%04lX", point);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xtext_decodes_strictly),
        cmocka_unit_test(xtext_of_every_allowed_octet_comes_back),
        cmocka_unit_test(xtext_encodes_what_it_must),
        cmocka_unit_test(xtext_says_how_much_room_it_needs),
        cmocka_unit_test(orcpt_of_utf_8_decodes_strictly),
        cmocka_unit_test(orcpt_of_another_type_is_xtext),
        cmocka_unit_test(base64_decodes_strictly),
        cmocka_unit_test(base64_of_every_length_comes_back_within_its_bound),
        cmocka_unit_test(base64_cut_short_is_refused),
        cmocka_unit_test(base64_spells_each_octet_once),
        cmocka_unit_test(base64_says_how_much_room_it_needs),
        cmocka_unit_test(utf8_is_judged_by_rfc_3629),
        cmocka_unit_test(utf8_holds_every_character_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

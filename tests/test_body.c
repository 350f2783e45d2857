/* The body codec against the byte automaton of body_model.h, at every cut, and by example. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "body_run.h"

#include "scan.h"

#define TEXT(literal) literal, sizeof(literal) - 1

static const body_cuts whole = { SIZE_MAX, 1 };

static ehlo_codec codec_of(ehlo_bare_policy bare_cr, ehlo_bare_policy bare_lf, uint32_t line_max)
{
    ehlo_codec codec;
    assert_int_equal(ehlo_codec_init(&codec, bare_cr, bare_lf, line_max), EHLO_OK);
    return codec;
}

/* -- against the automaton ---------------------------------------------------------------------------- */

enum { SHORT_MAX = 8 };

/* Every string over the four octets that make a difference, up to a length; returns how many. */
static size_t each_short_text(void (*check)(const ehlo_codec *codec, const char *text, size_t len),
                              const ehlo_codec *codec, size_t len_max)
{
    size_t count = 0;
    for (size_t len = 0; len <= len_max; len++) {
        for (size_t number = 0; number < (size_t)1 << (2 * len); number++, count++) {
            char text[16];
            for (size_t i = 0; i < len; i++) text[i] = ".\r\na"[number >> (2 * i) & 3];
            check(codec, text, len);
        }
    }
    return count;
}

static void decode_in_every_step_size(const ehlo_codec *codec, const char *text, size_t len)
{
    body_outcome expected = model_decode(codec, text, len);
    size_t step = 1;
    do {
        body_cuts cuts = { step, step };
        check_decode(codec, text, len, cuts, &expected);
    } while (++step <= len);
    free(expected.message);
}

static void encode_in_every_step_size(const ehlo_codec *codec, const char *text, size_t len)
{
    size_t step = 1;
    do {
        body_cuts cuts = { step, step };
        check_encode(codec, text, len, cuts);
    } while (++step <= len);
}

static void encode_counted_at_every_cut(const ehlo_codec *codec, const char *text, size_t len)
{
    for (size_t first = 0; first <= len; first++) {
        for (size_t step = 1; step <= len + 1; step++) {
            body_cuts cuts = { first, step };
            check_encode_counted(codec, text, len, cuts);
        }
    }
}

/* [E28] [C1] [C67] [C68] [C72] */
static void every_short_text_decodes_as_the_automaton_says_in_every_step_size(void **state)
{
    (void)state;
    for (int cr = EHLO_BARE_REJECT; cr <= EHLO_BARE_PASS; cr++) {
        for (int lf = EHLO_BARE_REJECT; lf <= EHLO_BARE_PASS; lf++) {
            ehlo_codec codec = codec_of((ehlo_bare_policy)cr, (ehlo_bare_policy)lf, 0);
            each_short_text(decode_in_every_step_size, &codec, SHORT_MAX - 1);
        }
    }
}

static void every_longer_text_decodes_strictly_as_the_automaton_says_in_every_step_size(void **state)
{
    ehlo_codec codec = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, 0);
    (void)state;
    assert_int_equal(each_short_text(decode_in_every_step_size, &codec, SHORT_MAX), 87381);
}

static void every_short_text_keeps_to_a_line_limit_in_every_step_size(void **state)
{
    (void)state;
    for (int cr = EHLO_BARE_REJECT; cr <= EHLO_BARE_PASS; cr++) {
        for (int lf = EHLO_BARE_REJECT; lf <= EHLO_BARE_PASS; lf++) {
            for (uint32_t line_max = 1; line_max <= 3; line_max++) {
                ehlo_codec codec = codec_of((ehlo_bare_policy)cr, (ehlo_bare_policy)lf, line_max);
                each_short_text(decode_in_every_step_size, &codec, SHORT_MAX - 2);
            }
        }
    }
}

/* [C2] [C69] [C70] [C71] [C80] [N40] */
static void every_short_message_arrives_as_its_canon_in_every_step_size(void **state)
{
    (void)state;
    for (int cr = EHLO_BARE_DEFAULT; cr <= EHLO_BARE_NORMALISE; cr++) {
        for (int lf = EHLO_BARE_DEFAULT; lf <= EHLO_BARE_NORMALISE; lf++) {
            ehlo_codec codec = codec_of((ehlo_bare_policy)cr, (ehlo_bare_policy)lf, 0);
            each_short_text(encode_in_every_step_size, &codec, SHORT_MAX - 1);
        }
    }
}

/* [C157] [N40] Nothing is added, dots and the end mean nothing. */
static void every_short_message_is_its_canon_in_chunks_at_every_cut(void **state)
{
    (void)state;
    for (int cr = EHLO_BARE_DEFAULT; cr <= EHLO_BARE_NORMALISE; cr++) {
        for (int lf = EHLO_BARE_DEFAULT; lf <= EHLO_BARE_NORMALISE; lf++) {
            ehlo_codec codec = codec_of((ehlo_bare_policy)cr, (ehlo_bare_policy)lf, 0);
            each_short_text(encode_counted_at_every_cut, &codec, SHORT_MAX - 2);
        }
    }
}

/* What a sender counts as too long a line is what a receiver does, behind a faultless encoding. */
static void long_lines_are_the_same_to_both_sides(const ehlo_codec *codec, const char *text, size_t len)
{
    ehlo_codec unlimited = *codec;
    body_outcome limited = run_encode(codec, text, len, whole), wire, arrived, counted;
    unlimited.line_max = 0;
    wire = run_encode(&unlimited, text, len, whole);
    arrived = model_decode(codec, wire.message, wire.size);
    BODY_CHECK(limited.violation == arrived.violation);
    counted = run_encode_by(ehlo_encode_counted, codec, text, len, whole);
    BODY_CHECK(counted.violation == limited.violation && counted.violation_at == limited.violation_at);
    free(counted.message);
    free(limited.message);
    free(wire.message);
    free(arrived.message);
}

static void an_encoder_keeps_to_the_line_limit(void **state)
{
    (void)state;
    for (uint32_t line_max = 1; line_max <= 3; line_max++) {
        ehlo_codec codec = codec_of(EHLO_BARE_NORMALISE, EHLO_BARE_NORMALISE, line_max);
        each_short_text(long_lines_are_the_same_to_both_sides, &codec, SHORT_MAX - 1);
    }
}

/* Lines of many lengths, most of them clean, some dotted, some with a bare octet; the end not always there. */
static void write_lines(char *text, size_t len, uint32_t *seed)
{
    static const char *const pieces[] = { "\r\n", "\r\n", "\r\n", "\r\n.", "\r\n..", ".", "\r", "\n", "\r\n.\r\n" };
    unsigned kinds = *seed % 3 == 0 ? 9 : *seed % 3 == 1 ? 6 : 3;
    unsigned words = *seed % 5 == 0 ? 100 : 12;
    size_t at = 0;
    while (at < len) {
        *seed = *seed * 1664525 + 1013904223;
        for (size_t word = (*seed >> 8) % words; word > 0 && at < len; word--) text[at++] = 'a';
        for (const char *piece = pieces[(*seed >> 20) % kinds]; *piece != '\0' && at < len; piece++)
            text[at++] = *piece;
    }
}

static void decode_with_every_engine(ehlo_codec codec, const char *text, size_t len, body_cuts cuts,
                                     const body_outcome *expected)
{
    for (size_t i = 0; (codec.scan = ehlo_scan_engine(i)) != NULL; i++) {
        check_decode(&codec, text, len, cuts, expected);
    }
}

/* The cut moves the second piece over every alignment, since each piece ends at a page. */
static void every_engine_decodes_alike_at_every_length_and_cut(void **state)
{
    uint32_t seed = 1;
    (void)state;
    for (unsigned round = 0; round < 9; round++) {
        uint32_t line_max = round % 2 == 0 ? 0 : 40;
        ehlo_codec codec = codec_of((ehlo_bare_policy)(1 + round % 3), (ehlo_bare_policy)(1 + round / 3), line_max);
        for (size_t len = 0; len <= 200; len++) {
            char text[200];
            body_outcome expected;
            write_lines(text, len, &seed);
            expected = model_decode(&codec, text, len);
            for (size_t cut = 0; cut <= len; cut++) {
                body_cuts cuts = { cut, len + 1 };
                decode_with_every_engine(codec, text, len, cuts, &expected);
            }
            free(expected.message);
        }
    }
}

static void every_engine_decodes_alike_in_every_step_size(void **state)
{
    enum { LENGTH = 3000 };
    static char text[LENGTH];
    uint32_t seed = 7;
    (void)state;
    for (unsigned round = 0; round < 9; round++) {
        ehlo_codec codec = codec_of((ehlo_bare_policy)(1 + round % 3), (ehlo_bare_policy)(1 + round / 3), 0);
        body_outcome expected;
        write_lines(text, LENGTH, &seed);
        expected = model_decode(&codec, text, LENGTH);
        for (size_t step = 1; step <= 150; step++) {
            body_cuts cuts = { step, step };
            decode_with_every_engine(codec, text, LENGTH, cuts, &expected);
        }
        free(expected.message);
    }
}

static void every_engine_encodes_to_the_canon_at_every_length_and_cut(void **state)
{
    uint32_t seed = 3;
    ehlo_codec codec = codec_of(EHLO_BARE_NORMALISE, EHLO_BARE_NORMALISE, 0);
    (void)state;
    for (size_t len = 0; len <= 200; len++) {
        char text[200];
        write_lines(text, len, &seed);
        for (size_t cut = 0; cut <= len; cut++) {
            body_cuts cuts = { cut, len + 1 };
            for (size_t i = 0; (codec.scan = ehlo_scan_engine(i)) != NULL; i++) {
                check_encode(&codec, text, len, cuts);
                check_encode_counted(&codec, text, len, cuts);
            }
        }
    }
}

/* -- the end of data ---------------------------------------------------------------------------------- */

#define BEFORE "Subject: one\r\n\r\nbody"
#define BEHIND "MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\nSubject: two\r\n\r\nsmuggled\r\n"

typedef struct smuggling {
    const char *name;
    const char *sequence; /* what stands between body and BEHIND */
    const char *decoded;  /* what becomes of it where bare octets pass */
    int violation;        /* what a strict receiver says of it */
} smuggling;

static const smuggling smugglings[] = {
    { "[E01]", "\n.\n", "\n.\n", EHLO_BODY_BARE_LF },
    { "[E02]", "\n.\r\n", "\n.\r\n", EHLO_BODY_BARE_LF },
    { "[E03]", "\r\n.\n", "\r\n\n", EHLO_BODY_BARE_LF },
    { "[E04]", "\n.\r", "\n.\r", EHLO_BODY_BARE_LF },
    { "[E05]", "\r.\r", "\r.\r", EHLO_BODY_BARE_CR },
    { "[E06]", "\r.\n", "\r.\n", EHLO_BODY_BARE_CR },
    { "[E07]", "\r.\r\n", "\r.\r\n", EHLO_BODY_BARE_CR },
    { "[E08]", "\r\n.\r", "\r\n\r", EHLO_BODY_BARE_CR },
    { "[E17]", "\r\n. \r\n", "\r\n \r\n", 0 },
    { "[E18]", "\r\n.\t\r\n", "\r\n\t\r\n", 0 },
    { "[E19]", "\r\n .\r\n", "\r\n .\r\n", 0 },
    { "CR CRLF . CRLF", "\r\r\n.x\r\n", "\r\r\nx\r\n", EHLO_BODY_BARE_CR },
    { "LF CR . CR LF", "\n\r.\r\n", "\n\r.\r\n", EHLO_BODY_BARE_LF },
    { "CRLF . CR CRLF", "\r\n.\r\r\n", "\r\n\r\r\n", EHLO_BODY_BARE_CR },
    { "CRLF . LF CRLF", "\r\n.\n\r\n", "\r\n\n\r\n", EHLO_BODY_BARE_LF },
    { "CRLF . SOH CRLF", "\r\n.\x01\r\n", "\r\n\x01\r\n", 0 },
    { "CRLF .. CRLF", "\r\n..\r\n", "\r\n.\r\n", 0 },
};

static size_t join(char *to, const char *a, const char *b, const char *c)
{
    return (size_t)sprintf(to, "%s%s%s", a, b, c);
}

static void assert_outcome(const char *name, const body_outcome *got, int violation, size_t consumed)
{
    if (got->violation != violation || !got->ended || got->consumed != consumed) {
        fail_msg("%s: violation %d, ended %d, consumed %zu; not %d, 1, %zu", name, got->violation, got->ended,
                 got->consumed, violation, consumed);
    }
}

/* [E01-E19] [E28] [C72] [C80] Whatever stands there, the message ends at the one true end, once. */
static void no_sequence_but_crlf_dot_crlf_ends_a_message(void **state)
{
    ehlo_codec strict = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, 0);
    ehlo_codec passing = codec_of(EHLO_BARE_PASS, EHLO_BARE_PASS, 0);
    (void)state;
    for (size_t i = 0; i < sizeof smugglings / sizeof *smugglings; i++) {
        const smuggling *row = &smugglings[i];
        char wire[400], message[400];
        size_t size = join(message, BEFORE, row->decoded, BEHIND);
        size_t len = join(wire, BEFORE, row->sequence, BEHIND ".\r\n");
        for (size_t step = 1; step <= len; step++) {
            body_cuts cuts = { step, step };
            body_outcome got = run_decode(&strict, wire, len, cuts);
            assert_outcome(row->name, &got, row->violation, len);
            free(got.message);
            got = run_decode(&passing, wire, len, cuts);
            assert_outcome(row->name, &got, 0, len);
            assert_int_equal(got.size, size);
            assert_memory_equal(got.message, message, size);
            free(got.message);
        }
    }
}

/* [E01-E19] outbound: whatever a message holds, a strict receiver finds one end and nothing to object to. */
static void no_sequence_in_a_message_ends_it_on_the_wire(void **state)
{
    ehlo_codec codec = codec_of(EHLO_BARE_NORMALISE, EHLO_BARE_NORMALISE, 0);
    (void)state;
    for (size_t i = 0; i < sizeof smugglings / sizeof *smugglings; i++) {
        char message[400];
        size_t len = join(message, BEFORE, smugglings[i].sequence, BEHIND);
        for (size_t step = 1; step <= len; step++) {
            body_cuts cuts = { step, step };
            check_encode(&codec, message, len, cuts);
        }
    }
}

typedef struct decode_case {
    const char *name;
    const char *wire;
    size_t len;
    const char *message;
    size_t size;
    int violation;
    size_t consumed;
} decode_case;

/* What follows the end belongs to the next command. */
static const decode_case decode_cases[] = {
    { "[E00] [C67] the end", TEXT("a\r\n.\r\nQUIT\r\n"), TEXT("a\r\n"), 0, 6 },
    { "[E29] [C67] the empty message", TEXT(".\r\nQUIT\r\n"), TEXT(""), 0, 3 },
    { "[E29] a first line that is a dot and LF", TEXT(".\nb\r\n.\r\n"), TEXT(""), EHLO_BODY_BARE_LF, 8 },
    { "[C68] a dot goes", TEXT(".a\r\n.\r\n"), TEXT("a\r\n"), 0, 7 },
    { "[C68] one dot goes", TEXT("..\r\n...\r\n.\r\n"), TEXT(".\r\n..\r\n"), 0, 12 },
    { "[C68] a dot inside a line stays", TEXT("a.\r\nb.c\r\n.\r\n"), TEXT("a.\r\nb.c\r\n"), 0, 12 },
    { "[C80] NUL and 8-bit octets are data", TEXT("\0\x80\xff\r\n.\r\n"), TEXT("\0\x80\xff\r\n"), 0, 8 },
    { "the octets before a violation are handed out", TEXT("ab\r\nc\rd\r\n.\r\n"), TEXT("ab\r\nc"), EHLO_BODY_BARE_CR,
      12 },
    { "a second violation is not told", TEXT("a\nb\rc\n.\r\n\r\n.\r\n"), TEXT("a"), EHLO_BODY_BARE_LF, 14 },
};

static void decodes_by_example(void **state)
{
    ehlo_codec codec = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, 0);
    (void)state;
    for (size_t i = 0; i < sizeof decode_cases / sizeof *decode_cases; i++) {
        const decode_case *row = &decode_cases[i];
        for (size_t step = 1; step <= row->len; step++) {
            body_cuts cuts = { step, step };
            body_outcome got = run_decode(&codec, row->wire, row->len, cuts);
            assert_outcome(row->name, &got, row->violation, row->consumed);
            assert_int_equal(got.size, row->size);
            assert_memory_equal(got.message, row->message, row->size);
            free(got.message);
        }
    }
}

/* [E30] */
static void the_end_is_found_across_the_edge_of_a_buffer(void **state)
{
    enum { BUFFER = 64 * 1024 };
    static char wire[BUFFER + 16];
    ehlo_codec codec = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, 0);
    (void)state;
    for (size_t k = 0; k <= 6; k++) {
        size_t len = BUFFER - k + 5;
        body_cuts cuts = { BUFFER, 1 };
        body_outcome got;
        memset(wire, 'a', sizeof wire);
        memcpy(wire + BUFFER - k, "\r\n.\r\n", 5);
        got = run_decode(&codec, wire, sizeof wire, cuts);
        assert_outcome("[E30]", &got, 0, len);
        assert_int_equal(got.size, BUFFER - k + 2);
        free(got.message);
    }
}

/* [E31] [C77] */
static void an_over_long_line_hides_no_end(void **state)
{
    enum { LINE = 70000, LIMIT = 998 };
    static char wire[LINE + 5];
    ehlo_codec codec = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, LIMIT);
    (void)state;
    memset(wire, 'a', LINE);
    memcpy(wire + LINE, "\r\n.\r\n", 5);
    for (size_t step = 1; step <= LINE; step *= 3) {
        body_cuts cuts = { step, step };
        body_outcome got = run_decode(&codec, wire, sizeof wire, cuts);
        assert_outcome("[E31]", &got, EHLO_BODY_LONG, sizeof wire);
        assert_int_equal(got.violation_at, LIMIT);
        assert_int_equal(got.size, LIMIT);
        free(got.message);
    }
}

/* [C77] 998 octets and CRLF are fine, the stuffed dot not counted. */
static void a_line_may_be_as_long_as_its_limit(void **state)
{
    enum { LIMIT = 998 };
    char wire[1100];
    ehlo_codec codec = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, LIMIT);
    (void)state;
    for (size_t excess = 0; excess < 2; excess++) {
        size_t line = 1 + LIMIT + excess;
        body_outcome got;
        memset(wire, '.', line);
        memcpy(wire + line, "\r\n.\r\n", 5);
        got = run_decode(&codec, wire, line + 5, whole);
        assert_outcome("[C77]", &got, excess ? EHLO_BODY_LONG : 0, line + 5);
        free(got.message);
    }
}

static void a_line_limit_decodes_many_lines_as_the_automaton_says(void **state)
{
    enum { LENGTH = 20000 };
    static char text[LENGTH];
    uint32_t seed = 11;
    (void)state;
    for (uint32_t line_max = 1; line_max < 300; line_max += line_max < 120 ? 7 : 60) {
        for (int policy = EHLO_BARE_REJECT; policy <= EHLO_BARE_PASS; policy++) {
            ehlo_codec codec = codec_of((ehlo_bare_policy)policy, (ehlo_bare_policy)policy, line_max);
            body_cuts cuts = { 777, 777 };
            body_outcome expected;
            write_lines(text, LENGTH, &seed);
            expected = model_decode(&codec, text, LENGTH);
            check_decode(&codec, text, LENGTH, whole, &expected);
            check_decode(&codec, text, LENGTH, cuts, &expected);
            free(expected.message);
        }
    }
}

/* -- slices and steps ----------------------------------------------------------------------------------- */

/* [E33] [C80] A run goes on over lines, and nothing in one is special. */
static void a_clean_text_is_one_slice(void **state)
{
    enum { LENGTH = 1 << 20 };
    char *text = malloc(LENGTH);
    ehlo_codec codec = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, 998);
    ehlo_decoder decoder;
    ehlo_encoder encoder;
    ehlo_str slice;
    size_t used;
    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < LENGTH; i++) text[i] = "From a@b Thu\r\n\r\n"[i % 16];
    ehlo_decoder_init(&decoder);
    assert_int_equal(ehlo_decode(&decoder, &codec, text, LENGTH, &used, &slice), EHLO_BODY_SLICE);
    assert_ptr_equal(slice.ptr, text);
    assert_int_equal(slice.len, LENGTH);
    ehlo_encoder_init(&encoder);
    assert_int_equal(ehlo_encode(&encoder, &codec, text, LENGTH, 1, &used, &slice), EHLO_BODY_SLICE);
    assert_ptr_equal(slice.ptr, text);
    assert_int_equal(slice.len, LENGTH);
    free(text);
}

/* [C148] [C157] */
static void a_clean_piece_of_a_chunk_is_one_slice_whatever_its_dots(void **state)
{
    enum { LENGTH = 4096 };
    char text[LENGTH];
    ehlo_codec codec = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, 998);
    (void)state;
    for (size_t i = 0; i < LENGTH; i++) text[i] = ".a\r\n..\r\n.\r\n.\r\n"[i % 14];
    for (size_t cut = 1; cut <= LENGTH; cut++) {
        ehlo_encoder encoder;
        ehlo_str slice;
        size_t used, held = text[cut - 1] == '\r';
        ehlo_encoder_init(&encoder);
        assert_int_equal(ehlo_encode_counted(&encoder, &codec, text, cut, 0, &used, &slice), EHLO_BODY_SLICE);
        assert_ptr_equal(slice.ptr, text);
        assert_int_equal(slice.len, cut - held);
        assert_int_equal(used, cut - held);
    }
}

static void a_stuffed_line_is_one_step(void **state)
{
    static const char wire[] = "..a\r\n.b\r\nc\r\n.\r\n";
    static const char *const slices[] = { ".a\r\n", "b\r\nc\r\n" };
    ehlo_codec codec = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, 0);
    ehlo_decoder decoder;
    size_t at = 0, used;
    ehlo_str slice;
    (void)state;
    ehlo_decoder_init(&decoder);
    for (size_t i = 0; i < 2; i++, at += used) {
        assert_int_equal(ehlo_decode(&decoder, &codec, wire + at, sizeof wire - 1 - at, &used, &slice),
                         EHLO_BODY_SLICE);
        assert_int_equal(slice.len, strlen(slices[i]));
        assert_memory_equal(slice.ptr, slices[i], slice.len);
    }
    assert_int_equal(ehlo_decode(&decoder, &codec, wire + at, sizeof wire - 1 - at, &used, &slice), EHLO_BODY_END);
    assert_int_equal(at + used, sizeof wire - 1);
}

static void a_copied_decoder_takes_the_same_step_again(void **state)
{
    static const char wire[] = "a\r\n.b\rc\r\n.d";
    ehlo_codec codec = codec_of(EHLO_BARE_NORMALISE, EHLO_BARE_REJECT, 80);
    ehlo_decoder decoder;
    size_t at = 0;
    int step;
    (void)state;
    ehlo_decoder_init(&decoder);
    do {
        ehlo_decoder saved = decoder;
        ehlo_str slice, again;
        size_t used, used_again;
        step = ehlo_decode(&saved, &codec, wire + at, sizeof wire - 1 - at, &used, &slice);
        assert_int_equal(ehlo_decode(&decoder, &codec, wire + at, sizeof wire - 1 - at, &used_again, &again), step);
        assert_int_equal(used_again, used);
        assert_ptr_equal(again.ptr, slice.ptr);
        assert_int_equal(again.len, slice.len);
        assert_memory_equal(&saved.line.column, &decoder.line.column, sizeof saved.line.column);
        assert_int_equal(saved.line.inside, decoder.line.inside);
        at += used;
    } while (step == EHLO_BODY_SLICE);
    assert_int_equal(step, EHLO_BODY_MORE);
}

/* An undecided tail is not consumed, whatever stands before it. */
static void an_undecided_tail_stays_with_the_caller(void **state)
{
    static const struct {
        const char *wire;
        size_t held;
    } rows[] = { { "", 0 },       { ".", 1 },        { ".\r", 2 }, { "\r", 1 },   { "a\r", 1 }, { "a\r\n", 0 },
                 { "a\r\n.", 1 }, { "a\r\n.\r", 2 }, { "..", 0 },  { "..\r", 1 }, { "a.", 0 },  { "a.\r", 1 } };
    ehlo_codec codec = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, 0);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].wire);
        body_outcome got = run_decode(&codec, rows[i].wire, len, whole);
        assert_int_equal(got.violation, 0);
        assert_int_equal(got.consumed, len - rows[i].held);
        free(got.message);
    }
}

static void a_bare_octet_is_told_once_at_its_place(void **state)
{
    static const char wire[] = "a\r\n.\rb\nc\r\n.\r\n";
    ehlo_codec codec = codec_of(EHLO_BARE_REJECT, EHLO_BARE_REJECT, 0);
    ehlo_decoder decoder;
    ehlo_str slice;
    size_t used;
    (void)state;
    ehlo_decoder_init(&decoder);
    assert_int_equal(ehlo_decode(&decoder, &codec, wire, sizeof wire - 1, &used, &slice), EHLO_BODY_SLICE);
    assert_int_equal(used, 3);
    assert_int_equal(ehlo_decode(&decoder, &codec, wire + 3, sizeof wire - 4, &used, &slice), EHLO_BODY_BARE_CR);
    assert_int_equal(used, 1);
    assert_int_equal(slice.len, 0);
    assert_int_equal(ehlo_decode(&decoder, &codec, wire + 4, sizeof wire - 6, &used, &slice), EHLO_BODY_MORE);
    assert_int_equal(used, sizeof wire - 1 - 4 - 3);
    assert_int_equal(ehlo_decode(&decoder, &codec, wire + sizeof wire - 4, 3, &used, &slice), EHLO_BODY_END);
    assert_int_equal(used, 3);
}

/* -- encoding by example -------------------------------------------------------------------------------- */

typedef struct encode_case {
    const char *name;
    ehlo_bare_policy bare_cr, bare_lf;
    const char *message, *wire;
    int violation;
} encode_case;

static const encode_case encode_cases[] = {
    { "[C70] the empty message", EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, "", ".\r\n", 0 },
    { "[C70] a whole line", EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, "a\r\n", "a\r\n.\r\n", 0 },
    { "[C70] a line without its end", EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, "a", "a\r\n.\r\n", 0 },
    { "[C69] dots", EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, ".\r\n..\r\n.a", "..\r\n...\r\n..a\r\n.\r\n", 0 },
    { "[C80] LF is a line end by default", EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, "a\n.\n", "a\r\n..\r\n.\r\n", 0 },
    { "[C80] CR is refused by default", EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, "a\rb", "a", EHLO_BODY_BARE_CR },
    { "[C80] a CR at the very end too", EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, "a\r", "a", EHLO_BODY_BARE_CR },
    { "[C80] CR becomes SP", EHLO_BARE_NORMALISE, EHLO_BARE_DEFAULT, "\r.\r\r\n\r", " . \r\n \r\n.\r\n", 0 },
    { "[C80] LF is refused", EHLO_BARE_REJECT, EHLO_BARE_REJECT, "a\r\n\n", "a\r\n", EHLO_BODY_BARE_LF },
};

static void encodes_by_example(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof encode_cases / sizeof *encode_cases; i++) {
        const encode_case *row = &encode_cases[i];
        ehlo_codec codec = codec_of(row->bare_cr, row->bare_lf, 0);
        size_t len = strlen(row->message);
        for (size_t step = 1; step <= len + 1; step++) {
            body_cuts cuts = { step, step };
            body_outcome got = run_encode(&codec, row->message, len, cuts);
            assert_int_equal(got.violation, row->violation);
            assert_int_equal(got.size, strlen(row->wire));
            assert_memory_equal(got.message, row->wire, got.size);
            free(got.message);
        }
    }
}

/* [C80] [C2] */
static void an_encoder_passes_no_bare_octet(void **state)
{
    static body_encode *const encoders[] = { ehlo_encode, ehlo_encode_counted };
    ehlo_encoder encoder;
    ehlo_str slice;
    size_t used;
    (void)state;
    for (int policy = EHLO_BARE_DEFAULT; policy <= EHLO_BARE_PASS; policy++) {
        ehlo_codec passes_cr = codec_of(EHLO_BARE_PASS, (ehlo_bare_policy)policy, 0);
        ehlo_codec passes_lf = codec_of((ehlo_bare_policy)policy, EHLO_BARE_PASS, 0);
        ehlo_encoder_init(&encoder);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(encoders[i](&encoder, &passes_cr, "a", 1, 1, &used, &slice), EHLO_ERR_ARG);
            assert_int_equal(used + slice.len, 0);
            assert_int_equal(encoders[i](&encoder, &passes_lf, "a", 1, 1, &used, &slice), EHLO_ERR_ARG);
            assert_int_equal(used + slice.len, 0);
        }
    }
}

static void an_unknown_policy_is_refused(void **state)
{
    ehlo_codec codec;
    (void)state;
    assert_int_equal(ehlo_codec_init(&codec, (ehlo_bare_policy)(EHLO_BARE_PASS + 1), EHLO_BARE_PASS, 0), EHLO_ERR_ARG);
    assert_int_equal(ehlo_codec_init(&codec, EHLO_BARE_PASS, (ehlo_bare_policy)(EHLO_BARE_PASS + 1), 0), EHLO_ERR_ARG);
}

static void no_octets_are_no_step(void **state)
{
    ehlo_codec codec = codec_of(EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, 0);
    ehlo_decoder decoder;
    ehlo_encoder encoder;
    ehlo_str slice;
    size_t used;
    (void)state;
    ehlo_decoder_init(&decoder);
    ehlo_encoder_init(&encoder);
    assert_int_equal(ehlo_decode(&decoder, &codec, NULL, 0, &used, &slice), EHLO_BODY_MORE);
    assert_int_equal(used + slice.len, 0);
    assert_int_equal(ehlo_encode(&encoder, &codec, NULL, 0, 1, &used, &slice), EHLO_BODY_MORE);
    assert_int_equal(used + slice.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_text_decodes_as_the_automaton_says_in_every_step_size),
        cmocka_unit_test(every_longer_text_decodes_strictly_as_the_automaton_says_in_every_step_size),
        cmocka_unit_test(every_short_text_keeps_to_a_line_limit_in_every_step_size),
        cmocka_unit_test(every_short_message_arrives_as_its_canon_in_every_step_size),
        cmocka_unit_test(every_short_message_is_its_canon_in_chunks_at_every_cut),
        cmocka_unit_test(an_encoder_keeps_to_the_line_limit),
        cmocka_unit_test(every_engine_decodes_alike_at_every_length_and_cut),
        cmocka_unit_test(every_engine_decodes_alike_in_every_step_size),
        cmocka_unit_test(every_engine_encodes_to_the_canon_at_every_length_and_cut),
        cmocka_unit_test(no_sequence_but_crlf_dot_crlf_ends_a_message),
        cmocka_unit_test(no_sequence_in_a_message_ends_it_on_the_wire),
        cmocka_unit_test(decodes_by_example),
        cmocka_unit_test(the_end_is_found_across_the_edge_of_a_buffer),
        cmocka_unit_test(an_over_long_line_hides_no_end),
        cmocka_unit_test(a_line_may_be_as_long_as_its_limit),
        cmocka_unit_test(a_line_limit_decodes_many_lines_as_the_automaton_says),
        cmocka_unit_test(a_clean_text_is_one_slice),
        cmocka_unit_test(a_clean_piece_of_a_chunk_is_one_slice_whatever_its_dots),
        cmocka_unit_test(a_stuffed_line_is_one_step),
        cmocka_unit_test(a_copied_decoder_takes_the_same_step_again),
        cmocka_unit_test(an_undecided_tail_stays_with_the_caller),
        cmocka_unit_test(a_bare_octet_is_told_once_at_its_place),
        cmocka_unit_test(encodes_by_example),
        cmocka_unit_test(an_encoder_passes_no_bare_octet),
        cmocka_unit_test(an_unknown_policy_is_refused),
        cmocka_unit_test(no_octets_are_no_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* body.c - the dot-stuffed text of DATA, decoded and encoded, and the chunks of BDAT, encoded.
 * (RFC 5321 4.5.2, RFC 3030 2)
 *
 * Both directions cut a text into plain runs and the odd octets between them. A CR is consumed only together
 * with the octet behind it, so the octet before a buffer is never a CR: "inside a line or at its start" is all
 * that a decoder has to remember. */
#include <ehlo/body.h>

#include "scan.h"

#include <string.h>

static const ehlo_str constant_space = { " ", 1 };
static const ehlo_str constant_dot = { ".", 1 };
static const ehlo_str constant_crlf = { "\r\n", 2 };
static const ehlo_str constant_end = { ".\r\n", 3 };
static const ehlo_str constant_crlf_end = { "\r\n.\r\n", 5 };

int ehlo_codec_init(ehlo_codec *codec, ehlo_bare_policy bare_cr, ehlo_bare_policy bare_lf, uint32_t line_max)
{
    if ((unsigned)bare_cr > EHLO_BARE_PASS || (unsigned)bare_lf > EHLO_BARE_PASS) return EHLO_ERR_ARG;
    codec->scan = ehlo_scan_widest();
    codec->line_max = line_max;
    codec->bare_cr = (uint8_t)bare_cr;
    codec->bare_lf = (uint8_t)bare_lf;
    return EHLO_OK;
}

/* -- plain runs --------------------------------------------------------------------------------------- */

static inline int ends_line(const char *run, size_t len)
{
    return len >= 2 && run[len - 1] == '\n' && run[len - 2] == '\r';
}

static inline int passes(const ehlo_codec *codec, char octet)
{
    return (octet == '\r' ? codec->bare_cr : codec->bare_lf) == EHLO_BARE_PASS;
}

/* Whether a dot that starts a line means more than itself: in DATA, not in a chunk. */
typedef enum leading_dot { DOT_IS_SPECIAL, DOT_IS_PLAIN } leading_dot;

/* How much of a text is one plain run from its first octet on: up to a bare octet that is not passed, a special
 * dot that starts a line, an undecided CR, or the end. Whole lines and their CRLFs are plain. */
static EHLO_ALWAYS_INLINE size_t plain_run(const ehlo_codec *codec, const char *text, size_t len, leading_dot dot)
{
    int pass_both = passes(codec, '\r') && passes(codec, '\n');
    ehlo_scan_aim aim = pass_both ? EHLO_SCAN_DOTS : EHLO_SCAN_FAULTS_AND_DOTS;
    size_t at = 0;
    if (text[0] == '\n' && !passes(codec, '\n')) return 0;
    while ((at = codec->scan->find[aim](text, at + 1, len)) < len) {
        size_t bare = text[at] == '\n' ? at : at - 1;
        if (ends_line(text, at + 1)) {
            if (dot == DOT_IS_SPECIAL) return at + 1;
        } else if (!passes(codec, text[bare])) {
            return bare;
        }
    }
    return text[len - 1] == '\r' ? len - 1 : len;
}

/* How much of a text is left when its end is cut back to the last CRLF; 0 if it has none. */
static size_t whole_lines(const char *text, size_t len)
{
    while (len >= 2 && (text[len - 1] != '\n' || text[len - 2] != '\r')) len--;
    return len >= 2 ? len : 0;
}

/* How much of a plain run keeps every line within line_max. A line that has `room` left is fine if its CRLF
 * lies in the next room + 2 octets; looking for it from the far end passes over many short lines at once. */
static size_t fitting(ehlo_line_place *line, uint32_t line_max, const char *run, size_t len)
{
    size_t begin = 0;
    for (;;) {
        size_t room = line_max - line->column;
        size_t rest = len - begin;
        size_t window = rest > room && rest - room > 2 ? room + 2 : rest;
        size_t lines = whole_lines(run + begin, window);
        if (lines == 0) {
            size_t fits = rest > room ? room : rest;
            line->column += (uint32_t)fits;
            return begin + fits;
        }
        begin += lines;
        line->column = 0;
    }
}

/* Hands out the plain run that text begins with; its size. */
static EHLO_ALWAYS_INLINE size_t take_plain(ehlo_line_place *line, const ehlo_codec *codec, const char *text,
                                            size_t len, leading_dot dot, ehlo_str *slice)
{
    size_t size = plain_run(codec, text, len, dot);
    if (codec->line_max != 0) size = fitting(line, codec->line_max, text, size);
    if (size == 0) return 0;
    line->inside = !ends_line(text, size);
    *slice = ehlo_str_make(text, size);
    return size;
}

/* A bare CR or LF becomes SP and is an octet of its line like any other. */
static int take_as_space(ehlo_line_place *line, const ehlo_codec *codec, size_t *used, ehlo_str *slice)
{
    if (codec->line_max != 0) {
        if (line->column == codec->line_max) return EHLO_BODY_LONG;
        line->column++;
    }
    line->inside = 1;
    *used += 1;
    *slice = constant_space;
    return EHLO_BODY_SLICE;
}

/* -- decoding ----------------------------------------------------------------------------------------- */

void ehlo_decoder_init(ehlo_decoder *decoder)
{
    memset(decoder, 0, sizeof *decoder);
}

/* RFC 5321 4.5.2: "When a line of mail text is received by the SMTP server, it checks the line. If the line
 * is composed of a single period, it is treated as the end of mail indicator. If the first character is a
 * period and there are other characters on the line, the first character is deleted."
 * EHLO_BODY_END, EHLO_BODY_SLICE for the second, EHLO_BODY_MORE if the line is too short to tell. */
static int judge_leading_dot(const char *line, size_t len)
{
    if (len == 1) return EHLO_BODY_MORE;
    if (line[1] != '\r') return EHLO_BODY_SLICE;
    if (len == 2) return EHLO_BODY_MORE;
    return line[2] == '\n' ? EHLO_BODY_END : EHLO_BODY_SLICE;
}

/* The octet at hand is in no plain run: an undecided CR, a bare octet that is not passed, or one too many. */
EHLO_COLD static int decode_odd(ehlo_line_place *line, const ehlo_codec *codec, const char *bytes, size_t len,
                                size_t *used, ehlo_str *slice)
{
    int cr = bytes[0] == '\r';
    uint8_t policy = cr ? codec->bare_cr : codec->bare_lf;
    if (cr && len == 1) return EHLO_BODY_MORE;
    if ((!cr && bytes[0] != '\n') || policy == EHLO_BARE_PASS) return EHLO_BODY_LONG;
    if (policy == EHLO_BARE_NORMALISE) return take_as_space(line, codec, used, slice);
    return cr ? EHLO_BODY_BARE_CR : EHLO_BODY_BARE_LF;
}

static inline int decode_step(ehlo_line_place *line, const ehlo_codec *codec, const char *bytes, size_t len,
                              size_t *used, ehlo_str *slice)
{
    size_t size;
    if (!line->inside && bytes[0] == '.') {
        int dot = judge_leading_dot(bytes, len);
        if (dot == EHLO_BODY_END) *used = 3;
        if (dot != EHLO_BODY_SLICE) return dot;
        line->inside = 1;
        *used = 1;
        bytes++;
        len--;
    }
    size = take_plain(line, codec, bytes, len, DOT_IS_SPECIAL, slice);
    if (size == 0) return decode_odd(line, codec, bytes, len, used, slice);
    *used += size;
    return EHLO_BODY_SLICE;
}

/* Behind a violation every octet passes and none is handed out. The end is found by decoding: a second idea
 * of where a message ends would be a hole. */
EHLO_COLD static int drain(ehlo_decoder *decoder, const ehlo_codec *codec, const char *bytes, size_t len, size_t *used)
{
    ehlo_decoder dropping = { decoder->line, 0 };
    ehlo_codec passing = *codec;
    ehlo_str dropped;
    size_t taken;
    int step;
    passing.bare_cr = passing.bare_lf = EHLO_BARE_PASS;
    passing.line_max = 0;
    do {
        step = ehlo_decode(&dropping, &passing, bytes + *used, len - *used, &taken, &dropped);
        *used += taken;
    } while (step == EHLO_BODY_SLICE);
    decoder->line = dropping.line;
    return step;
}

int ehlo_decode(ehlo_decoder *decoder, const ehlo_codec *codec, const char *bytes, size_t len, size_t *used,
                ehlo_str *slice)
{
    int step;
    *used = 0;
    *slice = ehlo_str_make(NULL, 0);
    if (len == 0) return EHLO_BODY_MORE;
    if (decoder->faulted) return drain(decoder, codec, bytes, len, used);
    step = decode_step(&decoder->line, codec, bytes, len, used, slice);
    if (step >= EHLO_BODY_BARE_CR) decoder->faulted = 1;
    return step;
}

/* -- encoding ----------------------------------------------------------------------------------------- */

void ehlo_encoder_init(ehlo_encoder *encoder)
{
    memset(encoder, 0, sizeof *encoder);
}

/* The line ends of a file are bare LFs: each becomes CRLF. */
static int take_as_crlf(ehlo_line_place *line, size_t *used, ehlo_str *slice)
{
    line->inside = 0;
    line->column = 0;
    *used = 1;
    *slice = constant_crlf;
    return EHLO_BODY_SLICE;
}

/* As decode_odd, with the defaults of a sender. */
static int encode_odd(ehlo_line_place *line, const ehlo_codec *codec, const char *bytes, size_t len, int last,
                      size_t *used, ehlo_str *slice)
{
    if (bytes[0] == '\n') {
        return codec->bare_lf == EHLO_BARE_REJECT ? EHLO_BODY_BARE_LF : take_as_crlf(line, used, slice);
    }
    if (bytes[0] != '\r') return EHLO_BODY_LONG;
    if (len == 1 && !last) return EHLO_BODY_MORE;
    return codec->bare_cr == EHLO_BARE_NORMALISE ? take_as_space(line, codec, used, slice) : EHLO_BODY_BARE_CR;
}

static EHLO_ALWAYS_INLINE int encode_step(ehlo_line_place *line, const ehlo_codec *codec, const char *bytes, size_t len,
                                          int last, leading_dot dot, size_t *used, ehlo_str *slice)
{
    *used = 0;
    *slice = ehlo_str_make(NULL, 0);
    if (codec->bare_cr == EHLO_BARE_PASS || codec->bare_lf == EHLO_BARE_PASS) return EHLO_ERR_ARG;
    if (len == 0) return EHLO_BODY_MORE;
    /* RFC 5321 4.5.2: "Before sending a line of mail text, the SMTP client checks the first character of the
     * line. If it is a period, one additional period is inserted at the beginning of the line." Being inside
     * the line from then on, the dot of the message itself is plain. */
    if (dot == DOT_IS_SPECIAL && !line->inside && bytes[0] == '.') {
        line->inside = 1;
        *slice = constant_dot;
        return EHLO_BODY_SLICE;
    }
    *used = take_plain(line, codec, bytes, len, dot, slice);
    if (*used == 0) return encode_odd(line, codec, bytes, len, last, used, slice);
    return EHLO_BODY_SLICE;
}

int ehlo_encode(ehlo_encoder *encoder, const ehlo_codec *codec, const char *bytes, size_t len, int last, size_t *used,
                ehlo_str *slice)
{
    return encode_step(&encoder->line, codec, bytes, len, last, DOT_IS_SPECIAL, used, slice);
}

int ehlo_encode_counted(ehlo_encoder *encoder, const ehlo_codec *codec, const char *bytes, size_t len, int last,
                        size_t *used, ehlo_str *slice)
{
    return encode_step(&encoder->line, codec, bytes, len, last, DOT_IS_PLAIN, used, slice);
}

/* RFC 5321 4.1.1.4: "An extra <CRLF> MUST NOT be added, as that would cause an empty line to be added to the
 * message. The only exception to this rule would arise if the message body were passed to the originating
 * SMTP-sender with a final "line" that did not end in <CRLF>". */
ehlo_str ehlo_encoder_end(const ehlo_encoder *encoder)
{
    return encoder->line.inside ? constant_crlf_end : constant_end;
}

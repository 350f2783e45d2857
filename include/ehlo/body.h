/* ehlo/body.h - message bodies on the wire: the dot-stuffed text of DATA, decoded and encoded, and text for BDAT.
 *
 * Both directions give the same result however the octets are cut. Nothing is copied: what comes out is a
 * series of slices, each of them a view into the caller's buffer or a constant of a few octets. A slice runs
 * on over any number of lines until a dot goes or comes, an octet is replaced, or the buffer ends. No octet is
 * held: an undecided CR, "." or ".CR" at the end of a buffer (two octets at most) is not consumed, and the
 * caller offers it again in front of what follows. (RFC 5321 4.5.2, 2.3.8, 4.1.1.4.)
 *
 * The chunks of BDAT carry octets as they are, so nothing decodes them; ehlo_encode_counted is for a sender whose
 * message is text all the same. (RFC 3030 2.)
 *
 * A receiver:                                       A sender:
 *
 *     ehlo_decoder_init(&d);                            ehlo_encoder_init(&e);
 *     for (;;) {                                        for (;;) {
 *         step = ehlo_decode(&d, &codec, p, n,              step = ehlo_encode(&e, &codec, p, n, last,
 *                            &used, &slice);                                   &used, &slice);
 *         keep(slice);                                      send(slice);
 *         p += used; n -= used;                             p += used; n -= used;
 *         if (step != EHLO_BODY_SLICE) break;               if (step != EHLO_BODY_SLICE) break;
 *     }                                                 }
 *     MORE: read on, behind the n octets left           MORE: go on with the next piece, behind the n octets
 *     END: the message is whole                         left; after the last one: send(ehlo_encoder_end(&e))
 *     else: refuse it, but go on to END                 else: the message cannot be sent
 *
 * Decoders and encoders are plain values: copy one to come back to where it was. In every step a slice that
 * is a view ends at bytes + *used, so one that is taken in part can also be taken up again by the octets of it
 * that are left.
 *
 * The message that arrives when x is encoded, and then decoded by any policy, is canon(x): x with every bare
 * LF turned into CRLF (or x refused, under reject), every bare CR into SP (or x refused, the default), and
 * then, if the result is not empty and does not end in CRLF, with CRLF added. So canon(x) = x for every x
 * that is empty or is made of whole lines without bare octets, and the empty message stays empty. In chunks it is
 * the same but for the end, where nothing is added. */
#ifndef EHLO_BODY_H
#define EHLO_BODY_H

#include <ehlo/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of a CR without its LF, or a LF without its CR. NUL and 8-bit octets are always data. */
typedef enum ehlo_bare_policy {
    EHLO_BARE_DEFAULT = 0, /* decoding: reject. encoding: LF normalise (files have it), CR reject */
    EHLO_BARE_REJECT,
    EHLO_BARE_NORMALISE, /* decode: each becomes SP; encode: LF becomes CRLF, CR becomes SP */
    EHLO_BARE_PASS       /* decode: data as it is, never a line end. encode: EHLO_ERR_ARG, this smuggles mail */
} ehlo_bare_policy;

struct ehlo_scan;

/* How to read or write bodies: made once, shared read-only by any number of decoders and encoders. The
 * members are private; the size is not part of the ABI promise before 1.0. */
typedef struct ehlo_codec {
    const struct ehlo_scan *scan; /* the engine chosen for this processor */
    uint32_t line_max;            /* octets of a line without CRLF; 0: any */
    uint8_t bare_cr;
    uint8_t bare_lf;
} ehlo_codec;

/* Prepares *codec and chooses the widest scan that this processor has. line_max: longer lines (without
 * CRLF, and without the dot that transparency adds) are EHLO_BODY_LONG; 0 for any length, which costs nothing.
 * EHLO_ERR_ARG: an unknown policy. */
EHLO_API int ehlo_codec_init(ehlo_codec *codec, ehlo_bare_policy bare_cr, ehlo_bare_policy bare_lf, uint32_t line_max);

/* What a step met. */
enum {
    EHLO_BODY_MORE = 0,    /* all that could be decided was; offer the rest again with more behind it */
    EHLO_BODY_SLICE = 1,   /* *slice holds octets of the message; call again */
    EHLO_BODY_END = 2,     /* decoding: the terminator was consumed; the message is whole */
    EHLO_BODY_BARE_CR = 3, /* under reject: a CR without LF follows what was consumed */
    EHLO_BODY_BARE_LF = 4, /* under reject: a LF without CR follows */
    EHLO_BODY_LONG = 5     /* the octet that follows is one more than line_max allows */
};

/* Where in a line the last octet left a coder. Zero: at the start of one. */
typedef struct ehlo_line_place {
    uint32_t column; /* octets of the line so far, where line_max counts */
    uint8_t inside;  /* 0: at the start of a line; the start of a message is one */
} ehlo_line_place;

/* Where a decoder stands. Zero it (or init) before each message. */
typedef struct ehlo_decoder {
    ehlo_line_place line;
    uint8_t faulted; /* a violation was reported: the rest is only searched for its end */
} ehlo_decoder;

EHLO_API void ehlo_decoder_init(ehlo_decoder *decoder);

/* Takes one step over bytes[0..len). *used: octets consumed, the slice's among them. *slice: a view into
 * bytes, or a constant SP for a normalised octet; empty but for EHLO_BODY_SLICE. Returns EHLO_BODY_*.
 * Only CRLF "." CRLF ends a message, and the CRLF of the DATA command counts as the first. A violation is
 * reported once, when the octets before it have been handed out. Go on calling to find the end: only MORE and
 * END come then, with everything consumed but the undecided tail, so nothing can be smuggled behind a refused
 * octet. len 0 is MORE; bytes may be NULL then. */
EHLO_API int ehlo_decode(ehlo_decoder *decoder, const ehlo_codec *codec, const char *bytes, size_t len, size_t *used,
                         ehlo_str *slice);

/* An encoder likewise. Zero it (or init) before each message. */
typedef struct ehlo_encoder {
    ehlo_line_place line;
} ehlo_encoder;

EHLO_API void ehlo_encoder_init(ehlo_encoder *encoder);

/* Takes one step over bytes[0..len) of a message: *slice is what goes to the wire next, a view into bytes or
 * a constant ("." before a line that starts with a dot, with nothing consumed; CRLF or SP for a normalised
 * octet). last: nothing follows these bytes; only then a trailing CR is decided. MORE: everything was consumed
 * but an undecided CR. BARE_CR, BARE_LF, LONG: the octet that follows cannot be sent, now or in a further
 * step. EHLO_ERR_ARG: the codec passes bare octets, which no sender may. */
EHLO_API int ehlo_encode(ehlo_encoder *encoder, const ehlo_codec *codec, const char *bytes, size_t len, int last,
                         size_t *used, ehlo_str *slice);

/* What ends the message, after the last slice: ".CRLF" if the message ended in CRLF (or is empty), else
 * "CRLF.CRLF". Static storage. */
EHLO_API ehlo_str ehlo_encoder_end(const ehlo_encoder *encoder);

/* As ehlo_encode, but for the chunks of BDAT: no dot is added and nothing ends the message, so a slice runs on
 * over any dots, and a message that is already its canon comes out as it is: each piece of it, but for an undecided
 * CR, as one slice. Wherever a message is cut into chunks, one encoder goes through all of it. (RFC 3030 2.) */
EHLO_API int ehlo_encode_counted(ehlo_encoder *encoder, const ehlo_codec *codec, const char *bytes, size_t len,
                                 int last, size_t *used, ehlo_str *slice);

#ifdef __cplusplus
}
#endif
#endif

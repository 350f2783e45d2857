/* The body codec against the byte automaton, every engine, at cuts drawn from the input.
 *
 * Input: an octet of policies (bits 0-1 bare CR, 2-3 bare LF), the size of the first piece, the size of the
 * further ones, the line limit; then the text, which is decoded as it stands and encoded as a message, for DATA and in chunks. */
#include "body_run.h"

#include "scan.h"

enum { HEADER = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_decode(ehlo_codec codec, const char *text, size_t len, body_cuts cuts)
{
    body_outcome expected = model_decode(&codec, text, len);
    for (size_t i = 0; (codec.scan = ehlo_scan_engine(i)) != NULL; i++)
        check_decode(&codec, text, len, cuts, &expected);
    free(expected.message);
}

static void fuzz_encode(ehlo_codec codec, const char *text, size_t len, body_cuts cuts)
{
    if (codec.bare_cr == EHLO_BARE_PASS || codec.bare_lf == EHLO_BARE_PASS) return;
    codec.line_max = 0;
    for (size_t i = 0; (codec.scan = ehlo_scan_engine(i)) != NULL; i++) {
        check_encode(&codec, text, len, cuts);
        check_encode_counted(&codec, text, len, cuts);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ehlo_codec codec;
    body_cuts cuts;
    if (size < HEADER) return 0;
    cuts.first = data[1];
    cuts.step = (size_t)data[2] + 1;
    BODY_CHECK(ehlo_codec_init(&codec, (ehlo_bare_policy)(data[0] & 3), (ehlo_bare_policy)(data[0] >> 2 & 3),
                               data[3]) == EHLO_OK);
    fuzz_decode(codec, (const char *)data + HEADER, size - HEADER, cuts);
    fuzz_encode(codec, (const char *)data + HEADER, size - HEADER, cuts);
    return 0;
}

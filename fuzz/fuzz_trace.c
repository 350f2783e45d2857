/* The Received field: whatever the words in it, it stays one folded field, and its lines short. */
#include <stdint.h>
#include <string.h>

#include <ehlo/syntax.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static unsigned take(input *in)
{
    if (in->left == 0) return 0;
    in->left--;
    return *in->at++;
}

/* A text of twice as many octets as the next octet says. */
static ehlo_str take_text(input *in)
{
    size_t len = 2 * (size_t)take(in);
    if (len > in->left) len = in->left;
    ehlo_str text = ehlo_str_make((const char *)in->at, len);
    in->at += len;
    in->left -= len;
    return text;
}

static void check_field(const char *field, size_t len)
{
    static const char name[] = "Received: ";
    CHECK(len > sizeof(name) && memcmp(field, name, sizeof(name) - 1) == 0);
    for (size_t at = 0; at < len;) {
        const char *end = memchr(field + at, '\r', len - at);
        CHECK(end != NULL && end + 1 < field + len && end[1] == '\n');
        CHECK(end - (field + at) <= 998);
        CHECK(at == 0 || field[at] == '\t');
        for (const char *octet = field + at; octet < end; octet++) {
            unsigned value = (unsigned char)*octet;
            CHECK(value == '\t' || (value >= 0x20 && value != 0x7F));
        }
        at = (size_t)(end + 2 - field);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char field[2048];
    static char little[2048];
    input in = { data, size };
    ehlo_received received = { .with = take(&in) };
    size_t len, need;
    received.zone_minutes = (int32_t)(take(&in) * 16) - 2048;
    for (int i = 0; i < 5; i++) received.time = received.time * 256 + take(&in);
    received.remote.family = (uint8_t)(take(&in) % 3);
    for (int i = 0; i < 16; i++) received.remote.octets[i] = (uint8_t)take(&in);
    received.hello = take_text(&in);
    received.by = take_text(&in);
    received.tls = take_text(&in);
    received.id = take_text(&in);
    received.recipient = take_text(&in);
    int result = ehlo_received_write(&received, field, sizeof(field), &len);
    CHECK(result == EHLO_OK || (result == EHLO_ERR_ARG && len == 0));
    if (result != EHLO_OK) return 0;
    check_field(field, len);
    CHECK(ehlo_received_write(&received, little, size % len, &need) == EHLO_ERR_SPACE && need == len);
    return 0;
}

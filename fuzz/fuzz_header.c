/* The header of a message: found alike however it is cut, and what is added to it is a part of it.
 *
 * The first octets of an input say where it is cut and what is added; the rest is a message. */
#include <stdint.h>
#include <stdlib.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 8, TEXT_MAX = 1 << 13, ROOM = 2048, ADDED = EHLO_FIELD_DATE | EHLO_FIELD_MESSAGE_ID };

/* In pieces of that many octets, each flush against the end of a block; 0: whole. */
static size_t scan(ehlo_header *header, ehlo_str text, size_t piece)
{
    size_t total = 0, room = piece == 0 || piece > text.len ? text.len : piece;
    char *block = malloc(room > 0 ? room : 1);
    CHECK(block != NULL);
    memset(header, 0, sizeof *header);
    for (size_t at = 0; at < text.len;) {
        size_t len = room > text.len - at ? text.len - at : room;
        int ended = header->ended;
        memcpy(block + room - len, text.ptr + at, len);
        size_t used = ehlo_header_scan(header, block + room - len, len);
        CHECK(used <= len && (used == len || header->ended) && (used == 0 || !ended));
        total += used;
        at += len;
    }
    free(block);
    return total;
}

/* -- what there is, line by line -------------------------------------------------------------------- */

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int is_named(ehlo_str name, const char *wanted)
{
    size_t i = 0;
    for (; i < name.len && wanted[i] != '\0'; i++) {
        char c = name.ptr[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if (c != wanted[i]) return 0;
    }
    return i == name.len && wanted[i] == '\0';
}

/* A line that is not one of those that continue a field; one that is not whole yet may still become right. */
static void model_field(ehlo_header *header, ehlo_str line)
{
    size_t name = 0, colon;
    while (name < line.len && line.ptr[name] > ' ' && line.ptr[name] < 0x7F && line.ptr[name] != ':') name++;
    for (colon = name; name > 0 && colon < line.len && is_blank(line.ptr[colon]);) colon++;
    if (name > 0 && colon == line.len) return;
    if (name == 0 || line.ptr[colon] != ':') {
        header->malformed = 1;
        return;
    }
    ehlo_str text = ehlo_str_make(line.ptr, name);
    if (is_named(text, "date")) header->fields |= EHLO_FIELD_DATE;
    if (is_named(text, "message-id")) header->fields |= EHLO_FIELD_MESSAGE_ID;
    if (is_named(text, "from")) header->fields |= EHLO_FIELD_FROM;
    if (is_named(text, "sender")) header->fields |= EHLO_FIELD_SENDER;
    if (is_named(text, "received")) header->received++;
}

static size_t model(ehlo_header *header, ehlo_str text)
{
    size_t at = 0;
    memset(header, 0, sizeof *header);
    while (at < text.len) {
        const char *line = text.ptr + at, *end = memchr(line, '\n', text.len - at);
        size_t len = end != NULL ? (size_t)(end - line) + 1 : text.len - at;
        if (line[0] == '\r' || line[0] == '\n') {
            header->ended = 1;
            return at;
        }
        if (is_blank(line[0]) && at == 0) header->malformed = 1;
        if (!is_blank(line[0])) model_field(header, ehlo_str_make(line, len));
        at += len;
    }
    return at;
}

static void check_same(const ehlo_header *a, const ehlo_header *b)
{
    CHECK(a->fields == b->fields && a->received == b->received && a->ended == b->ended && a->malformed == b->malformed);
}

/* -- what is added ---------------------------------------------------------------------------------- */

static ehlo_str expect(ehlo_str rest, ehlo_str text)
{
    CHECK(rest.len >= text.len && memcmp(rest.ptr, text.ptr, text.len) == 0);
    return ehlo_str_make(rest.ptr + text.len, rest.len - text.len);
}

/* The fields that are lacking, and nothing else. */
static void check_added(const ehlo_header *found, const ehlo_header_additions *additions, ehlo_str added)
{
    if (!(found->fields & EHLO_FIELD_DATE)) {
        added = expect(added, ehlo_str_from("Date: "));
        const char *end = memchr(added.ptr, '\n', added.len);
        CHECK(end != NULL);
        added.len -= (size_t)(end + 1 - added.ptr);
        added.ptr = end + 1;
    }
    if (!(found->fields & EHLO_FIELD_MESSAGE_ID)) {
        added = expect(added, ehlo_str_from("Message-ID: <"));
        added = expect(added, additions->id);
        added = expect(added, ehlo_str_from("@"));
        added = expect(added, additions->domain);
        added = expect(added, ehlo_str_from(">\r\n"));
    }
    CHECK(added.len == 0);
}

/* Lines with their CRLF, printable. */
static void check_lines(const char *bytes, size_t len)
{
    CHECK(len == 0 || (len > 2 && bytes[len - 1] == '\n'));
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\n') CHECK(i > 0 && bytes[i - 1] == '\r');
        if (bytes[i] == '\r') CHECK(i + 1 < len && bytes[i + 1] == '\n');
        if (bytes[i] != '\n' && bytes[i] != '\r') CHECK(bytes[i] >= ' ' && bytes[i] < 0x7F);
    }
}

static void check_completed(const ehlo_header *found, ehlo_str text, size_t header_len, ehlo_str added)
{
    static char message[TEXT_MAX + ROOM];
    ehlo_header again;
    int begins_line = header_len == 0 || text.ptr[header_len - 1] == '\n';
    if (!found->ended) return;
    CHECK(header_len < text.len && (text.ptr[header_len] == '\r' || text.ptr[header_len] == '\n') && begins_line);
    memcpy(message, text.ptr, header_len);
    memcpy(message + header_len, added.ptr, added.len);
    memcpy(message + header_len + added.len, text.ptr + header_len, text.len - header_len);
    size_t len = scan(&again, ehlo_str_make(message, text.len + added.len), 0);
    CHECK(len == header_len + added.len && again.ended);
    CHECK(again.fields == (found->fields | ADDED));
    CHECK(again.received == found->received && again.malformed == found->malformed);
}

/* What is lacking, from the octets of the input. */
static void complete(const ehlo_header *found, const uint8_t *head, ehlo_str text, size_t header_len)
{
    static char out[ROOM];
    char little[ROOM];
    size_t len, need;
    size_t id_len = head[6] % 24 < text.len ? head[6] % 24 : text.len;
    ehlo_header_additions additions = { .time = (int64_t)((uint64_t)head[2] << 33 | (uint64_t)head[3] << 24 | head[4]),
                                        .zone_minutes = (head[5] - 128) * 12,
                                        .id = ehlo_str_make(text.ptr, id_len),
                                        .domain = ehlo_str_from(head[7] & 1 ? "[192.0.2.1]" : "mx.example") };
    if (head[7] & 2) additions.id = ehlo_str_from("20261122.4Fxyz");
    if (head[7] & 4) additions.domain = ehlo_str_make(text.ptr, id_len);
    int result = ehlo_header_complete(found, &additions, out, sizeof out, &len);
    CHECK(result == EHLO_OK || result == EHLO_ERR_ARG);
    if (result != EHLO_OK) {
        CHECK((found->fields & ADDED) != ADDED);
        return;
    }
    CHECK((len == 0) == ((found->fields & ADDED) == ADDED));
    check_lines(out, len);
    check_added(found, &additions, ehlo_str_make(out, len));
    check_completed(found, text, header_len, ehlo_str_make(out, len));
    size_t cap = len > 0 ? head[0] % len : 0;
    result = ehlo_header_complete(found, &additions, little, cap, &need);
    CHECK(need == len && result == (cap == len ? EHLO_OK : EHLO_ERR_SPACE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ehlo_header expected, whole, pieces, single;
    if (size < HEAD || size - HEAD > TEXT_MAX) return 0;
    ehlo_str text = ehlo_str_make((const char *)data + HEAD, size - HEAD);
    size_t len = scan(&whole, text, 0);
    CHECK(scan(&pieces, text, data[1]) == len && scan(&single, text, 1) == len);
    CHECK(model(&expected, text) == len);
    check_same(&whole, &expected);
    check_same(&whole, &pieces);
    check_same(&whole, &single);
    CHECK(whole.ended || len == text.len);
    complete(&whole, data, text, len);
    return 0;
}

/* The reply writer: what it writes is whole lines that say the text again; what it refuses leaves no octet. */
#include <stdint.h>
#include <string.h>

#include <ehlo/syntax.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FACTS = 11, TEXT_MAX = 8192, ROOM = 32 * (TEXT_MAX + 1) };

static unsigned take_u16(const uint8_t *data)
{
    return (unsigned)data[0] << 8 | data[1];
}

/* Octets between the reply code's separator and the text. */
static size_t enhanced_len(const char *line, const ehlo_reply *reply, unsigned flags)
{
    size_t len = 0;
    if ((flags & EHLO_REPLY_ENHANCED) == 0 || reply->enhanced[0] == 0 || reply->code / 100 == 3) return 0;
    while (line[len] != ' ') len++;
    CHECK(line[0] == (char)('0' + reply->code / 100) && line[1] == '.');
    return len + 1;
}

/* Each break stands for '\n', for a space, or for nothing where no space was; the text is said in order. */
static void check_wire(const ehlo_reply *reply, unsigned flags, const char *wire, size_t len)
{
    size_t said = 0;
    for (size_t at = 0; at < len;) {
        const char *end = memchr(wire + at, '\r', len - at);
        CHECK(end != NULL && end + 1 < wire + len && end[1] == '\n');
        size_t line = (size_t)(end - (wire + at));
        CHECK(line >= 4 && line + 2 <= 512);
        unsigned code =
            (unsigned)(wire[at] - '0') * 100 + (unsigned)(wire[at + 1] - '0') * 10 + (unsigned)(wire[at + 2] - '0');
        CHECK(code == reply->code);
        CHECK(wire[at + 3] == (at + line + 2 == len ? ' ' : '-'));
        size_t lead = 4 + enhanced_len(wire + at + 4, reply, flags);
        CHECK(lead <= line && line - lead <= reply->text.len - said);
        if (line > lead) CHECK(memcmp(wire + at + lead, reply->text.ptr + said, line - lead) == 0);
        CHECK(line == lead || memchr(wire + at + lead, '\n', line - lead) == NULL);
        said += line - lead;
        at += line + 2;
        if (at < len && (reply->text.ptr[said] == '\n' || reply->text.ptr[said] == ' ')) said++;
    }
    CHECK(said == reply->text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char wire[ROOM];
    static char little[ROOM];
    size_t len, need;
    ehlo_fault checked, found;
    if (size < FACTS || size - FACTS > TEXT_MAX) return 0;
    ehlo_reply reply = { (uint16_t)take_u16(data + 1), { 0 }, { (const char *)data + FACTS, size - FACTS } };
    unsigned flags = data[0] & 3U;
    for (size_t i = 0; i < 3; i++) reply.enhanced[i] = (uint16_t)take_u16(data + 3 + 2 * i);
    int judged = ehlo_reply_check(&reply, flags, &checked);
    int result = ehlo_reply_write(&reply, flags, wire, sizeof(wire), &len, &found);
    CHECK(result == judged && found.rule == checked.rule && found.offset == checked.offset);
    CHECK((result == EHLO_OK) == (found.rule == EHLO_RULE_NONE));
    CHECK(found.offset <= reply.text.len);
    if (result != EHLO_OK) {
        CHECK(result == EHLO_ERR_SYNTAX && len == 0);
        return 0;
    }
    check_wire(&reply, flags, wire, len);
    size_t cap = take_u16(data + 9) % (len + 1);
    result = ehlo_reply_write(&reply, flags, little, cap, &need, NULL);
    CHECK(need == len && result == (cap == len ? EHLO_OK : EHLO_ERR_SPACE));
    return 0;
}

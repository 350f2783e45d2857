/* How a reply line begins. Inlined: a client reads little else. */
#ifndef EHLO_SYNTAX_REPLY_READ_H
#define EHLO_SYNTAX_REPLY_READ_H

#include <ehlo/syntax.h>

#include "chars.h"

enum { EHLO_CODE_LEN = 3 };

/* What stands behind a text: with a fence it is an octet that may be looked at, and is none of a code's. */
typedef enum ehlo_fence { EHLO_NO_FENCE, EHLO_FENCE } ehlo_fence;

static inline unsigned ehlo_digit(char octet)
{
    return (unsigned)octet - '0';
}

static EHLO_ALWAYS_INLINE int ehlo_is_digit_at(const char *at, const char *end, ehlo_fence fence)
{
    return (fence || at < end) && ehlo_char_is_digit(*at);
}

static EHLO_ALWAYS_INLINE int ehlo_is_at(const char *at, const char *end, ehlo_fence fence, char octet)
{
    return (fence || at < end) && *at == octet;
}

/*     Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
 *     Reply-code = %x32-35 %x30-35 %x30-39
 * RFC 5321 4.2.1 and 4.3.2 let clients go by the first digit, so that the second may be any; 0yz is what
 * servers in verbose mode say between replies.
 * 1 and *line, or 0 and *wrong, the offset in text that breaks the grammar. */
static EHLO_ALWAYS_INLINE int ehlo_scan_reply_line(ehlo_str text, ehlo_fence fence, ehlo_reply_line *line,
                                                   size_t *wrong)
{
    const char *at = text.ptr, *end = at + text.len;
    size_t lead = 0;
    while (lead < EHLO_CODE_LEN && ehlo_is_digit_at(at + lead, end, fence)) lead++;
    *wrong = lead;
    if (lead < EHLO_CODE_LEN) return 0;
    unsigned code = ehlo_digit(at[0]) * 100 + ehlo_digit(at[1]) * 10 + ehlo_digit(at[2]);
    *wrong = 0;
    if (code > 599 || (code > 99 && code < 200)) return 0;
    char separator = at + lead < end ? at[lead++] : ' ';
    *wrong = EHLO_CODE_LEN;
    if (separator != ' ' && separator != '-') return 0;
    line->code = (uint16_t)code;
    line->last = separator == ' ';
    line->text = ehlo_str_make(at + lead, text.len - lead);
    return 1;
}

/*     subject / detail = 1*3DIGIT
 * Where it ends; NULL if there is none. What is longer is left for what must follow, and refused there. */
static EHLO_ALWAYS_INLINE const char *ehlo_scan_status_part(const char *at, const char *end, ehlo_fence fence,
                                                            uint16_t *part)
{
    if (!ehlo_is_digit_at(at, end, fence)) return NULL;
    unsigned number = ehlo_digit(*at++);
    for (int more = 2; more > 0 && ehlo_is_digit_at(at, end, fence); more--) number = number * 10 + ehlo_digit(*at++);
    *part = (uint16_t)number;
    return at;
}

/* RFC 3463 2, of the class that the reply code begins with:
 *     status-code = class "." subject "." detail
 *     class       = "2" / "4" / "5"
 * Where it, and the SP behind it, ends; NULL if there is none, and enhanced is undefined. */
static EHLO_ALWAYS_INLINE const char *ehlo_scan_status_code(ehlo_str text, ehlo_fence fence, unsigned reply_class,
                                                            uint16_t enhanced[3])
{
    const char *at = text.ptr, *end = at + text.len;
    if (reply_class != 2 && reply_class != 4 && reply_class != 5) return NULL;
    if (!ehlo_is_at(at, end, fence, (char)('0' + reply_class)) || !ehlo_is_at(at + 1, end, fence, '.')) return NULL;
    enhanced[0] = (uint16_t)reply_class;
    at = ehlo_scan_status_part(at + 2, end, fence, &enhanced[1]);
    if (at == NULL || !ehlo_is_at(at, end, fence, '.')) return NULL;
    at = ehlo_scan_status_part(at + 1, end, fence, &enhanced[2]);
    if (at == NULL || at == end) return at;
    return *at == ' ' ? at + 1 : NULL;
}

/* As ehlo_enhanced_parse. */
static EHLO_ALWAYS_INLINE int ehlo_scan_enhanced(ehlo_str text, ehlo_fence fence, unsigned reply_class,
                                                 uint16_t enhanced[3], size_t *used)
{
    const char *behind = ehlo_scan_status_code(text, fence, reply_class, enhanced);
    *used = 0;
    if (behind == NULL) {
        enhanced[0] = enhanced[1] = enhanced[2] = 0;
        return EHLO_ERR_SYNTAX;
    }
    *used = (size_t)(behind - text.ptr);
    return EHLO_OK;
}

#endif

/* Paths, mailboxes and domains: what is accepted can be said again and is then the same. The first octet of the
 * input is the leniencies. */
#include <stdint.h>
#include <string.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int same_path(const ehlo_path *a, const ehlo_path *b)
{
    return same_text(a->mailbox, b->mailbox) && same_text(a->local_part, b->local_part) &&
           same_text(a->domain, b->domain) && a->domain_kind == b->domain_kind && a->quoted == b->quoted &&
           memcmp(a->octets, b->octets, 16) == 0;
}

static void check_views(const ehlo_path *path, ehlo_str text)
{
    CHECK(path->text.ptr == text.ptr && path->text.len <= text.len);
    CHECK(is_within(path->route, path->text) && is_within(path->mailbox, path->text));
    CHECK(is_within(path->local_part, path->mailbox) && is_within(path->domain, path->mailbox));
    CHECK((path->domain.len == 0) == (path->domain_kind == EHLO_DOMAIN_NONE));
    if (path->domain.len > 0) {
        CHECK(path->mailbox.len == path->local_part.len + 1 + path->domain.len);
        CHECK(path->local_part.ptr[path->local_part.len] == '@');
    } else {
        CHECK(path->mailbox.len == 0 || path->mailbox.len == strlen("postmaster"));
    }
}

/* Nothing that could end a line or a string, and nothing above ASCII but UTF-8 that was asked for. */
static void check_octets(const ehlo_path *path, unsigned leniencies)
{
    int has_high = 0;
    for (size_t i = 0; i < path->text.len; i++) {
        unsigned octet = (unsigned char)path->text.ptr[i];
        CHECK(octet >= 32 && octet != 127);
        has_high |= octet > 127;
    }
    CHECK(has_high == path->utf8);
    CHECK(!has_high || leniencies & EHLO_SYNTAX_UTF8);
    CHECK(ehlo_utf8_valid(path->text, NULL));
}

/* The minimal spelling names the same mailbox, and is its own minimal spelling. */
static void check_local_part(const ehlo_path *path, unsigned leniencies)
{
    char text[2048], again[2048];
    size_t len, again_len;
    ehlo_path written;
    if (path->mailbox.len + 2 > sizeof(text)) return;
    CHECK(ehlo_local_part_write(path, text, sizeof(text), &len) == EHLO_OK);
    CHECK(len <= path->local_part.len + 2);
    CHECK(ehlo_local_part_write(path, again, len, &again_len) == EHLO_OK && again_len == len);
    CHECK(len == 0 || ehlo_local_part_write(path, again, len - 1, &again_len) == EHLO_ERR_SPACE);
    if (path->domain.len == 0) return;
    text[len] = '@';
    memcpy(text + len + 1, path->domain.ptr, path->domain.len);
    ehlo_str mailbox = ehlo_str_make(text, len + 1 + path->domain.len);
    CHECK(ehlo_mailbox_parse(mailbox, leniencies | EHLO_SYNTAX_LONG_LOCAL, &written, NULL) == EHLO_OK);
    CHECK(same_text(written.domain, path->domain) && written.domain_kind == path->domain_kind);
    CHECK(ehlo_local_part_write(&written, again, sizeof(again), &again_len) == EHLO_OK);
    CHECK(same_text(ehlo_str_make(again, again_len), written.local_part));
}

static void check_parts(const ehlo_path *path, unsigned leniencies)
{
    ehlo_path again;
    ehlo_domain_kind kind;
    uint8_t octets[16];
    size_t used;
    CHECK(ehlo_path_parse(path->text, leniencies, SIZE_MAX, &again, &used, NULL) == EHLO_OK);
    CHECK(used == path->text.len && same_path(path, &again));
    if (path->domain.len == 0) return;
    CHECK(ehlo_mailbox_parse(path->mailbox, leniencies, &again, NULL) == EHLO_OK && same_path(path, &again));
    CHECK(ehlo_domain_parse(path->domain, leniencies, &kind, octets, NULL) == EHLO_OK);
    CHECK((int)kind == path->domain_kind && memcmp(octets, path->octets, 16) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const unsigned most = 0x7F;
    if (size == 0) return 0;
    unsigned leniencies = data[0] & most;
    ehlo_str text = ehlo_str_make((const char *)data + 1, size - 1);
    ehlo_path path, other;
    ehlo_fault fault;
    size_t used;
    int result = ehlo_path_parse(text, leniencies, 0, &path, &used, &fault);
    check_result(result, fault, text);
    CHECK(used == path.text.len && (result == EHLO_OK || used == 0));
    if (result == EHLO_OK) {
        check_views(&path, text);
        check_octets(&path, leniencies);
        check_parts(&path, leniencies);
        check_local_part(&path, leniencies);
    }
    /* What the strict grammar accepts, a lenient one reads alike. */
    if (ehlo_path_parse(text, 0, 0, &path, NULL, NULL) == EHLO_OK) {
        CHECK(ehlo_path_parse(text, most, 0, &other, NULL, NULL) == EHLO_OK && same_path(&path, &other));
    }
    result = ehlo_mailbox_parse(text, leniencies, &path, &fault);
    check_result(result, fault, text);
    result = ehlo_domain_parse(text, leniencies, NULL, NULL, &fault);
    check_result(result, fault, text);
    return 0;
}

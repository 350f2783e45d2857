/* Every engine of the scan against the rule spelled out, on every length, alignment and place to begin. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "scan.h"

#include <sys/mman.h>

enum { LENGTH_MAX = 200, ALIGNMENTS = 64 };

/* The rule of scan.h, without any of its operators. */
static int stops_here(ehlo_scan_aim aim, const char *text, size_t at, size_t len)
{
    if (text[at] == '\n' && text[at - 1] == '\r') return at + 1 < len && text[at + 1] == '.';
    if (aim == EHLO_SCAN_DOTS) return 0;
    return text[at] == '\n' || text[at - 1] == '\r';
}

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Octets that matter, their neighbours in value, and whole CRLFs; `dense`: hardly anything else. */
static void write_octets(char *text, size_t len, int dense, uint32_t *seed)
{
    static const char odd[] = "\r\n.\r\n\x8d\x8a\xae\x0c\x0e\x09\x0b\x2d\x2f\x00";
    for (size_t i = 0; i < len; i++) {
        uint32_t random = next_random(seed);
        if (random % (dense ? 3 : 40) == 0 && i + 1 < len) {
            text[i++] = '\r';
            text[i] = '\n';
        } else {
            text[i] = random % (dense ? 2 : 50) == 0 ? odd[(random >> 8) % (sizeof odd - 1)] : 'a';
        }
    }
}

/* From every place on, every engine finds the stop that is next. */
static void check_everywhere(const char *text, size_t len)
{
    for (int aim = EHLO_SCAN_FAULTS_AND_DOTS; aim <= EHLO_SCAN_DOTS; aim++) {
        size_t expected = len;
        for (size_t from = len; from > 0; from--) {
            const ehlo_scan *scan;
            if (from < len && stops_here((ehlo_scan_aim)aim, text, from, len)) expected = from;
            for (size_t i = 0; (scan = ehlo_scan_engine(i)) != NULL; i++) {
                size_t found = scan->find[aim](text, from, len);
                if (found != expected) {
                    fail_msg("%s, aim %d, len %zu, from %zu: %zu, not %zu", scan->name, aim, len, from, found,
                             expected);
                }
            }
        }
    }
}

static void every_engine_agrees_on_every_length_and_alignment(void **state)
{
    static char room[LENGTH_MAX + ALIGNMENTS];
    uint32_t seed = 1;
    (void)state;
    for (size_t len = 0; len <= LENGTH_MAX; len++) {
        for (size_t alignment = 0; alignment < ALIGNMENTS; alignment++) {
            write_octets(room + alignment, len, alignment % 2 == 0, &seed);
            check_everywhere(room + alignment, len);
        }
    }
}

static void no_octet_behind_the_text_is_read(void **state)
{
    uint32_t seed = 2;
    (void)state;
    for (size_t len = 0; len <= LENGTH_MAX; len++) {
        char text[LENGTH_MAX];
        char *guarded;
        write_octets(text, len, len % 2 == 0, &seed);
        guarded = guard_copy(text, len);
        check_everywhere(guarded, len);
        guard_free(guarded, len);
    }
}

static void no_octet_before_the_text_is_read(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *base = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t seed = 3;
    (void)state;
    assert_true(base != MAP_FAILED);
    assert_int_equal(mprotect(base, page, PROT_NONE), 0);
    for (size_t len = 0; len <= LENGTH_MAX; len++) {
        write_octets(base + page, len, len % 2 == 0, &seed);
        check_everywhere(base + page, len);
    }
    munmap(base, 2 * page);
}

/* Each octet value in each of the three roles that an octet has. */
static void no_other_octet_is_taken_for_cr_lf_or_dot(void **state)
{
    (void)state;
    for (int value = 0; value < 256; value++) {
        char text[LENGTH_MAX];
        memset(text, 'a', sizeof text);
        text[70] = (char)value;
        memcpy(text + 100, "\r\n", 2);
        text[102] = (char)value;
        text[120] = '\r';
        text[121] = (char)value;
        text[140] = (char)value;
        text[141] = '\n';
        check_everywhere(text, sizeof text);
    }
}

static void clean_lines_hold_no_stop(void **state)
{
    char text[LENGTH_MAX];
    const ehlo_scan *scan;
    (void)state;
    for (size_t i = 0; i < sizeof text; i++) text[i] = "line.\r\n"[i % 7];
    for (size_t i = 0; (scan = ehlo_scan_engine(i)) != NULL; i++) {
        assert_int_equal(scan->find[EHLO_SCAN_FAULTS_AND_DOTS](text, 1, 196), 196);
        assert_int_equal(scan->find[EHLO_SCAN_DOTS](text, 1, 196), 196);
    }
}

static void the_widest_engine_is_the_last_one(void **state)
{
    size_t count = 0;
    (void)state;
    while (ehlo_scan_engine(count) != NULL) count++;
    assert_true(count > 0);
    assert_ptr_equal(ehlo_scan_widest(), ehlo_scan_engine(count - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_engine_agrees_on_every_length_and_alignment),
        cmocka_unit_test(no_octet_behind_the_text_is_read),
        cmocka_unit_test(no_octet_before_the_text_is_read),
        cmocka_unit_test(no_other_octet_is_taken_for_cr_lf_or_dot),
        cmocka_unit_test(clean_lines_hold_no_stop),
        cmocka_unit_test(the_widest_engine_is_the_last_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

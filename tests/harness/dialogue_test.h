/* dialogue_test.h - dialogues as tests of cmocka. */
#ifndef EHLO_TESTS_DIALOGUE_TEST_H
#define EHLO_TESTS_DIALOGUE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dialogue.h"

/* A script by the rules of printf; the next one takes its place. */
const char *dialogue_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The test fails unless the script holds. */
void dialogue_must_hold(const char *script, unsigned seeds);
/* And also without memory, and, unless more octets than so many go to and fro, dropped. Frees d; name is for messages. */
void dialogue_must_survive(dialogue *d, const char *name, unsigned seeds, size_t sweep_max);

/* In as many random manners as the program that includes this says by its constant SEEDS. */
#define holds(script) dialogue_must_hold((script), SEEDS)
#define holds_with(...) holds(dialogue_format(__VA_ARGS__))

/* A program of tests. Without arguments: a test of each script of the source tree (EHLO_SOURCE) that is named GROUP_*,
 * its path the state, and then those by hand. With: tests of those files alone. */
int dialogue_main(int argc, char **argv, const char *group, CMUnitTestFunction of_a_script,
                  const struct CMUnitTest *by_hand, size_t by_hand_count);

#endif

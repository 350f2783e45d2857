#include "dialogue_test.h"

#include <stdio.h>
#include <stdlib.h>

enum { SCRIPT_MAX = 400000, FILES_MAX = 256 };

const char *dialogue_format(const char *format, ...)
{
    static char script[SCRIPT_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(script, sizeof script, format, args);
    va_end(args);
    assert_in_range(len, 1, sizeof script - 1);
    return script;
}

static void must(int good, const char *what, const char *script, peer_text *why)
{
    if (!good) fail_msg("%s\n%s\n%s", what, script, why->ptr);
    peer_text_free(why);
}

void dialogue_must_hold(const char *script, unsigned seeds)
{
    peer_text why = { 0 };
    dialogue *d = dialogue_parse(script);
    must(dialogue_holds(d, seeds, &why), "in some manner", script, &why);
    dialogue_free(d);
}

void dialogue_must_survive(dialogue *d, const char *name, unsigned seeds, size_t sweep_max)
{
    peer_text why = { 0 };
    must(dialogue_holds(d, seeds, &why), "in some manner", name, &why);
    must(dialogue_starves(d, &why), "without memory", name, &why);
    must(d->said.len + d->heard.len > sweep_max || dialogue_drops(d, &why), "dropped", name, &why);
    dialogue_free(d);
}

int dialogue_main(int argc, char **argv, const char *group, CMUnitTestFunction of_a_script,
                  const struct CMUnitTest *by_hand, size_t by_hand_count)
{
    char *found[FILES_MAX];
    char **paths = argc > 1 ? argv + 1 : found;
    size_t files = argc > 1 ? (size_t)argc - 1 : dialogue_find(group, found, FILES_MAX), count = 0;
    struct CMUnitTest *tests = calloc(files + by_hand_count + 1, sizeof *tests);
    if (files == 0 || tests == NULL) {
        fprintf(stderr, "no dialogues\n");
        free(tests);
        return 1;
    }
    for (; count < files; count++) {
        tests[count] = (struct CMUnitTest){ paths[count], of_a_script, NULL, NULL, paths[count] };
    }
    for (size_t i = 0; argc == 1 && i < by_hand_count; i++) tests[count++] = by_hand[i];
    int failed = _cmocka_run_group_tests(group, tests, count, NULL, NULL);
    for (size_t i = 0; argc == 1 && i < files; i++) free(found[i]);
    free(tests);
    return failed != 0;
}

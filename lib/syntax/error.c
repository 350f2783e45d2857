/* What each result means, as a sentence. */
#include <ehlo/types.h>

#include "chars.h"

static const struct {
    int result;
    ehlo_str text;
} sentences[] = {
    { EHLO_OK, EHLO_LITERAL("Success.") },
    { EHLO_LATER, EHLO_LITERAL("The answer comes later.") },
    { EHLO_REFUSE, EHLO_LITERAL("The message is refused.") },
    { EHLO_ERR_ARG, EHLO_LITERAL("An argument is out of range or holds an octet it may not.") },
    { EHLO_ERR_STATE, EHLO_LITERAL("The session is in no state for this call.") },
    { EHLO_ERR_REENTRY, EHLO_LITERAL("Called from inside a callback of the same session.") },
    { EHLO_ERR_STALE, EHLO_LITERAL("The token is spent or was never given.") },
    { EHLO_ERR_SYNTAX, EHLO_LITERAL("The text breaks a rule of the grammar.") },
    { EHLO_ERR_INCOMPLETE, EHLO_LITERAL("The text ends too early.") },
    { EHLO_ERR_SPACE, EHLO_LITERAL("The buffer is too small.") },
    { EHLO_ERR_FULL, EHLO_LITERAL("The window or queue is full.") },
    { EHLO_ERR_UNSUPPORTED, EHLO_LITERAL("This build or platform cannot do it.") },
    { EHLO_ERR_SYSTEM, EHLO_LITERAL("The operating system refused.") },
    { EHLO_ERR_MEMORY, EHLO_LITERAL("There was no output block.") },
    { EHLO_ERR_TRANSPORT, EHLO_LITERAL("The transport is gone.") },
};

ehlo_str ehlo_error_text(int result)
{
    static const ehlo_str unknown = EHLO_LITERAL("Unknown result.");
    for (size_t i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++) {
        if (sentences[i].result == result) return sentences[i].text;
    }
    return unknown;
}

/* One message over a client session, and one outcome for each recipient. The dialogues are text files
 * (tests/dialogues/transaction_*.txt), each run in every manner [C234] and dropped at every octet that goes out or comes
 * in [C82] [K17]; here is what a text can't say, or would say too often. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/dialogue_test.h"

enum { SEEDS = 24 };

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define MESSAGE "from a@x.example\nto b@x.example\ncontent Hello\\r\\n\nA: send\n"
#define ENVELOPE "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\n"
#define BODY "C: Hello\nC: .\n"

/* -- dialogues -------------------------------------------------------------------------------------- */

static void survives_drops(const char *script)
{
    dialogue_must_survive(dialogue_parse(script), script, SEEDS, SIZE_MAX);
}

static void a_dialogue_holds_in_every_manner(void **state) /* [C234] [C235] [C82] [K17] */
{
    dialogue_must_survive(dialogue_read(*state), *state, SEEDS, SIZE_MAX);
}

/* -- outcomes --------------------------------------------------------------------------------------- */

typedef struct verdict {
    const char *reply;
    const char *outcome;
    const char *decided; /* code and enhanced code */
    int ends;            /* the session is over */
} verdict;

static const verdict verdicts[] = {
    { "550 5.7.1 no", "rejected", "550 5.7.1", 0 },
    { "599 no", "rejected", "599 -", 0 },
    { "500 no", "rejected", "500 -", 0 },
    { "451 4.3.0 wait", "deferred", "451 4.3.0", 0 },
    { "499 wait", "deferred", "499 -", 0 },
    { "450 5.1.1 stale", "deferred", "450 -", 0 },
    { "421 4.3.2 bye", "deferred", "421 4.3.2", 1 },
};

static void each_stage_gives_its_outcome(void **state) /* [C14] [C16] [C65] [C81] [C82] [C89] [C170] */
{
    static const struct {
        const char *stage;
        const char *before;
        int done; /* a fresh RSET goes before the next message */
    } stages[] = {
        { "mail", "C: MAIL FROM:<a@x.example>\n", 0 },
        { "rcpt", "C: MAIL FROM:<a@x.example>\nS: 250 2.1.0 ok\nC: RCPT TO:<b@x.example>\n", 1 },
        { "data", "C: MAIL FROM:<a@x.example>\nS: 250 2.1.0 ok\nC: RCPT TO:<b@x.example>\nS: 250 2.1.5 ok\nC: DATA\n",
          1 },
        { "final",
          "C: MAIL FROM:<a@x.example>\nS: 250 2.1.0 ok\nC: RCPT TO:<b@x.example>\nS: 250 2.1.5 ok\nC: DATA\n"
          "S: 354 go\nC: Hello\nC: .\n",
          0 },
    };
    (void)state;
    for (size_t s = 0; s < COUNT(stages); s++) {
        for (size_t i = 0; i < COUNT(verdicts); i++) {
            const verdict *v = &verdicts[i];
            holds_with("give any\ngreet -\n" MESSAGE "%sS: %s\nE: done %s\nE! outcome b@x.example %s %s %s\n%s%s",
                       stages[s].before, v->reply, v->outcome, v->outcome, stages[s].stage, v->decided,
                       v->ends ? "W: CLOSE !NEXT\nE: close refused*\n" : "W: NEXT !CLOSE\n",
                       v->ends          ? ""
                       : stages[s].done ? "from a@x.example\nto c@x.example\ncontent x\nA: send\nC: RSET\nS: 250 ok\n"
                                          "C: MAIL FROM:<a@x.example>\nS: 550 no\n"
                                        : "from a@x.example\nto c@x.example\ncontent x\nA: send\n"
                                          "C: MAIL FROM:<a@x.example>\nS: 550 no\n");
        }
    }
}

static void each_stage_survives_the_end_of_the_connection(void **state) /* [C82] [C96] [C97] [C98] [C99] [C101] */
{
    static const char *const ends[] = { "Z: eof", "Z: lost", "P: 900000" };
    static const struct {
        const char *before;
        const char *outcome;
    } stages[] = {
        { "C: MAIL FROM:<a@x.example>\n", "not-sent" },
        { "C: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<b@x.example>\n", "not-sent" },
        { "C: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<b@x.example>\nS: 250 ok\nC: DATA\n", "not-sent" },
        { "C: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<b@x.example>\nS: 250 ok\nC: DATA\nS: 354 go\n" BODY,
          "uncertain" },
    };
    (void)state;
    for (size_t s = 0; s < COUNT(stages); s++) {
        for (size_t i = 0; i < COUNT(ends); i++) {
            holds_with("give any\ngreet -\n" MESSAGE "%s%s\nE: rcpt 0 none = %s\nE! done %s\nW: CLOSE\n",
                       stages[s].before, ends[i], stages[s].outcome, stages[s].outcome);
        }
    }
}

/* MAIL, three RCPTs, the second refused, DATA or BDAT, and the end: 421 to each of them. */
static void a_421_at_any_reply_defers_whoever_is_left(void **state) /* [C89] [K15] */
{
    static const char *const usual[] = { "250 ok", "250 ok", "550 5.1.1 no", "250 ok", "354 go", "250 ok" };
    (void)state;
    for (size_t bdat = 0; bdat < 2; bdat++) {
        for (size_t at = 0; at < COUNT(usual); at++) {
            peer_text script = { 0 };
            if (bdat && at == 4) continue;
            peer_text_format(&script,
                             "greet PIPELINING%s\nfrom a@x.example\nto b@x.example\nto c@x.example\nto d@x.example\n"
                             "content x\nA: send\nC: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\n"
                             "C: RCPT TO:<c@x.example>\nC: RCPT TO:<d@x.example>\n%s",
                             bdat ? "|CHUNKING" : "", bdat ? "C: BDAT 1 LAST\nC: x\\\n" : "C: DATA\n");
            for (size_t i = 0; i <= at; i++) {
                if (bdat && i == 4) continue;
                if (i == 5 && !bdat) peer_text_format(&script, "C: x\nC: .\n");
                peer_text_format(&script, "S: %s\n", i == at ? "421 4.3.2 bye" : usual[i]);
                if (i == 2 && at > 2) peer_text_format(&script, "M: rejected c@x.example\n");
            }
            peer_text_format(&script,
                             "M: deferred b@x.example\nM: deferred d@x.example\n%sE: close refused*\nW: CLOSE\n",
                             at <= 2 ? "M: deferred c@x.example\n" : "");
            holds(script.ptr);
            peer_text_free(&script);
        }
    }
}

static void codes_decide_and_never_texts(void **state) /* [C16] */
{
    static const char *const texts[] = {
        "550 5.1.1 no such user", "2.0.0 ok", "failed",           "Error: 554", "\\x1B[2J",
        "\\xFF\\xFE\\0x",         "",         "421 4.3.2 closing"
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        holds_with("give any\ngreet -\n" MESSAGE "C: MAIL FROM:<a@x.example>\nS: 250 %s\nC: RCPT TO:<b@x.example>\n"
                   "S: 250 %s\nC: DATA\nS: 354 %s\n" BODY "S: 250 %s\nM: delivered b@x.example\n",
                   texts[i], texts[i], texts[i], texts[i]);
        holds_with("give any\ngreet -\n" MESSAGE "C: MAIL FROM:<a@x.example>\nS: 250 %s\nC: RCPT TO:<b@x.example>\n"
                   "S: 550 %s\nM: rejected b@x.example\nE: outcome b@x.example rejected rcpt 550 *\n",
                   texts[i], texts[i]);
    }
}

static void names_of_outcomes_and_stages(void **state)
{
    static const char *const outcomes[] = { "delivered", "not-sent", "deferred", "rejected", "uncertain" };
    static const char *const stages[] = { "resolve", "connect", "greeting", "hello", "starttls",
                                          "auth",    "mail",    "rcpt",     "data",  "final" };
    (void)state;
    for (int i = 0; i < (int)COUNT(outcomes); i++) {
        ehlo_str name = ehlo_outcome_name((ehlo_outcome)(i + 1));
        assert_int_equal(name.len, strlen(outcomes[i]));
        assert_memory_equal(name.ptr, outcomes[i], name.len);
    }
    for (int i = 0; i < (int)COUNT(stages); i++) {
        ehlo_str name = ehlo_stage_name((ehlo_stage)(i + 1));
        assert_int_equal(name.len, strlen(stages[i]));
        assert_memory_equal(name.ptr, stages[i], name.len);
    }
    assert_non_null(ehlo_outcome_name((ehlo_outcome)99).ptr);
    assert_non_null(ehlo_stage_name((ehlo_stage)99).ptr);
    assert_int_equal(ehlo_outcome_of(250), EHLO_OUTCOME_DELIVERED);
    assert_int_equal(ehlo_outcome_of(299), EHLO_OUTCOME_DELIVERED);
    assert_int_equal(ehlo_outcome_of(421), EHLO_OUTCOME_DEFERRED);
    assert_int_equal(ehlo_outcome_of(599), EHLO_OUTCOME_REJECTED);
    assert_int_equal(ehlo_outcome_of(0), EHLO_OUTCOME_NOT_SENT);
}

static void a_message_that_never_came_to_a_transaction_is_settled(void **state)
{
    ehlo_recipient to[3] = { { .to = { "a@x", 3 } },
                             { .to = { "b@x", 3 }, .outcome = EHLO_OUTCOME_REJECTED, .code = 550 },
                             { .to = { "c@x", 3 } } };
    ehlo_envelope e = { .rcpts = to, .nrcpts = 3 };
    ehlo_reply r = { 451, { 4, 4, 3 }, { "x", 1 } };
    (void)state;
    assert_int_equal(ehlo_envelope_settle(&e, EHLO_OUTCOME_DEFERRED, EHLO_STAGE_RESOLVE, &r), EHLO_OUTCOME_REJECTED);
    assert_int_equal(to[0].outcome, EHLO_OUTCOME_DEFERRED);
    assert_int_equal(to[0].stage, EHLO_STAGE_RESOLVE);
    assert_int_equal(to[0].code, 451);
    assert_int_equal(to[0].enhanced[2], 3);
    assert_int_equal(to[1].outcome, EHLO_OUTCOME_REJECTED);
    assert_int_equal(to[1].code, 550);
    assert_int_equal(to[2].outcome, EHLO_OUTCOME_DEFERRED);
    to[1].outcome = to[2].outcome = EHLO_OUTCOME_NONE;
    assert_int_equal(ehlo_envelope_settle(&e, EHLO_OUTCOME_NOT_SENT, EHLO_STAGE_CONNECT, NULL), EHLO_OUTCOME_DEFERRED);
    assert_int_equal(to[2].outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(to[2].code, 0);
}

/* -- what the server does not offer ----------------------------------------------------------------- */

static void what_is_needed_and_not_offered_ends_it_before_a_word(void **state) /* [C158] [C164] [C166] [C175] */
{
    static const struct {
        const char *offered;
        const char *needs;
        const char *decided;
    } cases[] = {
        { "8BITMIME", "flags UTF8", "553 5.6.7" },
        { "SMTPUTF8", "flags UTF8", "553 5.6.7" }, /* RFC 6531 3.1: 8BITMIME is needed too */
        { "SIZE", "flags REQUIRETLS", "550 5.7.30" },
        { "REQUIRETLS", "flags REQUIRETLS", "550 5.7.30" }, /* not inside TLS */
        { "8BITMIME|CHUNKING", "body BINARYMIME", "554 5.6.3" },
        { "8BITMIME|BINARYMIME", "body BINARYMIME", "554 5.6.3" },
        { "SIZE", "body 8BITMIME", "554 5.6.3" },
        { "SIZE 6", "size 0", "552 5.3.4" },
        { "SIZE 99", "size 100", "552 5.3.4" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        holds_with("greet %s\n%s\n" MESSAGE "E: rcpt 0 %s * = rejected\nE: done rejected\n"
                   "E! outcome b@x.example rejected mail %s\nW: NEXT !CLOSE\nA: RSET\nC: RSET\nS: 250 ok\n",
                   cases[i].offered, cases[i].needs, cases[i].decided, cases[i].decided);
    }
    holds("greet PIPELINING\nflags UTF8\n" MESSAGE MESSAGE ENVELOPE "C: DATA\nS: 250 1\nS: 250 2\nS: 354 3\n" BODY
          "S: 250 4\nE: done rejected\nE: done delivered\n");
}

static void eight_bit_octets_go_only_where_they_are_taken(void **state) /* [C166] */
{
    static const char eight[] = "from a@x.example\nto b@x.example\ncontent caf\\xC3\\xA9\\r\\n\n";
    (void)state;
    holds_with("greet 8BITMIME\n%sA: send\nC: MAIL FROM:<a@x.example> BODY=8BITMIME\nS: 550 no\n", eight);
    holds_with("greet 8BITMIME\nbody 7BIT\n%sA: send\nE: done rejected\nE: outcome b@x.example rejected * 554 5.6.1\n",
               eight);
    holds_with("greet -\n%sA: send\nE: done rejected\nE: outcome b@x.example rejected mail 554 5.6.3\n", eight);
    /* Pulled and pushed, it is seen behind the 354: there is no other way on than none. */
    for (int give = 0; give < 2; give++) {
        holds_with(
            "give %s\ngreet -\n%sA: send\nC: MAIL FROM:<a@x.example>\nS: 250 1\nC: RCPT TO:<b@x.example>\nS: 250 2\n"
            "C: DATA\nS: 354 3\nE: done rejected\nE: outcome b@x.example rejected data 554 5.6.3\nW: CLOSE\n",
            give ? "push" : "pull", eight);
    }
}

static void parameters_say_what_the_body_is(void **state) /* [C158] [C166] [C175] */
{
    (void)state;
    holds("greet 8BITMIME|SMTPUTF8|PIPELINING\nflags UTF8\nfrom \\xC3\\xA9@x.example\nto \\xC3\\xBC@x.example\ncontent "
          "x\n"
          "A: send\nC: MAIL FROM:<\\xC3\\xA9@x.example> BODY=8BITMIME SMTPUTF8\nC: RCPT TO:<\\xC3\\xBC@x.example>\n"
          "C: DATA\nS: 550 1\nS: 503 2\nS: 503 3\nE: done rejected\n");
    holds("greet 8BITMIME|SMTPUTF8\nfrom \\xC3\\xA9@x.example\nto b@x.example\ncontent x\nA: send => ARG\nE: wrong "
          "from *\n");
    holds("greet 8BITMIME|SMTPUTF8\nfrom a@x.example\nto b@x.example\nto \\xC3\\xA9@x.example\ncontent x\n"
          "A: send => ARG\nE: wrong to of 1\nA: RSET\nC: RSET\nS: 250 ok\n");
    holds("greet STARTTLS\nA: STARTTLS\nC: STARTTLS\nS: 220 go\nT: 0\nA: hello\nC: EHLO c.example\nS: 250-mx\n"
          "S: 250 REQUIRETLS\nflags REQUIRETLS\n" MESSAGE "C: MAIL FROM:<a@x.example> REQUIRETLS\nS: 550 no\n");
}

/* -- arguments -------------------------------------------------------------------------------------- */

static void wrong_envelopes_are_refused_with_nothing_queued(void **state)
{
    static const struct {
        const char *lines;
        const char *wrong;
    } cases[] = {
        { "from a@x.example\\r\\nRSET\nto b@x.example\n", "wrong from *" },
        { "from a\nto b@x.example\n", "wrong from *" },
        { "from <a@x.example>\nto b@x.example\n", "wrong from *" },
        { "from a@x.example\nto b@x.example\nto @r.example:c@x.example\n", "wrong to of 1" },
        { "from a@x.example\nto b@x.example\nto c@x.example>\\r\\nDATA\n", "wrong to of 1" },
        { "from a@x.example\nto c@x.example\\0\n", "wrong to of 0" },
        { "from a@x.example\nto c@x.example orcpt=rfc822;a\\rb\n", "wrong orcpt of 0" },
        { "from a@x.example\nto c@x.example A=1\\nB\n", "wrong rcpt params of 0" },
        { "from a@x.example\nto c@x.example NOTIFY=NEVER\n", "wrong rcpt params of 0" },
        { "from a@x.example\nto c@x.example\nparams SIZE=1\n", "wrong params *" },
        { "from a@x.example\nto c@x.example\nparams A\\r\\nB\n", "wrong params *" },
        { "from a@x.example\nto c@x.example\nenvid a\\nb\n", "wrong envid *" },
        { "from a@x.example\nto c@x.example\nauth a@x.example\\r\\n\n", "wrong auth *" },
        { "from a@x.example\n", "wrong rcpts *" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        holds_with("greet PIPELINING\n%scontent x\nA: send => ARG\nE: %s\nW: NEXT\n" MESSAGE ENVELOPE
                   "C: DATA\nS: 250 1\nS: 250 2\nS: 354 3\n" BODY "S: 250 4\nM: delivered b@x.example\n",
                   cases[i].lines, cases[i].wrong);
        dialogue *d = dialogue_parse(cases[i].lines);
        ehlo_envelope e = d->messages[0].envelope;
        ehlo_envelope_fault fault = { 0 };
        e.rcpts = d->messages[0].rcpts;
        e.nrcpts = d->messages[0].nrcpts;
        assert_int_equal(ehlo_envelope_check(&e, &fault), EHLO_ERR_ARG);
        char named[64];
        snprintf(named, sizeof named, "wrong %s of %zu", fault.member, fault.recipient);
        assert_true(peer_matches(cases[i].wrong, named, strlen(named)));
        assert_int_equal(ehlo_envelope_check(&e, NULL), EHLO_ERR_ARG);
        dialogue_free(d);
    }
}

static void transactions_begin_only_where_next_is_wanted(void **state) /* [C23] [C24] */
{
    (void)state;
    holds("outside\nfrom a@x\nto b@x.example\nA: send => STATE\nS: 220 mx\nfrom a@x\nto b@x.example\nA: send => STATE\n"
          "A: hello\nC: EHLO c.example\nS: 250 mx\nW: NEXT\nA: NOOP\nfrom a@x\nto b@x.example\nA: send => STATE\nC: "
          "NOOP\n"
          "S: 250 ok\nW: NEXT\nA: QUIT\nfrom a@x\nto b@x.example\nA: send => STATE\nC: QUIT\nS: 221 bye\n"
          "from a@x\nto b@x.example\nA: send => STATE\n");
    holds("greet PIPELINING\n" MESSAGE "from a@x\nto b@x.example\nA: send => STATE\n" ENVELOPE
          "C: DATA\nW: !NEXT\nS: 250 1\n"
          "S: 250 2\nS: 354 3\n" BODY "S: 250 4\n");
}

/* -- bodies ----------------------------------------------------------------------------------------- */

typedef struct body_case {
    const char *content;
    const char *wire; /* DATA, without the final dot, as C: lines */
    const char *chunk;
    int len;
} body_case;

static const body_case body_cases[] = {
    { "", "", "", 0 },
    { ".", "C: ..\n", ".", 1 },
    { ".\\r\\n", "C: ..\n", ".\\r\\n", 3 },
    { "\\r\\n", "C: \n", "\\r\\n", 2 },
    { "\\n", "C: \n", "\\r\\n", 2 },
    { "\\n.\\n", "C: \nC: ..\n", "\\r\\n.\\r\\n", 5 },
    { ".\\r\\n.\\r\\n..\\r\\n...", "C: ..\nC: ..\nC: ...\nC: ....\n", ".\\r\\n.\\r\\n..\\r\\n...", 13 },
    { "no end", "C: no end\n", "no end", 6 },
    { "a\\r\\n.\\r\\nQUIT\\r\\n", "C: a\nC: ..\nC: QUIT\n", "a\\r\\n.\\r\\nQUIT\\r\\n", 12 },
    { "a\\n.\\nQUIT\\n", "C: a\nC: ..\nC: QUIT\n", "a\\r\\n.\\r\\nQUIT\\r\\n", 12 },
    { "\\0\\0.\\0\\r\\n", "C: \\0\\0.\\0\n", "\\0\\0.\\0\\r\\n", 6 },
    { "\\x80\\xFF\\xFE\\r\\n", "C: \\x80\\xFF\\xFE\n", "\\x80\\xFF\\xFE\\r\\n", 5 },
    { "\\[998:x]\\r\\n\\[998:.]\\r\\n", "C: \\[998:x]\nC: \\[999:.]\n", "\\[998:x]\\r\\n\\[998:.]\\r\\n", 2000 },
    { "\\[40:.\\n]", NULL, NULL, 120 },
};

static void bodies_arrive_as_they_are_whatever_the_manner(void **state) /* [C2] [C69] [C70] [C157] */
{
    (void)state;
    for (size_t i = 0; i < COUNT(body_cases) - 1; i++) {
        const body_case *b = &body_cases[i];
        holds_with("give any\ngreet PIPELINING|8BITMIME\nfrom a@x.example\nto b@x.example\ncontent %s\nA: send\n"
                   "C: MAIL FROM:<a@x.example> BODY=8BITMIME\nC: RCPT TO:<b@x.example>\nC: DATA\nS: 250 1\nS: 250 2\n"
                   "S: 354 3\n%sC: .\nM: left b@x.example\nS: 250 4\nM: delivered b@x.example\n",
                   b->content, b->wire);
        holds_with("greet PIPELINING|8BITMIME|CHUNKING\nfrom a@x.example\nto b@x.example\ncontent %s\nA: send\n"
                   "C: MAIL FROM:<a@x.example> BODY=8BITMIME\nC: RCPT TO:<b@x.example>\nC: BDAT %d LAST\nC: %s\\\n"
                   "M: left b@x.example\nS: 250 1\nS: 250 2\nS: 250 3\nM: delivered b@x.example\n",
                   b->content, b->len, b->chunk);
    }
}

static void small_pieces_go_as_data_where_nothing_demands_bdat(void **state)
{
    static const char *const gives[] = { "pull 3", "pull 1", "push 2", "push 1" };
    (void)state;
    for (size_t i = 0; i < COUNT(gives); i++) {
        holds_with(
            "give %s\ngreet PIPELINING|CHUNKING\nfrom a@x.example\nto b@x.example\ncontent .Hello\\nWorld\nA: send\n"
            "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\nC: DATA\nS: 250 1\nS: 250 2\nS: 354 3\n"
            "C: ..Hello\nC: World\nC: .\nM: left b@x.example\nS: 250 4\nM: delivered b@x.example\n",
            gives[i]);
    }
}

static void large_pieces_go_as_chunks_and_cr_lf_may_be_cut_between_them(void **state) /* [C157] [C2] */
{
    (void)state;
    /* 5000 octets a piece; the CR is the last of the first, its LF the first of the second */
    holds(
        "give pull 5000\ngreet PIPELINING|CHUNKING\nfrom a@x.example\nto b@x.example\n"
        "content \\[4999:x]\\r\\n\\[4998:y]\\n\\n\nA: send\n"
        "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\nC: BDAT 4999\nC: \\[4999:x]\\\nC: BDAT 5002\n"
        "C: \\r\\n\\[4998:y]\\r\\n\\\nC: BDAT 2 LAST\nC: \\r\\n\\\nM: left b@x.example\nS: 250 1\nS: 250 2\nS: 250 3\n"
        "S: 250 4\nS: 250 5\nM: delivered b@x.example\n");
}

/* The CR that ends a piece waits for what comes next; the one before it is bare, and decided. */
static void a_piece_that_ends_in_two_crs_goes_on(void **state) /* [C2] [C157] */
{
    static const struct {
        const char *content;
        const char *wire; /* all but the first chunk */
    } cases[] = {
        { "\\[4998:x]\\r\\rabc\\r\\n", "C: BDAT 6 LAST\nC: \\x20abc\n" },
        { "\\[4998:x]\\r\\r\\nabc", "C: BDAT 5 LAST\nC: \nC: abc\\\n" },
        { "\\[4998:x]\\r\\r\\r\\n", "C: BDAT 3 LAST\nC: \\x20\n" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        holds_with("set bare_cr normalise\ngive pull 5000\ngreet PIPELINING|CHUNKING\nfrom a@x.example\n"
                   "to b@x.example\ncontent %s\nA: send\n" ENVELOPE "C: BDAT 4999\nC: \\[4998:x] \\\n%s"
                   "M: left b@x.example\nS: 250 1\nS: 250 2\nS: 250 3\nS: 250 4\nM: delivered b@x.example\n",
                   cases[i].content, cases[i].wire);
    }
}

static void bare_octets_are_refused_or_turned(void **state) /* [C2] */
{
    static const char *const bad[] = { "a\\rb", "\\r", "a\\r\\r\\n", "a\\r" };
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        holds_with("greet PIPELINING|CHUNKING\nfrom a@x.example\nto b@x.example\ncontent %s\nA: send\n"
                   "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\nS: 250 1\nS: 250 2\nE: done rejected\n"
                   "E! outcome b@x.example rejected data 554 5.6.0\nW: READ NEXT !CLOSE\n",
                   bad[i]);
    }
    holds("set bare_cr normalise\nset bare_lf reject\ngreet PIPELINING|CHUNKING\nfrom a@x.example\nto b@x.example\n"
          "content a\\rb\\r\nA: send\nC: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\nC: BDAT 4 LAST\nC: a b \\\n"
          "S: 250 1\nS: 250 2\nS: 250 3\n");
    holds("set bare_cr pass\nset bare_lf pass\ngreet PIPELINING|CHUNKING\nfrom a@x.example\nto b@x.example\n"
          "content a\\rb\\n\\r\nA: send\nC: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\nC: BDAT 5 LAST\n"
          "C: a\\rb\\n\\r\\\nS: 250 1\nS: 250 2\nS: 250 3\n");
}

/* The octets before the bare one may have left; the message can't be ended. */
static void a_bare_octet_behind_the_354_breaks_off(void **state) /* [C2] */
{
    static const talk_mode mode = { .name = "whole", .inside = 1 };
    static const char *const gives[] = { "memory", "pull", "push" };
    (void)state;
    for (size_t i = 0; i < COUNT(gives); i++) {
        dialogue *d = dialogue_parse(dialogue_format(
            "give %s\nset bare_lf reject\ngreet PIPELINING\nfrom a@x.example\nto b@x.example\n"
            "content good\\r\\nbad\\n.\\r\\n\nA: send\n" ENVELOPE "C: DATA\nS: 250 1\nS: 250 2\nS: 354 3\n"
            "C: good\nC: bad\\\nE: done rejected\nE! outcome b@x.example rejected data 554 5.6.0\n",
            gives[i]));
        talk *t = talk_run(d, &mode);
        assert_null(strstr(t->out.ptr, "\n."));
        assert_non_null(strstr(t->log.ptr, "outcome b@x.example rejected data 554 5.6.0\n"));
        assert_true(t->closed_reason != 0);
        talk_free(t);
        dialogue_free(d);
    }
}

static void a_line_that_is_too_long_is_refused(void **state)
{
    (void)state;
    holds("set text_line_max 998\ngreet PIPELINING|CHUNKING\nfrom a@x.example\nto b@x.example\ncontent \\[998:x]\nA: "
          "send\n"
          "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\nC: BDAT 998 LAST\nC: \\[998:x]\\\nS: 250 1\nS: 250 2\n"
          "S: 250 3\nE: done delivered\n");
    holds("set text_line_max 998\ngreet PIPELINING|CHUNKING\nfrom a@x.example\nto b@x.example\ncontent \\[999:x]\nA: "
          "send\n"
          "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\nS: 250 1\nS: 250 2\nE: done rejected\n"
          "E! outcome b@x.example rejected data 554 5.6.0\n");
}

/* No write holds nothing but the end of a message: Nagle and delayed ACK would make 40 ms of it. */
static void the_terminator_never_travels_alone(void **state)
{
    static const talk_mode modes[] = {
        { .name = "memory", .inside = 1 },
        { .name = "bytes", .cut = PEER_BYTES },
        { .name = "pulled", .inside = 1, .give = GIVE_PULL },
        { .name = "pulled by threes", .inside = 1, .give = GIVE_PULL, .pieces = 3 },
        { .name = "pulled later", .give = GIVE_PULL, .pieces = 4, .later = 1 },
        { .name = "pushed", .inside = 1, .give = GIVE_PUSH },
        { .name = "pushed by ones", .give = GIVE_PUSH, .pieces = 1 },
    };
    static const char *const contents[] = { "x", "Hello\\r\\n", "a\\nb\\nc", ".\\r\\n", "\\[5000:x]\\r\\n" };
    static const char *const wires[] = { "C: x\n", "C: Hello\n", "C: a\nC: b\nC: c\n", "C: ..\n", "C: \\[5000:x]\n" };
    (void)state;
    for (size_t c = 0; c < COUNT(contents); c++) {
        dialogue *d = dialogue_parse(dialogue_format(
            "give any\ngreet PIPELINING\nfrom a@x.example\nto b@x.example\ncontent %s\nA: send\n" ENVELOPE
            "C: DATA\nS: 250 1\nS: 250 2\nS: 354 3\n%sC: .\nS: 250 4\n",
            contents[c], wires[c]));
        for (size_t i = 0; i < COUNT(modes); i++) {
            talk *t = talk_run(d, &modes[i]);
            assert_string_equal(t->fault, "");
            assert_int_equal(t->lone_ends, 0);
            if (c == 0 || c == 2) assert_int_equal(t->lone_tails, 0);
            talk_free(t);
        }
        dialogue_free(d);
    }
}

/* -- round trips ------------------------------------------------------------------------------------ */

static void say_envelopes(peer_text *script, int pipelining, int bdat, int rcpts)
{
    peer_text_format(script, "C: MAIL FROM:<a@x.example>\n%s", pipelining ? "" : "S: 250 ok\n");
    for (int r = 0; r < rcpts; r++) {
        peer_text_format(script, "C: RCPT TO:<r%d@x.example>\n%s", r, pipelining ? "" : "S: 250 ok\n");
    }
    peer_text_format(script, bdat ? "C: BDAT 7 LAST\nC: Hello\n" : "C: DATA\n");
}

static void replies_to_envelope(peer_text *script, int pipelining, int rcpts)
{
    for (int r = 0; pipelining && r <= rcpts; r++) peer_text_format(script, "S: 250 ok\n");
}

/* Three messages to `rcpts` recipients each over one connection. */
static unsigned count_rounds(const char *offered, int pipelining, int bdat, int rcpts)
{
    static const talk_mode mode = { .name = "whole", .inside = 1 };
    peer_text script = { 0 };
    peer_text_format(&script, "greet %s\nR: 2\n", offered);
    for (int m = 0; m < 3; m++) {
        peer_text_format(&script, "from a@x.example\ncontent Hello\\r\\n\n");
        for (int r = 0; r < rcpts; r++) peer_text_format(&script, "to r%d@x.example\n", r);
        peer_text_format(&script, "A: send\n");
    }
    for (int m = 0; m < 3; m++) {
        int chained = pipelining && m > 0;
        if (!chained) say_envelopes(&script, pipelining, bdat, rcpts);
        if (bdat) {
            for (int n = m + 1; pipelining && m == 0 && n < 3; n++) {
                peer_text_format(&script, "C: RSET\n");
                say_envelopes(&script, pipelining, bdat, rcpts);
            }
            if (pipelining && m > 0) peer_text_format(&script, "S: 250 reset\n");
            replies_to_envelope(&script, pipelining, rcpts);
        } else {
            replies_to_envelope(&script, pipelining, rcpts);
            peer_text_format(&script, "S: 354 go\nC: Hello\nC: .\n");
            if (pipelining && m < 2) say_envelopes(&script, pipelining, bdat, rcpts);
        }
        peer_text_format(&script, "S: 250 ok\n");
    }
    dialogue *d = dialogue_parse(script.ptr);
    talk *t = talk_run(d, &mode);
    if (t->fault[0] != '\0') fail_msg("%s\n%s", t->fault, script.ptr);
    unsigned rounds = t->rounds - 2;
    assert_int_equal(t->lone_ends, 0);
    talk_free(t);
    dialogue_free(d);
    peer_text_free(&script);
    return rounds;
}

static void round_trips_are_the_least_that_the_extensions_allow(void **state) /* [C143] [C144] */
{
    (void)state;
    for (int rcpts = 1; rcpts <= 7; rcpts += 3) {
        assert_int_equal(count_rounds("-", 0, 0, rcpts), 3 * (rcpts + 3));
        assert_int_equal(count_rounds("CHUNKING", 0, 1, rcpts), 3 * (rcpts + 2));
        assert_int_equal(count_rounds("PIPELINING", 1, 0, rcpts), 2 + 1 + 1);
        assert_int_equal(count_rounds("PIPELINING|CHUNKING", 1, 1, rcpts), 1);
    }
}

/* -- many recipients -------------------------------------------------------------------------------- */

/* More than the block, and the window, hold: the server reads nothing more until its replies are read. */
static void three_hundred_recipients_go_through_a_small_window(void **state) /* [C62] [C146] */
{
    peer_text script = { 0 };
    (void)state;
    peer_text_format(&script, "set window 10\ngreet PIPELINING\nfrom a@x.example\ncontent Hello\\r\\n\n");
    for (int i = 0; i < 300; i++) peer_text_format(&script, "to r%d@x.example\n", i);
    peer_text_format(&script, "A: send\nC: MAIL FROM:<a@x.example>\n");
    for (int i = 0; i < 9; i++) peer_text_format(&script, "C: RCPT TO:<r%d@x.example>\n", i);
    peer_text_format(&script, "S: 250 ok\n");
    for (int i = 9; i < 300; i++) {
        peer_text_format(&script, "C: RCPT TO:<r%d@x.example>\nS: %d ok\n", i, i % 7 == 2 ? 550 : 250);
    }
    peer_text_format(&script, "C: DATA\n");
    for (int i = 0; i < 9; i++) peer_text_format(&script, "S: 250 ok\n");
    peer_text_format(&script, "S: 354 go\nC: Hello\nC: .\nS: 250 ok\nE: done rejected\n");
    static const talk_mode modes[] = {
        { .name = "bytes", .cut = PEER_BYTES, .inside = 1 },
        { .name = "a line each", .cut = PEER_RANDOM, .seed = 3, .lender = 1 },
        { .name = "short writes", .cut = PEER_BYTES, .write_max = 3, .write_blocks = 1 }
    };
    dialogue *d = dialogue_parse(script.ptr);
    for (size_t i = 0; i < COUNT(modes); i++) {
        talk *t = talk_run(d, &modes[i]);
        if (t->fault[0] != '\0') fail_msg("%s: %s", modes[i].name, t->fault);
        talk_free(t);
    }
    dialogue_free(d);
    peer_text_free(&script);
}

static void three_hundred_recipients_fill_the_block_many_times(void **state) /* [C146] */
{
    peer_text script = { 0 };
    (void)state;
    peer_text_format(&script, "set window 1000\ngreet PIPELINING\nfrom a@x.example\ncontent Hello\\r\\n\n");
    for (int i = 0; i < 300; i++) peer_text_format(&script, "to r%d@x.example\n", i);
    peer_text_format(&script, "A: send\nC: MAIL FROM:<a@x.example>\n");
    for (int i = 0; i < 300; i++) peer_text_format(&script, "C: RCPT TO:<r%d@x.example>\n", i);
    peer_text_format(&script, "C: DATA\n");
    for (int i = 0; i <= 300; i++) peer_text_format(&script, "S: 250 ok\n");
    peer_text_format(&script, "S: 354 go\nC: Hello\nC: .\nS: 250 ok\nE: done delivered\n");
    holds(script.ptr);
    peer_text_free(&script);
}

/* -- the connection drops --------------------------------------------------------------------------- */

/* One and three recipients, the second refused; DATA and BDAT; SMTP and LMTP; with and without PIPELINING. */
static void say_drop(peer_text *s, int lmtp, int bdat, int pipelining, int rcpts)
{
    static const char *const answers[] = { "250 ok", "550 5.1.1 no", "250 ok" };
    int three = rcpts == 3, accepted = three ? 2 : 1, asks_first = lmtp && bdat;
    peer_text_format(s, "%sgreet %s%s\nfrom a@x.example\ncontent .Hello\\r\\nWorld\n%s", lmtp ? "set flags LMTP\n" : "",
                     pipelining ? "PIPELINING|" : "", bdat ? "CHUNKING|BINARYMIME" : "SIZE",
                     asks_first ? "body BINARYMIME\n" : "");
    for (int i = 0; i < rcpts; i++) peer_text_format(s, "to r%d@x.example\n", i);
    peer_text_format(s, "A: send\nC: MAIL FROM:<a@x.example>%s\n%s",
                     asks_first ? " BODY=BINARYMIME"
                     : bdat     ? ""
                                : " SIZE=13",
                     pipelining ? "" : "S: 250 ok\n");
    for (int i = 0; i < rcpts; i++) {
        peer_text_format(s, "C: RCPT TO:<r%d@x.example>\n", i);
        if (!pipelining) peer_text_format(s, "S: %s\n%s", answers[i], i == 1 ? "M: rejected r1@x.example\n" : "");
    }
    int early = bdat && !asks_first;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == (early ? 0 : 1)) {
            if (!bdat && !pipelining) peer_text_format(s, "C: DATA\nS: 354 go\n");
            if (bdat) peer_text_format(s, "C: BDAT 13 LAST\nC: .Hello\\r\\nWorld\\\n");
            if (!bdat) peer_text_format(s, "C: ..Hello\nC: World\nC: .\n");
            /* one whose refusal has been heard can't have got it */
            for (int i = 0; i < rcpts; i++) {
                if (i != 1 || (early && pipelining)) peer_text_format(s, "M: left r%d@x.example\n", i);
            }
        } else if (pipelining) {
            if (!bdat) peer_text_format(s, "C: DATA\n");
            peer_text_format(s, "S: 250 ok\n");
            for (int i = 0; i < rcpts; i++) {
                peer_text_format(s, "S: %s\n%s", answers[i], i == 1 ? "M: rejected r1@x.example\n" : "");
            }
            if (!bdat) peer_text_format(s, "S: 354 go\n");
        }
    }
    peer_text_format(s, "S: 250-yes\nS: 250 yes\nM: delivered r0@x.example\n");
    if (three) peer_text_format(s, "%sM: delivered r2@x.example\n", lmtp && accepted == 2 ? "S: 250 yes\n" : "");
}

static void a_drop_at_any_octet_has_the_right_outcome(void **state) /* [C82] [C219] [K17] */
{
    (void)state;
    for (int i = 0; i < 16; i++) {
        peer_text script = { 0 };
        say_drop(&script, i & 1, i >> 1 & 1, i >> 2 & 1, i & 8 ? 3 : 1);
        survives_drops(script.ptr);
        peer_text_free(&script);
    }
}

/* -- by hand ---------------------------------------------------------------------------------------- */

typedef struct hand {
    ehlo_client *c;
    void *mem;
    ehlo_transaction *t;
    void *transaction_mem;
    ehlo_recipient to[2];
    ehlo_envelope envelope;
    peer_text out;
    size_t limit;
    int outcome; /* of on_done; -1: not yet */
    int greeted;
    int answer;       /* of body */
    int resume_first; /* body resumes from inside, so often */
    unsigned asked;
} hand;

static int hand_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    hand *h = user;
    (void)c;
    *taken = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = parts[i].len < h->limit ? parts[i].len : h->limit;
        peer_text_add(&h->out, parts[i].ptr, len);
        if (h->limit != SIZE_MAX) h->limit -= len;
        *taken += len;
    }
    return 0;
}

static void hand_feed(hand *h, const char *text)
{
    size_t used, len = strlen(text);
    assert_int_equal(ehlo_client_feed(h->c, 0, text, len, &used), EHLO_OK);
    assert_int_equal(used, len);
}

static void hand_open_as(hand *h, unsigned flags, const char *hello_reply)
{
    static const ehlo_client_callbacks callbacks = { .write = hand_write };
    ehlo_client_config config = { .name = { "c.example", 9 }, .flags = flags };
    memset(h, 0, sizeof *h);
    h->limit = SIZE_MAX;
    h->outcome = -1;
    h->mem = malloc(ehlo_client_size(&config));
    h->transaction_mem = malloc(ehlo_transaction_size());
    assert_int_equal(ehlo_client_init(&h->c, h->mem, ehlo_client_size(&config), &config, &callbacks, h), EHLO_OK);
    assert_int_equal(ehlo_client_start(h->c, 0, NULL, NULL), EHLO_OK);
    hand_feed(h, "220 mx\r\n");
    assert_int_equal(ehlo_client_hello(h->c, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(h->c, 0), EHLO_OK);
    hand_feed(h, hello_reply);
    assert_true(ehlo_client_wants(h->c) & EHLO_WANT_NEXT);
    h->out.len = 0;
    h->to[0].to = ehlo_str_from("b@x.example");
    h->to[1].to = ehlo_str_from("c@x.example");
    h->envelope.from = ehlo_str_from("a@x.example");
    h->envelope.rcpts = h->to;
    h->envelope.nrcpts = 1;
}

static void hand_open(hand *h, const char *hello_reply)
{
    hand_open_as(h, 0, hello_reply);
}

static void hand_done(ehlo_transaction *t, int outcome, void *user)
{
    hand *h = user;
    (void)t;
    assert_int_equal(h->outcome, -1);
    h->outcome = outcome;
}

static int hand_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    hand *h = user;
    h->asked++;
    if (h->resume_first > 0) {
        h->resume_first--;
        assert_int_equal(ehlo_transaction_resume(t, 0), EHLO_OK);
        return EHLO_LATER;
    }
    static const char text[] = "Hello\r\n";
    *piece = ehlo_str_make(&text[offset], 7 - (size_t)offset);
    *last = 1;
    return h->answer;
}

static void hand_begin(hand *h, int pulled)
{
    ehlo_transaction_callbacks callbacks = { .body = pulled ? hand_body : NULL, .on_done = hand_done };
    assert_int_equal(ehlo_transaction_start(&h->t, h->transaction_mem, ehlo_transaction_size(), h->c, &h->envelope,
                                            &callbacks, h, NULL),
                     EHLO_OK);
    assert_ptr_equal(h->t, h->transaction_mem);
    assert_ptr_equal(ehlo_transaction_client(h->t), h->c);
    assert_int_equal(ehlo_client_flush(h->c, 0), EHLO_OK);
}

/* The envelope's replies come, and the 354. */
static void hand_reach_body(hand *h, int pulled)
{
    hand_begin(h, pulled);
    hand_feed(h, "250 1\r\n250 2\r\n354 3\r\n");
}

static void hand_end(hand *h)
{
    assert_int_equal(ehlo_client_close(h->c), EHLO_OK);
    peer_text_free(&h->out);
    free(h->transaction_mem);
    free(h->mem);
}

static void octets_pushed_before_the_354_are_not_taken(void **state)
{
    size_t used;
    hand h;
    (void)state;
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    hand_begin(&h, 0);
    assert_int_equal(ehlo_transaction_push(h.t, 0, "Hello", 5, 0, &used), EHLO_OK);
    assert_int_equal(used, 0);
    hand_feed(&h, "250 1\r\n250 2\r\n354 3\r\n");
    assert_int_equal(ehlo_transaction_push(h.t, 0, "Hello", 5, 0, &used), EHLO_OK);
    assert_int_equal(used, 5);
    assert_int_equal(ehlo_transaction_sent(h.t), 5);
    h.limit = 3;
    assert_int_equal(ehlo_transaction_push(h.t, 0, "World", 5, 1, &used), EHLO_OK);
    assert_int_equal(used, 3);
    assert_int_equal(ehlo_transaction_sent(h.t), 8);
    assert_true(ehlo_client_wants(h.c) & EHLO_WANT_WRITE);
    h.limit = SIZE_MAX;
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_false(ehlo_client_wants(h.c) & EHLO_WANT_WRITE);
    assert_int_equal(ehlo_transaction_push(h.t, 0, "ld", 2, 1, &used), EHLO_OK);
    assert_int_equal(used, 2);
    assert_int_equal(h.outcome, -1);
    assert_int_equal(ehlo_transaction_push(h.t, 0, "x", 1, 1, &used), EHLO_ERR_STATE);
    hand_feed(&h, "250 4\r\n");
    assert_int_equal(h.outcome, EHLO_OUTCOME_DELIVERED);
    assert_non_null(strstr(h.out.ptr, "DATA\r\nHelloWorld\r\n.\r\n"));
    hand_end(&h);
}

static void an_empty_message_can_be_pushed(void **state)
{
    size_t used;
    hand h;
    (void)state;
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    hand_reach_body(&h, 0);
    assert_int_equal(ehlo_transaction_push(h.t, 0, NULL, 0, 0, &used), EHLO_OK);
    assert_null(strstr(h.out.ptr, "DATA\r\n.\r\n"));
    assert_int_equal(ehlo_transaction_push(h.t, 0, NULL, 0, 1, &used), EHLO_OK);
    assert_non_null(strstr(h.out.ptr, "DATA\r\n.\r\n"));
    hand_feed(&h, "250 4\r\n");
    assert_int_equal(h.outcome, EHLO_OUTCOME_DELIVERED);
    hand_end(&h);
}

/* The end is pushed as a piece of its own, with nothing in it, while the transport is full. */
static void an_empty_last_piece_ends_a_pushed_message(void **state)
{
    size_t used;
    hand h;
    (void)state;
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    hand_reach_body(&h, 0);
    assert_int_equal(ehlo_transaction_push(h.t, 0, "x", 1, 0, &used), EHLO_OK);
    assert_int_equal(used, 1);
    h.limit = 2;
    assert_int_equal(ehlo_transaction_push(h.t, 0, NULL, 0, 1, &used), EHLO_OK);
    h.limit = SIZE_MAX;
    while (ehlo_client_wants(h.c) & EHLO_WANT_WRITE) assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_non_null(strstr(h.out.ptr, "DATA\r\nx\r\n.\r\n"));
    hand_feed(&h, "250 4\r\n");
    assert_int_equal(h.outcome, EHLO_OUTCOME_DELIVERED);
    hand_end(&h);
}

static void a_body_may_resume_from_inside(void **state)
{
    hand h;
    (void)state;
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    h.resume_first = 3;
    hand_reach_body(&h, 1);
    assert_non_null(strstr(h.out.ptr, "DATA\r\nHello\r\n.\r\n"));
    assert_int_equal(h.asked, 4);
    hand_feed(&h, "250 4\r\n");
    assert_int_equal(h.outcome, EHLO_OUTCOME_DELIVERED);
    hand_end(&h);
}

/* The time that the application takes is not the server's. */
static void a_body_that_is_late_has_no_deadline(void **state) /* [C100] */
{
    hand h;
    (void)state;
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    h.answer = EHLO_LATER;
    hand_reach_body(&h, 1);
    assert_int_equal(ehlo_client_deadline(h.c), UINT64_MAX);
    assert_int_equal(ehlo_client_tick(h.c, 86400000), EHLO_OK);
    assert_int_equal(h.outcome, -1);
    assert_int_equal(h.asked, 1);
    h.answer = EHLO_OK;
    assert_int_equal(ehlo_transaction_resume(h.t, 86400000), EHLO_OK);
    assert_non_null(strstr(h.out.ptr, "DATA\r\nHello\r\n.\r\n"));
    assert_int_equal(ehlo_client_deadline(h.c), 86400000 + 600000);
    hand_end(&h);
    assert_int_equal(h.outcome, EHLO_OUTCOME_UNCERTAIN);
}

static void a_body_may_give_up(void **state)
{
    hand h;
    (void)state;
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    h.answer = -1;
    hand_reach_body(&h, 1);
    assert_int_equal(h.outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(ehlo_client_wants(h.c), EHLO_WANT_CLOSE);
    assert_null(strstr(h.out.ptr, "DATA\r\n."));
    hand_end(&h);
}

static void a_message_may_be_cancelled_until_its_last_octet_has_left(void **state)
{
    hand h;
    size_t used;
    (void)state;
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    hand_reach_body(&h, 0);
    assert_int_equal(ehlo_transaction_push(h.t, 0, "Hello", 5, 0, &used), EHLO_OK);
    assert_int_equal(ehlo_transaction_cancel(h.t, 0), EHLO_OK);
    assert_int_equal(h.outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(ehlo_client_wants(h.c), EHLO_WANT_CLOSE);
    hand_end(&h);
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    hand_reach_body(&h, 0);
    assert_int_equal(ehlo_transaction_push(h.t, 0, "Hello", 5, 1, &used), EHLO_OK);
    assert_int_equal(ehlo_transaction_cancel(h.t, 0), EHLO_ERR_STATE);
    assert_int_equal(h.outcome, -1);
    hand_feed(&h, "250 4\r\n");
    assert_int_equal(h.outcome, EHLO_OUTCOME_DELIVERED);
    hand_end(&h);
}

static void sizes_and_spaces_are_checked(void **state)
{
    ehlo_transaction_callbacks callbacks = { .on_done = hand_done };
    hand h;
    (void)state;
    hand_open(&h, "250 mx\r\n");
    h.envelope.content = ehlo_str_from("x");
    assert_int_equal(ehlo_transaction_start(&h.t, h.transaction_mem, ehlo_transaction_size() - 1, h.c, &h.envelope,
                                            &callbacks, &h, NULL),
                     EHLO_ERR_SPACE);
    h.envelope.nrcpts = 0;
    assert_int_equal(ehlo_transaction_start(&h.t, h.transaction_mem, ehlo_transaction_size(), h.c, &h.envelope,
                                            &callbacks, &h, NULL),
                     EHLO_ERR_ARG);
    h.envelope.nrcpts = 1;
    h.envelope.body = 77;
    assert_int_equal(ehlo_transaction_start(&h.t, h.transaction_mem, ehlo_transaction_size(), h.c, &h.envelope,
                                            &callbacks, &h, NULL),
                     EHLO_ERR_ARG);
    assert_int_equal(h.out.len, 0);
    assert_int_equal(h.outcome, -1);
    hand_end(&h);
}

static void a_transaction_in_flight_is_done_at_close(void **state) /* [C240] */
{
    hand h;
    (void)state;
    hand_open(&h, "250 mx\r\n");
    h.envelope.content = ehlo_str_from("x");
    h.envelope.nrcpts = 2;
    hand_begin(&h, 0);
    hand_end(&h);
    assert_int_equal(h.outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(h.to[0].outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(h.to[1].outcome, EHLO_OUTCOME_NOT_SENT);
}

static void delivery_parameters_need_their_extensions(void **state)
{
    static const struct {
        ehlo_mail_command more;
        const char *offer;
        const char *said;
    } cases[] = {
        { { .present = EHLO_PARAM_BY, .by_mode = EHLO_BY_NOTIFY, .by_seconds = 60 }, "DELIVERBY", " BY=60;N" },
        { { .present = EHLO_PARAM_MT_PRIORITY, .mt_priority = -3 }, "MT-PRIORITY MIXER", " MT-PRIORITY=-3" },
        { { .present = EHLO_PARAM_HOLDFOR, .hold_for = 99 }, "FUTURERELEASE 1000 2030-01-01T00:00:00Z", " HOLDFOR=99" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[200];
        hand h;
        snprintf(line, sizeof line, "250-mx\r\n250 %s\r\n", cases[i].offer);
        hand_open(&h, line);
        h.envelope.more = &cases[i].more;
        h.envelope.content = ehlo_str_from("x");
        hand_begin(&h, 0);
        snprintf(line, sizeof line, "MAIL FROM:<a@x.example>%s\r\n", cases[i].said);
        assert_string_equal(h.out.ptr, line);
        hand_end(&h);
        hand_open(&h, "250 mx\r\n");
        h.envelope.more = &cases[i].more;
        h.envelope.content = ehlo_str_from("x");
        hand_begin(&h, 0);
        assert_int_equal(h.out.len, 0);
        assert_int_equal(h.outcome, EHLO_OUTCOME_REJECTED);
        assert_int_equal(h.to[0].code, 555);
        hand_end(&h);
    }
}

/* -- several messages by hand ----------------------------------------------------------------------- */

typedef struct letter {
    hand *h;
    ehlo_transaction *t;
    void *mem;
    ehlo_recipient to[2];
    ehlo_envelope envelope;
    ehlo_transaction_callbacks callbacks;
    struct letter *next; /* begins as soon as it may; or NULL */
    int outcome;         /* of on_done; -1: not yet */
} letter;

static void letter_begin(letter *l)
{
    assert_int_equal(
        ehlo_transaction_start(&l->t, l->mem, ehlo_transaction_size(), l->h->c, &l->envelope, &l->callbacks, l, NULL),
        EHLO_OK);
}

static void letter_next(ehlo_transaction *t, void *user)
{
    letter *l = user, *next = l->next;
    (void)t;
    l->next = NULL;
    if (next != NULL) letter_begin(next);
}

static void letter_done(ehlo_transaction *t, int outcome, void *user)
{
    letter *l = user;
    (void)t;
    assert_int_equal(l->outcome, -1);
    l->outcome = outcome;
}

static void letter_make(letter *l, hand *h, size_t nrcpts)
{
    memset(l, 0, sizeof *l);
    l->h = h;
    l->mem = malloc(ehlo_transaction_size());
    l->to[0].to = ehlo_str_from("b@x.example");
    l->to[1].to = ehlo_str_from("c@x.example");
    l->envelope = (ehlo_envelope){
        .from = ehlo_str_from("a@x.example"), .rcpts = l->to, .nrcpts = nrcpts, .content = ehlo_str_from("Hello\r\n")
    };
    l->callbacks = (ehlo_transaction_callbacks){ .on_next = letter_next, .on_done = letter_done };
    l->outcome = -1;
}

/* What the client says next. */
static void hand_says(hand *h, const char *text)
{
    h->out.len = 0;
    assert_int_equal(ehlo_client_flush(h->c, 0), EHLO_OK);
    assert_string_equal(h->out.ptr, text);
}

/* One is to be sent again to its second recipient; it gives up behind the second, whose envelope stands at the server. */
static void rset_is_said_although_a_message_that_waited_gave_up(void **state) /* [C65] [K13] */
{
    letter one, two, three;
    hand h;
    (void)state;
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    letter_make(&one, &h, 2);
    letter_make(&two, &h, 1);
    letter_make(&three, &h, 1);
    one.next = &two;
    letter_begin(&one);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    hand_feed(&h, "250 1\r\n250 2\r\n452 4.5.3 3\r\n354 4\r\n");
    hand_feed(&h, "250 5\r\n");
    assert_int_equal(ehlo_transaction_cancel(one.t, 0), EHLO_OK);
    hand_feed(&h, "250 6\r\n250 7\r\n451 8\r\n");
    assert_int_equal(one.to[0].outcome, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(one.outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(two.outcome, EHLO_OUTCOME_DEFERRED);
    letter_begin(&three);
    hand_says(&h, "RSET\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n");
    hand_end(&h);
    free(one.mem);
    free(two.mem);
    free(three.mem);
}

static int two_pieces(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    static char octets[5000];
    (void)t;
    (void)user;
    memset(octets, 'x', sizeof octets);
    *piece = ehlo_str_make(octets, sizeof octets);
    *last = offset > 0;
    return EHLO_OK;
}

/* The recipient is accepted while the first chunk leaves; the last follows before the first is refused. */
static void rset_follows_a_refused_chunk_although_the_last_was_out(void **state) /* [C157] */
{
    letter one, two;
    hand h;
    (void)state;
    hand_open(&h, "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    letter_make(&one, &h, 1);
    letter_make(&two, &h, 1);
    one.envelope.content = ehlo_str_make(NULL, 0);
    one.callbacks.body = two_pieces;
    h.limit = 60;
    letter_begin(&one);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    hand_feed(&h, "250 1\r\n250 2\r\n");
    h.limit = SIZE_MAX;
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_non_null(strstr(h.out.ptr, "xBDAT 5000 LAST\r\nx"));
    hand_feed(&h, "552 5.3.4 too big\r\n503 5.5.1 no\r\n");
    assert_int_equal(one.outcome, EHLO_OUTCOME_REJECTED);
    letter_begin(&two);
    hand_says(&h, "RSET\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nBDAT 7 LAST\r\nHello\r\n");
    hand_end(&h);
    free(one.mem);
    free(two.mem);
}

static void open_message(ehlo_client *c, const ehlo_reply *r, void *user)
{
    if (r != NULL && r->code == 354) *(int *)user = ehlo_client_message(c, 1, NULL, NULL);
}

static int opened;

static void envelope_by_hand(ehlo_transaction *t, void *user)
{
    static const ehlo_mail_command mail = { .mailbox = { "d@x.example", 11 } };
    static const ehlo_rcpt_command rcpt = { .mailbox = { "e@x.example", 11 } };
    letter *l = user;
    ehlo_client *c = ehlo_transaction_client(t);
    l->callbacks.on_next = NULL;
    if (opened != -1) return;
    opened = EHLO_ERR_STATE;
    assert_int_equal(ehlo_client_mail(c, &mail, NULL, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_rcpt(c, &rcpt, NULL, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_command(c, EHLO_VERB_DATA, ehlo_str_make(NULL, 0), open_message, &opened, NULL),
                     EHLO_OK);
}

/* The message waits with its second recipient while the 354 to an envelope said by hand comes: that has its body. */
static void an_envelope_by_hand_gets_its_message_while_another_waits(void **state)
{
    letter one;
    size_t used;
    hand h;
    (void)state;
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    letter_make(&one, &h, 2);
    one.callbacks.on_next = envelope_by_hand;
    opened = -1;
    letter_begin(&one);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    hand_feed(&h, "250 1\r\n250 2\r\n452 4.5.3 3\r\n354 4\r\n");
    hand_feed(&h, "250 5\r\n");
    hand_feed(&h, "250 6\r\n250 7\r\n354 8\r\n");
    assert_int_equal(opened, EHLO_OK);
    h.out.len = 0;
    assert_int_equal(ehlo_client_push(h.c, 0, "x", 1, 1, &used), EHLO_OK);
    assert_int_equal(used, 1);
    assert_memory_equal(h.out.ptr, "x\r\n.\r\n", 6);
    hand_feed(&h, "250 9\r\n");
    assert_int_equal(ehlo_client_reason(h.c), 0);
    hand_end(&h);
    assert_int_equal(one.outcome, EHLO_OUTCOME_NOT_SENT);
    free(one.mem);
}

static void rset_behind(ehlo_transaction *t, void *user)
{
    (void)user;
    assert_int_equal(
        ehlo_client_command(ehlo_transaction_client(t), EHLO_VERB_RSET, ehlo_str_make(NULL, 0), NULL, NULL, NULL),
        EHLO_OK);
}

static void chunk_behind(ehlo_transaction *t, int outcome, void *user)
{
    ((letter *)user)->outcome = outcome;
    assert_int_equal(ehlo_client_chunk(ehlo_transaction_client(t), 5, 1, 1, NULL, NULL), EHLO_OK);
}

/* LMTP, and nobody was accepted: the message is done as soon as its dot has left, while what left is still counted. */
static void a_chunk_may_be_announced_from_the_end_of_a_write(void **state) /* [K14] */
{
    letter one;
    size_t used;
    hand h;
    (void)state;
    hand_open_as(&h, EHLO_CLIENT_LMTP, "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    letter_make(&one, &h, 1);
    one.callbacks.on_next = rset_behind;
    one.callbacks.on_done = chunk_behind;
    letter_begin(&one);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    h.out.len = 0;
    hand_feed(&h, "250 1\r\n550 2\r\n354 3\r\n");
    assert_int_equal(one.outcome, EHLO_OUTCOME_REJECTED);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_int_equal(ehlo_client_push(h.c, 0, "12345", 5, 1, &used), EHLO_OK);
    assert_int_equal(used, 5);
    assert_string_equal(h.out.ptr, ".\r\nRSET\r\nBDAT 5 LAST\r\n12345");
    hand_feed(&h, "250 4\r\n250 5\r\n");
    assert_int_equal(ehlo_client_wants(h.c), EHLO_WANT_READ | EHLO_WANT_NEXT);
    hand_end(&h);
    free(one.mem);
}

static void begin_anew(ehlo_transaction *t, void *user)
{
    ehlo_client *c = ehlo_transaction_client(t);
    (void)user;
    assert_int_equal(ehlo_client_command(c, EHLO_VERB_STARTTLS, ehlo_str_make(NULL, 0), NULL, NULL, NULL),
                     EHLO_ERR_FULL);
    assert_int_equal(ehlo_client_command(c, EHLO_VERB_XCLIENT, ehlo_str_from("NAME=x"), NULL, NULL, NULL),
                     EHLO_ERR_FULL);
}

/* What the server said before TLS is forgotten, and with it the message that was to be sent once more. */
static void a_session_does_not_begin_anew_under_a_message(void **state) /* [K08] */
{
    letter one;
    hand h;
    (void)state;
    hand_open(&h, "250-mx\r\n250-PIPELINING\r\n250-XCLIENT NAME\r\n250 STARTTLS\r\n");
    letter_make(&one, &h, 2);
    one.callbacks.on_next = begin_anew;
    letter_begin(&one);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    hand_feed(&h, "250 1\r\n250 2\r\n452 4.5.3 3\r\n354 4\r\n");
    hand_feed(&h, "250 5\r\n");
    hand_feed(&h, "250 6\r\n250 7\r\n354 8\r\n");
    hand_feed(&h, "250 9\r\n");
    assert_int_equal(one.outcome, EHLO_OUTCOME_DELIVERED);
    hand_end(&h);
    free(one.mem);
}

/* -- very many recipients --------------------------------------------------------------------------- */

typedef struct accepting {
    size_t at;      /* of what the client said */
    size_t rcpts;   /* of this envelope */
    size_t most;    /* of one envelope */
    size_t batches; /* messages */
    int in_body;
} accepting;

static void accept_line(accepting *s, const char *line, peer_text *replies)
{
    if (s->in_body && line[0] != '.') return;
    size_t count = line[0] == '.' ? s->rcpts : 1;
    if (line[0] == 'R') s->rcpts++;
    if (s->rcpts > s->most) s->most = s->rcpts;
    if (line[0] == '.') s->batches++;
    if (line[0] == '.') s->rcpts = 0;
    s->in_body = line[0] == 'D';
    for (; count > 0; count--) peer_text_format(replies, s->in_body ? "354 go\r\n" : "250 ok\r\n");
}

/* An LMTP server that accepts everything, until the client has nothing to say. */
static void accept_all(accepting *s, hand *h)
{
    while (s->at < h->out.len) {
        peer_text replies = { 0 };
        const char *lf;
        while ((lf = memchr(h->out.ptr + s->at, '\n', h->out.len - s->at)) != NULL) {
            accept_line(s, h->out.ptr + s->at, &replies);
            s->at = (size_t)(lf - h->out.ptr) + 1;
        }
        if (replies.len == 0) break;
        hand_feed(h, replies.ptr);
        peer_text_free(&replies);
    }
}

/* An LMTP message has as many replies as recipients: more than can be counted are divided. */
static void more_recipients_than_replies_can_be_counted_are_divided(void **state) /* [C219] [K16] */
{
    enum { MANY = UINT16_MAX + 10 };
    ehlo_recipient *to = calloc(MANY, sizeof *to);
    accepting server = { 0 };
    hand h;
    (void)state;
    assert_non_null(to);
    for (size_t i = 0; i < MANY; i++) to[i].to = ehlo_str_from("b@x.example");
    hand_open_as(&h, EHLO_CLIENT_LMTP, "250-mx\r\n250 PIPELINING\r\n");
    h.envelope.rcpts = to;
    h.envelope.nrcpts = MANY;
    h.envelope.content = ehlo_str_from("x\r\n");
    hand_begin(&h, 0);
    accept_all(&server, &h);
    assert_int_equal(h.outcome, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(server.most, 10000);
    assert_int_equal(server.batches, 7);
    hand_end(&h);
    free(to);
}

/* Recipients on pages of their own: whoever looks at those out of reach dies on the spot. */
enum { PAGED = 400 };

typedef struct paged {
    ehlo_recipient *to;
    size_t size;
    size_t left; /* without an outcome */
    int outcome; /* of on_done; -1: not yet */
} paged;

static void paged_reach(paged *p, size_t from, int protection)
{
    assert_int_equal(mprotect((char *)p->to + from, p->size - from, protection), 0);
}

static void paged_open(paged *p)
{
    memset(p, 0, sizeof *p);
    p->size = guard_room(PAGED * sizeof *p->to);
    p->to = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p->to != MAP_FAILED);
    for (size_t i = 0; i < PAGED; i++) p->to[i].to = ehlo_str_from("b@x.example");
    p->left = PAGED;
    p->outcome = -1;
}

static void paged_rcpt(ehlo_transaction *t, size_t index, const ehlo_reply *r, void *user)
{
    paged *p = user;
    (void)t;
    (void)index;
    if (r == NULL && --p->left == 0) paged_reach(p, 0, PROT_NONE);
}

static void paged_done(ehlo_transaction *t, int outcome, void *user)
{
    paged *p = user;
    (void)t;
    p->outcome = outcome;
}

static void paged_begin(paged *p, hand *h)
{
    static const ehlo_transaction_callbacks callbacks = { .on_rcpt = paged_rcpt, .on_done = paged_done };
    h->envelope.rcpts = p->to;
    h->envelope.nrcpts = PAGED;
    h->envelope.content = ehlo_str_from("x");
    assert_int_equal(ehlo_transaction_start(&h->t, h->transaction_mem, ehlo_transaction_size(), h->c, &h->envelope,
                                            &callbacks, p, NULL),
                     EHLO_OK);
    assert_int_equal(ehlo_client_flush(h->c, 0), EHLO_OK);
}

/* A reply that ends a message costs what its own recipients cost, and not all that wait. */
static void a_batch_does_not_look_at_the_recipients_behind_it(void **state) /* [C228] */
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    paged p;
    hand h;
    (void)state;
    paged_open(&p);
    hand_open(&h, "250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=1\r\n");
    paged_begin(&p, &h);
    paged_reach(&p, page, PROT_NONE);
    for (size_t i = 0; i < 3; i++) {
        hand_feed(&h, "250 1\r\n250 2\r\n354 3\r\n");
        hand_feed(&h, "250 4\r\n");
        assert_int_equal(p.to[i].outcome, EHLO_OUTCOME_DELIVERED);
    }
    paged_reach(&p, page, PROT_READ | PROT_WRITE);
    hand_end(&h);
    assert_int_equal(p.outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(munmap(p.to, p.size), 0);
}

/* A hundred replies do not come: the first of them has told everybody. */
static void a_lost_session_goes_through_the_recipients_once(void **state) /* [C240] */
{
    paged p;
    hand h;
    (void)state;
    paged_open(&p);
    hand_open(&h, "250-mx\r\n250 PIPELINING\r\n");
    paged_begin(&p, &h);
    assert_int_equal(ehlo_client_lost(h.c), EHLO_OK);
    assert_int_equal(p.left, 0);
    assert_int_equal(p.outcome, EHLO_OUTCOME_NOT_SENT);
    hand_end(&h);
    assert_int_equal(munmap(p.to, p.size), 0);
}

/* -- all of it -------------------------------------------------------------------------------------- */

static const struct CMUnitTest by_hand[] = {
    cmocka_unit_test(each_stage_gives_its_outcome),
    cmocka_unit_test(each_stage_survives_the_end_of_the_connection),
    cmocka_unit_test(a_421_at_any_reply_defers_whoever_is_left),
    cmocka_unit_test(codes_decide_and_never_texts),
    cmocka_unit_test(names_of_outcomes_and_stages),
    cmocka_unit_test(a_message_that_never_came_to_a_transaction_is_settled),
    cmocka_unit_test(what_is_needed_and_not_offered_ends_it_before_a_word),
    cmocka_unit_test(eight_bit_octets_go_only_where_they_are_taken),
    cmocka_unit_test(parameters_say_what_the_body_is),
    cmocka_unit_test(wrong_envelopes_are_refused_with_nothing_queued),
    cmocka_unit_test(transactions_begin_only_where_next_is_wanted),
    cmocka_unit_test(bodies_arrive_as_they_are_whatever_the_manner),
    cmocka_unit_test(small_pieces_go_as_data_where_nothing_demands_bdat),
    cmocka_unit_test(large_pieces_go_as_chunks_and_cr_lf_may_be_cut_between_them),
    cmocka_unit_test(a_piece_that_ends_in_two_crs_goes_on),
    cmocka_unit_test(bare_octets_are_refused_or_turned),
    cmocka_unit_test(a_bare_octet_behind_the_354_breaks_off),
    cmocka_unit_test(a_line_that_is_too_long_is_refused),
    cmocka_unit_test(the_terminator_never_travels_alone),
    cmocka_unit_test(round_trips_are_the_least_that_the_extensions_allow),
    cmocka_unit_test(three_hundred_recipients_go_through_a_small_window),
    cmocka_unit_test(three_hundred_recipients_fill_the_block_many_times),
    cmocka_unit_test(a_drop_at_any_octet_has_the_right_outcome),
    cmocka_unit_test(octets_pushed_before_the_354_are_not_taken),
    cmocka_unit_test(an_empty_message_can_be_pushed),
    cmocka_unit_test(an_empty_last_piece_ends_a_pushed_message),
    cmocka_unit_test(a_body_may_resume_from_inside),
    cmocka_unit_test(a_body_that_is_late_has_no_deadline),
    cmocka_unit_test(a_body_may_give_up),
    cmocka_unit_test(a_message_may_be_cancelled_until_its_last_octet_has_left),
    cmocka_unit_test(sizes_and_spaces_are_checked),
    cmocka_unit_test(a_transaction_in_flight_is_done_at_close),
    cmocka_unit_test(delivery_parameters_need_their_extensions),
    cmocka_unit_test(rset_is_said_although_a_message_that_waited_gave_up),
    cmocka_unit_test(rset_follows_a_refused_chunk_although_the_last_was_out),
    cmocka_unit_test(an_envelope_by_hand_gets_its_message_while_another_waits),
    cmocka_unit_test(a_chunk_may_be_announced_from_the_end_of_a_write),
    cmocka_unit_test(a_session_does_not_begin_anew_under_a_message),
    cmocka_unit_test(more_recipients_than_replies_can_be_counted_are_divided),
    cmocka_unit_test(a_batch_does_not_look_at_the_recipients_behind_it),
    cmocka_unit_test(a_lost_session_goes_through_the_recipients_once),
};

int main(int argc, char **argv)
{
    return dialogue_main(argc, argv, "transaction", a_dialogue_holds_in_every_manner, by_hand, COUNT(by_hand));
}

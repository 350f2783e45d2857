/* How a session begins, under every policy and whatever the server does. The dialogues are run in every manner and broken
 * off at every octet; whichever they are, the harness looks at all that was said in clear, at the trace and at all
 * memory that is given back: no secret is there, and under `required` nothing but hello, STARTTLS and QUIT was said
 * (RFC 3207, RFC 4954, RFC 8314). Behind them are the mechanisms against a server that really knows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/dialogue_test.h"
#include "harness/script.h"
#include "harness/toy_crypto.h"

enum { SEEDS = 8, SWEEP_OCTETS = 1500 };

/* "\0ann\0sesame" */
#define PLAIN_ANN "AUTH PLAIN AGFubgBzZXNhbWU="
#define HELLO "C: EHLO c.example\n"

static void a_dialogue_holds_in_every_manner(void **state) /* [C234] [C235] [C238] */
{
    dialogue_must_survive(dialogue_read(*state), *state, SEEDS, SWEEP_OCTETS);
}

/* -- policies and servers --------------------------------------------------------------------------- */

static const struct policy {
    const char *name;
    int tls; /* it never goes on without; as far as there are credentials, or none */
    int tls_alone;
    int tries; /* STARTTLS where it is offered */
} policies[] = {
    { "none", 0, 0, 0 },
    { "opportunistic", 0, 0, 1 },
    { "required", 1, 1, 1 },
    { "default", 1, 0, 1 },
};

enum { NO_LOGIN, LOGIN, LOGIN_IN_CLEAR, LOGINS };

static const char *const logins[LOGINS] = {
    "",
    "login user ann\nlogin password sesame\n",
    "login user ann\nlogin password sesame\nlogin clear 1\n",
};

/* What a server does up to the reply to STARTTLS, where the session may become a secured one. */
static const struct behaviour {
    const char *name;
    const char *hello;   /* what is said to the first, and our fallback */
    int offers;          /* STARTTLS */
    int mechanism;       /* PLAIN is offered in clear */
    const char *answer;  /* to STARTTLS; NULL: the handshake */
    const char *failure; /* under `required`, in the words of the log; of all policies where it ends the session */
    int ends;            /* it ends the session */
} behaviours[] = {
    { "no STARTTLS", "S: 250-mx\nS: 250 AUTH PLAIN\n", 0, 1, NULL, "starttls not-sent none (*)", 0 },
    { "nothing", "S: 250 mx\n", 0, 0, NULL, "starttls not-sent none (*)", 0 },
    { "HELO alone", "S: 502 no\nC: HELO c.example\nS: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 0, 0, NULL,
      "starttls not-sent none (*)", 0 },
    { "a keyword that only looks like it", "S: 250-mx\nS: 250-STARTTLSX\nS: 250-XSTARTTLS\nS: 250 AUTH PLAIN\n", 0, 1,
      NULL, "starttls not-sent none (*)", 0 },
    { "STARTTLS in the first line", "S: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 0, 1, NULL, "starttls not-sent none (*)",
      0 },
    { "a hello of 235", "S: 235-2.7.0 you are in\nS: 235 AUTH PLAIN\n", 0, 1, NULL, "starttls not-sent none (*)", 0 },
    { "454", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "454 4.7.0 not now",
      "starttls deferred 454 4.7.0 not now (*)", 0 },
    { "501", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "501 what", "starttls rejected 501 - what (*)",
      0 },
    { "502", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "502 what", "starttls rejected 502 - what (*)",
      0 },
    { "530", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "530 5.7.0 first",
      "starttls rejected 530 5.7.0 first (*)", 0 },
    { "554", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "554 5.3.3 no",
      "starttls rejected 554 5.3.3 no (*)", 0 },
    { "250", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "250 fine", "starttls not-sent 250 - fine (*)",
      0 },
    { "221", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "221 fine", "starttls not-sent 221 - fine (*)",
      0 },
    { "235", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "235 2.7.0 you are in",
      "starttls not-sent 235 2.7.0 you are in (*)", 0 },
    { "334", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "334 go", "starttls not-sent none (*)", 1 },
    { "354", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "354 go", "starttls not-sent none (*)", 1 },
    { "421", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "421 4.3.2 bye",
      "starttls deferred 421 4.3.2 bye (*)", 1 },
    { "no reply", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, "22X go", "starttls not-sent none (*)", 1 },
    { "the handshake", "S: 250-mx\nS: 250 STARTTLS\n", 1, 0, NULL, NULL, 0 },
    { "the handshake, AUTH in clear too", "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n", 1, 1, NULL, NULL, 0 },
};

/* What follows where the session goes on: AUTH, or what becomes of it. */
static void add_login(peer_text *script, int login, int allowed, int offered)
{
    if (login == NO_LOGIN)
        peer_text_format(script, "E: opened \n");
    else if (allowed && offered)
        peer_text_format(script, "C: " PLAIN_ANN "\nS: 235 2.7.0 Welcome\nE: opened PLAIN\n");
    else
        peer_text_format(script, "E: failed auth not-sent none (*)\n");
}

/* Under one policy. Nothing is said behind the end but QUIT. */
static void add_rest(peer_text *script, const struct policy *policy, int login, const struct behaviour *b)
{
    int must = login == NO_LOGIN ? policy->tls_alone : policy->tls, tries = policy->tries && b->offers;
    if (tries) peer_text_format(script, "C: STARTTLS\n");
    if (tries && b->answer == NULL) {
        peer_text_format(script,
                         "S: 220 2.0.0 Go\nW: TLS !READ !WRITE !NEXT\nT: 0\n" HELLO "S: 250-mx\nS: 250 AUTH PLAIN\n");
        add_login(script, login, 1, 1);
    } else {
        if (tries) peer_text_format(script, "S: %s\n", b->answer);
        if (must || (tries && b->ends))
            peer_text_format(script, "E: failed %s\n", b->failure);
        else
            add_login(script, login, login == LOGIN_IN_CLEAR, b->mechanism);
    }
    if (strstr(script->ptr, "E: failed") != NULL) peer_text_format(script, "W: !NEXT\n");
    if (tries && b->ends) return;
    if (strstr(script->ptr, "E: failed") != NULL) {
        peer_text_format(script, "A: MAIL FROM:<a@x.example> => STATE\nA: hello => STATE\n");
    }
    peer_text_format(script, "A: QUIT\nC: QUIT\nS: 221 bye\nE: close quit\n");
}

/* [C139] [C194] [K09], CVE-2021-22946, CVE-2016-0772 */
static void no_server_talks_a_client_out_of_its_policy(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(policies) * LOGINS * COUNT(behaviours); i++) {
        const struct behaviour *b = &behaviours[i % COUNT(behaviours)];
        int login = (int)(i / COUNT(behaviours) % LOGINS);
        const struct policy *policy = &policies[i / COUNT(behaviours) / LOGINS];
        peer_text script = { 0 };
        peer_text_format(&script, "# %s: %s\nopen %s\n%sS: 220 mx\n" HELLO "%s", policy->name, b->name, policy->name,
                         logins[login], b->hello);
        add_rest(&script, policy, login, b);
        holds(script.ptr);
        peer_text_free(&script);
    }
}

/* Each of the servers, dropped at every octet. */
static void no_end_of_a_session_talks_a_client_out_of_its_policy(void **state) /* [C139] [C240] [K17] */
{
    (void)state;
    for (size_t i = 0; i < COUNT(behaviours); i++) {
        const struct policy *policy = &policies[i % 2 == 0 ? 2 : 1];
        peer_text script = { 0 };
        peer_text_format(&script, "open %s\n%sS: 220 mx\n" HELLO "%s", policy->name, logins[LOGIN],
                         behaviours[i].hello);
        add_rest(&script, policy, LOGIN, &behaviours[i]);
        dialogue_must_survive(dialogue_parse(script.ptr), script.ptr, SEEDS, SWEEP_OCTETS);
        peer_text_free(&script);
    }
}

static void inside_tls_from_the_first_octet_starttls_is_not_said(void **state) /* [C139], RFC 8314 3.3 */
{
    static const char *const hellos[] = { "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\n",
                                          "S: 250-mx\nS: 250 AUTH PLAIN\n" };
    static const char *const names[] = { "wrapped", "required", "opportunistic", "none", "default" };
    (void)state;
    for (size_t i = 0; i < COUNT(hellos) * COUNT(names) * LOGINS; i++) {
        int login = (int)(i % LOGINS);
        peer_text script = { 0 };
        peer_text_format(&script, "wrapped\nopen %s\n%sS: 220 mx\n" HELLO "%s", names[i / LOGINS % COUNT(names)],
                         logins[login], hellos[i / LOGINS / COUNT(names)]);
        add_login(&script, login, 1, 1);
        peer_text_format(&script, "K: !STARTTLS\nW: NEXT\n");
        holds(script.ptr);
        peer_text_free(&script);
    }
}

/* -- the greeting and hello ------------------------------------------------------------------------- */

static void a_refusal_at_the_door_is_the_messages_outcome(void **state) /* [C24] [C139] [K09] [K15] */
{
    static const char *const rows[][2] = {
        { "S: 421 4.3.2 later\n", "failed greeting deferred 421 4.3.2 later (*)" },
        { "S: 450 no\n", "failed greeting deferred 450 - no (*)" },
        { "S: 521 no mail\nA: QUIT\nC: QUIT\n", "failed greeting rejected 521 - no mail (*)" },
        { "S: 554 5.7.1 no\nA: hello => STATE\nA: QUIT\nC: QUIT\n", "failed greeting rejected 554 5.7.1 no (*)" },
        { "S: 354 go\n", "failed greeting not-sent none (*)" },
        { "S: +OK POP3\n", "failed greeting not-sent none (*)" },
        { "Z: eof\n", "failed greeting not-sent none (*)" },
        { "Z: lost\n", "failed greeting not-sent none (*)" },
        { "P: 300000\n", "failed greeting not-sent none (*)" },
        { "S: 220 mx\n" HELLO "S: 421 4.3.2 later\n", "failed hello deferred 421 4.3.2 later (*)" },
        { "S: 220 mx\n" HELLO "S: 451 later\nA: QUIT\nC: QUIT\n", "failed hello deferred 451 - later (*)" },
        { "S: 220 mx\n" HELLO "S: 554 5.7.1 no\nA: QUIT\nC: QUIT\n", "failed hello rejected 554 5.7.1 no (*)" },
        { "S: 220 mx\n" HELLO "S: 502 what\nC: HELO c.example\nS: 550 5.7.1 no\n",
          "failed hello rejected 550 5.7.1 no (*)" },
        { "S: 220 mx\n" HELLO "S: 334 what\n", "failed hello not-sent none (*)" },
        { "S: 220 mx\n" HELLO "S: 250-mx\\r\\n251 AUTH PLAIN\n", "failed hello not-sent none (*)" },
        { "S: 220 mx\n" HELLO "Z: eof\n", "failed hello not-sent none (*)" },
        { "S: 220 mx\n" HELLO "P: 300000\n", "failed hello not-sent none (*)" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows) * COUNT(policies); i++) {
        size_t row = i / COUNT(policies);
        holds_with("open %s\n%s%sE: %s\nN: opened *\n", policies[i % COUNT(policies)].name, logins[LOGIN], rows[row][0],
                   rows[row][1]);
    }
}

static void lmtp_has_no_hello_to_fall_back_to(void **state) /* [C216] */
{
    (void)state;
    holds("set flags LMTP\nopen required\nS: 220 mx\nC: LHLO c.example\nS: 500 what\nE: failed hello rejected 500 *\n");
    holds("set flags LMTP\nopen required\nS: 220 mx\nC: LHLO c.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: "
          "220 go\n"
          "T: 0\nC: LHLO c.example\nS: 250 mx\nE: opened \n");
}

/* -- STARTTLS --------------------------------------------------------------------------------------- */

#define TO_STARTTLS "S: 220 mx\n" HELLO "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\nC: STARTTLS\n"

/* [C210] [K08] [T07], CVE-2021-22947: a part of a line, a line, several; in the same octets, or in those that come next. */
static void clear_text_behind_the_220_ends_it_wherever_it_is_cut(void **state)
{
    static const char *const injected[] = {
        "250-SMTPUTF8 INJECTED ",
        "235 2.7.0 ok\\r\\n250 ok\\r\\n",
        "250-mx\\r\\n250 AUTH PLAIN\\r\\n235 2.7.0 ok\\r\\n",
        "220 mx\\r\\n",
        "\\r\\n",
        "\\x16\\x03\\x03\\0",
    };
    static const char *const names[] = { "required", "opportunistic", "default" };
    (void)state;
    for (size_t i = 0; i < COUNT(injected); i++) {
        peer_text octets = { 0 };
        script_unescape(injected[i], &octets);
        for (size_t len = 1; len <= octets.len; len++) {
            char part[400] = "";
            for (size_t n = 0; n < len; n++) sprintf(part + 4 * n, "\\x%02X", (unsigned char)octets.ptr[n]);
            const char *name = names[len % COUNT(names)];
            holds_with("open %s\n%s" TO_STARTTLS "S: 220 go\\r\\n%s\\\nW: TLS !READ\nT: 0\nW: CLOSE !TLS\n"
                       "E: failed starttls not-sent none (*)\nE! close protocol *\nN: opened *\n",
                       name, logins[LOGIN], part);
            holds_with("open %s\n%s" TO_STARTTLS "S: 220 go\nS: %s\\\nT: 0\nE: failed starttls not-sent none (*)\n",
                       name, logins[LOGIN], part);
            holds_with("open %s\n%s" TO_STARTTLS
                       "S: 220-we\\r\\n220 go\nT: %zu\nE: failed starttls not-sent none (*)\n",
                       name, logins[LOGIN], len);
        }
        peer_text_free(&octets);
    }
}

/* Replies that a man in the middle has put there for commands that are still to come: those to hello inside TLS. */
static void clear_text_behind_a_refusal_ends_it(void **state) /* [K08], curl's 454 with 235 and 250 behind it */
{
    static const char *const names[] = { "required", "default", "opportunistic" };
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        talk_mode mode = { .name = "whole, inside", .inside = 1 };
        peer_text script = { 0 };
        peer_text_format(&script, "open %s\n%s" TO_STARTTLS "S: 454 no\\r\\n235 2.7.0 ok\\r\\n250 ok\n", names[i],
                         logins[LOGIN]);
        dialogue *d = dialogue_parse(script.ptr);
        talk *t = talk_run(d, &mode);
        assert_string_equal(t->fault, "");
        assert_null(strstr(t->log.ptr, "opened"));
        assert_non_null(strstr(t->log.ptr, "close protocol"));
        talk_free(t);
        dialogue_free(d);
        peer_text_free(&script);
    }
}

static void a_handshake_that_fails_leaves_nothing_to_fall_back_to(void **state) /* [C139] */
{
    static const char *const ends[][2] = { { "Z: lost", "lost" }, { "Z: eof", "eof" }, { "P: 60000", "timeout" } };
    (void)state;
    for (size_t i = 0; i < COUNT(policies) * COUNT(ends); i++) {
        const struct policy *policy = &policies[i % COUNT(policies)];
        if (!policy->tries) continue;
        holds_with("open %s\n%s" TO_STARTTLS
                   "S: 220 go\nW: TLS\n%s\nE: failed starttls not-sent none (*)\nE! close %s *\n"
                   "W: CLOSE\nA: hello => STATE\n",
                   policy->name, logins[LOGIN], ends[i / COUNT(policies)][0], ends[i / COUNT(policies)][1]);
    }
}

#define INTO_TLS TO_STARTTLS "S: 220 go\nT: 0\n" HELLO

static void only_what_is_offered_inside_tls_counts(void **state) /* [C211] [K10] [T07] */
{
    static const char *const rows[][2] = {
        { "S: 250 mx\n", "failed auth not-sent none (*)" },
        { "S: 250-mx\nS: 250 AUTH\n", "failed auth not-sent none (*)" },
        { "S: 250-mx\nS: 250 AUTH CRAM-MD5 ANONYMOUS NTLM DIGEST-MD5\n", "failed auth not-sent none (*)" },
        { "S: 250-mx\nS: 250 AUTH XOAUTH2 OAUTHBEARER SCRAM-SHA-1\n", "failed auth not-sent none (*)" },
        { "S: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAINX\n", "failed auth not-sent none (*)" },
        { "S: 502 what\nC: HELO c.example\nS: 250-mx\nS: 250 AUTH PLAIN\n", "failed auth not-sent none (*)" },
        { "S: 554 5.7.1 no\n", "failed hello rejected 554 5.7.1 no (*)" },
        { "S: 421 4.3.2 bye\n", "failed hello deferred 421 4.3.2 bye (*)" },
        { "Z: eof\n", "failed hello not-sent none (*)" },
        { "S: 250-mx\nS: 250 AUTH=PLAIN\nC: " PLAIN_ANN "\nS: 235 ok\n", "opened PLAIN" },
        { "S: 250-mx\nS: 250 AUTH LOGIN PLAIN\nC: " PLAIN_ANN "\nS: 235 ok\n", "opened PLAIN" },
        { "S: 250-mx\nS: 250 AUTH LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YW5u\nS: 334 UGFzc3dvcmQ6\nC: "
          "c2VzYW1l\n"
          "S: 235 ok\n",
          "opened LOGIN" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        holds_with("open %s\n%s" INTO_TLS "%sE: %s\n", i % 2 ? "required" : "opportunistic", logins[LOGIN], rows[i][0],
                   rows[i][1]);
    }
}

/* Whoever is in between has a certificate, too: TLS with anybody is as good as none. */
static void a_secret_is_not_shown_to_a_server_that_is_not_verified(void **state) /* [C194], RFC 8314 */
{
    static const char *const policies_with_tls[] = { "opportunistic", "required" };
    (void)state;
    for (size_t i = 0; i < 2 * LOGINS; i++) {
        int login = (int)(i / 2);
        peer_text script = { 0 };
        peer_text_format(&script,
                         "unverified\nopen %s\n%sS: 220 mx\n" HELLO "S: 250-mx\nS: 250 STARTTLS\n"
                         "C: STARTTLS\nS: 220 go\nT: 0\n" HELLO "S: 250-mx\nS: 250 AUTH LOGIN PLAIN\n",
                         policies_with_tls[i % 2], logins[login]);
        add_login(&script, login, login == LOGIN_IN_CLEAR, 1);
        peer_text_format(&script, "A: QUIT\nC: QUIT\nS: 221 bye\n");
        holds(script.ptr);
        peer_text_free(&script);
    }
}

static void weaker_mechanisms_than_the_policy_allows_are_not_used(void **state) /* [K10] [C194] */
{
    (void)state;
    holds_with("open required\n%slogin mechanisms SCRAM-SHA-256|SCRAM-SHA-1\n" INTO_TLS "S: 250-mx\n"
               "S: 250 AUTH PLAIN LOGIN CRAM-MD5\nE: failed auth not-sent none (*)\nA: QUIT\nC: QUIT\nS: 221 bye\n",
               logins[LOGIN]);
    holds_with("open required\n%slogin mechanisms LOGIN\n" INTO_TLS "S: 250-mx\nS: 250 AUTH PLAIN\n"
               "E: failed auth not-sent none (*)\n",
               logins[LOGIN]);
    /* Nobody's certificate is seen in clear. */
    holds("open opportunistic\nlogin user ann\nS: 220 mx\n" HELLO "S: 250-mx\nS: 250 AUTH EXTERNAL\n"
          "E: failed auth not-sent none (*)\n");
    /* All of them show the secret: none is used in clear, though it is all that is offered. */
    static const char *const shown[] = { "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER" };
    for (size_t i = 0; i < COUNT(shown); i++) {
        holds_with("open opportunistic\n%slogin token t0k3n-of-ann\nS: 220 mx\n" HELLO "S: 250-mx\nS: 250 AUTH %s\n"
                   "E: failed auth not-sent none (*)\nA: QUIT\nC: QUIT\nS: 221 bye\n",
                   logins[LOGIN], shown[i]);
    }
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

/* Inside TLS, with these mechanisms offered. */
#define OFFERED(mechanisms) INTO_TLS "S: 250-mx\nS: 250 AUTH " mechanisms "\n"
#define PLAIN_SAID OFFERED("PLAIN") "C: " PLAIN_ANN "\n"

static void the_reply_to_auth_is_the_messages_outcome(void **state) /* [C139] [C191] [K15] */
{
    static const char *const rows[][2] = {
        { "432 4.7.12 a password transition is needed", "deferred 432 4.7.12 a password*" },
        { "454 4.7.0 not now", "deferred 454 4.7.0 not now" },
        { "450 later", "deferred 450 - later" },
        { "500 what", "rejected 500 - what" },
        { "500 5.5.6 too long", "rejected 500 5.5.6 too long" },
        { "501 5.5.2 malformed", "rejected 501 5.5.2 malformed" },
        { "503 5.5.1 no", "rejected 503 5.5.1 no" },
        { "504 5.5.4 unknown", "rejected 504 5.5.4 unknown" },
        { "530 5.7.0 first", "rejected 530 5.7.0 first" },
        { "534 5.7.9 too weak", "rejected 534 5.7.9 too weak" },
        { "535-5.7.8 who\\r\\n535 5.7.8 are you", "rejected 535 5.7.8 who|are you" },
        { "538 5.7.11 encrypt", "rejected 538 5.7.11 encrypt" },
        { "250 ok", "not-sent 250 - ok" },
        { "220 ok", "not-sent 220 - ok" },
        { "236 2.7.0 nearly", "not-sent 236 2.7.0 nearly" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        holds_with("open required\n%s" PLAIN_SAID "S: %s\nE: failed auth %s (*)\nW: !CLOSE\n"
                   "A: QUIT\nC: QUIT\nS: 221 bye\nE: close quit\n",
                   logins[LOGIN], rows[i][0], rows[i][1]);
    }
    holds_with("open required\n%s" PLAIN_SAID "S: 421 4.7.0 too many\n"
               "E: failed auth deferred 421 4.7.0 too many (*)\nE! close refused*\n",
               logins[LOGIN]);
    holds_with("open required\n%s" PLAIN_SAID "S: 354 go\nE: failed auth not-sent none (*)\nW: CLOSE\n", logins[LOGIN]);
    holds_with("open required\n%s" PLAIN_SAID "P: 300000\nE: failed auth not-sent none (*)\n", logins[LOGIN]);
}

static void what_a_mechanism_does_not_expect_is_cancelled(void **state) /* [C195] [K11] */
{
    static const char *const challenges[] = {
        "334",
        "334 ",
        "334 !!!",
        "334 =",
        "334 VXNlcm5hbWU6",
        "334 A",
        "334 AA=A",
        "334 \\[12000:A]",
        "334-eA==\\r\\n334 eA==",
        "334 TlRMTVNTUAACAAAAAAAAAAAAAAAoAAABAAAAAAAAAAA=",
        "334 \\xC3\\xBC",
    };
    static const char *const verdicts[] = { "501 5.7.0 cancelled", "500 what", "235 2.7.0 ok",
                                            "454 4.7.0 no",        "334 eA==", "421 4.7.0 bye" };
    (void)state;
    for (size_t i = 0; i < COUNT(challenges); i++) {
        holds_with("open required\n%s" OFFERED(
                       "PLAIN") "C: " PLAIN_ANN "\nS: %s\nC: *\nS: 501 5.7.0 cancelled\n"
                                "E: failed auth not-sent none (*)\nA: QUIT\nC: QUIT\nS: 221 bye\nE: close quit\n",
                   logins[LOGIN], challenges[i]);
    }
    for (size_t i = 0; i < COUNT(verdicts); i++) {
        holds_with("open required\n%s" PLAIN_SAID "S: 334 eA==\nC: *\nS: %s\n"
                   "E: failed auth not-sent none (*)\nN: opened *\n",
                   logins[LOGIN], verdicts[i]);
    }
    holds_with("open required\n%s" PLAIN_SAID "S: 334 eA==\nC: *\nS: 334 eA==\nW: CLOSE\n", logins[LOGIN]);
    holds_with("open required\n%s" OFFERED("LOGIN") "C: AUTH LOGIN\nS: 334-VXNlcm5hbWU6\\r\\n334 VXNlcm5hbWU6\nC: *\n"
                                                    "S: 501 no\nE: failed auth not-sent none (*)\n",
               logins[LOGIN]);
    holds_with("open required\n%s" PLAIN_SAID "S: 334 \\[17000:A]\nE: failed auth not-sent none (*)\n"
               "E! close limit*\n",
               logins[LOGIN]);
}

/* The harness would take a thousand as well: the client does not. */
static void challenges_without_end_are_cancelled(void **state) /* [K11] */
{
    (void)state;
    holds_with("open required\n%s" OFFERED("LOGIN") "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YW5u\nS: 334 UGFzc3dvcmQ6\n"
                                                    "C: c2VzYW1l\nS: 334 VXNlcm5hbWU6\nC: *\nS: 501 5.7.0 "
                                                    "cancelled\nE: failed auth not-sent none (*)\n",
               logins[LOGIN]);
    holds("open required\nlogin user ann\nlogin token t0k3n-of-ann\n" OFFERED(
        "XOAUTH2") "C: AUTH XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgdDBrM24tb2YtYW5uAQE=\nS: 334 "
                   "eyJzdGF0dXMiOiI0MDEifQ==\nC: \n"
                   "S: 334 eyJzdGF0dXMiOiI0MDEifQ==\nC: *\nS: 501 no\nE: failed auth not-sent none (*)\n");
}

/* RFC 7628 3.2.3: a client that was refused says one octet, 1, before it is told so. */
static void a_token_that_is_refused_is_acknowledged(void **state) /* [C204] */
{
    (void)state;
    holds("open required\nlogin user ann\nlogin token t0k3n-of-ann\n" OFFERED(
        "OAUTHBEARER") "C: AUTH OAUTHBEARER bixhPWFubiwBYXV0aD1CZWFyZXIgdDBrM24tb2YtYW5uAQE=\n"
                       "S: 334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\nC: AQ==\nS: 535 5.7.8 no\nE: failed auth rejected "
                       "535 5.7.8 no (*)\n");
}

static void success_is_believed_only_at_its_time(void **state) /* [K12] */
{
    (void)state;
    holds_with(
        "open required\n%s" OFFERED("LOGIN") "C: AUTH LOGIN\nS: 235 2.7.0 ok\nE: failed auth not-sent none (*)\n",
        logins[LOGIN]);
    holds_with("open required\n%s" OFFERED("LOGIN") "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YW5u\nS: 235 2.7.0 ok\n"
                                                    "E: failed auth not-sent none (*)\n",
               logins[LOGIN]);
}

/* -- long lines ------------------------------------------------------------------------------------- */

/* "user=ann^Aauth=Bearer " are 21 octets, seven groups of base64; "x" thrice is eHh4. */
#define BEARER_ANN "dXNlcj1hbm4BYXV0aD1CZWFyZXIg"

/* [C196]: "AUTH XOAUTH2 " and CRLF leave 497 digits, of which 496 are whole groups. */
static void an_initial_response_keeps_to_the_command_line(void **state)
{
    (void)state;
    for (int groups = 110; groups < 120; groups++) {
        int digits = 28 + 4 * groups + 4, fits = 13 + digits + 2 <= 512;
        peer_text script = { 0 };
        peer_text_format(&script, "open required\nlogin user ann\nlogin token \\[%d:x]\n" OFFERED("XOAUTH2"),
                         3 * groups);
        if (!fits) peer_text_format(&script, "C: AUTH XOAUTH2\nS: 334 \n");
        peer_text_format(&script, "C: %s" BEARER_ANN "\\[%d:eHh4]AQE=\nS: 235 ok\nE: opened XOAUTH2\n",
                         fits ? "AUTH XOAUTH2 " : "", groups);
        holds(script.ptr);
        peer_text_free(&script);
    }
}

/* Of 9,000 octets: a larger block is lent for it, or out_max has room. */
static void a_long_token_leaves_where_there_is_room(void **state) /* [C196] */
{
    static const char *const rooms[] = { "lend always\n", "lend never\nset out_max 12288\n", "set out_max 16384\n" };
    (void)state;
    for (size_t i = 0; i < COUNT(rooms); i++) {
        holds_with("%sopen required\nlogin user ann\nlogin token \\[9000:x]\n" OFFERED(
                       "XOAUTH2") "C: AUTH XOAUTH2\nS: 334 \nC: " BEARER_ANN
                                  "\\[3000:eHh4]AQE=\nS: 235 ok\nE: opened XOAUTH2\n"
                                  "A: NOOP\nC: NOOP\nS: 250 ok\n",
                   rooms[i]);
    }
}

/* A server that challenges with anything but nothing has not asked for the initial response. */
static void a_response_that_waits_is_not_given_to_a_challenge(void **state) /* [C195] [C196] */
{
    (void)state;
    holds("open required\nlogin user ann\nlogin token \\[600:x]\n" OFFERED(
        "XOAUTH2") "C: AUTH XOAUTH2\nS: 334 eA==\nC: *\nS: 501 no\nE: failed auth not-sent none (*)\n");
}

static void a_token_without_room_fails_clearly(void **state) /* [C196] */
{
    (void)state;
    holds("lend never\nopen required\nlogin user ann\nlogin token \\[9000:x]\n" OFFERED(
        "XOAUTH2") "C: AUTH XOAUTH2\nS: 334 \nC: *\nS: 501 no\nE: failed auth not-sent none (*)\nA: QUIT\nC: QUIT\nS: "
                   "221 bye\n");
    holds("lend always\nopen required\nlogin user ann\nlogin token \\[9300:x]\n" OFFERED(
        "XOAUTH2") "C: AUTH XOAUTH2\nS: 334 \nC: *\nS: 501 no\nE: failed auth not-sent none (*)\nA: QUIT\nC: QUIT\nS: "
                   "221 bye\n");
}

/* -- a server that knows the mechanisms ------------------------------------------------------------- */

/* What it says instead of the truth. */
typedef enum twist {
    HONEST,
    SIGNS_WRONG,
    SIGNS_NOTHING,
    SAYS_E,
    SUCCEEDS_AT_ONCE,
    ASKS_FOR_NO_ITERATIONS,
    ASKS_FOR_ONE_ITERATION,
    ASKS_FOR_MANY_ITERATIONS,
    HAS_NO_SALT,
    HAS_A_NONCE_OF_ITS_OWN,
    EXTENDS,
    REPEATS_ITSELF
} twist;

typedef struct login_row {
    const char *name;
    const char *offered;
    uint32_t mechanism; /* that is to be used */
    twist twist;
    int wrong;          /* the secret is */
    int clear;          /* outside TLS */
    uint32_t alone;     /* ehlo_credentials.mechanisms */
    const char *secret; /* 't' a token, 'b' both, 'n' none; NULL: the password */
} login_row;

typedef struct wire {
    const login_row *row;
    int cut; /* PEER_WHOLE, PEER_BYTES, PEER_RANDOM */
    uint32_t random;
    size_t write_max; /* 0: all */
    int lender;

    ehlo_client *client;
    void *mem, *opening;
    size_t size, opening_size;
    ehlo_credentials credentials;
    ehlo_crypto crypto;
    ehlo_tls_facts facts;
    unsigned drawn, lent;
    peer_text out, in, trace;
    size_t offered; /* octets of `in` that the client was shown */
    size_t clear;   /* octets of `out` outside TLS */
    unsigned opened;
    ehlo_stage stage;
    ehlo_outcome outcome;
    uint32_t mechanism;
    int code;
    const char *fault;

    size_t heard; /* of `out`, by the server */
    int tls;
    ehlo_sasl_server *exchange;
    void *exchange_mem;
    ehlo_sasl_server_config config;
    unsigned challenges;
    unsigned cancels;
    unsigned auths;
    unsigned mails;
} wire;

static const char password[] = "sesame open, said ann";
static const char token[] = "ya29.a-token-of-ann-and-nobody-else";

static void must_hide(wire *w, const char *where, const void *octets, size_t len)
{
    if (talk_shows(octets, len, ehlo_str_from(password)) || talk_shows(octets, len, ehlo_str_from(token)))
        w->fault = where;
}

static void say(wire *w, const char *line)
{
    peer_text_format(&w->in, "%s\r\n", line);
}

/* "r=...,s=...,i=..." with one of them replaced, by its letter. */
static void replace_member(peer_text *challenge, char letter, const char *value)
{
    peer_text copy = { 0 };
    for (const char *at = challenge->ptr; *at != '\0';) {
        size_t len = strcspn(at, ",");
        if (*at == letter)
            peer_text_format(&copy, "%c=%s", letter, value);
        else
            peer_text_add(&copy, at, len);
        at += len + (at[len] == ',');
        if (*at != '\0') peer_text_add(&copy, ",", 1);
    }
    peer_text_free(challenge);
    *challenge = copy;
}

static void twist_first(twist t, peer_text *challenge)
{
    if (t == ASKS_FOR_NO_ITERATIONS) replace_member(challenge, 'i', "0");
    if (t == ASKS_FOR_ONE_ITERATION) replace_member(challenge, 'i', "1");
    if (t == ASKS_FOR_MANY_ITERATIONS) replace_member(challenge, 'i', "2147483648");
    if (t == HAS_NO_SALT) replace_member(challenge, 's', "");
    if (t == HAS_A_NONCE_OF_ITS_OWN) replace_member(challenge, 'r', "another-nonce-of-the-same-length-as-it");
    if (t == EXTENDS) peer_text_add(challenge, ",m=x", 4);
    if (t == EXTENDS) replace_member(challenge, 'r', "m=x");
}

static void twist_final(twist t, peer_text *challenge)
{
    if (t == SIGNS_WRONG) challenge->ptr[2] = challenge->ptr[2] == 'A' ? 'B' : 'A';
    if (t == SAYS_E) {
        challenge->len = 0;
        peer_text_format(challenge, "e=invalid-proof");
    }
}

static void say_challenge(wire *w, ehlo_str octets)
{
    peer_text challenge = { 0 };
    char digits[2048];
    size_t len;
    peer_text_add(&challenge, octets.ptr, octets.len);
    w->challenges++;
    if (w->challenges == 1 && octets.len > 0) twist_first(w->row->twist, &challenge);
    if (w->challenges == 2) twist_final(w->row->twist, &challenge);
    ehlo_str twisted = ehlo_str_make(challenge.ptr, challenge.len);
    assert_int_equal(ehlo_base64_encode(twisted, digits, sizeof digits, &len), EHLO_OK);
    peer_text_format(&w->in, "334 %.*s\r\n", (int)len, digits);
    peer_text_free(&challenge);
}

static int is_right(const wire *w)
{
    ehlo_str secret = ehlo_sasl_server_secret(w->exchange);
    const char *wanted =
        ehlo_sasl_server_mechanism(w->exchange) & (EHLO_SASL_XOAUTH2 | EHLO_SASL_OAUTHBEARER) ? token : password;
    if (ehlo_sasl_server_mechanism(w->exchange) & (EHLO_SASL_EXTERNAL | EHLO_SASL_ANONYMOUS)) return !w->row->wrong;
    return !w->row->wrong && ehlo_secret_equal(secret, ehlo_str_from(wanted));
}

/* What is stored for ann. */
static void stored_keys(wire *w, ehlo_scram_keys *keys)
{
    uint32_t sha_1 = EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_1_PLUS;
    ehlo_hash hash = ehlo_sasl_server_mechanism(w->exchange) & sha_1 ? EHLO_HASH_SHA_1 : EHLO_HASH_SHA_256;
    ehlo_str stored = ehlo_str_from(w->row->wrong ? "another password" : password);
    assert_int_equal(ehlo_scram_derive(&w->crypto, hash, stored, ehlo_str_from("salt of ann"), 4096, keys), EHLO_OK);
}

static ehlo_sasl_step decide(wire *w, ehlo_sasl_step step, ehlo_str *challenge)
{
    ehlo_scram_keys keys;
    if (step == EHLO_SASL_NEED_VERDICT) return ehlo_sasl_server_verdict(w->exchange, is_right(w), challenge);
    if (step == EHLO_SASL_NEED_PASSWORD) {
        ehlo_str stored = ehlo_str_from(w->row->wrong ? "another" : password);
        return ehlo_sasl_server_password(w->exchange, stored, challenge);
    }
    if (step != EHLO_SASL_NEED_KEYS) return step;
    stored_keys(w, &keys);
    return ehlo_sasl_server_keys(w->exchange, &keys, challenge);
}

static void end_exchange(wire *w)
{
    ehlo_sasl_server_end(w->exchange);
    w->exchange = NULL;
}

static void take_response(wire *w, ehlo_str response)
{
    ehlo_str challenge = { NULL, 0 };
    ehlo_reply reply = { 0 };
    ehlo_sasl_step step = decide(w, ehlo_sasl_server_step(w->exchange, response, &challenge), &challenge);
    int skips = w->row->twist == SIGNS_NOTHING && w->challenges == 1;
    if (step == EHLO_SASL_CHALLENGE && !skips) {
        say_challenge(w, challenge);
        return;
    }
    if (skips) step = EHLO_SASL_ACCEPTED;
    if (w->row->twist == REPEATS_ITSELF) {
        say(w, "334 VXNlcm5hbWU6");
        return;
    }
    ehlo_sasl_reply((int)step, challenge, &reply);
    peer_text_format(&w->in, "%u %u.%u.%u said\r\n", reply.code, reply.enhanced[0], reply.enhanced[1],
                     reply.enhanced[2]);
    end_exchange(w);
}

static void hear_auth(wire *w, char *argument)
{
    char *response = strchr(argument, ' ');
    ehlo_str initial = { NULL, 0 };
    w->auths++;
    if (response != NULL) {
        *response++ = '\0';
        initial = ehlo_str_from(strcmp(response, "=") == 0 ? "" : response);
    }
    if (w->row->twist == SUCCEEDS_AT_ONCE) {
        say(w, "235 2.7.0 ok");
        return;
    }
    w->config.facts = w->tls ? &w->facts : NULL;
    w->config.crypto = &w->crypto;
    w->config.offered = ehlo_client_offers(w->client)->mechanisms;
    assert_int_equal(ehlo_sasl_server_start(&w->exchange, w->exchange_mem, ehlo_sasl_server_size(0),
                                            ehlo_sasl_find(ehlo_str_from(argument)), &w->config),
                     EHLO_OK);
    take_response(w, initial);
}

static void hear_line(wire *w, char *line)
{
    if (strcmp(line, "*") == 0) {
        w->cancels++;
        say(w, "501 5.7.0 cancelled");
    } else if (w->exchange != NULL) {
        take_response(w, ehlo_str_from(line));
    } else if (strncmp(line, "EHLO ", 5) == 0) {
        say(w, "250-mx");
        if (!w->tls && !w->row->clear) say(w, "250-STARTTLS");
        peer_text_format(&w->in, "250 %s%s\r\n", w->tls || w->row->clear ? "AUTH " : "X", w->row->offered);
    } else if (strcmp(line, "STARTTLS") == 0) {
        say(w, "220 go");
    } else if (strncmp(line, "AUTH ", 5) == 0) {
        hear_auth(w, line + 5);
    } else {
        w->mails++;
        say(w, "500 what");
    }
}

/* 1 if it heard anything. */
static int hear(wire *w)
{
    int heard = 0;
    char *end;
    while (w->heard < w->out.len && (end = strstr(w->out.ptr + w->heard, "\r\n")) != NULL) {
        peer_text line = { 0 };
        peer_text_add(&line, w->out.ptr + w->heard, (size_t)(end - w->out.ptr) - w->heard);
        w->heard = (size_t)(end - w->out.ptr) + 2;
        hear_line(w, line.ptr);
        peer_text_free(&line);
        heard = 1;
    }
    return heard;
}

/* -- the client of that server ---------------------------------------------------------------------- */

static int on_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    wire *w = user;
    size_t left = w->write_max > 0 ? w->write_max : SIZE_MAX;
    (void)c;
    *taken = 0;
    for (size_t i = 0; i < n && left > 0; i++) {
        size_t len = parts[i].len < left ? parts[i].len : left;
        peer_text_add(&w->out, parts[i].ptr, len);
        *taken += len;
        left -= len;
    }
    if (!w->tls) w->clear = w->out.len;
    return EHLO_OK;
}

static void on_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *user)
{
    wire *w = user;
    (void)c, (void)secret;
    if (direction == EHLO_TRACE_OUT && bytes.ptr != NULL) peer_text_add(&w->trace, bytes.ptr, bytes.len);
}

static void *lend(size_t len, void *ctx)
{
    wire *w = ctx;
    void *mem = calloc(1, len);
    assert_non_null(mem);
    w->lent++;
    return mem;
}

static void give(void *mem, size_t len, void *ctx)
{
    wire *w = ctx;
    must_hide(w, "a block that is given back", mem, len);
    free(mem);
    w->lent--;
}

/* What SCRAM derives from the password is as good as that. */
static int holds_derived(const wire *w)
{
    static const ehlo_hash hashes[] = { EHLO_HASH_SHA_1, EHLO_HASH_SHA_256 };
    for (size_t i = 0; i < COUNT(hashes); i++) {
        uint8_t salted[EHLO_HASH_MAX];
        w->crypto.pbkdf2(NULL, hashes[i], ehlo_str_from(password), ehlo_str_from("salt of ann"), 4096, salted);
        size_t size = toy_octets(hashes[i]);
        for (size_t at = 0; at + size <= w->opening_size; at++) {
            if (memcmp((char *)w->opening + at, salted, size) == 0) return 1;
        }
    }
    return 0;
}

static void on_opened(ehlo_client *c, const ehlo_opened *opened, void *user)
{
    wire *w = user;
    w->opened++;
    w->stage = opened->stage;
    w->outcome = opened->outcome;
    w->mechanism = opened->mechanism;
    w->code = opened->reply != NULL ? opened->reply->code : 0;
    must_hide(w, "the memory of the opening", w->opening, w->opening_size);
    if (holds_derived(w)) w->fault = "keys in the memory of the opening";
    if (ehlo_client_reason(c) == 0) must_hide(w, "the session", w->mem, w->size);
    free(w->opening);
    w->opening = NULL;
}

static void fill_credentials(wire *w)
{
    const char *kind = w->row->secret != NULL ? w->row->secret : "p";
    w->crypto = toy_crypto(&w->drawn);
    w->credentials.user = ehlo_str_from("ann");
    if (kind[0] == 'p' || kind[0] == 'b') w->credentials.password = ehlo_str_from(password);
    if (kind[0] == 't' || kind[0] == 'b') w->credentials.token = ehlo_str_from(token);
    w->credentials.mechanisms = w->row->alone;
    w->credentials.crypto = &w->crypto;
    w->facts = (ehlo_tls_facts){ .version = ehlo_str_from("TLSv1.3"),
                                 .peer_verified = 1,
                                 .peer_subject = ehlo_str_from("CN=ann"),
                                 .exporter = ehlo_str_from("exported octets, of which 32 are"),
                                 .end_point = ehlo_str_from("the hash of the certificate of m") };
    w->config.hostname = ehlo_str_from("mx.example");
}

static void start(wire *w)
{
    static const ehlo_client_callbacks callbacks = { .write = on_write, .on_trace = on_trace };
    ehlo_client_config config = { .name = ehlo_str_from("c.example") };
    fill_credentials(w);
    ehlo_opening_config opening = { .tls = w->row->clear ? EHLO_TLS_OPPORTUNISTIC : EHLO_TLS_REQUIRED,
                                    .credentials = &w->credentials };
    if (w->lender) config.lender = (ehlo_lender){ lend, give, w };
    w->size = ehlo_client_size(&config);
    w->mem = calloc(1, w->size);
    w->opening_size = ehlo_opening_size(&opening);
    w->opening = calloc(1, w->opening_size);
    w->exchange_mem = malloc(ehlo_sasl_server_size(0));
    assert_true(w->mem != NULL && w->opening != NULL && w->exchange_mem != NULL);
    assert_int_equal(ehlo_client_init(&w->client, w->mem, w->size, &config, &callbacks, w), EHLO_OK);
    assert_int_equal(ehlo_opening_start(w->opening, w->opening_size - 1, w->client, 0, &opening, on_opened, w),
                     EHLO_ERR_SPACE);
    assert_int_equal(ehlo_opening_start(w->opening, w->opening_size, w->client, 0, &opening, on_opened, w), EHLO_OK);
    assert_int_equal(ehlo_opening_start(w->opening, w->opening_size, w->client, 0, &opening, on_opened, w),
                     EHLO_ERR_STATE);
    peer_text_add(&w->out, "", 0);
    peer_text_add(&w->trace, "", 0);
    say(w, "220 mx");
}

static size_t next_cut(wire *w)
{
    w->random = w->random * 1664525u + 1013904223u;
    return w->cut == PEER_WHOLE ? w->in.len : w->cut == PEER_BYTES ? 1 : 1 + (w->random >> 20) % 40;
}

/* 1 if the client was shown more. */
static int feed(wire *w)
{
    size_t used;
    if (w->in.len == 0 || !(ehlo_client_wants(w->client) & EHLO_WANT_READ)) return 0;
    if (w->offered == w->in.len) return 0;
    w->offered += next_cut(w);
    if (w->offered > w->in.len) w->offered = w->in.len;
    assert_int_equal(ehlo_client_feed(w->client, 0, w->in.ptr, w->offered, &used), EHLO_OK);
    memmove(w->in.ptr, w->in.ptr + used, w->in.len - used + 1);
    w->in.len -= used;
    w->offered -= used;
    return 1;
}

static int secure(wire *w)
{
    if (!(ehlo_client_wants(w->client) & EHLO_WANT_TLS)) return 0;
    w->tls = 1;
    w->offered = 0;
    assert_int_equal(ehlo_client_tls_started(w->client, 0, w->in.len, &w->facts), EHLO_OK);
    return 1;
}

static int flush(wire *w)
{
    if (!(ehlo_client_wants(w->client) & EHLO_WANT_WRITE)) return 0;
    assert_int_equal(ehlo_client_flush(w->client, 0), EHLO_OK);
    return 1;
}

static void converse(wire *w)
{
    unsigned turns = 0;
    while (flush(w) || hear(w) || secure(w) || feed(w)) assert_true(turns++ < 100000);
}

static void finish(wire *w)
{
    assert_int_equal(ehlo_client_close(w->client), EHLO_OK);
    must_hide(w, "a closed session", w->mem, w->size);
    must_hide(w, "the trace", w->trace.ptr, w->trace.len);
    must_hide(w, "clear text", w->out.ptr, w->clear);
    if (w->fault != NULL) fail_msg("%s: a secret in %s", w->row->name, w->fault);
    assert_int_equal(w->lent, 0);
    assert_int_equal(w->mails, 0);
    ehlo_sasl_server_end(w->exchange);
    free(w->exchange_mem);
    free(w->opening);
    free(w->mem);
    peer_text_free(&w->out);
    peer_text_free(&w->in);
    peer_text_free(&w->trace);
}

/* In a manner that is made of the bits of n; the caller judges, and finishes it. */
static void run_login(wire *w, const login_row *row, unsigned n)
{
    static const size_t writes[] = { 0, 1, 7, 100 };
    static const int cuts[] = { PEER_WHOLE, PEER_BYTES, PEER_RANDOM };
    memset(w, 0, sizeof *w);
    w->row = row;
    w->lender = (int)(n & 1);
    w->write_max = writes[n / 2 % COUNT(writes)];
    w->cut = cuts[n / 8 % COUNT(cuts)];
    w->random = n;
    start(w);
    converse(w);
}
enum { MANNERS = 48 };

#define M(name) EHLO_SASL_##name
#define EVERYTHING                                                                                                     \
    "ANONYMOUS LOGIN PLAIN CRAM-MD5 XOAUTH2 OAUTHBEARER SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 "                   \
    "SCRAM-SHA-256-PLUS EXTERNAL"

/* [C194] [C198] [C199] [C200] [C201] [C203] [C204] [C205]: the strongest that both sides have. */
static const login_row mechanisms[] = {
    { .name = "PLAIN", .offered = "PLAIN", .mechanism = M(PLAIN) },
    { .name = "PLAIN before LOGIN", .offered = "LOGIN PLAIN", .mechanism = M(PLAIN) },
    { .name = "LOGIN", .offered = "LOGIN", .mechanism = M(LOGIN) },
    { .name = "LOGIN alone", .offered = EVERYTHING, .mechanism = M(LOGIN), .alone = M(LOGIN) },
    { .name = "EXTERNAL", .offered = EVERYTHING, .mechanism = M(EXTERNAL), .secret = "n" },
    { .name = "ANONYMOUS", .offered = EVERYTHING, .mechanism = M(ANONYMOUS), .secret = "n", .alone = M(ANONYMOUS) },
    { .name = "XOAUTH2", .offered = "PLAIN XOAUTH2", .mechanism = M(XOAUTH2), .secret = "t" },
    { .name = "OAUTHBEARER", .offered = "PLAIN OAUTHBEARER", .mechanism = M(OAUTHBEARER), .secret = "t" },
    { .name = "CRAM-MD5", .offered = EVERYTHING, .mechanism = M(CRAM_MD5), .alone = M(CRAM_MD5) },
    { .name = "SCRAM-SHA-1", .offered = "PLAIN SCRAM-SHA-1 CRAM-MD5", .mechanism = M(SCRAM_SHA_1) },
    { .name = "SCRAM-SHA-256", .offered = "PLAIN SCRAM-SHA-1 SCRAM-SHA-256", .mechanism = M(SCRAM_SHA_256) },
    { .name = "SCRAM-SHA-1-PLUS", .offered = "PLAIN SCRAM-SHA-256 SCRAM-SHA-1-PLUS", .mechanism = M(SCRAM_SHA_1_PLUS) },
    { .name = "SCRAM-SHA-256-PLUS", .offered = EVERYTHING, .mechanism = M(SCRAM_SHA_256_PLUS) },
    { .name = "SCRAM-SHA-256 in clear", .offered = "PLAIN SCRAM-SHA-256", .mechanism = M(SCRAM_SHA_256), .clear = 1 },
    { .name = "SCRAM-SHA-1 in clear",
      .offered = EVERYTHING,
      .mechanism = M(SCRAM_SHA_1),
      .clear = 1,
      .alone = M(SCRAM_SHA_1) | M(SCRAM_SHA_1_PLUS) },
    { .name = "CRAM-MD5 in clear",
      .offered = "PLAIN CRAM-MD5",
      .mechanism = M(CRAM_MD5),
      .clear = 1,
      .alone = M(PLAIN) | M(CRAM_MD5) },
    { .name = "CRAM-MD5 in clear before a token",
      .offered = "PLAIN XOAUTH2 CRAM-MD5",
      .mechanism = M(CRAM_MD5),
      .clear = 1,
      .alone = M(XOAUTH2) | M(CRAM_MD5),
      .secret = "b" },
};

static void every_mechanism_logs_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mechanisms) * MANNERS; i++) {
        const login_row *row = &mechanisms[i / MANNERS];
        wire w;
        run_login(&w, row, (unsigned)(i % MANNERS));
        if (w.opened != 1 || w.stage != EHLO_STAGE_NONE || w.mechanism != row->mechanism) {
            fail_msg("%s: %u, stage %d, mechanism %#x, code %d", row->name, w.opened, (int)w.stage, w.mechanism,
                     w.code);
        }
        assert_int_equal(w.auths, 1);
        assert_int_equal(w.cancels, 0);
        finish(&w);
    }
}

static void a_wrong_secret_is_refused_by_every_mechanism(void **state) /* [C191] */
{
    (void)state;
    for (size_t i = 0; i < COUNT(mechanisms) * MANNERS; i++) {
        login_row row = mechanisms[i / MANNERS];
        wire w;
        row.wrong = 1;
        run_login(&w, &row, (unsigned)(i % MANNERS));
        if (w.opened != 1 || w.stage != EHLO_STAGE_AUTH || w.outcome != EHLO_OUTCOME_REJECTED || w.code != 535) {
            fail_msg("%s: %u, stage %d, outcome %d, code %d", row.name, w.opened, (int)w.stage, (int)w.outcome, w.code);
        }
        assert_int_equal(w.auths, 1);
        finish(&w);
    }
}

/* [C201] [C202] [K11] [K12]: a SCRAM server that does not prove to know the keys, or asks for what it may not. */
static const struct {
    const char *name;
    twist twist;
    unsigned cancels; /* where there is something to be answered */
} lies[] = {
    { "a wrong signature", SIGNS_WRONG, 1 },
    { "no signature", SIGNS_NOTHING, 0 },
    { "an error, and then success", SAYS_E, 1 },
    { "success at once", SUCCEEDS_AT_ONCE, 0 },
    { "i=0", ASKS_FOR_NO_ITERATIONS, 1 },
    { "i=1", ASKS_FOR_ONE_ITERATION, 1 },
    { "i=2^31", ASKS_FOR_MANY_ITERATIONS, 1 },
    { "no salt", HAS_NO_SALT, 1 },
    { "a nonce of its own", HAS_A_NONCE_OF_ITS_OWN, 1 },
    { "m=", EXTENDS, 1 },
};

static void a_server_that_does_not_prove_itself_is_not_believed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(lies) * MANNERS; i++) {
        login_row row = { .name = lies[i / MANNERS].name, .offered = i % 2 ? "SCRAM-SHA-256" : "SCRAM-SHA-1-PLUS" };
        wire w;
        row.twist = lies[i / MANNERS].twist;
        run_login(&w, &row, (unsigned)(i % MANNERS));
        if (w.opened != 1 || w.stage != EHLO_STAGE_AUTH || w.outcome != EHLO_OUTCOME_NOT_SENT || w.code != 0 ||
            w.cancels != lies[i / MANNERS].cancels) {
            fail_msg("%s: %u, stage %d, outcome %d, code %d, %u cancelled", row.name, w.opened, (int)w.stage,
                     (int)w.outcome, w.code, w.cancels);
        }
        finish(&w);
    }
}

static void the_same_challenge_for_ever_is_cancelled(void **state) /* [K11] */
{
    (void)state;
    for (unsigned n = 0; n < MANNERS; n++) {
        login_row row = { .name = "for ever", .offered = "LOGIN", .twist = REPEATS_ITSELF };
        wire w;
        run_login(&w, &row, n);
        assert_int_equal(w.opened, 1);
        assert_int_equal(w.stage, EHLO_STAGE_AUTH);
        assert_int_equal(w.outcome, EHLO_OUTCOME_NOT_SENT);
        assert_int_equal(w.cancels, 1);
        assert_in_range(w.challenges, 1, 4);
        finish(&w);
    }
}

/* -- misuse ----------------------------------------------------------------------------------------- */

static int write_nothing(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)c, (void)user;
    *taken = 0;
    for (size_t i = 0; i < n; i++) *taken += parts[i].len;
    return EHLO_OK;
}

static void count_opened(ehlo_client *c, const ehlo_opened *opened, void *user)
{
    (void)c, (void)opened;
    ++*(unsigned *)user;
}

static void an_opening_is_started_once_and_as_it_says(void **state)
{
    static const ehlo_client_callbacks callbacks = { .write = write_nothing };
    ehlo_client_config config = { .name = ehlo_str_from("c.example") };
    ehlo_opening_config plain = { 0 }, wrapped = { .tls = EHLO_TLS_WRAPPED }, wrong = { .tls = EHLO_TLS_WRAPPED + 1 };
    size_t size = ehlo_opening_size(&plain);
    void *mem = malloc(ehlo_client_size(&config)), *opening = malloc(size);
    unsigned opened = 0;
    ehlo_client *c;
    (void)state;
    assert_in_range(size, 1, 256);
    assert_int_equal(ehlo_opening_size(&wrong), 0);
    assert_int_equal(ehlo_opening_size(NULL), 0);
    assert_int_equal(ehlo_client_init(&c, mem, ehlo_client_size(&config), &config, &callbacks, NULL), EHLO_OK);
    assert_int_equal(ehlo_opening_start(opening, size, c, 0, &wrong, count_opened, &opened), EHLO_ERR_ARG);
    assert_int_equal(ehlo_opening_start(opening, size, c, 0, &plain, NULL, &opened), EHLO_ERR_ARG);
    assert_int_equal(ehlo_opening_start(opening, size, c, 0, &wrapped, count_opened, &opened), EHLO_ERR_STATE);
    assert_int_equal(ehlo_opening_start(opening, size, c, 0, &plain, count_opened, &opened), EHLO_OK);
    assert_int_equal(ehlo_opening_start(opening, size, c, 0, &plain, count_opened, &opened), EHLO_ERR_STATE);
    assert_int_equal(ehlo_client_start(c, 0, NULL, NULL), EHLO_ERR_STATE);
    assert_int_equal(opened, 0);
    assert_int_equal(ehlo_client_close(c), EHLO_OK);
    assert_int_equal(opened, 1);
    free(opening);
    free(mem);
}

/* -- all of it -------------------------------------------------------------------------------------- */

static const struct CMUnitTest by_hand[] = {
    cmocka_unit_test(no_server_talks_a_client_out_of_its_policy),
    cmocka_unit_test(no_end_of_a_session_talks_a_client_out_of_its_policy),
    cmocka_unit_test(inside_tls_from_the_first_octet_starttls_is_not_said),
    cmocka_unit_test(a_refusal_at_the_door_is_the_messages_outcome),
    cmocka_unit_test(lmtp_has_no_hello_to_fall_back_to),
    cmocka_unit_test(clear_text_behind_the_220_ends_it_wherever_it_is_cut),
    cmocka_unit_test(clear_text_behind_a_refusal_ends_it),
    cmocka_unit_test(a_handshake_that_fails_leaves_nothing_to_fall_back_to),
    cmocka_unit_test(only_what_is_offered_inside_tls_counts),
    cmocka_unit_test(a_secret_is_not_shown_to_a_server_that_is_not_verified),
    cmocka_unit_test(weaker_mechanisms_than_the_policy_allows_are_not_used),
    cmocka_unit_test(the_reply_to_auth_is_the_messages_outcome),
    cmocka_unit_test(what_a_mechanism_does_not_expect_is_cancelled),
    cmocka_unit_test(challenges_without_end_are_cancelled),
    cmocka_unit_test(a_token_that_is_refused_is_acknowledged),
    cmocka_unit_test(success_is_believed_only_at_its_time),
    cmocka_unit_test(an_initial_response_keeps_to_the_command_line),
    cmocka_unit_test(a_long_token_leaves_where_there_is_room),
    cmocka_unit_test(a_response_that_waits_is_not_given_to_a_challenge),
    cmocka_unit_test(a_token_without_room_fails_clearly),
    cmocka_unit_test(every_mechanism_logs_in),
    cmocka_unit_test(a_wrong_secret_is_refused_by_every_mechanism),
    cmocka_unit_test(a_server_that_does_not_prove_itself_is_not_believed),
    cmocka_unit_test(the_same_challenge_for_ever_is_cancelled),
    cmocka_unit_test(an_opening_is_started_once_and_as_it_says),
};

int main(int argc, char **argv)
{
    return dialogue_main(argc, argv, "opening", a_dialogue_holds_in_every_manner, by_hand, COUNT(by_hand));
}

/* transcript.h - dialogues as text files: what the client sends, what the server must answer, what the
 * application must see. One line each; the letter says what it is:
 *
 *     # comment
 *     set NAME VALUE          a setting of ehlo_service_config (extensions and flags: names joined by '|');
 *                             `set tls 1`: inside TLS from the start, as ehlo_peer tells it; `set wrapped 1`: as
 *                             tls_started tells it; `set facts exporter|end_point|subject|verified`: what is known of
 *                             TLS; `set pipelined no`: the client waits
 *     without on_result ...   callbacks left NULL
 *     app EVENT SUBJECT CODE [X.Y.Z] [TEXT]      what the application says; also `later CODE...`, `fail`
 *     app body OCTETS CODE [X.Y.Z] [TEXT]        on_body refuses once OCTETS were taken
 *     C: octets               the client's line; CRLF is added unless the line ends in a backslash.
 *                             Escapes: \r \n \t \0 \\ \xHH \[N:text] (text N times)
 *     S: 250 2.1.0*           one line of output; '*' stands for anything
 *     R: 250 mx.example*      one whole reply, of one line or more; only its first line is compared
 *     K: SIZE 1000            the R before has this line; `K: !AUTH*`: it has none such
 *     E: mail <a@x.example>   an event; other events may stand between (`E! ` forbids that)
 *     N: rcpt*                no event matches this
 *     T: 0                    the TLS handshake; the number is what the caller holds
 *     P: 300000               so many milliseconds pass
 *     Z: eof                  or lost, or shutdown
 */
#ifndef EHLO_TESTS_TRANSCRIPT_H
#define EHLO_TESTS_TRANSCRIPT_H

#include "peer.h"

enum { TRANSCRIPT_STEPS = 1024, TRANSCRIPT_RULES = 32, TRANSCRIPT_EXPECTED = 1024 };

typedef enum transcript_kind {
    EXPECT_LINE,
    EXPECT_REPLY,
    EXPECT_KEYWORD,
    EXPECT_EVENT,
    EXPECT_NEXT_EVENT,
    EXPECT_NO_EVENT
} transcript_kind;

typedef struct transcript_expected {
    transcript_kind kind;
    const char *pattern;
    int line; /* of the file */
} transcript_expected;

typedef struct transcript {
    peer_setup setup;
    peer_rule rules[TRANSCRIPT_RULES];
    peer_step steps[TRANSCRIPT_STEPS];
    size_t step_count;
    transcript_expected expected[TRANSCRIPT_EXPECTED];
    size_t expected_count;
    size_t octets;     /* of the client */
    int stop_and_wait; /* never pipelined */
    char *text;        /* the file, cut into lines */
    const char *default_hostname;
    char error[256]; /* why the file could not be read */
} transcript;

/* Reads a file. If it can't be understood, `error` says why. */
transcript *transcript_read(const char *path);
void transcript_free(transcript *t);

/* 1 if the run did as expected; otherwise 0, with why in `out`. */
int transcript_judge(const transcript *t, const peer *p, peer_text *out);

#endif

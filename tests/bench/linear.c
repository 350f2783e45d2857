/* linear - gives one session a number of octets of one kind, so that a tool can count the instructions.
 *
 *     linear line|endless|dots|chunks CUT OCTETS
 *
 * line: one command line, within the limit. endless: one that is over it. dots: a message of lines that begin with a
 * dot. chunks: BDAT commands of one octet each. CUT is how many octets come with each feed, 0 for all of them at
 * once. It checks that they were taken for what they are. */
#include "lone_session.h"

#include <stdint.h>

/* The pattern over and over, as often as it fits whole. */
static size_t repeat(char *to, size_t len, const char *pattern)
{
    size_t each = strlen(pattern), at = 0;
    for (; len - at >= each; at += each) memcpy(to + at, pattern, each);
    return at;
}

static void open_transaction(lone_session *lone)
{
    lone_say(lone, "EHLO client.example\r\n");
    lone_say(lone, "MAIL FROM:<a@client.example>\r\n");
    lone_say(lone, "RCPT TO:<b@mx.example>\r\n");
}

/* Of either length it is one unknown command, or none: one refusal. */
static void feed_line(lone_session *lone, char *octets, size_t len, size_t cut)
{
    len = repeat(octets, len, "x");
    len += repeat(octets + len, 2, "\r\n");
    lone_say(lone, "EHLO client.example\r\n");
    lone_feed(lone, octets, len, cut);
    if (lone->refusals != 1) lone_fail("a line is not one refusal");
}

static void feed_dots(lone_session *lone, char *octets, size_t len, size_t cut)
{
    static const char stuffed[] = "..\r\n";
    len = repeat(octets, len, stuffed);
    open_transaction(lone);
    lone_say(lone, "DATA\r\n");
    lone_feed(lone, octets, len, cut);
    lone_say(lone, ".\r\n");
    if (lone->refusals != 0 || lone->body != len / 4 * 3) lone_fail("the message is not what was sent");
}

static void feed_chunks(lone_session *lone, char *octets, size_t len, size_t cut)
{
    static const char chunk[] = "BDAT 1\r\nx";
    len = repeat(octets, len, chunk);
    open_transaction(lone);
    lone_feed(lone, octets, len, cut);
    lone_say(lone, "BDAT 0 LAST\r\n");
    if (lone->refusals != 0 || lone->body != len / (sizeof chunk - 1)) lone_fail("the message is not what was sent");
}

typedef void feeder(lone_session *lone, char *octets, size_t len, size_t cut);

static feeder *find_feeder(const char *name)
{
    if (strcmp(name, "line") == 0 || strcmp(name, "endless") == 0) return feed_line;
    if (strcmp(name, "dots") == 0) return feed_dots;
    if (strcmp(name, "chunks") == 0) return feed_chunks;
    return NULL;
}

int main(int argc, char **argv)
{
    ehlo_service_config config = {
        .hostname = ehlo_str_from("mx.example"),
        .max_size = EHLO_UNLIMITED,
        .line_drain_max = UINT32_MAX,
        .max_idle_commands = UINT32_MAX,
    };
    lone_session lone;
    feeder *feed = argc == 4 ? find_feeder(argv[1]) : NULL;
    if (feed == NULL) {
        fputs("usage: linear line|endless|dots|chunks CUT OCTETS\n", stderr);
        return 64;
    }
    size_t cut = strtoul(argv[2], NULL, 10), len = strtoul(argv[3], NULL, 10);
    char *octets = lone_allocate(len + 2);
    if (feed == feed_line && strcmp(argv[1], "line") == 0) config.line_max = UINT32_MAX;
    lone_open(&lone, config, 1);
    feed(&lone, octets, len, cut != 0 ? cut : SIZE_MAX);
    lone_close(&lone);
    free(octets);
    return 0;
}

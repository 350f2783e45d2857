/* lib/net/question.c - one question to the DNS servers, asked until one of them answers it.
 *
 * RFC 5452: whoever would forge an answer has to guess the id, which is random, and the port, which is another one for
 * each query (4.5); and the socket takes datagrams from the server alone that was asked (9.1). */
#include "question.h"

#include "loop.h"
#include "random.h"
#include "socket.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* RFC 1035 4.2.2: by TCP, "the message is prefixed with a two byte length field". */
enum { PREFIX_LEN = 2, STREAM_MAX = PREFIX_LEN + EHLO_DNS_MESSAGE_MAX };

/* That lead from the name asked for to the one whose records are told: more are taken for a loop. */
enum { ALIASES_MAX = 10 };

struct ehlo_question {
    ehlo_source source; /* first, see ehlo_loop_free_later; fd -1: no query is out */
    ehlo_timer timer;
    ehlo_loop *loop;
    const ehlo_nameservers *servers;
    ehlo_on_answer fn;
    void *arg;
    uint32_t round;
    uint16_t server; /* the one that is asked */
    uint16_t id;
    ehlo_dns_type type;
    ehlo_dns_name name;
    unsigned aliases; /* followed to come to name */
    char *stream;     /* by TCP: the query, then the answer, behind its length. NULL: by UDP */
    size_t done;      /* octets of it that were sent, then received */
    size_t query_len;
};

static ehlo_str name_of(const ehlo_question *question)
{
    return ehlo_str_make(question->name.text, question->name.len);
}

/* -- life ------------------------------------------------------------------------------------------- */

static void withdraw_query(ehlo_question *question)
{
    if (question->source.fd >= 0) ehlo_loop_close_source(question->loop, &question->source);
    free(question->stream);
    question->stream = NULL;
}

void ehlo_question_drop(ehlo_question *question)
{
    if (question == NULL) return;
    withdraw_query(question);
    ehlo_timer_stop(question->loop, &question->timer);
    ehlo_loop_free_later(question->loop, &question->source);
}

/* The function may free whatever it likes: nothing is touched after it but the stream, which the answer may lie in. */
static void finish(ehlo_question *question, ehlo_dns_answer *answer)
{
    ehlo_on_answer fn = question->fn;
    void *arg = question->arg;
    char *stream = question->stream;
    question->stream = NULL;
    ehlo_question_drop(question);
    fn(arg, answer);
    free(stream);
}

/* -- which server, and for how long ----------------------------------------------------------------- */

static int open_datagram(ehlo_question *question);

static void time_out(ehlo_loop *loop, void *arg);

/* open sends the query; where it cannot, it is as if the server were silent, but without the wait. */
static int ask(ehlo_question *question, int (*open)(ehlo_question *question))
{
    uint32_t ms = question->servers->try_ms;
    withdraw_query(question);
    if (open(question) != 0) {
        withdraw_query(question);
        ms = 0;
    }
    return ehlo_timer_start(question->loop, &question->timer, ms, time_out, question);
}

static void give_up(ehlo_question *question)
{
    ehlo_dns_answer failed;
    memset(&failed, 0, sizeof failed);
    finish(question, &failed);
}

static void ask_next_server(ehlo_question *question)
{
    if (++question->server == question->servers->n) {
        question->server = 0;
        question->round++;
    }
    if (question->round == question->servers->tries || ask(question, open_datagram) != EHLO_OK) give_up(question);
}

static void time_out(ehlo_loop *loop, void *arg)
{
    (void)loop;
    ask_next_server(arg);
}

/* -- query ------------------------------------------------------------------------------------------ */

static const ehlo_address *server_of(const ehlo_question *question)
{
    return &question->servers->address[question->server];
}

/* Writes a query with an id of its own; out has room for EHLO_DNS_QUERY_MAX. */
static int write_query(ehlo_question *question, char *out, size_t *len)
{
    if (ehlo_random(&question->id, sizeof question->id) != 0) return -1;
    return ehlo_dns_query_write(question->id, name_of(question), question->type, out, EHLO_DNS_QUERY_MAX, len);
}

/* Takes over fd. */
static int watch(ehlo_question *question, int fd, unsigned interest,
                 void (*ready)(ehlo_loop *loop, ehlo_source *source, unsigned events))
{
    question->source.ready = ready;
    question->source.fd = fd;
    if (ehlo_poller_add(question->loop->poller, &question->source, interest) == 0) return 0;
    question->source.fd = -1;
    close(fd);
    return -1;
}

/* -- answer ----------------------------------------------------------------------------------------- */

/* RFC 1034 3.6.2: an alias is followed by whoever looks up the name. Servers that recurse do it, as far as they get; where
 * they stop, the rest is ours. To the root no alias leads anywhere. */
static int is_unfinished(const ehlo_dns_answer *answer)
{
    ehlo_str canonical = ehlo_str_make(answer->canonical.text, answer->canonical.len);
    return answer->status == EHLO_DNS_NODATA && answer->aliases > 0 && ehlo_question_may_ask(canonical, EHLO_DNS_A);
}

/* The server could tell: whatever aliases it told of are taken. */
static void take_told(ehlo_question *question, ehlo_dns_answer *answer)
{
    question->aliases += answer->aliases;
    if (question->aliases > ALIASES_MAX) {
        give_up(question);
    } else if (is_unfinished(answer)) {
        question->name = answer->canonical;
        if (ask(question, open_datagram) != EHLO_OK) give_up(question);
    } else {
        answer->aliases = (uint8_t)question->aliases;
        finish(question, answer);
    }
}

static int open_stream(ehlo_question *question);

/* "Does not exist" and "has no such records" are answers; "cannot tell" and what makes no sense are none, and the next
 * server may know better. */
static void take_answer(ehlo_question *question, int result, ehlo_dns_answer *answer)
{
    int is_truncated = result == EHLO_OK && answer->status == EHLO_DNS_TRUNCATED;
    if (is_truncated && question->stream == NULL) {
        if (ask(question, open_stream) != EHLO_OK) give_up(question);
    } else if (result != EHLO_OK || is_truncated || answer->status == EHLO_DNS_FAILED) {
        ask_next_server(question);
    } else {
        take_told(question, answer);
    }
}

static int parse_answer(const ehlo_question *question, const char *bytes, size_t len, ehlo_dns_answer *answer)
{
    return ehlo_dns_answer_parse(bytes, len, question->id, name_of(question), question->type, answer);
}

/* -- UDP (RFC 1035 4.2.1) --------------------------------------------------------------------------- */

/* RFC 5452 9.1: what does not answer our query is dropped, and does not end the wait for the answer. */
static void take_datagram(ehlo_question *question, const char *bytes, size_t len)
{
    ehlo_dns_answer answer;
    int result = parse_answer(question, bytes, len, &answer);
    if (result != EHLO_ERR_STALE) take_answer(question, result, &answer);
}

/* Some servers send by UDP whatever there is, although none of ours has said that we could take it (RFC 6891): there is
 * room for it. */
static void datagram_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_question *question = (ehlo_question *)source;
    char *bytes = malloc(EHLO_DNS_MESSAGE_MAX);
    ptrdiff_t received = EHLO_RECEIVE_LOST;
    (void)loop;
    (void)events;
    if (bytes != NULL) received = ehlo_socket_receive(source->fd, bytes, EHLO_DNS_MESSAGE_MAX);
    if (received == EHLO_RECEIVE_LOST)
        ask_next_server(question);
    else if (received != EHLO_RECEIVE_NOTHING)
        take_datagram(question, bytes, (size_t)received);
    free(bytes);
}

static int open_datagram(ehlo_question *question)
{
    char bytes[EHLO_DNS_QUERY_MAX];
    ehlo_str query = { bytes, 0 };
    if (write_query(question, bytes, &query.len) != 0) return -1;
    int fd = ehlo_socket_datagram(server_of(question));
    if (fd < 0 || watch(question, fd, EHLO_POLL_READ, datagram_ready) != 0) return -1;
    return ehlo_socket_send(fd, &query, 1) == (ptrdiff_t)query.len ? 0 : -1;
}

/* -- TCP (RFC 1035 4.2.2) --------------------------------------------------------------------------- */

static void put_prefix(char *at, size_t len)
{
    at[0] = (char)(unsigned char)(len >> 8);
    at[1] = (char)(unsigned char)(len & 0xFF);
}

static size_t read_prefix(const char *at)
{
    return (size_t)(unsigned char)at[0] << 8 | (unsigned char)at[1];
}

/* The server was asked one thing: there is nothing else here that it could answer. */
static void read_stream(ehlo_question *question)
{
    ehlo_dns_answer answer;
    char *bytes = question->stream;
    ptrdiff_t received = ehlo_socket_receive(question->source.fd, bytes + question->done, STREAM_MAX - question->done);
    if (received == EHLO_RECEIVE_NOTHING) return;
    if (received <= 0) {
        ask_next_server(question);
        return;
    }
    question->done += (size_t)received;
    if (question->done < PREFIX_LEN || question->done - PREFIX_LEN < read_prefix(bytes)) return;
    int result = parse_answer(question, bytes + PREFIX_LEN, read_prefix(bytes), &answer);
    take_answer(question, result, &answer);
}

static void stream_readable(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    (void)loop;
    (void)events;
    read_stream((ehlo_question *)source);
}

static void stream_writable(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_question *question = (ehlo_question *)source;
    ehlo_str rest = ehlo_str_make(question->stream + question->done, question->query_len - question->done);
    ptrdiff_t sent = ehlo_socket_send(source->fd, &rest, 1);
    (void)events;
    if (sent < 0) {
        ask_next_server(question);
        return;
    }
    question->done += (size_t)sent;
    if (question->done < question->query_len) return;
    question->done = 0;
    source->ready = stream_readable;
    ehlo_poller_set(loop->poller, source, EHLO_POLL_READ);
}

static int open_stream(ehlo_question *question)
{
    static const ehlo_address any;
    size_t len;
    int fd;
    question->stream = malloc(STREAM_MAX);
    if (question->stream == NULL || write_query(question, question->stream + PREFIX_LEN, &len) != 0) return -1;
    put_prefix(question->stream, len);
    question->query_len = PREFIX_LEN + len;
    question->done = 0;
    if (ehlo_socket_connect(server_of(question), &any, &fd) < 0) return -1;
    return watch(question, fd, EHLO_POLL_WRITE, stream_writable);
}

/* -- start ------------------------------------------------------------------------------------------ */

int ehlo_question_may_ask(ehlo_str name, ehlo_dns_type type)
{
    char query[EHLO_DNS_QUERY_MAX];
    size_t len;
    return ehlo_dns_query_write(0, name, type, query, sizeof query, &len) == EHLO_OK;
}

int ehlo_question_ask(ehlo_question **result, ehlo_loop *loop, const ehlo_nameservers *servers, ehlo_str name,
                      ehlo_dns_type type, ehlo_on_answer fn, void *arg)
{
    if (!ehlo_question_may_ask(name, type)) return EHLO_ERR_ARG;
    ehlo_question *question = calloc(1, sizeof *question);
    if (question == NULL) return EHLO_ERR_MEMORY;
    name = ehlo_without_final_dot(name);
    memcpy(question->name.text, name.ptr, name.len);
    question->name.len = (uint8_t)name.len;
    question->source.fd = -1;
    question->loop = loop;
    question->servers = servers;
    question->type = type;
    question->fn = fn;
    question->arg = arg;
    if (ask(question, open_datagram) != EHLO_OK) {
        ehlo_question_drop(question);
        return EHLO_ERR_MEMORY;
    }
    *result = question;
    return EHLO_OK;
}

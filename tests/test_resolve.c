/* test_resolve.c - the stub resolver, against DNS servers on the loopback interface that the test plays itself.
 *
 * The test drives the loop a round at a time and lets the servers answer in between: no thread, no sleep.
 * test_resolve_poll.c runs all of it with the portable sources: those are compiled into it, so that the library's own
 * are not linked. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "dns_message.h"
#include "system.h"
#include "table.h"

#include <ehlo/net.h>

#include "../lib/net/file.h"
#include "../lib/net/hosts.h"
#include "../lib/net/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* What the sources in question are made to meet here: they are compiled into this program. */

/* A stream takes one octet at a time here: so every query by TCP is written in pieces. */
static ssize_t send_little(int fd, const void *bytes, size_t len, int flags)
{
    int type = 0;
    socklen_t size = sizeof type;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), 0);
    return send(fd, bytes, type == SOCK_STREAM && len > 1 ? 1 : len, flags);
}

static int has_no_entropy_call;

/* As on a kernel that is too old for it. */
static ssize_t getrandom_perhaps(void *octets, size_t len, unsigned flags)
{
    if (!has_no_entropy_call) return getrandom(octets, len, flags);
    errno = ENOSYS;
    return -1;
}

#define getrandom getrandom_perhaps
#include "../lib/net/random.c"
#undef getrandom

static int start_timer_hurried(ehlo_loop *loop, ehlo_timer *timer, uint32_t ms, void (*fn)(ehlo_loop *loop, void *arg),
                               void *arg);

#define ehlo_timer_start start_timer_hurried
#define send send_little
#ifdef EHLO_NET_POLL
#include "../lib/net/inbox.c"
#include "../lib/net/poller_poll.c"
#include "../lib/net/socket.c"
#endif
#include "../lib/net/question.c"
#undef send
#undef ehlo_timer_start

enum { PATIENCE_MS = 60000, TRY_MS = 40, LONG_MS = 2 * PATIENCE_MS, SERVERS_MAX = 2, STREAMS_MAX = 8, SEEN_MAX = 256 };
enum { OF_AAAA = 0, OF_A = 1, OF_BOTH = 2, OF_MX = 2, KINDS = 3 };

/* -- a DNS server ----------------------------------------------------------------------------------- */

/* How it answers a query by UDP. Those from ACT_WRONG_ID on answer no query of ours; the right answer follows, unless
 * the server is only_noise. */
typedef enum act {
    ACT_FOUND,
    ACT_NODATA,
    ACT_NXDOMAIN,
    ACT_SERVFAIL,
    ACT_REFUSED,
    ACT_NOTIMP,
    ACT_REFERRAL, /* to the root's servers */
    ACT_LAME,     /* nothing at all, by one that neither has the name nor asks others */
    ACT_SILENT,
    ACT_BROKEN,
    ACT_TRUNCATED,
    ACT_WRONG_ID,
    ACT_WRONG_NAME,
    ACT_WRONG_TYPE,
    ACT_ECHO,
    ACT_EMPTY,
    ACT_FORGED /* from another port */
} act;

/* How it answers one by TCP. */
typedef enum stream_act {
    STREAM_ANSWER,
    STREAM_REFUSED, /* nobody listens */
    STREAM_CLOSED,
    STREAM_CUT,
    STREAM_WRONG_ID,
    STREAM_TRUNCATED,
    STREAM_NOTHING, /* a length of zero */
    STREAM_SILENT
} stream_act;

typedef struct stream {
    int fd; /* 0: free */
    char in[2 + EHLO_DNS_QUERY_MAX];
    size_t in_len;
    char *out;
    size_t out_len;
    size_t sent;
} stream;

/* A record of a zone. */
typedef struct zone_record {
    const char *owner; /* NULL: the end */
    unsigned type;
    unsigned number;    /* MX: the preference; A, AAAA: the last octet */
    const char *target; /* MX, CNAME */
} zone_record;

typedef struct server {
    ehlo_address address;
    const zone_record *zone;             /* what it knows. NULL: of every name the same */
    int follows;                         /* 1: as far as its zone leads; 0: it answers with one alias at a time */
    void (*spoil)(dns_message *message); /* what it does to an answer out of its zone */
    size_t datagram_max;                 /* octets of such an answer by UDP */
    int udp;
    int tcp;
    act acts[KINDS];
    stream_act stream_act;
    int only_noise;
    size_t piece;           /* octets that a stream gets at once */
    unsigned counts[KINDS]; /* records of the answer */
    unsigned asked[KINDS];
    unsigned streamed[KINDS];
    stream streams[STREAMS_MAX];
    uint16_t ids[SEEN_MAX];
    uint16_t ports[SEEN_MAX];
    unsigned seen;
} server;

typedef union socket_name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} socket_name;

static int bind_loopback(int family, int type, uint16_t port)
{
    socket_name name;
    memset(&name, 0, sizeof name);
    name.any.sa_family = (sa_family_t)family;
    if (family == AF_INET6) {
        name.v6.sin6_port = htons(port);
        name.v6.sin6_addr = in6addr_loopback;
    } else {
        name.v4.sin_port = htons(port);
        name.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (bind(fd, &name.any, family == AF_INET6 ? sizeof name.v6 : sizeof name.v4) == 0) return fd;
    close(fd);
    return -1;
}

/* Both sockets on one port, which the system picks. 0: there is no such family here. */
static int server_open(server *s, int family)
{
    memset(s, 0, sizeof *s);
    s->piece = 1;
    for (int i = 0; i < KINDS; i++) s->counts[i] = 1;
    for (int i = 0; i < 100; i++) {
        s->tcp = bind_loopback(family, SOCK_STREAM, 0);
        if (s->tcp < 0) return 0;
        s->address = ehlo_socket_local(s->tcp);
        s->udp = bind_loopback(family, SOCK_DGRAM, s->address.port);
        if (s->udp >= 0) break;
        close(s->tcp);
    }
    assert_true(s->udp >= 0);
    assert_int_equal(listen(s->tcp, 16), 0);
    return 1;
}

static void stream_close(stream *st)
{
    if (st->fd > 0) close(st->fd);
    free(st->out);
    memset(st, 0, sizeof *st);
}

static void server_close_tcp(server *s)
{
    if (s->tcp >= 0) close(s->tcp);
    s->tcp = -1;
}

static void server_close(server *s)
{
    for (int i = 0; i < STREAMS_MAX; i++) stream_close(&s->streams[i]);
    if (s->udp >= 0) close(s->udp);
    s->udp = -1;
    server_close_tcp(s);
}

static int kind_of(int type)
{
    assert_true(type == EHLO_DNS_A || type == EHLO_DNS_AAAA || type == EHLO_DNS_MX);
    return type == EHLO_DNS_MX ? OF_MX : type == EHLO_DNS_AAAA ? OF_AAAA : OF_A;
}

/* The kind that the query asks for, which ends in type and class. */
static int asked_for(const char *query, size_t len)
{
    assert_true(len > 16);
    return kind_of(query[len - 3]);
}

/* Adds 192.0.2.<number>, 2001:db8::<number>, or mx.<the name asked for> with that preference. */
static size_t put_record(char *out, int kind, unsigned number)
{
    static const char a[] = "\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02";
    static const char aaaa[] = "\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0";
    static const char mx[] = "\xc0\x0c\0\x0f\0\x01\0\0\0\x3c\0\x07\0\0\x02mx\xc0\x0c";
    if (kind == OF_MX) {
        memcpy(out, mx, sizeof mx - 1);
        out[12] = (char)(unsigned char)(number >> 8);
        out[13] = (char)(unsigned char)(number & 0xFF);
        return sizeof mx - 1;
    }
    size_t len = kind == OF_A ? sizeof a : sizeof aaaa;
    memcpy(out, kind == OF_A ? a : aaaa, len - 1);
    out[len - 1] = (char)(unsigned char)(number & 0xFF);
    return len;
}

enum {
    FLAGS_TRUNCATED = 0x8380,
    FLAGS_ANSWER = 0x8180,
    FLAGS_UNABLE = 0x8100,
    MESSAGE_ROOM = EHLO_DNS_MESSAGE_MAX + 28
};

/* The query as its own answer, with these flags and that many records; NULL: too long. Freed by the caller. */
static char *make_answer(const char *query, size_t query_len, unsigned flags, unsigned records, size_t *len)
{
    char *out = malloc(MESSAGE_ROOM);
    assert_non_null(out);
    memcpy(out, query, query_len);
    out[2] = (char)(unsigned char)(flags >> 8);
    out[3] = (char)(unsigned char)(flags & 0xFF);
    out[6] = (char)(unsigned char)(records >> 8);
    out[7] = (char)(unsigned char)(records & 0xFF);
    *len = query_len;
    for (unsigned i = 0; i < records; i++) {
        *len += put_record(out + *len, asked_for(query, query_len), i + 1);
        assert_true(*len <= EHLO_DNS_MESSAGE_MAX);
    }
    return out;
}

/* -- its zone -- */

/* The name that the query asks for, as text. */
static void read_name(const char *query, char name[EHLO_DNS_NAME_MAX + 2])
{
    size_t len = 0;
    for (const char *at = query + 12; *at != '\0'; at += 1 + *at) {
        memcpy(name + len, at + 1, (size_t)*at);
        len += (size_t)*at;
        name[len++] = '.';
    }
    name[len - 1] = '\0';
}

static const zone_record *find_alias(const server *s, const char *owner)
{
    for (const zone_record *r = s->zone; r->owner != NULL; r++) {
        if (r->type == EHLO_DNS_CNAME && strcmp(r->owner, owner) == 0) return r;
    }
    return NULL;
}

static void add_zone_record(dns_message *m, const zone_record *r)
{
    char bytes[64];
    size_t len = put_record(bytes, kind_of((int)r->type), r->number);
    if (r->type == EHLO_DNS_MX) {
        dns_add_mx(m, r->owner, r->number, r->target);
        return;
    }
    size_t data_len = r->type == EHLO_DNS_A ? 4 : 16;
    dns_add_fields(m, r->owner, r->type, 60, data_len);
    dns_add(m, bytes + len - data_len, data_len);
}

/* Adds what the zone has of owner; a name that it does not have at all does not exist. */
static void add_zone_records(const server *s, const char *owner, unsigned type, dns_message *m)
{
    int exists = 0;
    for (const zone_record *r = s->zone; r->owner != NULL; r++) {
        if (strcmp(r->owner, owner) != 0) continue;
        exists = 1;
        if (r->type == type) add_zone_record(m, r);
    }
    if (!exists) m->bytes[3] |= DNS_NO_SUCH_NAME;
}

static void answer_from_zone(const server *s, const char *query, size_t len, dns_message *m)
{
    char name[EHLO_DNS_NAME_MAX + 2];
    const zone_record *alias;
    const char *owner = name;
    unsigned type = (unsigned)query[len - 3];
    read_name(query, name);
    dns_begin(m, FLAGS_ANSWER, name, type);
    memcpy(m->bytes, query, 2);
    for (int i = 0; (alias = find_alias(s, owner)) != NULL && i < (s->follows ? 30 : 1); i++) {
        dns_add_cname(m, owner, alias->target);
        owner = alias->target;
    }
    if (owner == name || s->follows) add_zone_records(s, owner, type, m);
    if (s->spoil != NULL) s->spoil(m);
}

/* -- its answers -- */

typedef struct sender {
    int fd;
    socket_name to;
    socklen_t to_len;
} sender;

static void send_answer(const sender *to, const char *query, size_t len, unsigned flags, unsigned records)
{
    size_t out_len;
    char *out = make_answer(query, len, flags, records, &out_len);
    assert_true(sendto(to->fd, out, out_len, 0, &to->to.any, to->to_len) == (ssize_t)out_len);
    free(out);
}

/* What the zone has, as far as a datagram takes it. */
static void send_zone(const server *s, const sender *to, const char *query, size_t len)
{
    static dns_message m;
    answer_from_zone(s, query, len, &m);
    if (m.len > s->datagram_max) {
        send_answer(to, query, len, FLAGS_TRUNCATED, 0);
        return;
    }
    assert_true(sendto(to->fd, m.bytes, m.len, 0, &to->to.any, to->to_len) == (ssize_t)m.len);
}

/* Nothing, but that the root's servers may know. */
static void send_referral(const sender *to, const char *query, size_t len)
{
    static const char root[] = "\0\0\x02\0\x01\0\0\0\x3c\0\x07\x01"
                               "a\x03nic\0";
    char out[EHLO_DNS_QUERY_MAX + sizeof root];
    memcpy(out, query, len);
    memcpy(out + len, root, sizeof root - 1);
    out[2] = (char)(unsigned char)(FLAGS_UNABLE >> 8);
    out[9] = 1;
    size_t out_len = len + sizeof root - 1;
    assert_true(sendto(to->fd, out, out_len, 0, &to->to.any, to->to_len) == (ssize_t)out_len);
}

/* An answer of so many records, of which the last one is cut. */
static void send_broken(const sender *to, const char *query, size_t len)
{
    size_t out_len;
    char *out = make_answer(query, len, FLAGS_ANSWER, 1, &out_len);
    assert_true(sendto(to->fd, out, out_len - 1, 0, &to->to.any, to->to_len) == (ssize_t)out_len - 1);
    free(out);
}

/* Answers with ten records what was not asked: whoever takes one of them has it. */
static void send_noise(const sender *to, act what, const char *query, size_t len)
{
    char other[EHLO_DNS_QUERY_MAX];
    sender from = *to;
    memcpy(other, query, len);
    if (what == ACT_WRONG_ID) other[1] ^= 1;
    if (what == ACT_WRONG_NAME) other[13] ^= 1;
    if (what == ACT_WRONG_TYPE) other[len - 3] = query[len - 3] == EHLO_DNS_A ? EHLO_DNS_AAAA : EHLO_DNS_A;
    if (what == ACT_FORGED) from.fd = bind_loopback(to->to.any.sa_family, SOCK_DGRAM, 0);
    if (what == ACT_ECHO || what == ACT_EMPTY) {
        assert_true(sendto(to->fd, query, what == ACT_ECHO ? len : 0, 0, &to->to.any, to->to_len) >= 0);
    } else {
        send_answer(&from, other, len, FLAGS_ANSWER, 10);
    }
    if (what == ACT_FORGED) close(from.fd);
}

static void answer_datagram(server *s, const sender *to, const char *query, size_t len)
{
    int family = asked_for(query, len);
    act what = s->acts[family];
    s->asked[family]++;
    if (what >= ACT_WRONG_ID) {
        send_noise(to, what, query, len);
        if (s->only_noise) return;
        what = ACT_FOUND;
    }
    switch (what) {
    case ACT_FOUND:
        if (s->zone != NULL)
            send_zone(s, to, query, len);
        else
            send_answer(to, query, len, FLAGS_ANSWER, s->counts[family]);
        break;
    case ACT_NODATA:
        send_answer(to, query, len, FLAGS_ANSWER, 0);
        break;
    case ACT_NXDOMAIN:
        send_answer(to, query, len, FLAGS_ANSWER + 3, 0);
        break;
    case ACT_SERVFAIL:
        send_answer(to, query, len, FLAGS_ANSWER + 2, 0);
        break;
    case ACT_REFUSED:
        send_answer(to, query, len, FLAGS_ANSWER + 5, 0);
        break;
    case ACT_NOTIMP:
        send_answer(to, query, len, FLAGS_ANSWER + 4, 0);
        break;
    case ACT_REFERRAL:
        send_referral(to, query, len);
        break;
    case ACT_LAME:
        send_answer(to, query, len, FLAGS_UNABLE, 0);
        break;
    case ACT_BROKEN:
        send_broken(to, query, len);
        break;
    case ACT_TRUNCATED:
        send_answer(to, query, len, FLAGS_TRUNCATED, 1);
        break;
    default:
        break;
    }
}

static void note_query(server *s, const char *query, const socket_name *from)
{
    assert_true(s->seen < SEEN_MAX);
    s->ids[s->seen] = (uint16_t)((unsigned)(unsigned char)query[0] << 8 | (unsigned char)query[1]);
    s->ports[s->seen++] = ntohs(from->any.sa_family == AF_INET6 ? from->v6.sin6_port : from->v4.sin_port);
}

static void serve_datagrams(server *s)
{
    char query[EHLO_DNS_QUERY_MAX];
    sender to = { .fd = s->udp, .to_len = sizeof to.to };
    for (;;) {
        ssize_t len = recvfrom(s->udp, query, sizeof query, 0, &to.to.any, &to.to_len);
        if (len < 0) return;
        note_query(s, query, &to.to);
        answer_datagram(s, &to, query, (size_t)len);
    }
}

/* The answer to the query that came whole. */
static void answer_stream(server *s, stream *st)
{
    const char *query = st->in + 2;
    size_t query_len = st->in_len - 2;
    int family = asked_for(query, query_len);
    unsigned flags = s->stream_act == STREAM_TRUNCATED ? FLAGS_TRUNCATED : FLAGS_ANSWER;
    size_t len;
    char *message = make_answer(query, query_len, flags, s->counts[family], &len);
    if (s->zone != NULL) {
        static dns_message m;
        answer_from_zone(s, query, query_len, &m);
        memcpy(message, m.bytes, m.len);
        len = m.len;
    }
    if (s->stream_act == STREAM_WRONG_ID) message[1] ^= 1;
    if (s->stream_act == STREAM_NOTHING) len = 0;
    st->out = malloc(len + 2);
    assert_non_null(st->out);
    st->out[0] = (char)(unsigned char)(len >> 8);
    st->out[1] = (char)(unsigned char)(len & 0xFF);
    memcpy(st->out + 2, message, len);
    st->out_len = s->stream_act == STREAM_CUT ? len + 1 : len + 2;
    s->streamed[family]++;
    free(message);
}

static void read_query(server *s, stream *st)
{
    ssize_t got = recv(st->fd, st->in + st->in_len, sizeof st->in - st->in_len, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) stream_close(st);
    if (got <= 0) return;
    st->in_len += (size_t)got;
    if (st->in_len < 2) return;
    size_t whole = 2 + ((size_t)(unsigned char)st->in[0] << 8 | (unsigned char)st->in[1]);
    assert_true(st->in_len <= whole);
    if (st->in_len == whole && s->stream_act != STREAM_SILENT) answer_stream(s, st);
}

static void write_answer(const server *s, stream *st)
{
    size_t rest = st->out_len - st->sent;
    ssize_t sent = send(st->fd, st->out + st->sent, rest < s->piece ? rest : s->piece, MSG_NOSIGNAL);
    if (sent > 0) st->sent += (size_t)sent;
    if ((sent < 0 && errno != EAGAIN) || (st->sent == st->out_len && s->stream_act == STREAM_CUT)) stream_close(st);
}

static void accept_streams(server *s)
{
    for (int i = 0; i < STREAMS_MAX && s->tcp >= 0; i++) {
        if (s->streams[i].fd != 0) continue;
        int fd = accept4(s->tcp, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        s->streams[i].fd = fd;
        if (s->stream_act == STREAM_CLOSED) stream_close(&s->streams[i]);
    }
}

static void serve(server *s)
{
    if (s->udp >= 0) serve_datagrams(s);
    accept_streams(s);
    for (int i = 0; i < STREAMS_MAX; i++) {
        stream *st = &s->streams[i];
        if (st->fd > 0 && st->out != NULL && st->sent < st->out_len) write_answer(s, st);
        if (st->fd > 0 && st->out == NULL) read_query(s, st);
    }
}

/* -- the application's side ------------------------------------------------------------------------- */

typedef struct world {
    ehlo_loop *loop;
    ehlo_resolver *resolver;
    server servers[SERVERS_MAX];
    size_t nservers;
    unsigned descriptors;
    char hosts[64];
} world;

/* What became of a look-up. */
typedef struct result {
    unsigned calls;
    int inside; /* ehlo_resolve has not returned yet */
    ehlo_dns_status status;
    ehlo_address addresses[64];
    size_t n;
    ehlo_lookup *cancel;  /* another one, dropped from inside */
    ehlo_resolver *freed; /* the same */
} result;

static void on_addresses(ehlo_loop *loop, ehlo_dns_status status, const ehlo_address *addresses, size_t n, void *arg)
{
    result *r = arg;
    assert_non_null(loop);
    assert_false(r->inside);
    assert_true(n <= COUNT(r->addresses));
    assert_int_equal(status == EHLO_DNS_FOUND, n > 0);
    if (r->cancel != NULL) ehlo_lookup_cancel(r->cancel);
    if (r->freed != NULL) ehlo_resolver_free(r->freed);
    r->calls++;
    r->status = status;
    r->n = n;
    memcpy(r->addresses, addresses, n * sizeof *addresses);
}

static void drive(world *w)
{
    assert_true(ehlo_loop_step(w->loop, 1) >= 0);
    for (size_t i = 0; i < w->nservers; i++) serve(&w->servers[i]);
}

#define DRIVE_UNTIL(w, condition)                                                                                      \
    do {                                                                                                               \
        uint64_t end_ = now_ms() + PATIENCE_MS;                                                                        \
        while (!(condition)) {                                                                                         \
            if (now_ms() > end_) fail_msg("%s:%d: waited in vain for %s", __FILE__, __LINE__, #condition);             \
            drive(w);                                                                                                  \
        }                                                                                                              \
    } while (0)

static void write_file(char *path, size_t room, const char *text, size_t len)
{
    snprintf(path, room, "/tmp/test_resolve.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(write(fd, text, len) == (ssize_t)len);
    close(fd);
}

/* The world whose silent servers are not waited for as long as they might be. */
static const world *hurried;

static int is_silent(const ehlo_question *question)
{
    int family = kind_of((int)question->type);
    for (size_t i = 0; hurried != NULL && i < hurried->nservers; i++) {
        const server *s = &hurried->servers[i];
        if (s->address.port != server_of(question)->port) continue;
        return question->stream != NULL ? s->stream_act == STREAM_SILENT : s->acts[family] == ACT_SILENT;
    }
    return 0;
}

/* Where the others have all the time that they need, no outcome depends on how busy this machine is. */
static int start_timer_hurried(ehlo_loop *loop, ehlo_timer *timer, uint32_t ms, void (*fn)(ehlo_loop *loop, void *arg),
                               void *arg)
{
    return ehlo_timer_start(loop, timer, ms == LONG_MS && is_silent(arg) ? TRY_MS : ms, fn, arg);
}

static void open_world(world *w, size_t nservers, int family)
{
    memset(w, 0, sizeof *w);
    w->descriptors = count_descriptors();
    assert_int_equal(ehlo_loop_new(&w->loop, NULL), EHLO_OK);
    w->nservers = nservers;
    for (size_t i = 0; i < nservers; i++) {
        if (!server_open(&w->servers[i], family)) skip();
        w->servers[i].datagram_max = 512;
    }
}

static void open_resolver(world *w, uint32_t try_ms, uint32_t tries, const char *hosts)
{
    ehlo_address addresses[SERVERS_MAX];
    write_file(w->hosts, sizeof w->hosts, hosts, strlen(hosts));
    for (size_t i = 0; i < w->nservers; i++) addresses[i] = w->servers[i].address;
    ehlo_resolver_config cfg = { .servers = addresses,
                                 .nservers = w->nservers,
                                 .hosts_file = ehlo_str_from(w->hosts),
                                 .try_ms = try_ms,
                                 .tries = tries };
    assert_int_equal(ehlo_resolver_new(&w->resolver, w->loop, &cfg), EHLO_OK);
    unlink(w->hosts);
}

/* No descriptor may be left behind. */
static void close_world(world *w)
{
    ehlo_resolver_free(w->resolver);
    ehlo_loop_free(w->loop);
    for (size_t i = 0; i < w->nservers; i++) server_close(&w->servers[i]);
    assert_int_equal(count_descriptors(), w->descriptors);
}

static ehlo_lookup *start(world *w, const char *host, result *r)
{
    ehlo_lookup *lookup = NULL;
    r->inside = 1;
    assert_int_equal(ehlo_resolve(w->resolver, ehlo_str_from(host), on_addresses, r, &lookup), EHLO_OK);
    r->inside = 0;
    assert_non_null(lookup);
    return lookup;
}

static result look_up(world *w, const char *host)
{
    result r = { 0 };
    start(w, host, &r);
    DRIVE_UNTIL(w, r.calls > 0);
    for (int i = 0; i < 4; i++) drive(w);
    assert_int_equal(r.calls, 1);
    return r;
}

/* What became of a look-up of MX records. */
typedef struct mx_result {
    unsigned calls;
    int inside;
    ehlo_dns_status status;
    unsigned aliases;
    unsigned count;
    char list[600]; /* "10 mx.example", a blank behind each; a target that is no name is "?"; what fits */
    size_t len;
    ehlo_lookup *cancel;
    ehlo_resolver *freed;
} mx_result;

static void on_mx(ehlo_loop *loop, ehlo_dns_answer *answer, void *arg)
{
    mx_result *r = arg;
    ehlo_dns_record record;
    assert_non_null(loop);
    assert_false(r->inside);
    assert_int_not_equal(answer->status, EHLO_DNS_TRUNCATED);
    if (r->cancel != NULL) ehlo_lookup_cancel(r->cancel);
    if (r->freed != NULL) ehlo_resolver_free(r->freed);
    r->calls++;
    r->status = answer->status;
    r->aliases = answer->aliases;
    r->count = answer->count;
    unsigned told = 0;
    for (; ehlo_dns_next(answer, &record); told++) {
        int len = record.refused ? 1 : record.name.len;
        if (r->len + (size_t)len + 8 > sizeof r->list) continue;
        r->len += (size_t)snprintf(r->list + r->len, sizeof r->list - r->len, "%u %.*s ", record.preference, len,
                                   record.refused ? "?" : record.name.text);
    }
    assert_int_equal(told, r->count);
}

static ehlo_lookup *start_mx(world *w, const char *domain, mx_result *r)
{
    ehlo_lookup *lookup = NULL;
    r->inside = 1;
    assert_int_equal(ehlo_resolve_mx(w->resolver, ehlo_str_from(domain), on_mx, r, &lookup), EHLO_OK);
    r->inside = 0;
    assert_non_null(lookup);
    return lookup;
}

static mx_result look_up_mx(world *w, const char *domain)
{
    mx_result r = { 0 };
    start_mx(w, domain, &r);
    DRIVE_UNTIL(w, r.calls > 0);
    for (int i = 0; i < 4; i++) drive(w);
    assert_int_equal(r.calls, 1);
    return r;
}

static void assert_mx(const mx_result *r, ehlo_dns_status status, const char *list, const char *name)
{
    assert_text(ehlo_str_from(list), ehlo_str_make(r->list, r->len), "the list of exchangers", name);
    if (r->status != status) fail_msg("%s: status %d, expected %d", name, (int)r->status, (int)status);
}

static void assert_result(const result *r, ehlo_dns_status status, const char *addresses, const char *name)
{
    char text[4096] = "";
    size_t len = 0;
    for (size_t i = 0; i < r->n; i++) {
        size_t taken;
        if (i > 0) text[len++] = ' ';
        assert_int_equal(ehlo_address_write(&r->addresses[i], 0, text + len, sizeof text - len, &taken), EHLO_OK);
        assert_int_equal(r->addresses[i].port, 0);
        len += taken;
    }
    assert_text(ehlo_str_from(addresses), ehlo_str_make(text, len), "the list of addresses", name);
    if (r->status != status) fail_msg("%s: status %d, expected %d", name, (int)r->status, (int)status);
}

/* -- one server ------------------------------------------------------------------------------------- */

typedef struct status_case {
    const char *name;
    act acts[OF_BOTH]; /* AAAA, A */
    unsigned counts[OF_BOTH];
    ehlo_dns_status status;
    const char *addresses;
} status_case;

static const status_case statuses[] = {
    { "both", { ACT_FOUND, ACT_FOUND }, { 1, 1 }, EHLO_DNS_FOUND, "2001:db8::1 192.0.2.1" },
    { "interleaved",
      { ACT_FOUND, ACT_FOUND },
      { 3, 2 },
      EHLO_DNS_FOUND,
      "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3" },
    { "more IPv4", { ACT_FOUND, ACT_FOUND }, { 1, 3 }, EHLO_DNS_FOUND, "2001:db8::1 192.0.2.1 192.0.2.2 192.0.2.3" },
    { "IPv4 only", { ACT_NODATA, ACT_FOUND }, { 0, 2 }, EHLO_DNS_FOUND, "192.0.2.1 192.0.2.2" },
    { "IPv6 only", { ACT_FOUND, ACT_NODATA }, { 2, 0 }, EHLO_DNS_FOUND, "2001:db8::1 2001:db8::2" },
    { "AAAA fails", { ACT_SERVFAIL, ACT_FOUND }, { 0, 1 }, EHLO_DNS_FOUND, "192.0.2.1" },
    { "A fails", { ACT_FOUND, ACT_REFUSED }, { 1, 0 }, EHLO_DNS_FOUND, "2001:db8::1" },
    { "AAAA is denied", { ACT_NXDOMAIN, ACT_FOUND }, { 0, 1 }, EHLO_DNS_FOUND, "192.0.2.1" },
    { "no data", { ACT_NODATA, ACT_NODATA }, { 0, 0 }, EHLO_DNS_NODATA, "" },
    { "no name", { ACT_NXDOMAIN, ACT_NXDOMAIN }, { 0, 0 }, EHLO_DNS_NXDOMAIN, "" },
    { "no name, no data", { ACT_NXDOMAIN, ACT_NODATA }, { 0, 0 }, EHLO_DNS_NODATA, "" },
    { "fails", { ACT_SERVFAIL, ACT_SERVFAIL }, { 0, 0 }, EHLO_DNS_FAILED, "" },
    { "not implemented", { ACT_NOTIMP, ACT_NOTIMP }, { 0, 0 }, EHLO_DNS_FAILED, "" },
    { "AAAA fails, no A", { ACT_SERVFAIL, ACT_NODATA }, { 0, 0 }, EHLO_DNS_FAILED, "" },
    { "no AAAA, A fails", { ACT_NODATA, ACT_SERVFAIL }, { 0, 0 }, EHLO_DNS_FAILED, "" },
    { "no name, A fails", { ACT_NXDOMAIN, ACT_REFUSED }, { 0, 0 }, EHLO_DNS_FAILED, "" },
    { "silent", { ACT_SILENT, ACT_SILENT }, { 0, 0 }, EHLO_DNS_FAILED, "" },
    { "AAAA is not answered", { ACT_SILENT, ACT_FOUND }, { 0, 1 }, EHLO_DNS_FOUND, "192.0.2.1" },
};

static void the_answers_of_both_families_are_one_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(statuses); i++) {
        const status_case *c = &statuses[i];
        world w;
        open_world(&w, 1, AF_INET);
        memcpy(w.servers[0].acts, c->acts, sizeof c->acts);
        memcpy(w.servers[0].counts, c->counts, sizeof c->counts);
        open_resolver(&w, LONG_MS, 1, "");
        hurried = &w;
        result r = look_up(&w, "mail.example");
        hurried = NULL;
        assert_result(&r, c->status, c->addresses, c->name);
        assert_int_equal(w.servers[0].asked[OF_A], 1);
        assert_int_equal(w.servers[0].asked[OF_AAAA], 1);
        close_world(&w);
    }
}

static void both_families_are_asked_at_once_from_ports_of_their_own(void **state)
{
    world w;
    result r = { 0 };
    (void)state;
    open_world(&w, 1, AF_INET);
    w.servers[0].acts[OF_A] = w.servers[0].acts[OF_AAAA] = ACT_SILENT;
    open_resolver(&w, LONG_MS, 1, "");
    start(&w, "mail.example", &r);
    DRIVE_UNTIL(&w, w.servers[0].seen == 2);
    assert_int_not_equal(w.servers[0].ports[0], w.servers[0].ports[1]);
    close_world(&w);
    assert_int_equal(r.calls, 0);
}

/* Sixteen bits drawn 64 times: to see fewer than 48 of them is as good as impossible, and so is a constant step. */
static void assert_random(const server *s)
{
    unsigned ids = 0;
    unsigned ports = 0;
    unsigned steps = 0;
    assert_int_equal(s->seen, 64);
    for (unsigned i = 0; i < 64; i++) {
        unsigned same_id = 0;
        unsigned same_port = 0;
        for (unsigned j = 0; j < i; j++) {
            same_id |= s->ids[j] == s->ids[i];
            same_port |= s->ports[j] == s->ports[i];
        }
        ids += !same_id;
        ports += !same_port;
        if (i > 1) steps += (uint16_t)(s->ids[i] - s->ids[i - 1]) != (uint16_t)(s->ids[i - 1] - s->ids[i - 2]);
    }
    assert_true(ids >= 48 && ports >= 16 && steps >= 48);
}

static void ids_and_ports_cannot_be_guessed(void **state)
{
    (void)state;
    for (int without = 0; without < 2; without++) {
        world w;
        has_no_entropy_call = without;
        open_world(&w, 1, AF_INET);
        open_resolver(&w, LONG_MS, 1, "");
        for (int i = 0; i < 32; i++) look_up(&w, "mail.example");
        assert_random(&w.servers[0]);
        close_world(&w);
    }
    has_no_entropy_call = 0;
}

static void no_more_than_sixteen_addresses_of_a_family_are_told(void **state)
{
    world w;
    (void)state;
    open_world(&w, 1, AF_INET);
    w.servers[0].counts[OF_A] = 30;
    w.servers[0].counts[OF_AAAA] = 17;
    open_resolver(&w, LONG_MS, 1, "");
    result r = look_up(&w, "mail.example");
    assert_int_equal(r.n, 32);
    for (unsigned i = 0; i < 32; i++) {
        assert_int_equal(r.addresses[i].family, i % 2 == 0 ? EHLO_FAMILY_IPV6 : EHLO_FAMILY_IPV4);
        assert_int_equal(r.addresses[i].octets[i % 2 == 0 ? 15 : 3], i / 2 + 1);
    }
    close_world(&w);
}

static void a_server_is_reached_by_ipv6(void **state)
{
    world w;
    (void)state;
    open_world(&w, 1, AF_INET6);
    w.servers[0].acts[OF_A] = ACT_TRUNCATED;
    open_resolver(&w, LONG_MS, 1, "");
    result r = look_up(&w, "mail.example.");
    assert_result(&r, EHLO_DNS_FOUND, "2001:db8::1 192.0.2.1", "::1");
    assert_int_equal(w.servers[0].streamed[OF_A], 1);
    close_world(&w);
}

/* -- what is no answer ------------------------------------------------------------------------------ */

static const act noises[] = { ACT_WRONG_ID, ACT_WRONG_NAME, ACT_WRONG_TYPE, ACT_ECHO, ACT_EMPTY, ACT_FORGED };

static void what_answers_no_query_of_ours_is_passed_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(noises); i++) {
        world w;
        open_world(&w, 1, AF_INET);
        for (int kind = 0; kind < KINDS; kind++) w.servers[0].acts[kind] = noises[i];
        open_resolver(&w, LONG_MS, 1, "");
        result r = look_up(&w, "mail.example");
        assert_result(&r, EHLO_DNS_FOUND, "2001:db8::1 192.0.2.1", "noise, then the answer");
        assert_int_equal(w.servers[0].asked[OF_A], 1);
        mx_result mx = look_up_mx(&w, "mail.example");
        assert_mx(&mx, EHLO_DNS_FOUND, "1 mx.mail.example ", "noise, then the answer");
        assert_int_equal(w.servers[0].asked[OF_MX], 1);
        close_world(&w);
    }
}

static void noise_alone_does_not_prolong_the_wait(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(noises); i++) {
        world w;
        open_world(&w, 1, AF_INET);
        for (int kind = 0; kind < KINDS; kind++) w.servers[0].acts[kind] = noises[i];
        w.servers[0].only_noise = 1;
        open_resolver(&w, TRY_MS, 1, "");
        uint64_t begin = now_ms();
        result r = look_up(&w, "mail.example");
        assert_result(&r, EHLO_DNS_FAILED, "", "noise");
        mx_result mx = look_up_mx(&w, "mail.example");
        assert_mx(&mx, EHLO_DNS_FAILED, "", "noise");
        assert_true(now_ms() - begin >= 2 * (TRY_MS - 1));
        close_world(&w);
    }
}

/* -- the next server -------------------------------------------------------------------------------- */

typedef struct next_case {
    const char *name;
    act first;
    stream_act stream;
} next_case;

static const next_case nexts[] = {
    { "SERVFAIL", ACT_SERVFAIL, STREAM_ANSWER },
    { "REFUSED", ACT_REFUSED, STREAM_ANSWER },
    { "NOTIMP", ACT_NOTIMP, STREAM_ANSWER },
    { "broken", ACT_BROKEN, STREAM_ANSWER },
    { "referral", ACT_REFERRAL, STREAM_ANSWER },
    { "lame", ACT_LAME, STREAM_ANSWER },
    { "silent", ACT_SILENT, STREAM_ANSWER },
    { "TCP refused", ACT_TRUNCATED, STREAM_REFUSED },
    { "TCP closed", ACT_TRUNCATED, STREAM_CLOSED },
    { "TCP cut", ACT_TRUNCATED, STREAM_CUT },
    { "TCP wrong id", ACT_TRUNCATED, STREAM_WRONG_ID },
    { "TCP truncated", ACT_TRUNCATED, STREAM_TRUNCATED },
    { "TCP nothing", ACT_TRUNCATED, STREAM_NOTHING },
    { "TCP silent", ACT_TRUNCATED, STREAM_SILENT },
};

/* [C118] */
static void where_one_server_cannot_tell_the_next_is_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(nexts); i++) {
        const next_case *c = &nexts[i];
        world w;
        open_world(&w, 2, AF_INET);
        for (int kind = 0; kind < KINDS; kind++) w.servers[0].acts[kind] = c->first;
        w.servers[0].stream_act = c->stream;
        w.servers[1].counts[OF_A] = w.servers[1].counts[OF_MX] = 2;
        if (c->stream == STREAM_REFUSED) server_close_tcp(&w.servers[0]);
        open_resolver(&w, LONG_MS, 1, "");
        hurried = &w;
        result r = look_up(&w, "mail.example");
        mx_result mx = look_up_mx(&w, "mail.example");
        hurried = NULL;
        assert_result(&r, EHLO_DNS_FOUND, "2001:db8::1 192.0.2.1 192.0.2.2", c->name);
        assert_mx(&mx, EHLO_DNS_FOUND, "1 mx.mail.example 2 mx.mail.example ", c->name);
        for (int kind = 0; kind < KINDS; kind++) {
            assert_int_equal(w.servers[0].asked[kind], 1);
            assert_int_equal(w.servers[1].asked[kind], 1);
        }
        close_world(&w);
    }
}

static void a_server_that_is_not_there_costs_no_time(void **state)
{
    world w;
    (void)state;
    open_world(&w, 2, AF_INET);
    open_resolver(&w, LONG_MS, 1, "");
    server_close(&w.servers[0]);
    result r = look_up(&w, "mail.example");
    assert_result(&r, EHLO_DNS_FOUND, "2001:db8::1 192.0.2.1", "refused port");
    mx_result mx = look_up_mx(&w, "mail.example");
    assert_mx(&mx, EHLO_DNS_FOUND, "1 mx.mail.example ", "refused port");
    close_world(&w);
}

/* Nobody may send to that address: the query does not even leave. */
static void a_server_that_cannot_be_asked_fails_the_look_up_later(void **state)
{
    world w;
    (void)state;
    open_world(&w, 1, AF_INET);
    ehlo_address real = w.servers[0].address;
    memset(w.servers[0].address.octets, 255, 4);
    open_resolver(&w, LONG_MS, 2, "");
    w.servers[0].address = real;
    result r = look_up(&w, "mail.example");
    assert_result(&r, EHLO_DNS_FAILED, "", "broadcast");
    close_world(&w);
}

static void without_descriptors_a_look_up_fails_later(void **state)
{
    world w;
    struct rlimit usual;
    (void)state;
    open_world(&w, 1, AF_INET);
    open_resolver(&w, LONG_MS, 2, "");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    int next = dup(w.servers[0].udp);
    close(next);
    struct rlimit none = { .rlim_cur = (rlim_t)next, .rlim_max = usual.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    result r = look_up(&w, "mail.example");
    mx_result mx = look_up_mx(&w, "mail.example");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    assert_result(&r, EHLO_DNS_FAILED, "", "no descriptors");
    assert_mx(&mx, EHLO_DNS_FAILED, "", "no descriptors");
    close_world(&w);
}

/* [C118] */
static void that_there_is_nothing_is_final(void **state)
{
    static const act finals[] = { ACT_NODATA, ACT_NXDOMAIN };
    (void)state;
    for (size_t i = 0; i < COUNT(finals); i++) {
        world w;
        open_world(&w, 2, AF_INET);
        ehlo_dns_status status = finals[i] == ACT_NODATA ? EHLO_DNS_NODATA : EHLO_DNS_NXDOMAIN;
        for (int kind = 0; kind < KINDS; kind++) w.servers[0].acts[kind] = finals[i];
        open_resolver(&w, LONG_MS, 3, "");
        result r = look_up(&w, "mail.example");
        assert_result(&r, status, "", "final");
        mx_result mx = look_up_mx(&w, "mail.example");
        assert_mx(&mx, status, "", "final");
        assert_int_equal(w.servers[0].seen, 3);
        assert_int_equal(w.servers[1].seen, 0);
        close_world(&w);
    }
}

static void silent_servers_are_asked_in_rounds_and_then_no_more(void **state)
{
    world w;
    (void)state;
    open_world(&w, 2, AF_INET);
    for (int i = 0; i < 2; i++) w.servers[i].acts[OF_A] = w.servers[i].acts[OF_AAAA] = ACT_SILENT;
    open_resolver(&w, TRY_MS, 3, "");
    uint64_t begin = now_ms();
    result r = look_up(&w, "mail.example");
    assert_result(&r, EHLO_DNS_FAILED, "", "silent");
    assert_true(now_ms() - begin >= 6 * (TRY_MS - 1));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(w.servers[i].asked[OF_A], 3);
        assert_int_equal(w.servers[i].asked[OF_AAAA], 3);
    }
    close_world(&w);
}

/* Some servers never answer for AAAA: no mail waits for that as long as for a server that is down. */
static void where_one_family_is_found_the_other_is_not_waited_for_long(void **state)
{
    (void)state;
    for (int silent = 0; silent < OF_BOTH; silent++) {
        world w;
        open_world(&w, 1, AF_INET);
        w.servers[0].acts[silent] = ACT_SILENT;
        w.servers[0].acts[1 - silent] = ACT_FOUND;
        w.servers[0].counts[1 - silent] = 1;
        open_resolver(&w, 2 * LONG_MS, 1, "");
        result r = look_up(&w, "mail.example");
        assert_result(&r, EHLO_DNS_FOUND, silent == OF_AAAA ? "192.0.2.1" : "2001:db8::1", "one family");
        close_world(&w);
    }
}

static void a_server_that_wakes_up_in_the_second_round_is_heard(void **state)
{
    world w;
    result r = { 0 };
    (void)state;
    open_world(&w, 1, AF_INET);
    w.servers[0].acts[OF_A] = w.servers[0].acts[OF_AAAA] = ACT_SILENT;
    open_resolver(&w, TRY_MS, 50, "");
    start(&w, "mail.example", &r);
    DRIVE_UNTIL(&w, w.servers[0].asked[OF_A] > 0 && w.servers[0].asked[OF_AAAA] > 0);
    w.servers[0].acts[OF_A] = w.servers[0].acts[OF_AAAA] = ACT_FOUND;
    DRIVE_UNTIL(&w, r.calls > 0);
    assert_result(&r, EHLO_DNS_FOUND, "2001:db8::1 192.0.2.1", "second round");
    close_world(&w);
}

/* -- TCP -------------------------------------------------------------------------------------------- */

typedef struct tcp_case {
    unsigned records;
    size_t piece;
} tcp_case;

static const tcp_case streams[] = { { 1, 1 }, { 1, 2 }, { 2, 3 }, { 40, 500 }, { 2300, 65537 } };

static void what_did_not_fit_comes_by_tcp_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(streams); i++) {
        world w;
        open_world(&w, 1, AF_INET);
        server *s = &w.servers[0];
        s->acts[OF_A] = s->acts[OF_AAAA] = ACT_TRUNCATED;
        s->counts[OF_A] = s->counts[OF_AAAA] = streams[i].records;
        s->piece = streams[i].piece;
        open_resolver(&w, LONG_MS, 1, "");
        result r = look_up(&w, "mail.example");
        assert_int_equal(r.status, EHLO_DNS_FOUND);
        assert_int_equal(r.n, streams[i].records < 16 ? 2 * streams[i].records : 32);
        assert_int_equal(s->streamed[OF_A] + s->streamed[OF_AAAA], 2);
        close_world(&w);
    }
}

static void what_is_not_there_may_be_said_by_tcp_too(void **state)
{
    world w;
    (void)state;
    open_world(&w, 1, AF_INET);
    w.servers[0].acts[OF_A] = w.servers[0].acts[OF_AAAA] = ACT_TRUNCATED;
    w.servers[0].counts[OF_A] = w.servers[0].counts[OF_AAAA] = 0;
    open_resolver(&w, LONG_MS, 1, "");
    result r = look_up(&w, "mail.example");
    assert_result(&r, EHLO_DNS_NODATA, "", "by TCP");
    close_world(&w);
}

/* Some servers send whatever there is: up to as much as a datagram takes. */
static void a_datagram_of_more_than_512_octets_is_taken(void **state)
{
    static const unsigned sizes[] = { 40, 250, 3000, 3442 };
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        world w;
        open_world(&w, 1, AF_INET);
        server_close_tcp(&w.servers[0]);
        w.servers[0].counts[OF_MX] = w.servers[0].counts[OF_A] = sizes[i];
        open_resolver(&w, LONG_MS, 1, "");
        mx_result mx = look_up_mx(&w, "mail.example");
        assert_int_equal(mx.status, EHLO_DNS_FOUND);
        assert_int_equal(mx.count, sizes[i]);
        result r = look_up(&w, "mail.example");
        assert_int_equal(r.n, 17);
        assert_int_equal(w.servers[0].asked[OF_MX] + w.servers[0].asked[OF_A], 2);
        close_world(&w);
    }
}

/* -- what is known at once -------------------------------------------------------------------------- */

typedef struct known_case {
    const char *host;
    const char *addresses;
} known_case;

static const char hosts[] = "# 192.0.2.9 mail.example\n"
                            "192.0.2.7\tmail.example  other.example # not.example\r\n"
                            "2001:db8::7 Mail.Example\n"
                            "192.0.2.8 mail.example\n"
                            "192.0.2.300 broken.example\n"
                            "fe80::1%lo0 scoped.example\n"
                            "203.0.113.1 localhost\n"
                            "::7 v6.example";

static const known_case knowns[] = {
    { "192.0.2.1", "192.0.2.1" },
    { "[192.0.2.1]", "192.0.2.1" },
    { "2001:db8::1", "2001:db8::1" },
    { "[2001:db8::1]", "2001:db8::1" },
    { "[IPv6:2001:db8::1]", "2001:db8::1" },
    { "[ipv6:2001:DB8:0::1]", "2001:db8::1" },
    { "::1", "::1" },
    { "localhost", "::1 127.0.0.1" },
    { "LocalHost.", "::1 127.0.0.1" },
    { "a.localhost", "::1 127.0.0.1" },
    { "mail.example", "2001:db8::7 192.0.2.7 192.0.2.8" },
    { "MAIL.EXAMPLE.", "2001:db8::7 192.0.2.7 192.0.2.8" },
    { "other.example", "192.0.2.7" },
    { "v6.example", "::7" },
};

static void addresses_localhost_and_hosts_are_known_without_asking(void **state)
{
    world w;
    (void)state;
    open_world(&w, 1, AF_INET);
    open_resolver(&w, LONG_MS, 1, hosts);
    for (size_t i = 0; i < COUNT(knowns); i++) {
        result r = look_up(&w, knowns[i].host);
        assert_result(&r, EHLO_DNS_FOUND, knowns[i].addresses, knowns[i].host);
    }
    assert_int_equal(w.servers[0].seen, 0);
    close_world(&w);
}

static void what_is_nearly_known_is_asked_for(void **state)
{
    static const char *const names[] = { "notlocalhost",   "localhost.example", "not.example", "broken.example",
                                         "scoped.example", "il.example",        "192.0.2.256", "lo.example" };
    world w;
    (void)state;
    open_world(&w, 1, AF_INET);
    open_resolver(&w, LONG_MS, 1, hosts);
    for (size_t i = 0; i < COUNT(names); i++) {
        result r = look_up(&w, names[i]);
        assert_result(&r, EHLO_DNS_FOUND, "2001:db8::1 192.0.2.1", names[i]);
        assert_int_equal(w.servers[0].seen, 2 * (i + 1));
    }
    close_world(&w);
}

static void the_longest_name_is_asked_for_with_and_without_its_dot(void **state)
{
    char name[EHLO_DNS_NAME_MAX + 2];
    world w;
    (void)state;
    memset(name, 'a', sizeof name);
    for (size_t i = 9; i < EHLO_DNS_NAME_MAX; i += 10) name[i] = '.';
    name[EHLO_DNS_NAME_MAX] = name[EHLO_DNS_NAME_MAX + 1] = '\0';
    open_world(&w, 1, AF_INET);
    open_resolver(&w, LONG_MS, 1, "");
    for (int dot = 0; dot < 2; dot++) {
        if (dot) name[EHLO_DNS_NAME_MAX] = '.';
        result r = look_up(&w, name);
        assert_result(&r, EHLO_DNS_FOUND, "2001:db8::1 192.0.2.1", "the longest name");
    }
    close_world(&w);
}

static const ehlo_str bad_names[] = {
    TEXT(""),
    TEXT("."),
    TEXT("a..b"),
    TEXT("-a.example"),
    TEXT("a b"),
    TEXT("a\r\nb"),
    TEXT("a\0b"),
    TEXT("192.0.2.1\0"),
    TEXT("a\r\n.localhost"),
    TEXT(".localhost"),
    TEXT("[]"),
    TEXT("["),
    TEXT("[192.0.2.1"),
    TEXT("[mail.example]"),
    TEXT("[IPv6:192.0.2.1]"),
    TEXT("[IPv6:]"),
    TEXT("IPv6:2001:db8::1"),
    TEXT("fe80::1%lo"),
    TEXT("b\xc3\xbc.example"),
    TEXT("abcdefghijklmnopqrstuvwxyz0123456789-abcdefghijklmnopqrstuvwxyz0.example"),
};

static void no_name_is_no_look_up(void **state)
{
    world w;
    result r = { 0 };
    char long_name[600];
    (void)state;
    open_world(&w, 1, AF_INET);
    open_resolver(&w, LONG_MS, 1, hosts);
    for (size_t i = 0; i < COUNT(bad_names); i++) {
        ehlo_str name = guarded(bad_names[i]);
        ehlo_lookup *lookup = (ehlo_lookup *)&w;
        assert_int_equal(ehlo_resolve(w.resolver, name, on_addresses, &r, &lookup), EHLO_ERR_ARG);
        assert_ptr_equal(lookup, &w);
        unguard(name);
    }
    memset(long_name, 'a', sizeof long_name);
    for (size_t i = 9; i < sizeof long_name; i += 10) long_name[i] = '.';
    for (size_t len = 254; len <= sizeof long_name; len++) {
        ehlo_str name = ehlo_str_make(long_name, len);
        assert_int_equal(ehlo_resolve(w.resolver, name, on_addresses, &r, NULL), EHLO_ERR_ARG);
    }
    for (int i = 0; i < 8; i++) drive(&w);
    assert_int_equal(r.calls + w.servers[0].seen, 0);
    close_world(&w);
}

/* -- MX --------------------------------------------------------------------------------------------- */

typedef struct mx_case {
    const char *name;
    act acts[SERVERS_MAX];
    ehlo_dns_status status;
    const char *list;
} mx_case;

static const mx_case mx_cases[] = {
    { "found", { ACT_FOUND, ACT_NXDOMAIN }, EHLO_DNS_FOUND, "1 mx.mail.example 2 mx.mail.example " },
    { "no data", { ACT_NODATA, ACT_FOUND }, EHLO_DNS_NODATA, "" },
    { "no name", { ACT_NXDOMAIN, ACT_FOUND }, EHLO_DNS_NXDOMAIN, "" },
    { "fails, no name", { ACT_SERVFAIL, ACT_NXDOMAIN }, EHLO_DNS_NXDOMAIN, "" },
    { "silent, no data", { ACT_SILENT, ACT_NODATA }, EHLO_DNS_NODATA, "" },
    { "both fail", { ACT_SERVFAIL, ACT_SERVFAIL }, EHLO_DNS_FAILED, "" },
    { "both refuse", { ACT_REFUSED, ACT_REFUSED }, EHLO_DNS_FAILED, "" },
    { "both cannot", { ACT_NOTIMP, ACT_NOTIMP }, EHLO_DNS_FAILED, "" },
    { "both send us elsewhere", { ACT_REFERRAL, ACT_REFERRAL }, EHLO_DNS_FAILED, "" },
    { "both lame", { ACT_LAME, ACT_LAME }, EHLO_DNS_FAILED, "" },
    { "both silent", { ACT_SILENT, ACT_SILENT }, EHLO_DNS_FAILED, "" },
    { "both broken", { ACT_BROKEN, ACT_BROKEN }, EHLO_DNS_FAILED, "" },
    { "fails, silent", { ACT_SERVFAIL, ACT_SILENT }, EHLO_DNS_FAILED, "" },
    { "silent, fails", { ACT_SILENT, ACT_REFUSED }, EHLO_DNS_FAILED, "" },
    { "by TCP", { ACT_TRUNCATED, ACT_NXDOMAIN }, EHLO_DNS_FOUND, "1 mx.mail.example 2 mx.mail.example " },
};

/* [C118] */
static void only_what_a_server_said_is_told_of_a_domain(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mx_cases); i++) {
        const mx_case *c = &mx_cases[i];
        world w;
        open_world(&w, 2, AF_INET);
        for (int k = 0; k < 2; k++) w.servers[k].acts[OF_MX] = c->acts[k];
        w.servers[0].counts[OF_MX] = w.servers[1].counts[OF_MX] = 2;
        open_resolver(&w, LONG_MS, 2, "192.0.2.7 mail.example\n");
        hurried = &w;
        mx_result r = look_up_mx(&w, "mail.example");
        hurried = NULL;
        assert_mx(&r, c->status, c->list, c->name);
        assert_int_equal(w.servers[0].asked[OF_A] + w.servers[0].asked[OF_AAAA], 0);
        for (int k = 0; k < 2 && c->status == EHLO_DNS_FAILED; k++) assert_int_equal(w.servers[k].asked[OF_MX], 2);
        close_world(&w);
    }
}

/* RFC 6761 6.3 */
static void localhost_has_no_exchangers_and_nobody_is_asked(void **state)
{
    static const char *const names[] = { "localhost", "LocalHost.", "a.localhost" };
    world w;
    mx_result dropped = { 0 };
    (void)state;
    open_world(&w, 1, AF_INET);
    open_resolver(&w, LONG_MS, 1, "192.0.2.7 localhost\n");
    for (size_t i = 0; i < COUNT(names); i++) {
        mx_result r = look_up_mx(&w, names[i]);
        assert_mx(&r, EHLO_DNS_NODATA, "", names[i]);
        ehlo_lookup_cancel(start_mx(&w, names[i], &dropped));
    }
    assert_int_equal(w.servers[0].seen, 0);
    mx_result r = look_up_mx(&w, "notlocalhost");
    assert_mx(&r, EHLO_DNS_FOUND, "1 mx.notlocalhost ", "notlocalhost");
    assert_int_equal(dropped.calls, 0);
    close_world(&w);
}

static void no_domain_is_no_look_up_of_exchangers(void **state)
{
    world w;
    mx_result r = { 0 };
    (void)state;
    open_world(&w, 1, AF_INET);
    open_resolver(&w, LONG_MS, 1, hosts);
    for (size_t i = 0; i < COUNT(bad_names); i++) {
        ehlo_str name = guarded(bad_names[i]);
        ehlo_lookup *lookup = (ehlo_lookup *)&w;
        assert_int_equal(ehlo_resolve_mx(w.resolver, name, on_mx, &r, &lookup), EHLO_ERR_ARG);
        assert_ptr_equal(lookup, &w);
        unguard(name);
    }
    assert_int_equal(ehlo_resolve_mx(w.resolver, ehlo_str_from("[192.0.2.1]"), on_mx, &r, NULL), EHLO_ERR_ARG);
    for (int i = 0; i < 8; i++) drive(&w);
    assert_int_equal(r.calls + w.servers[0].seen, 0);
    close_world(&w);
}

static void look_ups_of_both_kinds_run_at_once(void **state)
{
    enum { MANY = 50 };
    static mx_result mx[MANY];
    static result r[MANY];
    world w;
    (void)state;
    memset(mx, 0, sizeof mx);
    memset(r, 0, sizeof r);
    open_world(&w, 1, AF_INET);
    open_resolver(&w, LONG_MS, 1, "");
    for (int i = 0; i < MANY; i++) {
        start_mx(&w, "mail.example", &mx[i]);
        start(&w, "mail.example", &r[i]);
    }
    for (int i = 0; i < MANY; i++) DRIVE_UNTIL(&w, mx[i].calls + r[i].calls == 2);
    for (int i = 0; i < MANY; i++) {
        assert_mx(&mx[i], EHLO_DNS_FOUND, "1 mx.mail.example ", "one of many");
        assert_result(&r[i], EHLO_DNS_FOUND, "2001:db8::1 192.0.2.1", "one of many");
    }
    close_world(&w);
}

/* -- aliases ---------------------------------------------------------------------------------------- */

static const zone_record aliases[] = {
    { "a.example", EHLO_DNS_CNAME, 0, "b.example" },
    { "b.example", EHLO_DNS_CNAME, 0, "c.example" },
    { "c.example", EHLO_DNS_MX, 10, "mx.example" },
    { "c.example", EHLO_DNS_A, 3, NULL },
    { "c.example", EHLO_DNS_AAAA, 4, NULL },
    { "lost.example", EHLO_DNS_CNAME, 0, "gone.example" },
    { "bare.example", EHLO_DNS_CNAME, 0, "empty.example" },
    { "empty.example", 16, 0, NULL },
    { "root.example", 16, 0, NULL },
    { "self.example", EHLO_DNS_CNAME, 0, "self.example" },
    { "ping.example", EHLO_DNS_CNAME, 0, "pong.example" },
    { "pong.example", EHLO_DNS_CNAME, 0, "ping.example" },
    { "n0", EHLO_DNS_CNAME, 0, "n1" },
    { "n1", EHLO_DNS_CNAME, 0, "n2" },
    { "n2", EHLO_DNS_CNAME, 0, "n3" },
    { "n3", EHLO_DNS_CNAME, 0, "n4" },
    { "n4", EHLO_DNS_CNAME, 0, "n5" },
    { "n5", EHLO_DNS_CNAME, 0, "n6" },
    { "n6", EHLO_DNS_CNAME, 0, "n7" },
    { "n7", EHLO_DNS_CNAME, 0, "n8" },
    { "n8", EHLO_DNS_CNAME, 0, "n9" },
    { "n9", EHLO_DNS_CNAME, 0, "n10" },
    { "n10", EHLO_DNS_CNAME, 0, "c.example" },
    { NULL, 0, 0, NULL },
};

typedef struct alias_case {
    const char *name;
    ehlo_dns_status status;
    unsigned aliases;
    const char *list;
    const char *addresses;
} alias_case;

static const alias_case alias_cases[] = {
    { "c.example", EHLO_DNS_FOUND, 0, "10 mx.example ", "2001:db8::4 192.0.2.3" },
    { "b.example", EHLO_DNS_FOUND, 1, "10 mx.example ", "2001:db8::4 192.0.2.3" },
    { "a.example", EHLO_DNS_FOUND, 2, "10 mx.example ", "2001:db8::4 192.0.2.3" },
    { "n1", EHLO_DNS_FOUND, 10, "10 mx.example ", "2001:db8::4 192.0.2.3" },
    { "n0", EHLO_DNS_FAILED, 0, "", "" },
    { "lost.example", EHLO_DNS_NXDOMAIN, 1, "", "" },
    { "bare.example", EHLO_DNS_NODATA, 1, "", "" },
    { "self.example", EHLO_DNS_FAILED, 0, "", "" },
    { "ping.example", EHLO_DNS_FAILED, 0, "", "" },
};

/* [C117] [Q06] */
static void aliases_are_followed_whoever_has_to_do_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(alias_cases); i++) {
        const alias_case *c = &alias_cases[i / 2];
        world w;
        open_world(&w, 1, AF_INET);
        w.servers[0].zone = aliases;
        w.servers[0].follows = i % 2 == 0;
        open_resolver(&w, LONG_MS, 1, "");
        mx_result mx = look_up_mx(&w, c->name);
        assert_mx(&mx, c->status, c->list, c->name);
        assert_int_equal(mx.aliases, c->aliases);
        unsigned asked = w.servers[0].asked[OF_MX];
        if (w.servers[0].follows)
            assert_int_equal(asked, c->status == EHLO_DNS_NODATA && c->aliases > 0 ? 2 : 1);
        else
            assert_int_equal(asked, c->status == EHLO_DNS_FAILED ? asked : c->aliases + 1);
        assert_true(asked <= 11);
        result r = look_up(&w, c->name);
        assert_result(&r, c->status, c->addresses, c->name);
        close_world(&w);
    }
}

static void add_alias_to_the_root(dns_message *m)
{
    dns_add_fields(m, "root.example", EHLO_DNS_CNAME, 60, 1);
    dns_add(m, "", 1);
}

/* There is nobody to be asked for it. */
static void an_alias_to_the_root_leads_to_nothing(void **state)
{
    world w;
    (void)state;
    open_world(&w, 1, AF_INET);
    w.servers[0].zone = aliases;
    w.servers[0].spoil = add_alias_to_the_root;
    open_resolver(&w, LONG_MS, 1, "");
    mx_result mx = look_up_mx(&w, "root.example");
    assert_mx(&mx, EHLO_DNS_NODATA, "", "root");
    assert_int_equal(w.servers[0].asked[OF_MX], 1);
    close_world(&w);
}

/* The first server has the alias alone; what it leads to the second one knows. */
static void the_target_of_an_alias_may_be_known_to_another_server(void **state)
{
    static const zone_record begin[] = {
        { "a.example", EHLO_DNS_CNAME, 0, "b.example" },
        { NULL, 0, 0, NULL },
    };
    (void)state;
    for (int end = 0; end < 2; end++) {
        world w;
        open_world(&w, 2, AF_INET);
        w.servers[0].zone = begin;
        w.servers[1].zone = aliases;
        w.servers[1].follows = 1;
        open_resolver(&w, LONG_MS, 1, "");
        mx_result mx = { 0 };
        start_mx(&w, "a.example", &mx);
        DRIVE_UNTIL(&w, w.servers[0].asked[OF_MX] == 1);
        w.servers[0].acts[OF_MX] = ACT_REFUSED;
        if (end) w.servers[1].acts[OF_MX] = ACT_SERVFAIL;
        DRIVE_UNTIL(&w, mx.calls > 0);
        if (end)
            assert_mx(&mx, EHLO_DNS_FAILED, "", "nobody knows the target");
        else
            assert_mx(&mx, EHLO_DNS_FOUND, "10 mx.example ", "the second one knows it");
        assert_int_equal(mx.aliases, end ? 0 : 2);
        assert_int_equal(w.servers[0].asked[OF_MX], 2);
        assert_int_equal(w.servers[1].asked[OF_MX], 1);
        close_world(&w);
    }
}

/* -- hostile zones ---------------------------------------------------------------------------------- */

static void add_foreign(dns_message *m)
{
    dns_add_mx(m, "evil.example", 0, "mx.evil.example");
    dns_add_mx(m, "example", 0, "mx.evil.example");
    dns_add_fields(m, "a.example", 16, 60, 1);
    dns_add(m, "", 1);
}

static void add_of_other_class(dns_message *m)
{
    size_t at = m->len;
    dns_add_mx(m, "a.example", 0, "mx.evil.example");
    m->bytes[at + 14] = 3;
}

static void cut_by_two(dns_message *m)
{
    m->len -= 2;
}

/* Preference and no more; behind it lie octets that are not its own. */
static void add_short(dns_message *m)
{
    dns_add_fields(m, "a.example", EHLO_DNS_MX, 60, 2);
    dns_add(m, "\0\0", 2);
}

static void add_half(dns_message *m)
{
    dns_add_fields(m, "a.example", EHLO_DNS_MX, 60, 1);
    dns_add(m, "", 1);
}

static void add_loop(dns_message *m)
{
    dns_add_fields(m, "a.example", EHLO_DNS_MX, 60, 4);
    unsigned at = (unsigned)m->len + 2;
    dns_add_u16(m, 0);
    dns_add_u16(m, 0xC000U | at);
}

/* A target with a NUL in it, and one with what no host name has. */
static void add_no_names(dns_message *m)
{
    dns_add_fields(m, "a.example", EHLO_DNS_MX, 60, 7);
    dns_add(m,
            "\0\x05\x03"
            "a\0b\0",
            7);
    dns_add_fields(m, "a.example", EHLO_DNS_MX, 60, 9);
    dns_add(m,
            "\0\x06\x05"
            "a\r\nb \0",
            9);
}

static void claim_more(dns_message *m)
{
    m->bytes[7]++;
}

typedef struct hostile_case {
    const char *name;
    zone_record records[4];
    void (*spoil)(dns_message *message);
    ehlo_dns_status status;
    const char *list;
} hostile_case;

#define MX_OF_A(preference, target)                                                                                    \
    {                                                                                                                  \
        "a.example", EHLO_DNS_MX, preference, target                                                                   \
    }

static const hostile_case hostiles[] = {
    { "nothing odd", { MX_OF_A(10, "mx.example") }, NULL, EHLO_DNS_FOUND, "10 mx.example " },
    { "equal", { MX_OF_A(5, "b.example"), MX_OF_A(5, "c.example") }, NULL, EHLO_DNS_FOUND, "5 b.example 5 c.example " },
    { "null MX", { MX_OF_A(0, "") }, NULL, EHLO_DNS_FOUND, "0 . " },
    { "null MX and more", { MX_OF_A(0, ""), MX_OF_A(9, "b.example") }, NULL, EHLO_DNS_FOUND, "0 . 9 b.example " },
    { "a literal", { MX_OF_A(1, "192.0.2.1") }, NULL, EHLO_DNS_FOUND, "1 192.0.2.1 " },
    { "records of others", { MX_OF_A(10, "mx.example") }, add_foreign, EHLO_DNS_FOUND, "10 mx.example " },
    { "records of others alone", { { "a.example", 16, 0, NULL } }, add_foreign, EHLO_DNS_NODATA, "" },
    { "another class", { MX_OF_A(10, "mx.example") }, add_of_other_class, EHLO_DNS_FOUND, "10 mx.example " },
    { "no names", { MX_OF_A(10, "mx.example") }, add_no_names, EHLO_DNS_FOUND, "10 mx.example 5 ? 6 ? " },
    { "cut", { MX_OF_A(10, "mx.example") }, cut_by_two, EHLO_DNS_FAILED, "" },
    { "a record without a name", { MX_OF_A(10, "mx.example") }, add_short, EHLO_DNS_FAILED, "" },
    { "a record of one octet", { MX_OF_A(10, "mx.example") }, add_half, EHLO_DNS_FAILED, "" },
    { "a name in a loop", { MX_OF_A(10, "mx.example") }, add_loop, EHLO_DNS_FAILED, "" },
    { "more claimed than is there", { MX_OF_A(10, "mx.example") }, claim_more, EHLO_DNS_FAILED, "" },
};

/* [C121] [C122] [Q06] However it comes: by UDP, or by TCP. */
static void odd_and_hostile_exchangers_are_told_as_they_are_or_not_at_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(hostiles); i++) {
        const hostile_case *c = &hostiles[i / 2];
        world w;
        open_world(&w, 1, AF_INET);
        w.servers[0].zone = c->records;
        w.servers[0].spoil = c->spoil;
        if (i % 2) w.servers[0].datagram_max = 0;
        open_resolver(&w, LONG_MS, 2, "");
        mx_result r = look_up_mx(&w, "a.example");
        assert_mx(&r, c->status, c->list, c->name);
        unsigned asked = c->status == EHLO_DNS_FAILED ? 2 : 1;
        assert_int_equal(w.servers[0].asked[OF_MX], asked);
        assert_int_equal(w.servers[0].streamed[OF_MX], i % 2 ? asked : 0);
        close_world(&w);
    }
}

/* [Q06] Too many for a datagram, unless the server does not mind. */
static void five_hundred_exchangers_are_told(void **state)
{
    enum { MANY = 500 };
    static zone_record zone[MANY + 1];
    (void)state;
    for (unsigned i = 0; i < MANY; i++) zone[i] = (zone_record)MX_OF_A(i, "mx.example");
    for (int by_udp = 0; by_udp < 2; by_udp++) {
        world w;
        open_world(&w, 1, AF_INET);
        w.servers[0].zone = zone;
        w.servers[0].piece = 1000;
        if (by_udp) w.servers[0].datagram_max = EHLO_DNS_MESSAGE_MAX;
        open_resolver(&w, LONG_MS, 1, "");
        mx_result r = look_up_mx(&w, "a.example");
        assert_int_equal(r.status, EHLO_DNS_FOUND);
        assert_int_equal(r.count, MANY);
        assert_int_equal(w.servers[0].streamed[OF_MX], !by_udp);
        close_world(&w);
    }
}

/* Pads with records of others until not an octet more fits. */
static void fill_up(dns_message *m)
{
    while (EHLO_DNS_MESSAGE_MAX - m->len >= 60) dns_add_mx(m, "evil.example", 0, "mx.evil.example");
    size_t rest = EHLO_DNS_MESSAGE_MAX - m->len - 11;
    dns_add_fields(m, "", 16, 60, rest);
    while (m->len < EHLO_DNS_MESSAGE_MAX) dns_add(m, "", 1);
}

/* [Q06] */
static void an_answer_of_64_kilobytes_is_read(void **state)
{
    static const zone_record zone[] = { MX_OF_A(10, "mx.example"), { NULL, 0, 0, NULL } };
    world w;
    (void)state;
    open_world(&w, 1, AF_INET);
    w.servers[0].zone = zone;
    w.servers[0].spoil = fill_up;
    w.servers[0].piece = 10000;
    open_resolver(&w, LONG_MS, 1, "");
    mx_result r = look_up_mx(&w, "a.example");
    assert_mx(&r, EHLO_DNS_FOUND, "10 mx.example ", "64 KiB");
    assert_int_equal(w.servers[0].streams[0].out_len, 2 + EHLO_DNS_MESSAGE_MAX);
    close_world(&w);
}

/* -- the end ---------------------------------------------------------------------------------------- */

static void what_was_cancelled_is_never_told(void **state)
{
    world w;
    result answered = { 0 };
    result asked = { 0 };
    result half = { 0 };
    result known = { 0 };
    (void)state;
    open_world(&w, 1, AF_INET);
    open_resolver(&w, LONG_MS, 1, "");
    ehlo_lookup_cancel(start(&w, "mail.example", &answered));
    ehlo_lookup_cancel(start(&w, "192.0.2.1", &known));
    DRIVE_UNTIL(&w, w.servers[0].seen == 2);
    w.servers[0].acts[OF_AAAA] = ACT_SILENT;
    ehlo_lookup *lookup = start(&w, "mail.example", &half);
    DRIVE_UNTIL(&w, w.servers[0].seen == 4);
    for (int i = 0; i < 8; i++) drive(&w);
    ehlo_lookup_cancel(lookup);
    w.servers[0].acts[OF_A] = ACT_TRUNCATED;
    w.servers[0].stream_act = STREAM_SILENT;
    lookup = start(&w, "mail.example", &asked);
    DRIVE_UNTIL(&w, w.servers[0].seen == 6 && w.servers[0].streams[0].in_len > 5);
    ehlo_lookup_cancel(lookup);
    for (int i = 0; i < 8; i++) drive(&w);
    assert_int_equal(answered.calls + asked.calls + half.calls + known.calls, 0);
    mx_result mx = { 0 };
    w.servers[0].acts[OF_MX] = ACT_TRUNCATED;
    lookup = start_mx(&w, "mail.example", &mx);
    DRIVE_UNTIL(&w, w.servers[0].seen == 7 && w.servers[0].streams[0].in_len > 5);
    ehlo_lookup_cancel(lookup);
    for (int i = 0; i < 8; i++) drive(&w);
    assert_int_equal(mx.calls, 0);
    close_world(&w);
}

/* Both have their answers in the same round: whichever comes first drops the other. */
static void a_look_up_may_be_cancelled_from_inside_another(void **state)
{
    static const char *const names[] = { "mail.example", "192.0.2.1" };
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        world w;
        result first = { 0 };
        result second = { 0 };
        open_world(&w, 1, AF_INET);
        open_resolver(&w, LONG_MS, 1, "");
        second.cancel = start(&w, names[i], &first);
        first.cancel = start(&w, names[i], &second);
        DRIVE_UNTIL(&w, first.calls + second.calls > 0);
        for (int k = 0; k < 8; k++) drive(&w);
        assert_int_equal(first.calls + second.calls, 1);
        close_world(&w);
    }
}

static void look_ups_of_both_kinds_may_cancel_each_other(void **state)
{
    world w;
    result r = { 0 };
    mx_result mx = { 0 };
    (void)state;
    open_world(&w, 1, AF_INET);
    w.servers[0].acts[OF_AAAA] = ACT_NODATA;
    open_resolver(&w, LONG_MS, 1, "");
    mx.cancel = start(&w, "mail.example", &r);
    r.cancel = start_mx(&w, "mail.example", &mx);
    DRIVE_UNTIL(&w, r.calls + mx.calls > 0);
    for (int k = 0; k < 8; k++) drive(&w);
    assert_int_equal(r.calls + mx.calls, 1);
    close_world(&w);
}

static void the_resolver_may_go_from_inside_a_look_up_of_exchangers(void **state)
{
    (void)state;
    for (int by_tcp = 0; by_tcp < 2; by_tcp++) {
        world w;
        mx_result mx[2] = { { 0 } };
        result r = { 0 };
        open_world(&w, 1, AF_INET);
        if (by_tcp) w.servers[0].acts[OF_MX] = ACT_TRUNCATED;
        open_resolver(&w, LONG_MS, 1, "");
        mx[0].freed = mx[1].freed = r.freed = w.resolver;
        start_mx(&w, "mail.example", &mx[0]);
        start(&w, "mail.example", &r);
        start_mx(&w, "other.example", &mx[1]);
        w.resolver = NULL;
        DRIVE_UNTIL(&w, mx[0].calls + mx[1].calls + r.calls > 0);
        for (int k = 0; k < 8; k++) drive(&w);
        assert_int_equal(mx[0].calls + mx[1].calls + r.calls, 1);
        close_world(&w);
    }
}

static void the_resolver_may_go_while_look_ups_run(void **state)
{
    world w;
    result r[4] = { { 0 } };
    mx_result mx = { 0 };
    (void)state;
    open_world(&w, 1, AF_INET);
    w.servers[0].acts[OF_A] = ACT_TRUNCATED;
    w.servers[0].acts[OF_AAAA] = ACT_SILENT;
    w.servers[0].stream_act = STREAM_SILENT;
    open_resolver(&w, LONG_MS, 1, "");
    start(&w, "mail.example", &r[0]);
    DRIVE_UNTIL(&w, w.servers[0].streams[0].in_len > 5);
    start(&w, "mail.example", &r[1]);
    start(&w, "192.0.2.1", &r[2]);
    start(&w, "mail.example", &r[3]);
    start_mx(&w, "mail.example", &mx);
    ehlo_resolver_free(w.resolver);
    w.resolver = NULL;
    for (int i = 0; i < 8; i++) drive(&w);
    assert_int_equal(ehlo_loop_timeout(w.loop), -1);
    for (int i = 0; i < 4; i++) assert_int_equal(r[i].calls, 0);
    assert_int_equal(mx.calls, 0);
    close_world(&w);
}

static void the_resolver_may_go_from_inside_a_look_up(void **state)
{
    static const char *const names[] = { "mail.example", "192.0.2.1" };
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(names); i++) {
        world w;
        result last = { 0 };
        result others[2] = { { 0 } };
        open_world(&w, 1, AF_INET);
        if (i >= 2) w.servers[0].acts[OF_A] = w.servers[0].acts[OF_AAAA] = ACT_TRUNCATED;
        open_resolver(&w, LONG_MS, 1, "");
        others[0].freed = others[1].freed = last.freed = w.resolver;
        start(&w, names[i % 2], &others[0]);
        start(&w, names[i % 2], &last);
        start(&w, "other.example", &others[1]);
        w.resolver = NULL;
        DRIVE_UNTIL(&w, last.calls + others[0].calls + others[1].calls > 0);
        for (int k = 0; k < 8; k++) drive(&w);
        assert_int_equal(last.calls + others[0].calls + others[1].calls, 1);
        close_world(&w);
    }
}

static unsigned count_calls(const result *r, size_t n)
{
    unsigned calls = 0;
    for (size_t i = 0; i < n; i++) calls += r[i].calls;
    return calls;
}

static void many_look_ups_run_at_once(void **state)
{
    enum { MANY = 100 };
    static result r[MANY];
    world w;
    (void)state;
    memset(r, 0, sizeof r);
    open_world(&w, 1, AF_INET);
    w.servers[0].acts[OF_AAAA] = ACT_NODATA;
    open_resolver(&w, LONG_MS, 1, "");
    for (int i = 0; i < MANY; i++) start(&w, "mail.example", &r[i]);
    DRIVE_UNTIL(&w, count_calls(r, MANY) == MANY);
    for (int i = 0; i < MANY; i++) assert_result(&r[i], EHLO_DNS_FOUND, "192.0.2.1", "one of many");
    close_world(&w);
}

/* -- settings and files ----------------------------------------------------------------------------- */

typedef struct conf_case {
    const char *name;
    ehlo_str text;
    const char *servers; /* port 53, each behind a blank */
    uint32_t try_ms;
    uint32_t tries;
} conf_case;

static const conf_case confs[] = {
    { "nothing", TEXT(""), "", 0, 0 },
    { "one", TEXT("nameserver 192.0.2.1\n"), " 192.0.2.1", 0, 0 },
    { "no line end", TEXT("nameserver 192.0.2.1"), " 192.0.2.1", 0, 0 },
    { "both families, in order", TEXT("nameserver 2001:db8::1\nnameserver\t192.0.2.1\r\n"), " 2001:db8::1 192.0.2.1", 0,
      0 },
    { "what stands behind it", TEXT("nameserver 192.0.2.1 192.0.2.2\nnameserver 192.0.2.3#4\n"), " 192.0.2.1 192.0.2.3",
      0, 0 },
    { "comments", TEXT("# nameserver 192.0.2.1\n;nameserver 192.0.2.1\n#\n\n ; x\n"), "", 0, 0 },
    { "indented", TEXT("  nameserver  192.0.2.1  \n"), " 192.0.2.1", 0, 0 },
    { "scopes", TEXT("nameserver fe80::1%eth0\nnameserver 192.0.2.1\n"), " 192.0.2.1", 0, 0 },
    { "no addresses",
      TEXT("nameserver\nnameserver x\nnameserver 192.0.2\nnameserver 192.0.2.256\nnameserver [::1]\nnameserver ::1::\n"
           "nameserver 192.0.2.1\0\nnameserver 0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0\n"),
      "", 0, 0 },
    { "other keywords", TEXT("nameservers 192.0.2.1\nNAMESERVER 192.0.2.1\ndomain a.example\nsearch a.example b\n"), "",
      0, 0 },
    { "eight at most",
      TEXT("nameserver ::1\nnameserver ::2\nnameserver ::3\nnameserver ::4\nnameserver ::5\nnameserver ::6\n"
           "nameserver ::7\nnameserver ::8\nnameserver ::9\n"),
      " ::1 ::2 ::3 ::4 ::5 ::6 ::7 ::8", 0, 0 },
    { "options", TEXT("options rotate timeout:3 edns0 attempts:4\n"), "", 3000, 4 },
    { "the last option counts", TEXT("options timeout:3\noptions timeout:4 attempts:1\noptions attempts:2\n"), "", 4000,
      2 },
    { "options have limits", TEXT("options timeout:99 attempts:99999999999999999999999999\n"), "", 30000, 5 },
    { "bad options",
      TEXT("options timeout: attempts:\noptions timeout:0 attempts:0\noptions timeout:-1 attempts:x timeouts:3\n"
           "option timeout:3\noptions timeout:3s\n"),
      "", 0, 0 },
    { "comment in options", TEXT("options timeout:3 # attempts:4\n"), "", 3000, 0 },
};

static void resolv_conf_tells_servers_and_options(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(confs); i++) {
        const conf_case *c = &confs[i];
        ehlo_str text = guarded(c->text);
        ehlo_nameservers servers;
        char list[512];
        size_t len = 0;
        memset(&servers, 'x', sizeof servers);
        ehlo_resolv_conf_parse(text, &servers);
        for (size_t k = 0; k < servers.n; k++) {
            size_t taken;
            list[len++] = ' ';
            ehlo_address_write(&servers.address[k], 0, list + len, sizeof list - len, &taken);
            assert_int_equal(servers.address[k].port, 53);
            len += taken;
        }
        assert_text(ehlo_str_from(c->servers), ehlo_str_make(list, len), "the list of servers", c->name);
        if (servers.try_ms != c->try_ms || servers.tries != c->tries) fail_msg("%s: other options", c->name);
        unguard(text);
    }
}

typedef struct hosts_case {
    ehlo_str text;
    const char *name;
    size_t n4;
    size_t n6;
} hosts_case;

static const hosts_case host_files[] = {
    { TEXT(""), "a", 0, 0 },
    { TEXT("\n\n#\n"), "a", 0, 0 },
    { TEXT("192.0.2.1 a"), "a", 1, 0 },
    { TEXT("192.0.2.1 a\n::1 a\n"), "a", 1, 1 },
    { TEXT("192.0.2.1 b a\n192.0.2.2 b\tA\r\n"), "a", 2, 0 },
    { TEXT("192.0.2.1 aa\n192.0.2.1\n192.0.2.1 b #a\n"), "a", 0, 0 },
    { TEXT("192.0.2.1 192.0.2.1\na 192.0.2.1\n"), "a", 0, 0 },
    { TEXT("192.0.2.1 a a a\n"), "a", 1, 0 },
    { TEXT("192.0.2.1 a\n192.0.2.1 a\n::1 b\n192.0.2.1 a\n192.0.2.1 a\n::2 a\n"), "a", 4, 1 },
    { TEXT("192.0.2.1\0 a\n192.0.2.1 a\0\n"), "a", 0, 0 },
    { TEXT("192.0.2.1"), "192.0.2.1", 0, 0 },
};

static void a_hosts_file_is_found_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(host_files); i++) {
        const hosts_case *c = &host_files[i];
        ehlo_str text = guarded(c->text);
        ehlo_str rest = text;
        ehlo_address address;
        size_t found[2] = { 0 };
        while (ehlo_hosts_next(&rest, ehlo_str_from(c->name), &address)) {
            found[address.family == EHLO_FAMILY_IPV6]++;
            assert_int_equal(address.port, 0);
        }
        assert_int_equal(found[0], c->n4);
        assert_int_equal(found[1], c->n6);
        unguard(text);
    }
}

static void a_file_that_is_too_long_ends_with_a_whole_line(void **state)
{
    char path[64];
    char lines[10000];
    ehlo_str text;
    (void)state;
    for (size_t i = 0; i < sizeof lines; i++) lines[i] = i % 10 == 9 ? '\n' : 'a';
    write_file(path, sizeof path, lines, sizeof lines);
    for (size_t max = 0; max < 20000; max += 777) {
        assert_int_equal(ehlo_file_read(ehlo_str_from(path), max, &text), EHLO_OK);
        size_t len = max <= sizeof lines ? max / 10 * 10 : sizeof lines;
        assert_text(ehlo_str_make(lines, len), text, "text", "file");
        ehlo_file_free(text);
    }
    unlink(path);
    assert_int_equal(ehlo_file_read(ehlo_str_from(path), 100, &text), EHLO_OK);
    assert_int_equal(text.len, 0);
    ehlo_file_free(text);
    assert_int_equal(ehlo_file_read(ehlo_str_from("/"), 100, &text), EHLO_OK);
    assert_int_equal(text.len, 0);
    ehlo_file_free(text);
}

typedef struct settings_case {
    const char *conf; /* NULL: there is no such file */
    size_t nservers;
    uint32_t try_ms;
    uint32_t tries;
    size_t expected_n;
    const char *expected_first;
    uint16_t expected_port;
    uint32_t expected_try_ms;
    uint32_t expected_tries;
} settings_case;

static const settings_case settings[] = {
    { NULL, 0, 0, 0, 1, "127.0.0.1", 53, 5000, 2 },
    { "", 0, 0, 0, 1, "127.0.0.1", 53, 5000, 2 },
    { "options timeout:1 attempts:4\n", 0, 0, 0, 1, "127.0.0.1", 53, 1000, 4 },
    { "options timeout:1 attempts:4\n", 0, 70, 3, 1, "127.0.0.1", 53, 70, 3 },
    { "nameserver ::1\nnameserver 192.0.2.1\n", 0, 0, 0, 2, "::1", 53, 5000, 2 },
    { "nameserver ::1\noptions timeout:1\n", 1, 0, 0, 1, "192.0.2.1", 53, 5000, 2 },
    { "", 2, 70, 3, 2, "192.0.2.1", 53, 70, 3 },
    { "", 9, 70, 3, 8, "192.0.2.1", 53, 70, 3 },
};

static void settings_come_from_the_caller_or_the_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(settings); i++) {
        const settings_case *c = &settings[i];
        ehlo_loop *loop;
        ehlo_resolver *resolver;
        char path[64];
        char first[64];
        size_t len;
        ehlo_address servers[9];
        for (int k = 0; k < 9; k++) {
            servers[k] = (ehlo_address){ .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 1 }, .port = 0 };
        }
        write_file(path, sizeof path, c->conf, c->conf != NULL ? strlen(c->conf) : 0);
        if (c->conf == NULL) unlink(path);
        ehlo_resolver_config cfg = { .servers = servers,
                                     .nservers = c->nservers,
                                     .resolv_file = ehlo_str_from(path),
                                     .try_ms = c->try_ms,
                                     .tries = c->tries };
        assert_int_equal(ehlo_loop_new(&loop, NULL), EHLO_OK);
        assert_int_equal(ehlo_resolver_new(&resolver, loop, &cfg), EHLO_OK);
        const ehlo_nameservers *got = &resolver->servers;
        assert_int_equal(got->n, c->expected_n);
        assert_int_equal(got->address[0].port, c->expected_port);
        assert_int_equal(ehlo_address_write(&got->address[0], 0, first, sizeof first, &len), EHLO_OK);
        assert_text(ehlo_str_from(c->expected_first), ehlo_str_make(first, len), "the first server", "settings");
        assert_int_equal(got->try_ms, c->expected_try_ms);
        assert_int_equal(got->tries, c->expected_tries);
        ehlo_resolver_free(resolver);
        ehlo_loop_free(loop);
        unlink(path);
    }
}

static void settings_that_make_no_sense_are_refused(void **state)
{
    ehlo_loop *loop;
    ehlo_resolver *resolver = NULL;
    ehlo_address none = { 0 };
    ehlo_resolver_config cfg = { .servers = &none, .nservers = 1 };
    (void)state;
    assert_int_equal(ehlo_loop_new(&loop, NULL), EHLO_OK);
    assert_int_equal(ehlo_resolver_new(&resolver, loop, &cfg), EHLO_ERR_ARG);
    cfg.servers = NULL;
    assert_int_equal(ehlo_resolver_new(&resolver, loop, &cfg), EHLO_ERR_ARG);
    assert_null(resolver);
    assert_int_equal(ehlo_resolver_new(&resolver, loop, NULL), EHLO_OK);
    ehlo_resolver_free(resolver);
    ehlo_resolver_free(NULL);
    ehlo_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answers_of_both_families_are_one_answer),
        cmocka_unit_test(both_families_are_asked_at_once_from_ports_of_their_own),
        cmocka_unit_test(ids_and_ports_cannot_be_guessed),
        cmocka_unit_test(no_more_than_sixteen_addresses_of_a_family_are_told),
        cmocka_unit_test(a_server_is_reached_by_ipv6),
        cmocka_unit_test(what_answers_no_query_of_ours_is_passed_over),
        cmocka_unit_test(noise_alone_does_not_prolong_the_wait),
        cmocka_unit_test(where_one_server_cannot_tell_the_next_is_asked),
        cmocka_unit_test(a_server_that_is_not_there_costs_no_time),
        cmocka_unit_test(a_server_that_cannot_be_asked_fails_the_look_up_later),
        cmocka_unit_test(without_descriptors_a_look_up_fails_later),
        cmocka_unit_test(that_there_is_nothing_is_final),
        cmocka_unit_test(silent_servers_are_asked_in_rounds_and_then_no_more),
        cmocka_unit_test(where_one_family_is_found_the_other_is_not_waited_for_long),
        cmocka_unit_test(a_server_that_wakes_up_in_the_second_round_is_heard),
        cmocka_unit_test(what_did_not_fit_comes_by_tcp_however_it_is_cut),
        cmocka_unit_test(what_is_not_there_may_be_said_by_tcp_too),
        cmocka_unit_test(a_datagram_of_more_than_512_octets_is_taken),
        cmocka_unit_test(addresses_localhost_and_hosts_are_known_without_asking),
        cmocka_unit_test(what_is_nearly_known_is_asked_for),
        cmocka_unit_test(the_longest_name_is_asked_for_with_and_without_its_dot),
        cmocka_unit_test(no_name_is_no_look_up),
        cmocka_unit_test(only_what_a_server_said_is_told_of_a_domain),
        cmocka_unit_test(localhost_has_no_exchangers_and_nobody_is_asked),
        cmocka_unit_test(no_domain_is_no_look_up_of_exchangers),
        cmocka_unit_test(look_ups_of_both_kinds_run_at_once),
        cmocka_unit_test(aliases_are_followed_whoever_has_to_do_it),
        cmocka_unit_test(an_alias_to_the_root_leads_to_nothing),
        cmocka_unit_test(the_target_of_an_alias_may_be_known_to_another_server),
        cmocka_unit_test(odd_and_hostile_exchangers_are_told_as_they_are_or_not_at_all),
        cmocka_unit_test(five_hundred_exchangers_are_told),
        cmocka_unit_test(an_answer_of_64_kilobytes_is_read),
        cmocka_unit_test(what_was_cancelled_is_never_told),
        cmocka_unit_test(a_look_up_may_be_cancelled_from_inside_another),
        cmocka_unit_test(look_ups_of_both_kinds_may_cancel_each_other),
        cmocka_unit_test(the_resolver_may_go_from_inside_a_look_up_of_exchangers),
        cmocka_unit_test(the_resolver_may_go_while_look_ups_run),
        cmocka_unit_test(the_resolver_may_go_from_inside_a_look_up),
        cmocka_unit_test(many_look_ups_run_at_once),
        cmocka_unit_test(resolv_conf_tells_servers_and_options),
        cmocka_unit_test(a_hosts_file_is_found_by_name),
        cmocka_unit_test(a_file_that_is_too_long_ends_with_a_whole_line),
        cmocka_unit_test(settings_come_from_the_caller_or_the_file),
        cmocka_unit_test(settings_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

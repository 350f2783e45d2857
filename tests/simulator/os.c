/* os.c - the system calls. A descriptor that was never given out is not ours: the real system is asked. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "os.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "network.h"

enum { FD_FIRST = 1 << 20, WATCHED_MAX = 4096 };

typedef enum handle_kind { CLOSED, UNBOUND, STREAM, LISTENING, DATAGRAMS, WAKE, POLLER } handle_kind;

typedef struct watched {
    int fd;
    struct epoll_event event;
} watched;

typedef struct handle {
    handle_kind kind;
    machine *owner;
    int type;           /* UNBOUND: SOCK_STREAM or SOCK_DGRAM */
    ehlo_address local; /* UNBOUND: as it was bound */
    int is_bound;
    stream *stream;
    listening *listening;
    datagrams *datagrams;
    uint64_t count; /* WAKE */
    watched *watched;
    size_t n;
    struct handle *next; /* POLLER */
} handle;

/* Numbers are not used again in one world: who uses a descriptor that is closed is found out. */
static struct {
    handle **table;
    size_t n;
    size_t room;
    handle *pollers;
} os;

/* -- handles ---------------------------------------------------------------------------------------- */

static void *must(void *mem)
{
    if (mem == NULL) abort();
    return mem;
}

static int is_ours(int fd)
{
    return fd >= FD_FIRST;
}

static handle *handle_of(int fd)
{
    handle *h = (size_t)(fd - FD_FIRST) < os.n ? os.table[fd - FD_FIRST] : NULL;
    if (h == NULL) world_breach("descriptor %d is used after it was closed", fd - FD_FIRST);
    return h;
}

static int add(handle_kind kind, handle **added)
{
    if (os.n == os.room) {
        os.room = os.room * 2 + 64;
        os.table = must(realloc(os.table, os.room * sizeof(handle *)));
    }
    *added = os.table[os.n] = must(calloc(1, sizeof **added));
    (*added)->kind = kind;
    (*added)->owner = machine_current();
    return FD_FIRST + (int)os.n++;
}

static int failed(int error)
{
    errno = error;
    return -1;
}

/* From its crash on a machine's calls do nothing, and tell nothing. */
static int acts(const handle *h)
{
    return machine_acts(h->owner);
}

static void forget_poller(handle *poller)
{
    handle **link = &os.pollers;
    while (*link != NULL && *link != poller) link = &(*link)->next;
    if (*link != NULL) *link = poller->next;
}

static void release(handle *h)
{
    if (h->kind == POLLER) forget_poller(h);
    int crashed = h->owner->dead;
    if (h->stream != NULL) stream_close(h->stream, crashed);
    if (h->listening != NULL) listening_close(h->listening, crashed);
    if (h->datagrams != NULL) datagrams_close(h->datagrams);
    free(h->watched);
    free(h);
}

/* -- addresses -------------------------------------------------------------------------------------- */

static ehlo_address read_name(const struct sockaddr *name)
{
    ehlo_address address = { .family = EHLO_FAMILY_NONE };
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (name->sa_family == AF_INET) {
        memcpy(&v4, name, sizeof v4);
        address.family = EHLO_FAMILY_IPV4;
        address.port = ntohs(v4.sin_port);
        memcpy(address.octets, &v4.sin_addr, 4);
    } else {
        memcpy(&v6, name, sizeof v6);
        address.family = EHLO_FAMILY_IPV6;
        address.port = ntohs(v6.sin6_port);
        memcpy(address.octets, &v6.sin6_addr, 16);
    }
    return address;
}

static void write_name(const ehlo_address *address, struct sockaddr *name, socklen_t *len)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(address->port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(address->port) };
    memcpy(&v4.sin_addr, address->octets, 4);
    memcpy(&v6.sin6_addr, address->octets, 16);
    *len = address->family == EHLO_FAMILY_IPV4 ? sizeof v4 : sizeof v6;
    if (address->family == EHLO_FAMILY_IPV4)
        memcpy(name, &v4, sizeof v4);
    else
        memcpy(name, &v6, sizeof v6);
}

/* -- sockets ---------------------------------------------------------------------------------------- */

int __wrap_socket(int family, int type, int protocol)
{
    handle *h;
    (void)protocol;
    if (machine_current() == NULL) return failed(EAFNOSUPPORT);
    machine_acts(machine_current());
    if (family != AF_INET && family != AF_INET6) return failed(EAFNOSUPPORT);
    int fd = add(UNBOUND, &h);
    h->type = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd;
}

int __wrap_bind(int fd, const struct sockaddr *name, socklen_t len)
{
    handle *h = handle_of(fd);
    (void)len;
    if (h == NULL) return failed(EBADF);
    h->local = read_name(name);
    h->is_bound = 1;
    return 0;
}

int __wrap_listen(int fd, int backlog)
{
    handle *h = handle_of(fd);
    (void)backlog;
    if (h == NULL || h->kind != UNBOUND || !h->is_bound) return failed(EBADF);
    h->listening = listening_open(h->owner, &h->local);
    if (h->listening == NULL) return -1;
    h->kind = LISTENING;
    h->local = h->listening->address;
    return 0;
}

static int connect_stream(handle *h, const ehlo_address *remote)
{
    h->stream = stream_open(h->owner, remote, h->is_bound ? &h->local : NULL);
    if (h->stream == NULL) return -1;
    h->kind = STREAM;
    h->local = h->stream->local;
    return failed(EINPROGRESS);
}

static int connect_datagrams(handle *h, const ehlo_address *remote)
{
    h->datagrams = datagrams_open(h->owner, remote);
    if (h->datagrams == NULL) return -1;
    h->kind = DATAGRAMS;
    h->local = h->datagrams->local;
    return 0;
}

int __wrap_connect(int fd, const struct sockaddr *name, socklen_t len)
{
    handle *h = handle_of(fd);
    (void)len;
    if (h == NULL || h->kind != UNBOUND) return failed(EBADF);
    ehlo_address remote = read_name(name);
    if (!acts(h)) return failed(ENETUNREACH);
    return h->type == SOCK_DGRAM ? connect_datagrams(h, &remote) : connect_stream(h, &remote);
}

int __wrap_accept4(int fd, struct sockaddr *name, socklen_t *len, int flags)
{
    handle *h = handle_of(fd), *accepted;
    (void)flags;
    if (h == NULL || h->kind != LISTENING) return failed(EBADF);
    if (!acts(h)) return failed(EAGAIN);
    stream *s = listening_accept(h->listening);
    if (s == NULL) return -1;
    int added = add(STREAM, &accepted);
    accepted->stream = s;
    accepted->local = s->local;
    write_name(&s->remote, name, len);
    return added;
}

int __wrap_getsockname(int fd, struct sockaddr *name, socklen_t *len)
{
    handle *h = handle_of(fd);
    if (h == NULL) return failed(EBADF);
    write_name(&h->local, name, len);
    return 0;
}

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
    (void)level;
    (void)option;
    (void)value;
    (void)len;
    return handle_of(fd) != NULL ? 0 : failed(EBADF);
}

/* SO_ERROR alone is asked for. */
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
    handle *h = handle_of(fd);
    int error = 0;
    if (h == NULL) return failed(EBADF);
    if (level != SOL_SOCKET || option != SO_ERROR || *len != sizeof error) return failed(ENOPROTOOPT);
    if (h->stream != NULL) {
        error = h->stream->error;
        h->stream->error = 0;
    }
    memcpy(value, &error, sizeof error);
    return 0;
}

int __wrap_shutdown(int fd, int how)
{
    handle *h = handle_of(fd);
    if (h == NULL || h->kind != STREAM || how != SHUT_WR) return failed(ENOTCONN);
    if (h->stream->broken) return failed(ENOTCONN);
    if (acts(h)) stream_shut(h->stream);
    return 0;
}

/* -- octets ----------------------------------------------------------------------------------------- */

static ssize_t send_octets(handle *h, const char *bytes, size_t len)
{
    if (h->kind == STREAM) return stream_send(h->stream, bytes, len);
    if (h->kind != DATAGRAMS) return failed(ENOTCONN);
    datagrams_send(h->datagrams, bytes, len);
    return (ssize_t)len;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags)
{
    handle *h = handle_of(fd);
    (void)flags;
    if (h == NULL) return failed(EBADF);
    return acts(h) ? send_octets(h, bytes, len) : (ssize_t)len;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    char *bytes = NULL;
    size_t len = 0;
    for (size_t i = 0; i < (size_t)message->msg_iovlen; i++) {
        const struct iovec *part = &message->msg_iov[i];
        bytes = must(realloc(bytes, len + part->iov_len + 1));
        if (part->iov_len > 0) memcpy(bytes + len, part->iov_base, part->iov_len);
        len += part->iov_len;
    }
    ssize_t sent = __wrap_send(fd, bytes, len, flags);
    int saved = errno;
    free(bytes);
    errno = saved;
    return sent;
}

ssize_t __wrap_recv(int fd, void *bytes, size_t len, int flags)
{
    handle *h = handle_of(fd);
    if (h == NULL) return failed(EBADF);
    if (!acts(h)) return failed(EAGAIN);
    if (h->kind == STREAM) return stream_receive(h->stream, bytes, len, flags & MSG_PEEK);
    return h->kind == DATAGRAMS ? datagrams_receive(h->datagrams, bytes, len) : failed(ENOTCONN);
}

ssize_t __real_read(int fd, void *bytes, size_t len);
ssize_t __wrap_read(int fd, void *bytes, size_t len)
{
    if (!is_ours(fd)) return __real_read(fd, bytes, len);
    handle *h = handle_of(fd);
    if (h == NULL || h->kind != WAKE) return failed(EBADF);
    if (h->count == 0) return failed(EAGAIN);
    memcpy(bytes, &h->count, sizeof h->count);
    h->count = 0;
    return sizeof h->count;
}

/* What wakes a loop may come from outside its machine. */
ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
    if (!is_ours(fd)) return __real_write(fd, bytes, len);
    handle *h = handle_of(fd);
    uint64_t more;
    if (h == NULL || h->kind != WAKE || len != sizeof more) return failed(EBADF);
    memcpy(&more, bytes, sizeof more);
    h->count += more;
    h->owner->ready = 1;
    return (ssize_t)len;
}

int __real_close(int fd);
int __wrap_close(int fd)
{
    if (!is_ours(fd)) return __real_close(fd);
    handle *h = handle_of(fd);
    if (h == NULL) return failed(EBADF);
    acts(h);
    os.table[fd - FD_FIRST] = NULL;
    release(h);
    return 0;
}

int __wrap_eventfd(unsigned count, int flags)
{
    handle *h;
    (void)flags;
    int fd = add(WAKE, &h);
    h->count = count;
    return fd;
}

/* -- epoll ------------------------------------------------------------------------------------------ */

int __wrap_epoll_create1(int flags)
{
    handle *h;
    (void)flags;
    int fd = add(POLLER, &h);
    h->next = os.pollers;
    os.pollers = h;
    return fd;
}

static watched *find_watched(handle *poller, int fd)
{
    for (size_t i = 0; i < poller->n; i++) {
        if (poller->watched[i].fd == fd) return &poller->watched[i];
    }
    return NULL;
}

static int watch(handle *poller, int fd, const struct epoll_event *event)
{
    poller->watched = must(realloc(poller->watched, (poller->n + 1) * sizeof *poller->watched));
    poller->watched[poller->n++] = (watched){ .fd = fd, .event = *event };
    return 0;
}

int __wrap_epoll_ctl(int epfd, int operation, int fd, struct epoll_event *event)
{
    handle *poller = handle_of(epfd);
    if (poller == NULL || poller->kind != POLLER || handle_of(fd) == NULL) return failed(EBADF);
    watched *found = find_watched(poller, fd);
    poller->owner->ready = 1;
    if ((found == NULL) != (operation == EPOLL_CTL_ADD)) return failed(found == NULL ? ENOENT : EEXIST);
    if (operation == EPOLL_CTL_ADD) return watch(poller, fd, event);
    if (operation == EPOLL_CTL_MOD)
        found->event = *event;
    else
        *found = poller->watched[--poller->n];
    return 0;
}

static uint32_t events_of_stream(const stream *s)
{
    uint32_t events = 0;
    if (stream_readable(s)) events |= EPOLLIN;
    if (stream_writable(s)) events |= EPOLLOUT;
    if (s->ended && s->shut) events |= EPOLLHUP;
    if (s->broken) events |= EPOLLHUP | EPOLLERR;
    return events;
}

static uint32_t events_of(int fd)
{
    const handle *h = os.table[fd - FD_FIRST];
    if (h == NULL) return 0; /* what is closed is watched no more */
    switch (h->kind) {
    case STREAM:
        return events_of_stream(h->stream);
    case LISTENING:
        return h->listening->n > 0 ? EPOLLIN : 0;
    case DATAGRAMS:
        return EPOLLOUT | (h->datagrams->first != NULL || h->datagrams->error != 0 ? EPOLLIN : 0u);
    case WAKE:
        return h->count > 0 ? EPOLLIN : 0;
    default:
        return EPOLLHUP;
    }
}

static uint32_t ready_events(const watched *w)
{
    return events_of(w->fd) & (w->event.events | EPOLLHUP | EPOLLERR);
}

/* Which descriptor comes first is nobody's promise. */
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int max, int ms)
{
    handle *poller = handle_of(epfd);
    int count = 0;
    if (poller == NULL || poller->kind != POLLER) return failed(EBADF);
    if (ms != 0) world_breach("epoll_wait is to wait %d ms", ms);
    if (!acts(poller) || poller->n == 0) return 0;
    size_t first = (size_t)world_draw(poller->n);
    for (size_t i = 0; i < poller->n && count < max; i++) {
        const watched *w = &poller->watched[(first + i) % poller->n];
        uint32_t ready = ready_events(w);
        if (ready == 0) continue;
        events[count] = w->event;
        events[count++].events = ready;
    }
    return count;
}

int os_ready(machine *m)
{
    for (const handle *h = os.pollers; h != NULL; h = h->next) {
        for (size_t i = 0; i < h->n && h->owner == m; i++) {
            if (ready_events(&h->watched[i]) != 0) return 1;
        }
    }
    return 0;
}

void os_check_closed(machine *m)
{
    for (size_t i = 0; i < os.n; i++) {
        handle *h = os.table[i];
        if (h == NULL || h->owner != m) continue;
        world_breach("%s: descriptor %zu is left open", m->name, i);
        os.table[i] = NULL;
        release(h);
    }
}

void os_reset(void)
{
    free(os.table);
    memset(&os, 0, sizeof os);
}

/* -- time and chance -------------------------------------------------------------------------------- */

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    if (!world_exists()) return __real_clock_gettime(clock, time);
    int64_t ms = clock == CLOCK_REALTIME ? machine_unix_ms(machine_current()) : (int64_t)world_now();
    time->tv_sec = (time_t)(ms / 1000);
    time->tv_nsec = (long)(ms % 1000) * 1000000;
    return 0;
}

uint64_t os_real_ms(void)
{
    struct timespec time;
    __real_clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

time_t __wrap_time(time_t *out)
{
    struct timespec now;
    __wrap_clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL) *out = now.tv_sec;
    return now.tv_sec;
}

ssize_t __wrap_getrandom(void *octets, size_t len, unsigned flags)
{
    char *out = octets;
    (void)flags;
    for (size_t i = 0; i < len; i++) out[i] = (char)world_random();
    return (ssize_t)len;
}

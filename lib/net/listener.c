/* lib/net/listener.c - listening sockets: set up, accept, back off, close. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "listener.h"

#include "loop.h"
#include "serve.h"
#include "socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 4096, PROXY_MS = 10000, TLS_MS = 60000, ACCEPTS_PER_ROUND = 64, PAUSE_MS = 100 };

static void listener_ready(ehlo_loop *loop, ehlo_source *source, unsigned events);

/* -- set up and close ------------------------------------------------------------------------------- */

static int is_valid(const ehlo_loop *loop, const ehlo_listen_config *cfg)
{
    if (cfg->service == NULL || cfg->backlog < 0 || (cfg->implicit_tls && cfg->tls == NULL)) return 0;
    if (cfg->address.family > EHLO_FAMILY_IPV6) return 0;
    return loop->input_size >= ehlo_service_input_min(cfg->service);
}

static int listener_open(ehlo_listener *listener)
{
    const ehlo_listen_config *cfg = &listener->cfg;
    int fd = ehlo_socket_listen(&cfg->address, cfg->backlog, cfg->share_port);
    if (fd < 0) return EHLO_ERR_SYSTEM;
    listener->source.fd = fd;
    if (ehlo_poller_add(listener->loop->poller, &listener->source, EHLO_POLL_READ) != 0) {
        close(fd);
        return EHLO_ERR_SYSTEM;
    }
    listener->address = cfg->address;
    listener->address.port = ehlo_socket_local(fd).port;
    return EHLO_OK;
}

static ehlo_listener *listener_new(ehlo_loop *loop, const ehlo_listen_config *cfg)
{
    ehlo_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) return NULL;
    listener->source.ready = listener_ready;
    listener->loop = loop;
    listener->refs = 1;
    listener->cfg = *cfg;
    if (cfg->backlog == 0) listener->cfg.backlog = BACKLOG;
    if (cfg->proxy_ms == 0) listener->cfg.proxy_ms = PROXY_MS;
    if (cfg->tls_ms == 0) listener->cfg.tls_ms = TLS_MS;
    return listener;
}

int ehlo_loop_listen_sized(ehlo_loop *loop, const ehlo_listen_config *cfg, size_t cfg_size, ehlo_listener **result)
{
    ehlo_listen_config own = { 0 };
    memcpy(&own, cfg, cfg_size < sizeof own ? cfg_size : sizeof own);
    if (!is_valid(loop, &own)) return EHLO_ERR_ARG;
    if (ehlo_loop_stopping(loop)) return EHLO_ERR_STATE;
    ehlo_listener *listener = listener_new(loop, &own);
    if (listener == NULL) return EHLO_ERR_MEMORY;
    int error = listener_open(listener);
    if (error != EHLO_OK) {
        free(listener);
        return error;
    }
    listener->next = loop->listeners;
    loop->listeners = listener;
    if (result != NULL) *result = listener;
    return EHLO_OK;
}

ehlo_address ehlo_listener_address(const ehlo_listener *listener)
{
    return listener->address;
}

void ehlo_listener_close(ehlo_listener *listener)
{
    ehlo_loop *loop = listener->loop;
    ehlo_listener **link = &loop->listeners;
    while (*link != listener) link = &(*link)->next;
    *link = listener->next;
    ehlo_timers_stop(&loop->timers, &listener->pause);
    ehlo_loop_close_source(loop, &listener->source);
    ehlo_listener_release(listener);
}

void ehlo_listener_release(ehlo_listener *listener)
{
    if (--listener->refs == 0) ehlo_loop_free_later(listener->loop, &listener->source);
}

/* -- accept ----------------------------------------------------------------------------------------- */

static void end_pause(ehlo_loop *loop, void *arg)
{
    ehlo_listener *listener = arg;
    ehlo_poller_set(loop->poller, &listener->source, EHLO_POLL_READ);
}

/* Without descriptors or memory the socket stays readable: looking away for a while is all that helps. */
static void pause_accepting(ehlo_listener *listener)
{
    listener->pause.fn = end_pause;
    listener->pause.arg = listener;
    if (ehlo_loop_time(listener->loop, &listener->pause, listener->loop->now + PAUSE_MS) != EHLO_OK) return;
    ehlo_poller_set(listener->loop->poller, &listener->source, 0);
}

/* Errors of the connection that was about to be accepted, not of the listener: try the next. */
static int is_connections_own(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
        return 1;
    default:
        return 0;
    }
}

/* 1: go on accepting. */
static int accept_one(ehlo_listener *listener)
{
    ehlo_address remote;
    int fd = ehlo_socket_accept(listener->source.fd, &remote);
    if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    if (fd < 0 && is_connections_own(errno)) return 1;
    if (fd >= 0 && ehlo_serve(listener, fd, &remote) == EHLO_OK) return 1;
    if (fd >= 0) close(fd);
    pause_accepting(listener);
    return 0;
}

/* A callback may close the listener in between. */
static void listener_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_listener *listener = (ehlo_listener *)source;
    (void)loop;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_ROUND && source->fd >= 0; i++) {
        if (!accept_one(listener)) break;
    }
}

/* network.h - streams and datagrams between simulated machines, as the system calls in os.c see them. */
#ifndef EHLO_TESTS_NETWORK_H
#define EHLO_TESTS_NETWORK_H

#include "simulator.h"

/* -- streams ---------------------------------------------------------------------------------------- */

/* One end of a connection. */
typedef struct stream {
    struct link *link;
    machine *owner;
    ehlo_address local;
    ehlo_address remote;
    int open;   /* 0: it is not established yet */
    int error;  /* broken: an errno; told once, and then an end */
    int broken; /* nothing goes any more */
    int ended;  /* what the peer had to send was received */
    int shut;   /* we have ended our side */
    int gone;   /* nobody has this end: it was closed, or never was */
    char *received;
    size_t len;
    void *app; /* for machines without a loop */

    /* What is on its way to the peer. */
    struct segment *first;
    size_t under_way;  /* octets of it */
    size_t window;     /* octets under way, or received and not read, at most */
    uint64_t sent;     /* octets in all */
    uint64_t cut_at;   /* the connection breaks behind so many; UINT64_MAX: never */
    uint64_t last_due; /* when the last of it arrives */
    uint64_t stuck;    /* since when it does not get through; 0: it does */
    unsigned rate;     /* octets in a second; 0: any number */
    int scheduled;
} stream;

/* Begins to connect; local NULL: our own address of that family. NULL: errno. */
stream *stream_open(machine *owner, const ehlo_address *remote, const ehlo_address *local);
/* -1 with errno. */
ptrdiff_t stream_send(stream *s, const char *bytes, size_t len);
ptrdiff_t stream_receive(stream *s, char *bytes, size_t len, int peek);
void stream_shut(stream *s);
/* crashed: without a word to the peer. */
void stream_close(stream *s, int crashed);
int stream_readable(const stream *s);
int stream_writable(const stream *s);

/* -- listening -------------------------------------------------------------------------------------- */

typedef struct listening {
    struct listening *next;
    machine *owner;
    ehlo_address address;
    stream *waiting[64];
    size_t n;
} listening;

/* NULL: errno. Port 0: one is picked. */
listening *listening_open(machine *owner, const ehlo_address *address);
stream *listening_accept(listening *l);
void listening_close(listening *l, int crashed);

/* -- datagrams -------------------------------------------------------------------------------------- */

typedef struct datagrams {
    struct datagrams *next;
    machine *owner;
    ehlo_address local;
    ehlo_address remote;
    struct datagram *first;
    int error;
} datagrams;

/* To and from remote alone. NULL: errno. */
datagrams *datagrams_open(machine *owner, const ehlo_address *remote);
void datagrams_send(datagrams *d, const char *bytes, size_t len);
/* -1 with errno. */
ptrdiff_t datagrams_receive(datagrams *d, char *bytes, size_t len);
void datagrams_close(datagrams *d);
/* From port 53 of a machine without a loop. */
void datagram_answer(machine *from, const ehlo_address *to, const char *bytes, size_t len);

/* Frees what is left; every end is gone by then. */
void network_reset(void);

#endif

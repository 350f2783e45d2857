/* maildir.h - files messages into maildirs: on disk before it says so, for all recipients or for none.
 *
 * A maildir is a folder with tmp/, new/ and cur/. A message is written in tmp/, synced, and renamed into new/,
 * which is then synced too: a reader of new/ finds whole messages alone, whenever the machine stops.
 *
 * Functions that can fail return 0 or an errno. */
#ifndef MAILDIR_H
#define MAILDIR_H

#include <ehlo/syntax.h>

#include <stdatomic.h>

enum {
    MAILBOX_NAME_MAX = 240,      /* octets of a folder's name; file systems allow 255 */
    MAILDIR_HOST_MAX = 64,       /* of the host's name within a file's name */
    MAILDIR_ID_MAX = 80,         /* with its NUL */
    MAILDIR_STALE_S = 36 * 3600, /* what lies in tmp/ for longer belongs to nobody */
    LETTER_BUFFER = 16384        /* octets gathered before they are written */
};

/* The folder that holds the maildirs, one per recipient. */
struct maildir {
    int root;
    atomic_uint counter;
    char host[MAILDIR_HOST_MAX + 1];
};

/* Opens dir, making it if it is not there. host becomes part of the names of files. */
int maildir_open(struct maildir *m, const char *dir, const char *host);
void maildir_close(struct maildir *m);

/* Removes what deliveries that were cut short have left in tmp/. */
void maildir_sweep(const struct maildir *m);

/* The folder of a forward-path: the mailbox in minimal quoting, its domain in lower case, and every octet that
 * might mean something to a file system as %HH. No name leads out of the maildir: '/' and a leading dot are
 * such octets. ENAMETOOLONG beyond MAILBOX_NAME_MAX. */
int mailbox_name(const ehlo_path *path, char name[MAILBOX_NAME_MAX + 1]);

/* A message on its way into maildirs. It belongs to one thread at a time. */
struct letter {
    struct maildir *maildir;
    char *names; /* of mailboxes, one behind the other, each with its NUL */
    size_t names_len;
    size_t names_room;
    const char **mailboxes; /* views into names, sorted, each once */
    size_t count;
    char id[MAILDIR_ID_MAX]; /* names the message; the name of its file is id and host */
    char *buffer;
    size_t held; /* octets in buffer */
    int fd;      /* of the file in tmp/ of the first mailbox; -1 before it is needed */
};

void letter_init(struct letter *l, struct maildir *m);
/* Adds a mailbox, named as mailbox_name does. ENOMEM. */
int letter_address(struct letter *l, const char *mailbox);
/* All mailboxes are known (at least one): chooses the id. The octets follow. ENOMEM. */
int letter_begin(struct letter *l);
/* Adds octets. No file is made while they fit the buffer. */
int letter_write(struct letter *l, const char *bytes, size_t len);
/* Files it in every mailbox, or, failing, in none. When it returns 0 the message is on disk. It syncs: not
 * for a thread that must not wait. */
int letter_file(struct letter *l);
/* Frees the letter, and removes its file if it was not filed. Any time. */
void letter_end(struct letter *l);

#endif

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "maildir.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Within the root: "mailbox/folder/name". */
enum { PATH_SIZE = MAILBOX_NAME_MAX + MAILDIR_ID_MAX + MAILDIR_HOST_MAX + 16 };

/* -- names ------------------------------------------------------------------------------------------ */

static int is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("@._+=-", c) != NULL);
}

/* Appends c, as itself or as %HH. */
static int name_add(char *name, size_t *len, char c)
{
    static const char hex[] = "0123456789ABCDEF";
    unsigned char octet = (unsigned char)c;
    int plain = is_plain(c) && !(c == '.' && *len == 0);
    if (*len + (plain ? 1 : 3) > MAILBOX_NAME_MAX) return ENAMETOOLONG;
    if (plain) {
        name[(*len)++] = c;
    } else {
        name[(*len)++] = '%';
        name[(*len)++] = hex[octet >> 4];
        name[(*len)++] = hex[octet & 15];
    }
    return 0;
}

int mailbox_name(const ehlo_path *path, char name[MAILBOX_NAME_MAX + 1])
{
    char local[MAILBOX_NAME_MAX];
    size_t local_len = 0;
    size_t len = 0;
    int error = 0;
    /* RFC 5321 4.5.1: "postmaster" without a domain, in any case, is a mailbox of every host */
    if (path->domain.len == 0) {
        memcpy(name, "postmaster", sizeof "postmaster");
        return 0;
    }
    if (ehlo_local_part_write(path, local, sizeof local, &local_len) != EHLO_OK) return ENAMETOOLONG;
    for (size_t i = 0; i < local_len && error == 0; i++) error = name_add(name, &len, local[i]);
    if (error == 0) error = name_add(name, &len, '@');
    for (size_t i = 0; i < path->domain.len && error == 0; i++) {
        error = name_add(name, &len, (char)tolower((unsigned char)path->domain.ptr[i]));
    }
    name[len] = '\0';
    return error;
}

/* Never the same twice: time to the microsecond, process, and a counter, for a process id comes back. */
static void make_id(struct maildir *m, char id[MAILDIR_ID_MAX])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(id, MAILDIR_ID_MAX, "%lld.M%06ldP%ldQ%u", (long long)now.tv_sec, now.tv_nsec / 1000, (long)getpid(),
             atomic_fetch_add(&m->counter, 1) + 1);
}

static const char *file_path(char path[PATH_SIZE], const struct letter *l, const char *mailbox, const char *folder)
{
    snprintf(path, PATH_SIZE, "%s/%s/%s.%s", mailbox, folder, l->id, l->maildir->host);
    return path;
}

static const char *folder_path(char path[PATH_SIZE], const char *mailbox, const char *folder)
{
    snprintf(path, PATH_SIZE, "%s/%s", mailbox, folder);
    return path;
}

/* -- descriptors ------------------------------------------------------------------------------------ */

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Closes fd in any case. */
static int sync_and_close(int fd)
{
    int error = fsync(fd) == 0 ? 0 : errno;
    if (close(fd) != 0 && error == 0) error = errno;
    return error;
}

/* A name in a folder is on disk when the folder was synced. */
static int sync_folder(int root, const char *path)
{
    int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? errno : sync_and_close(fd);
}

static int make_folder(int root, const char *path)
{
    return mkdirat(root, path, 0700) == 0 || errno == EEXIST ? 0 : errno;
}

/* -- maildirs --------------------------------------------------------------------------------------- */

/* The name of a file may hold neither '/' nor ':'. */
static void copy_host(char out[MAILDIR_HOST_MAX + 1], const char *host)
{
    size_t len = 0;
    for (; host[len] != '\0' && len < MAILDIR_HOST_MAX; len++) {
        char c = host[len];
        out[len] = is_plain(c) && c != '@' ? c : '_';
    }
    out[len] = '\0';
}

int maildir_open(struct maildir *m, const char *dir, const char *host)
{
    int made = mkdir(dir, 0700) == 0;
    copy_host(m->host, host);
    atomic_init(&m->counter, 0);
    m->root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->root < 0) return errno;
    return made ? sync_folder(m->root, "..") : 0;
}

void maildir_close(struct maildir *m)
{
    close(m->root);
}

/* cur/ is made last, when everything above new/ is on disk: where it exists, a delivery need not ask whether
 * another thread, or a process that was killed, had come as far as syncing what it made. */
static int mailbox_make(int root, const char *mailbox)
{
    char cur[PATH_SIZE];
    char path[PATH_SIZE];
    folder_path(cur, mailbox, "cur");
    folder_path(path, mailbox, "new"); /* others may have made cur/ alone */
    if (faccessat(root, cur, F_OK, 0) == 0 && faccessat(root, path, F_OK, 0) == 0) return 0;
    int error = make_folder(root, mailbox);
    if (error == 0) error = make_folder(root, folder_path(path, mailbox, "tmp"));
    if (error == 0) error = make_folder(root, folder_path(path, mailbox, "new"));
    if (error == 0) error = sync_folder(root, mailbox);
    if (error == 0) error = sync_folder(root, ".");
    if (error == 0) error = make_folder(root, cur);
    return error;
}

/* Calls each(fd, name, arg) for what is in the folder, hidden names left out. */
static void each_entry(int root, const char *path, void (*each)(int fd, const char *name, const void *arg),
                       const void *arg)
{
    int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] != '.') each(fd, entry->d_name, arg);
    }
    closedir(folder);
}

static void sweep_file(int fd, const char *name, const void *oldest)
{
    struct stat status;
    if (fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode)) return;
    if (status.st_mtime < *(const time_t *)oldest) unlinkat(fd, name, 0);
}

static void sweep_mailbox(int fd, const char *name, const void *oldest)
{
    char path[PATH_SIZE];
    if (strlen(name) <= MAILBOX_NAME_MAX) each_entry(fd, folder_path(path, name, "tmp"), sweep_file, oldest);
}

void maildir_sweep(const struct maildir *m)
{
    time_t oldest = time(NULL) - MAILDIR_STALE_S;
    each_entry(m->root, ".", sweep_mailbox, &oldest);
}

/* -- letters: who gets it --------------------------------------------------------------------------- */

void letter_init(struct letter *l, struct maildir *m)
{
    memset(l, 0, sizeof *l);
    l->maildir = m;
    l->fd = -1;
}

static int names_reserve(struct letter *l, size_t len)
{
    size_t room = l->names_room == 0 ? 128 : l->names_room;
    while (room - l->names_len < len) room *= 2;
    if (room == l->names_room) return 0;
    char *names = realloc(l->names, room);
    if (names == NULL) return ENOMEM;
    l->names = names;
    l->names_room = room;
    return 0;
}

int letter_address(struct letter *l, const char *mailbox)
{
    size_t len = strlen(mailbox) + 1;
    if (names_reserve(l, len) != 0) return ENOMEM;
    memcpy(l->names + l->names_len, mailbox, len);
    l->names_len += len;
    l->count++;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A mailbox named twice gets the message once. */
static size_t remove_duplicates(const char **names, size_t count)
{
    size_t kept = 0;
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0) names[kept++] = names[i];
    }
    return kept;
}

int letter_begin(struct letter *l)
{
    if (l->buffer != NULL) { /* a DATA that was refused is tried again */
        l->held = 0;
        return 0;
    }
    free(l->mailboxes);
    l->mailboxes = calloc(l->count, sizeof *l->mailboxes);
    if (l->mailboxes == NULL) return ENOMEM;
    l->buffer = malloc(LETTER_BUFFER);
    if (l->buffer == NULL) return ENOMEM;
    const char *name = l->names;
    for (size_t i = 0; i < l->count; i++, name += strlen(name) + 1) l->mailboxes[i] = name;
    l->count = remove_duplicates(l->mailboxes, l->count);
    make_id(l->maildir, l->id);
    return 0;
}

/* -- letters: the file in tmp/ ---------------------------------------------------------------------- */

static int create_file(const struct letter *l, const char *mailbox, int *fd)
{
    char path[PATH_SIZE];
    *fd = openat(l->maildir->root, file_path(path, l, mailbox, "tmp"), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return *fd < 0 ? errno : 0;
}

/* The maildir may be a new one. What is made here is not synced: that is for letter_file, which may wait. */
static int open_file(struct letter *l)
{
    char path[PATH_SIZE];
    const char *mailbox = l->mailboxes[0];
    int root = l->maildir->root;
    int error = create_file(l, mailbox, &l->fd);
    if (error != ENOENT) return error;
    error = make_folder(root, mailbox);
    if (error == 0) error = make_folder(root, folder_path(path, mailbox, "tmp"));
    return error == 0 ? create_file(l, mailbox, &l->fd) : error;
}

static int write_file(struct letter *l, const char *bytes, size_t len)
{
    int error = l->fd < 0 ? open_file(l) : 0;
    return error == 0 ? write_all(l->fd, bytes, len) : error;
}

static int flush_buffer(struct letter *l)
{
    size_t held = l->held;
    l->held = 0;
    return write_file(l, l->buffer, held);
}

int letter_write(struct letter *l, const char *bytes, size_t len)
{
    while (len > 0) {
        if (l->held == 0 && len >= LETTER_BUFFER) return write_file(l, bytes, len);
        size_t n = LETTER_BUFFER - l->held < len ? LETTER_BUFFER - l->held : len;
        memcpy(l->buffer + l->held, bytes, n);
        l->held += n;
        bytes += n;
        len -= n;
        int error = l->held == LETTER_BUFFER ? flush_buffer(l) : 0;
        if (error != 0) return error;
    }
    return 0;
}

/* -- letters: into every mailbox or none ------------------------------------------------------------ */

static int finish_file(struct letter *l)
{
    int error = flush_buffer(l); /* opens the file of a small or empty message, too */
    if (l->fd < 0) return error;
    int sync_error = sync_and_close(l->fd);
    l->fd = -1;
    return error != 0 ? error : sync_error;
}

static int copy_octets(int from, int to)
{
    char block[16384];
    for (;;) {
        ssize_t n = read(from, block, sizeof block);
        if (n == 0) return 0;
        if (n < 0 && errno == EINTR) continue;
        int error = n < 0 ? errno : write_all(to, block, (size_t)n);
        if (error != 0) return error;
    }
}

static int copy_file(const struct letter *l, const char *from, const char *mailbox)
{
    int out;
    int in = openat(l->maildir->root, from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return errno;
    int error = create_file(l, mailbox, &out);
    if (error == 0) {
        error = copy_octets(in, out);
        int sync_error = sync_and_close(out);
        if (error == 0) error = sync_error;
    }
    close(in);
    return error;
}

/* The octets are on disk once; other mailboxes share them, where the file system can. */
static int share_file(const struct letter *l, const char *mailbox)
{
    char from[PATH_SIZE];
    char to[PATH_SIZE];
    int root = l->maildir->root;
    file_path(from, l, l->mailboxes[0], "tmp");
    if (linkat(root, from, root, file_path(to, l, mailbox, "tmp"), 0) == 0) return 0;
    int no_links = errno == EPERM || errno == EXDEV || errno == EMLINK || errno == EOPNOTSUPP || errno == ENOSYS;
    return no_links ? copy_file(l, from, mailbox) : errno;
}

static int publish(const struct letter *l, const char *mailbox)
{
    char from[PATH_SIZE];
    char to[PATH_SIZE];
    int root = l->maildir->root;
    file_path(from, l, mailbox, "tmp");
    return renameat(root, from, root, file_path(to, l, mailbox, "new")) == 0 ? 0 : errno;
}

static int sync_new(const struct letter *l, const char *mailbox)
{
    char path[PATH_SIZE];
    return sync_folder(l->maildir->root, folder_path(path, mailbox, "new"));
}

/* A message that is taken back stays so after a power cut: new/ is synced again. */
static void withdraw(const struct letter *l, const char *mailbox)
{
    char path[PATH_SIZE];
    int root = l->maildir->root;
    unlinkat(root, file_path(path, l, mailbox, "tmp"), 0);
    if (unlinkat(root, file_path(path, l, mailbox, "new"), 0) == 0) sync_new(l, mailbox);
}

/* Whatever can fail is done in tmp/ for every mailbox before the first of them sees the message. */
static int file_everywhere(struct letter *l)
{
    int error = 0;
    for (size_t i = 0; i < l->count && error == 0; i++) error = mailbox_make(l->maildir->root, l->mailboxes[i]);
    if (error == 0) error = finish_file(l);
    for (size_t i = 1; i < l->count && error == 0; i++) error = share_file(l, l->mailboxes[i]);
    for (size_t i = 0; i < l->count && error == 0; i++) error = publish(l, l->mailboxes[i]);
    for (size_t i = 0; i < l->count && error == 0; i++) error = sync_new(l, l->mailboxes[i]);
    return error;
}

int letter_file(struct letter *l)
{
    int error = file_everywhere(l);
    for (size_t i = 0; i < l->count && error != 0; i++) withdraw(l, l->mailboxes[i]);
    return error;
}

void letter_end(struct letter *l)
{
    char path[PATH_SIZE];
    if (l->fd >= 0) {
        close(l->fd);
        unlinkat(l->maildir->root, file_path(path, l, l->mailboxes[0], "tmp"), 0);
    }
    free(l->names);
    free(l->mailboxes);
    free(l->buffer);
    letter_init(l, l->maildir);
}

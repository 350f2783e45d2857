/* The spool with the system watched: each call that it makes can be logged, made to fail, or cut short. Everything that the
 * tests of the spool share. */
#ifndef EHLO_TESTS_SPOOL_WATCH_H
#define EHLO_TESTS_SPOOL_WATCH_H

#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <linux/magic.h>
#include <sys/vfs.h>

#include <cmocka.h>

/* -- the log: what was done to files and folders ------------------------------------------------------- */

enum change { MADE, WRITTEN, CUT, SYNCED, MOVED, REMOVED, FOLDER_MADE, FOLDER_SYNCED, ALL_SYNCED };

enum { ROOT = 0, FOLDERS_MAX = 8, NAME_SIZE = 40, INODES_MAX = 256, FDS_MAX = 1024 };

struct entry {
    enum change change;
    int inode;
    int folder; /* and where to */
    int to;
    char name[NAME_SIZE];
    char to_name[NAME_SIZE];
    uint64_t at;
    size_t len;
    char *bytes;
};

struct name {
    int folder;
    int inode;
    char name[NAME_SIZE];
};

static const char *const folder_names[FOLDERS_MAX] = { ".", "queue", "tmp", "corrupt", "flush" };

static struct {
    pthread_mutex_t lock;
    int on; /* calls count, and fail */
    int calls;
    int fail_at;      /* this call fails, counted from 1; */
    int fail_on;      /* and all behind it */
    int error;        /* in this way */
    const char *only; /* calls of this name alone count */
    int fail_memory;  /* this allocation fails */
    int allocations;
    size_t write_max; /* octets that one write takes at most; 0: all */
    int no_sync;      /* nothing is synced: quicker */
    int logging;
    struct entry *log;
    size_t n;
    size_t room;
    struct name names[INODES_MAX];
    size_t nnames;
    int inodes;
    int fds[FDS_MAX]; /* -1 - folder, or an inode counted from 1 */
    int problems;
    long file_system;    /* of the spool, as fstatfs has it; 0: one that can be synced as a whole */
    const char *release; /* of the system; NULL: one that tells of errors then */
} watch = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* From now on calls count, and fail as is set; or no more. */
static inline void watch_calls(int on)
{
    pthread_mutex_lock(&watch.lock);
    watch.on = on;
    pthread_mutex_unlock(&watch.lock);
}

static inline int step(const char *call)
{
    int failed = 0;
    pthread_mutex_lock(&watch.lock);
    if (watch.on && (watch.only == NULL || strcmp(watch.only, call) == 0)) {
        watch.calls++;
        failed = watch.calls == watch.fail_at || (watch.fail_on && watch.fail_at != 0 && watch.calls > watch.fail_at);
    }
    pthread_mutex_unlock(&watch.lock);
    if (failed) errno = watch.error;
    return failed ? -1 : 0;
}

static inline int allocation_fails(void)
{
    pthread_mutex_lock(&watch.lock);
    int failed = watch.on && ++watch.allocations == watch.fail_memory;
    pthread_mutex_unlock(&watch.lock);
    if (failed) errno = ENOMEM;
    return failed;
}

/* With the lock held. */
static inline struct entry *note(enum change change)
{
    if (watch.n == watch.room) {
        watch.room = watch.room == 0 ? 256 : 2 * watch.room;
        watch.log = realloc(watch.log, watch.room * sizeof *watch.log);
    }
    memset(&watch.log[watch.n], 0, sizeof *watch.log);
    watch.log[watch.n].change = change;
    return &watch.log[watch.n++];
}

static inline void log_clear(void)
{
    for (size_t i = 0; i < watch.n; i++) free(watch.log[i].bytes);
    free(watch.log);
    watch.log = NULL;
    watch.n = watch.room = 0;
    watch.nnames = 0;
    watch.inodes = 0;
}

static inline struct name *find_name(int folder, const char *name)
{
    for (size_t i = 0; i < watch.nnames; i++) {
        if (watch.names[i].folder == folder && strcmp(watch.names[i].name, name) == 0) return &watch.names[i];
    }
    return NULL;
}

static inline int add_inode(int folder, const char *name)
{
    struct name *n = &watch.names[watch.nnames++];
    n->folder = folder;
    n->inode = ++watch.inodes;
    snprintf(n->name, sizeof n->name, "%s", name);
    return n->inode;
}

static inline void drop_name(struct name *n)
{
    *n = watch.names[--watch.nnames];
}

static inline int folder_of_fd(int fd)
{
    return fd >= 0 && fd < FDS_MAX && watch.fds[fd] < 0 ? -1 - watch.fds[fd] : -1;
}

static inline int folder_by_name(const char *name)
{
    for (int i = 1; i < FOLDERS_MAX && folder_names[i] != NULL; i++) {
        if (strcmp(folder_names[i], name) == 0) return i;
    }
    return -1;
}

/* What a new descriptor stands for. */
static inline void note_opened(int result, int at, const char *path, int flags, int made)
{
    if (result < 0 || result >= FDS_MAX) return;
    pthread_mutex_lock(&watch.lock);
    int folder = at == AT_FDCWD ? -1 : folder_of_fd(at);
    watch.fds[result] = 0;
    if (at == AT_FDCWD) {
        watch.fds[result] = -1 - ROOT;
    } else if (flags & O_DIRECTORY) {
        int inner = strcmp(path, ".") == 0 ? folder : folder_by_name(path);
        if (inner >= 0) watch.fds[result] = -1 - inner;
    } else if (watch.logging && folder >= 0) {
        struct name *n = find_name(folder, path);
        if (n != NULL) watch.fds[result] = n->inode;
        if (n == NULL && made) {
            watch.fds[result] = add_inode(folder, path);
            struct entry *e = note(MADE);
            e->inode = watch.fds[result];
            e->folder = folder;
            snprintf(e->name, sizeof e->name, "%s", path);
        }
    }
    pthread_mutex_unlock(&watch.lock);
}

/* -- the calls ----------------------------------------------------------------------------------------- */

static inline int watched_openat(int at, const char *path, int flags, ...)
{
    if (step(flags & O_CREAT ? "create" : "open") != 0) return -1;
    int result = openat(at, path, flags, 0600);
    note_opened(result, at, path, flags, (flags & O_CREAT) != 0);
    return result;
}

static inline int watched_mkdirat(int at, const char *path, mode_t mode)
{
    if (step("mkdir") != 0) return -1;
    int result = mkdirat(at, path, mode);
    if (result != 0 || !watch.logging || at == AT_FDCWD) return result;
    pthread_mutex_lock(&watch.lock);
    note(FOLDER_MADE)->folder = folder_by_name(path);
    pthread_mutex_unlock(&watch.lock);
    return 0;
}

static inline ssize_t watched_pread(int fd, void *to, size_t len, off_t at)
{
    return step("read") != 0 ? -1 : pread(fd, to, len, at);
}

static inline ssize_t watched_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    if (step("write") != 0) return -1;
    ssize_t n = pwrite(fd, bytes, watch.write_max != 0 && watch.write_max < len ? watch.write_max : len, at);
    if (n <= 0 || !watch.logging || fd >= FDS_MAX || watch.fds[fd] <= 0) return n;
    pthread_mutex_lock(&watch.lock);
    struct entry *e = note(WRITTEN);
    e->inode = watch.fds[fd];
    e->at = (uint64_t)at;
    e->len = (size_t)n;
    e->bytes = malloc((size_t)n);
    memcpy(e->bytes, bytes, (size_t)n);
    pthread_mutex_unlock(&watch.lock);
    return n;
}

static inline int watched_ftruncate(int fd, off_t len)
{
    if (step("truncate") != 0) return -1;
    int result = ftruncate(fd, len);
    if (result != 0 || !watch.logging || fd >= FDS_MAX || watch.fds[fd] <= 0) return result;
    pthread_mutex_lock(&watch.lock);
    struct entry *e = note(CUT);
    e->inode = watch.fds[fd];
    e->at = (uint64_t)len;
    pthread_mutex_unlock(&watch.lock);
    return 0;
}

static inline int sync_noted(int fd, int (*call)(int fd), const char *name, int all)
{
    if (step(name) != 0) return -1;
    int result = watch.no_sync ? 0 : call(fd);
    if (result != 0 || !watch.logging || fd >= FDS_MAX || watch.fds[fd] == 0) return result;
    pthread_mutex_lock(&watch.lock);
    struct entry *e = note(all ? ALL_SYNCED : watch.fds[fd] < 0 ? FOLDER_SYNCED : SYNCED);
    e->folder = folder_of_fd(fd);
    e->inode = watch.fds[fd];
    pthread_mutex_unlock(&watch.lock);
    return 0;
}

static inline int watched_fsync(int fd)
{
    return sync_noted(fd, fsync, "fsync", 0);
}

static inline int watched_fdatasync(int fd)
{
    return sync_noted(fd, fdatasync, "fdatasync", 0);
}

static inline int watched_syncfs(int fd)
{
    return sync_noted(fd, syncfs, "syncfs", 1);
}

static inline int watched_sync_file_range(int fd, off_t at, off_t len, unsigned flags)
{
    return step("range") != 0 ? -1 : sync_file_range(fd, at, len, flags);
}

static inline int watched_renameat(int at, const char *from, int to_at, const char *to)
{
    if (step("rename") != 0) return -1;
    int result = renameat(at, from, to_at, to);
    if (result != 0 || !watch.logging) return result;
    pthread_mutex_lock(&watch.lock);
    struct name *n = find_name(folder_of_fd(at), from);
    struct name *over = find_name(folder_of_fd(to_at), to);
    struct entry *e = note(MOVED);
    e->inode = n->inode;
    e->folder = n->folder;
    e->to = folder_of_fd(to_at);
    snprintf(e->name, sizeof e->name, "%s", from);
    snprintf(e->to_name, sizeof e->to_name, "%s", to);
    n->folder = e->to;
    snprintf(n->name, sizeof n->name, "%s", to);
    if (over != NULL) drop_name(over);
    pthread_mutex_unlock(&watch.lock);
    return 0;
}

static inline int watched_unlinkat(int at, const char *name, int flags)
{
    if (step("unlink") != 0) return -1;
    int result = unlinkat(at, name, flags);
    if (result != 0 || !watch.logging) return result;
    pthread_mutex_lock(&watch.lock);
    struct name *n = find_name(folder_of_fd(at), name);
    struct entry *e = note(REMOVED);
    e->inode = n->inode;
    e->folder = n->folder;
    snprintf(e->name, sizeof e->name, "%s", name);
    drop_name(n);
    pthread_mutex_unlock(&watch.lock);
    return 0;
}

static inline int watched_fstat(int fd, struct stat *status)
{
    return step("stat") != 0 ? -1 : fstat(fd, status);
}

static inline int watched_fstatfs(int fd, struct statfs *status)
{
    if (fstatfs(fd, status) != 0) return -1;
    status->f_type = watch.file_system == 0 ? TMPFS_MAGIC : watch.file_system;
    return 0;
}

static inline int watched_uname(struct utsname *name)
{
    if (uname(name) != 0) return -1;
    snprintf(name->release, sizeof name->release, "%s", watch.release == NULL ? "6.1.0-1-amd64" : watch.release);
    return 0;
}

static inline void *watched_malloc(size_t len)
{
    return allocation_fails() ? NULL : malloc(len);
}

static inline void *watched_calloc(size_t n, size_t len)
{
    return allocation_fails() ? NULL : calloc(n, len);
}

static inline void *watched_realloc(void *mem, size_t len)
{
    return allocation_fails() ? NULL : realloc(mem, len);
}

/* -- the spool ----------------------------------------------------------------------------------------- */

#include <ehlo/net.h>

static inline void answer_call(ehlo_pending *pending, int result);

#define openat(...) watched_openat(__VA_ARGS__)
#define mkdirat watched_mkdirat
#define pread watched_pread
#define pwrite watched_pwrite
#define ftruncate watched_ftruncate
#define fsync(fd) watched_fsync(fd)
#define fdatasync(fd) watched_fdatasync(fd)
#define syncfs(fd) watched_syncfs(fd)
#define sync_file_range watched_sync_file_range
#define renameat watched_renameat
#define unlinkat watched_unlinkat
#define fstat(fd, status) watched_fstat(fd, status)
#define fstatfs(fd, status) watched_fstatfs(fd, status)
#define uname watched_uname
#define malloc watched_malloc
#define calloc watched_calloc
#define realloc watched_realloc
#define ehlo_store_answer answer_call
#include "../examples/relay/checksum.c"
#include "../examples/relay/heap.c"
#include "../examples/relay/spool.c"
#include "../examples/relay/spool_file.c"
#include "../examples/relay/spool_folder.c"
#include "../examples/relay/spool_in.c"
#include "../examples/relay/spool_index.c"
#include "../examples/relay/spool_io.c"
#include "../examples/relay/spool_list.c"
#include "../examples/relay/spool_message.c"
#include "../examples/relay/spool_out.c"
#include "../examples/relay/spool_record.c"
#include "../examples/relay/spool_start.c"
#include "../examples/relay/spool_sync.c"
#include "../examples/relay/spool_text.c"
#include "../examples/support/workers.c"
#undef openat
#undef mkdirat
#undef pread
#undef pwrite
#undef ftruncate
#undef fsync
#undef fdatasync
#undef syncfs
#undef sync_file_range
#undef renameat
#undef unlinkat
#undef fstat
#undef fstatfs
#undef uname
#undef malloc
#undef calloc
#undef realloc
#undef ehlo_store_answer

/* -- calls, and their answers --------------------------------------------------------------------------- */

struct call {
    ehlo_pending pending; /* first */
    int answered;
    int result;
    size_t began; /* the log, then */
    size_t ended;
};

static pthread_cond_t call_answered = PTHREAD_COND_INITIALIZER;

static inline void answer_call(ehlo_pending *pending, int result)
{
    struct call *call = (struct call *)pending;
    pthread_mutex_lock(&watch.lock);
    call->answered++;
    call->result = result;
    call->ended = watch.n;
    pthread_cond_broadcast(&call_answered);
    pthread_mutex_unlock(&watch.lock);
}

static inline void call_begin(struct call *call)
{
    memset(call, 0, sizeof *call);
    pthread_mutex_lock(&watch.lock);
    call->began = watch.n;
    pthread_mutex_unlock(&watch.lock);
}

/* The answer, whenever it comes; it comes once, and within a minute. */
static inline int call_end(struct call *call, int result)
{
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 60;
    pthread_mutex_lock(&watch.lock);
    while (result == EHLO_LATER && !call->answered) {
        assert_int_equal(pthread_cond_timedwait(&call_answered, &watch.lock, &limit), 0);
    }
    if (result != EHLO_LATER) {
        call->result = result;
        call->ended = watch.n;
    }
    pthread_mutex_unlock(&watch.lock);
    assert_int_equal(call->answered, result == EHLO_LATER);
    return call->result;
}

/* -- a spool in a folder of its own --------------------------------------------------------------------- */

struct place {
    char dir[64];
    struct spool *spool;
    struct spool_settings settings;
    int result; /* of create or append, where one failed */
};

enum { DAY_MS = 86400000 };
static const int64_t start_ms = 1800000000000;

static inline void note_problem(const char *text, void *ctx)
{
    (void)text;
    (void)ctx;
    pthread_mutex_lock(&watch.lock);
    watch.problems++;
    pthread_mutex_unlock(&watch.lock);
}

static inline int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline int place_try(struct place *p)
{
    char why[SPOOL_WHY_MAX];
    int error = spool_open(&p->spool, p->dir, &p->settings, why);
    assert_int_equal(error != 0, why[0] != '\0');
    return error;
}

static inline void place_open(struct place *p)
{
    assert_int_equal(place_try(p), 0);
}

static inline void place_close(struct place *p)
{
    spool_close(p->spool);
    p->spool = NULL;
}

static inline void place_init(struct place *p)
{
    log_clear();
    watch.on = watch.logging = watch.calls = watch.fail_at = watch.fail_on = watch.fail_memory = watch.problems = 0;
    watch.write_max = 0;
    watch.only = watch.release = NULL;
    watch.file_system = 0;
    watch.no_sync = 1;
    memset(p, 0, sizeof *p);
    strcpy(p->dir, "/dev/shm/spool-test-XXXXXX"); /* in memory, where that is to be had: nothing is synced here */
    if (mkdtemp(p->dir) == NULL) {
        strcpy(p->dir, "spool-test-XXXXXX");
        assert_non_null(mkdtemp(p->dir));
    }
    p->settings.now = start_ms;
    p->settings.threads = 1;
    p->settings.group_min = UINT32_MAX;
    p->settings.on_problem = note_problem;
}

static inline void place_make(struct place *p)
{
    place_init(p);
    place_open(p);
}

static inline void place_end(struct place *p)
{
    if (p->spool != NULL) place_close(p);
    remove_tree(p->dir);
    log_clear();
}

static inline void place_reopen(struct place *p)
{
    place_close(p);
    place_open(p);
}

static inline size_t count_files(const struct place *p, const char *folder)
{
    char path[256];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", p->dir, folder);
    DIR *dir = opendir(path);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry != NULL; entry = readdir(dir)) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    if (dir != NULL) closedir(dir);
    return count;
}

/* -- messages: number n tells its content, its envelope, and its recipients ------------------------------- */

enum { RCPTS_MAX = 16, TEXT_SIZE = 64, BATCHES_MAX = 64 };

struct mail {
    int number;
    size_t len;
    size_t nrcpts;
    size_t ndestinations; /* recipient i goes to destination i modulo this */
};

struct envelope_memory {
    char from[TEXT_SIZE];
    char envid[TEXT_SIZE];
    char to[RCPTS_MAX][TEXT_SIZE];
    char destination[RCPTS_MAX][TEXT_SIZE];
    ehlo_str destinations[RCPTS_MAX];
    ehlo_recipient rcpts[RCPTS_MAX];
    ehlo_envelope envelope;
    ehlo_queued queued;
};

/* What message `number` holds: these octets from that one on. */
static inline const char *content_of(int number)
{
    static char octets[1 << 20];
    for (size_t i = sizeof octets; octets[0] == '\0' && i > 0; i--)
        octets[i - 1] = (char)(i * 31 + i / 256 * 7 + i / 65536 * 13);
    return octets + number;
}

static inline void make_envelope(const struct mail *mail, struct envelope_memory *m)
{
    memset(m, 0, sizeof *m);
    snprintf(m->from, sizeof m->from, "s%d@x.example", mail->number);
    snprintf(m->envid, sizeof m->envid, "m%d.%zu", mail->number, mail->len);
    for (size_t i = 0; i < mail->nrcpts; i++) {
        size_t destination = i % mail->ndestinations;
        snprintf(m->to[i], TEXT_SIZE, "r%zu@d%zu.example", i, destination);
        snprintf(m->destination[i], TEXT_SIZE, "d%zu.example", destination);
        m->destinations[i] = ehlo_str_from(m->destination[i]);
        m->rcpts[i].to = ehlo_str_from(m->to[i]);
        m->rcpts[i].notify = EHLO_NOTIFY_FAILURE;
    }
    m->envelope.from = ehlo_str_from(m->from);
    m->envelope.envid = ehlo_str_from(m->envid);
    m->envelope.rcpts = m->rcpts;
    m->envelope.nrcpts = mail->nrcpts;
    m->queued.envelope = &m->envelope;
    m->queued.destinations = m->destinations;
    m->queued.hello = ehlo_str_from("client.example");
    m->queued.arrived = start_ms + mail->number;
}

/* Creates it, and appends all in pieces. NULL if that failed: then it was discarded. */
static inline void *write_mail(struct place *p, const struct mail *mail, size_t piece)
{
    struct envelope_memory m;
    struct call call;
    void *message = NULL;
    ehlo_str name;
    make_envelope(mail, &m);
    call_begin(&call);
    p->result = call_end(&call, spool_store.create(p->spool, &m.queued, &message, &name, &call.pending));
    if (p->result != EHLO_OK) return NULL;
    const char *content = content_of(mail->number);
    int result = EHLO_OK;
    for (size_t at = 0; at < mail->len && result == EHLO_OK;) {
        size_t len = mail->len - at < piece ? mail->len - at : piece;
        size_t taken = 0;
        call_begin(&call);
        result = call_end(&call, spool_store.append(p->spool, message, content + at, len, &taken, &call.pending));
        at += taken;
    }
    p->result = result;
    if (result == EHLO_OK) return message;
    spool_store.discard(p->spool, message);
    return NULL;
}

static inline int accept_mail(struct place *p, const struct mail *mail, struct call *call)
{
    struct call local;
    void *message = write_mail(p, mail, 50000);
    if (call == NULL) call = &local;
    if (message == NULL) return p->result;
    call_begin(call);
    return call_end(call, spool_store.commit(p->spool, message, &call->pending));
}

static inline size_t claim_batches(struct place *p, int64_t now, ehlo_batch **batches, size_t max)
{
    struct call call;
    ehlo_claim claim = {
        .now = now, .lease_until = now + 300000, .max = max, .destination_max = max, .batches = batches
    };
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.claim(p->spool, &claim, &call.pending)), EHLO_OK);
    return claim.n;
}

/* Reads all of a body; EHLO_OK, or the error. */
static inline int read_body(struct place *p, ehlo_batch *batch, char *to, size_t room, size_t *len)
{
    int last = 0;
    *len = 0;
    while (!last) {
        struct call call;
        ehlo_str piece = { NULL, 0 };
        call_begin(&call);
        int result = call_end(&call, spool_store.body(p->spool, batch, *len, &piece, &last, &call.pending));
        if (result != EHLO_OK) return result;
        assert_true(piece.len <= room - *len && (last || piece.len > 0));
        memcpy(to + *len, piece.ptr, piece.len);
        *len += piece.len;
    }
    return EHLO_OK;
}

/* The number of the message, whose envelope and octets are as they were. */
static inline int check_batch(struct place *p, ehlo_batch *batch)
{
    struct mail mail = { .nrcpts = 1, .ndestinations = 1 };
    size_t len = 0;
    char envid[TEXT_SIZE];
    snprintf(envid, sizeof envid, "%.*s", (int)batch->envelope.envid.len, batch->envelope.envid.ptr);
    assert_int_equal(sscanf(envid, "m%d.%zu", &mail.number, &mail.len), 2);
    struct envelope_memory m;
    make_envelope(&mail, &m);
    assert_int_equal(batch->envelope.from.len, strlen(m.from));
    assert_memory_equal(batch->envelope.from.ptr, m.from, strlen(m.from));
    assert_int_equal(batch->arrived, m.queued.arrived);
    assert_int_equal(batch->envelope.size, mail.len);
    assert_true(batch->nrcpts > 0);
    char *content = malloc(mail.len + 1);
    assert_int_equal(read_body(p, batch, content, mail.len, &len), EHLO_OK);
    assert_int_equal(len, mail.len);
    assert_memory_equal(content, content_of(mail.number), len);
    free(content);
    return mail.number;
}

/* Which destination of those that make_envelope writes. */
static inline int batch_destination(const ehlo_batch *batch)
{
    return batch->destination.ptr[1] - '0';
}

/* Every recipient of the batch gets this state, with a reply. */
static inline void set_states(ehlo_batch *batch, ehlo_state state)
{
    for (size_t i = 0; i < batch->nrcpts; i++) {
        ehlo_batch_rcpt *b = &batch->rcpts[i];
        b->state = (uint8_t)state;
        b->rcpt.code = 450;
        b->text_len = (uint8_t)snprintf(b->text, sizeof b->text, "not now, says %s", "mx.example");
    }
}

/* Records the same for all recipients. */
static inline int record_batch(struct place *p, ehlo_batch *batch, ehlo_state state, void *report, struct call *call)
{
    struct call local;
    void *reports[1] = { report };
    ehlo_progress progress = { .next_try = state == EHLO_STATE_QUEUED ? start_ms + DAY_MS : EHLO_NEVER,
                               .attempt = batch->attempt + 1 };
    if (call == NULL) call = &local;
    set_states(batch, state);
    call_begin(call);
    return call_end(call, spool_store.record(p->spool, batch, &progress, reports, report != NULL, &call->pending));
}

static inline void release_all(struct place *p, ehlo_batch **batches, size_t n)
{
    for (size_t i = 0; i < n; i++) spool_store.release(p->spool, batches[i]);
}

#endif

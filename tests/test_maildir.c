/* inbox's filing: names, all recipients or none, and what a crash or a failure at any system call leaves behind. */
#define _POSIX_C_SOURCE 200809L

#include <ehlo/syntax.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* -- the system, watched: each call that changes something can be recorded, made to fail, or be the last ---- */

enum { STEPS_MAX = 256 };

static struct {
    int on;
    int calls;
    int fail_at;      /* this call fails, counted from 1 */
    int error;        /* in this way */
    int crash_at;     /* the process ends before this call */
    size_t write_max; /* octets that one write takes at most; 0: all */
    int no_links;     /* linkat fails as where there are no hard links */
    char steps[STEPS_MAX][520];
} watch;

static int step(const char *call, const char *what)
{
    if (!watch.on) return 0;
    watch.calls++;
    if (watch.calls == watch.crash_at) _exit(42);
    if (watch.calls <= STEPS_MAX) snprintf(watch.steps[watch.calls - 1], sizeof watch.steps[0], "%s %s", call, what);
    if (watch.calls != watch.fail_at) return 0;
    errno = watch.error;
    return -1;
}

/* What a descriptor was opened as, for the record. */
static char opened[1024][500];

static int watched_openat(int fd, const char *path, int flags, ...)
{
    if (flags & O_CREAT && step("create", path) != 0) return -1;
    if (!(flags & O_CREAT) && step("open", path) != 0) return -1;
    int result = openat(fd, path, flags, 0600);
    if (result >= 0 && result < 1024) snprintf(opened[result], sizeof opened[0], "%s", path);
    return result;
}

static ssize_t watched_write(int fd, const void *bytes, size_t len)
{
    if (step("write", opened[fd]) != 0) return -1;
    return write(fd, bytes, watch.write_max != 0 && watch.write_max < len ? watch.write_max : len);
}

static int watched_fsync(int fd)
{
    return step("fsync", opened[fd]) != 0 ? -1 : fsync(fd);
}

static int watched_mkdirat(int fd, const char *path, mode_t mode)
{
    return step("mkdir", path) != 0 ? -1 : mkdirat(fd, path, mode);
}

static int watched_linkat(int fd, const char *from, int to_fd, const char *to, int flags)
{
    if (step("link", to) != 0) return -1;
    if (watch.no_links) {
        errno = EPERM;
        return -1;
    }
    return linkat(fd, from, to_fd, to, flags);
}

static int watched_renameat(int fd, const char *from, int to_fd, const char *to)
{
    return step("rename", to) != 0 ? -1 : renameat(fd, from, to_fd, to);
}

#define openat(...) watched_openat(__VA_ARGS__)
#define write watched_write
#define fsync watched_fsync
#define mkdirat watched_mkdirat
#define linkat watched_linkat
#define renameat watched_renameat
#include "../examples/inbox/maildir.c"
#undef openat
#undef write
#undef fsync
#undef mkdirat
#undef linkat
#undef renameat

#include "../examples/support/trace.c"

/* -- a maildir in a folder of its own ------------------------------------------------------------------ */

struct place {
    char dir[64];
    struct maildir maildir;
};

static void remove_tree(const char *path)
{
    char inner[512];
    DIR *folder = opendir(path);
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry != NULL; entry = readdir(folder)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        remove_tree(inner);
    }
    if (folder != NULL) closedir(folder);
    remove(path);
}

static void place_make(struct place *p)
{
    memset(&watch, 0, sizeof watch);
    strcpy(p->dir, "maildir-test-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    assert_int_equal(maildir_open(&p->maildir, p->dir, "mx.example"), 0);
}

static void place_end(struct place *p)
{
    maildir_close(&p->maildir);
    remove_tree(p->dir);
}

static size_t count_files(const struct place *p, const char *mailbox, const char *folder)
{
    char path[512];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s/%s", p->dir, mailbox, folder);
    DIR *dir = opendir(path);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') count++;
    }
    if (dir != NULL) closedir(dir);
    return count;
}

/* The octets of the only file in new/, malloc'ed; NULL if there is not exactly one. */
static char *read_new(const struct place *p, const char *mailbox, size_t *len)
{
    char path[1024];
    char name[256] = "";
    if (count_files(p, mailbox, "new") != 1) return NULL;
    snprintf(path, sizeof path, "%s/%s/new", p->dir, mailbox);
    DIR *dir = opendir(path);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') snprintf(name, sizeof name, "%s", entry->d_name);
    }
    closedir(dir);
    snprintf(path, sizeof path, "%s/%s/new/%s", p->dir, mailbox, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 20);
    *len = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static char message[100000];

static void make_message(void)
{
    for (size_t i = 0; i < sizeof message; i++) message[i] = (char)(i * 7 + i / 251);
}

static const char *const three[] = { "carol@x.example", "alice@x.example", "bob@x.example" };

/* Delivers len octets in pieces to the mailboxes; letter_file's result, or an earlier error. */
static int deliver(struct place *p, const char *const *mailboxes, size_t count, size_t len, size_t piece)
{
    struct letter l;
    int error = 0;
    letter_init(&l, &p->maildir);
    for (size_t i = 0; i < count && error == 0; i++) error = letter_address(&l, mailboxes[i]);
    if (error == 0) error = letter_begin(&l);
    for (size_t at = 0; at < len && error == 0; at += piece) {
        error = letter_write(&l, message + at, piece < len - at ? piece : len - at);
    }
    if (error == 0) error = letter_file(&l);
    letter_end(&l);
    return error;
}

static void assert_filed(const struct place *p, const char *mailbox, size_t len)
{
    size_t filed = 0;
    char *bytes = read_new(p, mailbox, &filed);
    assert_non_null(bytes);
    assert_int_equal(filed, len);
    assert_memory_equal(bytes, message, len);
    free(bytes);
    assert_int_equal(count_files(p, mailbox, "tmp"), 0);
}

/* -- names --------------------------------------------------------------------------------------------- */

static void names_are_the_mailbox_escaped(void **state)
{
    static const struct {
        const char *mailbox;
        const char *name;
    } table[] = {
        { "bob@x.example", "bob@x.example" },
        { "Bob.Smith+tag@X.EXAMPLE", "Bob.Smith+tag@x.example" }, /* [C05] case of the local part is kept */
        { "\"bob\"@x.example", "bob@x.example" },                 /* [C56] minimal quoting */
        { "\"a b\"@x.example", "%22a%20b%22@x.example" },
        { "\"a\\b\"@x.example", "ab@x.example" },
        { "\"a\\\\b\"@x.example", "%22a%5C%5Cb%22@x.example" },
        { "\"../../etc/passwd\"@x.example", "%22..%2F..%2Fetc%2Fpasswd%22@x.example" },
        { "\".hidden\"@x.example", "%22.hidden%22@x.example" },
        { "a/../b@x.example", NULL }, /* two dots in a row: not a dot-string */
        { "a/b@x.example", "a%2Fb@x.example" },
        { "a%2Fb@x.example", "a%252Fb@x.example" },
        { "!#$&'*?^`{|}~@x.example", "%21%23%24%26%27%2A%3F%5E%60%7B%7C%7D%7E@x.example" },
        { "=-_+@x.example", "=-_+@x.example" },
        { "bob@[192.0.2.1]", "bob@%5B192.0.2.1%5D" },
        { "bob@[IPv6:2001:DB8::1]", "bob@%5Bipv6%3A2001%3Adb8%3A%3A1%5D" },
        { "\xc3\xa9@x.example", "%C3%A9@x.example" },
        { "b@\xc3\xa9.example", "b@%C3%A9.example" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        ehlo_path path;
        char name[MAILBOX_NAME_MAX + 1];
        int result = ehlo_mailbox_parse(ehlo_str_from(table[i].mailbox), EHLO_SYNTAX_UTF8, &path, NULL);
        assert_int_equal(result == EHLO_OK, table[i].name != NULL);
        if (result != EHLO_OK) continue;
        assert_int_equal(mailbox_name(&path, name), 0);
        assert_string_equal(name, table[i].name);
    }
}

/* [C42] */
static void postmaster_without_a_domain_has_one_mailbox_in_any_case(void **state)
{
    static const char *const spellings[] = { "<postmaster>", "<Postmaster>", "<POSTMASTER>" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        ehlo_path path;
        char name[MAILBOX_NAME_MAX + 1];
        assert_int_equal(ehlo_path_parse(ehlo_str_from(spellings[i]), 0, 0, &path, NULL, NULL), EHLO_OK);
        assert_int_equal(mailbox_name(&path, name), 0);
        assert_string_equal(name, "postmaster");
    }
}

/* Whatever octet a local part holds, the name is one component, and neither "." nor "..". */
static void no_octet_leads_out_of_the_maildir(void **state)
{
    (void)state;
    for (int octet = 0; octet < 256; octet++) {
        char local[] = { (char)octet, '.', (char)octet };
        ehlo_path path;
        char name[MAILBOX_NAME_MAX + 1];
        memset(&path, 0, sizeof path);
        path.local_part = ehlo_str_make(local, sizeof local);
        path.domain = ehlo_str_from("..");
        if (mailbox_name(&path, name) != 0) continue;
        assert_null(strchr(name, '/'));
        assert_int_not_equal(name[0], '.');
        assert_int_equal(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@._+=-%"),
                         strlen(name));
    }
}

static void names_over_240_octets_are_refused(void **state)
{
    char mailbox[320];
    (void)state;
    for (size_t len = 230; len <= 250; len++) { /* "b@" and labels of 60 octets */
        ehlo_path path;
        char name[MAILBOX_NAME_MAX + 1];
        memset(mailbox, 'd', len);
        memcpy(mailbox, "b@", 2);
        for (size_t at = 60; at + 1 < len; at += 60) mailbox[at] = '.';
        mailbox[len] = '\0';
        assert_int_equal(ehlo_mailbox_parse(ehlo_str_from(mailbox), 0, &path, NULL), EHLO_OK);
        assert_int_equal(mailbox_name(&path, name), len <= 240 ? 0 : ENAMETOOLONG);
    }
}

/* The length that counts is the name's: an escaped octet is three, and is never cut in two. */
static void escapes_count_as_they_are_written(void **state)
{
    char mailbox[400];
    (void)state;
    for (size_t slashes = 1; slashes <= 64; slashes++) {
        ehlo_path path;
        char name[MAILBOX_NAME_MAX + 1];
        memset(mailbox, '/', slashes);
        strcpy(mailbox + slashes, "@dddddddddddddddddddddddddddddddddddddddd.dddddddddd.example"); /* 60 octets */
        assert_int_equal(ehlo_mailbox_parse(ehlo_str_from(mailbox), 0, &path, NULL), EHLO_OK);
        int result = mailbox_name(&path, name);
        assert_int_equal(result, slashes * 3 + 60 <= 240 ? 0 : ENAMETOOLONG);
        if (result == 0) assert_int_equal(strlen(name), slashes * 3 + 60);
    }
}

static void a_host_name_cannot_break_a_file_name(void **state)
{
    char host[MAILDIR_HOST_MAX + 1];
    (void)state;
    copy_host(host, "[IPv6:2001:db8::1]/../x");
    assert_string_equal(host, "_IPv6_2001_db8__1__.._x");
    copy_host(host, "0123456789012345678901234567890123456789012345678901234567890123456789");
    assert_int_equal(strlen(host), MAILDIR_HOST_MAX);
}

static void ids_are_never_the_same(void **state)
{
    struct place p;
    char before[MAILDIR_ID_MAX] = "";
    (void)state;
    place_make(&p);
    for (int i = 0; i < 10000; i++) {
        char id[MAILDIR_ID_MAX];
        make_id(&p.maildir, id);
        const char *counter = strrchr(id, 'Q');
        assert_non_null(counter);
        assert_int_equal(atoi(counter + 1), i + 1);
        assert_string_not_equal(id, before);
        strcpy(before, id);
    }
    place_end(&p);
}

/* -- filing -------------------------------------------------------------------------------------------- */

static void every_size_and_cut_is_filed_as_it_came(void **state)
{
    static const size_t sizes[] = {
        0, 1, LETTER_BUFFER - 1, LETTER_BUFFER, LETTER_BUFFER + 1, 3 * LETTER_BUFFER, 100000
    };
    static const size_t pieces[] = { 1, 7, 1000, LETTER_BUFFER - 1, LETTER_BUFFER, 65536, 100000 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
            struct place p;
            place_make(&p);
            watch.on = k % 2 == 1;
            watch.write_max = 999;
            assert_int_equal(deliver(&p, three, 1, sizes[i], pieces[k]), 0);
            assert_filed(&p, three[0], sizes[i]);
            place_end(&p);
        }
    }
}

static void every_recipient_gets_the_message_once(void **state)
{
    static const char *const names[] = { "b@x", "a@x", "b@x", "c@x", "a@x", "b@x" };
    struct place p;
    (void)state;
    for (int no_links = 0; no_links <= 1; no_links++) {
        place_make(&p);
        watch.on = 1;
        watch.no_links = no_links;
        assert_int_equal(deliver(&p, names, 6, 70000, 5000), 0);
        assert_filed(&p, "a@x", 70000);
        assert_filed(&p, "b@x", 70000);
        assert_filed(&p, "c@x", 70000);
        place_end(&p);
    }
}

static void a_thousand_recipients_are_filed(void **state)
{
    struct place p;
    static char names[1000][16];
    static const char *list[1000];
    (void)state;
    place_make(&p);
    for (int i = 0; i < 1000; i++) {
        snprintf(names[i], sizeof names[i], "u%d@x", (i * 7919) % 1000);
        list[i] = names[i];
    }
    assert_int_equal(deliver(&p, list, 1000, 100, 100), 0);
    for (int i = 0; i < 1000; i++) assert_filed(&p, list[i], 100);
    place_end(&p);
}

static void a_letter_that_ends_early_leaves_nothing(void **state)
{
    struct place p;
    (void)state;
    place_make(&p);
    for (size_t len = 0; len <= 100000; len += 25000) {
        struct letter l;
        letter_init(&l, &p.maildir);
        assert_int_equal(letter_address(&l, "a@x"), 0);
        assert_int_equal(letter_begin(&l), 0);
        assert_int_equal(letter_write(&l, message, len), 0);
        assert_int_equal(count_files(&p, "a@x", "tmp"), len >= LETTER_BUFFER); /* it is in tmp/ while it comes */
        letter_end(&l);
        letter_end(&l); /* twice is fine */
        assert_int_equal(count_files(&p, "a@x", "tmp"), 0);
        assert_int_equal(count_files(&p, "a@x", "new"), 0);
    }
    place_end(&p);
}

/* A mailbox that cannot be written is a file where its new/ should be. */
static void all_recipients_or_none(void **state)
{
    for (size_t bad = 0; bad < 3; bad++) {
        struct place p;
        char path[512];
        (void)state;
        place_make(&p);
        assert_int_equal(deliver(&p, three, 3, 10, 10), 0);
        snprintf(path, sizeof path, "%s/%s/new", p.dir, three[bad]);
        remove_tree(path);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fclose(file);
        assert_int_equal(deliver(&p, three, 3, 50000, 50000), ENOTDIR);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(count_files(&p, three[i], "tmp"), 0);
            if (i != bad) assert_filed(&p, three[i], 10); /* the message before, alone */
        }
        place_end(&p);
    }
}

/* Makes call number n of a delivery to three mailboxes fail; 0 when there is no such call. */
static int fail_at(int n, int error, size_t len, int no_links)
{
    struct place p;
    place_make(&p);
    watch.on = 1;
    watch.fail_at = n;
    watch.error = error;
    watch.no_links = no_links;
    watch.write_max = 20000;
    int result = deliver(&p, three, 3, len, 30000);
    int reached = watch.calls >= n;
    watch.on = 0;
    if (reached && result != 0) {
        assert_int_equal(result, error);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(count_files(&p, three[i], "tmp"), 0);
            assert_int_equal(count_files(&p, three[i], "new"), 0);
        }
    } else {
        assert_int_equal(result, 0);
        assert_true(!reached || error == EEXIST); /* a folder that is there already is no failure */
        for (size_t i = 0; i < 3; i++) assert_filed(&p, three[i], len);
    }
    place_end(&p);
    return reached;
}

static void whichever_call_fails_nobody_gets_it_and_nothing_is_left(void **state)
{
    static const int errors[] = { EIO, ENOSPC, EDQUOT, EACCES };
    (void)state;
    for (size_t e = 0; e < 4; e++) {
        for (int no_links = 0; no_links <= 1; no_links++) {
            int n = 1;
            while (fail_at(n, errors[e], e % 2 == 0 ? 100 : 100000, no_links)) n++;
            assert_true(n > 20); /* it did go through the calls */
        }
    }
}

/* [C134] The process ends before its n-th call: what a reader finds in new/ is whole, and what was acknowledged is there. */
static void a_crash_at_any_call_leaves_whole_messages_in_new_alone(void **state)
{
    int crashed = 1;
    (void)state;
    for (int n = 1; crashed; n++) {
        struct place p;
        int status = 0;
        place_make(&p);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            watch.on = 1;
            watch.crash_at = n;
            watch.no_links = n % 2;
            watch.write_max = 20000;
            _exit(deliver(&p, three, 3, 100000, 30000) == 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        crashed = WEXITSTATUS(status) == 42;
        if (!crashed) assert_int_equal(WEXITSTATUS(status), 0);
        for (size_t i = 0; i < 3; i++) {
            size_t len = 0;
            char *bytes = read_new(&p, three[i], &len);
            assert_true(bytes != NULL || crashed);
            if (bytes != NULL) assert_true(len == sizeof message && memcmp(bytes, message, len) == 0);
            free(bytes);
        }
        /* the next process delivers into what was left */
        static const char *const after[] = { "alice@x.example" };
        size_t before = count_files(&p, after[0], "new");
        assert_int_equal(deliver(&p, after, 1, 10, 10), 0);
        assert_int_equal(count_files(&p, after[0], "new"), before + 1);
        place_end(&p);
    }
}

/* Where the last step "call mailbox rest" stands among the first `limit`; -1 if there is none. A '*' at the end of
 * rest stands for anything. */
static int last_step(int limit, const char *call, const char *mailbox, const char *rest)
{
    char wanted[256];
    int found = -1;
    snprintf(wanted, sizeof wanted, "%s %s%s", call, mailbox, rest);
    size_t len = strlen(wanted);
    int open_end = wanted[len - 1] == '*';
    if (open_end) wanted[len - 1] = '\0';
    for (int i = 0; i < limit; i++) {
        int same = open_end ? strncmp(watch.steps[i], wanted, len - 1) == 0 : strcmp(watch.steps[i], wanted) == 0;
        if (same) found = i;
    }
    return found;
}

static void everything_is_synced_in_the_order_that_a_power_cut_demands(void **state)
{
    struct place p;
    (void)state;
    place_make(&p);
    watch.on = 1;
    assert_int_equal(deliver(&p, three, 3, 100000, 30000), 0);
    watch.on = 0;
    int end = watch.calls;
    assert_in_range(end, 1, STEPS_MAX);
    int octets = last_step(end, "fsync", "alice@x.example", "/tmp/*");
    assert_true(octets > last_step(end, "write", "", "*"));
    for (size_t i = 0; i < 3; i++) {
        int cur = last_step(end, "mkdir", three[i], "/cur"); /* says that the folder itself is on disk: */
        assert_true(cur >= 0);
        assert_true(last_step(cur, "fsync", three[i], "") > last_step(end, "mkdir", three[i], "/new"));
        assert_true(last_step(cur, "fsync", "", ".") > last_step(end, "mkdir", three[i], ""));
        assert_true(last_step(end, "mkdir", three[i], "/new") >= 0);
        int renamed = last_step(end, "rename", three[i], "/new/*");
        assert_true(renamed > cur);
        assert_true(renamed > octets); /* the octets first, then the name, then the folder that has it */
        assert_true(renamed > last_step(end, "link", "", "*"));
        assert_true(last_step(end, "fsync", three[i], "/new") > renamed);
    }
    place_end(&p);
}

static void a_delivery_to_maildirs_that_exist_makes_no_folder(void **state)
{
    struct place p;
    (void)state;
    place_make(&p);
    assert_int_equal(deliver(&p, three, 3, 10, 10), 0);
    watch.on = 1;
    assert_int_equal(deliver(&p, three, 3, 10, 10), 0);
    assert_int_equal(last_step(watch.calls, "mkdir", "", "*"), -1);
    place_end(&p);
}

/* A mail reader, or a backup that drops empty folders, may have left cur/ alone. */
static void a_mailbox_that_has_only_cur_is_made_whole(void **state)
{
    struct place p;
    char path[400];
    (void)state;
    place_make(&p);
    snprintf(path, sizeof path, "%.60s/%s", p.dir, three[0]);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%.60s/%s/cur", p.dir, three[0]);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(deliver(&p, three, 1, 10, 10), 0);
    assert_filed(&p, three[0], 10);
    place_end(&p);
}

/* on_data may be refused once, and asked again. */
static void a_letter_that_is_begun_again_keeps_its_recipients(void **state)
{
    struct place p;
    struct letter l;
    (void)state;
    place_make(&p);
    letter_init(&l, &p.maildir);
    for (size_t i = 0; i < 3; i++) assert_int_equal(letter_address(&l, three[i]), 0);
    assert_int_equal(letter_address(&l, three[0]), 0);
    assert_int_equal(letter_begin(&l), 0);
    assert_int_equal(letter_begin(&l), 0);
    assert_int_equal(l.count, 3);
    letter_end(&l);
    place_end(&p);
}

static void a_missing_parent_is_an_error(void **state)
{
    struct maildir m;
    (void)state;
    assert_int_equal(maildir_open(&m, "no-such-folder/maildir", "x"), ENOENT);
}

/* -- sweeping ------------------------------------------------------------------------------------------ */

static void put_file(const struct place *p, const char *name, time_t age)
{
    char path[512];
    struct timespec times[2];
    snprintf(path, sizeof path, "%s/%s", p->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    times[0].tv_sec = times[1].tv_sec = time(NULL) - age;
    times[0].tv_nsec = times[1].tv_nsec = 0;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void stale_files_are_swept_from_tmp_alone(void **state)
{
    struct place p;
    (void)state;
    place_make(&p);
    assert_int_equal(deliver(&p, three, 1, 10, 10), 0);
    put_file(&p, "carol@x.example/tmp/old", 37 * 3600);
    put_file(&p, "carol@x.example/tmp/young", 35 * 3600);
    put_file(&p, "carol@x.example/new/old", 37 * 3600);
    put_file(&p, "carol@x.example/cur/old", 37 * 3600);
    put_file(&p, "stray", 37 * 3600);
    maildir_sweep(&p.maildir);
    assert_int_equal(count_files(&p, "carol@x.example", "tmp"), 1);
    assert_int_equal(count_files(&p, "carol@x.example", "new"), 2);
    assert_int_equal(count_files(&p, "carol@x.example", "cur"), 1);
    assert_int_equal(count_files(&p, ".", "."), 2);
    place_end(&p);
}

/* -- trace fields -------------------------------------------------------------------------------------- */

/* [C107] [C110] */
static void return_path_and_received_lead(void **state)
{
    static const char *const paths[] = { "", "a@x.example", "\"a b\"@x.example" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char lead[TRACE_LEAD_MAX];
        char expected[64];
        size_t len = 0;
        ehlo_received received;
        memset(&received, 0, sizeof received);
        received.hello = ehlo_str_from("c.example");
        received.by = ehlo_str_from("mx.example");
        received.with = EHLO_WITH_ESMTP;
        received.id = ehlo_str_from("1.M2P3Q4");
        assert_int_equal(trace_lead_write(ehlo_str_from(paths[i]), &received, lead, &len), EHLO_OK);
        snprintf(expected, sizeof expected, "Return-Path: <%s>\r\nReceived: from c.example", paths[i]);
        assert_true(len > strlen(expected));
        assert_memory_equal(lead, expected, strlen(expected));
        assert_memory_equal(lead + len - 2, "\r\n", 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_the_mailbox_escaped),
        cmocka_unit_test(postmaster_without_a_domain_has_one_mailbox_in_any_case),
        cmocka_unit_test(no_octet_leads_out_of_the_maildir),
        cmocka_unit_test(names_over_240_octets_are_refused),
        cmocka_unit_test(escapes_count_as_they_are_written),
        cmocka_unit_test(a_host_name_cannot_break_a_file_name),
        cmocka_unit_test(ids_are_never_the_same),
        cmocka_unit_test(every_size_and_cut_is_filed_as_it_came),
        cmocka_unit_test(every_recipient_gets_the_message_once),
        cmocka_unit_test(a_thousand_recipients_are_filed),
        cmocka_unit_test(a_letter_that_ends_early_leaves_nothing),
        cmocka_unit_test(all_recipients_or_none),
        cmocka_unit_test(whichever_call_fails_nobody_gets_it_and_nothing_is_left),
        cmocka_unit_test(a_crash_at_any_call_leaves_whole_messages_in_new_alone),
        cmocka_unit_test(everything_is_synced_in_the_order_that_a_power_cut_demands),
        cmocka_unit_test(a_delivery_to_maildirs_that_exist_makes_no_folder),
        cmocka_unit_test(a_mailbox_that_has_only_cur_is_made_whole),
        cmocka_unit_test(a_letter_that_is_begun_again_keeps_its_recipients),
        cmocka_unit_test(a_missing_parent_is_an_error),
        cmocka_unit_test(stale_files_are_swept_from_tmp_alone),
        cmocka_unit_test(return_path_and_received_lead),
    };
    make_message();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

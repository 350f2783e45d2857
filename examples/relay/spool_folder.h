/* spool_folder.h - what is in a folder. */
#ifndef SPOOL_FOLDER_H
#define SPOOL_FOLDER_H

#include <stddef.h>
#include <stdint.h>

/* A list of ids. Zero it; at is to be freed. */
struct ids {
    uint64_t *at;
    size_t n;
    size_t room;
};

/* 0, or ENOMEM. */
int ids_add(struct ids *ids, uint64_t id);
/* 1 if it is among the first n, which are in order. */
int ids_has(const struct ids *ids, size_t n, uint64_t id);

/* Calls each for every name in the folder `name` of `at`, hidden ones left out, until it returns an errno. 0, or an errno. */
int folder_each(int at, const char *name, int (*each)(int folder, const char *name, void *arg), void *arg);
/* The ids of the messages in a folder, in order; other names are passed over. */
int folder_ids(int at, const char *name, struct ids *ids);

#endif

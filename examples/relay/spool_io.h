/* spool_io.h - octets at a place in a file, all of them. 0, or an errno. */
#ifndef SPOOL_IO_H
#define SPOOL_IO_H

#include <stddef.h>
#include <stdint.h>

int spool_write_at(int fd, const char *bytes, size_t len, uint64_t at);
/* *len becomes less where the file ends. */
int spool_read_at(int fd, char *to, size_t *len, uint64_t at);

#endif

/* lib/net/file.h - text files of the system, as a whole. */
#ifndef EHLO_NET_FILE_H
#define EHLO_NET_FILE_H

#include <ehlo/types.h>

/* Reads the lines of a file, as many as max octets hold. One that cannot be read is empty: these files are optional.
 * EHLO_ERR_MEMORY. */
int ehlo_file_read(ehlo_str path, size_t max, ehlo_str *text);
void ehlo_file_free(ehlo_str text);

#endif

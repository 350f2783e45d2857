/* list.h - what people ask a spool from the command line, whether a relay runs on it or not. */
#ifndef LIST_H
#define LIST_H

#include <ehlo/types.h>

/* Both print to standard output, and return the status to end with. */

/* Every message that is queued, as a table. */
int list_print(const char *dir);

/* Asks the relay that runs to try a destination now, and waits a little until it has heard. */
int list_flush(const char *dir, const char *destination);

#endif

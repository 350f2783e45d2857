/* progress.h - a bar for large messages, on a terminal: how much, how fast, how long still. */
#ifndef SEND_PROGRESS_H
#define SEND_PROGRESS_H

#include <stdint.h>

/* total: octets of all copies; message: of one. Where that is small, or standard error is no terminal, no bar is
 * shown, whatever is called below. */
void progress_start(uint64_t now_ms, uint64_t total, uint64_t message);
void progress_show(uint64_t now_ms, uint64_t sent);
/* Makes way for other output. */
void progress_clear(void);

#endif

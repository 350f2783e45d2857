/* report.h - what is printed: a line per recipient on standard output, the dialogue on standard error. */
#ifndef SEND_REPORT_H
#define SEND_REPORT_H

#include <ehlo/transaction.h>

enum { REPORT_TEXT_MAX = 1024, REPORT_REPLY_MAX = 256 };

/* What a server said, or we in its place, as one line that is fit to print. */
struct report_text {
    size_t len;
    char bytes[REPORT_TEXT_MAX];
    size_t reply_len; /* 0: it is not known, or too long */
    char reply[REPORT_REPLY_MAX];
};

void report_text_set(struct report_text *text, ehlo_str words);
/* The lines of a reply, without their codes, joined by spaces. text is zeroed, or that of a reply before, which is kept
 * where it is the same: a server may well say the same to each of many copies. */
void report_text_reply(struct report_text *text, ehlo_str reply);

/* "ADDRESS OUTCOME STAGE CODE ENHANCED TEXT"; "-" for what there is none of. Printed by report_flush. */
void report_recipient(const ehlo_recipient *rcpt, const struct report_text *text);
void report_flush(void);
/* errno of what could not be printed; 0 if all could. */
int report_failure(void);

/* "C: ..." or "S: ..." */
void report_trace(int direction, ehlo_str bytes, int secret);

#endif

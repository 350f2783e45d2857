/* lib/net/report.h - the reports that an attempt leaves behind: each a message in the store, whole, but not queued. */
#ifndef EHLO_NET_REPORT_H
#define EHLO_NET_REPORT_H

#include "attempt.h"

/* One for each action that its progress tells of. The memory begins with an ehlo_kept. NULL: no memory. */
ehlo_reports *ehlo_reports_new(const ehlo_attempt *attempt);
/* Writes them, as far as the store goes along. EHLO_OK: they are whole. EHLO_LATER: the answer to `pending` is to be handed
 * over. An error of the store: nothing is left but to free them. */
int ehlo_reports_write(ehlo_reports *reports, ehlo_pending *pending);
int ehlo_reports_answer(ehlo_reports *reports, int result, ehlo_pending *pending);
/* *n messages of the store. */
void *const *ehlo_reports_messages(const ehlo_reports *reports, size_t *n);
/* They are not ours any more: they were recorded, or the store is not to be called. */
void ehlo_reports_disown(ehlo_reports *reports);
/* Those that are ours still are discarded. NULL is fine. */
void ehlo_reports_free(ehlo_reports *reports);

#endif

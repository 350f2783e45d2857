/* outcomes.h - the log of what was tried: a line for each recipient. */
#ifndef OUTCOMES_H
#define OUTCOMES_H

#include <ehlo/net.h>

/* on_recorded, on_problem and on_trace of ehlo_relay_config. */
void outcomes_recorded(const ehlo_batch *batch, const ehlo_progress *progress, void *ctx);
void outcomes_problem(ehlo_str text, void *ctx);
void outcomes_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *ctx);

#endif

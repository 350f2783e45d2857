/* log.h - lines on standard error that a peer's words cannot break: every octet but printable ASCII is \xHH. */
#ifndef LOG_H
#define LOG_H

#include <ehlo/net.h>

/* The name that leads every line, "NAME: "; it outlives the last one. Once, first. */
void log_begin(const char *name);

/* One line. From any thread, as the two below. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

/* One line: prefix, then octets. */
void log_octets(const char *prefix, ehlo_str octets);

/* Of a dialogue, as on_trace tells it: one line for each line that was said, "#NUMBER SPEAKER: ...". */
void log_dialogue(uint64_t number, const char *speaker, ehlo_str bytes, int secret);

/* The same, as on_trace of a server's sessions. */
void log_session(ehlo_server *s, int direction, ehlo_str bytes, int secret, void *user);

#endif

/* log.h - lines on standard error that a peer's words cannot break: every octet but printable ASCII is \xHH. */
#ifndef LOG_H
#define LOG_H

#include <stddef.h>

/* One line. From any thread. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

/* One line: prefix, then octets. */
void log_octets(const char *prefix, const char *octets, size_t len);

#endif

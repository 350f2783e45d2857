/* os.h - the system calls of lib/net, which end here (ld --wrap) while a simulated machine is the current one. */
#ifndef EHLO_TESTS_OS_H
#define EHLO_TESTS_OS_H

#include "simulator.h"

/* 1 if its loop would find something ready. */
int os_ready(machine *m);
/* A breach, if it has descriptors open still. */
void os_check_closed(machine *m);
/* Forgets all that was opened. */
void os_reset(void);
/* Real milliseconds, for those who measure. */
uint64_t os_real_ms(void);

#endif

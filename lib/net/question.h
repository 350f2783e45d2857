/* lib/net/question.h - one question to the DNS servers, asked until one of them answers it. */
#ifndef EHLO_NET_QUESTION_H
#define EHLO_NET_QUESTION_H

#include "resolv_conf.h"

#include <ehlo/net.h>

typedef struct ehlo_question ehlo_question;

/* The status is FOUND, NODATA, NXDOMAIN, or FAILED where no server could tell: the answer is zero then. `aliases` are all
 * that were followed, over however many answers. The answer lives for the call, and the question is gone. */
typedef void (*ehlo_on_answer)(void *arg, ehlo_dns_answer *answer);

/* The dot says that the name is absolute: all are here. */
static inline ehlo_str ehlo_without_final_dot(ehlo_str name)
{
    if (name.len > 0 && name.ptr[name.len - 1] == '.') name.len--;
    return name;
}

/* 1 if it is a name and a type that ehlo_question_ask takes. */
int ehlo_question_may_ask(ehlo_str name, ehlo_dns_type type);

/* Asks each server in turn, round by round, by UDP, and by TCP what did not fit; and where an answer ends in an alias, for
 * its target. Calls fn once, from the loop, never
 * from inside this call. servers stay until then. EHLO_ERR_ARG: as ehlo_dns_query_write; EHLO_ERR_MEMORY. */
int ehlo_question_ask(ehlo_question **question, ehlo_loop *loop, const ehlo_nameservers *servers, ehlo_str name,
                      ehlo_dns_type type, ehlo_on_answer fn, void *arg);
/* No more; fn is not called. NULL is fine. */
void ehlo_question_drop(ehlo_question *question);

#endif

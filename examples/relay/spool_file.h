/* spool_file.h - the file of a message, as octets.
 *
 *     ehlo-spool 1 LLLLLLLL CCCCCCCC          octets of the header below, and their checksum, in hex
 *     id ID
 *     arrived MS
 *     hello NAME
 *     mail FROM FLAGS BODY RET ENVID AUTH PARAMS
 *     destination NAME                        then its recipients
 *     rcpt TO ORCPT-TYPE ORCPT PARAMS NOTIFY
 *     body LENGTH CHECKSUM
 *
 * then the octets of the message, then a record for each attempt:
 *
 *     R LLLLLLLL CCCCCCCC HHHHHHHH ...        octets of the rest, without its LF, their checksum; the checksum of both
 *     ... DESTINATION ATTEMPT NEXT-TRY WARNED REPORTS ID... RECIPIENTS (NUMBER STATE UNCERTAIN OUTCOME STAGE CODE
 *     E E E TEXT HOST)...
 *
 * Destinations and recipients are numbered as they stand there. */
#ifndef SPOOL_FILE_H
#define SPOOL_FILE_H

#include "spool_text.h"

#include <ehlo/net.h>

#include <sys/types.h>

enum {
    SPOOL_NAME_SIZE = 17,                /* of a file: 16 digits, and NUL */
    SPOOL_HEADER_MAX = 64 * 1024 * 1024, /* octets */
    SPOOL_RECIPIENTS_MAX = 65536         /* of one message */
};

/* The recipients of one destination. */
struct spool_part {
    ehlo_str destination;
    uint32_t first; /* recipient */
    uint32_t count;
    uint32_t attempt; /* as last recorded, as all below */
    int64_t next_try; /* when the message arrived, before the first attempt */
    uint8_t warned;
};

/* A file that was read. What was damaged is not in here. */
struct spool_file {
    uint64_t id;
    int64_t arrived;
    ehlo_str hello;
    ehlo_envelope envelope; /* without recipients; size is that of the body */
    struct spool_part *parts;
    uint32_t nparts;
    ehlo_batch_rcpt *rcpts; /* of all parts, or of the one asked for */
    uint32_t nrcpts;
    uint64_t *reports; /* all that records name */
    size_t nreports;
    uint64_t body_at; /* where it begins */
    uint64_t body_len;
    uint32_t body_sum;
    uint64_t end;     /* of the last whole record: what is behind it was never recorded */
    const char *body; /* all of it, where it was short enough to be read at once; NULL otherwise */
    char *block;
};

/* For `only` and `end` below. */
#define SPOOL_ALL UINT32_MAX
#define SPOOL_UNKNOWN UINT64_MAX

/* Reads a file from its beginning. only: the number of the one part whose recipients are wanted. end: where the last
 * record ends, as far as we know: what is behind it does not count; SPOOL_UNKNOWN. 0; EBADMSG: it is damaged; or an errno.
 * To be freed in any case. The body's octets are checked where they are all there. */
int spool_file_read(struct spool_file *f, int fd, uint32_t only, uint64_t end);
void spool_file_free(struct spool_file *f);

/* 1 if no recipient of this part is QUEUED. */
int spool_file_done(const struct spool_file *f, uint32_t part);

/* Writes the header; its checksums are spool_header_finish's. parts: of each recipient, counted from 0; nparts of them. */
void spool_header_write(struct text *t, uint64_t id, const ehlo_queued *queued, const uint32_t *parts, uint32_t nparts);
/* Puts in what is known at the end. */
void spool_header_finish(struct text *t, uint64_t body_len, uint32_t body_sum);

/* An attempt's end. */
struct spool_attempt {
    uint32_t part;
    const ehlo_batch *batch;
    const ehlo_progress *progress;
    const uint64_t *reports;
    size_t nreports;
    /* The sums of what was recorded of the part's recipients before, by their numbers less the first's: those of whom there is
     * nothing new are left out. NULL: nobody is. */
    const uint32_t *before;
    uint32_t first;
};

void spool_record_write(struct text *t, const struct spool_attempt *record);
/* Of what a record would tell of a recipient. */
uint32_t spool_result_sum(const ehlo_batch_rcpt *b);

/* Names of files. */
void spool_name(char name[SPOOL_NAME_SIZE], uint64_t id);
/* 0 if it is none. */
uint64_t spool_id(const char *name);

#endif

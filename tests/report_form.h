/* What every report on delivery has to be, whatever it was made of: RFC 5322, 2046, 3464 and 6522 as far as they can be
 * seen line by line. Tests and fuzz targets share it. */
#ifndef EHLO_TESTS_REPORT_FORM_H
#define EHLO_TESTS_REPORT_FORM_H

#include <string.h>

#include <ehlo/dsn.h>

#define REPORT_RETURNED "Subject: returned\r\n"

/* What is left to look at; `fault` stays at what was wrong first. */
typedef struct report_form {
    ehlo_str rest;
    ehlo_str line; /* the one at hand, without its CRLF */
    const char *fault;
    int utf8;
} report_form;

static inline int report_demand(report_form *form, int condition, const char *fault)
{
    if (!condition && form->fault == NULL) form->fault = fault;
    return condition;
}

static inline int report_starts(ehlo_str line, const char *with)
{
    return line.len >= strlen(with) && memcmp(line.ptr, with, strlen(with)) == 0;
}

static inline int report_is(ehlo_str line, const char *text)
{
    return line.len == strlen(text) && report_starts(line, text);
}

/* RFC 5322 2.1.1, 2.2; printable octets alone, and no line of blanks alone. */
static inline void report_judge_line(report_form *form)
{
    size_t blanks = 0, bad;
    report_demand(form, form->line.len <= 998, "a line is too long");
    for (size_t i = 0; i < form->line.len; i++) {
        unsigned char octet = (unsigned char)form->line.ptr[i];
        report_demand(form, octet >= ' ' && octet != 0x7F, "a control");
        report_demand(form, octet < 0x80 || form->utf8, "an octet above ASCII");
        blanks += octet == ' ';
    }
    report_demand(form, form->line.len == 0 || blanks < form->line.len, "a line of blanks");
    report_demand(form, ehlo_utf8_valid(form->line, &bad), "no UTF-8");
}

/* The next line; 0 at the end. */
static inline int report_next(report_form *form)
{
    const char *lf = form->rest.len > 0 ? memchr(form->rest.ptr, '\n', form->rest.len) : NULL;
    if (form->fault != NULL || form->rest.len == 0) return 0;
    if (!report_demand(form, lf != NULL && lf > form->rest.ptr && lf[-1] == '\r', "a line without CRLF")) return 0;
    size_t len = (size_t)(lf + 1 - form->rest.ptr);
    form->line = ehlo_str_make(form->rest.ptr, len - 2);
    form->rest = ehlo_str_make(form->rest.ptr + len, form->rest.len - len);
    report_judge_line(form);
    return form->fault == NULL;
}

/* The next line is one of a field with this name; what it is folded into is passed over. */
static inline int report_field(report_form *form, const char *name)
{
    size_t len = strlen(name);
    if (!report_starts(form->line, name) || form->line.len < len + 2 || form->line.ptr[len] != ':') return 0;
    while (report_next(form) && report_starts(form->line, " ")) {}
    return 1;
}

/* RFC 2046 5.1.1: the line is a delimiter of the report. */
static inline int report_is_delimiter(const report_form *form, ehlo_str boundary, const char *end)
{
    ehlo_str line = form->line;
    return line.len == 2 + boundary.len + strlen(end) && report_starts(line, "--") &&
           memcmp(line.ptr + 2, boundary.ptr, boundary.len) == 0 &&
           memcmp(line.ptr + 2 + boundary.len, end, strlen(end)) == 0;
}

/* The header, each field once, in this order; the boundary in it. */
static inline ehlo_str report_header(report_form *form)
{
    static const char *const names[] = { "Date",    "Message-ID",     "From",         "To",
                                         "Subject", "Auto-Submitted", "MIME-Version", NULL };
    ehlo_str boundary = { NULL, 0 };
    report_next(form);
    for (size_t i = 0; names[i] != NULL; i++) report_demand(form, report_field(form, names[i]), names[i]);
    report_demand(form, report_is(form->line, "Content-Type: multipart/report;"), "Content-Type");
    while (report_next(form) && report_starts(form->line, " ")) {
        if (report_starts(form->line, " boundary=\"") && form->line.len > 12) {
            boundary = ehlo_str_make(form->line.ptr + 11, form->line.len - 12);
        }
    }
    report_demand(form, boundary.len > 2 && boundary.len <= 70, "the boundary");
    report_field(form, "Content-Transfer-Encoding");
    report_demand(form, form->line.len == 0, "the end of the header");
    return boundary;
}

/* From a delimiter to the empty line behind the fields of the part. */
static inline void report_part(report_form *form, ehlo_str boundary)
{
    report_demand(form, report_is_delimiter(form, boundary, ""), "a delimiter");
    report_next(form);
    report_demand(form, report_field(form, "Content-Type"), "a part without type");
    report_field(form, "Content-Transfer-Encoding");
    report_demand(form, form->line.len == 0, "the end of a part's header");
}

/* The words for people: what peers said is indented, so that it passes for nothing else. */
static inline void report_words(report_form *form, ehlo_str boundary, size_t told)
{
    size_t recipients = 0;
    while (report_next(form) && !report_is_delimiter(form, boundary, "")) {
        int names_recipient = report_starts(form->line, "To <");
        recipients += (size_t)names_recipient;
        report_demand(form,
                      recipients == 0 || names_recipient || form->line.len == 0 || report_starts(form->line, "    "),
                      "a word of a peer's begins a line");
        report_demand(form, !report_starts(form->line, "--"), "a line like a delimiter");
    }
    report_demand(form, recipients == told, "recipients in the words");
}

/* RFC 3464 2.2 */
static inline void report_message_fields(report_form *form)
{
    report_next(form);
    report_field(form, "Original-Envelope-Id");
    report_demand(form, report_field(form, "Reporting-MTA"), "Reporting-MTA");
    report_field(form, "Received-From-MTA");
    report_field(form, "Arrival-Date");
    report_demand(form, form->line.len == 0, "what is no field of the message");
}

/* RFC 3464 2.3 */
static inline void report_recipient_fields(report_form *form)
{
    report_field(form, "Original-Recipient");
    report_demand(form, report_field(form, "Final-Recipient"), "Final-Recipient");
    report_demand(form, report_field(form, "Action"), "Action");
    report_demand(form, report_field(form, "Status"), "Status");
    report_field(form, "Remote-MTA");
    report_field(form, "Diagnostic-Code");
    report_field(form, "Last-Attempt-Date");
    report_field(form, "Will-Retry-Until");
    report_demand(form, form->line.len == 0, "what is no field of a recipient");
}

/* NULL, or what is wrong with a report in which REPORT_RETURNED was returned. */
static inline const char *report_fault(ehlo_str report, const ehlo_dsn *dsn)
{
    report_form form = { .rest = report, .utf8 = dsn->utf8 };
    size_t told = 0;
    for (size_t i = 0; i < dsn->nrcpts; i++) told += dsn->rcpts[i].action != EHLO_ACTION_NONE;
    ehlo_str boundary = report_header(&form);
    report_next(&form);
    report_part(&form, boundary);
    report_words(&form, boundary, told);
    report_part(&form, boundary);
    report_message_fields(&form);
    for (size_t i = 0; i < told && form.fault == NULL; i++) {
        report_next(&form);
        report_recipient_fields(&form);
    }
    report_next(&form);
    report_part(&form, boundary);
    report_next(&form);
    report_demand(&form, report_is(form.line, "Subject: returned"), "what is returned");
    report_demand(&form, report_next(&form) && form.line.len == 0, "the empty line before the end");
    report_demand(&form, report_next(&form) && report_is_delimiter(&form, boundary, "--"), "the closing delimiter");
    report_demand(&form, form.rest.len == 0, "something behind the end");
    return form.fault;
}

#endif

/* ehlo/syntax.h - SMTP grammar as pure functions: bytes to values and back.
 *
 * No function here keeps state, allocates, or reads beyond the length it is given. Results are views into
 * the caller's text and live as long as that text. A parser that refuses says which rule was broken and at
 * which octet (ehlo_fault); its output is then zero, never half-filled.
 *
 * Order: faults, paths, commands, MAIL and RCPT, other arguments, text encodings, replies, trace, and for
 * clients reply reader, EHLO keywords, command writer; PROXY. */
#ifndef EHLO_SYNTAX_H
#define EHLO_SYNTAX_H

#include <ehlo/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- faults ----------------------------------------------------------------------------------------- */

/* The rule that a text breaks. */
typedef enum ehlo_rule {
    EHLO_RULE_NONE = 0,
    EHLO_RULE_COMMAND,           /* not a verb followed by SP and an argument */
    EHLO_RULE_CONTROL,           /* a control character where none may be */
    EHLO_RULE_NON_ASCII,         /* an octet above 127 without SMTPUTF8 (RFC 6531 3.5) */
    EHLO_RULE_UTF8,              /* not well-formed UTF-8 (RFC 3629) */
    EHLO_RULE_MISSING,           /* an argument is required */
    EHLO_RULE_UNEXPECTED,        /* an argument where none is allowed, or text behind one */
    EHLO_RULE_COLON,             /* "FROM:" or "TO:" is missing or misspelt */
    EHLO_RULE_BRACKET,           /* '<' or '>' is missing, or stands where it may not */
    EHLO_RULE_ROUTE,             /* malformed source route */
    EHLO_RULE_LOCAL_PART,        /* malformed local part */
    EHLO_RULE_QUOTED,            /* malformed or unterminated quoted string */
    EHLO_RULE_AT,                /* no '@' and domain */
    EHLO_RULE_DOMAIN,            /* malformed domain */
    EHLO_RULE_LITERAL,           /* malformed address literal */
    EHLO_RULE_TOO_LONG_LOCAL,    /* over 64 octets */
    EHLO_RULE_TOO_LONG_DOMAIN,   /* over 255 octets, or a label over 63 */
    EHLO_RULE_TOO_LONG_PATH,     /* over the path limit */
    EHLO_RULE_PARAMETER,         /* malformed parameter */
    EHLO_RULE_PARAMETER_UNKNOWN, /* well-formed, but not offered: 555 */
    EHLO_RULE_PARAMETER_TWICE,   /* given twice */
    EHLO_RULE_PARAMETER_VALUE,   /* a bad, missing or unwanted value */
    EHLO_RULE_PARAMETER_CLASH,   /* two parameters that exclude each other */
    EHLO_RULE_NUMBER,            /* not a decimal number, or too large */
    EHLO_RULE_XTEXT,             /* malformed xtext (RFC 3461 4) */
    EHLO_RULE_BASE64,            /* malformed base64 (RFC 4648 4, strict) */
    EHLO_RULE_TIME,              /* malformed date-time */
    EHLO_RULE_REPLY,             /* a reply code or text that may not be sent */
    EHLO_RULE_COUNT
} ehlo_rule;

/* Where a text is wrong, and how: offset counts octets from the start of the text that was parsed. */
typedef struct ehlo_fault {
    size_t offset;
    ehlo_rule rule;
} ehlo_fault;

/* A short English phrase for a rule, fit for a reply line; static storage. */
EHLO_API ehlo_str ehlo_rule_text(ehlo_rule rule);

/* -- leniencies ------------------------------------------------------------------------------------- */

/* Strict is 0. Each bit admits one deviation; its danger is said beside it. */
enum {
    EHLO_SYNTAX_UTF8 = 1 << 0,         /* UTF-8 in mailboxes (RFC 6531); set by SMTPUTF8, not by taste */
    EHLO_SYNTAX_COLON_SPACE = 1 << 1,  /* "FROM: <a@b>": harmless; sessions set it by default */
    EHLO_SYNTAX_BARE_PATH = 1 << 2,    /* "FROM:a@b" without brackets: parameters may be misread */
    EHLO_SYNTAX_UNDERSCORE = 1 << 3,   /* '_' in domains: no DNS host name has it */
    EHLO_SYNTAX_TRAILING_DOT = 1 << 4, /* "a@b.": two spellings of one domain */
    EHLO_SYNTAX_LONG_LOCAL = 1 << 5,   /* local parts over 64 octets: others may refuse or cut them */
    EHLO_SYNTAX_DUPLICATES = 1 << 6    /* a parameter given twice: the last one counts, others may think the first */
};

/* -- paths and domains (RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3) ---------------------------------------- */

typedef enum ehlo_domain_kind {
    EHLO_DOMAIN_NONE = 0, /* no domain: the null path, or postmaster */
    EHLO_DOMAIN_NAME,
    EHLO_DOMAIN_IPV4,   /* [192.0.2.1] */
    EHLO_DOMAIN_IPV6,   /* [IPv6:2001:db8::1] */
    EHLO_DOMAIN_GENERAL /* [tag:text], a form we do not know */
} ehlo_domain_kind;

/* A path, as written. All views point into the text parsed. */
typedef struct ehlo_path {
    ehlo_str text;       /* with brackets and source route */
    ehlo_str route;      /* "@a,@b" or empty: parsed, meant to be dropped (RFC 5321 appendix C) */
    ehlo_str mailbox;    /* local part, '@' and domain, without the route; empty for the null path */
    ehlo_str local_part; /* quotes included */
    ehlo_str domain;     /* brackets of a literal included */
    uint8_t domain_kind; /* ehlo_domain_kind */
    uint8_t quoted;      /* 1: the local part is a quoted string */
    uint8_t utf8;        /* 1: an octet above 127 occurs */
    uint8_t octets[16];  /* the address of an IPv4 or IPv6 literal, network order */
} ehlo_path;

/* Reads a path at the start of text: "<...>", with the null path "<>" and "<postmaster>" (any case, no
 * domain) among them; *used is its length. leniencies: EHLO_SYNTAX_*. path_max: octets allowed for the
 * path with its brackets and without its route; 0 for 322 (64, '@', 255, "<>"). used and fault may be NULL.
 * EHLO_ERR_SYNTAX: *fault says why. Whether null or a missing domain is allowed is the caller's matter. */
EHLO_API int ehlo_path_parse(ehlo_str text, unsigned leniencies, size_t path_max, ehlo_path *path, size_t *used,
                             ehlo_fault *fault);

/* A mailbox alone, without brackets or route: "a@b". All of text must be one. */
EHLO_API int ehlo_mailbox_parse(ehlo_str text, unsigned leniencies, ehlo_path *path, ehlo_fault *fault);

/* A domain or an address literal; all of text must be one. kind and octets (16) may be NULL. */
EHLO_API int ehlo_domain_parse(ehlo_str text, unsigned leniencies, ehlo_domain_kind *kind, uint8_t *octets,
                               ehlo_fault *fault);

/* The local part in minimal quoting: without quotes where a dot-string says the same, else quoted, with
 * a backslash only before '"' and '\'. Two spellings of one local part become equal; case is kept. Writes
 * at most cap octets to out, never a NUL; *len is the length. EHLO_ERR_SPACE if cap is too small, and *len
 * is what it needs (the length of path->local_part + 2 always suffices). */
EHLO_API int ehlo_local_part_write(const ehlo_path *path, char *out, size_t cap, size_t *len);

/* 1 if two domains are the same name: ASCII letters compared without case, nothing else folded. */
EHLO_API int ehlo_domain_equal(ehlo_str a, ehlo_str b);

/* -- commands (RFC 5321 4.1.1) ---------------------------------------------------------------------- */

/* A command line taken apart, not yet judged. */
typedef struct ehlo_command_line {
    ehlo_verb verb;    /* EHLO_VERB_UNKNOWN if it is none we know */
    ehlo_str name;     /* the verb as written */
    ehlo_str argument; /* behind the one SP, without trailing SP and TAB; ptr NULL if there is no SP */
} ehlo_command_line;

/* line is one line without its CRLF. EHLO_ERR_SYNTAX: NUL, CR, LF, DEL or another control octet but HT
 * (EHLO_RULE_CONTROL), an empty line, a leading space, or a verb that is not letters, digits and '-'
 * followed by SP or the end (EHLO_RULE_COMMAND). Octets above 127 pass: the arguments judge them. */
EHLO_API int ehlo_command_parse(ehlo_str line, ehlo_command_line *out, ehlo_fault *fault);

/* The name of a verb in upper case, "" for EHLO_VERB_UNKNOWN; static storage. */
EHLO_API ehlo_str ehlo_verb_name(ehlo_verb verb);

/* -- MAIL and RCPT (RFC 5321 4.1.1.2, 4.1.1.3) ------------------------------------------------------ */

/* Parameters met on a command, or'ed in `present`. */
enum {
    EHLO_PARAM_SIZE = 1 << 0,        /* RFC 1870 */
    EHLO_PARAM_BODY = 1 << 1,        /* RFC 6152, 3030 */
    EHLO_PARAM_SMTPUTF8 = 1 << 2,    /* RFC 6531 */
    EHLO_PARAM_RET = 1 << 3,         /* RFC 3461 */
    EHLO_PARAM_ENVID = 1 << 4,       /* RFC 3461 */
    EHLO_PARAM_AUTH = 1 << 5,        /* RFC 4954 */
    EHLO_PARAM_REQUIRETLS = 1 << 6,  /* RFC 8689 */
    EHLO_PARAM_BY = 1 << 7,          /* RFC 2852 */
    EHLO_PARAM_MT_PRIORITY = 1 << 8, /* RFC 6710 */
    EHLO_PARAM_HOLDFOR = 1 << 9,     /* RFC 4865 */
    EHLO_PARAM_HOLDUNTIL = 1 << 10,  /* RFC 4865 */
    EHLO_PARAM_NOTIFY = 1 << 11,     /* RFC 3461, RCPT */
    EHLO_PARAM_ORCPT = 1 << 12,      /* RFC 3461, RCPT */
    EHLO_PARAM_RRVS = 1 << 13        /* RFC 7293, RCPT */
};

typedef enum ehlo_body { EHLO_BODY_DEFAULT = 0, EHLO_BODY_7BIT, EHLO_BODY_8BITMIME, EHLO_BODY_BINARYMIME } ehlo_body;
typedef enum ehlo_ret { EHLO_RET_DEFAULT = 0, EHLO_RET_FULL, EHLO_RET_HDRS } ehlo_ret;
typedef enum ehlo_by { EHLO_BY_NONE = 0, EHLO_BY_RETURN, EHLO_BY_NOTIFY } ehlo_by;

/* NOTIFY; 0 when it was not given, which means failure and, by custom, delay. */
enum { EHLO_NOTIFY_NEVER = 1, EHLO_NOTIFY_SUCCESS = 2, EHLO_NOTIFY_FAILURE = 4, EHLO_NOTIFY_DELAY = 8 };

/* What MAIL says. Members of a parameter that is not present are 0. */
typedef struct ehlo_mail {
    ehlo_path path;      /* the reverse-path; mailbox empty: the null reverse-path */
    ehlo_str params;     /* as written behind the path; walk it with ehlo_param_next */
    uint32_t present;    /* EHLO_PARAM_* */
    uint8_t body;        /* ehlo_body */
    uint8_t ret;         /* ehlo_ret */
    uint8_t by_mode;     /* ehlo_by */
    uint8_t by_trace;    /* 1: the T of BY was given */
    int8_t mt_priority;  /* -9 to 9 */
    int32_t by_seconds;  /* -999999999 to 999999999 */
    uint32_t hold_for;   /* seconds */
    uint64_t size;       /* octets */
    ehlo_str envid;      /* xtext, as written; decodes to no CR, LF or NUL */
    ehlo_str auth;       /* xtext, as written, or "<>"; a server's session that is not authenticated tells "<>" whatever
                            was written (RFC 4954 5) */
    ehlo_str hold_until; /* RFC 3339 UTC date-time, as written */
} ehlo_mail;

/* What RCPT says. */
typedef struct ehlo_rcpt {
    ehlo_path path;      /* the forward-path; domain empty: postmaster */
    ehlo_str params;     /* as written behind the path */
    uint32_t present;    /* EHLO_PARAM_* */
    uint8_t notify;      /* EHLO_NOTIFY_*, or'ed */
    uint8_t rrvs_action; /* 'C' continue, 'R' reject; 0 if not said */
    ehlo_str orcpt_type; /* "rfc822" */
    ehlo_str orcpt;      /* xtext, as written (with orcpt_type utf-8: RFC 6533 3 utf-8-addr-xtext) */
    ehlo_str rrvs;       /* RFC 3339 date-time, as written */
} ehlo_rcpt;

/* What surrounds a MAIL or RCPT command. Zero is strict and offers nothing. */
typedef struct ehlo_param_rules {
    uint32_t offered;    /* EHLO_CAP_*: whose parameters are known; any other is EHLO_RULE_PARAMETER_UNKNOWN */
    unsigned leniencies; /* EHLO_SYNTAX_*; for RCPT, UTF8 if the transaction has SMTPUTF8 */
    size_t path_max;     /* as for ehlo_path_parse */
} ehlo_param_rules;

/* argument is all behind "MAIL " ("FROM:<...> ..."). UTF-8 in the path is admitted if SMTPUTF8 is offered
 * and given. SIZE beyond 2^64-1 is UINT64_MAX. EHLO_ERR_SYNTAX: *fault says which octet and rule. */
EHLO_API int ehlo_mail_parse(ehlo_str argument, const ehlo_param_rules *rules, ehlo_mail *mail, ehlo_fault *fault);

/* argument is all behind "RCPT " ("TO:<...> ..."). */
EHLO_API int ehlo_rcpt_parse(ehlo_str argument, const ehlo_param_rules *rules, ehlo_rcpt *rcpt, ehlo_fault *fault);

/* Takes the next "KEYWORD" or "KEYWORD=value" off *rest (as `params` holds them): 1 and the views, 0 at the
 * end, EHLO_ERR_SYNTAX where one is malformed (*rest then starts at it). value->ptr is NULL without "=".
 * RFC 5321 4.1.2 esmtp-param. */
EHLO_API int ehlo_param_next(ehlo_str *rest, ehlo_str *keyword, ehlo_str *value);

/* -- other arguments -------------------------------------------------------------------------------- */

/* EHLO, HELO, LHLO. */
typedef struct ehlo_hello {
    ehlo_verb verb;      /* which of the three */
    ehlo_str name;       /* the domain or literal, as written */
    uint8_t domain_kind; /* ehlo_domain_kind */
    uint8_t octets[16];  /* of an address literal */
} ehlo_hello;

/* argument: a domain or an address literal and nothing else (RFC 5321 4.1.1.1). verb is copied to *hello. */
EHLO_API int ehlo_hello_parse(ehlo_verb verb, ehlo_str argument, unsigned leniencies, ehlo_hello *hello,
                              ehlo_fault *fault);

/* "n" or "n LAST" (RFC 3030 2), LAST in any case; nothing else, no other space. n beyond 2^64-1 is
 * EHLO_RULE_NUMBER. */
EHLO_API int ehlo_bdat_parse(ehlo_str argument, uint64_t *size, int *last, ehlo_fault *fault);

/* "mechanism" or "mechanism initial-response" (RFC 4954 4). response->ptr is NULL if there is none, and
 * non-NULL with length 0 for "="; otherwise it is the base64 text, checked. */
EHLO_API int ehlo_auth_parse(ehlo_str argument, ehlo_str *mechanism, ehlo_str *response, ehlo_fault *fault);

/* VRFY, EXPN: a String (RFC 5321 4.1.2), or what users type instead: a mailbox with or without brackets,
 * words with spaces between. *text is the argument without the keyword. *utf8 is 1 if the SMTPUTF8 keyword
 * follows (RFC 6531 3.7.4.2), admitted where leniencies hold EHLO_SYNTAX_UTF8. */
EHLO_API int ehlo_string_parse(ehlo_str argument, unsigned leniencies, ehlo_str *text, int *utf8, ehlo_fault *fault);

/* ETRN: a domain, '@' domain, or '#' and a queue name of atext and dots (RFC 1985 5). *option is '@', '#'
 * or 0, *node what follows it. */
EHLO_API int ehlo_etrn_parse(ehlo_str argument, char *option, ehlo_str *node, ehlo_fault *fault);

/* -- text encodings --------------------------------------------------------------------------------- */

/* xtext (RFC 3461 4), strict: "+HH" in upper-case hex, other octets 0x21 to 0x7E but '+' and '='. Decoding
 * that gives CR, LF or NUL is refused. out may be NULL to check only. EHLO_ERR_SPACE: cap is too small (the
 * length of text suffices). *len: octets written, or that would be. */
EHLO_API int ehlo_xtext_decode(ehlo_str text, char *out, size_t cap, size_t *len, ehlo_fault *fault);
/* The reverse, for any octets but CR, LF and NUL (EHLO_ERR_ARG). 3 times the length suffices. */
EHLO_API int ehlo_xtext_encode(ehlo_str octets, char *out, size_t cap, size_t *len);

/* The address of an ORCPT, as ehlo_rcpt has it, as plain text: xtext, or with type "utf-8" the forms of RFC 6533 3.
 * Otherwise as ehlo_xtext_decode. */
EHLO_API int ehlo_orcpt_decode(ehlo_str type, ehlo_str text, char *out, size_t cap, size_t *len, ehlo_fault *fault);

/* base64 (RFC 4648 4), strict: length a multiple of 4, padding at the end only, unused bits zero, nothing
 * else. Decodes to at most 3n/4 octets. out may be NULL to check only; out may be text.ptr (in place). */
EHLO_API int ehlo_base64_decode(ehlo_str text, char *out, size_t cap, size_t *len, ehlo_fault *fault);
/* The reverse: 4*((n+2)/3) octets, with padding, on one line. */
EHLO_API int ehlo_base64_encode(ehlo_str octets, char *out, size_t cap, size_t *len);

/* 1 if all of text is well-formed UTF-8 (RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF);
 * otherwise 0, and *bad (may be NULL) is the offset of the first wrong octet. */
EHLO_API int ehlo_utf8_valid(ehlo_str text, size_t *bad);

/* -- reply writer (RFC 5321 4.2, RFC 2034) ---------------------------------------------------------- */

enum {
    EHLO_REPLY_ENHANCED = 1, /* an enhanced code leads every line */
    EHLO_REPLY_UTF8 = 2      /* octets above 126 may occur, if they are UTF-8 */
};

/* Checks a reply as ehlo_reply_write would, writing nothing: code 200 to 559 with second digit 0 to 5,
 * enhanced code of the same class with each part at most 999, text of HT, SP, 0x21 to 0x7E and '\n' (and
 * UTF-8 with EHLO_REPLY_UTF8). EHLO_ERR_SYNTAX with *fault (EHLO_RULE_REPLY, _NON_ASCII, _CONTROL or _UTF8). */
EHLO_API int ehlo_reply_check(const ehlo_reply *reply, unsigned flags, ehlo_fault *fault);

/* Writes a whole reply with its CRLFs: text split at '\n', each line with code and, with EHLO_REPLY_ENHANCED and an
 * enhanced code other than 0.0.0 and a class other than 3, the enhanced code. A line that would pass 512 octets with
 * its CRLF is split at a space, or where there is none at 512 octets, never inside a UTF-8 sequence. A line without
 * text still has the SP (RFC 5321 4.2.1). EHLO_ERR_SPACE: *len is what it needs. Otherwise as ehlo_reply_check. */
EHLO_API int ehlo_reply_write(const ehlo_reply *reply, unsigned flags, char *out, size_t cap, size_t *len,
                              ehlo_fault *fault);

/* -- trace (RFC 5321 4.4, RFC 3848, RFC 6531) ------------------------------------------------------- */

enum { EHLO_WITH_ESMTP = 1, EHLO_WITH_LMTP = 2, EHLO_WITH_TLS = 4, EHLO_WITH_AUTH = 8, EHLO_WITH_UTF8 = 16 };

/* The keyword behind `with`: SMTP ESMTP ESMTPS ESMTPA ESMTPSA, LMTP and UTF8SMTP likewise; static storage. */
EHLO_API ehlo_str ehlo_with_keyword(unsigned with);

/* What a Received field says. Zero members are left out. */
typedef struct ehlo_received {
    ehlo_str hello;       /* the name the client gave; cleaned while it is written: it is the peer's word */
    ehlo_address remote;  /* the TCP-info address literal; left out if its family is NONE */
    ehlo_str by;          /* our host name */
    unsigned with;        /* EHLO_WITH_* */
    ehlo_str tls;         /* "TLSv1.3 TLS_AES_256_GCM_SHA384": becomes a comment */
    ehlo_str id;          /* our name for the message */
    ehlo_str recipient;   /* `for`: a mailbox; give it only when there is exactly one recipient */
    int64_t time;         /* Unix seconds */
    int32_t zone_minutes; /* east of UTC, -1439 to 1439 */
} ehlo_received;

/* Writes one Received field, folded, ending in CRLF. CTLs never get out: in hello and tls each octet that a
 * comment or token may not hold becomes '?' (RFC 5321 4.4; untrusted text), and both are cut at 255 octets. by
 * must be a domain or literal, id at most 255 octets of atom or msg-id characters, recipient a mailbox of at most
 * 512 octets or "postmaster": else EHLO_ERR_ARG. Without hello the address literal stands in for it.
 * EHLO_ERR_SPACE: *len is what it needs; 2048 always suffice. */
EHLO_API int ehlo_received_write(const ehlo_received *received, char *out, size_t cap, size_t *len);

/* RFC 5322 3.3 date-time, "Sun, 22 Nov 2026 06:00:00 +0000"; years 1900 to 9999, else EHLO_ERR_ARG. */
EHLO_API int ehlo_date_write(int64_t unix_seconds, int32_t zone_minutes, char *out, size_t cap, size_t *len);

/* Writes an address as text: "192.0.2.1" or "2001:db8::1" (RFC 5952); with literal, as a domain literal
 * "[192.0.2.1]" or "[IPv6:2001:db8::1]". 48 octets suffice. EHLO_ERR_ARG for a family of NONE. */
EHLO_API int ehlo_address_write(const ehlo_address *address, int literal, char *out, size_t cap, size_t *len);

/* -- header of a message (RFC 5322 2.2, 3.6; RFC 6409 8) -------------------------------------------- */

/* Fields that a submission server may add, or a relay count. */
enum { EHLO_FIELD_DATE = 1 << 0, EHLO_FIELD_MESSAGE_ID = 1 << 1, EHLO_FIELD_FROM = 1 << 2, EHLO_FIELD_SENDER = 1 << 3 };

/* What the header of a message was found to have. Zero it before the first octet. */
typedef struct ehlo_header {
    unsigned fields;   /* EHLO_FIELD_*, or'ed */
    uint32_t received; /* Received fields: the hops it has come (RFC 5321 6.3) */
    uint8_t ended;     /* 1: by an empty line */
    uint8_t malformed; /* 1: a line of it is neither a field nor the continuation of one */
    uint8_t name_len;  /* private, as the two below */
    uint8_t step;
    char name[16];
} ehlo_header;

/* Looks at the next octets of a message, however they are cut: how many of them are header. Where that ends (`ended`
 * is then 1) at a line that begins with CR or LF, fields may be added behind those octets; that line follows. Once
 * ended it is 0. Nothing is kept but the beginning of a field's name. (RFC 5322 2.1) */
EHLO_API size_t ehlo_header_scan(ehlo_header *header, const char *bytes, size_t len);

/* What a submitted message lacks, of Date and Message-ID (RFC 6409 8.2, 8.3). */
typedef struct ehlo_header_additions {
    int64_t time;         /* Unix seconds */
    int32_t zone_minutes; /* east of UTC, -1439 to 1439 */
    ehlo_str id;          /* what stands before the @ of the Message-ID: unique, dot-atom (RFC 5322 3.6.4) */
    ehlo_str domain;      /* and behind it: our host name, or a literal */
} ehlo_header_additions;

/* Writes the fields of Date and Message-ID that the header lacks, each with its CRLF; *len is 0 where it lacks none.
 * EHLO_ERR_ARG: a time beyond ehlo_date_write's, or id or domain hold what may not stand there. EHLO_ERR_SPACE: *len is
 * what it needs. */
EHLO_API int ehlo_header_complete(const ehlo_header *header, const ehlo_header_additions *additions, char *out,
                                  size_t cap, size_t *len);

/* -- reply reader (RFC 5321 4.2, RFC 3463) ---------------------------------------------------------- */

/* One line of a reply. */
typedef struct ehlo_reply_line {
    uint16_t code; /* 200 to 599; or below 100, which a client skips if it said VERB and else takes for an error */
    uint8_t last;  /* 1: the reply ends with this line */
    ehlo_str text; /* behind the code and its separator: any octets, the peer's word */
} ehlo_reply_line;

/* line is one line without its CRLF: "250", "250 text", "250-" or "250-text". Every line of a reply has the
 * same code, which the caller compares. EHLO_ERR_SYNTAX (EHLO_RULE_REPLY): anything else, 1yz and 6yz to 9yz
 * among it. */
EHLO_API int ehlo_reply_line_parse(ehlo_str line, ehlo_reply_line *out, ehlo_fault *fault);

/* Takes the next line off *rest, which holds a whole reply as received, its last CRLF being optional: 1 and
 * *text without code and enhanced code, 0 at the end, EHLO_ERR_SYNTAX where it is no reply: a malformed line
 * or one of another code follows, or it ends too early or too late (*rest then starts at that line). */
EHLO_API int ehlo_reply_next(ehlo_str *rest, ehlo_str *text);

/* Reads the enhanced code that leads a reply's text, of the class that its reply code begins with (2, 4, 5).
 * *used (may be NULL): its length with the space behind it. EHLO_ERR_SYNTAX: text begins with none, or with
 * one of another class; enhanced is then 0.0.0. */
EHLO_API int ehlo_enhanced_parse(ehlo_str text, unsigned reply_class, uint16_t enhanced[3], size_t *used);

/* Copies what a peer said, fit for one line of a log, a file or a report: HT becomes SP; every other control,
 * U+0080 to U+009F, line and paragraph separators, and each octet that is not UTF-8 become '?'. Writes at
 * most cap octets, never a NUL or part of a UTF-8 sequence; *len is how many. 1 if the rest was cut off, else
 * EHLO_OK. */
EHLO_API int ehlo_text_clean(ehlo_str text, char *out, size_t cap, size_t *len);

/* -- EHLO keywords (RFC 5321 4.1.1.1) --------------------------------------------------------------- */

/* SASL mechanisms, or'ed. */
enum {
    EHLO_SASL_PLAIN = 1 << 0,              /* RFC 4616 */
    EHLO_SASL_LOGIN = 1 << 1,              /* a custom older than PLAIN */
    EHLO_SASL_EXTERNAL = 1 << 2,           /* RFC 4422 appendix A */
    EHLO_SASL_ANONYMOUS = 1 << 3,          /* RFC 4505 */
    EHLO_SASL_XOAUTH2 = 1 << 4,            /* Google's forerunner of OAUTHBEARER */
    EHLO_SASL_OAUTHBEARER = 1 << 5,        /* RFC 7628 */
    EHLO_SASL_CRAM_MD5 = 1 << 6,           /* RFC 2195 */
    EHLO_SASL_SCRAM_SHA_1 = 1 << 7,        /* RFC 5802 */
    EHLO_SASL_SCRAM_SHA_1_PLUS = 1 << 8,   /* RFC 5802, with channel binding */
    EHLO_SASL_SCRAM_SHA_256 = 1 << 9,      /* RFC 7677 */
    EHLO_SASL_SCRAM_SHA_256_PLUS = 1 << 10 /* RFC 7677, with channel binding */
};

/* The EHLO_SASL_* bit of a mechanism's name, in any case; 0 if we know none of that name. */
EHLO_API uint32_t ehlo_sasl_find(ehlo_str name);

/* What a server offers. Zero it before the first line of an EHLO or LHLO reply. */
typedef struct ehlo_offers {
    uint32_t caps;            /* EHLO_CAP_* */
    uint32_t mechanisms;      /* AUTH: EHLO_SASL_* */
    uint64_t size_max;        /* SIZE: octets of a message; 0: no limit was told */
    uint32_t mail_max;        /* LIMITS MAILMAX: transactions in a session; 0: not told, as the two below */
    uint32_t rcpt_max;        /* LIMITS RCPTMAX: recipients in a transaction */
    uint32_t rcpt_domain_max; /* LIMITS RCPTDOMAINMAX: domains in a transaction */
    uint32_t by_min;          /* DELIVERBY: least seconds; 0: none */
    uint32_t hold_max;        /* FUTURERELEASE: seconds at most; 0: not told */
} ehlo_offers;

/* Adds one line of an EHLO reply (its text; the first line holds the server's name and is none of these) to
 * *offers. *keyword and *args are its parts as written, for known and unknown keywords alike; "AUTH=LOGIN" is
 * "AUTH" and "LOGIN", as old servers write it. Keywords and mechanisms of several lines add up; of a number
 * told twice the last counts. A value that is malformed or out of range is ignored, the keyword still counts.
 * EHLO_ERR_SYNTAX: the line begins with no keyword; *offers is unchanged: go on with the next line. */
EHLO_API int ehlo_offer_parse(ehlo_str line, ehlo_offers *offers, ehlo_str *keyword, ehlo_str *args);

/* -- command writer (RFC 5321 4.1.1) ---------------------------------------------------------------- */

/* Each function writes one whole command line with its CRLF to out, and *len is its length; or it fails,
 * *len is 0 unless said otherwise, and out is as it was:
 *     EHLO_ERR_ARG    something given breaks the grammar, or holds CR, LF, NUL or another control. *fault (may
 *                     be NULL) is the rule, and the offset in the text that breaks it.
 *     EHLO_ERR_SPACE  the line would be longer than cap, or than a line may be (EHLO_LINE_MAX for MAIL and
 *                     RCPT, EHLO_AUTH_LINE_MAX for AUTH, 512 for all others); *len is its length. */

#define EHLO_LINE_MAX 2048       /* RFC 5321 4.5.3.1.4, and what the extensions add to it */
#define EHLO_AUTH_LINE_MAX 12288 /* RFC 4954 4 */

/* A command whose argument is text. EHLO HELO LHLO, MAIL and RCPT ("FROM:<a@b> SIZE=1"), BDAT, AUTH, ETRN,
 * XCLIENT: by their grammar. VRFY, EXPN: a mailbox, a path or words, with " SMTPUTF8" behind them if they are
 * to be UTF-8. NOOP, HELP, VERB: words, or empty. DATA RSET QUIT STARTTLS: empty. EHLO_VERB_UNKNOWN: a command
 * of the caller's own, "XFOO words", which is none of those that we know. TURN SEND SOML SAML are refused
 * (RFC 5321 appendix F). Source routes are refused. */
EHLO_API int ehlo_command_write(ehlo_verb verb, ehlo_str argument, char *out, size_t cap, size_t *len,
                                ehlo_fault *fault);

/* EHLO, HELO or LHLO; name is our domain or address literal, never empty. */
EHLO_API int ehlo_hello_write(ehlo_verb verb, ehlo_str name, char *out, size_t cap, size_t *len, ehlo_fault *fault);

/* What MAIL is to say. Only the members of parameters that are `present` are read. */
typedef struct ehlo_mail_command {
    ehlo_str mailbox;    /* the reverse-path without brackets, in the quoting it is to have; empty: "<>" */
    uint32_t present;    /* EHLO_PARAM_* of MAIL; SMTPUTF8 admits UTF-8 in mailbox, auth and params */
    uint8_t body;        /* ehlo_body */
    uint8_t ret;         /* ehlo_ret */
    uint8_t by_mode;     /* ehlo_by */
    uint8_t by_trace;    /* 1: with T */
    int8_t mt_priority;  /* -9 to 9 */
    int32_t by_seconds;  /* -999999999 to 999999999; above 0 with EHLO_BY_RETURN */
    uint32_t hold_for;   /* seconds, 1 to 999999999 */
    uint64_t size;       /* octets */
    ehlo_str envid;      /* plain printable ASCII, of which xtext is made: at most 100 octets then */
    ehlo_str auth;       /* plain mailbox, of which xtext is made: at most 500 octets then; empty: "<>" */
    ehlo_str hold_until; /* RFC 3339 UTC date-time */
    ehlo_str params;     /* further parameters, as they are to stand: "XFOO=1 XBAR"; none of EHLO_PARAM_* */
} ehlo_mail_command;

EHLO_API int ehlo_mail_write(const ehlo_mail_command *mail, char *out, size_t cap, size_t *len, ehlo_fault *fault);

/* What RCPT is to say. */
typedef struct ehlo_rcpt_command {
    ehlo_str mailbox;    /* the forward-path without brackets, in the quoting it is to have, or "postmaster" */
    uint32_t present;    /* EHLO_PARAM_* of RCPT */
    uint8_t utf8;        /* 1: the transaction has SMTPUTF8, which admits UTF-8 in mailbox and params */
    uint8_t notify;      /* EHLO_NOTIFY_*, NEVER alone */
    uint8_t rrvs_action; /* 'C', 'R' or 0 */
    ehlo_str orcpt_type; /* "rfc822" */
    ehlo_str orcpt;      /* plain printable ASCII, of which xtext is made; with orcpt_type utf-8, UTF-8, of which
                            utf-8-addr-xtext is made (RFC 6533 3): at most 500 octets then, with its type */
    ehlo_str rrvs;       /* RFC 3339 date-time */
    ehlo_str params;     /* further parameters, as for MAIL */
} ehlo_rcpt_command;

EHLO_API int ehlo_rcpt_write(const ehlo_rcpt_command *rcpt, char *out, size_t cap, size_t *len, ehlo_fault *fault);

/* BDAT, of a chunk of size octets (RFC 3030 2). */
EHLO_API int ehlo_bdat_write(uint64_t size, int last, char *out, size_t cap, size_t *len);

/* AUTH with the initial response as plain octets, of which base64 is made: none if response.ptr is NULL, "="
 * if it is empty (RFC 4954 4). */
EHLO_API int ehlo_auth_write(ehlo_str mechanism, ehlo_str response, char *out, size_t cap, size_t *len,
                             ehlo_fault *fault);

/* The line that answers a 334: base64 of these plain octets; "*", which cancels, if response.ptr is NULL. */
EHLO_API int ehlo_auth_response_write(ehlo_str response, char *out, size_t cap, size_t *len);

/* -- PROXY preface (HAProxy's PROXY protocol, versions 1 and 2) ------------------------------------- */

/* The longest preface read: v1 has 107 octets at most; of v2 more than this is EHLO_ERR_SYNTAX. */
#define EHLO_PROXY_MAX 536

/* Reads a preface at the start of bytes. EHLO_OK: *used octets are the preface, and *peer has the addresses it told
 * (proxied set; for LOCAL, UNKNOWN, UNIX and UNSPEC left as they were; TLVs are skipped). EHLO_ERR_INCOMPLETE: feed
 * more. EHLO_ERR_SYNTAX: this is no preface, or a broken one: close without a word. */
EHLO_API int ehlo_proxy_parse(const char *bytes, size_t len, ehlo_peer *peer, size_t *used);

#ifdef __cplusplus
}
#endif
#endif

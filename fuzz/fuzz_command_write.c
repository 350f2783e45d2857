/* The command writer: what it writes is one line that the server's parser reads back equal; what it refuses leaves no
 * octet. Of the input, the first octet chooses the function and its flags; a text is an octet that tells its length
 * and so many octets, or what is left. */
#include <stdint.h>
#include <string.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static char line[EHLO_AUTH_LINE_MAX + 100];

/* -- input ------------------------------------------------------------------------------------------ */

static unsigned take_octet(input *in)
{
    if (in->left == 0) return 0;
    in->left--;
    return *in->at++;
}

static uint64_t take_number(input *in, size_t octets)
{
    uint64_t number = 0;
    while (octets-- > 0) number = number << 8 | take_octet(in);
    return number;
}

static ehlo_str take_text(input *in)
{
    size_t len = take_octet(in);
    if (len > in->left) len = in->left;
    ehlo_str text = ehlo_str_make((const char *)in->at, len);
    in->at += len;
    in->left -= len;
    return text;
}

static ehlo_str take_rest(input *in)
{
    ehlo_str text = ehlo_str_make((const char *)in->at, in->left);
    in->left = 0;
    return text;
}

/* -- what holds of every line ----------------------------------------------------------------------- */

static void check_written(int result, size_t len, const ehlo_fault *fault)
{
    CHECK(result == EHLO_OK || result == EHLO_ERR_ARG || result == EHLO_ERR_SPACE);
    CHECK((result == EHLO_ERR_ARG) == (fault->rule != EHLO_RULE_NONE));
    if (result == EHLO_ERR_ARG) CHECK(len == 0);
    if (result == EHLO_ERR_SPACE) CHECK(len > 512);
    for (size_t i = 0; i < (result == EHLO_OK ? len : sizeof(line)); i++) {
        if (result != EHLO_OK) {
            CHECK(line[i] == '\x55');
        } else {
            CHECK(i + 2 < len ? (unsigned char)line[i] >= 0x20 && line[i] != 0x7F : line[i] == "\r\n"[i + 2 - len]);
        }
    }
    if (result == EHLO_OK) CHECK(ehlo_utf8_valid(ehlo_str_make(line, len), NULL));
}

/* The server knows the verb; returns its argument. */
static ehlo_str read_back(size_t len, ehlo_verb verb)
{
    ehlo_command_line parsed;
    CHECK(ehlo_command_parse(ehlo_str_make(line, len - 2), &parsed, NULL) == EHLO_OK);
    CHECK(parsed.verb == verb);
    return parsed.argument;
}

/* What was taken for a mailbox, at a first look or a second, is one. */
static void check_mailbox(ehlo_str mailbox, int utf8)
{
    ehlo_path path;
    CHECK(ehlo_mailbox_parse(mailbox, utf8 ? EHLO_SYNTAX_UTF8 : 0, &path, NULL) == EHLO_OK);
}

/* The argument without the caller's own parameters, which are behind it as they were given. */
static ehlo_str cut_params(ehlo_str argument, ehlo_str params)
{
    if (params.len == 0) return argument;
    CHECK(argument.len > params.len);
    size_t kept = argument.len - params.len;
    CHECK(memcmp(argument.ptr + kept, params.ptr, params.len) == 0 && argument.ptr[kept - 1] == ' ');
    return ehlo_str_make(argument.ptr, kept - 1);
}

static void check_xtext(ehlo_str xtext, ehlo_str plain)
{
    char decoded[512];
    size_t len;
    CHECK(ehlo_xtext_decode(xtext, decoded, sizeof(decoded), &len, NULL) == EHLO_OK);
    CHECK(same_text(ehlo_str_make(decoded, len), plain));
}

/* -- each function ---------------------------------------------------------------------------------- */

static void write_command(input *in)
{
    ehlo_verb verb = (ehlo_verb)(take_octet(in) % (EHLO_VERB_COUNT + 1));
    ehlo_str argument = take_rest(in);
    ehlo_fault fault;
    size_t len;
    int result = ehlo_command_write(verb, argument, line, sizeof(line), &len, &fault);
    check_written(result, len, &fault);
    CHECK(fault.offset <= argument.len);
    if (result != EHLO_OK) return;
    ehlo_str said = read_back(len, verb);
    if (verb == EHLO_VERB_UNKNOWN) {
        CHECK(same_text(ehlo_str_make(line, len - 2), argument));
    } else {
        CHECK(same_text(said, argument));
    }
}

static void check_mail(const ehlo_mail_command *given, size_t len)
{
    ehlo_param_rules rules = { UINT32_MAX, 0, 0 };
    ehlo_mail mail;
    ehlo_str argument = cut_params(read_back(len, EHLO_VERB_MAIL), given->params);
    CHECK(ehlo_mail_parse(argument, &rules, &mail, NULL) == EHLO_OK);
    CHECK(mail.present == given->present && mail.path.route.len == 0);
    CHECK(same_text(mail.path.mailbox, given->mailbox));
    if (given->mailbox.len > 0) check_mailbox(given->mailbox, (given->present & EHLO_PARAM_SMTPUTF8) != 0);
    if (mail.present & EHLO_PARAM_SIZE) CHECK(mail.size == given->size);
    if (mail.present & EHLO_PARAM_BODY) CHECK(mail.body == given->body);
    if (mail.present & EHLO_PARAM_RET) CHECK(mail.ret == given->ret);
    if (mail.present & EHLO_PARAM_ENVID) check_xtext(mail.envid, given->envid);
    if (mail.present & EHLO_PARAM_AUTH && given->auth.len > 0) check_xtext(mail.auth, given->auth);
    if (mail.present & EHLO_PARAM_BY) {
        CHECK(mail.by_mode == given->by_mode && mail.by_seconds == given->by_seconds);
        CHECK(mail.by_trace == (given->by_trace != 0));
    }
    if (mail.present & EHLO_PARAM_MT_PRIORITY) CHECK(mail.mt_priority == given->mt_priority);
    if (mail.present & EHLO_PARAM_HOLDFOR) CHECK(mail.hold_for == given->hold_for);
    if (mail.present & EHLO_PARAM_HOLDUNTIL) CHECK(same_text(mail.hold_until, given->hold_until));
}

static void write_mail(input *in)
{
    ehlo_mail_command mail;
    ehlo_fault fault;
    size_t len;
    memset(&mail, 0, sizeof(mail));
    mail.present = (uint32_t)take_number(in, 2);
    unsigned small = take_octet(in);
    mail.body = small & 3;
    mail.ret = small >> 2 & 3;
    mail.by_mode = small >> 4 & 3;
    mail.by_trace = small >> 6 & 1;
    mail.mt_priority = (int8_t)(int)(take_octet(in) % 24 - 12);
    mail.by_seconds = (int32_t)take_number(in, 4);
    mail.hold_for = (uint32_t)take_number(in, 4);
    mail.size = take_number(in, 8);
    mail.mailbox = take_text(in);
    mail.envid = take_text(in);
    mail.auth = take_text(in);
    mail.hold_until = take_text(in);
    mail.params = take_rest(in);
    int result = ehlo_mail_write(&mail, line, sizeof(line), &len, &fault);
    check_written(result, len, &fault);
    if (result == EHLO_OK) check_mail(&mail, len);
}

static void check_rcpt(const ehlo_rcpt_command *given, size_t len)
{
    ehlo_param_rules rules = { UINT32_MAX, given->utf8 ? EHLO_SYNTAX_UTF8 : 0, 0 };
    ehlo_rcpt rcpt;
    ehlo_str argument = cut_params(read_back(len, EHLO_VERB_RCPT), given->params);
    CHECK(ehlo_rcpt_parse(argument, &rules, &rcpt, NULL) == EHLO_OK);
    CHECK(rcpt.present == given->present && rcpt.path.route.len == 0);
    CHECK(same_text(rcpt.path.mailbox, given->mailbox));
    if (rcpt.path.domain.len > 0) check_mailbox(given->mailbox, given->utf8);
    if (rcpt.present & EHLO_PARAM_NOTIFY) CHECK(rcpt.notify == given->notify);
    if (rcpt.present & EHLO_PARAM_ORCPT) {
        CHECK(same_text(rcpt.orcpt_type, given->orcpt_type));
        if (!ehlo_domain_equal(given->orcpt_type, ehlo_str_make("utf-8", 5))) check_xtext(rcpt.orcpt, given->orcpt);
    }
    if (rcpt.present & EHLO_PARAM_RRVS) {
        CHECK(same_text(rcpt.rrvs, given->rrvs) && rcpt.rrvs_action == given->rrvs_action);
    }
}

static void write_rcpt(input *in)
{
    ehlo_rcpt_command rcpt;
    ehlo_fault fault;
    size_t len;
    memset(&rcpt, 0, sizeof(rcpt));
    rcpt.present = (uint32_t)take_number(in, 2);
    unsigned small = take_octet(in);
    rcpt.notify = small & 31;
    rcpt.utf8 = small >> 5 & 1;
    rcpt.rrvs_action = (uint8_t)take_octet(in);
    rcpt.mailbox = take_text(in);
    rcpt.orcpt_type = take_text(in);
    rcpt.orcpt = take_text(in);
    rcpt.rrvs = take_text(in);
    rcpt.params = take_rest(in);
    int result = ehlo_rcpt_write(&rcpt, line, sizeof(line), &len, &fault);
    check_written(result, len, &fault);
    if (result == EHLO_OK) check_rcpt(&rcpt, len);
}

static void check_base64(ehlo_str base64, ehlo_str plain)
{
    static char decoded[EHLO_AUTH_LINE_MAX];
    size_t len;
    CHECK(ehlo_base64_decode(base64, decoded, sizeof(decoded), &len, NULL) == EHLO_OK);
    CHECK(same_text(ehlo_str_make(decoded, len), plain));
}

static void write_auth(input *in)
{
    ehlo_fault fault = { 0, EHLO_RULE_NONE };
    ehlo_str mechanism = take_text(in), response = take_rest(in), said_mechanism, said;
    size_t len;
    int result = ehlo_auth_write(mechanism, response, line, sizeof(line), &len, &fault);
    check_written(result, len, &fault);
    if (result == EHLO_OK) {
        CHECK(ehlo_auth_parse(read_back(len, EHLO_VERB_AUTH), &said_mechanism, &said, NULL) == EHLO_OK);
        CHECK(same_text(said_mechanism, mechanism));
        CHECK((said.ptr != NULL) == (response.ptr != NULL));
        check_base64(said, response);
    }
    memset(line, 0x55, sizeof(line));
    fault.rule = EHLO_RULE_NONE;
    result = ehlo_auth_response_write(response, line, sizeof(line), &len);
    check_written(result, len, &fault);
    if (result == EHLO_OK) check_base64(ehlo_str_make(line, len - 2), response);
}

static void write_bdat(input *in)
{
    ehlo_fault fault = { 0, EHLO_RULE_NONE };
    uint64_t size = take_number(in, 8), said;
    int last = (int)take_octet(in) & 1, said_last;
    size_t len;
    int result = ehlo_bdat_write(size, last, line, sizeof(line), &len);
    CHECK(result == EHLO_OK);
    check_written(result, len, &fault);
    CHECK(ehlo_bdat_parse(read_back(len, EHLO_VERB_BDAT), &said, &said_last, NULL) == EHLO_OK);
    CHECK(said == size && said_last == last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const writers[])(input * in) = { write_command, write_mail, write_rcpt, write_auth, write_bdat };
    if (size < 1) return 0;
    input in = { data + 1, size - 1 };
    memset(line, 0x55, sizeof(line));
    writers[data[0] % (sizeof(writers) / sizeof(writers[0]))](&in);
    return 0;
}

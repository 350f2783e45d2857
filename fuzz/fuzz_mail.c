/* MAIL and RCPT: what is accepted keeps every promise that ehlo_mail and ehlo_rcpt make. Of the input, the first
 * octet is the leniencies, the low five bits of the second one name the capability that is not offered ('?' names
 * none that exists), and the rest is the argument. */
#include <stdint.h>
#include <string.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No octet of the values, once decoded, could end a line. */
static void check_xtext(ehlo_str xtext)
{
    char decoded[512];
    size_t len;
    CHECK(ehlo_xtext_decode(xtext, decoded, sizeof(decoded), &len, NULL) == EHLO_OK);
    for (size_t i = 0; i < len; i++) CHECK(decoded[i] != '\r' && decoded[i] != '\n' && decoded[i] != '\0');
}

static unsigned count_bits(uint32_t bits)
{
    unsigned count = 0;
    for (; bits != 0; bits &= bits - 1) count++;
    return count;
}

/* The parameters can be walked to their end, and there are as many as were understood. */
static void check_params(ehlo_str params, uint32_t present, unsigned leniencies)
{
    ehlo_str rest = params, keyword, value;
    unsigned count = 0;
    int next;
    while ((next = ehlo_param_next(&rest, &keyword, &value)) == 1) {
        CHECK(keyword.len > 0 && is_within(keyword, params) && is_within(value, params));
        CHECK((value.ptr == NULL) == (value.len == 0));
        count++;
    }
    CHECK(next == 0);
    CHECK(leniencies & EHLO_SYNTAX_DUPLICATES ? count >= count_bits(present) : count == count_bits(present));
}

static void check_mail(const ehlo_mail *mail, ehlo_str text, const ehlo_param_rules *rules)
{
    uint32_t both_holds = EHLO_PARAM_HOLDFOR | EHLO_PARAM_HOLDUNTIL;
    CHECK(is_within(mail->path.text, text) && is_within(mail->params, text));
    CHECK(mail->path.mailbox.len == 0 || mail->path.domain.len > 0);
    CHECK((mail->present & both_holds) != both_holds);
    CHECK(mail->hold_for <= 999999999 && mail->mt_priority >= -9 && mail->mt_priority <= 9);
    CHECK(mail->by_seconds >= -999999999 && mail->by_seconds <= 999999999);
    CHECK(mail->by_mode != EHLO_BY_RETURN || mail->by_seconds > 0);
    CHECK(((mail->present & EHLO_PARAM_BODY) != 0) == (mail->body != EHLO_BODY_DEFAULT));
    CHECK(((mail->present & EHLO_PARAM_RET) != 0) == (mail->ret != EHLO_RET_DEFAULT));
    CHECK(((mail->present & EHLO_PARAM_BY) != 0) == (mail->by_mode != EHLO_BY_NONE));
    CHECK(((mail->present & EHLO_PARAM_ENVID) != 0) == (mail->envid.len > 0));
    CHECK(((mail->present & EHLO_PARAM_AUTH) != 0) == (mail->auth.len > 0));
    CHECK(mail->envid.len <= 100 && mail->auth.len <= 500);
    check_xtext(mail->envid);
    check_xtext(mail->auth);
    check_params(mail->params, mail->present, rules->leniencies);
    if (mail->path.utf8) CHECK(rules->leniencies & EHLO_SYNTAX_UTF8 || mail->present & EHLO_PARAM_SMTPUTF8);
}

static void check_rcpt(const ehlo_rcpt *rcpt, ehlo_str text, const ehlo_param_rules *rules)
{
    CHECK(is_within(rcpt->path.text, text) && is_within(rcpt->params, text));
    CHECK(rcpt->path.mailbox.len > 0);
    CHECK(((rcpt->present & EHLO_PARAM_NOTIFY) != 0) == (rcpt->notify != 0));
    CHECK(!(rcpt->notify & EHLO_NOTIFY_NEVER) || rcpt->notify == EHLO_NOTIFY_NEVER);
    CHECK(((rcpt->present & EHLO_PARAM_ORCPT) != 0) == (rcpt->orcpt.len > 0 && rcpt->orcpt_type.len > 0));
    CHECK(rcpt->orcpt.len + rcpt->orcpt_type.len < 500);
    CHECK(((rcpt->present & EHLO_PARAM_RRVS) != 0) == (rcpt->rrvs.len >= 20));
    int is_utf8 = ehlo_domain_equal(rcpt->orcpt_type, ehlo_str_make("utf-8", 5));
    if (is_utf8) CHECK(ehlo_utf8_valid(rcpt->orcpt, NULL));
    if (!is_utf8) check_xtext(rcpt->orcpt);
    check_params(rcpt->params, rcpt->present, rules->leniencies);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    ehlo_param_rules rules = { ~(UINT32_C(1) << (data[1] & 31)), data[0] & 0x7F, 0 };
    ehlo_param_rules nothing = { 0, data[0] & 0x7F, 0 };
    ehlo_str text = ehlo_str_make((const char *)data + 2, size - 2);
    ehlo_mail mail;
    ehlo_rcpt rcpt;
    ehlo_fault fault;
    int result = ehlo_mail_parse(text, &rules, &mail, &fault);
    check_result(result, fault, text);
    if (result == EHLO_OK) check_mail(&mail, text, &rules);
    result = ehlo_rcpt_parse(text, &rules, &rcpt, &fault);
    check_result(result, fault, text);
    if (result == EHLO_OK) check_rcpt(&rcpt, text, &rules);
    /* Where nothing is offered, no parameter is known. */
    if (ehlo_mail_parse(text, &nothing, &mail, NULL) == EHLO_OK) CHECK(mail.present == 0 && mail.params.len == 0);
    if (ehlo_rcpt_parse(text, &nothing, &rcpt, NULL) == EHLO_OK) CHECK(rcpt.present == 0 && rcpt.params.len == 0);
    return 0;
}

/* What each rule is called. */
#include <ehlo/syntax.h>

#include "chars.h"

static const ehlo_str texts[EHLO_RULE_COUNT] = {
    [EHLO_RULE_NONE] = EHLO_LITERAL("No fault"),
    [EHLO_RULE_COMMAND] = EHLO_LITERAL("Malformed command"),
    [EHLO_RULE_CONTROL] = EHLO_LITERAL("Control character not allowed"),
    [EHLO_RULE_NON_ASCII] = EHLO_LITERAL("Non-ASCII character without SMTPUTF8"),
    [EHLO_RULE_UTF8] = EHLO_LITERAL("Malformed UTF-8"),
    [EHLO_RULE_MISSING] = EHLO_LITERAL("Argument missing"),
    [EHLO_RULE_UNEXPECTED] = EHLO_LITERAL("Unexpected argument"),
    [EHLO_RULE_COLON] = EHLO_LITERAL("Expected FROM: or TO:"),
    [EHLO_RULE_BRACKET] = EHLO_LITERAL("Path must stand in angle brackets"),
    [EHLO_RULE_ROUTE] = EHLO_LITERAL("Malformed source route"),
    [EHLO_RULE_LOCAL_PART] = EHLO_LITERAL("Malformed local part"),
    [EHLO_RULE_QUOTED] = EHLO_LITERAL("Malformed quoted string"),
    [EHLO_RULE_AT] = EHLO_LITERAL("Address has no domain"),
    [EHLO_RULE_DOMAIN] = EHLO_LITERAL("Malformed domain"),
    [EHLO_RULE_LITERAL] = EHLO_LITERAL("Malformed address literal"),
    [EHLO_RULE_TOO_LONG_LOCAL] = EHLO_LITERAL("Local part too long"),
    [EHLO_RULE_TOO_LONG_DOMAIN] = EHLO_LITERAL("Domain too long"),
    [EHLO_RULE_TOO_LONG_PATH] = EHLO_LITERAL("Path too long"),
    [EHLO_RULE_PARAMETER] = EHLO_LITERAL("Malformed parameter"),
    [EHLO_RULE_PARAMETER_UNKNOWN] = EHLO_LITERAL("Parameter not recognized"),
    [EHLO_RULE_PARAMETER_TWICE] = EHLO_LITERAL("Parameter given twice"),
    [EHLO_RULE_PARAMETER_VALUE] = EHLO_LITERAL("Bad parameter value"),
    [EHLO_RULE_PARAMETER_CLASH] = EHLO_LITERAL("Parameters exclude each other"),
    [EHLO_RULE_NUMBER] = EHLO_LITERAL("Malformed number"),
    [EHLO_RULE_XTEXT] = EHLO_LITERAL("Malformed xtext"),
    [EHLO_RULE_BASE64] = EHLO_LITERAL("Malformed base64"),
    [EHLO_RULE_TIME] = EHLO_LITERAL("Malformed date-time"),
    [EHLO_RULE_REPLY] = EHLO_LITERAL("Malformed reply"),
};

ehlo_str ehlo_rule_text(ehlo_rule rule)
{
    static const ehlo_str unknown = EHLO_LITERAL("Syntax error");
    return (unsigned)rule < EHLO_RULE_COUNT ? texts[rule] : unknown;
}

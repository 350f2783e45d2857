/* DNS messages (RFC 1035 4). */
#include <ehlo/dns.h>

#include <string.h>

#include "chars.h"

enum {
    HEADER_LEN = 12,
    LABEL_MAX = 63,
    WIRE_NAME_MAX = 255, /* with the lengths of the labels and the root's */
    STEPS_MAX = 255,     /* of one name: 127 labels, a pointer before each, and its end */
    ALIASES_MAX = 10,
    CLASS_IN = 1,
    TYPE_NS = 2,
    TYPE_SOA = 6,
    RCODE_NXDOMAIN = 3
};

/* Flags of a header (RFC 1035 4.1.1). */
enum {
    FLAGS_QR_OPCODE = 0xF800,
    FLAGS_STANDARD_RESPONSE = 0x8000,
    FLAG_AA = 0x0400,
    FLAG_TC = 0x0200,
    FLAG_RA = 0x0080,
    FLAGS_RCODE = 0x000F
};

/* -- names ------------------------------------------------------------------------------------------ */

/* RFC 1035 2.3.1, with the digits of RFC 1123 2.1 and the underscore that names other than hosts' have. */
static int is_label(const char *text, size_t len)
{
    if (len == 0 || len > LABEL_MAX || text[0] == '-' || text[len - 1] == '-') return 0;
    for (size_t i = 0; i < len; i++) {
        if (!ehlo_char_is(text[i], EHLO_CHAR_LDH | EHLO_CHAR_UNDERSCORE)) return 0;
    }
    return 1;
}

/* Without the dot that may end a name, which says that it is absolute: all are here. */
static ehlo_str without_final_dot(ehlo_str name)
{
    if (name.len > 0 && name.ptr[name.len - 1] == '.') name.len--;
    return name;
}

/* The octets before the next dot, or before the end. */
static size_t label_length(ehlo_str name)
{
    const char *dot = memchr(name.ptr, '.', name.len);
    return dot != NULL ? (size_t)(dot - name.ptr) : name.len;
}

/* 1 if all of name, without a final dot, is labels with dots between. */
static int is_name(ehlo_str name)
{
    if (name.len == 0 || name.len > EHLO_DNS_NAME_MAX) return 0;
    for (;;) {
        size_t label = label_length(name);
        if (!is_label(name.ptr, label)) return 0;
        if (label == name.len) return 1;
        name = ehlo_str_make(name.ptr + label + 1, name.len - label - 1);
        if (name.len == 0) return 0;
    }
}

/* Takes the label at the beginning of a name, and the dot behind it. */
static ehlo_str take_first_label(ehlo_str *name)
{
    ehlo_str label = ehlo_str_make(name->ptr, label_length(*name));
    size_t taken = label.len < name->len ? label.len + 1 : label.len;
    *name = ehlo_str_make(name->ptr + taken, name->len - taken);
    return label;
}

/* -- query ------------------------------------------------------------------------------------------ */

static char *put_u16(char *at, unsigned number)
{
    *at++ = (char)(unsigned char)(number >> 8);
    *at++ = (char)(unsigned char)(number & 0xFF);
    return at;
}

/* RFC 1035 3.1: each label behind its length, and a length of zero at the end. */
static char *put_name(char *at, ehlo_str name)
{
    while (name.len > 0) {
        ehlo_str label = take_first_label(&name);
        *at++ = (char)label.len;
        memcpy(at, label.ptr, label.len);
        at += label.len;
    }
    *at++ = '\0';
    return at;
}

static int is_type(unsigned type)
{
    return type == EHLO_DNS_A || type == EHLO_DNS_AAAA || type == EHLO_DNS_MX || type == EHLO_DNS_CNAME;
}

/* RFC 1035 4.1.1, 4.1.2: a header that desires recursion, and one question. */
int ehlo_dns_query_write(uint16_t id, ehlo_str name, ehlo_dns_type type, char *out, size_t cap, size_t *len)
{
    static const char header[HEADER_LEN - 2] = { 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
    *len = 0;
    name = without_final_dot(name);
    if (!is_type(type) || !is_name(name)) return EHLO_ERR_ARG;
    *len = HEADER_LEN + name.len + 2 + 4;
    if (*len > cap) return EHLO_ERR_SPACE;
    char *at = put_u16(out, id);
    memcpy(at, header, sizeof(header));
    at = put_name(at + sizeof(header), name);
    at = put_u16(at, type);
    put_u16(at, CLASS_IN);
    return EHLO_OK;
}

/* -- what messages are made of ---------------------------------------------------------------------- */

/* A message, and where the reading of it stands. */
typedef struct reader {
    const unsigned char *octets;
    size_t len;
    size_t at;
} reader;

static reader make_reader(const char *bytes, size_t len, size_t at)
{
    return (reader){ (const unsigned char *)bytes, len, at };
}

static int has(const reader *message, size_t octets)
{
    return message->len - message->at >= octets;
}

/* The octets are there. */
static unsigned take_u16(reader *message)
{
    const unsigned char *octets = message->octets + message->at;
    message->at += 2;
    return (unsigned)octets[0] << 8 | octets[1];
}

/* Steps over the name at `message`, as far as it stands there: what a pointer leads to is not looked at. */
static int step_over_name(reader *message)
{
    while (has(message, 1)) {
        unsigned lead = message->octets[message->at];
        int is_pointer = lead >= 0xC0;
        size_t len = is_pointer ? 2 : lead + 1;
        if ((!is_pointer && lead > LABEL_MAX) || !has(message, len)) return EHLO_ERR_SYNTAX;
        message->at += len;
        if (is_pointer || lead == 0) return EHLO_OK;
    }
    return EHLO_ERR_SYNTAX;
}

/* A name, and where the reading of it stands. */
typedef struct name_reader {
    reader message;
    size_t part; /* where what is being read of it begins: at a pointer's target, or the name itself */
    size_t wire_len;
    int steps;
} name_reader;

static name_reader make_name_reader(const reader *message, size_t at)
{
    return (name_reader){ { message->octets, message->len, at }, at, 0, 0 };
}

/* RFC 1035 4.1.4: the rest of a name stands at "a prior occurrence", so that a pointer which does not lead
 * before the name, or the part of it, that it stands in is none. Follows it. */
static int follow_pointer(name_reader *name)
{
    if (!has(&name->message, 2)) return EHLO_ERR_SYNTAX;
    size_t target = take_u16(&name->message) & 0x3FFF;
    if (target < HEADER_LEN || target >= name->part) return EHLO_ERR_SYNTAX;
    name->part = name->message.at = target;
    return EHLO_OK;
}

/* Takes a label, whose length is not zero and no pointer's: 1, or negative. */
static int take_label(name_reader *name, ehlo_str *label)
{
    reader *message = &name->message;
    size_t len = message->octets[message->at];
    name->wire_len += len + 1;
    if (len > LABEL_MAX || name->wire_len >= WIRE_NAME_MAX || !has(message, len + 1)) return EHLO_ERR_SYNTAX;
    *label = ehlo_str_make((const char *)message->octets + message->at + 1, len);
    message->at += len + 1;
    return 1;
}

/* Takes the next label, wherever it stands: 1, 0 at the end of the name, or negative. */
static int next_label(name_reader *name, ehlo_str *label)
{
    const reader *message = &name->message;
    while (name->steps++ < STEPS_MAX && has(message, 1)) {
        unsigned lead = message->octets[message->at];
        if (lead == 0) return 0;
        int result = lead >= 0xC0 ? follow_pointer(name) : take_label(name, label);
        if (result != EHLO_OK) return result;
    }
    return EHLO_ERR_SYNTAX;
}

/* Reads the name to its end, for nothing but whether it has one. */
static int check_name(name_reader name)
{
    ehlo_str label;
    int result;
    do {
        result = next_label(&name, &label);
    } while (result > 0);
    return result;
}

/* 1 if that is the name, as text. Others are mostly told by their first label, and none is spelled out. */
static int is_same_name(name_reader name, ehlo_str text)
{
    ehlo_str label;
    int result;
    text = without_final_dot(text);
    while ((result = next_label(&name, &label)) > 0) {
        if (!ehlo_chars_equal_nocase(label, take_first_label(&text))) return 0;
    }
    return result == 0 && text.len == 0;
}

/* Adds a label to *name, or notes in *usable that it cannot be told as text. */
static void add_label(ehlo_dns_name *name, ehlo_str label, int *usable)
{
    size_t dot = name->len > 0;
    *usable = *usable && is_label(label.ptr, label.len) && name->len + dot + label.len <= EHLO_DNS_NAME_MAX;
    if (!*usable) return;
    if (dot) name->text[name->len++] = '.';
    memcpy(name->text + name->len, label.ptr, label.len);
    name->len = (uint8_t)(name->len + label.len);
}

/* Takes the name at `message` and steps over it. *usable: 0 if it is no name as text, which is then empty. */
static int take_name(reader *message, ehlo_dns_name *text, int *usable)
{
    name_reader name = make_name_reader(message, message->at);
    ehlo_str label;
    int result;
    text->len = 0;
    *usable = 1;
    if (step_over_name(message) < 0) return EHLO_ERR_SYNTAX;
    while ((result = next_label(&name, &label)) > 0) add_label(text, label, usable);
    if (!*usable) text->len = 0;
    if (name.wire_len == 0) text->text[text->len++] = '.';
    return result;
}

/* RFC 1035 4.1.3: a resource record; its data is [at, at + len) of the message. */
typedef struct resource {
    name_reader owner;
    unsigned type;
    unsigned class;
    uint32_t ttl;
    size_t at;
    size_t len;
} resource;

/* Takes the record at `message` and steps over it. The owner is not looked at: an answer is read more than once, and
 * its records may all point to the longest of names. */
static int take_resource(reader *message, resource *out)
{
    out->owner = make_name_reader(message, message->at);
    if (step_over_name(message) < 0 || !has(message, 10)) return EHLO_ERR_SYNTAX;
    out->type = take_u16(message);
    out->class = take_u16(message);
    out->ttl = (uint32_t)take_u16(message) << 16;
    out->ttl |= take_u16(message);
    /* RFC 2181 8: "treat TTL values received with the most significant bit set as if the entire value received
     * was zero". */
    if (out->ttl >> 31) out->ttl = 0;
    out->len = take_u16(message);
    out->at = message->at;
    if (!has(message, out->len)) return EHLO_ERR_SYNTAX;
    message->at += out->len;
    return EHLO_OK;
}

/* -- records ---------------------------------------------------------------------------------------- */

/* Reads an address of that many octets, all of the data. */
static int read_address(const reader *data, ehlo_family family, size_t octets, ehlo_address *address)
{
    if (data->len - data->at != octets) return EHLO_ERR_SYNTAX;
    address->family = (uint8_t)family;
    memcpy(address->octets, data->octets + data->at, octets);
    return EHLO_OK;
}

/* Reads a name that is all that is left of the data. */
static int read_target(reader *data, ehlo_dns_record *out)
{
    int usable;
    if (take_name(data, &out->name, &usable) < 0 || data->at != data->len) return EHLO_ERR_SYNTAX;
    out->refused = !usable;
    return EHLO_OK;
}

/* RFC 1035 3.3.9: PREFERENCE, EXCHANGE. */
static int read_exchange(reader *data, ehlo_dns_record *out)
{
    if (!has(data, 2)) return EHLO_ERR_SYNTAX;
    out->preference = (uint16_t)take_u16(data);
    return read_target(data, out);
}

/* Reads the data of a record; of types that we do not know, nothing. */
static int read_record(const reader *message, const resource *from, ehlo_dns_record *out)
{
    reader data = { message->octets, from->at + from->len, from->at };
    memset(out, 0, sizeof(*out));
    out->type = (ehlo_dns_type)from->type;
    out->ttl = from->ttl;
    switch (from->type) {
    case EHLO_DNS_A:
        return read_address(&data, EHLO_FAMILY_IPV4, 4, &out->address);
    case EHLO_DNS_AAAA:
        return read_address(&data, EHLO_FAMILY_IPV6, 16, &out->address);
    case EHLO_DNS_MX:
        return read_exchange(&data, out);
    case EHLO_DNS_CNAME:
        return read_target(&data, out);
    default:
        return EHLO_OK;
    }
}

/* Finds the next record of the answer section that has this type and the owner `canonical`, or the end. */
static int find_record(ehlo_dns_answer *answer, unsigned type, resource *found)
{
    ehlo_str owner = ehlo_str_make(answer->canonical.text, answer->canonical.len);
    reader message = make_reader(answer->bytes, answer->len, answer->at);
    while (answer->left > 0) {
        if (take_resource(&message, found) < 0) return EHLO_ERR_SYNTAX;
        answer->at = message.at;
        answer->left--;
        if (found->class == CLASS_IN && found->type == type && is_same_name(found->owner, owner)) return 1;
    }
    return 0;
}

/* Takes the next record that find_record finds: 1, 0 at the end, or negative. */
static int next_record(ehlo_dns_answer *answer, unsigned type, ehlo_dns_record *out)
{
    resource found;
    int result = find_record(answer, type, &found);
    if (result <= 0) return result;
    reader message = make_reader(answer->bytes, answer->len, answer->at);
    return read_record(&message, &found, out) < 0 ? EHLO_ERR_SYNTAX : 1;
}

/* -- answer ----------------------------------------------------------------------------------------- */

/* 1 if the question at `message` is that name and type. */
static int is_question(reader *message, ehlo_str name, unsigned type)
{
    name_reader asked = make_name_reader(message, message->at);
    if (step_over_name(message) < 0 || !has(message, 4) || !is_same_name(asked, name)) return 0;
    return take_u16(message) == type && take_u16(message) == CLASS_IN;
}

/* RFC 1035 4.1.1, without the id. */
typedef struct header {
    unsigned flags;
    unsigned answers;
    unsigned authorities; /* records of the authority section */
} header;

/* QR says response, OPCODE is a standard query's, and the question is ours. A server that cannot read a query may send an
 * error without the question; it is not believed either, for all that is left to guess of it is the id (RFC 5452 9.1
 * asks for the question too), and then the query's time-out leads to the next server, only later. */
static int is_answer(reader *message, uint16_t id, ehlo_str name, unsigned type, header *head)
{
    if (!has(message, HEADER_LEN) || take_u16(message) != id) return 0;
    head->flags = take_u16(message);
    unsigned questions = take_u16(message);
    head->answers = take_u16(message);
    head->authorities = take_u16(message);
    message->at = HEADER_LEN;
    if ((head->flags & FLAGS_QR_OPCODE) != FLAGS_STANDARD_RESPONSE || questions != 1) return 0;
    return is_question(message, name, type);
}

/* Every record of the section is whole, whoever it belongs to. *behind: what follows it. */
static int check_records(const ehlo_dns_answer *section, reader *behind)
{
    resource found;
    ehlo_dns_record record;
    unsigned aliases = 0;
    *behind = make_reader(section->bytes, section->len, section->at);
    for (unsigned left = section->left; left > 0; left--) {
        if (take_resource(behind, &found) < 0 || check_name(found.owner) < 0) return EHLO_ERR_SYNTAX;
        if (found.class == CLASS_IN && read_record(behind, &found, &record) < 0) return EHLO_ERR_SYNTAX;
        aliases += found.type == EHLO_DNS_CNAME;
    }
    return aliases <= ALIASES_MAX || section->type == EHLO_DNS_CNAME ? EHLO_OK : EHLO_ERR_SYNTAX;
}

/* RFC 1034 3.6.2: the alias's canonical name is what the question is about. */
static int follow_aliases(ehlo_dns_answer *answer)
{
    ehlo_dns_record alias;
    for (;;) {
        ehlo_dns_answer section = *answer;
        int result = next_record(&section, EHLO_DNS_CNAME, &alias);
        if (result <= 0) return result;
        if (alias.refused || answer->aliases == ALIASES_MAX) return EHLO_ERR_SYNTAX;
        answer->aliases++;
        answer->canonical = alias.name;
        if (alias.ttl < answer->ttl) answer->ttl = alias.ttl;
    }
}

static uint16_t count_records(ehlo_dns_answer section)
{
    resource found;
    uint16_t count = 0;
    while (find_record(&section, section.type, &found) > 0) count++;
    return count;
}

/* RFC 2308 2.2: the authority section of an answer that denies data has a SOA record, "or there will be no NS records
 * there"; else it refers to servers that know. And one that neither has the name nor asks others knows nothing. */
static int read_denial(reader *authority, const header *head, ehlo_dns_answer *answer)
{
    resource found;
    int is_referral = 0;
    int is_certain = 0;
    for (unsigned left = head->authorities; left > 0; left--) {
        if (take_resource(authority, &found) < 0 || check_name(found.owner) < 0) return EHLO_ERR_SYNTAX;
        is_referral |= found.type == TYPE_NS;
        is_certain |= found.type == TYPE_SOA;
    }
    is_certain |= !is_referral && (head->flags & (FLAG_AA | FLAG_RA)) != 0;
    answer->status = is_certain ? EHLO_DNS_NODATA : EHLO_DNS_FAILED;
    return EHLO_OK;
}

/* Reads what the server says of a name that exists, or to which aliases lead before it does not (RFC 2308 2.1). */
static int read_sections(const header *head, ehlo_dns_answer *answer)
{
    reader authority;
    if (check_records(answer, &authority) < 0) return EHLO_ERR_SYNTAX;
    if (answer->type != EHLO_DNS_CNAME && follow_aliases(answer) < 0) return EHLO_ERR_SYNTAX;
    answer->status = EHLO_DNS_NXDOMAIN;
    if (answer->rcode == RCODE_NXDOMAIN) return EHLO_OK;
    answer->count = count_records(*answer);
    answer->status = answer->count > 0 ? EHLO_DNS_FOUND : EHLO_DNS_NODATA;
    if (answer->count > 0 || answer->aliases > 0) return EHLO_OK;
    return read_denial(&authority, head, answer);
}

int ehlo_dns_answer_parse(const char *bytes, size_t len, uint16_t id, ehlo_str name, ehlo_dns_type type,
                          ehlo_dns_answer *answer)
{
    reader message = make_reader(bytes, len, 0);
    header head;
    memset(answer, 0, sizeof(*answer));
    name = without_final_dot(name);
    if (!is_type(type) || !is_name(name)) return EHLO_ERR_ARG;
    if (!is_answer(&message, id, name, type, &head)) return EHLO_ERR_STALE;
    answer->rcode = (uint8_t)(head.flags & FLAGS_RCODE);
    answer->canonical.len = (uint8_t)name.len;
    memcpy(answer->canonical.text, name.ptr, name.len);
    answer->bytes = bytes;
    answer->len = len;
    answer->at = message.at;
    answer->left = (uint16_t)head.answers;
    answer->type = (uint16_t)type;
    answer->ttl = UINT32_MAX;
    int is_truncated = (head.flags & FLAG_TC) != 0;
    answer->status = is_truncated ? EHLO_DNS_TRUNCATED : EHLO_DNS_FAILED;
    int is_told = !is_truncated && (answer->rcode == 0 || answer->rcode == RCODE_NXDOMAIN);
    int result = is_told ? read_sections(&head, answer) : EHLO_OK;
    if (result < 0) memset(answer, 0, sizeof(*answer));
    return result;
}

int ehlo_dns_next(ehlo_dns_answer *answer, ehlo_dns_record *record)
{
    memset(record, 0, sizeof(*record));
    if (answer->status != EHLO_DNS_FOUND) return 0;
    if (next_record(answer, answer->type, record) <= 0) return 0;
    if (answer->ttl < record->ttl) record->ttl = answer->ttl;
    return 1;
}

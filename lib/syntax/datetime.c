/* Internet date-times (RFC 3339 5.6). */
#include "datetime.h"

#include <string.h>

#include "chars.h"

/* Takes exactly `digits` digits off *text, between lowest and highest; the number, -1 if there is none such. */
static int take_number(ehlo_str *text, size_t digits, int lowest, int highest)
{
    int number = 0;
    if (text->len < digits) return -1;
    for (size_t i = 0; i < digits; i++) {
        if (!ehlo_char_is_digit(text->ptr[i])) return -1;
        number = number * 10 + (text->ptr[i] - '0');
    }
    *text = ehlo_str_make(text->ptr + digits, text->len - digits);
    return number >= lowest && number <= highest ? number : -1;
}

/* Takes one of the octets off *text: it, or NUL if another comes next. */
static char take_one_of(ehlo_str *text, const char *octets)
{
    if (text->len == 0 || text->ptr[0] == '\0' || strchr(octets, text->ptr[0]) == NULL) return '\0';
    text->len--;
    return *text->ptr++;
}

static int days_in_month(int year, int month)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && is_leap ? 29 : days[month - 1];
}

/*     full-date = date-fullyear "-" date-month "-" date-mday */
static int take_full_date(ehlo_str *text)
{
    int year = take_number(text, 4, 0, 9999);
    if (year < 0 || !take_one_of(text, "-")) return 0;
    int month = take_number(text, 2, 1, 12);
    if (month < 0 || !take_one_of(text, "-")) return 0;
    return take_number(text, 2, 1, days_in_month(year, month)) > 0;
}

/*     time-secfrac = "." 1*DIGIT */
static int take_optional_fraction(ehlo_str *text)
{
    if (!take_one_of(text, ".")) return 1;
    if (take_number(text, 1, 0, 9) < 0) return 0;
    while (take_number(text, 1, 0, 9) >= 0) continue;
    return 1;
}

/*     partial-time = time-hour ":" time-minute ":" time-second [time-secfrac]
 * A second of 60 is a leap second. */
static int take_partial_time(ehlo_str *text)
{
    return take_number(text, 2, 0, 23) >= 0 && take_one_of(text, ":") && take_number(text, 2, 0, 59) >= 0 &&
           take_one_of(text, ":") && take_number(text, 2, 0, 60) >= 0 && take_optional_fraction(text);
}

/*     time-offset = "Z" / ( ("+" / "-") time-hour ":" time-minute ) */
static int take_offset(ehlo_str *text, int utc_only)
{
    if (take_one_of(text, "Zz")) return 1;
    return !utc_only && take_one_of(text, "+-") && take_number(text, 2, 0, 23) >= 0 && take_one_of(text, ":") &&
           take_number(text, 2, 0, 59) >= 0;
}

/*     date-time = full-date "T" full-time */
int ehlo_datetime_valid(ehlo_str text, int utc_only)
{
    return take_full_date(&text) && take_one_of(&text, "Tt") && take_partial_time(&text) &&
           take_offset(&text, utc_only) && text.len == 0;
}

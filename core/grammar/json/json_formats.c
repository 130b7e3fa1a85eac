#include "core/grammar/json/json_formats.h"

#include <stddef.h>
#include <string.h>

/* Years 1000 to 9999, with the days that their months have. */
#define LONG_MONTH "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
#define SHORT_MONTH "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
#define FEBRUARY "02-(?:0[1-9]|1[0-9]|2[0-8])"
#define LEAP_YEAR "(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
#define DATE "(?:[1-9][0-9]{3}-(?:" LONG_MONTH "|" SHORT_MONTH "|" FEBRUARY ")|" LEAP_YEAR "-02-29)"
#define TIME \
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"

/* A little shorter than they may be, so that four of them are no longer than a name may be: 253. */
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,60}[A-Za-z0-9])?"
#define HOSTNAME LABEL "(?:\\." LABEL "){0,3}"
#define ATOM "[A-Za-z0-9_+-]{1,20}"

#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4 OCTET "(?:\\." OCTET "){3}"
#define H "[0-9A-Fa-f]{1,4}"
#define IPV6                                                                                            \
    "(?:(?:" H ":){7}" H "|(?:" H ":){1,7}:|(?:" H ":){1,6}:" H "|(?:" H ":){1,5}(?::" H "){1,2}|(?:" H \
    ":){1,4}(?::" H "){1,3}|(?:" H ":){1,3}(?::" H "){1,4}|(?:" H ":){1,2}(?::" H "){1,5}|" H ":(?::" H \
    "){1,6}|:(?:(?::" H "){1,7}|:))"

#define PCHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
#define PATH "(?:/" PCHAR "*)*"
#define QUERY "(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"
#define URI "[a-z][a-z0-9+.-]{1,15}://" HOSTNAME "(?::[1-9][0-9]{1,3})?" PATH QUERY

#define DAYS "(?:[0-9]{1,4}Y(?:[0-9]{1,4}M(?:[0-9]{1,4}D)?)?|[0-9]{1,4}M(?:[0-9]{1,4}D)?|[0-9]{1,4}D)"
#define HOURS "(?:[0-9]{1,4}H(?:[0-9]{1,4}M(?:[0-9]{1,4}S)?)?|[0-9]{1,4}M(?:[0-9]{1,4}S)?|[0-9]{1,4}S)"

static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", "^" DATE "$"},
    {"time", "^" TIME "$"},
    {"date-time", "^" DATE "T" TIME "$"},
    {"duration", "^P(?:" DAYS "(?:T" HOURS ")?|T" HOURS "|[0-9]{1,4}W)$"},
    {"email", "^" ATOM "(?:\\." ATOM "){0,2}@" LABEL "(?:\\." LABEL "){1,3}$"},
    {"hostname", "^" HOSTNAME "$"},
    {"ipv4", "^" IPV4 "$"},
    {"ipv6", "^" IPV6 "$"},
    {"uri", "^" URI "$"},
    {"url", "^" URI "$"},
    {"uri-reference", "^(?:" URI "|/" PATH QUERY ")$"},
    {"uuid", "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"},
    {"json-pointer", "^(?:/(?:[^~/]|~[01])*)*$"},
    {"byte", "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"},
    {"password", ""},
    {"binary", ""},
};

const char *json_format(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0)
            return formats[i].pattern;
    return NULL;
}

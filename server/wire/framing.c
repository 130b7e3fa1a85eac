#include "server/wire/framing.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct headers {
    int hosts, lengths, codings, authorizations, types, matches, none_matches;
    bool malformed;
    const char *length, *coding, *expect;
};

/* RFC 9110, 5.6.2: what a header's name may consist of. */
static bool is_token(const char *text)
{
    size_t length = strspn(text, "!#$%&'*+-.^_`|~0123456789"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    return length > 0 && !text[length];
}

static enum MHD_Result count(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    struct headers *h = arg;
    h->malformed |= !is_token(name);
    if (strcasecmp(name, "Host") == 0) {
        h->hosts++;
    } else if (strcasecmp(name, "Content-Length") == 0) {
        h->lengths++;
        h->length = value;
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        h->codings++;
        h->coding = value;
    } else if (strcasecmp(name, "Authorization") == 0) {
        h->authorizations++;
    } else if (strcasecmp(name, "Content-Type") == 0) {
        h->types++;
    } else if (strcasecmp(name, "If-Match") == 0) {
        h->matches++;
    } else if (strcasecmp(name, "If-None-Match") == 0) {
        h->none_matches++;
    } else if (strcasecmp(name, "Expect") == 0) {
        h->expect = value;
    }
    return MHD_YES;
}

static int refuse(struct err *e, const char *problem)
{
    return err_set(e, "invalid_request", "%s", problem);
}

static int read_length(const char *text, int64_t *out, struct err *e)
{
    size_t digits = strspn(text ? text : "", "0123456789");
    if (digits < 1 || digits > 18 || text[digits])
        return refuse(e, "Content-Length is not a number of bytes");
    *out = strtoll(text, NULL, 10);
    return 0;
}

int framing_read(struct MHD_Connection *connection, const char *version, struct framing *out, struct err *e)
{
    struct headers h = {0};
    *out = (struct framing){0};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, count, &h);
    bool newer = strcmp(version, "HTTP/1.1") == 0;
    if (!newer && strcmp(version, "HTTP/1.0") != 0)
        return refuse(e, "the version must be HTTP/1.0 or HTTP/1.1");
    if (h.malformed)
        return refuse(e, "the name of a header is not a token");
    if (h.hosts > 1 || (newer && h.hosts == 0))
        return refuse(e, "exactly one Host header is expected");
    if (h.lengths > 1 || h.codings > 1 || h.authorizations > 1 || h.types > 1 || h.matches > 1 ||
        h.none_matches > 1)
        return refuse(e, "Content-Length, Transfer-Encoding, Content-Type, Authorization, If-Match and "
                         "If-None-Match may be given once");
    if (h.lengths && h.codings)
        return refuse(e, "Content-Length and Transfer-Encoding exclude each other");
    if (h.codings && (!newer || !h.coding || strcasecmp(h.coding, "chunked") != 0))
        return refuse(e, "the only transfer coding is chunked, in HTTP/1.1");
    if (h.lengths && read_length(h.length, &out->content_length, e) != 0)
        return -1;
    if (h.codings)
        out->content_length = -1;
    out->has_body = h.codings || out->content_length > 0;
    out->expect_continue = h.expect && strcasecmp(h.expect, "100-continue") == 0;
    return 0;
}

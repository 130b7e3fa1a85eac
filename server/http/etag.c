#include "server/http/etag.h"

#include <stdio.h>
#include <string.h>

/* The next entry of a comma-separated list without the spaces around it; NULL: no more. */
static const char *next_entry(const char **rest, size_t *length)
{
    const char *begin = *rest + strspn(*rest, " \t,");
    if (!*begin)
        return NULL;
    size_t n = strcspn(begin, ",");
    *rest = begin + n;
    while (n > 0 && strchr(" \t", begin[n - 1]))
        n--;
    *length = n;
    return begin;
}

/* Without W/ (proxies that compress put it there) and quotes. */
static const char *strip(const char *entry, size_t *length)
{
    if (*length > 2 && strncmp(entry, "W/", 2) == 0) {
        entry += 2;
        *length -= 2;
    }
    if (*length >= 2 && entry[0] == '"' && entry[*length - 1] == '"') {
        entry++;
        *length -= 2;
    }
    return entry;
}

static int bad_header(struct err *e)
{
    err_set(e, "invalid_header",
            "If-Match must be *, or up to %d ETags of adapters such as \"sha256:...\" with all 64 digits",
            EXPECTED_VERSIONS_MAX);
    return err_param(e, "If-Match");
}

static int read_tag(const char *entry, size_t length, char out[SHA256_HEX + 1])
{
    uint8_t bytes[SHA256_BYTES];
    entry = strip(entry, &length);
    const char *dash = memchr(entry, '-', length);
    if (dash)
        length = (size_t)(dash - entry);
    if (length == 4 && memcmp(entry, "none", 4) == 0) {
        out[0] = '\0';
        return 0;
    }
    if (length != 7 + SHA256_HEX || memcmp(entry, "sha256:", 7) != 0)
        return -1;
    memcpy(out, entry + 7, SHA256_HEX);
    out[SHA256_HEX] = '\0';
    return hex_decode(out, bytes, sizeof bytes);
}

int etag_expected(const char *header, struct version_expected *out, struct err *e)
{
    size_t length;
    *out = (struct version_expected){0};
    if (!header)
        return 0;
    for (const char *entry; (entry = next_entry(&header, &length));) {
        if (length == 1 && *entry == '*') {
            *out = (struct version_expected){0};
            return 0;
        }
        if (out->count == EXPECTED_VERSIONS_MAX || read_tag(entry, length, out->digest[out->count]) != 0)
            return bad_header(e);
        out->count++;
    }
    out->given = true;
    return out->count ? 0 : bad_header(e);
}

bool etag_listed(const char *header, const char *etag)
{
    size_t length, wanted_length = strlen(etag);
    const char *wanted = strip(etag, &wanted_length);
    for (const char *entry; header && (entry = next_entry(&header, &length));) {
        if (length == 1 && *entry == '*')
            return true;
        entry = strip(entry, &length);
        if (length == wanted_length && memcmp(entry, wanted, length) == 0)
            return true;
    }
    return false;
}

static void hash_of(const void *body, size_t length, char hex[17])
{
    uint8_t hash[SHA256_BYTES];
    sha256_of(body, length, hash);
    hex_encode(hash, 8, hex);
}

void etag_of_document(const void *text, size_t length, char out[ETAG_BYTES])
{
    char hex[17];
    hash_of(text, length, hex);
    snprintf(out, ETAG_BYTES, "\"%s\"", hex);
}

void etag_of_adapter(const struct version *v, const void *body, size_t length, char out[ETAG_BYTES])
{
    char hex[17];
    hash_of(body, length, hex);
    snprintf(out, ETAG_BYTES, "\"%s%s-%s\"", v ? "sha256:" : "none", v ? v->digest : "", hex);
}

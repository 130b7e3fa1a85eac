#include "core/model/digest.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/system/file.h"

enum { MEMORY_BYTES_MAX = 1 << 20, SETTLED_S = 2, NAME_DIGITS = 16 };
static const char title[] = "adapterd digest 1\n";

/* DIRECTORY/<16 digits of the model's path>.digest, to be freed; NULL: none. */
static char *memory_path(const char *directory, const char *model)
{
    char resolved[PATH_MAX], hex[SHA256_HEX + 1], *path = NULL;
    uint8_t digest[SHA256_BYTES];
    if (!directory || !realpath(model, resolved))
        return NULL;
    sha256_of(resolved, strlen(resolved), digest);
    hex_encode(digest, SHA256_BYTES, hex);
    return asprintf(&path, "%s/%.*s.digest", directory, NAME_DIGITS, hex) < 0 ? NULL : path;
}

/* The files as they are, the digest, and a hash of both, without which half a file would do. */
static int memory_text(const struct weights *w, const uint8_t digest[SHA256_BYTES], struct buf *out)
{
    struct err ignored;
    uint8_t check[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    hex_encode(digest, SHA256_BYTES, hex);
    if (buf_append_string(out, title) != 0 || weights_describe(w, out, &ignored) != 0 ||
        buf_printf(out, "digest %s\n", hex) != 0)
        return -1;
    sha256_of(out->data, out->length, check);
    hex_encode(check, SHA256_BYTES, hex);
    return buf_printf(out, "check %s\n", hex);
}

/* The digest that a text names in its last line but one; what else it says is compared afterwards. */
static bool named_digest(const struct buf *text, uint8_t out[SHA256_BYTES])
{
    enum { TAIL = sizeof "digest " - 1 + SHA256_HEX + 1 + sizeof "check " - 1 + SHA256_HEX + 1 };
    char hex[SHA256_HEX + 1] = "";
    if (text->length < TAIL)
        return false;
    memcpy(hex, text->data + text->length - TAIL + sizeof "digest " - 1, SHA256_HEX);
    return hex_decode(hex, out, SHA256_BYTES) == 0;
}

bool digest_recall(const struct weights *w, const char *directory, const char *model,
                   uint8_t out[SHA256_BYTES])
{
    struct buf found = {0}, wanted = {0};
    struct err ignored;
    uint8_t digest[SHA256_BYTES];
    char *path = memory_path(directory, model);
    bool known = path && file_read(path, MEMORY_BYTES_MAX, &found, &ignored) == 0 &&
                 named_digest(&found, digest) && memory_text(w, digest, &wanted) == 0 &&
                 found.length == wanted.length && memcmp(found.data, wanted.data, wanted.length) == 0;
    if (known)
        memcpy(out, digest, SHA256_BYTES);
    buf_fini(&found);
    buf_fini(&wanted);
    free(path);
    return known;
}

void digest_remember(const struct weights *w, const char *directory, const char *model, int64_t begun_s,
                     const uint8_t digest[SHA256_BYTES])
{
    struct buf text = {0};
    struct err ignored;
    char *path = memory_path(directory, model);
    if (path && weights_changed_s(w) + SETTLED_S <= begun_s &&
        file_make_directories(directory, &ignored) == 0 && memory_text(w, digest, &text) == 0)
        (void)!file_replace(path, text.data, text.length, 0600, &ignored);
    buf_fini(&text);
    free(path);
}

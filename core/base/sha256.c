#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <nettle/memops.h>
#include <nettle/sha2.h>

/* The library renames its functions by macros; these names are ours. */
#undef sha256_init
#undef sha256_update

#include "core/base/hex.h"
#include "core/base/sha256.h"

_Static_assert(sizeof(struct sha256_ctx) <= sizeof(struct sha256), "struct sha256 holds the library's state");

void sha256_init(struct sha256 *s)
{
    nettle_sha256_init((struct sha256_ctx *)s->state);
}

void sha256_update(struct sha256 *s, const void *data, size_t length)
{
    nettle_sha256_update((struct sha256_ctx *)s->state, length, data);
}

void sha256_final(struct sha256 *s, uint8_t out[SHA256_BYTES])
{
    nettle_sha256_digest((struct sha256_ctx *)s->state, SHA256_BYTES, out);
}

void sha256_of(const void *data, size_t length, uint8_t out[SHA256_BYTES])
{
    struct sha256 s;
    sha256_init(&s);
    sha256_update(&s, data, length);
    sha256_final(&s, out);
}

void hex_encode(const void *data, size_t length, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;
    for (size_t i = 0; i < length; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * length] = '\0';
}

int hex_decode(const char *hex, void *out, size_t length)
{
    uint8_t *bytes = out;
    if (strlen(hex) != 2 * length)
        return -1;
    for (size_t i = 0; i < 2 * length; i++)
        if (hex_digit(hex[i]) < 0 || (hex[i] >= 'A' && hex[i] <= 'F')) /* a digest has one form */
            return -1;
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return 0;
}

void random_bytes(void *out, size_t length)
{
    uint8_t *bytes = out;
    while (length > 0) {
        ssize_t got = getrandom(bytes, length, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        bytes += got;
        length -= (size_t)got;
    }
}

int bytes_differ(const void *a, const void *b, size_t length)
{
    return !nettle_memeql_sec(a, b, length);
}

/* SHA-256 (FIPS 180-4, by nettle), random bytes, hexadecimal. The caller's storage; one thread at a time. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_HEX = 64 };

struct sha256 { /* room for the library's state */
    uint64_t state[16];
};

void sha256_init(struct sha256 *s);
void sha256_update(struct sha256 *s, const void *data, size_t length);
void sha256_final(struct sha256 *s, uint8_t out[SHA256_BYTES]);
void sha256_of(const void *data, size_t length, uint8_t out[SHA256_BYTES]);

/* Lower-case hexadecimal; `out` holds 2 * length + 1 bytes. */
void hex_encode(const void *data, size_t length, char *out);
/* 0, or -1 unless `hex` is exactly 2 * length hexadecimal digits of lower case. */
int hex_decode(const char *hex, void *out, size_t length);

/* Bytes from the kernel's generator. Aborts where the kernel has none to give: there is no safe way on. */
void random_bytes(void *out, size_t length);
/* 0 when equal; the time does not depend on where they differ. */
int bytes_differ(const void *a, const void *b, size_t length);

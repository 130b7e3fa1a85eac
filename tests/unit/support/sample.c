#include "tests/unit/support/sample.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/system/file.h"

enum { CONFIG_BYTES = 40, WEIGHTS_BYTES = 5000 };

static void make_config(unsigned content, char out[CONFIG_BYTES])
{
    memset(out, ' ', CONFIG_BYTES);
    snprintf(out, CONFIG_BYTES, "{\"r\": 8, \"content\": %u}", content);
}

static void make_weights(unsigned content, uint8_t out[WEIGHTS_BYTES])
{
    uint32_t state = content * 2654435761u + 1;
    for (size_t i = 0; i < WEIGHTS_BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        out[i] = (uint8_t)(state >> 24);
    }
}

static void digest_bytes(unsigned content, uint8_t out[SHA256_BYTES])
{
    uint8_t weights[WEIGHTS_BYTES];
    make_weights(content, weights);
    sha256_of(weights, sizeof weights, out);
}

void sample_digest(unsigned content, char out[SHA256_HEX + 1])
{
    uint8_t digest[SHA256_BYTES];
    digest_bytes(content, digest);
    hex_encode(digest, sizeof digest, out);
}

int sample_publish(struct registry *r, const char *tenant, const char *name, unsigned content, bool activate,
                   const struct version **out, bool *created, struct err *e)
{
    char config[CONFIG_BYTES];
    uint8_t weights[WEIGHTS_BYTES];
    struct staged *s;
    struct tenant_row row;
    struct publish p = {.name = name,
                        .activate = activate,
                        .rank_max = 8,
                        .sites = 2,
                        .parameters = 1234,
                        .proof_max = 3.25,
                        .proof_mean = 0.5};
    make_config(content, config);
    make_weights(content, weights);
    digest_bytes(content, p.digest);
    if (registry_tenant_find(r, tenant, &row, e) != 0 || staged_new(&s, r, e) != 0)
        return -1;
    p.tenant = row.number;
    int result = staged_write(s, STAGED_CONFIG, config, sizeof config, e);
    if (result == 0)
        result = staged_write(s, STAGED_WEIGHTS, weights, 100, e);
    if (result == 0)
        result = staged_write(s, STAGED_WEIGHTS, weights + 100, sizeof weights - 100, e);
    if (result == 0)
        result = registry_publish(r, s, &p, out, created, e);
    staged_free(s);
    return result;
}

static int check_file(int fd, const void *expected, size_t length, const char *what, struct err *e)
{
    uint8_t found[WEIGHTS_BYTES];
    if (file_pread(fd, found, length, 0, e) != 0)
        return -1;
    return memcmp(found, expected, length) == 0 ? 0 : err_set(e, "torn", "%s has other bytes", what);
}

int sample_check(struct registry *r, const struct version *v, unsigned content, struct err *e)
{
    char config[CONFIG_BYTES];
    uint8_t weights[WEIGHTS_BYTES];
    int config_fd, weights_fd;
    make_config(content, config);
    make_weights(content, weights);
    if (registry_open_blobs(r, v, &config_fd, &weights_fd, e) != 0)
        return -1;
    int result = check_file(config_fd, config, sizeof config, "config", e);
    if (result == 0)
        result = check_file(weights_fd, weights, sizeof weights, "weights", e);
    close(config_fd);
    close(weights_fd);
    return result;
}

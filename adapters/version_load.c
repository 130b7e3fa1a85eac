#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "adapters/cache_private.h"
#include "adapters/peft.h"
#include "core/base/file.h"

enum { BLOCK_BYTES = 65536 };

static int check_blob(int fd, uint64_t bytes, const char *digest, struct err *e)
{
    struct sha256 hash;
    uint8_t found[SHA256_BYTES], block[BLOCK_BYTES];
    char found_hex[SHA256_HEX + 1];
    sha256_init(&hash);
    for (uint64_t at = 0; at < bytes;) {
        size_t length = bytes - at < sizeof block ? (size_t)(bytes - at) : sizeof block;
        if (file_pread(fd, block, length, at, e) != 0)
            return -1;
        sha256_update(&hash, block, length);
        at += length;
    }
    sha256_final(&hash, found);
    hex_encode(found, sizeof found, found_hex);
    if (strcmp(found_hex, digest) == 0)
        return 0;
    err_set(e, "adapter_broken", "blob %s is damaged: its bytes have the SHA-256 %s", digest, found_hex);
    return err_hint(e, "upload the same files again");
}

static int compile(const struct model *m, int config_fd, int weights_fd, struct delta **out, struct err *e)
{
    struct peft *p;
    if (peft_load(&p, m, config_fd, weights_fd, PEFT_STORED, e) != 0)
        return -1;
    int result = delta_new(out, m, peft_source(p), e);
    peft_free(p);
    return result;
}

/* Hashing takes as long as all the rest: it is done beside it. */
struct check {
    const struct version *version;
    int config_fd, weights_fd;
    int result;
    struct err err;
};

static void *check_blobs(void *arg)
{
    struct check *c = arg;
    const struct version *v = c->version;
    c->result = check_blob(c->config_fd, v->config_bytes, v->config_blob, &c->err);
    if (c->result == 0)
        c->result = check_blob(c->weights_fd, v->weights_bytes, v->weights_blob, &c->err);
    return NULL;
}

/* What is wrong with damaged files is that they are damaged, whatever compiling them said. */
static int check_and_compile(struct check *c, const struct model *m, struct delta **out, struct err *e)
{
    pthread_t thread;
    struct delta *d = NULL;
    if (pthread_create(&thread, NULL, check_blobs, c) != 0)
        return err_set(e, "out_of_memory", "cannot start a thread");
    int result = compile(m, c->config_fd, c->weights_fd, &d, e);
    pthread_join(thread, NULL);
    if (c->result != 0)
        *e = c->err;
    if (c->result != 0 || result != 0) {
        delta_unref(d);
        return -1;
    }
    *out = d;
    return 0;
}

static int load_blobs(struct registry *r, const struct model *m, const struct version *v, struct delta **out,
                      struct err *e)
{
    struct check c = {.version = v};
    if (registry_open_blobs(r, v, &c.config_fd, &c.weights_fd, e) != 0)
        return -1;
    int result = check_and_compile(&c, m, out, e);
    close(c.config_fd);
    close(c.weights_fd);
    return result;
}

/* A version that was deleted while its load waited is not broken but gone. */
static void note_broken(struct registry *r, const struct version *v, struct err *e)
{
    char reference[NAME_MAX_BYTES + 1 + SHA256_HEX + 1];
    const struct version *present;
    struct err now;
    registry_mark_broken(r, v);
    stpcpy(stpcpy(stpcpy(reference, v->name), "@"), v->digest);
    if (registry_resolve(r, v->tenant, reference, &present, &now) == 0)
        version_unref(present);
    else if (strcmp(now.code, "adapter_broken") != 0)
        *e = now;
}

int version_load(struct registry *r, const struct model *m, const struct version *v, struct delta **out,
                 struct err *e)
{
    if (load_blobs(r, m, v, out, e) == 0)
        return 0;
    if (strcmp(e->code, "adapter_broken") == 0)
        note_broken(r, v, e);
    return -1;
}

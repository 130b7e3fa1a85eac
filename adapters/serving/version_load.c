#include "adapters/serving/version_load.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "adapters/blobs/blobs.h"
#include "adapters/peft/peft.h"

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
    c->result = blobs_check(c->config_fd, v->config_bytes, v->config_blob, &c->err);
    if (c->result == 0)
        c->result = blobs_check(c->weights_fd, v->weights_bytes, v->weights_blob, &c->err);
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

static int load(void *arg, const struct version *v, struct delta **out, struct err *e)
{
    const struct version_loader *l = arg;
    return version_load(l->registry, l->model, v, out, e);
}

static bool pinned(void *arg, uint32_t tenant, const char *digest)
{
    const struct version_loader *l = arg;
    return registry_pinned(l->registry, tenant, digest);
}

int version_loader_cache(struct cache **out, const struct version_loader *l, size_t budget_bytes,
                         struct err *e)
{
    struct cache_source s = {load, pinned, (void *)(uintptr_t)l};
    return cache_new(out, &s, budget_bytes, e);
}

#include "server/other_base.h"

#include <signal.h>

#include "adapters/serving/accept_base.h"
#include "server/base/log.h"
#include "server/http/server.h"

enum { LOGGED_MAX = 100 };

static void log_refused(struct registry *r, size_t count)
{
    const struct version *versions[LOGGED_MAX];
    size_t listed = registry_other_base(r, LOGGED_MAX, versions);
    for (size_t i = 0; i < listed; i++) {
        log_message(
            "warning",
            "tenant %s, adapter %s, version sha256:%.12s: it was proved on another base, and is refused",
            versions[i]->tenant_id, versions[i]->name, versions[i]->digest);
        version_unref(versions[i]);
    }
    log_message("warning",
                "%zu versions were proved on another base than this one: serve that base again, or prove "
                "them on this one "
                "with --accept-base",
                count);
}

/* Signals are blocked until the daemon serves; one that stops need not wait for all versions. */
static bool stop_asked(void *arg)
{
    (void)arg;
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

static void log_version(void *arg, const struct version *v, const struct err *e)
{
    (void)arg;
    log_message("warning", "tenant %s, adapter %s, version sha256:%.12s stays refused: %s: %s", v->tenant_id,
                v->name, v->digest, e->code, e->message);
}

static int accept_base(struct server *s, size_t count, struct err *e)
{
    size_t accepted;
    struct accept_base a = {.registry = s->registry,
                            .model = s->model,
                            .engine = s->engine,
                            .tokenizer = s->tokenizer,
                            .stop = stop_asked,
                            .refused = log_version};
    log_message("info", "--accept-base: %zu versions are proved on this base", count);
    if (accept_base_run(&a, &accepted, e) != 0)
        return -1;
    log_message("info", "--accept-base: %zu of %zu versions are served on this base from now on", accepted,
                count);
    return 0;
}

int other_base_settle(struct server *s, struct err *e)
{
    size_t adopted, others;
    if (registry_set_base(s->registry, s->info->fingerprint, &adopted, &others, e) != 0)
        return -1;
    if (adopted)
        log_message("info", "%zu versions of before bases were remembered are taken as proved on this one",
                    adopted);
    if (others == 0)
        return 0;
    if (s->config.accept_base)
        return accept_base(s, others, e);
    log_refused(s->registry, others);
    return 0;
}

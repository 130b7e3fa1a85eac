#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"

/* `member`: what adapterd's answer has. */
static int fetch(struct context *c, const char *path, const char *member, struct answer *answer,
                 struct err *e)
{
    if (client_send(c->client, "GET", path, NULL, answer, e) != 0)
        return -1;
    if (json_is_string(json_object_get(answer->json, member)))
        return 0;
    answer_fini(answer);
    err_set(e, "not_adapterd", "%s%s did not answer as adapterd does", client_url(c->client), path);
    return err_hint(e, "is that address an adapterd?");
}

static int print_table(struct context *c, const json_t *version, int ready, struct err *e)
{
    static const char *const member[] = {"version",   "model",          "family",
                                         "precision", "context_length", "fingerprint"};
    struct table t;
    table_init(&t, "STATUS|");
    t.columns = 2;
    table_add(&t, ready ? "ready" : "not ready");
    table_add(&t, "url");
    table_add(&t, client_url(c->client));
    for (size_t i = 0; i < sizeof member / sizeof *member; i++) {
        table_add(&t, member[i]);
        table_add_member(&t, version, member[i]);
    }
    return table_print(&t, e);
}

static int print_status(struct context *c, const struct answer *ready, const struct answer *version,
                        struct err *e)
{
    if (!c->json)
        return print_table(c, version->json, ready->status == 200, e);
    json_t *all = json_pack("{s:b, s:O, s:O}", "ready", ready->status == 200, "readyz", ready->json,
                            "version", version->json);
    int result = all ? print_json(all, e) : err_memory(e);
    json_decref(all);
    return result;
}

int status_show(struct context *c, const struct args *a, struct err *e)
{
    struct answer ready = {0}, version = {0};
    (void)a;
    int result = -1;
    if (fetch(c, "/readyz", "status", &ready, e) == 0 && fetch(c, "/version", "version", &version, e) == 0)
        result = print_status(c, &ready, &version, e);
    if (result == 0 && ready.status != 200)
        result = err_set(e, "not_ready", "adapterd at %s is not ready", client_url(c->client));
    answer_fini(&ready);
    answer_fini(&version);
    return result;
}

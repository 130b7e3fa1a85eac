/* Which version an adapter's name means, what is said about it, and deleting. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/lib/commands.h"
#include "cli/lib/path.h"

typedef int print_function(const json_t *adapter, struct err *e);

static int patch(struct context *c, const struct args *a, const char *name, json_t *body,
                 struct answer *answer, struct err *e)
{
    struct buf path = {0};
    const char *tenant = args_get(a, "--tenant");
    if (!body)
        return err_set(e, "usage", "what was given is not UTF-8");
    if (path_check_name("an adapter", name, e) != 0) {
        json_decref(body);
        return -1;
    }
    int result = path_adapter(&path, name, NULL) != 0 || (tenant && path_query(&path, "tenant", tenant) != 0)
                     ? err_memory(e)
                     : client_call(c->client, "PATCH", path.data, body, answer, e);
    json_decref(body);
    buf_fini(&path);
    return result;
}

/* The answer is the adapter as it is then, of which `print` shows what was changed. */
static int change(struct context *c, const struct args *a, const char *name, json_t *body,
                  print_function *print, struct err *e)
{
    struct answer answer;
    int result = 0;
    if (patch(c, a, name, body, &answer, e) != 0)
        return -1;
    if (c->json)
        print_answer(&answer);
    else
        result = print(answer.json, e);
    answer_fini(&answer);
    return result;
}

static int move(struct context *c, const struct args *a, const char *name, json_t *body, struct err *e)
{
    return change(c, a, name, body, adapters_print_versions, e);
}

static int describe(struct context *c, const struct args *a, json_t *body, struct err *e)
{
    return change(c, a, a->operand[0], body, adapters_print_metadata, e);
}

int versions_activate(struct context *c, const struct args *a, struct err *e)
{
    return move(c, a, a->operand[0], json_pack("{s:s}", "version", a->operand[1]), e);
}

int versions_rollback(struct context *c, const struct args *a, struct err *e)
{
    return move(c, a, a->operand[0], json_pack("{s:b}", "rollback", 1), e);
}

/* ---- delete ---- */

static int delete_path(struct buf *path, const struct args *a, const char *name, const char *version,
                       struct err *e)
{
    const char *tenant = args_get(a, "--tenant");
    int force = args_get(a, "--force") != NULL;
    if (force && !version)
        return err_set(e, "usage",
                       "--force is for NAME@VERSION: an adapter is always deleted with all versions");
    if (path_adapter(path, name, version) != 0 || (tenant && path_query(path, "tenant", tenant) != 0) ||
        (force && path_query(path, "force", "true") != 0))
        return err_memory(e);
    return 0;
}

static int delete (struct context *c, const struct args *a, const char *name, const char *version,
                   struct err *e)
{
    struct buf path = {0};
    struct answer answer;
    int result = delete_path(&path, a, name, version, e);
    if (result == 0)
        result = client_call(c->client, "DELETE", path.data, NULL, &answer, e);
    buf_fini(&path);
    if (result != 0)
        return -1;
    if (c->json)
        print_answer(&answer);
    else if (version)
        printf("version %s of adapter %s deleted\n", version, name);
    else
        printf("adapter %s deleted\n", name);
    answer_fini(&answer);
    return 0;
}

int versions_delete(struct context *c, const struct args *a, struct err *e)
{
    char *name;
    const char *version;
    if (path_reference(a->operand[0], &name, &version, e) != 0)
        return -1;
    int result = delete (c, a, name, version, e);
    free(name);
    return result;
}

/* ---- canary ---- */

int versions_canary(struct context *c, const struct args *a, struct err *e)
{
    char *name, *end;
    const char *version;
    if (path_reference(a->operand[0], &name, &version, e) != 0)
        return -1;
    int off = strcmp(a->operand[1], "off") == 0, result;
    double percent = strtod(a->operand[1], &end);
    if (off ? version != NULL : !version || *end || end == a->operand[1] || !isfinite(percent))
        result = err_set(e, "usage", "say NAME@VERSION PERCENT, or NAME off");
    else
        result = move(c, a, name,
                      off ? json_pack("{s:n}", "canary")
                          : json_pack("{s:{s:s, s:f}}", "canary", "version", version, "percent", percent),
                      e);
    free(name);
    return result;
}

/* ---- what is said about it ---- */

/* KEY=VALUE sets a label, KEY- takes it away. */
int versions_label(struct context *c, const struct args *a, struct err *e)
{
    char *key = strdup(a->operand[1]);
    if (!key)
        return err_memory(e);
    char *equals = strchr(key, '=');
    size_t length = strlen(key);
    int result;
    if (equals) {
        *equals = '\0';
        result = describe(c, a, json_pack("{s:{s:s}}", "labels", key, equals + 1), e);
    } else if (length > 1 && key[length - 1] == '-') {
        key[length - 1] = '\0';
        result = describe(c, a, json_pack("{s:{s:n}}", "labels", key), e);
    } else {
        result = err_set(e, "usage", "say NAME KEY=VALUE, or NAME KEY-");
    }
    free(key);
    return result;
}

int versions_note(struct context *c, const struct args *a, struct err *e)
{
    return describe(c, a, json_pack("{s:s}", "note", a->operand[1]), e);
}

int versions_pin(struct context *c, const struct args *a, struct err *e)
{
    return describe(c, a, json_pack("{s:b}", "pinned", 1), e);
}

int versions_unpin(struct context *c, const struct args *a, struct err *e)
{
    return describe(c, a, json_pack("{s:b}", "pinned", 0), e);
}

int versions_expire(struct context *c, const struct args *a, struct err *e)
{
    int never = strcmp(a->operand[1], "never") == 0;
    return describe(c, a, json_pack("{s:s?}", "expires_at", never ? NULL : a->operand[1]), e);
}

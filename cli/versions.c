/* Which version an adapter's name means. */
#include "cli/commands.h"
#include "cli/path.h"

static int change(struct context *c, const struct args *a, json_t *body, struct err *e)
{
    struct buf path = {0};
    struct answer answer;
    const char *tenant = args_get(a, "--tenant");
    if (!body)
        return err_set(e, "usage", "what was given is not UTF-8");
    int result = buf_append_string(&path, "/adapters") != 0 || path_segment(&path, a->operand[0]) != 0 ||
                         (tenant && path_query(&path, "tenant", tenant) != 0)
                     ? err_memory(e)
                     : client_call(c->client, "PATCH", path.data, body, &answer, e);
    json_decref(body);
    buf_fini(&path);
    if (result != 0)
        return -1;
    if (c->json)
        print_answer(&answer);
    else
        result = adapters_print_versions(answer.json, e);
    answer_fini(&answer);
    return result;
}

int versions_activate(struct context *c, const struct args *a, struct err *e)
{
    return change(c, a, json_pack("{s:s}", "version", a->operand[1]), e);
}

int versions_rollback(struct context *c, const struct args *a, struct err *e)
{
    return change(c, a, json_pack("{s:b}", "rollback", 1), e);
}

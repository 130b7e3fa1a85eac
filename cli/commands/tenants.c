#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/lib/commands.h"
#include "cli/lib/confirm.h"
#include "cli/lib/list.h"
#include "cli/lib/path.h"

static void add_row(struct table *t, const json_t *tenant)
{
    table_add_member(t, tenant, "id");
    table_add_member(t, tenant, "adapters");
    table_add_time(t, tenant, "created");
}

static int print_rows(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "TENANT|>ADAPTERS|CREATED");
    json_array_foreach(rows, i, row) add_row(&t, row);
    return table_print(&t, e);
}

int tenants_list(struct context *c, const struct args *a, struct err *e)
{
    return list_show(c, a, "/tenants", &(struct list_view){.print = print_rows}, e);
}

/* One request about one tenant; `body` may be NULL. */
static int call(struct context *c, const char *method, const char *id, const json_t *body,
                struct answer *answer, struct err *e)
{
    struct buf path = {0};
    if (path_check_name("a tenant", id, e) != 0)
        return -1;
    if (buf_append_string(&path, "/tenants") != 0 || path_segment(&path, id) != 0) {
        buf_fini(&path);
        return err_memory(e);
    }
    int result = client_call(c->client, method, path.data, body, answer, e);
    buf_fini(&path);
    return result;
}

int tenants_create(struct context *c, const struct args *a, struct err *e)
{
    struct answer answer;
    json_t *quota;
    if (quota_options(a, &quota, e) != 0)
        return -1;
    json_t *body = json_pack("{s:s, s:o}", "id", a->operand[0], "quota", quota);
    if (!body)
        return err_set(e, "usage", "the tenant's name is not UTF-8");
    int result = client_call(c->client, "POST", "/tenants", body, &answer, e);
    json_decref(body);
    if (result != 0)
        return -1;
    if (c->json)
        print_answer(&answer);
    else
        printf("tenant %s created\n", a->operand[0]);
    answer_fini(&answer);
    return 0;
}

int tenants_show(struct context *c, const struct args *a, struct err *e)
{
    struct answer answer;
    int result = 0;
    if (call(c, "GET", a->operand[0], NULL, &answer, e) != 0)
        return -1;
    if (c->json) {
        print_answer(&answer);
    } else {
        struct table t;
        table_init(&t, "TENANT|>ADAPTERS|CREATED");
        add_row(&t, answer.json);
        result = table_print(&t, e);
        if (result == 0) {
            const char *adapter = json_string_value(json_object_get(answer.json, "default_adapter"));
            printf("\ndefault adapter: ");
            print_text(stdout, adapter ? adapter : "none", adapter ? strlen(adapter) : 4, 0);
            printf("\n\n");
            result = quota_print(answer.json, e);
        }
    }
    answer_fini(&answer);
    return result;
}

/* Says what would go. */
static int confirm_delete(struct context *c, const char *id, struct err *e)
{
    struct answer answer;
    char question[256];
    if (call(c, "GET", id, NULL, &answer, e) != 0)
        return -1;
    long long adapters = json_integer_value(json_object_get(answer.json, "adapters"));
    answer_fini(&answer);
    snprintf(question, sizeof question, "Delete tenant %s with %lld adapter%s and its keys, for ever?", id,
             adapters, adapters == 1 ? "" : "s");
    return confirm(question, e);
}

int tenants_delete(struct context *c, const struct args *a, struct err *e)
{
    struct answer answer;
    bool ask = !args_get(a, "--yes") && confirm_possible();
    if ((ask && confirm_delete(c, a->operand[0], e) != 0) ||
        call(c, "DELETE", a->operand[0], NULL, &answer, e) != 0)
        return -1;
    if (c->json)
        print_answer(&answer);
    else
        printf("tenant %s deleted, with its keys and adapters\n", a->operand[0]);
    answer_fini(&answer);
    return 0;
}

static int finish_quota(struct context *c, struct answer *answer, struct err *e)
{
    int result = 0;
    if (c->json)
        print_answer(answer);
    else
        result = quota_print(answer->json, e);
    answer_fini(answer);
    return result;
}

int tenants_quota(struct context *c, const struct args *a, struct err *e)
{
    struct answer answer;
    json_t *quota = NULL, *body = NULL;
    if (quota_options(a, &quota, e) != 0)
        return -1;
    bool asked = json_object_size(quota) > 0;
    if (asked)
        body = json_pack("{s:o}", "quota", quota);
    else
        json_decref(quota);
    if (asked && !body)
        return err_memory(e);
    /* where nothing is to be set, it is shown */
    int result = call(c, body ? "PATCH" : "GET", a->operand[0], body, &answer, e);
    json_decref(body);
    return result == 0 ? finish_quota(c, &answer, e) : -1;
}

int tenants_default(struct context *c, const struct args *a, struct err *e)
{
    struct answer answer;
    const char *adapter = args_get(a, "--adapter");
    if (!adapter == !args_get(a, "--base"))
        return err_set(e, "usage", "give --adapter NAME or --base");
    json_t *body = json_pack("{s:s?}", "default_adapter", adapter);
    if (!body)
        return err_set(e, "usage", "the adapter's name is not UTF-8");
    int result = call(c, "PATCH", a->operand[0], body, &answer, e);
    json_decref(body);
    if (result != 0)
        return -1;
    if (c->json)
        print_answer(&answer);
    else
        printf("requests of tenant %s that name no adapter get %s%s\n", a->operand[0],
               adapter ? "adapter " : "the bare base", adapter ? adapter : "");
    answer_fini(&answer);
    return 0;
}

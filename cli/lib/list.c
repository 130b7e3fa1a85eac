#include "cli/lib/list.h"

#include <stdio.h>
#include <string.h>

#include "cli/lib/path.h"

enum { PAGE_ITEMS = 100 };

static int page_path(struct buf *b, const char *path, long long items, const char *after, struct err *e)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", items);
    buf_clear(b);
    if (buf_append_string(b, path) != 0 || path_query(b, "limit", number) != 0 ||
        (after && path_query(b, "after", after) != 0))
        return err_memory(e);
    return 0;
}

static int not_a_list(struct context *c, struct err *e)
{
    return err_set(e, "not_a_list", "%s answered with something that is no list", client_url(c->client));
}

/* Move one page's items to the end of `all`, and its cursor with them. */
static int take_page(struct context *c, json_t *all, const json_t *page, struct err *e)
{
    json_t *data = json_object_get(page, "data"), *next = json_object_get(page, "next");
    if (!next && json_is_true(json_object_get(page, "has_more"))) /* as OpenAI's lists have it */
        next = json_object_get(page, "last_id");
    const char *before = json_string_value(json_object_get(all, "next"));
    if (!json_is_array(data) || (next && !json_is_null(next) && !json_is_string(next)))
        return not_a_list(c, e);
    if (before && json_is_string(next) && strcmp(before, json_string_value(next)) == 0)
        return err_set(e, "not_a_list", "%s gave the same cursor twice", client_url(c->client));
    if (json_array_extend(json_object_get(all, "data"), data) != 0 ||
        json_object_set_new(all, "next", next ? json_incref(next) : json_null()) != 0)
        return err_memory(e);
    return 0;
}

static int fetch_page(struct context *c, const char *path, json_t *all, struct err *e)
{
    struct answer a;
    if (client_call(c->client, "GET", path, NULL, &a, e) != 0)
        return -1;
    int result = take_page(c, all, a.json, e);
    answer_fini(&a);
    return result;
}

static int fetch_all(struct context *c, const char *path, long long limit, json_t *all, struct err *e)
{
    struct buf page = {0};
    const char *next = NULL;
    int result;
    do {
        long long have = (long long)json_array_size(json_object_get(all, "data"));
        long long wanted = limit && limit - have < PAGE_ITEMS ? limit - have : PAGE_ITEMS;
        result =
            page_path(&page, path, wanted, next, e) != 0 || fetch_page(c, page.data, all, e) != 0 ? -1 : 0;
        next = json_string_value(json_object_get(all, "next"));
        if (limit && (long long)json_array_size(json_object_get(all, "data")) >= limit)
            break;
    } while (result == 0 && next);
    buf_fini(&page);
    return result;
}

static int fetch(struct context *c, const struct args *a, const char *path, json_t **out, struct err *e)
{
    int given;
    long long limit = 0;
    if (args_integer(a, "--limit", 1, 1000000, &given, &limit, e) != 0)
        return -1;
    json_t *all = json_pack("{s:[], s:n}", "data", "next");
    if (!all)
        return err_memory(e);
    if (fetch_all(c, path, limit, all, e) != 0) {
        json_decref(all);
        return -1;
    }
    *out = all;
    return 0;
}

int list_show(struct context *c, const struct args *a, const char *path, const struct list_view *v,
              struct err *e)
{
    json_t *all = NULL;
    if (fetch(c, a, path, &all, e) != 0)
        return -1;
    const json_t *rows = json_object_get(all, "data");
    int result = c->json                ? print_json(all, e)
                 : args_get(a, "--csv") ? print_csv(rows, v->columns, v->column_count, e)
                                        : v->print(rows, e);
    json_decref(all);
    return result;
}

#include "cli/lib/commands.h"
#include "cli/lib/list.h"
#include "cli/lib/path.h"

static const char *const columns[] = {
    "day",    "tenant",        "deleted",           "adapter",       "version",       "requests",
    "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "trained_tokens"};
enum { COLUMNS = sizeof columns / sizeof *columns };

static int print_rows(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "DAY|TENANT|ADAPTER|VERSION|>REQUESTS|>ERRORS|>PROMPT|>COMPLETION|>CACHED|>TRAINED");
    json_array_foreach(rows, i, row)
    {
        table_add_member(&t, row, "day");
        table_add_member(&t, row, "tenant");
        table_add_member(&t, row, "adapter");
        table_add_digest(&t, row, "version");
        for (int k = 5; k < COLUMNS; k++)
            table_add_member(&t, row, columns[k]);
    }
    return table_print(&t, e);
}

static int usage_path(const struct args *a, struct buf *path, struct err *e)
{
    static const char *const options[][2] = {
        {"--tenant", "tenant"}, {"--adapter", "adapter"}, {"--from", "from"}, {"--to", "to"}};
    if (buf_append_string(path, "/usage") != 0)
        return err_memory(e);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const char *value = args_get(a, options[i][0]);
        if (value && path_query(path, options[i][1], value) != 0)
            return err_memory(e);
    }
    return 0;
}

static const struct list_view view = {print_rows, columns, COLUMNS};

int usage_list(struct context *c, const struct args *a, struct err *e)
{
    struct buf path = {0};
    int result = usage_path(a, &path, e);
    if (result == 0)
        result = list_show(c, a, path.data, &view, e);
    buf_fini(&path);
    return result;
}

#include <string.h>

#include "cli/lib/commands.h"
#include "cli/lib/list.h"
#include "cli/lib/path.h"

static const char *const columns[] = {"number", "time",   "actor",  "actor_tenant", "request",
                                      "action", "tenant", "target", "detail"};
enum { COLUMNS = sizeof columns / sizeof *columns };

static int print_rows(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "TIME|ACTOR|ACTION|TENANT|TARGET|DETAIL|REQUEST");
    json_array_foreach(rows, i, row)
    {
        table_add_time(&t, row, "time");
        table_add_member(&t, row, "actor");
        table_add_member(&t, row, "action");
        table_add_member(&t, row, "tenant");
        table_add_member(&t, row, "target");
        table_add_member(&t, row, "detail");
        table_add_member(&t, row, "request");
    }
    return table_print(&t, e);
}

static const struct list_view view = {print_rows, columns, COLUMNS};

/* All of them as they came to be; of a few, the last ones are what somebody wants to see. */
int audit_list(struct context *c, const struct args *a, struct err *e)
{
    struct buf path = {0};
    const char *tenant = args_get(a, "--tenant");
    bool few = args_get(a, "--limit") != NULL;
    int result = buf_append_string(&path, "/audit") != 0 ||
                         (tenant && path_query(&path, "tenant", tenant) != 0) ||
                         (few && path_query(&path, "order", "newest") != 0)
                     ? err_memory(e)
                     : list_show(c, a, path.data, &view, e);
    buf_fini(&path);
    return result;
}

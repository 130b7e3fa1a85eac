#include <string.h>

#include "cli/lib/commands.h"

static int print_problems(const json_t *problems, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "KIND|TENANT|NAME|VERSION|PROBLEM");
    json_array_foreach(problems, i, row)
    {
        table_add_member(&t, row, "kind");
        table_add_member(&t, row, "tenant");
        table_add_member(&t, row, "name");
        table_add_digest(&t, row, "version");
        table_add_member(&t, row, "message");
    }
    return table_print(&t, e);
}

/* Files that a start found and nothing needed: they come back by themselves where a version asks for them. */
static int print_quarantine(const json_t *quarantine, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row, *files = json_object_get(quarantine, "files");
    if (json_array_size(files) == 0)
        return 0;
    table_init(&t, "QUARANTINED|BYTES|SINCE|UNTIL");
    json_array_foreach(files, i, row)
    {
        table_add_member(&t, row, "name");
        table_add_member(&t, row, "bytes");
        table_add_member(&t, row, "since");
        table_add_member(&t, row, "until");
    }
    return table_print(&t, e);
}

static int print_report(const json_t *report, struct err *e)
{
    char size[PRINT_BYTES_SIZE];
    long long versions = json_integer_value(json_object_get(report, "versions"));
    long long blobs = json_integer_value(json_object_get(report, "blobs"));
    print_bytes(json_number_value(json_object_get(report, "bytes")), size);
    const json_t *problems = json_object_get(report, "problems");
    if (json_array_size(problems) > 0 && print_problems(problems, e) != 0)
        return -1;
    if (print_quarantine(json_object_get(report, "quarantine"), e) != 0)
        return -1;
    printf("checked: %lld versions, %lld blobs, %s\n", versions, blobs, size);
    return 0;
}

int fsck_check(struct context *c, const struct args *a, struct err *e)
{
    (void)a;
    struct answer answer;
    if (client_call_long(c->client, "POST", "/fsck", NULL, &answer, e) != 0)
        return -1;
    int result = 0;
    if (c->json)
        print_answer(&answer);
    else
        result = print_report(answer.json, e);
    long long count = json_integer_value(json_object_get(answer.json, "problem_count"));
    if (result == 0 && !json_is_true(json_object_get(answer.json, "ok")))
        result = err_set(e, "problems_found", "%lld problem%s found", count, count == 1 ? "" : "s");
    answer_fini(&answer);
    return result;
}

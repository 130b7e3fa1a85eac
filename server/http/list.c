#include "server/http/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void list_add(json_t **list, json_t *item)
{
    if (json_array_append_new(*list, item) == 0)
        return;
    json_decref(*list);
    *list = NULL;
}

json_t *list_json(json_t *data, bool more, const char *last)
{
    return json_pack("{s:o, s:s?}", "data", data, "next", more ? last : NULL);
}

json_t *list_json_numbered(json_t *data, bool more, int64_t last)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)last);
    return list_json(data, more, text);
}

int list_number_after(const struct request *r, int64_t *after, struct err *e)
{
    const char *text = query_text(&r->query, "after");
    *after = 0;
    if (!text)
        return 0;
    size_t digits = strspn(text, "0123456789");
    if (text[digits] || digits > 18) {
        err_set(e, "invalid_parameter", "the query parameter \"after\" must be a cursor as \"next\" gave it");
        return err_param(e, "after");
    }
    *after = strtoll(text, NULL, 10);
    return 0;
}

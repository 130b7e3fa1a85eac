#include "server/list.h"

json_t *list_json(json_t *data, bool more, const char *last)
{
    return json_pack("{s:o, s:s?}", "data", data, "next", more ? last : NULL);
}

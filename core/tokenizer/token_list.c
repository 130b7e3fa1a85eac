#include "core/tokenizer/token_list.h"

#include <stdlib.h>

int token_list_push(struct token_list *l, int32_t id)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 32;
        int32_t *ids = realloc(l->ids, capacity * sizeof *ids);
        if (!ids)
            return -1;
        l->ids = ids;
        l->capacity = capacity;
    }
    l->ids[l->count++] = id;
    return 0;
}

void token_list_fini(struct token_list *l)
{
    free(l->ids);
    *l = (struct token_list){0};
}

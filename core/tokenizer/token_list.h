/* A list of token ids that grows. Its owner is whoever made it; one thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct token_list { /* zero-initialize; free with token_list_fini */
    int32_t *ids;   /* owned */
    size_t count, capacity;
};
MUST_USE int token_list_push(struct token_list *l, int32_t id); /* 0, or -1: out of memory */
void token_list_fini(struct token_list *l);

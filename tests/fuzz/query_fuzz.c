/* The query of an address, for routes that take all parameters and for those that take some. */
#include "server/http/query.h"

#include <string.h>

#include "tests/fuzz/support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned takes[] = {0, QUERY_TENANT | QUERY_PAGE, 63};
    char *raw = fuzz_text(data, size);
    for (size_t i = 0; i < sizeof takes / sizeof *takes; i++) {
        struct query q;
        struct err e;
        if (query_init(&q, raw, &e) != 0)
            continue;
        if (query_read(&q, takes[i], &e) == 0) {
            fuzz_check(q.limit >= 1 && q.limit <= PAGE_MAX);
            for (int k = 0; k < QUERY_PARAMETERS; k++)
                fuzz_check(!q.value[k] || strlen(q.value[k]) <= size);
        }
        query_fini(&q);
    }
    free(raw);
    return 0;
}

/* The bytes of a connection: what is wrong with a request is the same however they are sliced, and stays
 * wrong. */
#include "server/wire/strict.h"

#include "tests/fuzz/fuzz.h"

static void run(struct strict *s, const uint8_t *data, size_t size, size_t slice)
{
    for (size_t at = 0; at < size; at += slice) {
        const char *before = s->problem;
        uint32_t of = s->problem_of;
        strict_read(s, data + at, slice < size - at ? slice : size - at);
        fuzz_check(!before || (s->problem == before && s->problem_of == of));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t slices[] = {1, 3, 64};
    struct strict whole = {0};
    run(&whole, data, size, size ? size : 1);
    fuzz_check(whole.problem_of <= whole.requests && !whole.problem == !whole.problem_of);
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
        struct strict s = {0};
        run(&s, data, size, slices[i]);
        fuzz_check(s.requests == whole.requests && s.problem == whole.problem &&
                   s.problem_of == whole.problem_of);
    }
    for (uint32_t request = 1; request <= whole.requests; request++)
        fuzz_check(!strict_problem(&whole, request) == !(whole.problem && whole.problem_of <= request));
    return 0;
}

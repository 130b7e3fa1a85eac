/* The bytes of a connection: what is wrong with a request, and what the library gets to see, are the same
 * however they are sliced; what is wrong stays wrong. */
#include "server/wire/strict.h"

#include <string.h>

#include "tests/fuzz/support/fuzz.h"

struct seen {
    char *bytes; /* what was passed on */
    size_t length;
};

static void run(struct strict *s, const uint8_t *data, size_t size, size_t slice, struct seen *seen)
{
    *seen = (struct seen){.bytes = fuzz_text(data, size)};
    for (size_t at = 0; at < size; at += slice) {
        const char *before = s->problem;
        uint32_t of = s->problem_of;
        size_t length = slice < size - at ? slice : size - at;
        char *arrived = fuzz_text(data + at, length);
        size_t passed = strict_read(s, arrived, length);
        fuzz_check(passed <= length && (!before || (s->problem == before && s->problem_of == of)));
        memcpy(seen->bytes + seen->length, arrived, passed);
        seen->length += passed;
        free(arrived);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t slices[] = {1, 3, 64};
    struct strict whole = {0};
    struct seen wanted, found;
    run(&whole, data, size, size ? size : 1, &wanted);
    fuzz_check(whole.problem_of <= whole.requests && !whole.problem == !whole.problem_of);
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
        struct strict s = {0};
        run(&s, data, size, slices[i], &found);
        fuzz_check(s.requests == whole.requests && s.problem == whole.problem &&
                   s.problem_of == whole.problem_of);
        fuzz_check(found.length == wanted.length && memcmp(found.bytes, wanted.bytes, wanted.length) == 0);
        free(found.bytes);
    }
    for (uint32_t request = 1; request <= whole.requests; request++)
        fuzz_check(!strict_problem(&whole, request) == !(whole.problem && whole.problem_of <= request));
    free(wanted.bytes);
    return 0;
}

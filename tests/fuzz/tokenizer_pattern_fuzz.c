/* Regular expressions of tokenizer.json, from Oniguruma's syntax to PCRE2's: what is translated compiles, and
 * its matches go forward. */
#include "core/unicode/pattern.h"

#include <string.h>

#include "core/base/utf8.h"
#include "tests/fuzz/support/fuzz.h"

static const char text[] =
    "It's 12 o'clock,\r\n  na\xC3\xAFve \xE4\xBD\xA0\xE5\xA5\xBD \xD9\xA3 _x\xF0\x9F\x98\x80!!";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pattern *p;
    struct pattern_work *work;
    struct pattern_scan scan;
    struct err e;
    size_t start, end, before = 0;
    if (!utf8_valid((const char *)data, size)) /* no file of that kind comes as far as here */
        return 0;
    if (pattern_new_regex(&p, (const char *)data, size, &e) != 0) {
        fuzz_check(strcmp(e.code, "tokenizer_unsupported") == 0);
        return 0;
    }
    fuzz_check(pattern_work_new(&work, &e) == 0);
    pattern_scan_init(&scan, p, work, text, sizeof text - 1);
    for (int matches = 0; pattern_scan_next(&scan, &start, &end, &e) == 1; matches++) {
        fuzz_check(start <= end && end <= sizeof text - 1 && start >= before);
        fuzz_check(matches <= (int)sizeof text);
        before = end;
    }
    pattern_work_free(work);
    pattern_free(p);
    return 0;
}

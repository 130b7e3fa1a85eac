/* Archives of backups: the same files, or the same refusal, however the bytes are sliced. */
#include "core/format/tar.h"

#include <stdbool.h>
#include <string.h>

#include "core/base/buf.h"
#include "tests/fuzz/support/fuzz.h"

static int begin(void *arg, const char *name, uint64_t size, struct err *e)
{
    (void)e;
    fuzz_check(name[0] && strlen(name) <= TAR_NAME_MAX && size <= TAR_FILE_BYTES_MAX);
    return buf_printf(arg, "<%s|%llu>", name, (unsigned long long)size);
}

static int data_came(void *arg, const void *bytes, size_t length, struct err *e)
{
    (void)e;
    return buf_append(arg, bytes, length);
}

static int end(void *arg, struct err *e)
{
    (void)e;
    return buf_append_string(arg, "</>");
}

static bool run(const uint8_t *data, size_t size, size_t slice, struct buf *out)
{
    struct tar_reader t = {.handler = {begin, data_came, end, out}};
    struct err e;
    int result = 0;
    for (size_t at = 0; at < size && result == 0; at += slice)
        result = tar_feed(&t, data + at, slice < size - at ? slice : size - at, &e);
    return result == 0 && tar_finish(&t, &e) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0}, sliced = {0};
    bool well = run(data, size, size ? size : 1, &whole);
    fuzz_check(run(data, size, 37, &sliced) == well);
    fuzz_check(!well || (sliced.length == whole.length &&
                         (!whole.length || memcmp(sliced.data, whole.data, whole.length) == 0)));
    buf_fini(&whole);
    buf_fini(&sliced);
    return 0;
}

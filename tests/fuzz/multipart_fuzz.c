/* Forms: the same parts, or the same refusal, however the bytes are sliced. */
#include "core/format/multipart.h"

#include <string.h>

#include "tests/fuzz/support/fuzz.h"

/* What came out, in a form that tells parts from their bytes. */
static int begin(void *arg, const char *name, const char *filename, struct err *e)
{
    (void)e;
    return buf_printf(arg, "<%s|%s>", name, filename);
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

/* Did the whole arrive well? */
static bool run(const uint8_t *data, size_t size, size_t slice, struct buf *out)
{
    struct multipart m;
    struct err e;
    const struct multipart_handler h = {begin, data_came, end, out};
    int result = multipart_init(&m, "multipart/form-data; boundary=xx", &h, &e);
    fuzz_check(result == 0);
    for (size_t at = 0; at < size && result == 0; at += slice)
        result = multipart_feed(&m, data + at, slice < size - at ? slice : size - at, &e);
    if (result == 0)
        result = multipart_finish(&m, &e);
    multipart_fini(&m);
    return result == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t slices[] = {1, 7};
    struct buf whole = {0};
    bool well = run(data, size, size ? size : 1, &whole);
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
        struct buf sliced = {0};
        fuzz_check(run(data, size, slices[i], &sliced) == well);
        fuzz_check(!well || (sliced.length == whole.length &&
                             (!whole.length || memcmp(sliced.data, whole.data, whole.length) == 0)));
        buf_fini(&sliced);
    }
    buf_fini(&whole);

    /* The same bytes as a Content-Type. */
    struct multipart m;
    struct err e;
    const struct multipart_handler h = {begin, data_came, end, &whole};
    char *type = fuzz_text(data, size);
    if (multipart_init(&m, type, &h, &e) == 0)
        multipart_fini(&m);
    free(type);
    buf_fini(&whole);
    return 0;
}

#include "core/format/safetensors_write.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "core/base/buf.h"

enum { ALIGNMENT = 8 }; /* of the data, which begin behind the header */

static size_t tensor_bytes(const struct safetensors_out *t)
{
    return (size_t)t->rows * (size_t)(t->cols ? t->cols : 1) * sizeof(float);
}

/* Names need no escapes. */
static void check_name(const char *name)
{
    assert(name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == '\0');
    (void)name;
}

static int append_tensor(struct buf *header, const struct safetensors_out *t, size_t at)
{
    check_name(t->name);
    if (buf_printf(header, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[%d", t->name, t->rows) != 0 ||
        (t->cols && buf_printf(header, ",%d", t->cols) != 0))
        return -1;
    return buf_printf(header, "],\"data_offsets\":[%zu,%zu]}", at, at + tensor_bytes(t));
}

/* Length, JSON, and spaces up to a whole number of words. */
static int make_header(struct buf *header, const struct safetensors_out *tensors, size_t count)
{
    const char length[8] = {0};
    size_t at = 0;
    if (buf_append(header, length, sizeof length) != 0 ||
        buf_append_string(header, "{\"__metadata__\":{\"format\":\"pt\"}") != 0)
        return -1;
    for (size_t i = 0; i < count; at += tensor_bytes(&tensors[i++]))
        if (append_tensor(header, &tensors[i], at) != 0)
            return -1;
    if (buf_append_string(header, "}") != 0)
        return -1;
    while (header->length % ALIGNMENT != 0)
        if (buf_append_string(header, " ") != 0)
            return -1;
    uint64_t json = header->length - sizeof length;
    for (size_t i = 0; i < sizeof length; i++)
        header->data[i] = (char)(json >> (8 * i));
    return 0;
}

int safetensors_write(const struct safetensors_out *tensors, size_t count,
                      int (*write)(void *arg, const void *data, size_t length, struct err *e), void *arg,
                      struct err *e)
{
    struct buf header = {0};
    int result = make_header(&header, tensors, count) == 0 ? 0 : err_memory(e);
    if (result == 0)
        result = write(arg, header.data, header.length, e);
    for (size_t i = 0; result == 0 && i < count; i++)
        result = write(arg, tensors[i].values, tensor_bytes(&tensors[i]), e);
    buf_fini(&header);
    return result;
}

#include "core/base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int buf_reserve(struct buf *b, size_t more)
{
    if (more > SIZE_MAX / 2 - b->length)
        return -1;
    size_t need = b->length + more + 1;
    if (need <= b->capacity)
        return 0;
    size_t capacity = b->capacity ? b->capacity : 64;
    while (capacity < need)
        capacity *= 2;
    char *data = malloc(capacity); /* not realloc: it would leave the old bytes where they were */
    if (!data)
        return -1;
    if (b->data) {
        memcpy(data, b->data, b->length);
        explicit_bzero(b->data, b->capacity);
        free(b->data);
    }
    b->data = data;
    b->capacity = capacity;
    b->data[b->length] = '\0';
    return 0;
}

int buf_append(struct buf *b, const void *data, size_t length)
{
    if (buf_reserve(b, length) != 0)
        return -1;
    if (length)
        memcpy(b->data + b->length, data, length);
    b->length += length;
    b->data[b->length] = '\0';
    return 0;
}

int buf_append_string(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0 || buf_reserve(b, (size_t)length) != 0)
        return -1;
    va_start(arguments, format);
    vsnprintf(b->data + b->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    b->length += (size_t)length;
    return 0;
}

void buf_clear(struct buf *b)
{
    b->length = 0;
    if (b->data)
        b->data[0] = '\0';
}

void buf_consume(struct buf *b, size_t count)
{
    if (count == 0)
        return;
    memmove(b->data, b->data + count, b->length - count + 1);
    b->length -= count;
}

void buf_fini(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->capacity);
    free(b->data);
    *b = (struct buf){0};
}

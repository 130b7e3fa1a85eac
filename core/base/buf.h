/* A growable byte buffer. The caller's storage; one thread at a time. Zero-initialize it, free it with
 * buf_fini. Whatever it held is overwritten before its memory goes back: prompts, answers and keys pass
 * through here. */
#pragma once
#include <stddef.h>

struct buf {
    char *data; /* owned; NUL-terminated whenever not NULL */
    size_t length, capacity;
};

/* Append; 0, or -1 when memory ran out (the buffer keeps what it had). */
int buf_append(struct buf *b, const void *data, size_t length);
int buf_append_string(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_reserve(struct buf *b, size_t more);   /* room for `more` bytes behind the present ones */
void buf_clear(struct buf *b);                 /* length 0, memory kept */
void buf_consume(struct buf *b, size_t count); /* drop the first `count` bytes */
void buf_fini(struct buf *b);

/* JSON lines as a stream: bytes go in as they come, lines come out; the line in hand is all that is kept. A
 * byte order mark in front of the first line is passed over, a CR before a line's end with it; lines of
 * nothing but space are counted, not handed out. No other character ends a line. Knows nothing of JSON. No
 * I/O; one thread at a time. */
#pragma once
#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum { JSONL_LINE_BYTES_MAX = 4 << 20 };

struct jsonl { /* fill the first two, zero the rest; free with jsonl_fini */
    /* The line, without its end; `number` counts from 1. -1 ends it. */
    int (*line)(void *arg, size_t number, const char *text, size_t length, struct err *e);
    void *arg;
    size_t ended;    /* lines whose end was seen */
    struct buf rest; /* of the line whose end was not */
};

/* Errors: "invalid_training_file" for a line that is too long, "out_of_memory", the callback's. Not to be
 * called again after one. */
MUST_USE int jsonl_feed(struct jsonl *j, const void *bytes, size_t length, struct err *e);
/* Nothing more comes: the last line needs no end. */
MUST_USE int jsonl_finish(struct jsonl *j, struct err *e);
void jsonl_fini(struct jsonl *j);
/* "invalid_training_file" of this line: "line 3: ..."; it keeps the hint. Other errors stay as they are.
 * Returns -1. */
int jsonl_error(struct err *e, size_t number);

#include "core/format/tar.h"

#include <stdio.h>
#include <string.h>

/* Fields of a header: where they begin and how long they are. */
enum {
    NAME = 0,
    MODE = 100,
    UID = 108,
    GID = 116,
    SIZE = 124,
    TIME = 136,
    CHECKSUM = 148,
    TYPE = 156,
    MAGIC = 257,
    PREFIX = 345,
    SIZE_DIGITS = 11,
    CHECKSUM_BYTES = 8
};

static unsigned checksum(const char block[TAR_BLOCK])
{
    unsigned sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= CHECKSUM && i < CHECKSUM + CHECKSUM_BYTES ? ' ' : (unsigned char)block[i];
    return sum;
}

void tar_header(const char *name, uint64_t size, int64_t unix_seconds, char out[TAR_BLOCK])
{
    memset(out, 0, TAR_BLOCK);
    snprintf(out + NAME, TAR_NAME_MAX + 1, "%s", name);
    strcpy(out + MODE, "0000600");
    strcpy(out + UID, "0000000");
    strcpy(out + GID, "0000000");
    snprintf(out + SIZE, SIZE_DIGITS + 1, "%011llo", (unsigned long long)(size & TAR_FILE_BYTES_MAX));
    snprintf(out + TIME, SIZE_DIGITS + 1, "%011llo", (unsigned long long)unix_seconds & TAR_FILE_BYTES_MAX);
    out[TYPE] = '0';
    memcpy(out + MAGIC, "ustar\00000", 8);
    snprintf(out + CHECKSUM, CHECKSUM_BYTES, "%06o", checksum(out) & 0777777);
    out[CHECKSUM + CHECKSUM_BYTES - 1] = ' ';
}

size_t tar_padding(uint64_t size)
{
    return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}

/* ---- reading ---- */

static int malformed(struct err *e, const char *problem)
{
    return err_set(e, "archive_malformed", "the archive is damaged: %s", problem);
}

/* `digits` octal digits and a NUL or space behind them. */
static int read_octal(const char *text, size_t digits, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '7')
            return -1;
        value = value * 8 + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return text[digits] == '\0' || text[digits] == ' ' ? 0 : -1;
}

static int is_zero(const char block[TAR_BLOCK])
{
    for (size_t i = 0; i < TAR_BLOCK; i++)
        if (block[i])
            return 0;
    return 1;
}

static int end_file(struct tar_reader *t, struct err *e)
{
    return t->handler.end(t->handler.arg, e);
}

static int read_header(struct tar_reader *t, struct err *e)
{
    uint64_t sum, size;
    t->have = 0;
    if (is_zero(t->block)) {
        t->ended = 1;
        return 0;
    }
    if (read_octal(t->block + CHECKSUM, 6, &sum) != 0 || sum != checksum(t->block))
        return malformed(e, "a header's checksum is wrong");
    if (read_octal(t->block + SIZE, SIZE_DIGITS, &size) != 0 || (t->block[TYPE] != '0' && t->block[TYPE]) ||
        memcmp(t->block + MAGIC, "ustar", 5) != 0 || t->block[PREFIX] || !t->block[NAME] ||
        t->block[TAR_NAME_MAX])
        return malformed(e, "an entry is no plain file");
    t->left = size;
    t->padding = tar_padding(size);
    if (t->handler.begin(t->handler.arg, t->block, size, e) != 0)
        return -1;
    return size == 0 ? end_file(t, e) : 0;
}

static size_t least(size_t a, uint64_t b)
{
    return b < a ? (size_t)b : a;
}

/* One step; how many bytes it took goes to *used. */
static int step(struct tar_reader *t, const char *bytes, size_t length, size_t *used, struct err *e)
{
    if (t->left > 0) {
        *used = least(length, t->left);
        t->left -= *used;
        if (t->handler.data(t->handler.arg, bytes, *used, e) != 0)
            return -1;
        return t->left == 0 ? end_file(t, e) : 0;
    }
    if (t->padding > 0) {
        *used = least(length, t->padding);
        t->padding -= *used;
        return 0;
    }
    *used = least(length, TAR_BLOCK - t->have);
    memcpy(t->block + t->have, bytes, *used);
    t->have += *used;
    return t->have == TAR_BLOCK ? read_header(t, e) : 0;
}

int tar_feed(struct tar_reader *t, const void *bytes, size_t length, struct err *e)
{
    const char *next = bytes;
    while (length > 0 && !t->ended) {
        size_t used;
        if (step(t, next, length, &used, e) != 0)
            return -1;
        next += used;
        length -= used;
    }
    return 0;
}

int tar_finish(const struct tar_reader *t, struct err *e)
{
    return t->ended ? 0 : malformed(e, "its end is missing");
}

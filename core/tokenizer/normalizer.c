#include "core/tokenizer/normalizer.h"

#include <stdlib.h>

#include "core/base/utf8.h"
#include "core/unicode/nfc.h"

int normalizer_prepend(const char *prefix, size_t length, struct piece *p, struct buf *out, struct err *e)
{
    size_t offset = out->length;
    if (buf_append(out, prefix, length) != 0 || buf_append(out, p->text, p->length) != 0)
        return err_memory(e);
    p->text = out->data + offset;
    p->length += length;
    if (p->start_bytes > 0)
        p->start_bytes += length; /* what is put in front stands for the place of the first character */
    return 0;
}

/* Copy the text between matches. While everything so far stands for the start of the text, `start` follows
 * along. */
static int copy_between(struct piece *p, size_t from, size_t to, size_t *start, struct buf *out,
                        struct err *e)
{
    if (from < p->start_bytes)
        *start += (to < p->start_bytes ? to : p->start_bytes) - from;
    return buf_append(out, p->text + from, to - from) == 0 ? 0 : err_memory(e);
}

int normalizer_replace(const struct pattern *pattern, const char *content, size_t content_length,
                       struct pattern_work *w, struct piece *p, struct buf *out, struct err *e)
{
    size_t offset = out->length, last = 0, from, to, start = 0;
    struct pattern_scan scan;
    pattern_scan_init(&scan, pattern, w, p->text, p->length);
    int found;
    while ((found = pattern_scan_next(&scan, &from, &to, e)) == 1) {
        if (copy_between(p, last, from, &start, out, e) != 0)
            return -1;
        /* The new characters stand for the place of the last one replaced. */
        if (p->start_bytes > 0 && (to == 0 || to - 1 < p->start_bytes))
            start += content_length;
        if (buf_append(out, content, content_length) != 0)
            return err_memory(e);
        last = to;
    }
    if (found < 0 || copy_between(p, last, p->length, &start, out, e) != 0)
        return -1;
    p->text = out->data + offset;
    p->length = out->length - offset;
    p->start_bytes = start;
    return 0;
}

/* How many bytes of the composed text stand for the start of the text: what did not change up to there, or
 * else that and the character which the first change made. */
static size_t start_of_composed(const struct piece *p, const struct buf *composed)
{
    size_t same = 0;
    while (same < p->start_bytes && same < composed->length && p->text[same] == composed->data[same])
        same++;
    if (same == p->start_bytes || same == composed->length)
        return same;
    while (same > 0 && ((unsigned char)composed->data[same] & 0xC0) == 0x80)
        same--;
    return same + utf8_size(composed->data[same]);
}

static int compose(struct piece *p, struct buf *out, struct err *e)
{
    if (nfc_append(p->text, p->length, out, e) != 0)
        return -1;
    p->start_bytes = start_of_composed(p, out);
    p->text = out->data;
    p->length = out->length;
    return 0;
}

static int apply_step(const struct normalizer_step *s, struct pattern_work *w, struct piece *p,
                      struct buf *out, struct err *e)
{
    switch (s->kind) {
    case NORMALIZER_NFC:
        return compose(p, out, e);
    case NORMALIZER_PREPEND:
        return normalizer_prepend(s->content, s->content_length, p, out, e);
    default:
        return normalizer_replace(s->pattern, s->content, s->content_length, w, p, out, e);
    }
}

int normalizer_apply(const struct normalizer *n, struct pattern_work *w, struct buf buffers[2],
                     struct piece *p, struct err *e)
{
    for (size_t i = 0; i < n->count && p->length > 0; i++) {
        buf_clear(&buffers[i % 2]);
        if (buf_reserve(&buffers[i % 2], p->length) !=
            0) /* so that there is memory even for an empty result */
            return err_memory(e);
        if (apply_step(&n->steps[i], w, p, &buffers[i % 2], e) != 0)
            return -1;
        if (p->length > PIECE_BYTES_MAX)
            return err_set(e, "text_too_long", "the normalized text has %zu bytes, at most %d are taken",
                           p->length, PIECE_BYTES_MAX);
    }
    return 0;
}

void normalizer_fini(struct normalizer *n)
{
    for (size_t i = 0; i < n->count; i++) {
        pattern_free(n->steps[i].pattern);
        free(n->steps[i].content);
    }
    n->count = 0;
}

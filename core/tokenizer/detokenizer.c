#include "core/tokenizer/detokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/utf8.h"
#include "core/tokenizer/tokenizer_private.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

void decoder_fini(struct decoder *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->steps[i].pattern);
        free(d->steps[i].content);
    }
    d->count = 0;
}

struct walk { /* one push or finish */
    struct detokenizer *d;
    struct buf *out;
    struct err *e;
};

/* Hand a token (or, behind a fusing step, whole characters of the one token) to a step. The depth is that of
 * the steps, at most DECODER_STEPS_MAX. */
static int pass(struct walk *w, size_t step, const char *text, size_t length);

static int pass_repeated(struct walk *w, size_t step, const char *text, size_t length, size_t times)
{
    for (size_t i = 0; i < times; i++)
        if (pass(w, step, text, length) != 0)
            return -1;
    return 0;
}

static int replace(struct walk *w, size_t step, const char *text, size_t length)
{
    const struct decoder_step *s = &w->d->tokenizer->decoder.steps[step];
    struct buf result = {0};
    int failed = 0;
    size_t at = 0;
    for (const char *found;
         !failed && (found = memmem(text + at, length - at, s->pattern, s->pattern_length));) {
        size_t start = (size_t)(found - text);
        failed = buf_append(&result, text + at, start - at) != 0 ||
                 buf_append(&result, s->content, s->content_length) != 0;
        at = start + s->pattern_length;
    }
    failed = failed || buf_append(&result, text + at, length - at) != 0;
    int status = failed ? err_memory(w->e) : pass(w, step + 1, result.data, result.length);
    buf_fini(&result);
    return status;
}

/* Bytes of the up to `limit` characters `character` at the beginning. */
static size_t leading(const char *text, size_t length, uint32_t character, size_t limit, size_t *count)
{
    size_t at = 0, size;
    for (*count = 0; at < length && *count < limit && utf8_decode(text + at, &size) == character; ++*count)
        at += size;
    return at;
}

static size_t trailing(const char *text, size_t length, uint32_t character, size_t limit, size_t *count)
{
    size_t end = length, size;
    for (*count = 0; end > 0 && *count < limit; ++*count) {
        size_t before = utf8_before(text, end);
        if (utf8_decode(text + before, &size) != character)
            break;
        end = before;
    }
    return length - end;
}

static int strip_token(struct walk *w, size_t step, const char *text, size_t length)
{
    const struct decoder_step *s = &w->d->tokenizer->decoder.steps[step];
    size_t count;
    size_t front = leading(text, length, s->character, s->start, &count);
    size_t back = trailing(text + front, length - front, s->character, s->stop, &count);
    return pass(w, step + 1, text + front, length - front - back);
}

/* Strip behind Fuse: the front goes once, and what may be the end is held back until more comes. */
static int strip_stream(struct walk *w, size_t step, const char *text, size_t length)
{
    const struct decoder_step *s = &w->d->tokenizer->decoder.steps[step];
    struct detokenizer *d = w->d;
    char character[4];
    size_t size = utf8_encode(s->character, character), count;
    size_t front = leading(text, length, s->character, s->start - d->stripped, &count);
    d->stripped = front < length ? s->start : d->stripped + count;
    text += front;
    length -= front;
    if (length == 0)
        return 0;
    size_t back = trailing(text, length, s->character, s->stop, &count);
    size_t held = d->held, release = back < length            ? held
                                     : held + count > s->stop ? held + count - s->stop
                                                              : 0;
    d->held = back < length ? count : held + count - release;
    if (pass_repeated(w, step + 1, character, size, release) != 0)
        return -1;
    return back < length ? pass(w, step + 1, text, length - back) : 0;
}

static int metaspace(struct walk *w, size_t step, const char *text, size_t length)
{
    const struct decoder_step *s = &w->d->tokenizer->decoder.steps[step];
    bool first = s->fused || !w->d->started;
    w->d->started = true;
    struct buf result = {0};
    int failed = buf_reserve(&result, length);
    for (size_t at = 0, size; !failed && at < length; at += size) {
        if (utf8_decode(text + at, &size) != s->character)
            failed = buf_append(&result, text + at, size);
        else if (!first || !s->drop_first)
            failed = buf_append(&result, " ", 1);
    }
    int status = failed ? err_memory(w->e) : pass(w, step + 1, result.data, result.length);
    buf_fini(&result);
    return status;
}

/* The byte that a token of the form <0xNN> names, -1: another token. "<0x+5>" names 5, since the reference
 * takes what is there for a number, which may have a sign. */
static int named_byte(const char *text, size_t length)
{
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    int high = text[3] == '+' ? 0 : hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A run of byte tokens is over. One bad byte spoils the whole run, which is why none of it could be shown
 * before. */
static int end_byte_run(struct walk *w, size_t step)
{
    struct buf run = w->d->pending;
    if (run.length == 0)
        return 0;
    w->d->pending = (struct buf){0};
    int status = utf8_valid(run.data, run.length) ? pass(w, step + 1, run.data, run.length)
                                                  : pass_repeated(w, step + 1, REPLACEMENT, 3, run.length);
    buf_clear(&run);
    w->d->pending = run;
    return status;
}

static int byte_fallback(struct walk *w, size_t step, const char *text, size_t length)
{
    int byte = named_byte(text, length);
    if (byte >= 0) {
        char c = (char)byte;
        return buf_append(&w->d->pending, &c, 1) == 0 ? 0 : err_memory(w->e);
    }
    return end_byte_run(w, step) != 0 ? -1 : pass(w, step + 1, text, length);
}

/* The bytes a token of the byte alphabet stands for; a token with other characters stands for itself. */
static int append_bytes(struct buf *bytes, const char *text, size_t length)
{
    size_t before = bytes->length;
    if (buf_reserve(bytes, length) != 0)
        return -1;
    for (size_t at = 0, size; at < length; at += size) {
        int byte = byte_alphabet_byte(utf8_decode(text + at, &size));
        if (byte < 0) {
            bytes->length = before;
            return buf_append(bytes, text, length);
        }
        bytes->data[bytes->length++] = (char)byte;
    }
    return 0;
}

/* Pass on what is whole in the pending bytes, U+FFFD for what can become nothing, and keep the rest. */
static int drain_bytes(struct walk *w, size_t step, bool last)
{
    struct buf *pending = &w->d->pending;
    size_t start = 0, at = 0, size;
    while (at < pending->length) {
        enum utf8_kind kind = utf8_next(pending->data + at, pending->length - at, &size);
        if (kind == UTF8_PARTIAL && !last)
            break;
        if (kind != UTF8_WHOLE) {
            if ((at > start && pass(w, step + 1, pending->data + start, at - start) != 0) ||
                pass(w, step + 1, REPLACEMENT, 3) != 0)
                return -1;
            start = at + size;
        }
        at += size;
    }
    if (at > start && pass(w, step + 1, pending->data + start, at - start) != 0)
        return -1;
    buf_consume(pending, at);
    return 0;
}

static int byte_level(struct walk *w, size_t step, const char *text, size_t length)
{
    return append_bytes(&w->d->pending, text, length) != 0 ? err_memory(w->e) : drain_bytes(w, step, false);
}

static int pass(struct walk *w, size_t step, const char *text, size_t length)
{
    const struct decoder *decoder = &w->d->tokenizer->decoder;
    if (step == decoder->count)
        return buf_append(w->out, text, length) == 0 ? 0 : err_memory(w->e);
    switch (decoder->steps[step].kind) {
    case DECODER_REPLACE:
        return replace(w, step, text, length);
    case DECODER_STRIP:
        return decoder->steps[step].fused ? strip_stream(w, step, text, length)
                                          : strip_token(w, step, text, length);
    case DECODER_METASPACE:
        return metaspace(w, step, text, length);
    case DECODER_BYTE_FALLBACK:
        return byte_fallback(w, step, text, length);
    case DECODER_BYTE_LEVEL:
        return byte_level(w, step, text, length);
    default:
        return pass(w, step + 1, text, length);
    }
}

void detokenizer_init(struct detokenizer *d, const struct tokenizer *t, bool skip_special_tokens)
{
    *d = (struct detokenizer){.tokenizer = t, .skip_special_tokens = skip_special_tokens};
}

int detokenizer_push(struct detokenizer *d, int32_t id, struct buf *out, struct err *e)
{
    const struct tokenizer *t = d->tokenizer;
    size_t length;
    const char *text = tokenizer_string(t, id, &length);
    if (!text || (d->skip_special_tokens && tokenizer_id_at(t, id)->skipped))
        return 0;
    struct walk walk = {.d = d, .out = out, .e = e};
    if (t->decoder.present)
        return pass(&walk, 0, text, length);
    bool first = !d->started;
    d->started = true;
    return (first || buf_append(out, " ", 1) == 0) && buf_append(out, text, length) == 0 ? 0 : err_memory(e);
}

int detokenizer_finish(struct detokenizer *d, struct buf *out, struct err *e)
{
    struct walk walk = {.d = d, .out = out, .e = e};
    const struct decoder *decoder = &d->tokenizer->decoder;
    for (size_t i = 0; i < decoder->count; i++) {
        enum decoder_kind kind = decoder->steps[i].kind;
        if (kind == DECODER_BYTE_FALLBACK && end_byte_run(&walk, i) != 0)
            return -1;
        if (kind == DECODER_BYTE_LEVEL && drain_bytes(&walk, i, true) != 0)
            return -1;
    }
    return 0;
}

void detokenizer_fini(struct detokenizer *d)
{
    buf_fini(&d->pending);
}

int detokenizer_bytes(const struct tokenizer *t, const char *text, size_t length, struct buf *out)
{
    for (size_t i = 0; i < t->decoder.count; i++) {
        enum decoder_kind kind = t->decoder.steps[i].kind;
        int byte = kind == DECODER_BYTE_FALLBACK ? named_byte(text, length) : -1;
        if (kind == DECODER_BYTE_LEVEL)
            return append_bytes(out, text, length) == 0 ? 1 : -1;
        if (byte >= 0)
            return buf_append(out, &(char){(char)byte}, 1) == 0 ? 1 : -1;
    }
    return 0;
}

#include "core/tokenizer/pretokenizer.h"

#include <string.h>

#include "core/base/utf8.h"
#include "core/tokenizer/normalizer.h"

void pretokenizer_fini(struct pretokenizer *p)
{
    for (size_t i = 0; i < p->count; i++)
        pattern_free(p->stages[i].pattern);
    p->count = 0;
}

void pretokenizer_run_fini(struct pretokenizer_run *run)
{
    for (size_t i = 0; i < STAGES_MAX; i++)
        buf_fini(&run->buffers[i]);
}

static int feed(struct pretokenizer_run *run, size_t stage, struct piece piece);

/* ---- the byte alphabet ---- */

static bool stands_for_itself(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/* The others are, in order: 0x00-0x20, 0x7F-0xA0, 0xAD. */
uint32_t byte_alphabet_character(unsigned char byte)
{
    if (stands_for_itself(byte))
        return byte;
    return 0x100u + (byte <= 0x20 ? byte : byte <= 0xA0 ? byte - 0x7Fu + 0x21u : 0x43u);
}

int byte_alphabet_byte(uint32_t code)
{
    if (code < 0x100)
        return stands_for_itself(code) ? (int)code : -1;
    if (code > 0x143)
        return -1;
    int index = (int)code - 0x100;
    return index <= 0x20 ? index : index == 0x43 ? 0xAD : index - 0x21 + 0x7F;
}

static int to_bytes(struct pretokenizer_run *run, size_t stage, struct piece p)
{
    struct buf *out = &run->buffers[stage];
    buf_clear(out);
    if (buf_reserve(out, p.length * 2) != 0)
        return err_memory(run->e);
    size_t start_bytes = 0;
    for (size_t i = 0; i < p.length; i++) {
        out->length +=
            utf8_encode(byte_alphabet_character((unsigned char)p.text[i]), out->data + out->length);
        if (i < p.start_bytes)
            start_bytes = out->length;
    }
    return feed(run, stage + 1, (struct piece){out->data, out->length, p.at_start, start_bytes});
}

static int prefix_space(struct pretokenizer_run *run, size_t stage, struct piece p)
{
    buf_clear(&run->buffers[stage]);
    if (p.text[0] != ' ' && normalizer_prepend(" ", 1, &p, &run->buffers[stage], run->e) != 0)
        return -1;
    return feed(run, stage + 1, p);
}

/* ---- metaspace ---- */

static int metaspace(struct pretokenizer_run *run, size_t stage, struct piece p)
{
    const struct stage *s = &run->pretokenizer->stages[stage];
    bool wanted = s->prepend == PREPEND_ALWAYS || (s->prepend == PREPEND_FIRST && p.at_start);
    bool there = p.text[0] == ' ' || (p.length >= s->replacement_length &&
                                      memcmp(p.text, s->replacement, s->replacement_length) == 0);
    struct buf *out = &run->buffers[stage];
    buf_clear(out);
    size_t prefix = wanted && !there ? s->replacement_length : 0;
    if (buf_append(out, s->replacement, prefix) != 0)
        return err_memory(run->e);
    if (normalizer_replace(s->pattern, s->replacement, s->replacement_length, run->work, &p, out, run->e) !=
        0)
        return -1;
    p.text -= prefix;
    p.length += prefix;
    if (p.start_bytes > 0)
        p.start_bytes += prefix;
    return feed(run, stage + 1, p);
}

/* ---- splitting ---- */

struct splitter { /* puts the stretches of one piece together as the behavior says */
    struct pretokenizer_run *run;
    size_t stage; /* that gets the results */
    struct piece piece;
    enum split_behavior behavior;
    bool held; /* a stretch waits for what comes next: */
    size_t from, to;
    bool held_match, last_match;
};

static int pass(struct splitter *s, size_t from, size_t to)
{
    return from == to ? 0 : feed(s->run, s->stage, piece_slice(s->piece, from, to));
}

static int pass_held(struct splitter *s)
{
    bool held = s->held;
    s->held = false;
    return held ? pass(s, s->from, s->to) : 0;
}

static void hold(struct splitter *s, size_t from, size_t to, bool match)
{
    s->held = true;
    s->from = from;
    s->to = to;
    s->held_match = match;
}

static bool joins_held(const struct splitter *s, bool match)
{
    if (!s->held)
        return false;
    switch (s->behavior) {
    case SPLIT_CONTIGUOUS:
        return match == s->last_match;
    case SPLIT_MERGED_WITH_PREVIOUS:
        return match && !s->last_match;
    default: /* SPLIT_MERGED_WITH_NEXT */
        return s->held_match && !match;
    }
}

/* The next stretch of the piece: a match or what lies between matches. */
static int add_stretch(struct splitter *s, size_t from, size_t to, bool match)
{
    if (s->behavior == SPLIT_ISOLATED)
        return pass(s, from, to);
    if (s->behavior == SPLIT_REMOVED)
        return match ? 0 : pass(s, from, to);
    if (joins_held(s, match)) {
        s->to = to;
        s->held_match = match;
    } else {
        if (pass_held(s) != 0)
            return -1;
        hold(s, from, to, match);
    }
    s->last_match = match;
    return 0;
}

static int split(struct pretokenizer_run *run, size_t stage, struct piece p)
{
    const struct stage *s = &run->pretokenizer->stages[stage];
    struct splitter splitter = {.run = run, .stage = stage + 1, .piece = p, .behavior = s->behavior};
    struct pattern_scan scan;
    pattern_scan_init(&scan, s->pattern, run->work, p.text, p.length);
    size_t last = 0, from, to;
    int found;
    while ((found = pattern_scan_next(&scan, &from, &to, run->e)) == 1) {
        if (last != from && add_stretch(&splitter, last, from, s->invert) != 0)
            return -1;
        if (add_stretch(&splitter, from, to, !s->invert) != 0)
            return -1;
        last = to;
    }
    if (found < 0 || (last != p.length && add_stretch(&splitter, last, p.length, s->invert) != 0))
        return -1;
    return pass_held(&splitter);
}

/* The depth is that of the stages, at most STAGES_MAX. */
static int feed(struct pretokenizer_run *run, size_t stage, struct piece p)
{
    if (p.length == 0)
        return 0;
    if (stage == run->pretokenizer->count)
        return run->word(run->arg, p.text, p.length, run->e);
    switch (run->pretokenizer->stages[stage].kind) {
    case STAGE_SPLIT:
        return split(run, stage, p);
    case STAGE_PREFIX_SPACE:
        return prefix_space(run, stage, p);
    case STAGE_BYTES:
        return to_bytes(run, stage, p);
    default:
        return metaspace(run, stage, p);
    }
}

int pretokenizer_feed(struct pretokenizer_run *run, struct piece piece)
{
    return feed(run, 0, piece);
}

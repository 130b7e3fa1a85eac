#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/unicode/pattern.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/unicode/pattern_translate.h"

struct pattern {
    pcre2_code *code; /* owned; NULL: a literal */
    char *literal;    /* owned */
    size_t length;
};

struct pattern_work {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

enum {
    JIT_STACK_START = 32 * 1024,
    JIT_STACK_MAX = 8 * 1024 * 1024,
    HEAP_LIMIT_KIB = 64 * 1024,
    MATCH_LIMIT = 100 * 1000 * 1000, /* steps of one match: enough to walk through the longest text */
};

static int compile(struct pattern *p, const char *regex, size_t length, const struct buf *translated,
                   struct err *e)
{
    int number = 0;
    PCRE2_SIZE offset = 0;
    p->code = pcre2_compile((PCRE2_SPTR)translated->data, translated->length,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &number,
                            &offset, NULL);
    if (!p->code) {
        PCRE2_UCHAR reason[128];
        pcre2_get_error_message(number, reason, sizeof reason);
        return err_set(e, "tokenizer_unsupported", "regular expression \"%.*s\": %s",
                       (int)(length < 200 ? length : 200), regex, (const char *)reason);
    }
    pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without it matching is slower, not different */
    return 0;
}

int pattern_new_regex(struct pattern **out, const char *regex, size_t length, struct err *e)
{
    struct pattern *p = calloc(1, sizeof *p);
    if (!p)
        return err_memory(e);
    struct buf translated = {0};
    int result = pattern_translate(regex, length, &translated, e);
    if (result == 0)
        result = compile(p, regex, length, &translated, e);
    buf_fini(&translated);
    if (result != 0) {
        pattern_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

int pattern_new_literal(struct pattern **out, const char *text, size_t length, struct err *e)
{
    struct pattern *p = calloc(1, sizeof *p);
    if (p)
        p->literal = malloc(length);
    if (!p || !p->literal) {
        pattern_free(p);
        return err_memory(e);
    }
    memcpy(p->literal, text, length);
    p->length = length;
    *out = p;
    return 0;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    pcre2_code_free(p->code);
    free(p->literal);
    free(p);
}

bool pattern_can_be_empty(const struct pattern *p)
{
    uint32_t empty = 0;
    return p->code && (pcre2_pattern_info(p->code, PCRE2_INFO_MATCHEMPTY, &empty) != 0 || empty);
}

int pattern_work_new(struct pattern_work **out, struct err *e)
{
    struct pattern_work *w = calloc(1, sizeof *w);
    if (!w)
        return err_memory(e);
    w->data = pcre2_match_data_create(1, NULL);
    w->context = pcre2_match_context_create(NULL);
    w->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
    if (!w->data || !w->context || !w->stack) {
        pattern_work_free(w);
        return err_memory(e);
    }
    pcre2_set_match_limit(w->context, MATCH_LIMIT);
    pcre2_set_heap_limit(w->context, HEAP_LIMIT_KIB);
    pcre2_jit_stack_assign(w->context, NULL, w->stack);
    *out = w;
    return 0;
}

void pattern_work_free(struct pattern_work *w)
{
    if (!w)
        return;
    pcre2_match_data_free(w->data);
    pcre2_match_context_free(w->context);
    pcre2_jit_stack_free(w->stack);
    free(w);
}

void pattern_scan_init(struct pattern_scan *s, const struct pattern *p, struct pattern_work *w,
                       const char *text, size_t length)
{
    *s = (struct pattern_scan){.pattern = p, .work = w, .text = text, .length = length};
}

static int next_literal(struct pattern_scan *s, size_t *start, size_t *end)
{
    const struct pattern *p = s->pattern;
    const char *found = memmem(s->text + s->at, s->length - s->at, p->literal, p->length);
    if (!found)
        return 0;
    *start = (size_t)(found - s->text);
    *end = s->at = *start + p->length;
    return 1;
}

static int search(struct pattern_scan *s, size_t *start, size_t *end, struct err *e)
{
    int found = pcre2_match(s->pattern->code, (PCRE2_SPTR)s->text, s->length, s->at, PCRE2_NO_UTF_CHECK,
                            s->work->data, s->work->context);
    if (found == PCRE2_ERROR_NOMATCH)
        return 0;
    if (found < 0) {
        PCRE2_UCHAR reason[128];
        pcre2_get_error_message(found, reason, sizeof reason);
        return err_set(e, "tokenizer_split_failed", "the text cannot be split at byte %zu: %s", s->at,
                       (const char *)reason);
    }
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(s->work->data);
    *start = offsets[0];
    *end = offsets[1];
    return 1;
}

int pattern_scan_next(struct pattern_scan *s, size_t *start, size_t *end, struct err *e)
{
    if (!s->pattern->code)
        return next_literal(s, start, end);
    while (s->at <= s->length) {
        int found = search(s, start, end, e);
        if (found <= 0)
            return found;
        if (*start < *end || !s->matched || *end != s->last_end) {
            s->matched = true;
            s->at = s->last_end = *end;
            return 1;
        }
        /* An empty match right behind the last match does not count: look from the next character on. */
        s->at += s->at < s->length ? utf8_size(s->text[s->at]) : 1;
    }
    return 0;
}

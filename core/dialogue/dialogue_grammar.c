#include "core/dialogue/dialogue_grammar.h"

#include <string.h>

#include "core/base/utf8.h"
#include "core/grammar/schema/json_schema.h"
#include "core/grammar/tokens/token_trie.h"

enum { MARK_CHARS_MAX = 64 };

struct writing {
    struct grammar *g;
    const struct dialogue_plan *p;
    struct err *e;
};

/* ---- characters ---- */

static int any_char(struct grammar *g)
{
    return grammar_chars(g, &(struct grammar_range){0, GRAMMAR_CODE_MAX}, 1);
}

/* Any but these, which are in ascending order. */
static int other_char(struct grammar *g, const uint32_t *codes, size_t count)
{
    struct grammar_range ranges[MARK_CHARS_MAX + 1];
    size_t made = 0;
    uint32_t low = 0;
    for (size_t i = 0; i < count; i++) {
        if (codes[i] > low)
            ranges[made++] = (struct grammar_range){low, codes[i] - 1};
        low = codes[i] + 1;
    }
    ranges[made++] = (struct grammar_range){low, GRAMMAR_CODE_MAX};
    return grammar_chars(g, ranges, made);
}

static int one_char(struct grammar *g, uint32_t code)
{
    return grammar_chars(g, &(struct grammar_range){code, code}, 1);
}

/* ---- texts up to a mark, and texts without it (Knuth, Morris, Pratt 1977) ---- */

struct mark {
    uint32_t codes[MARK_CHARS_MAX];
    size_t count;
    uint32_t sorted[MARK_CHARS_MAX]; /* each once */
    size_t distinct;
};

static void sort_code(struct mark *m, uint32_t code)
{
    size_t at = m->distinct;
    for (size_t i = 0; i < m->distinct; i++)
        if (m->sorted[i] == code)
            return;
    for (; at > 0 && m->sorted[at - 1] > code; at--)
        m->sorted[at] = m->sorted[at - 1];
    m->sorted[at] = code;
    m->distinct++;
}

static struct mark mark_of(const char *text)
{
    struct mark m = {.count = 0};
    for (size_t at = 0, size, length = strlen(text); at < length && m.count < MARK_CHARS_MAX; at += size) {
        m.codes[m.count] = utf8_decode(text + at, &size);
        sort_code(&m, m.codes[m.count++]);
    }
    return m;
}

/* How much of the mark stands at the end of its first `matched` characters and `code`. */
static size_t matched_after(const struct mark *m, size_t matched, uint32_t code)
{
    for (size_t length = matched + 1; length > 0; length--)
        if (m->codes[length - 1] == code &&
            memcmp(m->codes, m->codes + matched + 1 - length, (length - 1) * sizeof *m->codes) == 0)
            return length;
    return 0;
}

/* The rest of a text of which the end is the first `matched` characters of the mark. */
static int rest_of_text(struct grammar *g, const struct mark *m, const int *rules, size_t matched,
                        bool to_end)
{
    struct grammar_list any = {0};
    uint32_t known[MARK_CHARS_MAX];
    size_t count = 0;
    if (!to_end)
        grammar_list_add(g, &any, grammar_empty(g));
    for (size_t i = 0; i < m->distinct; i++) {
        size_t next = matched_after(m, matched, m->sorted[i]);
        int node = one_char(g, m->sorted[i]);
        if (next == 0)
            continue;
        known[count++] = m->sorted[i];
        if (next < m->count)
            grammar_list_add(g, &any, GRAMMAR_ALL_OF(g, node, grammar_call(g, rules[next])));
        else if (to_end)
            grammar_list_add(g, &any, node);
    }
    grammar_list_add(g, &any, GRAMMAR_ALL_OF(g, other_char(g, known, count), grammar_call(g, rules[0])));
    return grammar_list_any(g, &any);
}

static int mark_text(struct writing *w, const char *mark)
{
    char special[MARK_CHARS_MAX * 4 + 2] = {(char)TOKEN_SPECIAL_BYTE};
    if (!mark)
        return grammar_empty(w->g);
    if (!w->p->is_special || !w->p->is_special(w->p->arg, mark) || strlen(mark) > sizeof special - 2)
        return grammar_string(w->g, mark);
    strcpy(special + 1, mark);
    return grammar_string(w->g, special);
}

/* `to_end`: texts that end with the mark, which stands nowhere else in them; otherwise texts without it. */
static int text_around(struct writing *w, const char *mark, bool to_end)
{
    int rules[MARK_CHARS_MAX] = {0};
    struct grammar *g = w->g;
    if (w->p->is_special && w->p->is_special(w->p->arg, mark)) {
        int text = grammar_repeat(g, any_char(g), 0, -1);
        return to_end ? GRAMMAR_ALL_OF(g, text, mark_text(w, mark)) : text;
    }
    struct mark m = mark_of(mark);
    for (size_t i = 0; i < m.count; i++)
        rules[i] = grammar_rule(g, "", 0);
    for (size_t i = 0; i < m.count; i++)
        grammar_define(g, rules[i], rest_of_text(g, &m, rules, i, to_end));
    return grammar_call(g, rules[0]);
}

/* ---- calls ---- */

static int arguments_of(struct writing *w, const struct dialogue_tool *t)
{
    int node = json_schema_value(w->g, t->schema, w->e);
    if (node != GRAMMAR_BAD)
        return node;
    struct err why = *w->e;
    err_set(w->e, why.code, "tool \"%s\": %s", t->name, why.message);
    err_hint(w->e, "%s", why.hint);
    return GRAMMAR_BAD;
}

static int object_call(struct writing *w, const struct dialogue_tool *t, int arguments)
{
    const struct call_format *f = w->p->calls;
    struct grammar *g = w->g;
    return GRAMMAR_ALL_OF(g, grammar_string(g, "{\""), grammar_string(g, f->name_key ? f->name_key : "name"),
                          grammar_string(g, "\": \""), grammar_string(g, t->name),
                          grammar_string(g, "\", \""),
                          grammar_string(g, f->arguments_key ? f->arguments_key : "arguments"),
                          grammar_string(g, "\": "), arguments, grammar_string(g, "}"));
}

static int named_call(struct writing *w, const struct dialogue_tool *t, int arguments)
{
    const struct call_format *f = w->p->calls;
    struct grammar *g = w->g;
    return GRAMMAR_ALL_OF(g, mark_text(w, f->before_name), grammar_string(g, t->name),
                          mark_text(w, f->after_name), arguments, mark_text(w, f->after));
}

/* A call of one of the tools, without marks around it. */
static int any_call(struct writing *w)
{
    struct grammar_list any = {0};
    for (size_t i = 0; i < w->p->tool_count; i++) {
        const struct dialogue_tool *t = &w->p->tools[i];
        int arguments = arguments_of(w, t);
        if (arguments == GRAMMAR_BAD) {
            grammar_list_any(w->g, &any);
            return GRAMMAR_BAD;
        }
        grammar_list_add(w->g, &any,
                         w->p->calls->body == CALL_NAMED ? named_call(w, t, arguments)
                                                         : object_call(w, t, arguments));
    }
    return grammar_list_any(w->g, &any);
}

/* `one`, and more of it where the plan has several. */
static int sequence(struct writing *w, int one, const char *between)
{
    struct grammar *g = w->g;
    if (!w->p->several)
        return one;
    int more = between ? GRAMMAR_ALL_OF(g, grammar_string(g, between), one) : one;
    return GRAMMAR_ALL_OF(g, one, grammar_repeat(g, more, 0, DIALOGUE_CALLS_MAX - 1));
}

static int all_calls(struct writing *w)
{
    const struct call_format *f = w->p->calls;
    struct grammar *g = w->g;
    int call = any_call(w);
    if (call == GRAMMAR_BAD)
        return GRAMMAR_BAD;
    int open = f->bare ? grammar_empty(g) : mark_text(w, f->open), close = mark_text(w, f->close);
    if (f->body == CALL_LIST)
        return GRAMMAR_ALL_OF(g, open, grammar_string(g, "["), sequence(w, call, ", "),
                              grammar_string(g, "]"), close);
    int calls = sequence(w, GRAMMAR_ALL_OF(g, open, call, close), f->between);
    return GRAMMAR_ALL_OF(g, mark_text(w, f->begin), calls, mark_text(w, f->end));
}

/* ---- the answer ---- */

/* Nothing that could be read as a call without a mark. */
static int words_that_call_nothing(struct grammar *g)
{
    static const uint32_t space[] = {'\t', '\n', '\v', '\f', '\r', ' '},
                          others[] = {'\t', '\n', '\v', '\f', '\r', ' ', '[', '{'};
    struct grammar_range ranges[sizeof space / sizeof *space];
    for (size_t i = 0; i < sizeof space / sizeof *space; i++)
        ranges[i] = (struct grammar_range){space[i], space[i]};
    int gap = grammar_repeat(g, grammar_chars(g, ranges, sizeof space / sizeof *space), 0, -1);
    int text = GRAMMAR_ALL_OF(g, other_char(g, others, sizeof others / sizeof *others),
                              grammar_repeat(g, any_char(g), 0, -1));
    return GRAMMAR_ALL_OF(g, gap, grammar_optional(g, text));
}

static int words_or_calls(struct writing *w)
{
    const struct call_format *f = w->p->calls;
    struct grammar *g = w->g;
    int calls = all_calls(w);
    if (calls == GRAMMAR_BAD || w->p->must)
        return calls;
    if (w->p->formed)
        return GRAMMAR_ANY_OF(g, w->p->content, calls);
    if (f->bare)
        return GRAMMAR_ANY_OF(g, words_that_call_nothing(g), calls);
    return GRAMMAR_ALL_OF(g, text_around(w, f->begin ? f->begin : f->open, false),
                          grammar_optional(g, calls));
}

static int thoughts_first(struct writing *w, int rest)
{
    const struct thought_format *f = w->p->thoughts;
    struct grammar *g = w->g;
    if (!f || rest == GRAMMAR_BAD)
        return rest;
    int thoughts = text_around(w, f->close, true), feeds = grammar_repeat(g, grammar_string(g, "\n"), 0, 2);
    thoughts = GRAMMAR_ALL_OF(g, thoughts, feeds);
    if (!w->p->thinking)
        thoughts = grammar_optional(g, GRAMMAR_ALL_OF(g, mark_text(w, f->open), thoughts));
    return GRAMMAR_ALL_OF(g, thoughts, rest);
}

int dialogue_grammar(struct grammar *g, const struct dialogue_plan *p, struct err *e)
{
    struct writing w = {g, p, e};
    if (p->calls)
        g->wording = &json_schema_wording;
    int words = p->formed ? p->content : grammar_repeat(g, any_char(g), 0, -1);
    int node = thoughts_first(&w, p->calls ? words_or_calls(&w) : words);
    if (node == GRAMMAR_BAD && grammar_check(g, e) == 0)
        return GRAMMAR_BAD; /* a schema's error is in `e` */
    return node;
}

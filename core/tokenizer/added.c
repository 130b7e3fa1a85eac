#include "core/tokenizer/added.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/unicode/unicode.h"

const char *added_pattern(const struct added_token *t, size_t *length)
{
    *length = t->normalized_content ? t->normalized_length : t->content_length;
    return t->normalized_content ? t->normalized_content : t->content;
}

static int32_t find_child(const struct added_trie *t, int32_t node, unsigned char byte)
{
    if (node == 0)
        return t->first[byte];
    for (int32_t child = t->nodes[node].child; child >= 0; child = t->nodes[child].sibling)
        if (t->nodes[child].byte == byte)
            return child;
    return -1;
}

static int32_t add_child(struct added_trie *t, int32_t node, unsigned char byte)
{
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? t->capacity * 2 : 64;
        struct added_node *nodes = realloc(t->nodes, capacity * sizeof *nodes);
        if (!nodes)
            return -1;
        t->nodes = nodes;
        t->capacity = capacity;
    }
    int32_t child = (int32_t)t->count++;
    t->nodes[child] = (struct added_node){-1, -1, -1, byte};
    if (node < 0)
        return child;
    t->nodes[child].sibling = t->nodes[node].child;
    t->nodes[node].child = child;
    if (node == 0)
        t->first[byte] = child;
    return child;
}

static int trie_add(struct added_trie *t, const struct added *a, int32_t token, struct err *e)
{
    size_t length;
    const char *text = added_pattern(&a->tokens[token], &length);
    int32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        int32_t child = find_child(t, node, (unsigned char)text[i]);
        if (child < 0)
            child = add_child(t, node, (unsigned char)text[i]);
        if (child < 0)
            return err_memory(e);
        node = child;
    }
    /* Two tokens became equal when they were normalized, or one became empty: what the reference does then is
     * left to chance. */
    if (t->nodes[node].token >= 0 || length == 0)
        return err_set(e, "tokenizer_unsupported", "added_tokens: \"%.64s\" %s once it is normalized",
                       a->tokens[token].content, length ? "equals another one" : "is empty");
    t->nodes[node].token = token;
    return 0;
}

static int trie_init(struct added_trie *t, struct err *e)
{
    for (int byte = 0; byte < 256; byte++)
        t->first[byte] = -1;
    return add_child(t, -1, 0) == 0 ? 0 : err_memory(e);
}

int added_index(struct added *a, struct err *e)
{
    if (trie_init(&a->raw, e) != 0 || trie_init(&a->normalized, e) != 0)
        return -1;
    for (size_t i = 0; i < a->count; i++) {
        struct added_trie *trie = a->tokens[i].normalized ? &a->normalized : &a->raw;
        if (trie_add(trie, a, (int32_t)i, e) != 0)
            return -1;
    }
    return 0;
}

void added_fini(struct added *a)
{
    for (size_t i = 0; i < a->count; i++) {
        free(a->tokens[i].content);
        free(a->tokens[i].normalized_content);
    }
    free(a->tokens);
    free(a->raw.nodes);
    free(a->normalized.nodes);
    *a = (struct added){0};
}

/* The longest token that starts at `at`, -1: none; *end becomes where it ends. */
static int32_t longest_match(const struct added_trie *t, const char *text, size_t length, size_t at,
                             size_t *end)
{
    int32_t found = -1;
    for (int32_t node = 0; at < length;) {
        node = find_child(t, node, (unsigned char)text[at++]);
        if (node < 0)
            break;
        if (t->nodes[node].token >= 0) {
            found = t->nodes[node].token;
            *end = at;
        }
    }
    return found;
}

struct cutter { /* where added_split stands */
    const char *text;
    size_t length;
    size_t done;       /* everything before this was emitted */
    size_t space_end;  /* the end of a run of white space that was measured, */
    size_t space_from; /* and where the measuring began: no run is walked twice */
};

static bool word_before(const struct cutter *c, size_t at)
{
    size_t size;
    return at > 0 && unicode_is_word(utf8_decode(c->text + utf8_before(c->text, at), &size));
}

static bool word_behind(const struct cutter *c, size_t at)
{
    size_t size;
    return at < c->length && unicode_is_word(utf8_decode(c->text + at, &size));
}

/* Start of the white space before `at`, not going back behind what was emitted. */
static size_t spaces_before(const struct cutter *c, size_t at)
{
    while (at > c->done) {
        size_t size, start = utf8_before(c->text, at);
        if (!unicode_is_space(utf8_decode(c->text + start, &size)))
            break;
        at = start;
    }
    return at > c->done ? at : c->done;
}

static size_t spaces_behind(struct cutter *c, size_t at)
{
    if (at >= c->space_from && at < c->space_end)
        return c->space_end;
    size_t end = at, size;
    while (end < c->length && unicode_is_space(utf8_decode(c->text + end, &size)))
        end += size;
    c->space_from = at;
    c->space_end = end;
    return end;
}

static bool is_accepted(const struct cutter *c, const struct added_token *t, size_t from, size_t to)
{
    return !t->single_word || (!word_before(c, from) && !word_behind(c, to));
}

int added_split(const struct added *a, const struct added_trie *trie, const char *text, size_t length,
                int (*emit)(void *arg, size_t from, size_t to, int32_t id), void *arg)
{
    struct cutter c = {.text = text, .length = length};
    for (size_t at = 0, end = 0; at < length;) {
        int32_t found =
            trie->first[(unsigned char)text[at]] < 0 ? -1 : longest_match(trie, text, length, at, &end);
        if (found < 0) {
            at++;
            continue;
        }
        const struct added_token *token = &a->tokens[found];
        size_t from = at;
        at = end; /* a match that single_word rejects uses up its text, too */
        if (!is_accepted(&c, token, from, end))
            continue;
        if (token->lstrip)
            from = spaces_before(&c, from);
        if (token->rstrip)
            end = spaces_behind(&c, end);
        int result = c.done < from ? emit(arg, c.done, from, -1) : 0;
        if (result == 0 && from < end)
            result = emit(arg, from, end, token->id);
        if (result != 0)
            return result;
        c.done = end;
    }
    return c.done < length ? emit(arg, c.done, length, -1) : 0;
}

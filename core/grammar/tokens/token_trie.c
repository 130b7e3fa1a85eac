#include "core/grammar/tokens/token_trie.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

struct item { /* a token to be put into a tree */
    const char *bytes;
    size_t length;
    int32_t id;
};

/* Characters of a plain text; 0: it is empty or not plain. DEL, and the separators that regular expressions
 * count as ends of lines, are not: many grammars leave them out. */
static int plain_chars(const char *bytes, size_t length)
{
    int count = 0;
    for (size_t at = 0, size; at < length; at += size, count++) {
        if (utf8_next(bytes + at, length - at, &size) != UTF8_WHOLE)
            return 0;
        uint32_t c = utf8_decode(bytes + at, &size);
        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7F || c == 0x2028 || c == 0x2029)
            return 0;
    }
    return count;
}

static int compare(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->bytes, y->bytes, shorter);
    if (order)
        return order;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static size_t shared(const struct item *a, const struct item *b)
{
    size_t shorter = a->length < b->length ? a->length : b->length, at = 0;
    while (at < shorter && a->bytes[at] == b->bytes[at])
        at++;
    return at;
}

struct building {
    struct token_tree *tree;
    uint32_t open[TOKEN_BYTES_MAX + 1]; /* nodes of the last token; [0] is not used */
    size_t depth;
};

/* Leave the nodes that are deeper: their subtrees are complete. */
static void close_nodes(struct building *b, size_t depth)
{
    struct token_node *nodes = b->tree->nodes;
    for (; b->depth > depth; b->depth--) {
        struct token_node *n = &nodes[b->open[b->depth]];
        n->skip = b->tree->node_count - b->open[b->depth];
        struct token_node *above = b->depth > 1 ? &nodes[b->open[b->depth - 1]] : n;
        above->chars_max = n->chars_max > above->chars_max ? n->chars_max : above->chars_max;
    }
}

static void put(struct building *b, const struct item *item)
{
    struct token_tree *t = b->tree;
    while (b->depth < item->length) {
        uint8_t byte = (uint8_t)item->bytes[b->depth];
        b->open[++b->depth] = t->node_count;
        t->nodes[t->node_count++] =
            (struct token_node){.byte = byte, .depth = (uint16_t)b->depth, .first = t->id_count};
    }
    struct token_node *n = &t->nodes[b->open[b->depth]];
    n->chars_max = (uint16_t)plain_chars(item->bytes, item->length);
    if (n->count == UINT16_MAX)
        return;
    n->count++;
    t->ids[t->id_count++] = item->id;
}

static int build(struct token_tree *t, struct item *items, int count, struct err *e)
{
    size_t nodes = 0;
    qsort(items, (size_t)count, sizeof *items, compare);
    for (int i = 0; i < count; i++)
        nodes += items[i].length - (i > 0 ? shared(&items[i - 1], &items[i]) : 0);
    t->nodes = calloc(nodes + 1, sizeof *t->nodes);
    t->ids = calloc((size_t)count + 1, sizeof *t->ids);
    if (!t->nodes || !t->ids)
        return err_memory(e);
    struct building b = {.tree = t};
    for (int i = 0; i < count; i++) {
        close_nodes(&b, i > 0 ? shared(&items[i - 1], &items[i]) : 0);
        put(&b, &items[i]);
    }
    close_nodes(&b, 0);
    return 0;
}

static void set_bit(uint64_t *set, int32_t token)
{
    set[token / 64] |= UINT64_C(1) << (token % 64);
}

static void note_plain(struct token_trie *t, int32_t id, int chars)
{
    set_bit(t->plain_all, id);
    t->plain_chars = chars > t->plain_chars ? chars : t->plain_chars;
    for (int i = chars; i <= TOKEN_PLAIN_MAX; i++)
        set_bit(t->plain_up_to + (size_t)i * t->words, id);
}

static int build_trees(struct token_trie *t, const struct token_text *tokens, struct err *e)
{
    struct item *items = calloc((size_t)t->vocab_size + 1, sizeof *items);
    if (!items)
        return err_memory(e);
    int plain = 0, other = t->vocab_size; /* from both ends */
    for (int32_t i = 0; i < t->vocab_size; i++) {
        bool ends = t->ends[i / 64] >> (i % 64) & 1;
        if (tokens[i].length == 0 || tokens[i].length > TOKEN_BYTES_MAX || ends)
            continue;
        int chars = plain_chars(tokens[i].bytes, tokens[i].length);
        items[chars > 0 ? plain++ : --other] =
            (struct item){.bytes = tokens[i].bytes, .length = tokens[i].length, .id = i};
        if (chars > 0)
            note_plain(t, i, chars);
    }
    int result = build(&t->plain, items, plain, e);
    if (result == 0)
        result = build(&t->other, items + other, t->vocab_size - other, e);
    free(items);
    return result;
}

static int copy_bytes(struct token_trie *t, const struct token_text *tokens, struct err *e)
{
    size_t total = 0;
    for (int i = 0; i < t->vocab_size; i++)
        total += tokens[i].length;
    t->bytes = malloc(total + 1);
    t->begins = calloc((size_t)t->vocab_size + 1, sizeof *t->begins);
    if (!t->bytes || !t->begins)
        return err_memory(e);
    total = 0;
    for (int i = 0; i < t->vocab_size; i++) {
        t->begins[i] = total;
        if (tokens[i].length > 0)
            memcpy(t->bytes + total, tokens[i].bytes, tokens[i].length);
        total += tokens[i].length;
    }
    t->begins[t->vocab_size] = total;
    return 0;
}

static int fill(struct token_trie *t, const struct token_text *tokens, const int32_t *ends, size_t end_count,
                struct err *e)
{
    t->plain_up_to = calloc((TOKEN_PLAIN_MAX + 1) * t->words, sizeof *t->plain_up_to);
    t->plain_all = calloc(t->words, sizeof *t->plain_all);
    t->ends = calloc(t->words, sizeof *t->ends);
    if (!t->plain_up_to || !t->plain_all || !t->ends)
        return err_memory(e);
    for (size_t i = 0; i < end_count; i++)
        if (ends[i] >= 0 && ends[i] < t->vocab_size)
            set_bit(t->ends, ends[i]);
    return copy_bytes(t, tokens, e) != 0 ? -1 : build_trees(t, tokens, e);
}

int token_trie_new(struct token_trie **out, const struct token_text *tokens, int vocab_size,
                   const int32_t *ends, size_t end_count, struct err *e)
{
    struct token_trie *t = calloc(1, sizeof *t);
    if (!t)
        return err_memory(e);
    t->vocab_size = vocab_size;
    t->words = ((size_t)vocab_size + 63) / 64;
    if (fill(t, tokens, ends, end_count, e) != 0) {
        token_trie_free(t);
        return -1;
    }
    *out = t;
    return 0;
}

void token_trie_free(struct token_trie *t)
{
    if (!t)
        return;
    free(t->plain.nodes);
    free(t->plain.ids);
    free(t->other.nodes);
    free(t->other.ids);
    free(t->plain_up_to);
    free(t->plain_all);
    free(t->ends);
    free(t->bytes);
    free(t->begins);
    free(t);
}

size_t token_trie_bytes(const struct token_trie *t, int32_t token, const char **bytes)
{
    *bytes = t->bytes + t->begins[token];
    return t->begins[token + 1] - t->begins[token];
}

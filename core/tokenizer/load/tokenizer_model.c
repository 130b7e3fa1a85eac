/* The model and the added tokens of tokenizer.json. */
#include <stdlib.h>
#include <string.h>

#include "core/tokenizer/load/component.h"
#include "core/tokenizer/load/tokenizer_parts.h"

/* ---- vocabulary ---- */

struct extent { /* of a vocabulary */
    size_t count, size;
};

static int measure(void *arg, const char *key, size_t length, int64_t id, struct err *e)
{
    struct extent *extent = arg;
    if (id < 0 || id >= VOCAB_ID_LIMIT)
        return err_set(e, "tokenizer_malformed", "model.vocab: the id of \"%.*s\" is %lld, expected 0 to %d",
                       (int)(length < 64 ? length : 64), key, (long long)id, VOCAB_ID_LIMIT - 1);
    extent->count++;
    if ((size_t)id >= extent->size)
        extent->size = (size_t)id + 1;
    return 0;
}

static int add_string(void *arg, const char *key, size_t length, int64_t id, struct err *e)
{
    return vocab_add(arg, key, length, id, e);
}

static int load_vocab(struct bpe *b, struct span vocab, struct err *e)
{
    struct extent extent = {0};
    if (!vocab.text)
        return err_set(e, "tokenizer_malformed", "model.vocab: expected an object");
    if (model_scan_vocab(vocab, measure, &extent, e) != 0 ||
        vocab_init(&b->vocab, extent.count, extent.size, e) != 0)
        return -1;
    return model_scan_vocab(vocab, add_string, &b->vocab, e);
}

/* ---- merges ---- */

struct merge_loader {
    struct bpe *bpe;
    struct buf joined;
    size_t rank;
};

static int count_merge(void *arg, struct span left, struct span right, struct err *e)
{
    (void)left;
    (void)right;
    (void)e;
    ++*(size_t *)arg;
    return 0;
}

static int add_merge(void *arg, struct span left, struct span right, struct err *e)
{
    struct merge_loader *l = arg;
    const struct vocab *vocab = &l->bpe->vocab;
    buf_clear(&l->joined);
    if (buf_append(&l->joined, left.text, left.length) != 0 ||
        buf_append(&l->joined, right.text, right.length) != 0)
        return err_memory(e);
    struct span both = {l->joined.data, l->joined.length};
    int32_t left_id = vocab_find(vocab, left.text, left.length);
    int32_t right_id = vocab_find(vocab, right.text, right.length);
    int32_t id = vocab_find(vocab, both.text, both.length);
    struct span missing = left_id < 0 ? left : right_id < 0 ? right : both;
    if (left_id < 0 || right_id < 0 || id < 0)
        return err_set(e, "tokenizer_malformed",
                       "model.merges: number %zu needs \"%.*s\", which is not in the vocab", l->rank,
                       (int)(missing.length < 64 ? missing.length : 64), missing.text);
    merges_add(&l->bpe->merges, left_id, right_id, (uint32_t)l->rank++, id);
    return 0;
}

static int load_merges(struct bpe *b, struct span merges, struct err *e)
{
    size_t count = 0;
    struct merge_loader loader = {.bpe = b};
    if (!merges.text)
        return err_set(e, "tokenizer_malformed", "model.merges: expected an array");
    if (model_scan_merges(merges, count_merge, &count, e) != 0 || merges_init(&b->merges, count, e) != 0)
        return -1;
    int result = model_scan_merges(merges, add_merge, &loader, e);
    buf_fini(&loader.joined);
    return result;
}

/* ---- model ---- */

/* Fields that change the result in ways that are not done here. */
static int check_model(json_t *model, struct err *e)
{
    static const char *const known[] = {"type",     "vocab",         "merges",        "unk_token",
                                        "fuse_unk", "byte_fallback", "ignore_merges", NULL};
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    json_t *type = json_object_get(model, "type"), *dropout = json_object_get(model, "dropout");
    if (!json_is_object(model))
        return err_set(e, "tokenizer_malformed", "model: expected an object");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0))
        return err_set(e, "tokenizer_unsupported", "model: the type %.64s is not supported, expected BPE",
                       json_is_string(type) ? json_string_value(type) : "of another kind");
    for (size_t i = 0; i < 2; i++) {
        json_t *affix = json_object_get(model, affixes[i]);
        if (affix && !json_is_null(affix) && !(json_is_string(affix) && json_string_length(affix) == 0))
            return err_set(e, "tokenizer_unsupported", "model: %s \"%.64s\" is not supported", affixes[i],
                           json_is_string(affix) ? json_string_value(affix) : "");
    }
    if (dropout && !json_is_null(dropout) && !(json_is_number(dropout) && json_number_value(dropout) == 0))
        return err_set(e, "tokenizer_unsupported", "model: dropout %g is not supported",
                       json_number_value(dropout));
    return component_check(model, "model", known, e);
}

static int load_unk(struct bpe *b, json_t *model, struct err *e)
{
    const char *text;
    size_t length;
    json_t *unk = json_object_get(model, "unk_token");
    b->has_unk = unk && !json_is_null(unk);
    b->unk_id = -1;
    if (!b->has_unk)
        return 0;
    if (component_string(model, "model", "unk_token", &text, &length, e) != 0)
        return -1;
    b->unk_id = vocab_find(&b->vocab, text, length);
    return 0;
}

int tokenizer_load_model(struct tokenizer *t, json_t *model, const struct model_text *text, struct err *e)
{
    struct bpe *b = &t->bpe;
    if (check_model(model, e) != 0 || component_bool(model, "model", "fuse_unk", &b->fuse_unk, e) != 0 ||
        component_bool(model, "model", "byte_fallback", &b->byte_fallback, e) != 0 ||
        component_bool(model, "model", "ignore_merges", &b->ignore_merges, e) != 0 ||
        load_vocab(b, text->vocab, e) != 0 || load_merges(b, text->merges, e) != 0 ||
        load_unk(b, model, e) != 0)
        return -1;
    bpe_index(b);
    return 0;
}

/* ---- added tokens ---- */

static int read_added(struct added_token *token, json_t *entry, struct err *e)
{
    static const char *const known[] = {"id",     "content",    "single_word", "lstrip",
                                        "rstrip", "normalized", "special",     NULL};
    const char *content, *where = "added_tokens";
    if (component_check(entry, where, known, e) != 0 ||
        component_string(entry, where, "content", &content, &token->content_length, e) != 0 ||
        component_bool(entry, where, "single_word", &token->single_word, e) != 0 ||
        component_bool(entry, where, "lstrip", &token->lstrip, e) != 0 ||
        component_bool(entry, where, "rstrip", &token->rstrip, e) != 0 ||
        component_bool(entry, where, "normalized", &token->normalized, e) != 0 ||
        component_bool(entry, where, "special", &token->special, e) != 0)
        return -1;
    if (token->content_length > ADDED_LENGTH_MAX)
        return err_set(e, "tokenizer_unsupported", "added_tokens: \"%.64s…\" is longer than %d bytes",
                       content, ADDED_LENGTH_MAX);
    token->content = component_copy(content, token->content_length);
    return token->content ? 0 : err_memory(e);
}

int tokenizer_normalize_added(const struct normalizer *n, struct added_token *token, struct err *e)
{
    struct buf buffers[2] = {0};
    struct pattern_work *work = NULL;
    struct piece piece = {token->content, token->content_length, true, 0};
    int result = pattern_work_new(&work, e);
    if (result == 0)
        result = normalizer_apply(n, work, buffers, &piece, e);
    bool changed = result == 0 && (piece.length != token->content_length ||
                                   memcmp(piece.text, token->content, piece.length) != 0);
    if (changed) {
        token->normalized_content = component_copy(piece.text, piece.length);
        token->normalized_length = piece.length;
        if (!token->normalized_content)
            result = err_memory(e);
    }
    pattern_work_free(work);
    buf_fini(&buffers[0]);
    buf_fini(&buffers[1]);
    return result;
}

/* The token already there with the same content, or a new one at the end; NULL: out of memory. */
static struct added_token *place_for(struct added *a, const struct added_token *token,
                                     const struct vocab *seen)
{
    int32_t index = vocab_find(seen, token->content, token->content_length);
    if (index >= 0)
        return &a->tokens[index];
    if (a->count == a->capacity) {
        size_t capacity = a->capacity ? a->capacity * 2 : 16;
        struct added_token *tokens = realloc(a->tokens, capacity * sizeof *tokens);
        if (!tokens)
            return NULL;
        a->tokens = tokens;
        a->capacity = capacity;
    }
    return &a->tokens[a->count];
}

/* As in the reference, the file's own "id" plays no part: a content that is in the vocabulary has its id from
 * there, the others are numbered behind it. In a file that the library wrote the two agree. */
static int add_added(struct tokenizer *t, json_t *entry, struct vocab *seen, int32_t *next_id, struct err *e)
{
    struct added_token token = {0};
    struct added_token *place = NULL;
    int result = read_added(&token, entry, e);
    if (result == 0 && token.content_length == 0) {
        free(token.content);
        return 0;
    }
    if (result == 0 && token.normalized)
        result = tokenizer_normalize_added(&t->normalizer, &token, e);
    if (result == 0 && !(place = place_for(&t->added, &token, seen)))
        result = err_memory(e);
    if (result == 0 && place == &t->added.tokens[t->added.count])
        result = vocab_add(seen, token.content, token.content_length, (int64_t)t->added.count, e);
    if (result != 0) {
        free(token.content);
        free(token.normalized_content);
        return -1;
    }
    if (place == &t->added.tokens[t->added.count]) {
        int32_t known = vocab_find(&t->bpe.vocab, token.content, token.content_length);
        token.id = known >= 0 ? known : (*next_id)++;
        t->added.count++;
    } else {
        token.id = place->id;
        free(place->content);
        free(place->normalized_content);
    }
    *place = token;
    return 0;
}

static bool has_special_content(const struct added *a, const char *text, size_t length)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->tokens[i].special && a->tokens[i].content_length == length &&
            memcmp(a->tokens[i].content, text, length) == 0)
            return true;
    return false;
}

static int index_ids(struct tokenizer *t, struct err *e)
{
    t->size = t->bpe.vocab.size;
    for (size_t i = 0; i < t->added.count; i++)
        if ((size_t)t->added.tokens[i].id >= t->size)
            t->size = (size_t)t->added.tokens[i].id + 1;
    t->shared = t->size;
    t->ids = calloc(t->size ? t->size : 1, sizeof *t->ids);
    if (!t->ids)
        return err_memory(e);
    for (size_t i = 0; i < t->size; i++)
        t->ids[i].added = -1;
    for (size_t i = 0; i < t->added.count; i++) {
        const struct added_token *token = &t->added.tokens[i];
        size_t length;
        const char *text = added_pattern(token, &length);
        /* The reference looks for the decoded string among the special contents: one that normalizing changed
         * is not there and stays in the text. */
        t->ids[token->id] = (struct tokenizer_id){
            (int32_t)i, token->special,
            token->normalized_content ? has_special_content(&t->added, text, length) : token->special};
    }
    return 0;
}

int tokenizer_load_added(struct tokenizer *t, json_t *list, struct err *e)
{
    if (list && !json_is_null(list) && !json_is_array(list))
        return err_set(e, "tokenizer_malformed", "added_tokens: expected an array");
    struct vocab seen; /* the contents so far, by index */
    if (vocab_init(&seen, json_array_size(list), json_array_size(list), e) != 0)
        return -1;
    int32_t next_id = (int32_t)t->bpe.vocab.count;
    int result = 0;
    size_t index;
    json_t *entry;
    json_array_foreach(list, index, entry)
    {
        if (result == 0)
            result = add_added(t, entry, &seen, &next_id, e);
    }
    vocab_fini(&seen);
    return result != 0 || added_index(&t->added, e) != 0 ? -1 : index_ids(t, e);
}

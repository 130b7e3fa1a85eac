#include "adapters/training/dataset/align.h"

#include <stdbool.h>
#include <string.h>

struct aligner {
    const struct tokenizer *tokenizer;
    const char *text;
    size_t length;
    const struct token_list *tokens;
    struct buf bytes; /* of one token */
};

static int read_token(struct aligner *a, int32_t id, struct err *e)
{
    buf_clear(&a->bytes);
    return buf_reserve(&a->bytes, 1) != 0 ? err_memory(e) : tokenizer_bytes(a->tokenizer, id, &a->bytes, e);
}

static bool stands_at(const struct aligner *a, size_t at, const char *bytes, size_t length)
{
    return length <= a->length - at && memcmp(a->text + at, bytes, length) == 0;
}

/* How much of the text at `at` is this token's: all of its bytes, or all but a space that the tokenizer put
 * in front. Neither: something rewrote the text. */
static bool extent(const struct aligner *a, size_t at, size_t *out)
{
    const char *bytes = a->bytes.data;
    *out = a->bytes.length;
    if (stands_at(a, at, bytes, *out))
        return true;
    return *out > 0 && bytes[0] == ' ' && stands_at(a, at, bytes + 1, --*out);
}

/* Token by token, as long as their bytes are the text's. Returns how many marks were found. */
static int walk(struct aligner *a, struct align_mark *marks, size_t count, size_t *found, struct err *e)
{
    size_t at = 0;
    *found = 0;
    for (size_t i = 0; i < a->tokens->count && *found < count; i++) {
        if (read_token(a, a->tokens->ids[i], e) != 0)
            return -1;
        size_t taken;
        if (!extent(a, at, &taken))
            return 0;
        at += taken;
        for (; *found < count && marks[*found].byte < at; ++*found)
            marks[*found].token = i;
    }
    return 0;
}

static int bytes_of(struct aligner *a, const int32_t *ids, size_t count, size_t *out, struct err *e)
{
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        if (read_token(a, ids[i], e) != 0)
            return -1;
        *out += a->bytes.length;
    }
    return 0;
}

/* The text up to the mark, tokenized by itself, begins with the same tokens; what is left of it is counted
 * off in bytes. Whatever rewrote the text did so on both sides. */
static int find_by_prefix(struct aligner *a, struct align_mark *mark, struct err *e)
{
    struct token_list prefix = {0};
    size_t same = 0, left, taken = 0;
    int result = tokenizer_encode(a->tokenizer, a->text, mark->byte, false, &prefix, e);
    while (result == 0 && same < prefix.count && same < a->tokens->count &&
           prefix.ids[same] == a->tokens->ids[same])
        same++;
    if (result == 0)
        result = bytes_of(a, prefix.ids + same, prefix.count - same, &left, e);
    for (mark->token = same; result == 0 && mark->token + 1 < a->tokens->count; mark->token++) {
        result = read_token(a, a->tokens->ids[mark->token], e);
        taken += a->bytes.length;
        if (taken > left)
            break;
    }
    token_list_fini(&prefix);
    return result;
}

int align_tokens(const struct tokenizer *t, const char *text, size_t length, const struct token_list *tokens,
                 struct align_mark *marks, size_t count, struct err *e)
{
    struct aligner a = {.tokenizer = t, .text = text, .length = length, .tokens = tokens};
    size_t found;
    int result = walk(&a, marks, count, &found, e);
    for (; result == 0 && found < count; found++)
        result = find_by_prefix(&a, &marks[found], e);
    buf_fini(&a.bytes);
    return result;
}

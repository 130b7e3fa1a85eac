/* Words that an answer must not have. As a model's tokens a word is one thing at the beginning of a text and
 * another behind a space, so each is banned in both forms; the tokens before the last may come. */
#include <stdlib.h>
#include <string.h>

#include "server/base/fields.h"
#include "server/inference/inference.h"

/* The tokens behind `begin` are a ban of their own, unless they are the ones of the ban before. */
static int end_ban(struct inference *q, int begin, struct err *e)
{
    struct sampling *s = &q->sampling;
    const struct token_list *all = &q->ban_tokens;
    int count = (int)all->count - begin;
    const struct sampling_ban *before = s->ban_count ? &q->bans[s->ban_count - 1] : NULL;
    if (all->count > SAMPLING_BAN_TOKENS_MAX) {
        err_set(e, "out_of_range", "\"bad_words\" may have %d tokens at most", SAMPLING_BAN_TOKENS_MAX);
        return err_param(e, "bad_words");
    }
    bool same = before && before->count == count &&
                memcmp(all->ids + before->begin, all->ids + begin, (size_t)count * sizeof *all->ids) == 0;
    if (count == 0 || same)
        q->ban_tokens.count = (size_t)begin;
    else
        q->bans[s->ban_count++] = (struct sampling_ban){begin, count};
    return 0;
}

static int add_ban(struct inference *q, const char *text, size_t length, struct err *e)
{
    int begin = (int)q->ban_tokens.count;
    if (tokenizer_encode(q->tokenizer, text, length, false, &q->ban_tokens, e) != 0)
        return -1;
    return end_ban(q, begin, e);
}

static int add_word(struct inference *q, const char *word, size_t length, struct err *e)
{
    char spaced[INFERENCE_BAD_WORD_MAX + 1] = " ";
    while (length > 1 && word[0] == ' ') {
        word++;
        length--;
    }
    memcpy(spaced + 1, word, length);
    if (add_ban(q, word, length, e) != 0)
        return -1;
    return add_ban(q, spaced, length + 1, e);
}

static int parse_word(struct inference *q, const json_t *value, struct err *e)
{
    size_t length = json_string_length(value);
    if (!json_is_string(value))
        return field_wrong_type(value, "bad_words", "an array of strings", e);
    if (length >= 1 && length <= INFERENCE_BAD_WORD_MAX)
        return add_word(q, json_string_value(value), length, e);
    err_set(e, "out_of_range", "each of \"bad_words\" may have 1 to %d bytes, found %zu",
            INFERENCE_BAD_WORD_MAX, length);
    return err_param(e, "bad_words");
}

static int check_list(const struct inference *q, const json_t *list, struct err *e)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return field_wrong_type(list, "bad_words", "an array of strings", e);
    if (q->r->server->info->numeric && count)
        err_set(e, "input_unsupported", "the model \"%s\" answers rows of numbers, which have no words",
                q->r->server->model_name);
    else if (count > INFERENCE_BAD_WORDS_MAX)
        err_set(e, "out_of_range", "\"bad_words\" may have %d entries at most, found %zu",
                INFERENCE_BAD_WORDS_MAX, count);
    else
        return 0;
    return err_param(e, "bad_words");
}

int inference_parse_bans(struct inference *q, const json_t *body, struct err *e)
{
    const json_t *list = json_object_get(body, "bad_words");
    if (!list)
        return 0;
    if (check_list(q, list, e) != 0)
        return -1;
    size_t count = json_array_size(list);
    q->bans = calloc(2 * count + 1, sizeof *q->bans);
    if (!q->bans)
        return err_memory(e);
    for (size_t i = 0; i < count; i++)
        if (parse_word(q, json_array_get(list, i), e) != 0)
            return -1;
    q->sampling.bans = q->bans;
    q->sampling.ban_tokens = q->ban_tokens.ids;
    q->sampling.ban_token_count = (int)q->ban_tokens.count;
    return 0;
}

#include "adapters/training/dataset/encode.h"

#include <stdlib.h>
#include <string.h>

#include "adapters/training/dataset/conversation.h"
#include "core/train/train_data.h"

static const char CODE[] = "invalid_training_file";

static void sequence_fini(struct encoded_sequence *s)
{
    token_list_fini(&s->tokens);
    token_list_fini(&s->labels);
}

void encoded_fini(struct encoded *x)
{
    sequence_fini(&x->sequence);
    sequence_fini(&x->rejected);
    free(x->input);
    free(x->target);
    *x = (struct encoded){0};
}

/* Keeps the memory. */
static void clear(struct encoded *x)
{
    x->sequence.tokens.count = x->sequence.labels.count = 0;
    x->rejected.tokens.count = x->rejected.labels.count = 0;
    x->has_target = x->last_turn_only = x->cut = false;
    x->class = -1;
}

/* ---- texts ---- */

static int push(struct encoded_sequence *s, int32_t token, int32_t label, struct err *e)
{
    return token_list_push(&s->tokens, token) == 0 && token_list_push(&s->labels, label) == 0 ? 0
                                                                                              : err_memory(e);
}

/* Tokens as a prompt of requests has them, with what the tokenizer puts around a text where that is asked
 * for. */
static int add_text(const struct encode_options *o, const json_t *text, bool special, bool learnt,
                    struct encoded_sequence *out, struct err *e)
{
    size_t from = out->tokens.count;
    if (tokenizer_encode(o->tokenizer, json_string_value(text), json_string_length(text), special,
                         &out->tokens, e) != 0)
        return -1;
    for (size_t i = from; i < out->tokens.count; i++)
        if (token_list_push(&out->labels, learnt ? out->tokens.ids[i] : TRAIN_NO_LABEL) != 0)
            return err_memory(e);
    return 0;
}

static bool is_eos(const struct model_info *info, int32_t id)
{
    for (int i = 0; i < info->eos_count; i++)
        if (info->eos[i] == id)
            return true;
    return false;
}

/* The token that ends a generation: the tokenizer's, where the daemon stops at it, otherwise the base's
 * first. -1: it has none. */
static int32_t end_token(const struct encode_options *o)
{
    const char *name = o->chat ? chat_special_token(o->chat, "eos_token") : NULL;
    int32_t id = name ? tokenizer_find(o->tokenizer, name) : -1;
    if (id >= 0 && is_eos(o->info, id))
        return id;
    return o->info->eos_count > 0 ? o->info->eos[0] : -1;
}

static int add_end(const struct encode_options *o, struct encoded_sequence *out, struct err *e)
{
    int32_t id = end_token(o);
    size_t count = out->tokens.count;
    bool there = id < 0 || (count > 0 && out->tokens.ids[count - 1] == id);
    return there ? 0 : push(out, id, id, e);
}

static int encode_completion(const struct encode_options *o, const struct example *x, struct encoded *out,
                             struct err *e)
{
    bool all = o->turns == ENCODE_ALL;
    if (add_text(o, json_object_get(x->json, "prompt"), true, all, &out->sequence, e) != 0 ||
        add_text(o, json_object_get(x->json, "completion"), false, true, &out->sequence, e) != 0)
        return -1;
    return add_end(o, &out->sequence, e);
}

static int encode_text(const struct encode_options *o, const struct example *x, struct encoded *out,
                       struct err *e)
{
    if (add_text(o, json_object_get(x->json, "text"), true, true, &out->sequence, e) != 0)
        return -1;
    return add_end(o, &out->sequence, e);
}

/* ---- tokens ---- */

static int check_vocabulary(const struct encode_options *o, json_int_t id, const char *what, size_t at,
                            struct err *e)
{
    return id < o->info->vocab_size ? 0
                                    : err_set(e, CODE, "%s %zu is %lld, the base's vocabulary has %d tokens",
                                              what, at, (long long)id, o->info->vocab_size);
}

/* `labels`: a list as long, or NULL: all tokens are learnt, or none. */
static int add_tokens(const struct encode_options *o, const json_t *tokens, const json_t *labels, bool learnt,
                      struct encoded_sequence *out, struct err *e)
{
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        json_int_t id = json_integer_value(json_array_get(tokens, i));
        json_int_t label = learnt ? id : TRAIN_NO_LABEL;
        if (labels)
            label = json_integer_value(json_array_get(labels, i));
        if (check_vocabulary(o, id, "token", i, e) != 0 || check_vocabulary(o, label, "label", i, e) != 0 ||
            push(out, (int32_t)id, (int32_t)label, e) != 0)
            return -1;
    }
    return 0;
}

static int encode_tokens(const struct encode_options *o, const struct example *x, struct encoded *out,
                         struct err *e)
{
    return add_tokens(o, json_object_get(x->json, "tokens"), json_object_get(x->json, "labels"), false,
                      &out->sequence, e);
}

/* ---- conversations and preferences ---- */

static int encode_chat(const struct encode_options *o, const struct example *x, struct encoded *out,
                       struct err *e)
{
    return conversation_encode(o, json_object_get(x->json, "messages"), json_object_get(x->json, "tools"),
                               &out->sequence, &out->last_turn_only, e);
}

/* The answer alone is learnt, whatever the prompt holds of earlier ones. */
static int encode_answer(const struct encode_options *o, const json_t *input, const char *name,
                         const struct example *x, struct encoded_sequence *out, struct err *e)
{
    struct encode_options last = *o;
    last.turns = ENCODE_LAST;
    bool ignored;
    json_t *messages = json_copy(json_object_get(input, "messages"));
    int result =
        messages && json_array_extend(messages, json_object_get(x->json, name)) == 0 ? 0 : err_memory(e);
    if (result == 0)
        result = conversation_encode(&last, messages, json_object_get(input, "tools"), out, &ignored, e);
    json_decref(messages);
    return result;
}

static int encode_preference(const struct encode_options *o, const struct example *x, struct encoded *out,
                             struct err *e)
{
    const json_t *input = json_object_get(x->json, "input");
    if (encode_answer(o, input, "preferred_output", x, &out->sequence, e) != 0)
        return -1;
    return encode_answer(o, input, "non_preferred_output", x, &out->rejected, e);
}

static int encode_token_pair(const struct encode_options *o, const struct example *x, struct encoded *out,
                             struct err *e)
{
    const json_t *prompt = json_object_get(x->json, "prompt_tokens");
    if (add_tokens(o, prompt, NULL, false, &out->sequence, e) != 0 ||
        add_tokens(o, json_object_get(x->json, "chosen_tokens"), NULL, true, &out->sequence, e) != 0 ||
        add_tokens(o, prompt, NULL, false, &out->rejected, e) != 0)
        return -1;
    return add_tokens(o, json_object_get(x->json, "rejected_tokens"), NULL, true, &out->rejected, e);
}

/* ---- numbers ---- */

static int read_numbers(const json_t *list, int count, const char *what, float **out, struct err *e)
{
    if (json_array_size(list) != (size_t)count)
        return err_set(e, CODE, "there are %zu %s, the base has %d", json_array_size(list), what, count);
    if (!*out && !(*out = calloc((size_t)count + 1, sizeof **out)))
        return err_memory(e);
    for (int i = 0; i < count; i++)
        (*out)[i] = (float)json_number_value(json_array_get(list, (size_t)i));
    return 0;
}

static int read_class(const struct encode_options *o, const json_t *target, struct encoded *out,
                      struct err *e)
{
    json_int_t class = json_integer_value(target);
    if (!json_is_integer(target))
        return err_set(e, CODE, "the loss cross_entropy takes a class as \"target\", not a list");
    if (class >= o->info->vocab_size)
        return err_set(e, CODE, "the target is the class %lld, the base has %d outputs: 0 to %d",
                       (long long)class, o->info->vocab_size, o->info->vocab_size - 1);
    out->class = (int32_t) class;
    return 0;
}

static int encode_numeric(const struct encode_options *o, const struct example *x, struct encoded *out,
                          struct err *e)
{
    const json_t *target = json_object_get(x->json, "target");
    if (read_numbers(json_object_get(x->json, "input"), o->info->input_size, "inputs", &out->input, e) != 0)
        return -1;
    if (o->loss == TRAIN_CROSS_ENTROPY)
        return read_class(o, target, out, e);
    if (!json_is_array(target))
        return err_set(e, CODE,
                       "this loss takes a list as \"target\", one number for each output, not a class");
    out->has_target = true;
    return read_numbers(target, o->info->vocab_size, "targets", &out->target, e);
}

/* ---- all forms ---- */

static int check_kind(const struct encode_options *o, const struct example *x, struct err *e)
{
    enum example_kind kind = example_kind(x->form), wanted = EXAMPLE_SUPERVISED;
    if (o->info->numeric)
        wanted = EXAMPLE_NUMBERS;
    else if (o->method == TRAIN_DPO)
        wanted = EXAMPLE_PAIR;
    if (kind == wanted)
        return 0;
    const char *why = wanted == EXAMPLE_NUMBERS ? "the base takes rows of numbers"
                      : wanted == EXAMPLE_PAIR  ? "the method is dpo"
                      : kind == EXAMPLE_NUMBERS ? "the base is a language model"
                                                : "the method is supervised";
    return err_set(e, CODE, "this is %s, but %s", example_kind_name(kind), why);
}

/* Longer ones are cut where that was asked for; of a preference nothing can go without changing it. */
static int fit(const struct encode_options *o, struct encoded_sequence *s, struct encoded *out, struct err *e)
{
    size_t context = (size_t)o->info->context_length, count = s->tokens.count;
    size_t most = o->max_length > 0 && (size_t)o->max_length < context ? (size_t)o->max_length : context;
    if (count <= most)
        return 0;
    if (o->max_length > 0 && o->method != TRAIN_DPO) {
        s->tokens.count = s->labels.count = most;
        out->cut = true;
        return 0;
    }
    err_set(e, CODE, "the example has %zu tokens, %s %zu", count,
            most < context ? "max_length is" : "the base's context is", most);
    return err_hint(e, "shorten it, or set \"max_length\" to have longer ones cut");
}

int encode_example(const struct encode_options *o, struct example *x, struct encoded *out, struct err *e)
{
    static int (*const encoders[])(const struct encode_options *o, const struct example *x,
                                   struct encoded *out, struct err *e) = {
        [EXAMPLE_CHAT] = encode_chat,
        [EXAMPLE_COMPLETION] = encode_completion,
        [EXAMPLE_TEXT] = encode_text,
        [EXAMPLE_TOKENS] = encode_tokens,
        [EXAMPLE_PREFERENCE] = encode_preference,
        [EXAMPLE_PREFERENCE_TOKENS] = encode_token_pair,
        [EXAMPLE_NUMERIC] = encode_numeric,
    };
    clear(out);
    if (check_kind(o, x, e) != 0 || encoders[x->form](o, x, out, e) != 0)
        return -1;
    return o->info->numeric || (fit(o, &out->sequence, out, e) == 0 && fit(o, &out->rejected, out, e) == 0)
               ? 0
               : -1;
}

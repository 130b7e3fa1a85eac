#include "adapters/training/dataset/conversation.h"

#include <stdlib.h>
#include <string.h>

#include "adapters/training/dataset/align.h"
#include "adapters/training/dataset/messages.h"
#include "core/template/message.h"
#include "core/train/train_data.h"

static const char CODE[] = "invalid_training_file";

struct conversation {
    const struct encode_options *options;
    json_t *messages;
    const json_t *tools;
    size_t count;
    bool *learnt; /* owned [count] */
    struct buf text;
    struct template_spans marked; /* by the template */
    struct template_spans turns;  /* what is learnt; at most one for each message */
    struct token_list *tokens;
};

static void conversation_fini(struct conversation *c)
{
    free(c->learnt);
    buf_fini(&c->text);
    template_spans_fini(&c->marked);
    template_spans_fini(&c->turns);
}

static int conversation_init(struct conversation *c, struct err *e)
{
    c->count = json_array_size(c->messages);
    c->learnt = calloc(c->count + 1, sizeof *c->learnt);
    c->turns.items = calloc(c->count + 1, sizeof *c->turns.items);
    if (!c->learnt || !c->turns.items)
        return err_memory(e);
    bool later = false, some = false;
    for (size_t i = c->count; i-- > 0;) {
        const json_t *message = json_array_get(c->messages, i);
        c->learnt[i] = messages_is_learnt(message) && !(later && c->options->turns == ENCODE_LAST);
        later = later || message_is_assistants(message);
        some = some || c->learnt[i];
    }
    messages_strip(c->messages);
    return some ? 0
                : err_set(e, CODE,
                          "there is nothing to learn: the last turn of the assistant has the weight 0");
}

/* ---- rendering ---- */

/* What a template says about a conversation is about the file's line. */
static int render_failed(struct err *e)
{
    struct err inner = *e;
    if (strcmp(inner.code, "chat_refused") != 0 && strcmp(inner.code, "chat_template_failed") != 0)
        return -1;
    return err_set(e, CODE, "the chat template does not take this conversation: %s", inner.message);
}

/* Messages up to `count`; `opened`: and what opens the assistant's turn. */
static int render(const struct conversation *c, size_t count, bool opened, struct buf *out,
                  struct template_spans *spans, struct err *e)
{
    json_t *some = json_array(), *variables = json_pack("{s:b}", "add_generation_prompt", opened);
    int failed = !some || !variables;
    for (size_t i = 0; i < count && !failed; i++)
        failed = json_array_append(some, json_array_get(c->messages, i));
    if (!failed && json_array_size(c->tools) > 0)
        failed = json_object_set(variables, "tools", (json_t *)c->tools);
    int result = failed ? err_memory(e) : chat_render_spans(c->options->chat, some, variables, out, spans, e);
    json_decref(some);
    json_decref(variables);
    return result != 0 ? render_failed(e) : buf_reserve(out, 1) == 0 ? 0 : err_memory(e);
}

/* ---- turns by the template's own marks ---- */

static size_t assistant_turns(const struct conversation *c)
{
    size_t turns = 0;
    for (size_t i = 0; i < c->count; i++)
        turns += message_is_assistants(json_array_get(c->messages, i));
    return turns;
}

static int turns_of_marks(struct conversation *c, struct err *e)
{
    size_t marks = c->marked.count, turn = 0;
    if (marks != assistant_turns(c))
        return err_set(e, CODE,
                       "the chat template marks %zu turns of the assistant, the conversation has %zu", marks,
                       assistant_turns(c));
    for (size_t i = 0; i < c->count; i++) {
        if (!message_is_assistants(json_array_get(c->messages, i)))
            continue;
        if (c->learnt[i])
            c->turns.items[c->turns.count++] = c->marked.items[turn];
        turn++;
    }
    return 0;
}

/* ---- turns by prefixes ---- */

static size_t common(const struct buf *a, const struct buf *b)
{
    size_t same = 0;
    while (same < a->length && same < b->length && a->data[same] == b->data[same])
        same++;
    return same;
}

static bool begins_with(const struct buf *text, const struct buf *prefix)
{
    return common(text, prefix) == prefix->length;
}

static bool is_file_error(const struct err *e)
{
    return strcmp(e->code, CODE) == 0;
}

/* The turn of message i: from where the opened prefix ends to where the prefix with it does. 1: found; 0: the
 * prefixes are not those of the whole, also because the template takes none of them. */
static int find_turn(const struct conversation *c, size_t i, struct template_span *out, struct err *e)
{
    struct buf before = {0}, opened = {0}, after = {0};
    int result = render(c, i, false, &before, NULL, e);
    if (result == 0)
        result = render(c, i, true, &opened, NULL, e);
    if (result == 0 && i + 1 < c->count)
        result = render(c, i + 1, false, &after, NULL, e);
    const struct buf *with = i + 1 < c->count ? &after : &c->text;
    if (result != 0)
        result = is_file_error(e) ? 0 : -1;
    else if (begins_with(&c->text, &before) && begins_with(&c->text, with)) {
        /* A template may open a turn with more than it writes for one that is over (<think>). */
        *out = (struct template_span){common(&c->text, &opened), with->length};
        result = out->from >= before.length && out->from < out->to;
    }
    buf_fini(&before);
    buf_fini(&opened);
    buf_fini(&after);
    return result;
}

static int turns_of_prefixes(struct conversation *c, bool *last_only, struct err *e)
{
    size_t wanted = 0;
    int found = 1;
    for (size_t i = 0; i < c->count; i++) {
        if (!c->learnt[i])
            continue;
        wanted++;
        found = find_turn(c, i, &c->turns.items[c->turns.count], e);
        if (found < 0)
            return -1;
        c->turns.count += (size_t)found;
    }
    *last_only = c->turns.count < wanted;
    if (!*last_only)
        return 0;
    if (!found) {
        err_set(e, CODE,
                "prefixes_disagree: the chat template writes the conversation's last turn to learn "
                "otherwise when it stands at the end");
        return err_hint(e, "a template with {%% generation %%} says itself what the assistant's words are");
    }
    c->turns.items[0] = c->turns.items[c->turns.count - 1];
    c->turns.count = 1;
    return 0;
}

/* ---- from bytes to tokens ---- */

enum { MARKS = 3 }; /* of a turn: its first byte, its last one but for space, its last one */

static size_t character_before(const char *text, size_t end)
{
    while (end > 0 && ((unsigned char)text[--end] & 0xC0) == 0x80)
        ;
    return end;
}

static void set_marks(const struct buf *text, struct template_span turn, struct align_mark marks[MARKS])
{
    size_t words = turn.to;
    while (words > turn.from && memchr(" \t\r\n", text->data[words - 1], 4))
        words--;
    marks[0].byte = turn.from;
    marks[1].byte = words > turn.from ? character_before(text->data, words) : turn.from;
    marks[2].byte = character_before(text->data, turn.to);
}

/* What a template writes behind the token that ends a turn is never generated. */
static bool ends_turn(const struct encode_options *o, int32_t id)
{
    for (int i = 0; i < o->info->eos_count; i++)
        if (o->info->eos[i] == id)
            return true;
    return tokenizer_is_special(o->tokenizer, id);
}

static void label_turn(const struct conversation *c, const struct align_mark marks[MARKS], bool marked,
                       int32_t *labels)
{
    size_t last = marks[2].token;
    if (!marked && ends_turn(c->options, c->tokens->ids[marks[1].token]))
        last = marks[1].token;
    for (size_t i = marks[0].token; i <= last; i++)
        labels[i] = c->tokens->ids[i];
}

static int label_turns(const struct conversation *c, int32_t *labels, struct err *e)
{
    size_t count = c->turns.count;
    struct align_mark *marks = calloc(count * MARKS + 1, sizeof *marks);
    if (!marks)
        return err_memory(e);
    for (size_t i = 0; i < count; i++)
        set_marks(&c->text, c->turns.items[i], marks + i * MARKS);
    int result =
        align_tokens(c->options->tokenizer, c->text.data, c->text.length, c->tokens, marks, count * MARKS, e);
    for (size_t i = 0; i < count && result == 0; i++)
        label_turn(c, marks + i * MARKS, c->marked.count > 0, labels);
    free(marks);
    return result;
}

static int encode(struct conversation *c, struct encoded_sequence *out, bool *last_only, struct err *e)
{
    const struct encode_options *o = c->options;
    bool all = o->turns == ENCODE_ALL;
    c->tokens = &out->tokens;
    if (conversation_init(c, e) != 0 || render(c, c->count, false, &c->text, &c->marked, e) != 0 ||
        tokenizer_encode(o->tokenizer, c->text.data, c->text.length, false, &out->tokens, e) != 0)
        return -1;
    for (size_t i = 0; i < out->tokens.count; i++)
        if (token_list_push(&out->labels, all ? out->tokens.ids[i] : TRAIN_NO_LABEL) != 0)
            return err_memory(e);
    /* what is too long is refused next: prefixes would only take time */
    if (all || (!o->max_length && out->tokens.count > (size_t)o->info->context_length))
        return 0;
    if ((c->marked.count > 0 ? turns_of_marks(c, e) : turns_of_prefixes(c, last_only, e)) != 0)
        return -1;
    return label_turns(c, out->labels.ids, e);
}

int conversation_encode(const struct encode_options *o, json_t *messages, const json_t *tools,
                        struct encoded_sequence *out, bool *last_only, struct err *e)
{
    struct conversation c = {.options = o, .messages = messages, .tools = tools};
    *last_only = false;
    int result = encode(&c, out, last_only, e);
    conversation_fini(&c);
    return result;
}

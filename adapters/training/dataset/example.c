#include "adapters/training/dataset/example.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "adapters/training/dataset/messages.h"
#include "core/base/utf8.h"
#include "core/template/message.h"
#include "core/train/train_data.h"

static const char CODE[] = "invalid_training_file";

enum example_kind example_kind(enum example_form form)
{
    switch (form) {
    case EXAMPLE_PREFERENCE:
    case EXAMPLE_PREFERENCE_TOKENS:
        return EXAMPLE_PAIR;
    case EXAMPLE_NUMERIC:
        return EXAMPLE_NUMBERS;
    default:
        return EXAMPLE_SUPERVISED;
    }
}

const char *example_kind_name(enum example_kind kind)
{
    static const char *const names[] = {[EXAMPLE_SUPERVISED] = "an example of an answer",
                                        [EXAMPLE_PAIR] = "a preference between two answers",
                                        [EXAMPLE_NUMBERS] = "an example of numbers"};
    return names[kind];
}

/* ---- JSON ---- */

/* Of what lists and objects take: some hundred bytes each, for two of text. */
static int count_containers(const char *text, size_t length, struct err *e)
{
    size_t count = 0;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"')
            quoted = !quoted;
        else if (quoted && text[i] == '\\')
            i++;
        else if (!quoted && (text[i] == '[' || text[i] == '{'))
            count++;
    }
    return count <= EXAMPLE_CONTAINERS_MAX
               ? 0
               : err_set(e, CODE, "the line may have %d lists and objects at most", EXAMPLE_CONTAINERS_MAX);
}

/* The usual mistakes are whole files of another kind. */
static int not_json(const char *text, size_t length, const json_error_t *error, struct err *e)
{
    bool utf16 = length >= 2 && (memcmp(text, "\xFF\xFE", 2) == 0 || memcmp(text, "\xFE\xFF", 2) == 0);
    if (utf16)
        err_set(e, CODE, "the text is UTF-16, not UTF-8");
    else if (length >= 2 && memcmp(text, "PK", 2) == 0)
        err_set(e, CODE, "this is an archive, not a text");
    else if (!utf8_valid(text, length))
        err_set(e, CODE, "the text is not UTF-8");
    else if (error)
        err_set(e, CODE, "not JSON: %s (column %d)", error->text, error->column);
    else
        err_set(e, CODE, "not JSON: it contains a zero byte");
    return err_hint(e, "%s",
                    utf16 ? "save the file as UTF-8"
                          : "a training file has one JSON object on each line, in UTF-8 (JSON Lines)");
}

static json_t *parse(const char *text, size_t length, struct err *e)
{
    json_error_t error;
    if (memchr(text, '\0', length) || !utf8_valid(text, length)) {
        not_json(text, length, NULL, e);
        return NULL;
    }
    if (count_containers(text, length, e) != 0)
        return NULL;
    json_t *value =
        json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!value)
        json_error_code(&error) == json_error_out_of_memory ? err_memory(e)
                                                            : not_json(text, length, &error, e);
    else if (!json_is_object(value)) {
        err_set(e, CODE, "a line must be a JSON object");
        if (json_is_array(value))
            err_hint(e, "write the entries of the list, one on each line, without brackets and commas");
        json_decref(value);
        value = NULL;
    }
    return value;
}

/* ---- lists of numbers ---- */

static json_t *list_of(const struct example *x, const char *name, struct err *e)
{
    json_t *list = json_object_get(x->json, name);
    if (!list)
        err_set(e, CODE, "\"%s\" is missing", name);
    else if (!json_is_array(list))
        err_set(e, CODE, "\"%s\" must be a list of numbers", name);
    else if (json_array_size(list) == 0)
        err_set(e, CODE, "\"%s\" is empty", name);
    else
        return list;
    return NULL;
}

static int check_token(const json_t *value, bool label, const char *name, size_t at, struct err *e)
{
    json_int_t id = json_integer_value(value);
    if (!json_is_integer(value))
        return err_set(e, CODE, "%s %zu is no whole number", name, at);
    if ((id < 0 && !(label && id == TRAIN_NO_LABEL)) || id > INT32_MAX)
        return err_set(e, CODE, "%s %zu is %lld: %s", name, at, (long long)id,
                       label ? "a label is a token's number, or -100 for none"
                             : "a token is a number from 0 on, below the size of the vocabulary");
    return 0;
}

static const json_t *check_tokens(const struct example *x, const char *name, bool labels, struct err *e)
{
    const json_t *list = list_of(x, name, e);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (check_token(json_array_get(list, i), labels, labels ? "label" : "token", i, e) != 0)
            return NULL;
    return list;
}

static int check_labels(const struct example *x, struct err *e)
{
    const json_t *tokens = check_tokens(x, "tokens", false, e);
    const json_t *labels = tokens ? check_tokens(x, "labels", true, e) : NULL;
    if (!labels)
        return -1;
    if (json_array_size(labels) != json_array_size(tokens))
        return err_set(e, CODE, "there are %zu labels for %zu tokens", json_array_size(labels),
                       json_array_size(tokens));
    for (size_t i = 0; i < json_array_size(labels); i++)
        if (json_integer_value(json_array_get(labels, i)) != TRAIN_NO_LABEL)
            return 0;
    return err_set(e, CODE, "there is nothing to learn: every label is -100");
}

static int check_token_pair(const struct example *x, struct err *e)
{
    const json_t *chosen, *rejected;
    if (!check_tokens(x, "prompt_tokens", false, e) ||
        !(chosen = check_tokens(x, "chosen_tokens", false, e)) ||
        !(rejected = check_tokens(x, "rejected_tokens", false, e)))
        return -1;
    return json_equal(chosen, rejected) ? err_set(e, CODE, "both answers are the same: none is preferred")
                                        : 0;
}

/* ---- numbers ---- */

static int check_numbers(const json_t *list, const char *name, struct err *e)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_number(value))
            return err_set(e, CODE, "\"%s\" must be a list of numbers: entry %zu is none", name, i);
        if (!isfinite((float)json_number_value(value)))
            return err_set(e, CODE, "entry %zu of \"%s\" is too large for a number of 32 bits", i, name);
    }
    return 0;
}

static int check_numeric(const struct example *x, struct err *e)
{
    const json_t *input = list_of(x, "input", e), *target = json_object_get(x->json, "target");
    if (!input || check_numbers(input, "input", e) != 0)
        return -1;
    if (!target)
        return err_set(e, CODE, "\"target\" is missing: a list of numbers, or the number of a class");
    if (json_is_array(target))
        return list_of(x, "target", e) ? check_numbers(target, "target", e) : -1;
    json_int_t class = json_integer_value(target);
    return json_is_integer(target) && class >= 0 && class <= INT32_MAX
               ? 0
               : err_set(e, CODE,
                         "\"target\" must be a list of numbers, or a class: a whole number from 0 on");
}

/* ---- texts and conversations ---- */

static int check_text(const struct example *x, const char *name, bool may_be_empty, struct err *e)
{
    const json_t *text = json_object_get(x->json, name);
    if (!text)
        return err_set(e, CODE, "\"%s\" is missing", name);
    if (!json_is_string(text))
        return err_set(e, CODE, "\"%s\" must be a text", name);
    return may_be_empty || json_string_length(text) > 0 ? 0 : err_set(e, CODE, "\"%s\" is empty", name);
}

static int check_completion(const struct example *x, struct err *e)
{
    return check_text(x, "prompt", true, e) != 0 ? -1 : check_text(x, "completion", false, e);
}

static int check_plain_text(const struct example *x, struct err *e)
{
    return check_text(x, "text", false, e);
}

static int check_chat(const struct example *x, struct err *e)
{
    return messages_read_tools(json_object_get(x->json, "tools"), e) != 0
               ? -1
               : messages_read(json_object_get(x->json, "messages"), e);
}

static int check_preference(const struct example *x, struct err *e)
{
    json_t *input = json_object_get(x->json, "input");
    json_t *chosen = json_object_get(x->json, "preferred_output");
    json_t *rejected = json_object_get(x->json, "non_preferred_output");
    if (!json_is_object(input))
        return err_set(e, CODE, "\"input\" of a preference must be an object with \"messages\"");
    message_drop_nulls(input);
    if (messages_read_tools(json_object_get(input, "tools"), e) != 0 ||
        messages_read_input(json_object_get(input, "messages"), e) != 0 ||
        messages_read_answer(chosen, "preferred_output", e) != 0 ||
        messages_read_answer(rejected, "non_preferred_output", e) != 0)
        return -1;
    return json_equal(chosen, rejected) ? err_set(e, CODE, "both answers are the same: none is preferred")
                                        : 0;
}

/* ---- forms ---- */

static int (*const checks[])(const struct example *x, struct err *e) = {
    [EXAMPLE_CHAT] = check_chat,
    [EXAMPLE_COMPLETION] = check_completion,
    [EXAMPLE_TEXT] = check_plain_text,
    [EXAMPLE_TOKENS] = check_labels,
    [EXAMPLE_PREFERENCE] = check_preference,
    [EXAMPLE_PREFERENCE_TOKENS] = check_token_pair,
    [EXAMPLE_NUMERIC] = check_numeric,
};

static int conflict(const char *one, const char *other, struct err *e)
{
    return err_set(e, CODE, "a line has one form: \"%s\" and \"%s\" do not go together", one, other);
}

/* By its fields; columns of a table that have nothing to say here may stand beside them. "input" belongs to
 * two forms: an object is what a preference is about. */
static int find_form(struct example *x, struct err *e)
{
    static const struct {
        const char *name;
        enum example_form form;
    } fields[] = {{"messages", EXAMPLE_CHAT},
                  {"prompt", EXAMPLE_COMPLETION},
                  {"completion", EXAMPLE_COMPLETION},
                  {"text", EXAMPLE_TEXT},
                  {"tokens", EXAMPLE_TOKENS},
                  {"labels", EXAMPLE_TOKENS},
                  {"prompt_tokens", EXAMPLE_PREFERENCE_TOKENS},
                  {"chosen_tokens", EXAMPLE_PREFERENCE_TOKENS},
                  {"rejected_tokens", EXAMPLE_PREFERENCE_TOKENS},
                  {"preferred_output", EXAMPLE_PREFERENCE},
                  {"non_preferred_output", EXAMPLE_PREFERENCE},
                  {"target", EXAMPLE_NUMERIC}};
    const char *found = NULL;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!json_object_get(x->json, fields[i].name))
            continue;
        if (found && x->form != fields[i].form)
            return conflict(found, fields[i].name, e);
        found = fields[i].name;
        x->form = fields[i].form;
    }
    const json_t *input = json_object_get(x->json, "input");
    if (!found && input) {
        x->form = json_is_object(input) ? EXAMPLE_PREFERENCE : EXAMPLE_NUMERIC;
        found = "input";
    }
    if (found)
        return 0;
    err_set(e, CODE, "the line has none of the known forms");
    return err_hint(e,
                    "\"messages\"; \"prompt\" and \"completion\"; \"text\"; \"tokens\" and \"labels\"; "
                    "\"input\" with \"preferred_output\" and \"non_preferred_output\", or with \"target\"");
}

int example_read(struct example *out, const char *text, size_t length, struct err *e)
{
    struct example x = {.json = parse(text, length, e)};
    if (!x.json)
        return -1;
    message_drop_nulls(x.json);
    if (find_form(&x, e) != 0 || checks[x.form](&x, e) != 0) {
        example_fini(&x);
        return -1;
    }
    *out = x;
    return 0;
}

void example_fini(struct example *x)
{
    json_decref(x->json);
    x->json = NULL;
}

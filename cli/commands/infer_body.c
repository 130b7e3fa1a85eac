#include "cli/commands/infer_body.h"

#include <string.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/system/file.h"

static int set(json_t *body, const char *name, json_t *value, struct err *e)
{
    return json_object_set_new(body, name, value) == 0 ? 0 : err_memory(e);
}

/* ---- what goes in ---- */

static int set_text(json_t *body, const char *name, const char *text, size_t length, const char *what,
                    struct err *e)
{
    json_t *value = json_stringn(text, length);
    return value ? set(body, name, value, e) : err_set(e, "usage", "%s is not UTF-8 text", what);
}

static int read_input(struct buf *text, struct err *e)
{
    char chunk[65536];
    ssize_t count;
    if (isatty(STDIN_FILENO))
        fprintf(stderr, "reading the prompt from standard input; Ctrl-D ends it\n");
    while ((count = read(STDIN_FILENO, chunk, sizeof chunk)) > 0) {
        if (text->length + (size_t)count > INFER_PROMPT_BYTES_MAX)
            return err_set(e, "usage", "the prompt on standard input is larger than %d bytes",
                           INFER_PROMPT_BYTES_MAX);
        if (buf_append(text, chunk, (size_t)count) != 0)
            return err_memory(e);
    }
    return count == 0 ? 0 : err_errno(e, "cannot read standard input");
}

/* `path` NULL or "-": standard input. */
static int set_prompt_file(json_t *body, const char *path, struct err *e)
{
    struct buf text = {0};
    int from_stdin = !path || strcmp(path, "-") == 0;
    int result = from_stdin ? read_input(&text, e) : file_read(path, INFER_PROMPT_BYTES_MAX, &text, e);
    if (result == 0)
        result = set_text(body, "prompt", text.data ? text.data : "", text.length,
                          from_stdin ? "the prompt on standard input" : path, e);
    buf_fini(&text);
    return result;
}

static int add_message(json_t *list, const char *const value[2], struct err *e)
{
    json_t *message = json_pack("{s:s, s:s}", "role", value[0], "content", value[1]);
    if (!message)
        return err_set(e, "usage", "--message %s: role or text is not UTF-8", value[0]);
    return json_array_append_new(list, message) == 0 ? 0 : err_memory(e);
}

static int set_messages(json_t *body, const struct args *a, struct err *e)
{
    json_t *list = json_array();
    if (set(body, "messages", list, e) != 0)
        return -1;
    for (size_t i = 0; i < a->given_count; i++)
        if (strcmp(a->given[i].option->name, "--message") == 0 &&
            add_message(list, a->given[i].value, e) != 0)
            return -1;
    return 0;
}

static int set_numbers(json_t *body, const char *text, struct err *e)
{
    json_t *input = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_array(input))
        return set(body, "input", input, e);
    json_decref(input);
    return err_set(e, "usage", "--input must be a JSON array of numbers, or of arrays of numbers");
}

static int set_question(json_t *body, const struct args *a, struct err *e)
{
    const char *prompt = args_get(a, "--prompt"), *file = args_get(a, "--prompt-file");
    const char *message = args_get(a, "--message"), *input = args_get(a, "--input");
    if (!!prompt + !!file + !!message + !!input > 1)
        return err_set(e, "usage", "give one of --prompt, --prompt-file, --message and --input");
    if (prompt)
        return set_text(body, "prompt", prompt, strlen(prompt), "--prompt", e);
    if (message)
        return set_messages(body, a, e);
    return input ? set_numbers(body, input, e) : set_prompt_file(body, file, e);
}

/* ---- whose, and how ---- */

static int set_adapter(json_t *body, const struct args *a, struct err *e)
{
    const char *tenant = args_get(a, "--tenant"), *adapter = args_get(a, "--adapter");
    int base = args_get(a, "--base") != NULL;
    if (base && adapter)
        return err_set(e, "usage", "--base and --adapter exclude each other");
    if (tenant && set_text(body, "tenant", tenant, strlen(tenant), "--tenant", e) != 0)
        return -1;
    if (adapter && set_text(body, "adapter", adapter, strlen(adapter), "--adapter", e) != 0)
        return -1;
    return base ? set(body, "adapter", json_null(), e) : 0;
}

static int set_integer(json_t *body, const struct args *a, const char *option, const char *name,
                       struct err *e)
{
    int given;
    long long value;
    if (args_integer(a, option, 0, INT64_C(1) << 53, &given, &value, e) != 0)
        return -1;
    return given ? set(body, name, json_integer(value), e) : 0;
}

static int set_number(json_t *body, const struct args *a, const char *option, const char *name, struct err *e)
{
    int given;
    double value;
    if (args_number(a, option, &given, &value, e) != 0)
        return -1;
    return given ? set(body, name, json_real(value), e) : 0;
}

/* An option that may be repeated, as a list. */
static int set_list(json_t *body, const struct args *a, const char *option, const char *name, struct err *e)
{
    json_t *list = args_get(a, option) ? json_array() : NULL;
    if (!args_get(a, option))
        return 0;
    if (set(body, name, list, e) != 0)
        return -1;
    for (size_t i = 0; i < a->given_count; i++) {
        if (strcmp(a->given[i].option->name, option) != 0)
            continue;
        json_t *text = json_string(a->given[i].value[0]);
        if (!text)
            return err_set(e, "usage", "%s is not UTF-8 text", option);
        if (json_array_append_new(list, text) != 0)
            return err_memory(e);
    }
    return 0;
}

/* ---- what the answer has to be ---- */

static int set_schema(json_t *body, const char *path, struct err *e)
{
    json_error_t error;
    if (!path)
        return 0;
    json_t *schema = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!schema)
        return err_set(e, "usage", "%s, line %d: %s", path, error.line, error.text);
    return set(body, "response_format",
               json_pack("{s:s, s:{s:o}}", "type", "json_schema", "json_schema", "schema", schema), e);
}

static int set_grammar(json_t *body, const char *path, struct err *e)
{
    struct buf text = {0};
    int result = path ? file_read(path, INFER_PROMPT_BYTES_MAX, &text, e) : 0;
    if (path && result == 0)
        result = set_text(body, "grammar", text.data ? text.data : "", text.length, path, e);
    buf_fini(&text);
    return result;
}

static int set_structure(json_t *body, const struct args *a, struct err *e)
{
    const char *regex = args_get(a, "--regex");
    if (set_schema(body, args_get(a, "--schema"), e) != 0 ||
        set_grammar(body, args_get(a, "--grammar"), e) != 0 ||
        (regex && set_text(body, "regex", regex, strlen(regex), "--regex", e) != 0))
        return -1;
    return set_list(body, a, "--choice", "choice", e);
}

/* ---- what the template is given ---- */

static int set_template(json_t *body, const struct args *a, struct err *e)
{
    const char *text = args_get(a, "--template-kwargs");
    json_t *variables = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (text && !json_is_object(variables)) {
        json_decref(variables);
        return err_set(e, "usage", "--template-kwargs must be a JSON object");
    }
    if (variables && set(body, "chat_template_kwargs", variables, e) != 0)
        return -1;
    return args_get(a, "--continue") ? set(body, "continue_final_message", json_true(), e) : 0;
}

/* ---- how tokens are chosen ---- */

static int set_penalties(json_t *body, const struct args *a, struct err *e)
{
    if (set_number(body, a, "--repetition-penalty", "repetition_penalty", e) != 0 ||
        set_number(body, a, "--frequency-penalty", "frequency_penalty", e) != 0 ||
        set_number(body, a, "--presence-penalty", "presence_penalty", e) != 0 ||
        set_integer(body, a, "--min-tokens", "min_tokens", e) != 0)
        return -1;
    return args_get(a, "--show-special") ? set(body, "skip_special_tokens", json_false(), e) : 0;
}

static int set_sampling(json_t *body, const struct args *a, struct err *e)
{
    if (set_integer(body, a, "--max-tokens", "max_tokens", e) != 0 ||
        set_integer(body, a, "--top-k", "top_k", e) != 0 || set_integer(body, a, "--seed", "seed", e) != 0 ||
        set_integer(body, a, "--logprobs", "logprobs", e) != 0 ||
        set_number(body, a, "--temperature", "temperature", e) != 0 ||
        set_number(body, a, "--top-p", "top_p", e) != 0 || set_number(body, a, "--min-p", "min_p", e) != 0)
        return -1;
    if (set_penalties(body, a, e) != 0 || set_list(body, a, "--bad-word", "bad_words", e) != 0)
        return -1;
    return set_list(body, a, "--stop", "stop", e);
}

int infer_body_new(json_t **out, const struct args *a, struct err *e)
{
    json_t *body = json_object();
    if (!body)
        return err_memory(e);
    if (set_adapter(body, a, e) != 0 || set_sampling(body, a, e) != 0 || set_template(body, a, e) != 0 ||
        set_structure(body, a, e) != 0 || set_question(body, a, e) != 0) {
        json_decref(body);
        return -1;
    }
    *out = body;
    return 0;
}

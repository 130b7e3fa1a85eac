/* POST /tokenize and /detokenize. */
#include <string.h>

#include "server/base/fields.h"
#include "server/http/list.h"
#include "server/routes/handlers.h"
#include "server/http/reply.h"

static int check_language(struct request *r, struct err *e)
{
    if (r->server->tokenizer)
        return 0;
    return err_set(e, "input_unsupported", "the model \"%s\" takes rows of numbers and has no tokenizer",
                   r->server->model_name);
}

static int missing(const char *name, struct err *e)
{
    err_set(e, "missing_field", "\"%s\" is required", name);
    return err_param(e, name);
}

static json_t *tokens_json(const struct token_list *tokens)
{
    json_t *list = json_array();
    for (size_t i = 0; i < tokens->count; i++)
        list_add(&list, json_integer(tokens->ids[i]));
    return json_pack("{s:o}", "tokens", list);
}

static int tokenize(struct request *r, const json_t *body, struct token_list *out, struct err *e)
{
    static const char *const known[] = {"tenant", "text", "add_special_tokens", NULL};
    const char *text;
    size_t length;
    bool special = true;
    if (fields_known(body, known, e) != 0 || request_body_tenant(r, body, e) != 0)
        return -1;
    int found = field_string(body, "text", JSON_BODY_BYTES_MAX, &text, &length, e);
    if (found <= 0)
        return found < 0 ? -1 : missing("text", e);
    if (field_bool(body, "add_special_tokens", &special, e) < 0)
        return -1;
    return tokenizer_encode(r->server->tokenizer, text, length, special, out, e);
}

void route_text_tokenize(struct request *r)
{
    struct err e;
    struct token_list tokens = {0};
    json_t *body = check_language(r, &e) == 0 ? fields_parse(r->body.data, r->body.length, &e) : NULL;
    if (body && tokenize(r, body, &tokens, &e) == 0)
        reply_json(r, 200, tokens_json(&tokens));
    else
        reply_error(r, &e);
    token_list_fini(&tokens);
    json_decref(body);
}

static int detokenize(struct request *r, const json_t *body, struct buf *out, struct err *e)
{
    static const char *const known[] = {"tenant", "tokens", "skip_special_tokens", NULL};
    const struct tokenizer *t = r->server->tokenizer;
    struct token_list tokens = {0};
    bool skip = false;
    if (fields_known(body, known, e) != 0 || request_body_tenant(r, body, e) != 0)
        return -1;
    int found = field_tokens(body, "tokens", tokenizer_vocab_size(t), &tokens, e);
    int result = found < 0 ? -1 : found == 0 ? missing("tokens", e) : 0;
    if (result == 0 && field_bool(body, "skip_special_tokens", &skip, e) < 0)
        result = -1;
    if (result == 0)
        result = tokenizer_decode(t, tokens.ids, tokens.count, skip, out, e);
    token_list_fini(&tokens);
    return result;
}

void route_text_detokenize(struct request *r)
{
    struct err e;
    struct buf text = {0};
    json_t *body = check_language(r, &e) == 0 ? fields_parse(r->body.data, r->body.length, &e) : NULL;
    if (body && detokenize(r, body, &text, &e) == 0)
        reply_json(r, 200, json_pack("{s:s%}", "text", text.data ? text.data : "", text.length));
    else
        reply_error(r, &e);
    buf_fini(&text);
    json_decref(body);
}

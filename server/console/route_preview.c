/* POST /train/preview: an example as training reads it, token by token, and what of it is learnt. */
#include <stdlib.h>
#include <string.h>

#include "adapters/training/dataset/encode.h"
#include "core/tokenizer/detokenizer.h"
#include "server/base/fields.h"
#include "server/console/handlers.h"
#include "server/http/list.h"
#include "server/http/reply.h"

enum { LENGTH_MAX = 1 << 21 };

struct preview {
    struct example example;
    struct encode_options options;
    struct encoded encoded;
};

/* ---- what is asked for ---- */

static int read_turns(const json_t *body, enum encode_turns *out, struct err *e)
{
    static const char *const names[] = {
        [ENCODE_ASSISTANT] = "assistant", [ENCODE_LAST] = "last", [ENCODE_ALL] = "all"};
    const char *name;
    int found = field_text(body, "train_on", 16, &name, e);
    if (found <= 0)
        return found;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum encode_turns)i;
            return 1;
        }
    err_set(e, "out_of_range", "\"train_on\" must be \"assistant\", \"last\" or \"all\", found \"%s\"", name);
    return err_param(e, "train_on");
}

static int read_example(const json_t *body, struct example *out, struct err *e)
{
    const json_t *example = json_object_get(body, "example");
    if (!json_is_object(example)) {
        err_set(e, example ? "invalid_type" : "missing_field",
                "\"example\" must be a line of a file, an object");
        return err_param(e, "example");
    }
    char *line = json_dumps(example, JSON_COMPACT);
    if (!line)
        return err_memory(e);
    int result = example_read(out, line, strlen(line), e);
    free(line);
    return result;
}

static int read_body(struct request *r, const json_t *body, struct preview *p, struct err *e)
{
    static const char *const known[] = {"tenant", "example", "train_on", "max_length", NULL};
    const struct server *s = r->server;
    int64_t length = 0;
    if (!s->tokenizer)
        return err_set(e, "input_unsupported",
                       "the model \"%s\" takes rows of numbers, which are learnt as they are", s->model_name);
    if (fields_known(body, known, e) != 0 || request_body_tenant(r, body, e) != 0)
        return -1;
    p->options = (struct encode_options){.info = s->info, .tokenizer = s->tokenizer, .chat = s->chat};
    if (read_turns(body, &p->options.turns, e) < 0 ||
        field_integer(body, "max_length", 1, LENGTH_MAX, &length, e) < 0 ||
        read_example(body, &p->example, e) != 0)
        return -1;
    p->options.max_length = (int)length;
    p->options.method = example_kind(p->example.form) == EXAMPLE_PAIR ? TRAIN_DPO : TRAIN_SUPERVISED;
    return encode_example(&p->options, &p->example, &p->encoded, e);
}

/* ---- the answer ---- */

static json_t *piece(const struct buf *text, bool learnt)
{
    return json_pack("{s:s%, s:b}", "text", text->data ? text->data : "", text->length, "learnt", learnt);
}

/* A piece for each token; one that ends within a character is a part of the next. */
static json_t *pieces_json(const struct tokenizer *t, const struct encoded_sequence *q, int64_t *learnt)
{
    struct detokenizer d;
    struct buf text = {0};
    struct err ignored;
    json_t *list = json_array();
    *learnt = 0;
    detokenizer_init(&d, t, false);
    for (size_t i = 0; i < q->tokens.count && list; i++) {
        bool own = q->labels.ids[i] >= 0, last = i + 1 == q->tokens.count;
        *learnt += own;
        if (detokenizer_push(&d, q->tokens.ids[i], &text, &ignored) != 0 ||
            (last && detokenizer_finish(&d, &text, &ignored) != 0)) {
            json_decref(list);
            list = NULL;
        } else if (text.length) {
            list_add(&list, piece(&text, own));
            buf_clear(&text);
        }
    }
    detokenizer_fini(&d);
    buf_fini(&text);
    return list;
}

static json_t *preview_json(const struct request *r, const struct preview *p)
{
    const struct encoded *x = &p->encoded;
    int64_t learnt, refused = 0;
    bool pair = p->options.method == TRAIN_DPO;
    json_t *pieces = pieces_json(r->server->tokenizer, &x->sequence, &learnt);
    json_t *rejected = pair ? pieces_json(r->server->tokenizer, &x->rejected, &refused) : json_null();
    return json_pack("{s:I, s:I, s:b, s:b, s:o, s:o}", "tokens",
                     (json_int_t)(x->sequence.tokens.count + x->rejected.tokens.count), "target_tokens",
                     (json_int_t)(learnt + refused), "cut", x->cut, "last_turn_only", x->last_turn_only,
                     "pieces", pieces, "rejected_pieces", rejected);
}

void route_console_preview(struct request *r)
{
    struct err e;
    struct preview p = {0};
    json_t *body = fields_parse(r->body.data, r->body.length, &e);
    if (body && read_body(r, body, &p, &e) == 0)
        reply_json(r, 200, preview_json(r, &p));
    else
        reply_error(r, &e);
    encoded_fini(&p.encoded);
    example_fini(&p.example);
    json_decref(body);
}

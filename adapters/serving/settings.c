#include "adapters/serving/settings.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/serving/settings_tokens.h"
#include "core/format/json_file.h"

/* ---- references ---- */

struct counted {
    struct settings settings; /* first: its address is the object's */
    atomic_uint references;
};

struct settings *settings_ref(struct settings *s)
{
    atomic_fetch_add_explicit(&((struct counted *)s)->references, 1, memory_order_relaxed);
    return s;
}

void settings_unref(struct settings *s)
{
    struct counted *c = (struct counted *)s;
    if (!s || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1)
        return;
    chat_close(s->chat);
    tokenizer_close(s->tokenizer);
    free(c);
}

/* ---- reading ---- */

/* An object; NULL where the file is not there. */
static int parse(const struct settings_files *files, enum settings_file which, json_t **out, struct err *e)
{
    const char *name = settings_file_names[which];
    /* a length without limit is written as 10^30 */
    const struct json_file f = {name, "config_malformed", SETTINGS_FILE_BYTES_MAX,
                                JSON_ALLOW_NUL |
                                    JSON_DECODE_INT_AS_REAL * (which == SETTINGS_TOKENIZER_CONFIG)};
    const struct buf *text = &files->text[which];
    *out = NULL;
    if (!files->has[which])
        return 0;
    if (json_file_parse(&f, text->length ? text->data : "", text->length, out, e) != 0)
        return err_param(e, name);
    if (json_is_object(*out))
        return 0;
    json_decref(*out);
    *out = NULL;
    err_set(e, "config_malformed", "%s must be a JSON object", name);
    return err_param(e, name);
}

static void add_end(struct settings *s, int32_t token)
{
    for (int i = 0; i < s->end_count; i++)
        if (s->ends[i] == token)
            return;
    assert(s->end_count < SETTINGS_ENDS_MAX);
    s->ends[s->end_count++] = token;
}

static void take_ends_of_base(struct settings *s, const struct settings_base *base)
{
    const struct model_info *info = model_info(base->model);
    for (int i = 0; i < info->eos_count; i++)
        add_end(s, info->eos[i]);
}

static const struct tokenizer *tokenizer_of(const struct settings *s, const struct settings_base *base)
{
    return s->tokenizer ? s->tokenizer : base->tokenizer;
}

/* The text of eos_token is one token, or it ends nothing. */
static int add_eos_token(struct settings *s, const struct settings_base *base, struct warnings *w,
                         struct err *e)
{
    const char *text = chat_special(s->chat, "eos_token");
    struct token_list ids = {0};
    if (!text)
        return 0;
    int result = tokenizer_encode(tokenizer_of(s, base), text, strlen(text), false, &ids, e);
    if (result == 0 && ids.count == 1)
        add_end(s, ids.ids[0]);
    else if (result == 0)
        result = warnings_add(
            w, e, "tokenizer_config.json: there is no token \"%.64s\", so the eos_token ends no answer",
            text);
    token_list_fini(&ids);
    return result;
}

static int add_end_id(struct settings *s, int vocab, const json_t *id, struct err *e)
{
    bool known = json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < vocab;
    if (known && s->end_count < MODEL_EOS_MAX) {
        add_end(s, (int32_t)json_integer_value(id));
        return 0;
    }
    err_set(e, "config_malformed",
            "generation_config.json: eos_token_id must be up to %d token ids from 0 to %d", MODEL_EOS_MAX,
            vocab - 1);
    return err_param(e, "eos_token_id");
}

/* Where the file has them, these are all. */
static int take_end_ids(struct settings *s, int vocab, const json_t *generation, struct err *e)
{
    const json_t *ids = json_object_get(generation, "eos_token_id"), *id;
    size_t i;
    if (!ids || json_is_null(ids))
        return 0;
    s->end_count = 0;
    if (!json_is_array(ids))
        return add_end_id(s, vocab, ids, e);
    json_array_foreach(ids, i, id)
    {
        if (add_end_id(s, vocab, id, e) != 0)
            return -1;
    }
    return 0;
}

static int read_generation(struct settings *s, const struct settings_base *base, int vocab,
                           const json_t *generation, struct err *e)
{
    struct generation own;
    s->generation = *model_generation(base->model);
    if (!generation)
        return 0;
    if (generation_parse(&own, generation, e) != 0) {
        e->code = "config_malformed";
        e->hint[0] = '\0';
        return -1;
    }
    if (!base->no_generation)
        s->generation = own;
    return take_end_ids(s, vocab, generation, e);
}

/* The files that are JSON; each NULL where it is not there. Owned. */
struct parsed {
    json_t *tokenizer, *generation, *added;
};

static int read_files(struct settings *s, const struct settings_base *base, int vocab,
                      const struct settings_files *files, const struct parsed *p, struct warnings *w,
                      struct err *e)
{
    const json_t *tokenizer = p->tokenizer;
    const struct buf *template = &files->text[SETTINGS_CHAT_TEMPLATE];
    const char *text = !files->has[SETTINGS_CHAT_TEMPLATE] ? NULL : template->length ? template->data : "";
    if (chat_derive(&s->chat, base->chat, tokenizer, text, template->length, e) != 0)
        return -1;
    take_ends_of_base(s, base);
    if (settings_tokens(&s->tokenizer, base->tokenizer, vocab, tokenizer, p->added, w, e) != 0 ||
        (tokenizer && add_eos_token(s, base, w, e) != 0) ||
        read_generation(s, base, vocab, p->generation, e) != 0)
        return -1;
    const char *problem = chat_problem(s->chat);
    return problem && !chat_problem(base->chat)
               ? warnings_add(w, e, "requests with messages will be refused: %s", problem)
               : 0;
}

static int parse_all(struct parsed *p, const struct settings_files *files, struct err *e)
{
    if (parse(files, SETTINGS_TOKENIZER_CONFIG, &p->tokenizer, e) != 0 ||
        parse(files, SETTINGS_GENERATION_CONFIG, &p->generation, e) != 0)
        return -1;
    return parse(files, SETTINGS_ADDED_TOKENS, &p->added, e);
}

int settings_new(struct settings **out, const struct settings_base *base, int vocab,
                 const struct settings_files *files, struct warnings *w, struct err *e)
{
    struct parsed p = {0};
    if (!base->chat)
        return err_set(
            e, "input_unsupported", "the base takes rows of numbers: its adapters have no %s",
            "tokenizer_config.json, chat_template.jinja, generation_config.json or added_tokens.json");
    struct counted *c = calloc(1, sizeof *c);
    if (!c)
        return err_memory(e);
    atomic_init(&c->references, 1);
    int result = parse_all(&p, files, e);
    if (result == 0)
        result = read_files(&c->settings, base, vocab ? vocab : model_info(base->model)->vocab_size, files,
                            &p, w, e);
    json_decref(p.tokenizer);
    json_decref(p.generation);
    json_decref(p.added);
    if (result == 0)
        *out = &c->settings;
    else
        settings_unref(&c->settings);
    return result;
}

static bool same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool same_generation(const struct generation *a, const struct generation *b)
{
    return same_number(a->temperature, b->temperature) && same_number(a->top_p, b->top_p) &&
           same_number(a->min_p, b->min_p) && same_number(a->repetition_penalty, b->repetition_penalty) &&
           same_number(a->top_k, b->top_k);
}

static bool has_end(const struct settings *s, int token)
{
    for (int i = 0; i < s->end_count; i++)
        if (s->ends[i] == token)
            return true;
    return false;
}

bool settings_are_base(const struct settings *s, const struct settings_base *base)
{
    const struct model_info *info = model_info(base->model);
    if (s->tokenizer || s->end_count != info->eos_count || !chat_same(s->chat, base->chat) ||
        !same_generation(&s->generation, model_generation(base->model)))
        return false;
    for (int i = 0; i < info->eos_count; i++)
        if (!has_end(s, info->eos[i]))
            return false;
    return true;
}

/* ---- those that are kept ---- */

struct kept {
    char digest[SHA256_HEX + 1];
    int vocab;                 /* of the adapter */
    struct settings *settings; /* owned reference; NULL: free */
    uint64_t used;
};

struct settings_cache {
    struct registry *registry;
    struct settings_base base;
    pthread_mutex_t lock; /* for what follows */
    struct kept kept[SETTINGS_KEPT];
    uint64_t clock;
};

int settings_cache_new(struct settings_cache **out, struct registry *r, const struct settings_base *base,
                       struct err *e)
{
    struct settings_cache *c = calloc(1, sizeof *c);
    if (!c)
        return err_memory(e);
    c->registry = r;
    c->base = *base;
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return 0;
}

void settings_cache_free(struct settings_cache *c)
{
    if (!c)
        return;
    for (int i = 0; i < SETTINGS_KEPT; i++)
        settings_unref(c->kept[i].settings);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* A new reference, or NULL. */
static struct settings *recall(struct settings_cache *c, const struct version *v)
{
    struct settings *found = NULL;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < SETTINGS_KEPT && !found; i++)
        if (c->kept[i].settings && c->kept[i].vocab == v->vocab &&
            strcmp(c->kept[i].digest, v->settings) == 0) {
            c->kept[i].used = ++c->clock;
            found = settings_ref(c->kept[i].settings);
        }
    pthread_mutex_unlock(&c->lock);
    return found;
}

/* In the place of those that were not asked for the longest. */
static void keep(struct settings_cache *c, const struct version *v, struct settings *s)
{
    pthread_mutex_lock(&c->lock);
    struct kept *k = &c->kept[0];
    for (int i = 1; i < SETTINGS_KEPT; i++)
        if (c->kept[i].used < k->used)
            k = &c->kept[i];
    struct settings *gone = k->settings;
    strcpy(k->digest, v->settings);
    k->vocab = v->vocab;
    k->settings = settings_ref(s);
    k->used = ++c->clock;
    pthread_mutex_unlock(&c->lock);
    settings_unref(gone);
}

int settings_cache_files(struct settings_cache *c, const struct version *v, struct settings_files *out,
                         struct err *e)
{
    struct buf encoded = {0};
    *out = (struct settings_files){0};
    int result = registry_version_settings(c->registry, v, &encoded, e);
    if (result == 0 && encoded.length)
        result = settings_files_decode(out, encoded.data, encoded.length, e);
    buf_fini(&encoded);
    return result;
}

static int load(struct settings_cache *c, const struct version *v, struct settings **out, struct err *e)
{
    struct settings_files files;
    if (settings_cache_files(c, v, &files, e) != 0)
        return -1;
    int result = settings_new(out, &c->base, v->vocab, &files, NULL, e);
    settings_files_fini(&files);
    return result;
}

int settings_cache_get(struct settings_cache *c, const struct version *v, struct settings **out,
                       struct err *e)
{
    *out = v->settings[0] ? recall(c, v) : NULL;
    if (*out || !v->settings[0])
        return 0;
    if (load(c, v, out, e) != 0)
        return -1;
    keep(c, v, *out);
    return 0;
}

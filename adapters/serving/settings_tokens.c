#include "adapters/serving/settings_tokens.h"

#include <stdlib.h>
#include <string.h>

/* Files have the base's among them, too. A tenant's own are found in texts at a price for each of their
 * bytes, and kept in memory for each. */
enum { ENTRIES_MAX = 16384, CONTENT_MAX = 128, OWN_BYTES_MAX = 64 << 10 };

struct collected {
    const struct tokenizer *base;
    int vocab;
    struct tokenizer_entry *entries; /* owned, by id once they are sorted */
    size_t count, bytes;
    struct warnings *warnings;
};

static int malformed(const char *file, const char *wanted, struct err *e)
{
    err_set(e, "config_malformed", "%s: %s", file, wanted);
    return err_param(e, file);
}

/* The base has this id for another text, or this text under another id. */
static int warn_of_other(struct collected *c, const struct tokenizer_entry *n, struct err *e)
{
    return warnings_add(c->warnings, e,
                        "the token \"%.64s\" with the id %d is not added: the base has another one there",
                        n->content, (int)n->id);
}

static int add(struct collected *c, const char *file, const struct tokenizer_entry *n, struct err *e)
{
    int32_t known = tokenizer_find(c->base, n->content);
    if (known == n->id)
        return 0;
    if (known >= 0 || n->id < tokenizer_vocab_size(c->base))
        return warn_of_other(c, n, e);
    if (n->id >= c->vocab)
        return warnings_add(c->warnings, e,
                            "the token \"%.64s\" with the id %d is not added: the adapter has no row for it",
                            n->content, (int)n->id);
    c->entries[c->count++] = *n;
    c->bytes += n->length;
    if (n->length <= CONTENT_MAX && c->bytes <= OWN_BYTES_MAX)
        return 0;
    return malformed(file, "added tokens have up to 128 bytes, and 65536 together", e);
}

static bool flag(const json_t *entry, const char *name)
{
    return json_is_true(json_object_get(entry, name));
}

/* `entry`: what else is said of it; NULL: nothing. */
static int take(struct collected *c, const char *file, json_int_t id, const char *content, size_t length,
                const json_t *entry, struct err *e)
{
    if (id < 0 || !content || length < 1 || length > TOKENIZER_CONTENT_MAX || strlen(content) != length)
        return malformed(file, "an added token is a text of 1 to 1024 bytes with an id", e);
    const struct tokenizer_entry n = {content,
                                      length,
                                      (int32_t)id,
                                      flag(entry, "single_word"),
                                      flag(entry, "lstrip"),
                                      flag(entry, "rstrip"),
                                      flag(entry, "normalized"),
                                      flag(entry, "special")};
    return add(c, file, &n, e);
}

static int take_entry(struct collected *c, const char *file, json_int_t id, const json_t *entry,
                      struct err *e)
{
    const json_t *content = json_object_get(entry, "content");
    return take(c, file, id, json_string_value(content), json_string_length(content), entry, e);
}

static json_int_t id_of(const json_t *value)
{
    double real = json_number_value(value);
    return json_is_number(value) && real >= 0 && real <= INT32_MAX && real == (double)(int32_t)real
               ? (json_int_t)real
               : -1;
}

/* An id as the name of a member. */
static json_int_t id_named(const char *name)
{
    char *end;
    long id = name[0] >= '0' && name[0] <= '9' ? strtol(name, &end, 10) : -1;
    return id >= 0 && id <= INT32_MAX && *end == '\0' ? id : -1;
}

/* {"320": {"content": "<tool>", "special": true, ...}} */
static int take_decoder(struct collected *c, const json_t *decoder, struct err *e)
{
    static const char file[] = "tokenizer_config.json";
    const char *name;
    json_t *entry;
    if (decoder && !json_is_null(decoder) && !json_is_object(decoder))
        return malformed(file, "added_tokens_decoder must be an object", e);
    json_object_foreach((json_t *)decoder, name, entry)
    {
        if (take_entry(c, file, id_named(name), entry, e) != 0)
            return -1;
    }
    return 0;
}

/* The list of a tokenizer.json. */
static int take_list(struct collected *c, const char *file, const json_t *list, struct err *e)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (take_entry(c, file, id_of(json_object_get(entry, "id")), entry, e) != 0)
            return -1;
    }
    return 0;
}

/* {"<tool>": 320}, or {"added_tokens": [{"id": 320, "content": "<tool>", ...}]}. */
static int take_file(struct collected *c, const json_t *added, struct err *e)
{
    static const char file[] = "added_tokens.json";
    const json_t *list = json_object_get(added, "added_tokens");
    const char *content;
    json_t *id;
    if (json_is_array(list))
        return take_list(c, file, list, e);
    json_object_foreach((json_t *)added, content, id)
    {
        if (take(c, file, id_of(id), content, strlen(content), NULL, e) != 0)
            return -1;
    }
    return 0;
}

static int by_id(const void *left, const void *right)
{
    const struct tokenizer_entry *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

static int by_content(const void *left, const void *right)
{
    const struct tokenizer_entry *a = left, *b = right;
    return strcmp(a->content, b->content);
}

/* The files say the same, or each of them something. What stands in the first one counts. */
static int check_once(struct collected *c, struct err *e)
{
    size_t kept = 0;
    qsort(c->entries, c->count, sizeof *c->entries, by_id);
    for (size_t i = 0; i < c->count; i++) {
        bool same = kept && c->entries[kept - 1].id == c->entries[i].id;
        if (same && strcmp(c->entries[kept - 1].content, c->entries[i].content) != 0)
            return malformed("tokenizer_config.json", "two added tokens have the same id", e);
        if (same) /* the one with more to say of it */
            c->entries[kept - 1] = c->entries[kept - 1].special ? c->entries[kept - 1] : c->entries[i];
        else
            c->entries[kept++] = c->entries[i];
    }
    c->count = kept;
    qsort(c->entries, c->count, sizeof *c->entries, by_content);
    for (size_t i = 1; i < c->count; i++)
        if (strcmp(c->entries[i - 1].content, c->entries[i].content) == 0)
            return malformed("tokenizer_config.json", "two added tokens have the same text", e);
    qsort(c->entries, c->count, sizeof *c->entries, by_id);
    return 0;
}

static size_t members(const json_t *config, const json_t *added)
{
    const json_t *list = json_object_get(added, "added_tokens");
    return json_object_size(json_object_get(config, "added_tokens_decoder")) +
           (json_is_array(list) ? json_array_size(list) : json_object_size(added));
}

int settings_tokens(struct tokenizer **out, const struct tokenizer *base, int vocab, const json_t *config,
                    const json_t *added, struct warnings *w, struct err *e)
{
    size_t most = members(config, added);
    *out = NULL;
    if (most > ENTRIES_MAX)
        return malformed(added ? "added_tokens.json" : "tokenizer_config.json",
                         "more than 16384 added tokens", e);
    struct collected c = {
        .base = base, .vocab = vocab, .entries = calloc(most + 1, sizeof *c.entries), .warnings = w};
    int result = c.entries ? 0 : err_memory(e);
    if (result == 0 && (take_decoder(&c, json_object_get(config, "added_tokens_decoder"), e) != 0 ||
                        take_file(&c, added, e) != 0 || check_once(&c, e) != 0))
        result = -1;
    if (result == 0 && c.count)
        result = tokenizer_extend(out, base, c.entries, c.count, e);
    free(c.entries);
    return result;
}

#include "adapters/gguf/gguf_peft.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/system/file.h"

enum { COPY_BYTES = 65536 };

struct pair {
    const struct gguf_tensor *a, *b;
    int rank;
};

struct convert {
    const struct model *model;
    const struct site *sites;
    size_t site_count;
    struct gguf gguf;
    struct pair *pairs; /* owned, [site_count] */
    bool permuted;      /* rows of q and k */
    int fd;
    const struct gguf_sink *sink;
};

/* ---- what kind of file it is ---- */

static int check_base(struct convert *c, struct err *e)
{
    const struct family *family = model_family(c->model);
    if (!family->gguf)
        return err_set(e, "adapter_unsupported_type", "GGUF files are not read for a base of the family %s",
                       family->name);
    c->permuted = family->gguf_permuted;
    if (strcmp(c->gguf.architecture, family->gguf) == 0)
        return 0;
    return err_set(e, "adapter_wrong_base", "general.architecture is \"%s\", this base is \"%s\"",
                   c->gguf.architecture, family->gguf);
}

static int check_kind(struct convert *c, struct err *e)
{
    const struct gguf *g = &c->gguf;
    if (strcmp(g->type, "adapter") != 0)
        return err_set(e, "adapter_unsupported_type", "general.type is \"%s\", expected \"adapter\"",
                       g->type);
    if (strcmp(g->adapter, "lora") != 0)
        return err_set(e, "adapter_unsupported_type", "adapter.type is \"%s\", expected \"lora\"",
                       g->adapter);
    if (g->unknown[0])
        return err_set(e, "adapter_unsupported_feature", "the key %s is not known", g->unknown);
    return check_base(c, e);
}

/* ---- names ---- */

static const struct {
    const char *name;
    enum site_kind kind;
} modules[] = {{"attn_q", SITE_Q},       {"attn_k", SITE_K},
               {"attn_v", SITE_V},       {"attn_qkv", SITE_QKV},
               {"attn_output", SITE_O},  {"ffn_gate", SITE_GATE},
               {"ffn_up", SITE_UP},      {"ffn_down", SITE_DOWN},
               {"output", SITE_LM_HEAD}, {"token_embd", SITE_EMBEDDING}};

static bool is_table_of_tokens(const struct convert *c, const struct site *s)
{
    const char *dot = strrchr(s->path, '.'), *leaf = dot ? dot + 1 : s->path;
    return s->in == model_info(c->model)->vocab_size &&
           (strcmp(leaf, "embed_tokens") == 0 || strcmp(leaf, "wte") == 0);
}

static long find_site(const struct convert *c, const char *module, int layer)
{
    for (size_t k = 0; k < sizeof modules / sizeof *modules; k++) {
        if (strcmp(modules[k].name, module) != 0)
            continue;
        for (size_t i = 0; i < c->site_count; i++) {
            const struct site *s = &c->sites[i];
            if (s->kind == modules[k].kind && s->layer == layer &&
                (s->kind != SITE_EMBEDDING || is_table_of_tokens(c, s)))
                return (long)i;
        }
    }
    return -1;
}

/* "blk.12.attn_q" -> 12 and "attn_q"; "output" -> -1 and itself. */
static const char *split_layer(const char *stem, int *layer)
{
    char *end;
    *layer = -1;
    if (strncmp(stem, "blk.", 4) != 0 || stem[4] < '0' || stem[4] > '9' || (stem[4] == '0' && stem[5] != '.'))
        return stem;
    long number = strtol(stem + 4, &end, 10);
    if (*end != '.' || end - stem > 10)
        return stem;
    *layer = (int)number;
    return end + 1;
}

static int place_tensor(struct convert *c, const struct gguf_tensor *t, struct err *e)
{
    static const char suffix[] = ".weight.lora_";
    char stem[GGUF_TEXT_MAX + 1];
    int layer;
    size_t length = strlen(t->name), tail = sizeof suffix; /* and one letter */
    char letter = length > tail ? t->name[length - 1] : '\0';
    if ((letter != 'a' && letter != 'b') || strncmp(t->name + length - tail, suffix, tail - 1) != 0) {
        err_set(e, "adapter_unexpected_tensor", "tensor %s is no part of a LoRA: names end in %sa or %sb",
                t->name, suffix, suffix);
        return err_hint(e, "other trained tensors are read from PEFT's files only");
    }
    snprintf(stem, sizeof stem, "%.*s", (int)(length - tail), t->name);
    const char *module = split_layer(stem, &layer);
    long site = find_site(c, module, layer);
    if (site < 0)
        return err_set(e, "adapter_unknown_module", "tensor %s: the base has no such module", t->name);
    const struct gguf_tensor **place = letter == 'a' ? &c->pairs[site].a : &c->pairs[site].b;
    if (*place)
        return err_set(e, "adapter_unexpected_tensor", "tensor %s is there twice", t->name);
    *place = t;
    return 0;
}

/* ---- shapes ---- */

static int mismatch(const struct gguf_tensor *t, long long rows, long long columns, struct err *e)
{
    return err_set(e, "adapter_shape_mismatch",
                   "tensor %s: expected %lld rows of %lld, found %lld rows of %lld", t->name, rows, columns,
                   (long long)t->rows, (long long)t->columns);
}

/* A is [rank, inputs] and B [outputs, rank]; of the table of tokens A is [tokens, rank]. */
static int check_pair(struct pair *p, const struct site *s, struct err *e)
{
    const struct gguf_tensor *one = p->a ? p->a : p->b;
    bool table = s->kind == SITE_EMBEDDING;
    if (!p->a || !p->b)
        return err_set(e, "adapter_missing_tensor", "tensor %s is there, but its lora_%c is missing",
                       one->name, p->a ? 'b' : 'a');
    int64_t rank = p->b->columns;
    if (rank > DELTA_RANK_MAX)
        return err_set(e, "adapter_rank_too_large", "tensor %s has rank %lld, the most is %d", p->b->name,
                       (long long)rank, DELTA_RANK_MAX);
    if (p->b->rows != s->out)
        return mismatch(p->b, s->out, rank, e);
    int64_t rows = table ? s->in : rank, columns = table ? rank : s->in;
    if (p->a->rows != rows || p->a->columns != columns)
        return mismatch(p->a, rows, columns, e);
    p->rank = (int)rank;
    return 0;
}

static int place_all(struct convert *c, struct err *e)
{
    size_t found = 0;
    if (c->gguf.count > 2 * c->site_count)
        return err_set(e, "adapter_unexpected_tensor", "the file has %zu tensors, this base has room for %zu",
                       c->gguf.count, 2 * c->site_count);
    for (size_t i = 0; i < c->gguf.count; i++)
        if (place_tensor(c, &c->gguf.tensors[i], e) != 0)
            return -1;
    for (size_t i = 0; i < c->site_count; i++) {
        struct pair *p = &c->pairs[i];
        if ((p->a || p->b) && check_pair(p, &c->sites[i], e) != 0)
            return -1;
        found += p->rank > 0;
    }
    return found > 0 ? 0 : err_set(e, "adapter_missing_tensor", "the file has no tensors");
}

/* ---- the configuration ---- */

/* Without an alpha the scale is 1, as where alpha is the rank. */
static json_t *alpha_of(const struct convert *c, int rank)
{
    return c->gguf.alpha != 0 ? json_real((double)c->gguf.alpha) : json_integer(rank);
}

static int add_site(const struct convert *c, size_t i, int rank, json_t *targets, json_t *ranks,
                    json_t *alphas)
{
    if (json_array_append_new(targets, json_string(c->sites[i].path)) != 0)
        return -1;
    if (c->pairs[i].rank == rank)
        return 0;
    const char *key =
        c->sites[i].path; /* a pattern that matches itself alone: no two paths differ in dots only */
    if (json_object_set_new(ranks, key, json_integer(c->pairs[i].rank)) != 0)
        return -1;
    return c->gguf.alpha != 0 ? 0 : json_object_set_new(alphas, key, alpha_of(c, c->pairs[i].rank));
}

static json_t *make_config(const struct convert *c)
{
    json_t *targets = json_array(), *ranks = json_object(), *alphas = json_object();
    int rank = 0, failed = 0;
    for (size_t i = 0; i < c->site_count; i++) {
        if (c->pairs[i].rank == 0)
            continue;
        rank = rank ? rank : c->pairs[i].rank;
        failed |= add_site(c, i, rank, targets, ranks, alphas);
    }
    json_t *config = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o}", "peft_type", "LORA", "task_type",
                               "CAUSAL_LM", "bias", "none", "r", rank, "lora_alpha", alpha_of(c, rank),
                               "target_modules", targets, "rank_pattern", ranks, "alpha_pattern", alphas);
    if (!failed)
        return config;
    json_decref(config);
    return NULL;
}

static int write_config(const struct convert *c, struct err *e)
{
    json_t *config = make_config(c);
    char *text = config ? json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    int result = text ? c->sink->config(c->sink->arg, text, strlen(text), e) : err_memory(e);
    free(text);
    json_decref(config);
    return result;
}

/* ---- the weights ---- */

static int add_entry(struct buf *header, const struct site *s, char letter, const struct gguf_tensor *t,
                     uint64_t *at)
{
    bool table = s->kind == SITE_EMBEDDING, flipped = table && letter == 'A';
    int result =
        buf_printf(header,
                   "%s\"base_model.model.%s.lora_%s%c%s\":{\"dtype\":\"%s\",\"shape\":[%lld,%lld],"
                   "\"data_offsets\":[%llu,%llu]}",
                   *at ? "," : "", s->path, table ? "embedding_" : "", letter, table ? "" : ".weight",
                   dtype_name(t->dtype), (long long)(flipped ? t->columns : t->rows),
                   (long long)(flipped ? t->rows : t->columns), (unsigned long long)*at,
                   (unsigned long long)(*at + t->bytes));
    *at += t->bytes;
    return result;
}

static int write_header(const struct convert *c, struct err *e)
{
    struct buf header = {0};
    uint64_t at = 0;
    unsigned char length[8];
    int failed = buf_append_string(&header, "{");
    for (size_t i = 0; i < c->site_count && !failed; i++)
        if (c->pairs[i].rank)
            failed = add_entry(&header, &c->sites[i], 'A', c->pairs[i].a, &at) ||
                     add_entry(&header, &c->sites[i], 'B', c->pairs[i].b, &at);
    failed = failed || buf_append_string(&header, "}");
    while (!failed && header.length % sizeof length)
        failed = buf_append_string(&header, " ");
    for (size_t i = 0; i < sizeof length; i++)
        length[i] = (unsigned char)((uint64_t)header.length >> (8 * i));
    int result = failed ? err_memory(e) : c->sink->weights(c->sink->arg, length, sizeof length, e);
    if (result == 0)
        result = c->sink->weights(c->sink->arg, header.data, header.length, e);
    buf_fini(&header);
    return result;
}

static int copy_tensor(const struct convert *c, const struct gguf_tensor *t, struct err *e)
{
    char block[COPY_BYTES];
    for (uint64_t at = 0; at < t->bytes;) {
        size_t length = t->bytes - at < sizeof block ? (size_t)(t->bytes - at) : sizeof block;
        if (file_pread(c->fd, block, length, t->offset + at, e) != 0 ||
            c->sink->weights(c->sink->arg, block, length, e) != 0)
            return -1;
        at += length;
    }
    return 0;
}

/* Rows 2j and 2j+1 of a head were j and j + half. One head at a time. */
static int copy_heads(const struct convert *c, const struct gguf_tensor *t, struct err *e)
{
    size_t dim = (size_t)model_info(c->model)->kv.dim, half = dim / 2;
    size_t row = (size_t)t->columns * dtype_size(t->dtype), head = dim * row;
    if (dim == 0 || dim % 2 || (uint64_t)t->rows % dim)
        return err_set(e, "internal_error", "%lld rows are no whole heads of %zu", (long long)t->rows, dim);
    char *in = malloc(head), *out = malloc(head);
    int result = in && out ? 0 : err_memory(e);
    for (uint64_t at = 0; at < t->bytes && result == 0; at += head) {
        result = file_pread(c->fd, in, head, t->offset + at, e);
        for (size_t j = 0; j < half && result == 0; j++) {
            memcpy(out + j * row, in + 2 * j * row, row);
            memcpy(out + (j + half) * row, in + (2 * j + 1) * row, row);
        }
        if (result == 0)
            result = c->sink->weights(c->sink->arg, out, head, e);
    }
    free(in);
    free(out);
    return result;
}

static int copy_flipped(const struct convert *c, const struct gguf_tensor *t, struct err *e)
{
    size_t size = dtype_size(t->dtype), rows = (size_t)t->rows, columns = (size_t)t->columns;
    char *in = malloc((size_t)t->bytes), *out = malloc(rows * size);
    int result = in && out ? file_pread(c->fd, in, (size_t)t->bytes, t->offset, e) : err_memory(e);
    for (size_t k = 0; k < columns && result == 0; k++) {
        for (size_t i = 0; i < rows; i++)
            memcpy(out + i * size, in + (i * columns + k) * size, size);
        result = c->sink->weights(c->sink->arg, out, rows * size, e);
    }
    free(in);
    free(out);
    return result;
}

static int write_weights(const struct convert *c, struct err *e)
{
    if (write_header(c, e) != 0)
        return -1;
    for (size_t i = 0; i < c->site_count; i++) {
        const struct pair *p = &c->pairs[i];
        enum site_kind kind = c->sites[i].kind;
        bool heads = c->permuted && (kind == SITE_Q || kind == SITE_K);
        if (p->rank == 0)
            continue;
        if ((kind == SITE_EMBEDDING ? copy_flipped : copy_tensor)(c, p->a, e) != 0 ||
            (heads ? copy_heads : copy_tensor)(c, p->b, e) != 0)
            return -1;
    }
    return 0;
}

/* ---- all of it ---- */

int gguf_peft_convert(const struct model *m, int fd, const struct gguf_sink *sink, struct err *e)
{
    struct convert c = {.model = m, .fd = fd, .sink = sink};
    c.sites = model_sites(m, &c.site_count);
    if (gguf_open(&c.gguf, fd, e) != 0)
        return -1;
    c.pairs = calloc(c.site_count + 1, sizeof *c.pairs);
    int result = c.pairs ? 0 : err_memory(e);
    if (result == 0)
        result = check_kind(&c, e) != 0 || place_all(&c, e) != 0 || write_config(&c, e) != 0 ||
                         write_weights(&c, e) != 0
                     ? -1
                     : 0;
    free(c.pairs);
    gguf_fini(&c.gguf);
    return result;
}

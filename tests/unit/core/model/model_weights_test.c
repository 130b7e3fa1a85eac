/* The weights of a model: every tensor is there and has its shape, none is left over; and however the files
 * store them, the model computes the same bits. The models are tiny and made here. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "core/delta/delta.h"
#include "core/head/head.h"
#include "core/model/model.h"
#include "core/model/weights.h"
#include "tests/golden/fixture.h"
#include "tests/unit/support/scratch.h"

enum { ENTRIES_MAX = 40, PROMPT = 5, VOCAB = 11, HIDDEN = 6, INTERMEDIATE = 10, KV = 2, HEAD = 2, HEADS = 3 };

/* One layer; three heads of 2 share one key and value head; nothing is a multiple of anything. */
static const char llama_config[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 6, \"num_hidden_layers\": 1, \"num_attention_heads\": 3,"
    "\"num_key_value_heads\": 1, \"intermediate_size\": 10, \"vocab_size\": 11, \"max_position_embeddings\": "
    "33,"
    "\"tie_word_embeddings\": %s}";
static const char gpt2_config[] = "{\"model_type\": \"gpt2\", \"n_embd\": 6, \"n_layer\": 1, \"n_head\": 2, "
                                  "\"n_inner\": 10, \"vocab_size\": 11,"
                                  "\"n_positions\": 33}";

/* ---- tensors ---- */

struct entry {
    char name[80];
    int dimensions, shape[2];
    uint32_t seed; /* decides the content, whatever the name becomes; 0: zeros */
};

struct list {
    struct entry entries[ENTRIES_MAX];
    int count;
};

static void add(struct list *l, const char *name, int rows, int cols)
{
    struct entry *n = &l->entries[l->count++];
    snprintf(n->name, sizeof n->name, "%s", name);
    n->dimensions = cols ? 2 : 1;
    n->shape[0] = rows;
    n->shape[1] = cols;
    n->seed = 1;
    for (const char *p = name; *p; p++)
        n->seed = n->seed * 31 + (unsigned char)*p;
}

static struct list llama_list(bool head)
{
    struct list l = {.count = 0};
    add(&l, "model.embed_tokens.weight", VOCAB, HIDDEN);
    add(&l, "model.layers.0.input_layernorm.weight", HIDDEN, 0);
    add(&l, "model.layers.0.self_attn.q_proj.weight", HEADS * HEAD, HIDDEN);
    add(&l, "model.layers.0.self_attn.k_proj.weight", KV, HIDDEN);
    add(&l, "model.layers.0.self_attn.v_proj.weight", KV, HIDDEN);
    add(&l, "model.layers.0.self_attn.o_proj.weight", HIDDEN, HEADS * HEAD);
    add(&l, "model.layers.0.post_attention_layernorm.weight", HIDDEN, 0);
    add(&l, "model.layers.0.mlp.gate_proj.weight", INTERMEDIATE, HIDDEN);
    add(&l, "model.layers.0.mlp.up_proj.weight", INTERMEDIATE, HIDDEN);
    add(&l, "model.layers.0.mlp.down_proj.weight", HIDDEN, INTERMEDIATE);
    add(&l, "model.norm.weight", HIDDEN, 0);
    if (head)
        add(&l, "lm_head.weight", VOCAB, HIDDEN);
    return l;
}

static struct list gpt2_list(void)
{
    static const struct {
        const char *name;
        int rows, cols;
    } parts[] = {{"ln_1.weight", HIDDEN, 0},
                 {"ln_1.bias", HIDDEN, 0},
                 {"attn.c_attn.weight", HIDDEN, 3 * HIDDEN},
                 {"attn.c_attn.bias", 3 * HIDDEN, 0},
                 {"attn.c_proj.weight", HIDDEN, HIDDEN},
                 {"attn.c_proj.bias", HIDDEN, 0},
                 {"ln_2.weight", HIDDEN, 0},
                 {"ln_2.bias", HIDDEN, 0},
                 {"mlp.c_fc.weight", HIDDEN, INTERMEDIATE},
                 {"mlp.c_fc.bias", INTERMEDIATE, 0},
                 {"mlp.c_proj.weight", INTERMEDIATE, HIDDEN},
                 {"mlp.c_proj.bias", HIDDEN, 0}};
    struct list l = {.count = 0};
    char name[80];
    add(&l, "transformer.wte.weight", VOCAB, HIDDEN);
    add(&l, "transformer.wpe.weight", 33, HIDDEN);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(name, sizeof name, "transformer.h.0.%s", parts[i].name);
        add(&l, name, parts[i].rows, parts[i].cols);
    }
    add(&l, "transformer.ln_f.weight", HIDDEN, 0);
    add(&l, "transformer.ln_f.bias", HIDDEN, 0);
    return l;
}

static struct entry *find(struct list *l, const char *name)
{
    for (int i = 0; i < l->count; i++)
        if (strcmp(l->entries[i].name, name) == 0)
            return &l->entries[i];
    fail_msg("no %s", name);
    return NULL;
}

static void drop(struct list *l, const char *name)
{
    struct entry *gone = find(l, name);
    *gone = l->entries[--l->count];
}

/* ---- files ---- */

static size_t elements(const struct entry *n)
{
    return (size_t)n->shape[0] * (size_t)(n->dimensions == 2 ? n->shape[1] : 1);
}

static void put_header(struct buf *out, const struct entry *entries, int count)
{
    size_t at = 0;
    buf_append_string(out, "{");
    for (int i = 0; i < count; i++) {
        const struct entry *n = &entries[i];
        char shape[40];
        snprintf(shape, sizeof shape, n->dimensions == 2 ? "%d, %d" : "%d", n->shape[0], n->shape[1]);
        size_t end = at + 4 * elements(n);
        buf_printf(out, "%s\"%s\": {\"dtype\": \"F32\", \"shape\": [%s], \"data_offsets\": [%zu, %zu]}",
                   i ? ", " : "", n->name, shape, at, end);
        at = end;
    }
    buf_append_string(out, "}");
}

/* The header's length leaves `remainder` when divided by 8. */
static void write_weights(const char *directory, const char *file, const struct entry *entries, int count,
                          size_t remainder)
{
    struct buf header = {0}, all = {0};
    put_header(&header, entries, count);
    while (header.length % 8 != remainder)
        buf_append_string(&header, " ");
    uint64_t length = header.length;
    buf_append(&all, &length, sizeof length); /* little-endian, as the machine */
    buf_append(&all, header.data, header.length);
    for (int i = 0; i < count; i++) {
        uint32_t random = entries[i].seed;
        for (size_t k = 0; k < elements(&entries[i]); k++) {
            random = random * 1664525u + 1013904223u;
            float value = entries[i].seed ? (float)(random >> 8) / 8388608.0f - 1.0f : 0.0f;
            buf_append(&all, &value, sizeof value);
        }
    }
    scratch_write(directory, file, all.data, all.length);
    buf_fini(&header);
    buf_fini(&all);
}

static void write_text(const char *directory, const char *file, const char *text)
{
    scratch_write(directory, file, text, strlen(text));
}

static char *new_llama(bool tied)
{
    char *directory = scratch_new(), text[400];
    snprintf(text, sizeof text, llama_config, tied ? "true" : "false");
    write_text(directory, "config.json", text);
    return directory;
}

static int open_exact(struct model **out, const char *directory, struct err *e)
{
    return model_open(out, directory, &(struct model_options){.precision = PRECISION_EXACT}, e);
}

static void assert_refused(const char *directory, const char *code, const char *in_message)
{
    struct model *m = NULL;
    struct err e = {.code = "accepted"};
    assert_int_equal(open_exact(&m, directory, &e), -1);
    if (strcmp(e.code, code) != 0 || !strstr(e.message, in_message))
        fail_msg("%s: %s; expected %s with \"%s\"", e.code, e.message, code, in_message);
    assert_null(m);
}

struct logits {
    float values[PROMPT * VOCAB];
    int32_t tokens[8];
};

/* Logits of a prompt and a few tokens behind it. */
static struct logits logits_of(const struct model *m)
{
    static const int32_t prompt[PROMPT] = {3, 0, 10, 7, 7};
    struct engine *g = fixture_engine(m, 2, 3, 2);
    struct runs *all = runs_new();
    struct run *run = calloc(1, sizeof *run);
    struct logits out;
    assert_int_equal(model_info(m)->vocab_size, VOCAB);
    run_submit(all, run, g, NULL, prompt, PROMPT, 8, true, NULL, 1);
    runs_free(all);
    assert_int_equal(run->token_count, 8);
    memcpy(out.values, run->logits, sizeof out.values);
    memcpy(out.tokens, run->tokens, sizeof out.tokens);
    for (int i = 0; i < PROMPT * VOCAB; i++)
        assert_true(out.values[i] - out.values[i] == 0);
    run_fini(run);
    free(run);
    engine_free(g);
    return out;
}

static struct logits compute(const char *directory)
{
    struct model *m = fixture_model(directory);
    struct logits out = logits_of(m);
    model_close(m);
    return out;
}

static void assert_same_logits(const struct logits *a, const struct logits *b)
{
    assert_memory_equal(a, b, sizeof *a);
}

/* ---- one file ---- */

static void header_lengths_do_not_matter(void **state)
{
    (void)state;
    struct list l = llama_list(true);
    struct logits first;
    for (size_t remainder = 0; remainder < 8; remainder++) { /* 4 divides none but 0 and 4 */
        char *directory = new_llama(false);
        write_weights(directory, "model.safetensors", l.entries, l.count, remainder);
        struct logits found = compute(directory);
        if (remainder == 0)
            first = found;
        assert_same_logits(&first, &found);
        scratch_remove(directory);
    }
}

static void data_is_aligned_to_its_elements(void **state)
{
    (void)state;
    struct list l = llama_list(true);
    for (size_t remainder = 0; remainder < 8; remainder++) {
        char *directory = scratch_new();
        struct weights *w = NULL;
        struct err e;
        write_weights(directory, "model.safetensors", l.entries, l.count, remainder);
        assert_int_equal(weights_open(&w, directory, &e), 0);
        for (int i = 0; i < l.count; i++) {
            const struct tensor *t = weights_find(w, l.entries[i].name);
            assert_non_null(t);
            const void *data = weights_place(w, t);
            assert_int_equal((uintptr_t)data % dtype_size(t->dtype), 0);
            assert_int_equal(weights_bring(w, t, (struct stretch){0, t->bytes}, &e), 0);
            uint32_t random = l.entries[i].seed * 1664525u + 1013904223u; /* the first number written */
            assert_true(*(const float *)data == (float)(random >> 8) / 8388608.0f - 1.0f);
        }
        weights_close(w);
        scratch_remove(directory);
    }
}

static void every_tensor_is_needed(void **state)
{
    (void)state;
    struct list whole = llama_list(true);
    for (int i = 0; i < whole.count; i++) {
        struct list l = whole;
        char *directory = new_llama(false);
        drop(&l, whole.entries[i].name);
        write_weights(directory, "model.safetensors", l.entries, l.count, 0);
        /* without the embedding the names are looked for without "model." */
        const char *named = strstr(whole.entries[i].name, "embed_tokens");
        assert_refused(directory, "model_malformed", named ? named : whole.entries[i].name);
        scratch_remove(directory);
    }
}

static void every_shape_is_checked(void **state)
{
    (void)state;
    struct list whole = llama_list(true);
    for (int i = 0; i < whole.count; i++)
        for (int change = 0; change < 4; change++) {
            struct list l = whole;
            struct entry *n = &l.entries[i];
            char *directory = new_llama(false);
            if (change == 0) /* a row too many */
                n->shape[0]++;
            else if (change == 1 && n->dimensions == 2)
                n->shape[1]--;
            else if (change == 2 && n->dimensions == 2)
                *n = (struct entry){.dimensions = 1, .shape = {(int)elements(n)}};
            else if (change == 3 && n->dimensions == 1)
                n->dimensions = 2, n->shape[1] = 1;
            else
                n->shape[0]--;
            snprintf(n->name, sizeof n->name, "%s", whole.entries[i].name);
            write_weights(directory, "model.safetensors", l.entries, l.count, 0);
            assert_refused(directory, "model_malformed", whole.entries[i].name);
            scratch_remove(directory);
        }
}

static void nothing_is_left_over(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool passes;
    } cases[] = {
        {"model.layers.0.self_attn.q_proj.bias", false},
        {"model.layers.0.self_attn.q_norm.weight", false},
        {"model.layers.1.mlp.up_proj.weight", false}, /* a layer that the config has not */
        {"lm_head.bias", false},
        {"model.layers.0.self_attn.bias", false},
        {"score.weight", false},
        {"model.layers.0.self_attn.rotary_emb.inv_freq", true}, /* what old checkpoints hold besides */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct list l = llama_list(true);
        char *directory = new_llama(false);
        add(&l, cases[i].name, HIDDEN, 0);
        write_weights(directory, "model.safetensors", l.entries, l.count, 0);
        if (cases[i].passes)
            (void)compute(directory);
        else
            assert_refused(directory, "model_unsupported", cases[i].name);
        scratch_remove(directory);
    }
}

/* ---- the output head ---- */

static void tied_embeddings(void **state)
{
    (void)state;
    struct list tied = llama_list(false), both = llama_list(true), copy = llama_list(true),
                head = llama_list(true);
    find(&copy, "lm_head.weight")->seed = find(&copy, "model.embed_tokens.weight")->seed;
    find(&head, "lm_head.weight")->seed = find(&head, "model.embed_tokens.weight")->seed;
    drop(&head, "model.embed_tokens.weight");
    char *directory = new_llama(true);
    write_weights(directory, "model.safetensors", tied.entries, tied.count, 0);
    struct logits expected = compute(directory);
    write_weights(directory, "model.safetensors", copy.entries, copy.count, 0); /* stored twice */
    struct logits found = compute(directory);
    assert_same_logits(&expected, &found);
    write_weights(directory, "model.safetensors", head.entries, head.count, 0); /* under the other name */
    found = compute(directory);
    assert_same_logits(&expected, &found);
    write_weights(directory, "model.safetensors", both.entries, both.count, 0); /* two matrices, not tied */
    struct logits untied = compute(directory);
    assert_memory_not_equal(&expected, &untied, sizeof untied);
    find(&both, "lm_head.weight")->shape[0] = VOCAB - 1;
    write_weights(directory, "model.safetensors", both.entries, both.count, 0);
    assert_refused(directory, "model_malformed", "lm_head.weight");
    find(&both, "lm_head.weight")->shape[0] = VOCAB;
    scratch_remove(directory);

    directory = new_llama(false); /* not tied, but the same numbers */
    write_weights(directory, "model.safetensors", copy.entries, copy.count, 0);
    found = compute(directory);
    assert_same_logits(&expected, &found);
    write_weights(directory, "model.safetensors", both.entries, both.count, 0);
    found = compute(directory);
    assert_same_logits(&untied, &found);
    write_weights(directory, "model.safetensors", tied.entries, tied.count, 0);
    assert_refused(directory, "model_malformed", "lm_head.weight");
    scratch_remove(directory);
}

/* ---- biases that the config adds ---- */

static const char *const bias_names[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                         "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                         "mlp.down_proj"};

/* `type` with its first `count` biases there, and all of them zeros but those in `mask`. */
static struct logits with_biases(const char *type, int count, unsigned mask)
{
    static const int sizes[] = {HEADS * HEAD, KV, KV, HIDDEN, INTERMEDIATE, INTERMEDIATE, HIDDEN};
    struct list l = llama_list(true);
    char *directory = scratch_new(), text[512];
    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"hidden_size\": 6, \"num_hidden_layers\": 1, "
             "\"num_attention_heads\": 3, \"num_key_value_heads\": 1, \"intermediate_size\": 10, "
             "\"vocab_size\": 11, \"max_position_embeddings\": 33%s%s}",
             type, count > 3 ? ", \"attention_bias\": true" : "", count > 4 ? ", \"mlp_bias\": true" : "");
    write_text(directory, "config.json", text);
    for (int i = 0; i < count; i++) {
        char name[80];
        snprintf(name, sizeof name, "model.layers.0.%s.bias", bias_names[i]);
        add(&l, name, sizes[i], 0);
        if (!(mask & 1u << i))
            find(&l, name)->seed = 0;
    }
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    struct logits found = compute(directory);
    scratch_remove(directory);
    return found;
}

static void biases_are_added(void **state)
{
    (void)state;
    struct logits none = with_biases("llama", 0, 0), zeros = with_biases("llama", 7, 0);
    assert_same_logits(&none, &zeros);
    for (unsigned i = 0; i < 7; i++) {
        struct logits one = with_biases("llama", 7, 1u << i);
        /* a bias of k alone moves no score against another; the rotation lets it */
        assert_memory_not_equal(&none, &one, sizeof one);
    }
    struct logits attention = with_biases("llama", 4, 7), qwen2 = with_biases("qwen2", 3, 7);
    assert_same_logits(&qwen2, &attention); /* qwen2 has them without being told, but none of o */
}

/* ---- names without the prefix ---- */

static void strip(struct list *l, const char *prefix)
{
    for (int i = 0; i < l->count; i++) {
        char *name = l->entries[i].name;
        if (strncmp(name, prefix, strlen(prefix)) == 0)
            memmove(name, name + strlen(prefix), strlen(name) - strlen(prefix) + 1);
    }
}

static void check_prefix(const char *directory, struct list l, const char *prefix, const char *path)
{
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    struct logits expected = compute(directory);
    strip(&l, prefix);
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    struct logits found = compute(directory);
    assert_same_logits(&expected, &found);

    struct model *m = fixture_model(directory); /* PEFT sees the whole path all the same */
    size_t count;
    assert_true(model_find_site(m, path) >= 0);
    int parameter = model_find_parameter(m, path, "weight");
    assert_true(parameter >= 0);
    const struct parameter *s = &model_parameters(m, &count)[parameter];
    char weight[120];
    snprintf(weight, sizeof weight, "%s.weight", path + strlen(prefix));
    assert_string_equal(s->tensor, weight);
    float *wide = calloc((size_t)s->rows * (size_t)s->cols, sizeof *wide);
    struct err e;
    assert_int_equal(model_parameter_values(m, parameter, 0, (size_t)s->rows * (size_t)s->cols, wide, &e), 0);
    free(wide);
    model_close(m);
}

static void bare_networks_lack_the_prefix(void **state)
{
    (void)state;
    char *directory = new_llama(false);
    check_prefix(directory, llama_list(true), "model.", "model.layers.0.self_attn.q_proj");
    struct list mixed = llama_list(true); /* some with and some without is no checkpoint */
    strip(&mixed, "model.layers.");
    write_weights(directory, "model.safetensors", mixed.entries, mixed.count, 0);
    assert_refused(directory, "model_malformed", "model.layers.0");
    scratch_remove(directory);

    directory = scratch_new();
    write_text(directory, "config.json", gpt2_config);
    check_prefix(directory, gpt2_list(), "transformer.", "transformer.h.0.attn.c_attn");
    struct list l = gpt2_list();
    strip(&l, "transformer.");
    add(&l, "h.0.attn.bias", 4, 4); /* the mask that old checkpoints store */
    add(&l, "h.0.attn.masked_bias", 1, 0);
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    (void)compute(directory);
    scratch_remove(directory);
}

/* ---- networks that write no text ---- */

/* A llama of this architecture, and with these further fields of its config. */
static char *new_llama_for(const char *architecture, const char *more)
{
    char *directory = scratch_new(), text[512];
    int length = snprintf(text, sizeof text, llama_config, "false");
    snprintf(text + length - 1, sizeof text - (size_t)length, ", \"architectures\": [\"%s\"]%s}",
             architecture, more);
    write_text(directory, "config.json", text);
    return directory;
}

static void bare_networks_without_a_head(void **state)
{
    (void)state;
    char *directory = new_llama_for("LlamaModel", "");
    for (int with = 0; with < 2; with++) {
        struct list l = llama_list(with);
        if (!with)
            strip(&l, "model.");
        write_weights(directory, "model.safetensors", l.entries, l.count, 0);
        struct model *m = fixture_model(directory);
        assert_int_equal(model_info(m)->generates, with);
        assert_int_equal(model_find_site(m, "lm_head") >= 0, with);
        assert_false(model_is_tied(m));
        assert_null(delta_head(NULL, m));
        model_close(m);
    }
    scratch_remove(directory);
    directory = new_llama(false); /* one that says it has it */
    struct list l = llama_list(false);
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    assert_refused(directory, "model_malformed", "lm_head.weight");
    scratch_remove(directory);
}

static void heads_of_labels(void **state)
{
    (void)state;
    static const struct {
        const char *architecture, *more, *module;
        int labels, cols, bias; /* 0: there is none */
        const char *code, *in_message;
    } cases[] = {
        {"LlamaForSequenceClassification", "", "score", 2, HIDDEN, 0, NULL, NULL},
        {"LlamaForSequenceClassification", ", \"num_labels\": 5", "score", 5, HIDDEN, 0, NULL, NULL},
        {"LlamaForSequenceClassification", ", \"id2label\": {\"0\": \"a\"}", "score", 1, HIDDEN, 0, NULL,
         NULL},
        {"LlamaForTokenClassification", "", "score", 2, HIDDEN, 2, NULL, NULL},
        {"LlamaForTokenClassification", "", "classifier", 2, HIDDEN, 2, NULL, NULL},
        {"LlamaForSequenceClassification", "", "head", 2, HIDDEN, 0, "model_malformed", "score.weight"},
        {"LlamaForSequenceClassification", "", "score", 3, HIDDEN, 0, "model_malformed",
         "score.weight is [3, 6]"},
        {"LlamaForSequenceClassification", "", "score", 2, HIDDEN + 1, 0, "model_malformed", "score.weight"},
        {"LlamaForSequenceClassification", "", "score", 2, 0, 0, "model_malformed", "score.weight is [2]"},
        {"LlamaForSequenceClassification", "", "score", 2, HIDDEN, 2, "model_unsupported", "score.bias"},
        {"LlamaForTokenClassification", "", "score", 2, HIDDEN, 0, "model_malformed", "score.bias"},
        {"LlamaForTokenClassification", "", "score", 2, HIDDEN, 3, "model_malformed", "score.bias"},
        {"LlamaForSequenceClassification", ", \"num_labels\": 0", "score", 2, HIDDEN, 0, "model_malformed",
         "num_labels"},
        {"LlamaForSequenceClassification", ", \"num_labels\": 4097", "score", 2, HIDDEN, 0, "model_malformed",
         "num_labels"},
        {"LlamaForSequenceClassification", ", \"num_labels\": 4294967298", "score", 2, HIDDEN, 0,
         "model_malformed", "num_labels"},
        {"LlamaForSequenceClassification", ", \"id2label\": {}", "score", 2, HIDDEN, 0, "model_malformed",
         "id2label"},
        {"LlamaForSequenceClassification", ", \"id2label\": {\"1\": \"a\"}", "score", 1, HIDDEN, 0,
         "model_malformed", "id2label"},
        {"LlamaForSequenceClassification", ", \"problem_type\": \"x\"", "score", 2, HIDDEN, 0,
         "model_malformed", "problem_type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *directory = new_llama_for(cases[i].architecture, cases[i].more), name[32];
        struct list l = llama_list(false);
        snprintf(name, sizeof name, "%s.weight", cases[i].module);
        add(&l, name, cases[i].labels, cases[i].cols);
        snprintf(name, sizeof name, "%s.bias", cases[i].module);
        if (cases[i].bias)
            add(&l, name, cases[i].bias, 0);
        write_weights(directory, "model.safetensors", l.entries, l.count, 0);
        if (cases[i].code) {
            assert_refused(directory, cases[i].code, cases[i].in_message);
        } else {
            struct model *m = fixture_model(directory);
            assert_int_equal(delta_head(NULL, m)->labels, cases[i].labels);
            assert_false(model_info(m)->generates);
            model_close(m);
        }
        scratch_remove(directory);
    }
}

/* ---- shards ---- */

/* An index that says of every tensor which of the two files it is in; `changed` has another file's name. */
static void write_index(const char *directory, const struct list *l, int split, const char *changed,
                        const char *file)
{
    struct buf b = {0};
    buf_append_string(&b, "{\"metadata\": {\"total_size\": 0}, \"weight_map\": {");
    for (int i = 0; i < l->count; i++) {
        const char *shard = i < split ? "a.safetensors" : "b.safetensors";
        if (changed && strcmp(l->entries[i].name, changed) == 0)
            shard = file;
        buf_printf(&b, "%s\"%s\": \"%s\"", i ? ", " : "", l->entries[i].name, shard);
    }
    buf_append_string(&b, "}}");
    write_text(directory, "model.safetensors.index.json", b.data);
    buf_fini(&b);
}

static void shards_are_one_model(void **state)
{
    (void)state;
    struct list l = llama_list(true);
    char *directory = new_llama(false);
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    struct logits expected = compute(directory);
    scratch_remove(directory);
    for (int split = 1; split < l.count; split++) {
        directory = new_llama(false);
        write_weights(directory, "a.safetensors", l.entries, split, 1);
        write_weights(directory, "b.safetensors", l.entries + split, l.count - split, 0);
        write_index(directory, &l, split, NULL, NULL);
        struct logits found = compute(directory);
        assert_same_logits(&expected, &found);
        scratch_remove(directory);
    }
}

static void bad_indexes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *changed, *file, *code, *in_message;
    } cases[] = {
        {"lm_head.weight", "../b.safetensors", "model_malformed", "../b.safetensors"},
        {"lm_head.weight", "/etc/passwd", "model_malformed", "/etc/passwd"},
        {"lm_head.weight", "sub/b.safetensors", "model_malformed", "sub/b.safetensors"},
        {"lm_head.weight", "..", "model_malformed", ".."},
        {"lm_head.weight", ".hidden", "model_malformed", ".hidden"},
        {"lm_head.weight", "", "model_malformed", "the name of a shard"},
        {"lm_head.weight", "c.safetensors", "io_error", "c.safetensors"},         /* not there */
        {"lm_head.weight", "a.safetensors", "model_malformed", "lm_head.weight"}, /* is in the other one */
        {"lm_head.weight", "config.json", "safetensors_malformed", "config.json"},
    };
    struct list l = llama_list(true);
    char *directory = new_llama(false);
    write_weights(directory, "a.safetensors", l.entries, 4, 0);
    write_weights(directory, "b.safetensors", l.entries + 4, l.count - 4, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_index(directory, &l, 4, cases[i].changed, cases[i].file);
        assert_refused(directory, cases[i].code, cases[i].in_message);
    }
    static const char *const texts[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"weight_map\": {}}",
                                        "{\"weight_map\": []}",
                                        "{\"weight_map\": {\"x\": 1}}",
                                        "{\"weight_map\": {\"x\": null}}",
                                        "{\"weight_map\": {\"x\": \"a.safetensors\", \"x\": \"b\"}}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(directory, "model.safetensors.index.json", texts[i]);
        assert_refused(directory, "model_malformed", "model.safetensors.index.json");
    }
    scratch_remove(directory);

    directory = new_llama(false); /* in both: nobody can say which is meant */
    write_weights(directory, "a.safetensors", l.entries, 5, 0);
    write_weights(directory, "b.safetensors", l.entries + 4, l.count - 4, 0);
    write_index(directory, &l, 5, NULL, NULL);
    assert_refused(directory, "model_unsupported", l.entries[4].name);
    scratch_remove(directory);
}

/* ---- no weights, or of another kind ---- */

static void other_files_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *file, *content, *code, *in_message, *in_hint;
    } cases[] = {
        {NULL, NULL, "io_error", "model.safetensors", "model.safetensors.index.json"},
        {"pytorch_model.bin", "PK\3\4....", "pickle_refused", "pytorch_model.bin", "safe_serialization"},
        {"pytorch_model.bin.index.json", "{}", "pickle_refused", "pytorch_model.bin.index.json",
         "safe_serialization"},
        {"model.safetensors", "PK\3\4.........", "pickle_refused", "model.safetensors", "safetensors"},
        {"model.safetensors", "\x80\4\x95.........", "pickle_refused", "model.safetensors", "safetensors"},
        {"model.safetensors", "", "safetensors_malformed", "model.safetensors", ""},
        {"model.safetensors", "not weights", "safetensors_malformed", "model.safetensors", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *directory = new_llama(false);
        struct model *m = NULL;
        struct err e = {.code = "accepted"};
        if (cases[i].file)
            write_text(directory, cases[i].file, cases[i].content);
        assert_int_equal(open_exact(&m, directory, &e), -1);
        if (strcmp(e.code, cases[i].code) != 0 || !strstr(e.message, cases[i].in_message) ||
            !strstr(e.hint, cases[i].in_hint))
            fail_msg("case %zu: %s: %s (%s)", i, e.code, e.message, e.hint);
        scratch_remove(directory);
    }
    struct model *m = NULL;
    struct err e;
    assert_int_equal(open_exact(&m, "/nowhere/at/all", &e), -1);
    assert_string_equal(e.code, "io_error");
    model_close(NULL);
}

/* ---- the fingerprint ---- */

static void fingerprint_of(const char *directory, uint8_t out[SHA256_BYTES])
{
    struct model *m = fixture_model(directory);
    memcpy(out, model_info(m)->fingerprint, SHA256_BYTES);
    model_close(m);
}

static void the_fingerprint_knows_config_and_weights(void **state)
{
    (void)state;
    struct list l = llama_list(true);
    char *directory = new_llama(false), text[500];
    uint8_t first[SHA256_BYTES], other[SHA256_BYTES];
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    fingerprint_of(directory, first);
    write_weights(directory, "model.safetensors", l.entries, l.count, 3);
    fingerprint_of(directory, other);
    assert_memory_equal(first, other, SHA256_BYTES); /* the padding is no content */
    find(&l, "model.layers.0.mlp.up_proj.weight")->seed++;
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    fingerprint_of(directory, other);
    assert_memory_not_equal(first, other, SHA256_BYTES);
    find(&l, "model.layers.0.mlp.up_proj.weight")->seed--;
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    static const char *const changes[] = {"\"rope_theta\": 10001.0", "\"rms_norm_eps\": 1e-5",
                                          "\"max_position_embeddings\": 34"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        snprintf(text, sizeof text,
                 "{\"model_type\": \"llama\", \"hidden_size\": 6, \"num_hidden_layers\": 1, "
                 "\"num_attention_heads\": 3, \"num_key_value_heads\": 1, \"intermediate_size\": 10, "
                 "\"vocab_size\": 11, %s%s}",
                 i == 2 ? "" : "\"max_position_embeddings\": 33, ", changes[i]);
        write_text(directory, "config.json", text);
        fingerprint_of(directory, other);
        assert_memory_not_equal(first, other, SHA256_BYTES);
    }
    scratch_remove(directory);
}

/* Versions are stored with the fingerprint of the base that they were proved on: what a base is called here,
 * it is called in every later release. */
static void the_fingerprint_stays(void **state)
{
    (void)state;
    static const struct {
        const char *model, *fingerprint;
    } bases[] = {
        {"llama", "34c4218cd7eda8d562d7e711fabd6724f09eaf2549f667189bbc061e7519ad33"},
        {"mistral-window", "a35d09d6efe2ede62cee71664b172308e118a74f9437b889a435283de4e3c09e"},
        {"gpt2", "eee9374937fc411847c29f0e5be1a9ec806a5a51a8850c43fc75b0794b62a658"},
        {"mlp", "eae8d84b7141850527ed07b8a8167fb5b4043db374a88e61ebe709e279daec68"},
    };
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        uint8_t found[SHA256_BYTES];
        char hex[SHA256_HEX + 1];
        fingerprint_of(fixture_path("models/%s", bases[i].model), found);
        hex_encode(found, SHA256_BYTES, hex);
        assert_string_equal(hex, bases[i].fingerprint);
    }
}

/* Spread over other files, it is the same base. */
static void the_fingerprint_knows_no_files(void **state)
{
    (void)state;
    struct list l = llama_list(true);
    uint8_t first[SHA256_BYTES], other[SHA256_BYTES];
    char *directory = new_llama(false);
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    fingerprint_of(directory, first);
    scratch_remove(directory);
    directory = new_llama(false);
    write_weights(directory, "a.safetensors", l.entries + 4, l.count - 4, 3);
    write_weights(directory, "b.safetensors", l.entries, 4, 1);
    struct buf index = {0};
    buf_append_string(&index, "{\"weight_map\": {");
    for (int i = 0; i < l.count; i++)
        buf_printf(&index, "%s\"%s\": \"%c.safetensors\"", i ? ", " : "", l.entries[i].name,
                   i < 4 ? 'b' : 'a');
    buf_append_string(&index, "}}");
    write_text(directory, "model.safetensors.index.json", index.data);
    buf_fini(&index);
    fingerprint_of(directory, other);
    assert_memory_equal(first, other, SHA256_BYTES);
    scratch_remove(directory);
}

/* ---- files that change under an open model ---- */

static void change_byte(const char *path, off_t at)
{
    unsigned char byte;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Wherever it is. */
static void every_byte_counts(void **state)
{
    (void)state;
    struct list l = llama_list(true);
    char *directory = new_llama(false), path[300];
    uint8_t first[SHA256_BYTES], other[SHA256_BYTES];
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    fingerprint_of(directory, first);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    for (off_t at = status.st_size - 1; at > status.st_size - 1500; at -= 37) {
        change_byte(path, at);
        fingerprint_of(directory, other);
        assert_memory_not_equal(first, other, SHA256_BYTES);
        change_byte(path, at);
    }
    fingerprint_of(directory, other);
    assert_memory_equal(first, other, SHA256_BYTES);
    scratch_remove(directory);
}

/* What is served is in the process's own memory: a file that is cut short, or written over, changes nothing,
 * and what would have to be read from it is an error. */
static void a_model_outlives_its_files(void **state)
{
    (void)state;
    static const enum precision precisions[] = {PRECISION_EXACT, PRECISION_INT8};
    struct list l = llama_list(true);
    for (int i = 0; i < 4; i++) {
        char *directory = new_llama(false), path[300];
        write_weights(directory, "model.safetensors", l.entries, l.count, 0);
        snprintf(path, sizeof path, "%s/model.safetensors", directory);
        const struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
        assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
        fixture_precision = precisions[i % 2];
        struct model *m = fixture_model(directory);
        fixture_precision = PRECISION_EXACT;
        struct logits before = logits_of(m), after;
        struct err e = {0};
        float values[11 * 6];
        int parameter = model_find_parameter(m, "model.layers.0.mlp.up_proj", "weight");
        assert_int_equal(model_parameter_values(m, parameter, 0, 60, values, &e), 0);
        if (i < 2)
            assert_int_equal(truncate(path, 100), 0);
        else
            change_byte(path, 2000);
        after = logits_of(m);
        assert_same_logits(&before, &after);
        int result = model_parameter_values(m, parameter, 0, 60, values, &e);
        assert_int_equal(result, precisions[i % 2] == PRECISION_EXACT ? 0 : -1);
        if (result != 0) {
            assert_string_equal(e.code, "io_error");
            assert_non_null(strstr(e.message, "model.safetensors has changed"));
        }
        model_close(m);
        scratch_remove(directory);
    }
}

/* What changes while it is read may be neither the old model nor the new one; links and permissions are no
 * change. */
static void a_change_while_reading_is_seen(void **state)
{
    (void)state;
    struct list l = llama_list(true);
    char *directory = new_llama(false), path[300], other[300];
    write_weights(directory, "model.safetensors", l.entries, l.count, 0);
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    snprintf(other, sizeof other, "%s/other", directory);
    const struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    for (int changed = 0; changed < 2; changed++) {
        struct weights *w = NULL;
        struct err e = {0};
        assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
        assert_int_equal(weights_open(&w, directory, &e), 0);
        assert_int_equal(chmod(path, 0600), 0);
        assert_int_equal(link(path, other), 0);
        if (changed)
            change_byte(path, 2000);
        assert_int_equal(weights_seal(w, &e), changed ? -1 : 0);
        if (changed)
            assert_string_equal(e.code, "io_error");
        weights_close(w);
        unlink(other);
    }
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_lengths_do_not_matter),
        cmocka_unit_test(data_is_aligned_to_its_elements),
        cmocka_unit_test(every_tensor_is_needed),
        cmocka_unit_test(every_shape_is_checked),
        cmocka_unit_test(nothing_is_left_over),
        cmocka_unit_test(tied_embeddings),
        cmocka_unit_test(biases_are_added),
        cmocka_unit_test(bare_networks_lack_the_prefix),
        cmocka_unit_test(bare_networks_without_a_head),
        cmocka_unit_test(heads_of_labels),
        cmocka_unit_test(shards_are_one_model),
        cmocka_unit_test(bad_indexes_are_refused),
        cmocka_unit_test(other_files_are_explained),
        cmocka_unit_test(the_fingerprint_knows_config_and_weights),
        cmocka_unit_test(the_fingerprint_knows_no_files),
        cmocka_unit_test(the_fingerprint_stays),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(a_model_outlives_its_files),
        cmocka_unit_test(a_change_while_reading_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Writes random Hugging Face models in given shapes, and PEFT adapters for them.
 *
 *   make_model --shape 0.5b --out DIR
 *   make_model --shape 0.5b --adapter DIR --rank 16 --seed 3 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/noise.h"
#include "bench/shape.h"
#include "bench/vocabulary.h"
#include "core/base/buf.h"
#include "core/system/file.h"
#include "core/format/bf16.h"

enum { TENSORS_MAX = 16384, CHUNK = 1 << 20, RANK_MAX = 1024 };

struct tensor_plan {
    char name[128];
    int rows, cols;  /* cols 0: a vector */
    float deviation; /* 0: all ones */
};

struct writer {
    struct tensor_plan *tensors;
    int count;
    struct noise *noise;
};

struct options {
    struct shape shape;
    const char *out, *adapter;
    char target[256]; /* names of linear layers, or all-linear */
    int rank;
    float deviation;
    uint64_t seed;
};

static void add(struct writer *w, int rows, int cols, float deviation, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static void add(struct writer *w, int rows, int cols, float deviation, const char *format, ...)
{
    if (w->count == TENSORS_MAX)
        bench_fail("too many layers");
    struct tensor_plan *t = &w->tensors[w->count++];
    *t = (struct tensor_plan){.rows = rows, .cols = cols, .deviation = deviation};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(t->name, sizeof t->name, format, arguments);
    va_end(arguments);
}

static size_t elements(const struct tensor_plan *t)
{
    return (size_t)t->rows * (size_t)(t->cols ? t->cols : 1);
}

/* The header, padded with spaces to whole 8 bytes. */
static void write_header(const struct writer *w, FILE *f)
{
    struct buf header = {0};
    uint64_t at = 0;
    buf_append_string(&header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int i = 0; i < w->count; i++) {
        const struct tensor_plan *t = &w->tensors[i];
        uint64_t end = at + 2 * elements(t);
        buf_printf(&header, ",\"%s\":{\"dtype\":\"BF16\",\"shape\":[%d", t->name, t->rows);
        if (t->cols)
            buf_printf(&header, ",%d", t->cols);
        buf_printf(&header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                   (unsigned long long)end);
        at = end;
    }
    buf_append_string(&header, "}");
    while (header.length % 8)
        buf_append_string(&header, " ");
    uint64_t length = header.length;
    fwrite(&length, sizeof length, 1, f);
    fwrite(header.data, 1, header.length, f);
    buf_fini(&header);
}

static void write_tensor(const struct writer *w, const struct tensor_plan *t, uint16_t *chunk, FILE *f)
{
    for (size_t left = elements(t), n; left > 0; left -= n) {
        n = left < CHUNK ? left : CHUNK;
        if (t->deviation != 0)
            noise_half(w->noise, NOISE_BF16, t->deviation, chunk, n);
        for (size_t i = 0; t->deviation == 0 && i < n; i++)
            chunk[i] = bf16_of(1.0f);
        fwrite(chunk, sizeof *chunk, n, f);
    }
}

static FILE *create(const char *directory, const char *name)
{
    char path[4200];
    struct err e;
    bench_check(file_make_directories(directory, &e), &e);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "we");
    if (!f)
        bench_fail("%s: %m", path);
    return f;
}

static void finish(FILE *f, const char *directory)
{
    if (ferror(f) || fclose(f) != 0)
        bench_fail("cannot write in %s: %m", directory);
}

static void write_weights(const struct writer *w, const char *directory, const char *name)
{
    FILE *f = create(directory, name);
    uint16_t *chunk = malloc(CHUNK * sizeof *chunk);
    if (!chunk)
        bench_fail("out of memory");
    write_header(w, f);
    for (int i = 0; i < w->count; i++)
        write_tensor(w, &w->tensors[i], chunk, f);
    free(chunk);
    finish(f, directory);
}

/* ---- the model ---- */

static void plan_model(struct writer *w, const struct options *o)
{
    const struct shape *s = &o->shape;
    struct shape_linear linears[SHAPE_LINEARS];
    shape_linears(s, linears);
    add(w, s->vocab, s->hidden, o->deviation, "model.embed_tokens.weight");
    for (int layer = 0; layer < s->layers; layer++) {
        add(w, s->hidden, 0, 0, "model.layers.%d.input_layernorm.weight", layer);
        add(w, s->hidden, 0, 0, "model.layers.%d.post_attention_layernorm.weight", layer);
        for (int i = 0; i < SHAPE_LINEARS; i++) {
            const struct shape_linear *l = &linears[i];
            add(w, l->rows, l->cols, o->deviation, "model.layers.%d.%s.weight", layer, l->peft);
            if (l->bias)
                add(w, l->rows, 0, o->deviation, "model.layers.%d.%s.bias", layer, l->peft);
        }
    }
    add(w, s->hidden, 0, 0, "model.norm.weight");
}

static void write_config(const struct options *o)
{
    const struct shape *s = &o->shape;
    FILE *f = create(o->out, "config.json");
    fprintf(f,
            "{\n  \"architectures\": [\"Qwen2ForCausalLM\"],\n  \"model_type\": \"qwen2\",\n"
            "  \"hidden_act\": \"silu\",\n  \"hidden_size\": %d,\n  \"intermediate_size\": %d,\n"
            "  \"num_hidden_layers\": %d,\n  \"num_attention_heads\": %d,\n  \"num_key_value_heads\": %d,\n",
            s->hidden, s->intermediate, s->layers, s->heads, s->kv_heads);
    fprintf(f,
            "  \"vocab_size\": %d,\n  \"max_position_embeddings\": %d,\n  \"rms_norm_eps\": 1e-06,\n"
            "  \"rope_theta\": 1000000.0,\n  \"tie_word_embeddings\": true,\n"
            "  \"torch_dtype\": \"bfloat16\",\n  \"use_sliding_window\": false,\n  \"eos_token_id\": %d\n}\n",
            s->vocab, s->context, s->vocab - 1);
    finish(f, o->out);
}

static void write_quoted(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

static void write_tokenizer(const struct options *o)
{
    int end = o->shape.vocab - 1;
    char token[VOCABULARY_TEXT], left[VOCABULARY_TEXT], right[VOCABULARY_TEXT];
    FILE *f = create(o->out, "tokenizer.json");
    fprintf(f,
            "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[{\"id\":%d,"
            "\"content\":\"" VOCABULARY_END "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
            "\"normalized\":false,\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
            "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
            "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
            "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,"
            "\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
            "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{",
            end);
    for (int id = 0; id < end; id++) {
        vocabulary_token(id, token);
        write_quoted(f, token);
        fprintf(f, ":%d,\n", id);
    }
    fprintf(f, "\"" VOCABULARY_END "\":%d},\"merges\":[", end);
    for (int id = VOCABULARY_BYTES; id < end; id++) {
        vocabulary_merge(id, left, right);
        fprintf(f, "%s[\"%s\",\"%s\"]", id == VOCABULARY_BYTES ? "" : ",\n", left, right);
    }
    fprintf(f, "]}}\n");
    finish(f, o->out);
}

/* ---- the adapter ---- */

/* Is "q_proj" of "self_attn.q_proj" among the comma-separated targets? */
static bool targeted(const struct options *o, const char *path)
{
    const char *name = strchr(path, '.') + 1, *found = strstr(o->target, name);
    return strcmp(o->target, "all-linear") == 0 || found;
}

static void plan_adapter(struct writer *w, const struct options *o)
{
    struct shape_linear linears[SHAPE_LINEARS];
    shape_linears(&o->shape, linears);
    for (int layer = 0; layer < o->shape.layers; layer++)
        for (int i = 0; i < SHAPE_LINEARS; i++) {
            const struct shape_linear *l = &linears[i];
            if (!targeted(o, l->peft))
                continue;
            add(w, o->rank, l->cols, o->deviation, "base_model.model.model.layers.%d.%s.lora_A.weight", layer,
                l->peft);
            add(w, l->rows, o->rank, o->deviation, "base_model.model.model.layers.%d.%s.lora_B.weight", layer,
                l->peft);
        }
    if (w->count == 0)
        bench_fail("--target %s: no such linear layer", o->target);
}

static void write_adapter_config(const struct options *o)
{
    struct shape_linear linears[SHAPE_LINEARS];
    bool first = true;
    shape_linears(&o->shape, linears);
    FILE *f = create(o->adapter, "adapter_config.json");
    fprintf(f,
            "{\n  \"peft_type\": \"LORA\",\n  \"task_type\": \"CAUSAL_LM\",\n  \"r\": %d,\n"
            "  \"lora_alpha\": %d,\n  \"lora_dropout\": 0.0,\n  \"bias\": \"none\",\n"
            "  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,\n  \"target_modules\": [",
            o->rank, 2 * o->rank);
    for (int i = 0; i < SHAPE_LINEARS; i++)
        if (targeted(o, linears[i].peft)) {
            fprintf(f, "%s\"%s\"", first ? "" : ", ", strchr(linears[i].peft, '.') + 1);
            first = false;
        }
    fprintf(f, "]\n}\n");
    finish(f, o->adapter);
}

/* ---- options ---- */

static const char *const usage =
    "make_model --shape 0.5b|1.5b|tiny [--layers N --hidden N --intermediate N --heads N --kv-heads N\n"
    "           --vocab N --context N] [--seed N] [--deviation X]\n"
    "           [--out DIR] [--adapter DIR --rank R [--target all-linear|q_proj,v_proj,...]]\n"
    "A shape given by numbers needs all of them, or changes the named one.";

static void read_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {SHAPE_OPTIONS,
                                          {"out", required_argument, NULL, 'o'},
                                          {"adapter", required_argument, NULL, 'a'},
                                          {"rank", required_argument, NULL, 'r'},
                                          {"target", required_argument, NULL, 't'},
                                          {"seed", required_argument, NULL, 'n'},
                                          {"deviation", required_argument, NULL, 'd'},
                                          {0}};
    int index;
    for (int c; (c = getopt_long(argc, argv, "", known, &index)) != -1;) {
        if (c == 's')
            shape_option(&o->shape, known[index].name, optarg);
        else if (c == 'o')
            o->out = optarg;
        else if (c == 'a')
            o->adapter = optarg;
        else if (c == 'r')
            o->rank = bench_number("rank", optarg, 1, RANK_MAX);
        else if (c == 't')
            snprintf(o->target, sizeof o->target, "%s", optarg);
        else if (c == 'n')
            o->seed = (uint64_t)bench_number("seed", optarg, 0, 1 << 30);
        else if (c == 'd')
            o->deviation = strtof(optarg, NULL);
        else
            bench_fail("usage:\n%s", usage);
    }
    if (optind != argc || (!o->out && !o->adapter) || !(o->deviation > 0))
        bench_fail("usage:\n%s", usage);
    shape_check(&o->shape);
}

int main(int argc, char **argv)
{
    struct options o = {.rank = 8, .deviation = 0.02f, .seed = 1, .target = "all-linear"};
    struct writer w = {.tensors = calloc(TENSORS_MAX, sizeof *w.tensors)};
    read_options(&o, argc, argv);
    if (!w.tensors)
        bench_fail("out of memory");
    w.noise = noise_new(o.seed, 0);
    if (o.out) {
        plan_model(&w, &o);
        write_config(&o);
        write_tokenizer(&o);
        write_weights(&w, o.out, "model.safetensors");
    }
    w.count = 0;
    if (o.adapter) {
        plan_adapter(&w, &o);
        write_adapter_config(&o);
        write_weights(&w, o.adapter, "adapter_model.safetensors");
    }
    noise_free(w.noise);
    free(w.tensors);
    return 0;
}

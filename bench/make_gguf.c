/* Writes the random models of make_model's shapes as GGUF (version 3) with Q8_0 weights, and LoRA adapters
 * for them, for programs that read that format.
 *
 *   make_gguf --shape 0.5b --out FILE
 *   make_gguf --shape 0.5b --adapter FILE --rank 8 --seed 3 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/noise.h"
#include "bench/shape.h"
#include "bench/vocabulary.h"
#include "core/format/half.h"

enum { ALIGNMENT = 32, TENSORS_MAX = 16384, CHUNK = 1 << 16, RANK_MAX = 1024, Q8_BLOCK = 32 };
enum gguf_value { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_STRING = 8, GGUF_ARRAY = 9 };
enum gguf_tensor { GGUF_TENSOR_F32 = 0, GGUF_TENSOR_F16 = 1, GGUF_TENSOR_Q8_0 = 8 };
enum gguf_token { GGUF_TOKEN_NORMAL = 1, GGUF_TOKEN_CONTROL = 3 };

struct tensor_plan {
    char name[96];
    int cols, rows; /* rows 0: a vector */
    enum gguf_tensor type;
    float deviation; /* 0: all ones */
};

struct writer {
    FILE *f;
    struct noise *noise;
    struct tensor_plan *tensors;
    int count;
};

struct options {
    struct shape shape;
    const char *out, *adapter;
    int rank;
    uint64_t seed;
};

/* ---- values ---- */

static void put_u32(FILE *f, uint32_t value)
{
    fwrite(&value, sizeof value, 1, f);
}

static void put_u64(FILE *f, uint64_t value)
{
    fwrite(&value, sizeof value, 1, f);
}

static void put_f32(FILE *f, float value)
{
    fwrite(&value, sizeof value, 1, f);
}

static void put_string(FILE *f, const char *text)
{
    put_u64(f, strlen(text));
    fputs(text, f);
}

static void key(FILE *f, const char *name, enum gguf_value type)
{
    put_string(f, name);
    put_u32(f, type);
}

static void key_u32(FILE *f, const char *name, int value)
{
    key(f, name, GGUF_U32);
    put_u32(f, (uint32_t)value);
}

static void key_f32(FILE *f, const char *name, float value)
{
    key(f, name, GGUF_F32);
    put_f32(f, value);
}

static void key_string(FILE *f, const char *name, const char *value)
{
    key(f, name, GGUF_STRING);
    put_string(f, value);
}

static void key_array(FILE *f, const char *name, enum gguf_value type, int count)
{
    key(f, name, GGUF_ARRAY);
    put_u32(f, type);
    put_u64(f, (uint64_t)count);
}

/* ---- tensors ---- */

static void add(struct writer *w, int cols, int rows, enum gguf_tensor type, float deviation,
                const char *format, ...) __attribute__((format(printf, 6, 7)));
static void add(struct writer *w, int cols, int rows, enum gguf_tensor type, float deviation,
                const char *format, ...)
{
    if (w->count == TENSORS_MAX)
        bench_fail("too many layers");
    struct tensor_plan *t = &w->tensors[w->count++];
    *t = (struct tensor_plan){.cols = cols, .rows = rows, .type = type, .deviation = deviation};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(t->name, sizeof t->name, format, arguments);
    va_end(arguments);
    if (type == GGUF_TENSOR_Q8_0 && cols % Q8_BLOCK)
        bench_fail("%s: %d columns are no whole blocks of %d", t->name, cols, Q8_BLOCK);
}

static size_t elements(const struct tensor_plan *t)
{
    return (size_t)t->cols * (size_t)(t->rows ? t->rows : 1);
}

static size_t tensor_bytes(const struct tensor_plan *t)
{
    size_t n = elements(t);
    return t->type == GGUF_TENSOR_Q8_0  ? n / Q8_BLOCK * (2 + Q8_BLOCK)
           : t->type == GGUF_TENSOR_F16 ? 2 * n
                                        : 4 * n;
}

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void write_infos(const struct writer *w)
{
    uint64_t offset = 0;
    for (int i = 0; i < w->count; i++) {
        const struct tensor_plan *t = &w->tensors[i];
        put_string(w->f, t->name);
        put_u32(w->f, t->rows ? 2 : 1);
        put_u64(w->f, (uint64_t)t->cols);
        if (t->rows)
            put_u64(w->f, (uint64_t)t->rows);
        put_u32(w->f, t->type);
        put_u64(w->f, offset);
        offset += padded(tensor_bytes(t));
    }
}

static void pad(FILE *f)
{
    while (ftell(f) % ALIGNMENT)
        fputc(0, f);
}

/* A block of Q8_0: an f16 scale, 32 bytes. Uniform bytes have a deviation of 74. */
static void write_q8(const struct writer *w, const struct tensor_plan *t)
{
    uint16_t scale = half_of(t->deviation / 74);
    unsigned char block[2 + Q8_BLOCK];
    memcpy(block, &scale, sizeof scale);
    for (size_t i = 0; i < elements(t); i += Q8_BLOCK) {
        for (int k = 0; k < Q8_BLOCK; k += 8) {
            uint64_t bits = bench_random(&w->noise->random);
            memcpy(block + 2 + k, &bits, sizeof bits);
        }
        fwrite(block, sizeof block, 1, w->f);
    }
}

static void write_floats(const struct writer *w, const struct tensor_plan *t)
{
    static float wide[CHUNK];
    static uint16_t half[CHUNK];
    for (size_t left = elements(t), n; left > 0; left -= n) {
        n = left < CHUNK ? left : CHUNK;
        if (t->type == GGUF_TENSOR_F16) {
            noise_half(w->noise, NOISE_F16, t->deviation, half, n);
            fwrite(half, sizeof *half, n, w->f);
            continue;
        }
        noise_f32(w->noise, t->deviation, wide, n);
        for (size_t i = 0; t->deviation == 0 && i < n; i++)
            wide[i] = 1.0f;
        fwrite(wide, sizeof *wide, n, w->f);
    }
}

static void write_data(const struct writer *w)
{
    pad(w->f);
    for (int i = 0; i < w->count; i++) {
        if (w->tensors[i].type == GGUF_TENSOR_Q8_0)
            write_q8(w, &w->tensors[i]);
        else
            write_floats(w, &w->tensors[i]);
        pad(w->f);
    }
}

/* ---- the two kinds of file ---- */

enum { MODEL_KEYS = 18, ADAPTER_KEYS = 4 };

static void begin(struct writer *w, const char *path, int keys)
{
    w->f = fopen(path, "we");
    if (!w->f)
        bench_fail("%s: %m", path);
    fputs("GGUF", w->f);
    put_u32(w->f, 3);
    put_u64(w->f, (uint64_t)w->count);
    put_u64(w->f, (uint64_t)keys);
}

static void end(struct writer *w, const char *path)
{
    write_infos(w);
    write_data(w);
    if (ferror(w->f) || fclose(w->f) != 0)
        bench_fail("cannot write %s: %m", path);
    w->count = 0;
}

static void plan_model(struct writer *w, const struct shape *s)
{
    struct shape_linear linears[SHAPE_LINEARS];
    shape_linears(s, linears);
    add(w, s->hidden, s->vocab, GGUF_TENSOR_Q8_0, 0.02f, "token_embd.weight");
    for (int layer = 0; layer < s->layers; layer++) {
        add(w, s->hidden, 0, GGUF_TENSOR_F32, 0, "blk.%d.attn_norm.weight", layer);
        add(w, s->hidden, 0, GGUF_TENSOR_F32, 0, "blk.%d.ffn_norm.weight", layer);
        for (int i = 0; i < SHAPE_LINEARS; i++) {
            const struct shape_linear *l = &linears[i];
            add(w, l->cols, l->rows, GGUF_TENSOR_Q8_0, 0.02f, "blk.%d.%s.weight", layer, l->gguf);
            if (l->bias)
                add(w, l->rows, 0, GGUF_TENSOR_F32, 0.02f, "blk.%d.%s.bias", layer, l->gguf);
        }
    }
    add(w, s->hidden, 0, GGUF_TENSOR_F32, 0, "output_norm.weight");
}

static void write_vocabulary(FILE *f, int vocab)
{
    char text[VOCABULARY_TEXT], right[VOCABULARY_TEXT], merge[2 * VOCABULARY_TEXT + 2];
    key_string(f, "tokenizer.ggml.model", "gpt2");
    key_string(f, "tokenizer.ggml.pre", "qwen2");
    key_array(f, "tokenizer.ggml.tokens", GGUF_STRING, vocab);
    for (int id = 0; id < vocab - 1; id++) {
        vocabulary_token(id, text);
        put_string(f, text);
    }
    put_string(f, VOCABULARY_END);
    key_array(f, "tokenizer.ggml.token_type", GGUF_I32, vocab);
    for (int id = 0; id < vocab; id++)
        put_u32(f, id == vocab - 1 ? GGUF_TOKEN_CONTROL : GGUF_TOKEN_NORMAL);
    key_array(f, "tokenizer.ggml.merges", GGUF_STRING, vocab - 1 - VOCABULARY_BYTES);
    for (int id = VOCABULARY_BYTES; id < vocab - 1; id++) {
        vocabulary_merge(id, text, right);
        snprintf(merge, sizeof merge, "%s %s", text, right);
        put_string(f, merge);
    }
    key_u32(f, "tokenizer.ggml.eos_token_id", vocab - 1);
}

static void write_model(struct writer *w, const struct options *o)
{
    const struct shape *s = &o->shape;
    plan_model(w, s);
    begin(w, o->out, MODEL_KEYS);
    FILE *f = w->f;
    key_string(f, "general.architecture", "qwen2");
    key_string(f, "general.type", "model");
    key_string(f, "general.name", "random");
    key_u32(f, "general.file_type", 7); /* mostly Q8_0 */
    key_u32(f, "qwen2.block_count", s->layers);
    key_u32(f, "qwen2.context_length", s->context);
    key_u32(f, "qwen2.embedding_length", s->hidden);
    key_u32(f, "qwen2.feed_forward_length", s->intermediate);
    key_u32(f, "qwen2.attention.head_count", s->heads);
    key_u32(f, "qwen2.attention.head_count_kv", s->kv_heads);
    key_f32(f, "qwen2.attention.layer_norm_rms_epsilon", 1e-6f);
    key_f32(f, "qwen2.rope.freq_base", 1e6f);
    write_vocabulary(f, s->vocab); /* 6 keys */
    end(w, o->out);
}

static void write_adapter(struct writer *w, const struct options *o)
{
    struct shape_linear linears[SHAPE_LINEARS];
    shape_linears(&o->shape, linears);
    for (int layer = 0; layer < o->shape.layers; layer++)
        for (int i = 0; i < SHAPE_LINEARS; i++) {
            const struct shape_linear *l = &linears[i];
            add(w, l->cols, o->rank, GGUF_TENSOR_F16, 0.02f, "blk.%d.%s.weight.lora_a", layer, l->gguf);
            add(w, o->rank, l->rows, GGUF_TENSOR_F16, 0.02f, "blk.%d.%s.weight.lora_b", layer, l->gguf);
        }
    begin(w, o->adapter, ADAPTER_KEYS);
    key_string(w->f, "general.architecture", "qwen2");
    key_string(w->f, "general.type", "adapter");
    key_string(w->f, "adapter.type", "lora");
    key_f32(w->f, "adapter.lora.alpha", (float)(2 * o->rank));
    end(w, o->adapter);
}

static void read_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {SHAPE_OPTIONS,
                                          {"out", required_argument, NULL, 'o'},
                                          {"adapter", required_argument, NULL, 'a'},
                                          {"rank", required_argument, NULL, 'r'},
                                          {"seed", required_argument, NULL, 'n'},
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
        else if (c == 'n')
            o->seed = (uint64_t)bench_number("seed", optarg, 0, 1 << 30);
        else
            bench_fail("make_gguf --shape 0.5b|1.5b|tiny [--out FILE] [--adapter FILE --rank R] [--seed N]");
    }
    if (optind != argc || (!o->out && !o->adapter))
        bench_fail("--out FILE or --adapter FILE is wanted");
    shape_check(&o->shape);
}

int main(int argc, char **argv)
{
    struct options o = {.rank = 8, .seed = 1};
    struct writer w = {.tensors = calloc(TENSORS_MAX, sizeof *w.tensors)};
    read_options(&o, argc, argv);
    if (!w.tensors)
        bench_fail("out of memory");
    w.noise = noise_new(o.seed, 0);
    if (o.out)
        write_model(&w, &o);
    if (o.adapter)
        write_adapter(&w, &o);
    noise_free(w.noise);
    free(w.tensors);
    return 0;
}

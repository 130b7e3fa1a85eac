#include "bench/shape.h"

#include <string.h>

#include "bench/bench.h"
#include "bench/vocabulary.h"

static const struct {
    const char *name;
    struct shape shape;
} named[] = {
    {"0.5b", {24, 896, 4864, 14, 2, 151936, 32768}},
    {"1.5b", {28, 1536, 8960, 12, 2, 151936, 32768}},
    {"tiny", {2, 64, 160, 4, 2, 512, 4096}},
};

bool shape_named(const char *name, struct shape *out)
{
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strcmp(named[i].name, name) == 0) {
            *out = named[i].shape;
            return true;
        }
    return false;
}

void shape_linears(const struct shape *s, struct shape_linear out[SHAPE_LINEARS])
{
    int kv = s->hidden / s->heads * s->kv_heads;
    const struct shape_linear all[SHAPE_LINEARS] = {
        {"self_attn.q_proj", "attn_q", s->hidden, s->hidden, true},
        {"self_attn.k_proj", "attn_k", kv, s->hidden, true},
        {"self_attn.v_proj", "attn_v", kv, s->hidden, true},
        {"self_attn.o_proj", "attn_output", s->hidden, s->hidden, false},
        {"mlp.gate_proj", "ffn_gate", s->intermediate, s->hidden, false},
        {"mlp.up_proj", "ffn_up", s->intermediate, s->hidden, false},
        {"mlp.down_proj", "ffn_down", s->hidden, s->intermediate, false},
    };
    memcpy(out, all, sizeof all);
}

void shape_option(struct shape *s, const char *name, const char *value)
{
    const struct {
        const char *name;
        int *number;
    } numbers[] = {{"layers", &s->layers},  {"hidden", &s->hidden},     {"intermediate", &s->intermediate},
                   {"heads", &s->heads},    {"kv-heads", &s->kv_heads}, {"vocab", &s->vocab},
                   {"context", &s->context}};
    if (strcmp(name, "shape") == 0 && !shape_named(value, s))
        bench_fail("--shape %s: 0.5b, 1.5b or tiny is wanted", value);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(name, numbers[i].name) == 0)
            *numbers[i].number = bench_number(name, value, 1, 1 << 20);
}

void shape_check(const struct shape *s)
{
    if (s->layers < 1)
        bench_fail("--shape is wanted, or all numbers of one");
    if (s->hidden % s->heads || s->hidden / s->heads % 2)
        bench_fail("%d heads do not divide a hidden size of %d evenly", s->heads, s->hidden);
    if (s->heads % s->kv_heads)
        bench_fail("%d KV heads do not divide %d heads", s->kv_heads, s->heads);
    if (s->vocab <= VOCABULARY_BYTES || s->vocab > VOCABULARY_MAX)
        bench_fail("--vocab %d: from %d to %d is wanted", s->vocab, VOCABULARY_BYTES + 1, VOCABULARY_MAX);
}

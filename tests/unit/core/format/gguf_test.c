/* GGUF adapters: what the reader finds, how rows are put back in order, and that no mutation of a file does
 * more than be refused by name. The end-to-end tests compare whole adapters with PEFT's own files.
 * GGUF_MUTATIONS: how many (4000). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/format/gguf.h"
#include "adapters/gguf/gguf_peft.h"
#include "adapters/peft/peft.h"
#include "core/base/buf.h"
#include "core/system/file.h"
#include "tests/golden/fixture.h"

enum { RANK = 4, LAYERS = 2, HEADER_SHARE = 900 /* most of the mutations are where the structure is */ };

/* ---- a file in memory ---- */

static void put(struct buf *b, const void *bytes, size_t length)
{
    assert_int_equal(buf_append(b, bytes, length), 0);
}

static void put_number(struct buf *b, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        put(b, &(unsigned char){(unsigned char)(value >> (8 * i))}, 1);
}

static void put_text(struct buf *b, const char *text)
{
    put_number(b, strlen(text), 8);
    put(b, text, strlen(text));
}

static void put_pair(struct buf *b, const char *key, const char *value)
{
    put_text(b, key);
    put_number(b, 8, 4);
    put_text(b, value);
}

struct shape {
    const char *module;
    int in, out;
};

/* Value number i of tensor number t; small, and never the same in two rows. */
static float value_of(int tensor, int i)
{
    return (float)((tensor * 131 + i * 7) % 1000) / 4096.0f;
}

static void put_tensor(struct buf *infos, struct buf *data, const char *name, int columns, int rows,
                       int number)
{
    put_text(infos, name);
    put_number(infos, 2, 4);
    put_number(infos, (uint64_t)columns, 8);
    put_number(infos, (uint64_t)rows, 8);
    put_number(infos, 0, 4);
    put_number(infos, data->length, 8);
    for (int i = 0; i < columns * rows; i++) {
        float value = value_of(number, i);
        put(data, &value, sizeof value);
    }
    while (data->length % 32)
        put(data, "", 1);
}

/* q and v of the llama fixture. */
static struct buf good_file(const struct model *m)
{
    struct buf file = {0}, infos = {0}, data = {0};
    char name[64];
    int number = 0;
    for (int layer = 0; layer < LAYERS; layer++)
        for (int i = 0; i < 2; i++) {
            char path[64];
            size_t count;
            snprintf(path, sizeof path, "model.layers.%d.self_attn.%c_proj", layer, i ? 'v' : 'q');
            int site = model_find_site(m, path);
            assert_true(site >= 0);
            const struct site *s = &model_sites(m, &count)[site];
            snprintf(name, sizeof name, "blk.%d.attn_%c.weight.lora_a", layer, i ? 'v' : 'q');
            put_tensor(&infos, &data, name, s->in, RANK, number++);
            name[strlen(name) - 1] = 'b';
            put_tensor(&infos, &data, name, RANK, s->out, number++);
        }
    put(&file, "GGUF", 4);
    put_number(&file, 3, 4);
    put_number(&file, (uint64_t)number, 8);
    put_number(&file, 4, 8);
    put_pair(&file, "general.architecture", "llama");
    put_pair(&file, "general.type", "adapter");
    put_pair(&file, "adapter.type", "lora");
    put_text(&file, "adapter.lora.alpha");
    put_number(&file, 6, 4);
    put(&file, &(float){8}, 4);
    put(&file, infos.data, infos.length);
    while (file.length % 32)
        put(&file, "", 1);
    put(&file, data.data, data.length);
    buf_fini(&infos);
    buf_fini(&data);
    return file;
}

static int memory_file(const void *bytes, size_t length)
{
    struct err e;
    int fd = memfd_create("gguf", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, bytes, length, &e), 0);
    return fd;
}

/* ---- what comes out ---- */

struct out {
    int config, weights;
};

static int put_config(void *arg, const void *bytes, size_t length, struct err *e)
{
    return file_write_all(((struct out *)arg)->config, bytes, length, e);
}

static int put_weights(void *arg, const void *bytes, size_t length, struct err *e)
{
    return file_write_all(((struct out *)arg)->weights, bytes, length, e);
}

static struct out out_new(void)
{
    return (struct out){memory_file("", 0), memory_file("", 0)};
}

static void out_free(struct out *o)
{
    close(o->config);
    close(o->weights);
}

static int convert(const struct model *m, const struct buf *file, struct out *o, struct err *e)
{
    int fd = memory_file(file->data, file->length);
    struct gguf_sink sink = {put_config, put_weights, o};
    int result = gguf_peft_convert(m, fd, &sink, e);
    close(fd);
    return result;
}

static struct model *model;

static int setup(void **state)
{
    (void)state;
    model = fixture_model(fixture_path("models/llama"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_close(model);
    return 0;
}

/* ---- tests ---- */

static void the_reader_finds_keys_and_tensors(void **state)
{
    (void)state;
    struct buf file = good_file(model);
    struct gguf g;
    struct err e;
    int fd = memory_file(file.data, file.length);
    assert_true(gguf_is(fd));
    assert_int_equal(gguf_open(&g, fd, &e), 0);
    assert_string_equal(g.architecture, "llama");
    assert_string_equal(g.type, "adapter");
    assert_string_equal(g.adapter, "lora");
    assert_true(g.alpha == 8);
    assert_int_equal(g.count, 4 * LAYERS);
    for (size_t i = 0; i < g.count; i++) {
        float first;
        assert_int_equal(file_pread(fd, &first, sizeof first, g.tensors[i].offset, &e), 0);
        assert_true(first == value_of((int)i, 0));
    }
    assert_string_equal(g.tensors[1].name, "blk.0.attn_q.weight.lora_b");
    assert_int_equal(g.tensors[1].columns, RANK);
    gguf_fini(&g);
    close(fd);
    fd = memory_file("GGU", 3);
    assert_false(gguf_is(fd));
    close(fd);
    buf_fini(&file);
}

/* In each head, rows 2j and 2j+1 of the file are rows j and j + half; of v, and of A, nothing moves. */
static void rows_of_q_are_put_back(void **state)
{
    (void)state;
    struct buf file = good_file(model);
    struct out o = out_new();
    struct peft *p;
    struct err e;
    int dim = model_info(model)->kv.dim, half = dim / 2;
    assert_int_equal(convert(model, &file, &o, &e), 0);
    assert_int_equal(peft_load(&p, model, o.config, o.weights, 0, &e), 0);
    const struct delta_source *s = peft_source(p);
    size_t count;
    const struct site *sites = model_sites(model, &count);
    assert_int_equal(s->count, 2 * LAYERS);
    for (size_t i = 0; i < s->count; i++) {
        struct delta_part part;
        assert_int_equal(delta_source_part(s, i, &part, &e), 0);
        bool q = sites[part.site].kind == SITE_Q;
        int number = 4 * sites[part.site].layer + (q ? 0 : 2);
        assert_true(part.scale == 2);
        for (int k = 0; k < RANK * sites[part.site].in; k++)
            assert_true(part.a[k] == value_of(number, k));
        for (int row = 0; row < sites[part.site].out; row++) {
            int in_head = row % dim;
            int from = !q ? row : row - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
            for (int k = 0; k < RANK; k++)
                assert_true(part.b[row * RANK + k] == value_of(number + 1, from * RANK + k));
        }
    }
    peft_free(p);
    out_free(&o);
    buf_fini(&file);
}

/* ---- mutations ---- */

static unsigned seed = 1;

static unsigned below(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 8) % n;
}

static void mutate(struct buf *b)
{
    static const uint64_t interesting[] = {0,
                                           1,
                                           2,
                                           7,
                                           8,
                                           31,
                                           255,
                                           256,
                                           65535,
                                           1u << 31,
                                           UINT32_MAX,
                                           UINT64_C(1) << 32,
                                           UINT64_C(1) << 62,
                                           INT64_MAX,
                                           UINT64_MAX};
    unsigned at = below(below(8) ? HEADER_SHARE : (unsigned)b->length);
    switch (below(5)) {
    case 0:
        b->data[at] ^= (char)(1 << below(8));
        break;
    case 1:
        b->data[at] = (char)below(256);
        break;
    case 2: {
        uint64_t value = interesting[below(sizeof interesting / sizeof *interesting)];
        size_t bytes = below(2) ? 8 : 4;
        memcpy(b->data + (at + bytes < b->length ? at : 0), &value, bytes);
        break;
    }
    case 3: /* a piece is missing */
        buf_consume(b, below(16));
        break;
    default:
        b->length -= below((unsigned)b->length / 2);
    }
}

static bool is_refusal(const char *code)
{
    static const char *const codes[] = {
        "gguf_malformed",         "adapter_unsupported_type", "adapter_unsupported_feature",
        "adapter_wrong_base",     "adapter_unknown_module",   "adapter_unexpected_tensor",
        "adapter_missing_tensor", "adapter_shape_mismatch",   "adapter_rank_too_large",
        "adapter_not_finite",     "adapter_no_effect"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(codes[i], code) == 0)
            return true;
    return false;
}

/* Whatever is taken becomes files that PEFT's reader takes, or refuses for their values alone. */
static void check_outcome(const struct buf *file, unsigned number, size_t *taken)
{
    struct out o = out_new();
    struct err e = {.code = ""};
    struct peft *p = NULL;
    if (convert(model, file, &o, &e) == 0) {
        ++*taken;
        if (peft_load(&p, model, o.config, o.weights, 0, &e) == 0)
            peft_free(p);
        else if (strcmp(e.code, "adapter_not_finite") != 0 && strcmp(e.code, "adapter_no_effect") != 0)
            fail_msg("mutation %u was converted, then refused: %s: %s", number, e.code, e.message);
    } else if (!is_refusal(e.code) || !e.message[0]) {
        fail_msg("mutation %u: %s: %s", number, e.code, e.message);
    }
    out_free(&o);
}

static void mutations_are_refused_by_name(void **state)
{
    (void)state;
    const char *wanted = getenv("GGUF_MUTATIONS");
    unsigned count = wanted ? (unsigned)strtoul(wanted, NULL, 10) : 4000;
    struct buf file = good_file(model);
    size_t taken = 0;
    for (unsigned i = 0; i < count; i++) {
        struct buf copy = {0};
        put(&copy, file.data, file.length);
        for (unsigned k = 1 + below(3); k > 0; k--)
            mutate(&copy);
        check_outcome(&copy, i, &taken);
        buf_fini(&copy);
    }
    assert_true(taken > count / 100 && taken < count / 2); /* both ways were taken */
    buf_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_reader_finds_keys_and_tensors),
                                       cmocka_unit_test(rows_of_q_are_put_back),
                                       cmocka_unit_test(mutations_are_refused_by_name)};
    return cmocka_run_group_tests(tests, setup, teardown);
}

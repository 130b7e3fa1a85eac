#include "core/train/pass/pass_memory.h"

#include "core/system/hugepage.h"
#include "core/train/pass/low_backward.h"

enum { ALIGNMENT = 64 };

/* A walk over the memory; one with no memory finds its size. */
struct walk {
    char *memory;
    size_t at;
};

static void *carve(struct walk *w, size_t count, size_t size)
{
    void *place = w->memory ? w->memory + w->at : NULL;
    w->at += (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return place;
}

static float *floats(struct walk *w, size_t rows, size_t width)
{
    return carve(w, rows * width, sizeof(float));
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ---- what the kernels need ---- */

/* The largest over all linear layers. */
struct needs {
    size_t prepared[INPUT_LINEARS_MAX], prepared_own[INPUT_LINEARS_MAX]; /* bytes */
    size_t row;                                                          /* floats */
};

static void need(struct needs *n, const struct linear *l, int which, int rows)
{
    int out = l->weight.rows;
    n->prepared[which] = larger(n->prepared[which], backward_input_bytes(rows, out, l->packed.bits != 0));
    n->prepared_own[which] = larger(n->prepared_own[which], backward_input_bytes(rows, out, false));
    n->row = larger(n->row, (size_t)l->weight.cols);
}

static struct needs list_needs(const struct train_pass *p)
{
    struct needs n = {0};
    need(&n, &p->model->lm_head, 0, p->head_rows);
    for (int i = 0; i < p->model->config.layers; i++) {
        const struct layer *l = &p->model->layers[i];
        for (int h = 0; h < l->head_norms; h++)
            n.row = larger(n.row, (size_t)l->head_norm[h].norm.size);
        for (int which = 0; which < l->qkv_count; which++)
            need(&n, &l->qkv[which], which, p->tokens);
        need(&n, &l->o, 0, p->tokens);
        need(&n, &l->up, 0, p->tokens);
        if (l->gate.weight.data)
            need(&n, &l->gate, 1, p->tokens);
        need(&n, &l->down, 0, p->tokens);
    }
    return n;
}

/* ---- the layout ---- */

static void lay_batch(struct pass_batch *b, struct walk *w, size_t tokens)
{
    b->token = carve(w, tokens, sizeof *b->token);
    b->position = carve(w, tokens, sizeof *b->position);
    b->length = carve(w, tokens, sizeof *b->length);
    b->sequence = carve(w, tokens, sizeof *b->sequence);
    b->delta = carve(w, tokens, sizeof *b->delta);
    b->dropout = carve(w, tokens, sizeof *b->dropout);
    b->want = carve(w, tokens, sizeof *b->want);
}

static void lay_lists(struct train_pass *p, struct walk *w)
{
    size_t tokens = (size_t)p->tokens;
    lay_batch(&p->all, w, tokens);
    lay_batch(&p->trained, w, tokens);
    p->trained_row = carve(w, tokens, sizeof *p->trained_row);
    p->target = carve(w, tokens, sizeof *p->target);
    p->pages = carve(w, (size_t)pass_pages(p->tokens), sizeof *p->pages);
}

/* Gate and up, by themselves or side by side. */
static void lay_hidden(struct train_pass *p, struct walk *w, size_t tokens, size_t size)
{
    const struct family *f = p->model->config.family;
    p->up_stride = (int)(f->gate_up ? 2 * size : size);
    p->gate_rows = floats(w, tokens, f->gated ? (size_t)p->up_stride : 0);
    p->up_rows = f->gate_up ? (p->gate_rows ? p->gate_rows + size : NULL) : floats(w, tokens, size);
}

static void lay_arrays(struct train_pass *p, struct walk *w)
{
    const struct model *m = p->model;
    const struct config *c = &m->config;
    size_t tokens = (size_t)p->tokens, hidden = (size_t)c->hidden, q = (size_t)model_q_size(m),
           kv = (size_t)model_kv_size(m), rows = larger(tokens, (size_t)p->head_rows);
    p->saved = floats(w, (size_t)c->layers * tokens, hidden);
    p->dx = floats(w, tokens, hidden);
    bool normed = c->family->attention_post_norm || c->family->mlp_post_norm;
    p->branch = floats(w, tokens, c->residual_multiplier != 1 || normed ? hidden : 0);
    p->kept = floats(w, tokens, c->parallel ? hidden : 0);
    p->attended = floats(w, tokens, normed ? hidden : 0);
    p->dh = floats(w, rows, larger(hidden, q));
    p->scaled = floats(w, tokens, hidden);
    p->dqkv = floats(w, tokens, q + 2 * kv);
    p->qk = floats(w, tokens, c->head_norms != HEAD_NORMS_NONE ? q + kv : 0);
    lay_hidden(p, w, tokens, (size_t)c->intermediate);
    p->low = floats(w, rows, (size_t)low_layout(DELTA_RANK_MAX).stride);
}

static void lay_workers(struct train_pass *p, struct walk *w, const struct needs *n, int threads)
{
    const struct config *c = &p->model->config;
    size_t rows = larger((size_t)p->tokens, (size_t)p->head_rows);
    p->workers = carve(w, (size_t)threads, sizeof *p->workers);
    p->capped = floats(w, (size_t)threads, c->logit_cap > 0 ? (size_t)c->vocab : 0);
    for (int i = 0; i < threads; i++) {
        struct pass_worker own = {
            .widened = floats(w, backward_scratch(), 1),
            .low = floats(w, LOW_BACKWARD_SCRATCH, 1),
            .attention = floats(w, backward_attention_scratch(p->tokens, c->head_dim, c->score_cap > 0), 1),
            .block = floats(w, PASS_BLOCKS * rows, BACKWARD_COLS),
            .row = floats(w, n->row, 1),
        };
        if (p->workers)
            p->workers[i] = own;
    }
}

static void lay(struct train_pass *p, struct walk *w, int threads)
{
    struct needs n = list_needs(p);
    lay_lists(p, w);
    lay_arrays(p, w);
    for (int i = 0; i < INPUT_LINEARS_MAX; i++) {
        p->prepared[i] = carve(w, n.prepared[i], 1);
        p->prepared_own[i] = carve(w, n.prepared_own[i], 1);
    }
    lay_workers(p, w, &n, threads);
}

/* ---- the whole ---- */

size_t pass_memory_bytes(const struct train_pass *p, int threads)
{
    struct train_pass copy = *p;
    struct walk w = {0};
    lay(&copy, &w, threads);
    return w.at;
}

int pass_memory_init(struct train_pass *p, struct err *e)
{
    struct walk w = {0};
    p->memory_bytes = pass_memory_bytes(p, pool_threads(p->pool));
    w.memory = p->memory = hugepage_new(p->memory_bytes);
    if (!p->memory)
        return err_memory(e);
    lay(p, &w, pool_threads(p->pool));
    return 0;
}

void pass_memory_fini(struct train_pass *p)
{
    hugepage_free(p->memory, p->memory_bytes);
}

/* A trainer as bytes: a head, whose job it is, the state, the numbers of the tensors, and a digest of all
 * that. */
#include <stdlib.h>
#include <string.h>

#include "core/base/sha256.h"
#include "core/train/trainer.h"
#include "core/train/trainer_private.h"

static const char head[16] = "adapterd train1";

/* Numbers of the state, each as 8 bytes, the lowest first. */
enum field { PHASE, STEP, TOKENS, BEST_LOSS, WORSE, FIELDS };

/* ---- which job it is ---- */

static void hash_number(struct sha256 *h, uint64_t n)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(n >> (8 * i));
    sha256_update(h, bytes, sizeof bytes);
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static void hash_options(struct sha256 *h, const struct train_options *o)
{
    const double reals[] = {o->beta,         o->learning_rate, o->weight_decay, o->adam_beta1, o->adam_beta2,
                            o->adam_epsilon, o->max_grad_norm, o->dropout,      o->epochs};
    const int64_t wholes[] = {(int64_t)o->method, (int64_t)o->schedule, (int64_t)o->optimizer,
                              (int64_t)o->loss,   o->warmup_steps,      o->max_steps,
                              o->batch_size,      o->accumulation,      o->shuffle,
                              o->decay_all,       o->eval_steps,        o->eval_on_start,
                              o->patience};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        hash_number(h, bits_of(reals[i]));
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++)
        hash_number(h, (uint64_t)wholes[i]);
    hash_number(h, o->seed);
}

static void hash_data(struct sha256 *h, const struct train_data *d)
{
    hash_number(h, d ? d->count : 0);
    hash_number(h, d ? (uint64_t)d->tokens : 0);
}

static void hash_tensors(struct sha256 *h, const struct train_params *p)
{
    for (int i = 0; i < p->count; i++) {
        const struct train_tensor *t = &p->tensors[i];
        const int64_t shape[] = {(int64_t)t->kind, t->site, t->parameter, t->rows, t->cols};
        for (size_t k = 0; k < sizeof shape / sizeof *shape; k++)
            hash_number(h, (uint64_t)shape[k]);
        if (t->site >= 0)
            hash_number(h, bits_of((double)p->sites[t->site].scale));
    }
}

static void identity(const struct trainer *t, uint8_t out[SHA256_BYTES])
{
    struct sha256 h;
    sha256_init(&h);
    sha256_update(&h, model_info(t->model)->fingerprint, SHA256_BYTES);
    hash_number(&h, (uint64_t)model_info(t->model)->precision);
    hash_options(&h, &t->options);
    hash_data(&h, t->data);
    hash_data(&h, t->valid);
    hash_tensors(&h, t->params);
    sha256_final(&h, out);
}

/* ---- places ---- */

enum { AT_JOB = sizeof head, AT_STATE = AT_JOB + SHA256_BYTES, AT_NUMBERS = AT_STATE + FIELDS * 8 };

/* Bytes of one array of the tensors. */
static size_t array_bytes(const struct trainer *t)
{
    return t->params->numbers * sizeof(float);
}

/* The arrays that are kept: values, moments, and the best values. Gradients are zero between steps. */
enum { ARRAYS_MAX = 4 };
static int arrays(const struct trainer *t, float *out[ARRAYS_MAX])
{
    size_t numbers = t->params->numbers;
    int count = 0;
    out[count++] = t->params->memory;
    out[count++] = t->params->memory + 2 * numbers;
    out[count++] = t->params->memory + 3 * numbers;
    if (t->best)
        out[count++] = t->best;
    return count;
}

static size_t bytes_before_digest(const struct trainer *t)
{
    float *ignored[ARRAYS_MAX];
    return AT_NUMBERS + (size_t)arrays(t, ignored) * array_bytes(t);
}

/* ---- saving ---- */

/* Bytes that go out, hashed on their way. */
struct out {
    int (*write)(void *arg, const void *data, size_t length, struct err *e);
    void *arg;
    struct sha256 hash;
};

static int put(struct out *o, const void *data, size_t length, struct err *e)
{
    sha256_update(&o->hash, data, length);
    return o->write(o->arg, data, length, e);
}

static int put_state(const struct trainer *t, struct out *o, struct err *e)
{
    const struct trainer_state *s = &t->state;
    const uint64_t fields[FIELDS] = {[PHASE] = (uint64_t)s->phase,
                                     [STEP] = (uint64_t)s->step,
                                     [TOKENS] = (uint64_t)s->tokens,
                                     [BEST_LOSS] = bits_of(s->best_loss),
                                     [WORSE] = (uint64_t)s->worse};
    uint8_t bytes[FIELDS * 8];
    for (int i = 0; i < FIELDS; i++)
        for (int b = 0; b < 8; b++)
            bytes[i * 8 + b] = (uint8_t)(fields[i] >> (8 * b));
    return put(o, bytes, sizeof bytes, e);
}

static int put_numbers(const struct trainer *t, struct out *o, struct err *e)
{
    float *from[ARRAYS_MAX];
    int count = arrays(t, from);
    for (int i = 0; i < count; i++)
        if (put(o, from[i], array_bytes(t), e) != 0)
            return -1;
    return 0;
}

uint64_t trainer_save_bytes(const struct trainer *t)
{
    return bytes_before_digest(t) + SHA256_BYTES;
}

int trainer_save(const struct trainer *t,
                 int (*write)(void *arg, const void *data, size_t length, struct err *e), void *arg,
                 struct err *e)
{
    struct out o = {.write = write, .arg = arg};
    uint8_t digest[SHA256_BYTES];
    identity(t, digest);
    sha256_init(&o.hash);
    if (put(&o, head, sizeof head, e) != 0 || put(&o, digest, sizeof digest, e) != 0 ||
        put_state(t, &o, e) != 0 || put_numbers(t, &o, e) != 0)
        return -1;
    sha256_final(&o.hash, digest);
    return write(arg, digest, sizeof digest, e);
}

/* ---- restoring ---- */

static int malformed(struct err *e, const char *why)
{
    return err_set(e, "checkpoint_malformed", "the checkpoint %s", why);
}

static int check(const struct trainer *t, const uint8_t *bytes, size_t size, struct err *e)
{
    uint8_t wanted[SHA256_BYTES];
    if (size < AT_NUMBERS || memcmp(bytes, head, sizeof head) != 0)
        return malformed(e, "is none of a training job");
    identity(t, wanted);
    if (memcmp(bytes + AT_JOB, wanted, sizeof wanted) != 0)
        return malformed(e, "is of a job with other data or another configuration");
    if (size != bytes_before_digest(t) + SHA256_BYTES)
        return malformed(e, "is cut short, or longer than it should be");
    sha256_of(bytes, size - SHA256_BYTES, wanted);
    return memcmp(bytes + size - SHA256_BYTES, wanted, sizeof wanted) == 0 ? 0 : malformed(e, "is damaged");
}

static uint64_t field(const uint8_t *bytes, enum field which)
{
    const uint8_t *at = bytes + AT_STATE + 8 * (size_t)which;
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n |= (uint64_t)at[i] << (8 * i);
    return n;
}

static int read_state(const struct trainer *t, const uint8_t *bytes, struct trainer_state *out, struct err *e)
{
    uint64_t phase = field(bytes, PHASE), step = field(bytes, STEP), best = field(bytes, BEST_LOSS);
    bool possible = phase <= TRAINER_DONE && step <= (uint64_t)t->steps &&
                    (phase != TRAINER_STEP || step < (uint64_t)t->steps) &&
                    (phase != TRAINER_EVALUATION || t->valid);
    if (!possible)
        return malformed(e, "has a state that the job does not come to");
    *out = (struct trainer_state){.phase = (enum trainer_phase)phase,
                                  .step = (int64_t)step,
                                  .tokens = (int64_t)field(bytes, TOKENS),
                                  .worse = (int64_t)field(bytes, WORSE)};
    memcpy(&out->best_loss, &best, sizeof best);
    return 0;
}

/* A delta of the checkpoint's values, before anything is overwritten. */
static int copy_numbers(struct trainer *t, const uint8_t *bytes, struct err *e)
{
    float *to[ARRAYS_MAX], *own = malloc(array_bytes(t) + 1);
    struct delta *fresh;
    int count = arrays(t, to);
    if (!own)
        return err_memory(e);
    memcpy(own, to[0], array_bytes(t));
    memcpy(to[0], bytes + AT_NUMBERS, array_bytes(t));
    int result = train_params_delta(t->params, &fresh, e);
    if (result != 0)
        memcpy(to[0], own, array_bytes(t));
    free(own);
    if (result != 0)
        return -1;
    delta_unref(t->delta);
    t->delta = fresh;
    for (int i = 1; i < count; i++)
        memcpy(to[i], bytes + AT_NUMBERS + (size_t)i * array_bytes(t), array_bytes(t));
    return 0;
}

int trainer_restore(struct trainer *t, const void *bytes, size_t size, struct err *e)
{
    struct trainer_state state;
    if (check(t, bytes, size, e) != 0 || read_state(t, bytes, &state, e) != 0 ||
        copy_numbers(t, bytes, e) != 0)
        return -1;
    t->state = state;
    t->begun = false;
    train_params_clear(t->params);
    return 0;
}

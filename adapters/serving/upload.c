#include "adapters/serving/upload.h"

#include <string.h>

#include "adapters/gguf/gguf_peft.h"
#include "adapters/peft/peft.h"
#include "adapters/serving/effect.h"

struct job { /* what each step borrows */
    struct registry *registry;
    struct cache *cache;
    struct engine *engine;
    const struct model *model;
    struct staged *staged;
    const struct upload *upload;
    struct buf settings;           /* owned: as the registry keeps them; empty: there are none */
    uint8_t version[SHA256_BYTES]; /* of weights and settings */
};

/* All that is found out about its effect. */
struct effect {
    struct engine_proof logits;
    struct version_proof proof;
};

_Static_assert((int)HEAD_TEXT == VERSION_LABELS_TEXTS && (int)HEAD_TOKENS == VERSION_LABELS_TOKENS,
               "a version's task is that of its head");

static int publish(const struct job *j, const struct peft_info *info, const struct effect *effect,
                   const struct version **out, bool *created, struct err *e)
{
    struct publish p = {.tenant = j->upload->tenant,
                        .name = j->upload->name,
                        .activate = j->upload->activate,
                        .rank_max = info->rank_max,
                        .sites = info->sites,
                        .parameters = info->parameters,
                        .task = (enum version_task)info->task,
                        .vocab = info->vocab,
                        .proof_max = effect->logits.max_change,
                        .proof_mean = effect->logits.mean_change,
                        .proof = &effect->proof};
    if (j->settings.length)
        p.settings = &j->settings;
    memcpy(p.digest, j->version, sizeof p.digest);
    return registry_publish(j->registry, j->staged, &p, out, created, e);
}

/* `unseen`: it changes what the probe may not come across, rows of the base or what gives labels. */
static int probe(const struct job *j, struct delta *d, bool unseen, struct engine_proof *proof, struct err *e)
{
    if (engine_probe(j->engine, j->upload->tenant, d, proof, e) != 0)
        return -1;
    if (proof->max_change > 0 || unseen || j->upload->allow_no_effect)
        return 0;
    err_set(e, "adapter_no_effect",
            "the adapter changes no output of the model: on the probe every logit is the same "
            "with and without it");
    return err_hint(e, "was it trained for this base? With allow_no_effect it is accepted as it is");
}

/* A sample is text that the adapter writes. */
static int check_sample(const struct job *j, const struct peft *p, struct err *e)
{
    if (model_info(j->model)->generates && peft_info(p)->task == HEAD_NONE)
        return 0;
    return err_set(e, "input_unsupported", "there is no sample of what gives labels or vectors, not text");
}

static int find_effect(const struct job *j, const struct peft *p, struct delta *d, struct effect *out,
                       struct err *e)
{
    const struct upload *u = j->upload;
    bool unseen = peft_info(p)->changes_rows || peft_info(p)->task != HEAD_NONE;
    if (probe(j, d, unseen, &out->logits, e) != 0 ||
        effect_norms(&out->proof, j->model, peft_source(p), e) != 0)
        return -1;
    if (u->proof_prompt && check_sample(j, p, e) != 0)
        return err_param(e, "proof_prompt");
    if (u->proof_prompt &&
        effect_sample(&out->proof, j->engine, u->tenant, d, u->tokenizer, u->proof_prompt, e) != 0)
        return err_param(e, "proof_prompt");
    return 0;
}

/* A proof that is new is answered as it was found; of a content that was there, its row may know more. */
static void take_proof(struct upload_result *out, struct version_proof *found)
{
    buf_fini(&found->norms);
    out->proof = *found;
    *found = (struct version_proof){0};
}

/* A content that is not there yet, or one of which a sample is wanted. */
static int accept_new(const struct job *j, const struct peft *p, struct upload_result *out, struct err *e)
{
    char digest[SHA256_HEX + 1];
    struct delta *d;
    struct effect effect = {0};
    uint64_t bytes = staged_bytes(j->staged, STAGED_CONFIG) + staged_bytes(j->staged, STAGED_WEIGHTS);
    hex_encode(j->version, SHA256_BYTES, digest);
    if (registry_quota_check(j->registry, j->upload->tenant, j->upload->name, digest, bytes, e) != 0 ||
        delta_new(&d, j->model, peft_source(p), e) != 0)
        return -1;
    int result = find_effect(j, p, d, &effect, e);
    if (result == 0)
        result = publish(j, peft_info(p), &effect, &out->version, &out->created, e);
    if (result == 0)
        cache_put(j->cache, out->version, d);
    if (result == 0 && out->created)
        take_proof(out, &effect.proof);
    proof_fini(&effect.proof);
    delta_unref(d);
    return result;
}

/* Content that is there already, under this name and in good health, was proved then. -1: it is not, or no
 * longer. */
static int accept_present(const struct job *j, const struct version **out)
{
    char reference[NAME_MAX_BYTES + 1 + SHA256_HEX + 1], digest[SHA256_HEX + 1];
    const struct version *v;
    struct err ignored;
    hex_encode(j->version, sizeof j->version, digest);
    stpcpy(stpcpy(stpcpy(reference, j->upload->name), "@"), digest);
    if (registry_resolve(j->registry, j->upload->tenant, reference, &v, &ignored) != 0)
        return -1;
    if (registry_check_files(j->registry, v, &ignored) != 0) {
        version_unref(v);
        return -1;
    }
    if (!j->upload->activate || v->active) {
        *out = v;
        return 0;
    }
    version_unref(v);
    return registry_activate(j->registry, j->upload->tenant, j->upload->name, digest, out, &ignored);
}

/* ---- settings ---- */

/* As they are kept, where they change anything. */
static int read_settings(struct job *j, int vocab, struct warnings *w, struct err *e)
{
    const struct upload *u = j->upload;
    struct settings *s;
    if (!u->settings || !settings_files_any(u->settings))
        return 0;
    if (settings_new(&s, u->settings_base, vocab, u->settings, w, e) != 0)
        return -1;
    bool changed = !settings_are_base(s, u->settings_base);
    settings_unref(s);
    return changed ? settings_files_encode(u->settings, &j->settings, e) : 0;
}

/* That of the weights; with settings, the SHA-256 of it and theirs, as lines of hexadecimal digits. */
static void find_version(struct job *j, const uint8_t weights[SHA256_BYTES])
{
    char line[2 * (SHA256_HEX + 1) + 1];
    memcpy(j->version, weights, sizeof j->version);
    if (!j->settings.length)
        return;
    hex_encode(weights, SHA256_BYTES, line);
    settings_files_digest(&j->settings, line + SHA256_HEX + 1);
    line[SHA256_HEX] = line[sizeof line - 2] = '\n';
    sha256_of(line, sizeof line - 1, j->version);
}

/* ---- GGUF ---- */

static int put_config(void *arg, const void *bytes, size_t length, struct err *e)
{
    return staged_write(arg, STAGED_CONFIG, bytes, length, e);
}

static int put_weights(void *arg, const void *bytes, size_t length, struct err *e)
{
    return staged_write(arg, STAGED_WEIGHTS, bytes, length, e);
}

/* A GGUF file becomes PEFT's two, and these are what is stored. */
static int convert(struct job *j, struct err *e)
{
    struct staged *converted;
    int fd = staged_fd(j->staged, STAGED_WEIGHTS);
    if (!gguf_is(fd))
        return 0;
    if (staged_new(&converted, j->registry, e) != 0)
        return -1;
    struct gguf_sink sink = {put_config, put_weights, converted};
    if (gguf_peft_convert(j->model, fd, &sink, e) != 0) {
        staged_free(converted);
        return e->param[0] ? -1 : err_param(e, "weights");
    }
    staged_free(j->staged);
    j->staged = converted;
    return 0;
}

static int accept_peft(struct job *j, struct peft *p, struct upload_result *out, struct err *e)
{
    *out = (struct upload_result){.created = false};
    if (read_settings(j, peft_info(p)->vocab, peft_warnings(p), e) != 0)
        return -1;
    find_version(j, peft_info(p)->version);
    int result = j->upload->proof_prompt ? -1 : accept_present(j, &out->version);
    if (result != 0)
        result = accept_new(j, p, out, e);
    if (result == 0 && !out->created &&
        registry_version_proof(j->registry, out->version, false, &out->proof, e) != 0) {
        proof_fini(&out->proof);
        version_unref(out->version);
        result = -1;
    }
    if (result == 0)
        warnings_move(&out->warnings, peft_warnings(p));
    return result;
}

static int accept(struct job *j, struct upload_result *out, struct err *e)
{
    struct peft *p;
    if (!name_valid(j->upload->name))
        return name_refuse("the name of an adapter", "name", e);
    if (staged_sync(j->staged, e) != 0 ||
        peft_load(&p, j->model, staged_fd(j->staged, STAGED_CONFIG), staged_fd(j->staged, STAGED_WEIGHTS),
                  j->upload->allow_no_effect ? PEFT_ALLOW_NO_EFFECT : 0, e) != 0)
        return -1;
    int result = accept_peft(j, p, out, e);
    peft_free(p);
    return result;
}

int upload_accept(struct registry *r, struct cache *c, struct engine *g, const struct model *m,
                  struct staged *staged, const struct upload *u, struct upload_result *out, struct err *e)
{
    struct job j = {.registry = r, .cache = c, .engine = g, .model = m, .staged = staged, .upload = u};
    int result = convert(&j, e) == 0 ? accept(&j, out, e) : -1;
    staged_free(j.staged);
    buf_fini(&j.settings);
    return result;
}

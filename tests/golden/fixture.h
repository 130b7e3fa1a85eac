/* What golden tests share: fixtures on disk, models and adapters opened from them, and a request that
 * waits. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/delta/delta.h"
#include "core/engine/engine.h"
#include "core/model/model.h"

/* ADAPTERD_FIXTURES (default tests/fixtures) joined with the printf-like rest; static storage, two calls
 * deep. */
const char *fixture_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool fixture_exists(const char *path);
json_t *fixture_json(const char *path); /* fails the test where it cannot be read */

extern bool fixture_kv_int8;
extern enum precision fixture_precision; /* of models opened from now on */
struct model *fixture_model(const char *directory);
/* NULL, with the error, where the adapter is refused. */
struct delta *fixture_delta(const struct model *m, const char *directory, struct err *e);
/* Of a case: the name of an adapter, or a list of adapters with scales. NULL, with the error, where it is
 * refused. */
struct delta *fixture_named_delta(const struct model *m, const char *model, const json_t *adapter,
                                  struct err *e);
struct engine *fixture_engine(const struct model *m, int threads, int chunk_tokens, int sequences_max);

/* One request and all it gave. */
struct run {
    float *logits; /* [rows, vocab], where asked for; of states [rows, hidden size] */
    size_t rows, vocab;
    int32_t tokens[4096];
    int token_count;
    struct engine_done done;
    bool finished;
    int stop_after; /* on_token says stop here; 0: never */
    struct runs *all;
};
/* Runs that are waited for together. */
struct runs;
struct runs *runs_new(void);
void runs_free(struct runs *r);
void runs_wait(struct runs *r);
/* Submit; `run` is zero-initialized. Greedy, ignoring end tokens, unless `how` says otherwise (NULL). */
void run_submit(struct runs *all, struct run *run, struct engine *g, struct delta *d, const int32_t *tokens,
                size_t count, int max_tokens, bool logits, const struct sampling *how, uint32_t tenant);
/* The same greedily, without logits, so that pages of others of this root may be shared; NULL: of nobody. */
void run_submit_shared(struct runs *all, struct run *run, struct engine *g, struct delta *d,
                       const int32_t *tokens, size_t count, int max_tokens, const uint8_t *cache_root);
void run_submit_rows(struct runs *all, struct run *run, struct engine *g, struct delta *d, const float *input,
                     size_t rows);
/* What stands behind the final norm, of each token or of the last one: in logits, at the token's row. */
void run_submit_states(struct runs *all, struct run *run, struct engine *g, struct delta *d,
                       const int32_t *tokens, size_t count, enum engine_states states, uint32_t tenant,
                       const uint8_t *cache_root);
/* What the head says of each token or of the last one: [rows, labels]. */
void run_submit_scores(struct runs *all, struct run *run, struct engine *g, struct delta *d,
                       const int32_t *tokens, size_t count, enum engine_states states, float *scores);
void run_fini(struct run *run);

/* Integers of a JSON list; *count is set; to be freed. */
int32_t *json_ids(const json_t *list, size_t *count);

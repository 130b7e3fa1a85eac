/* What a tenant may take. Values and their bounds alone; who enforces which: the registry adapters, files,
 * bytes and training, the server tokens and requests, the engine the weight. Stateless; any thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum quota_kind {
    QUOTA_ADAPTERS_MAX,
    QUOTA_ADAPTER_BYTES_MAX, /* both files of every version */
    QUOTA_FILES_BYTES_MAX,   /* of what is kept to train with */
    QUOTA_TOKENS_PER_MINUTE, /* of prompts and answers */
    QUOTA_REQUESTS_IN_FLIGHT_MAX,
    QUOTA_TRAINING_JOBS_MAX, /* queued and running */
    QUOTA_TRAINING_TOKENS_PER_DAY,
    QUOTA_TRAINING_RANK_MAX,
    QUOTA_WEIGHT, /* of its share where tenants compete */
    QUOTAS
};

enum { QUOTA_UNSET = -1 };     /* no limit; of the weight: the default */
enum { QUOTA_UNCHANGED = -2 }; /* in a change only */

struct quota {
    int64_t of[QUOTAS];
};

/* Names as in the API, bounds of what may be set. */
struct quota_bounds {
    const char *name;
    int64_t low, high;
};
extern const struct quota_bounds quota_bounds[QUOTAS];

/* All of them: QUOTA_UNSET or QUOTA_UNCHANGED. */
void quota_fill(struct quota *q, int64_t value);
/* Put every value of `change` that is not QUOTA_UNCHANGED into `q`. */
void quota_merge(struct quota *q, const struct quota *change);
/* "adapters_max=10, weight=default" of what a change sets, for people; "" for nothing. */
void quota_describe(const struct quota *change, char *out, size_t size);

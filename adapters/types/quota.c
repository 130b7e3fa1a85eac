#include "adapters/types/quota.h"

#include <stdio.h>
#include <string.h>

#include "core/engine/engine.h"

#define INTEGER_MAX ((INT64_C(1) << 53) - 1) /* JSON clients keep integers up to here */

const struct quota_bounds quota_bounds[QUOTAS] = {
    [QUOTA_ADAPTERS_MAX] = {"adapters_max", 0, 100000},
    [QUOTA_ADAPTER_BYTES_MAX] = {"adapter_bytes_max", 0, INTEGER_MAX},
    [QUOTA_FILES_BYTES_MAX] = {"files_bytes_max", 0, INTEGER_MAX},
    [QUOTA_TOKENS_PER_MINUTE] = {"tokens_per_minute", 1, 1000000000},
    [QUOTA_REQUESTS_IN_FLIGHT_MAX] = {"requests_in_flight_max", 1, 100000},
    [QUOTA_TRAINING_JOBS_MAX] = {"training_jobs_max", 0, 1000},
    [QUOTA_TRAINING_TOKENS_PER_DAY] = {"training_tokens_per_day", 0, INTEGER_MAX},
    [QUOTA_TRAINING_RANK_MAX] = {"training_rank_max", 1, 1024},
    [QUOTA_WEIGHT] = {"weight", 1, ENGINE_WEIGHT_MAX},
};

void quota_fill(struct quota *q, int64_t value)
{
    for (int i = 0; i < QUOTAS; i++)
        q->of[i] = value;
}

void quota_merge(struct quota *q, const struct quota *change)
{
    for (int i = 0; i < QUOTAS; i++)
        if (change->of[i] != QUOTA_UNCHANGED)
            q->of[i] = change->of[i];
}

void quota_describe(const struct quota *change, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < QUOTAS && used < size; i++) {
        const char *gap = used ? ", " : "", *name = quota_bounds[i].name;
        if (change->of[i] == QUOTA_UNSET)
            used += (size_t)snprintf(out + used, size - used, "%s%s=%s", gap, name,
                                     i == QUOTA_WEIGHT ? "default" : "none");
        else if (change->of[i] != QUOTA_UNCHANGED)
            used +=
                (size_t)snprintf(out + used, size - used, "%s%s=%lld", gap, name, (long long)change->of[i]);
    }
}

/* A tenant's quota: as options of commands, and as a table. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/lib/commands.h"

static const struct {
    const char *option, *member;
} quotas[] = {{"--adapters-max", "adapters_max"},
              {"--adapter-bytes-max", "adapter_bytes_max"},
              {"--files-bytes-max", "files_bytes_max"},
              {"--tokens-per-minute", "tokens_per_minute"},
              {"--requests-in-flight-max", "requests_in_flight_max"},
              {"--training-jobs-max", "training_jobs_max"},
              {"--training-tokens-per-day", "training_tokens_per_day"},
              {"--training-rank-max", "training_rank_max"},
              {"--weight", "weight"}};
enum { QUOTAS = sizeof quotas / sizeof *quotas };

/* A whole number, K, M or G behind it for powers of 1024; "none" is null. */
static json_t *read_limit(const char *option, const char *text, struct err *e)
{
    char *end;
    if (strcmp(text, "none") == 0)
        return json_null();
    errno = 0;
    long long value = strtoll(text, &end, 10);
    const char *unit = *end ? strchr("KMG", *end) : NULL;
    int shift = unit ? 10 * (int)(unit - "KMG" + 1) : 0;
    bool whole =
        end != text && !errno && value >= 0 && (!*end || (unit && !end[1])) && value <= INT64_MAX >> shift;
    if (whole)
        return json_integer(value << shift);
    err_set(e, "usage", "%s must be a whole number, K, M or G allowed behind it, or none, not \"%s\"", option,
            text);
    return NULL;
}

int quota_options(const struct args *a, json_t **out, struct err *e)
{
    json_t *quota = json_object();
    for (size_t i = 0; quota && i < QUOTAS; i++) {
        const char *text = args_get(a, quotas[i].option);
        json_t *limit = text ? read_limit(quotas[i].option, text, e) : NULL;
        if (text && (!limit || json_object_set_new(quota, quotas[i].member, limit) != 0)) {
            json_decref(quota);
            return limit ? err_memory(e) : -1;
        }
    }
    *out = quota;
    return quota ? 0 : err_memory(e);
}

int quota_print(const json_t *tenant, struct err *e)
{
    struct table t;
    const json_t *quota = json_object_get(tenant, "quota");
    table_init(&t, "QUOTA|>LIMIT");
    for (size_t i = 0; i < QUOTAS; i++) {
        table_add(&t, quotas[i].member);
        if (json_is_integer(json_object_get(quota, quotas[i].member)))
            table_add_member(&t, quota, quotas[i].member);
        else
            table_add(&t, "none");
    }
    return table_print(&t, e);
}

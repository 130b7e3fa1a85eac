#include "server/metrics/metrics_vllm.h"

#include <stdlib.h>
#include <string.h>

#include "core/kv/kvcache.h"
#include "core/system/clock.h"
#include "server/metrics/metrics_text.h"

enum { SERIES_LABELS_MAX = 512 };

/* All there is to say, as of one moment. */
struct look {
    struct server *s;
    struct engine_stats engine;
    char labels[SERIES_LABELS_MAX]; /* of every series */
};

/* ---- adapters in use ---- */

/* Their names, each with a NUL behind it. */
struct names {
    struct buf of[2]; /* of requests that wait; that run */
    int failed;
};

static void see(void *arg, const char *name, bool runs)
{
    struct names *n = arg;
    if (!n->failed)
        n->failed = buf_append(&n->of[runs], name, strlen(name) + 1);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t count_names(const struct buf *names)
{
    size_t count = 0;
    for (size_t i = 0; i < names->length; i++)
        count += names->data[i] == '\0';
    return count;
}

/* Each once, in order, with commas between. */
static int print_names(struct buf *out, const struct buf *names)
{
    size_t count = count_names(names), at = 0;
    const char **all = malloc((count + 1) * sizeof *all);
    int failed = all ? 0 : -1;
    for (size_t i = 0; i < count && !failed; i++, at += strlen(names->data + at) + 1)
        all[i] = names->data + at;
    if (!failed)
        qsort(all, count, sizeof *all, compare);
    for (size_t i = 0; i < count && !failed; i++)
        if (i == 0 || strcmp(all[i - 1], all[i]) != 0)
            failed = (i > 0 && buf_append_string(out, ",") != 0) || buf_append_string(out, all[i]) != 0;
    free(all);
    return failed ? -1 : 0;
}

/* Any sequence of a step may have an adapter of its own. The value is the time, by which the newest of
 * several series is found. */
static int print_lora(struct buf *out, const struct look *l, const char *name)
{
    struct names n = {0};
    engine_names(l->s->engine, see, &n);
    int failed = n.failed ||
                 buf_printf(out, "%s{%smax_lora=\"%d\",running_lora_adapters=\"", name, l->labels,
                            l->s->engine_options.sequences_max) != 0 ||
                 print_names(out, &n.of[true]) != 0 ||
                 buf_append_string(out, "\",waiting_lora_adapters=\"") != 0 ||
                 print_names(out, &n.of[false]) != 0 ||
                 buf_printf(out, "\"} %lld\n", (long long)(clock_unix_ms() / 1000)) != 0;
    buf_fini(&n.of[0]);
    buf_fini(&n.of[1]);
    return failed ? -1 : 0;
}

/* ---- the others ---- */

static int print_number(struct buf *out, const struct look *l, const char *name, uint64_t value)
{
    return metrics_text_number(out, name, l->labels, value, false);
}

static int print_running(struct buf *out, const struct look *l, const char *name)
{
    return print_number(out, l, name, (uint64_t)l->engine.running);
}

static int print_waiting(struct buf *out, const struct look *l, const char *name)
{
    return print_number(out, l, name, (uint64_t)l->engine.waiting);
}

/* Pages that sequences have: what the prefix cache keeps besides, it gives up when one needs it. */
static int print_usage(struct buf *out, const struct look *l, const char *name)
{
    int pages = l->engine.kv_pages;
    double used = pages ? (double)l->engine.kv_pages_held / pages : 0;
    return metrics_text_number(out, name, l->labels, (uint64_t)(used * 1e6 + 0.5), true);
}

static int print_config(struct buf *out, const struct look *l, const char *name)
{
    return buf_printf(out, "%s{%sblock_size=\"%d\",num_gpu_blocks=\"%d\"} 1\n", name, l->labels,
                      KV_PAGE_TOKENS, l->engine.kv_pages);
}

static int print_counted(struct buf *out, const struct look *l, const char *name, enum usage_kind kind)
{
    return print_number(out, l, name, metrics_text_read(&l->s->counters.usage[kind]));
}

static int print_prompt_tokens(struct buf *out, const struct look *l, const char *name)
{
    return print_counted(out, l, name, USAGE_PROMPT_TOKENS);
}

static int print_cache_hits(struct buf *out, const struct look *l, const char *name)
{
    return print_counted(out, l, name, USAGE_CACHED_TOKENS);
}

/* Each has its time. */
static int print_generated(struct buf *out, const struct look *l, const char *name)
{
    const struct counters *c = &l->s->counters;
    return print_number(out, l, name,
                        metrics_text_count(&c->first_token_us) + metrics_text_count(&c->next_token_us));
}

static int print_preemptions(struct buf *out, const struct look *l, const char *name)
{
    return print_number(out, l, name, l->engine.preemptions);
}

static int print_success(struct buf *out, const struct look *l, const char *name)
{
    static const char *const ends[] = {"stop", "length", "abort"};
    char labels[SERIES_LABELS_MAX + 64];
    int failed = 0;
    for (int i = ENGINE_STOP; i <= ENGINE_CANCELLED && !failed; i++) {
        snprintf(labels, sizeof labels, "%sfinished_reason=\"%s\",", l->labels, ends[i]);
        failed =
            metrics_text_number(out, name, labels, metrics_text_read(&l->s->counters.runs[i]), false) != 0;
    }
    return failed ? -1 : 0;
}

static int print_times(struct buf *out, const struct look *l, const char *name, const struct histogram *h)
{
    return metrics_text_histogram(out, name, l->labels, h, &histogram_times, true);
}

static int print_first_token(struct buf *out, const struct look *l, const char *name)
{
    return print_times(out, l, name, &l->s->counters.first_token_us);
}

static int print_next_token(struct buf *out, const struct look *l, const char *name)
{
    return print_times(out, l, name, &l->s->counters.next_token_us);
}

static int print_queue(struct buf *out, const struct look *l, const char *name)
{
    return print_times(out, l, name, &l->s->counters.queue_us);
}

/* ---- the table ---- */

static const struct {
    const char *name;
    enum metrics_type type;
    const char *help;
    int (*print)(struct buf *out, const struct look *l, const char *name);
} metrics[] = {
    {"vllm:num_requests_running", METRICS_GAUGE, "Sequences in the batch.", print_running},
    {"vllm:num_requests_waiting", METRICS_GAUGE, "Sequences queued for a place or for KV pages.",
     print_waiting},
    {"vllm:kv_cache_usage_perc", METRICS_GAUGE, "KV pages that sequences hold, of all; 1 is full.",
     print_usage},
    {"vllm:gpu_cache_usage_perc", METRICS_GAUGE, "The same by its older name.", print_usage},
    {"vllm:cache_config_info", METRICS_GAUGE, "Always 1; the labels say how the KV cache is laid out.",
     print_config},
    {"vllm:lora_requests_info", METRICS_GAUGE,
     "When this was looked at, since 1970; the labels name the adapters of requests.", print_lora},
    {"vllm:prefix_cache_queries_total", METRICS_COUNTER, "Prompt tokens looked for in the prefix cache.",
     print_prompt_tokens},
    {"vllm:prefix_cache_hits_total", METRICS_COUNTER, "Of these, found.", print_cache_hits},
    {"vllm:num_preemptions_total", METRICS_COUNTER, "Sequences that gave their place to another tenant's.",
     print_preemptions},
    {"vllm:prompt_tokens_total", METRICS_COUNTER, "Prompt tokens of ended runs, cached ones too.",
     print_prompt_tokens},
    {"vllm:generation_tokens_total", METRICS_COUNTER, "Tokens answered.", print_generated},
    {"vllm:request_success_total", METRICS_COUNTER, "Runs, by how they ended.", print_success},
    {"vllm:time_to_first_token_seconds", METRICS_HISTOGRAM, "From the request line to the first token.",
     print_first_token},
    {"vllm:inter_token_latency_seconds", METRICS_HISTOGRAM, "From one token to the next.", print_next_token},
    {"vllm:time_per_output_token_seconds", METRICS_HISTOGRAM, "The same by its older name.",
     print_next_token},
    {"vllm:request_queue_time_seconds", METRICS_HISTOGRAM, "From being queued to the first step.",
     print_queue},
};

/* The model's name is the operator's: quotes and the like in it would end the label. */
static void write_labels(struct look *l)
{
    size_t at = (size_t)snprintf(l->labels, sizeof l->labels, "model_name=\"");
    for (const char *c = l->s->model_name; *c && at < sizeof l->labels - 16; c++) {
        if (*c == '"' || *c == '\\')
            l->labels[at++] = '\\';
        l->labels[at++] = *c == '\n' ? ' ' : *c;
    }
    snprintf(l->labels + at, sizeof l->labels - at, "\",");
}

int metrics_vllm_print(struct server *s, struct buf *out)
{
    struct look l = {.s = s};
    engine_stats(s->engine, &l.engine);
    write_labels(&l);
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (metrics_text_head(out, metrics[i].name, metrics[i].type, metrics[i].help) != 0 ||
            metrics[i].print(out, &l, metrics[i].name) != 0)
            return -1;
    return 0;
}

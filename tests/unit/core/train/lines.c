#include "tests/unit/core/train/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int line(const struct train_data *d, size_t index, struct train_line *out, struct err *e)
{
    const struct lines *l = (const struct lines *)d;
    (void)e;
    *out = l->items[index];
    return 0;
}

struct train_data *lines_init(struct lines *l, const struct train_line *items, size_t count)
{
    *l = (struct lines){.data = {.count = count, .line = line}, .items = items};
    for (size_t i = 0; i < count; i++) {
        l->data.tokens += items[i].sequence.count + items[i].rejected.count;
        if (items[i].sequence.count > l->data.longest)
            l->data.longest = items[i].sequence.count;
    }
    return &l->data;
}

struct train_options lines_options(void)
{
    return (struct train_options){.learning_rate = 0.01,
                                  .adam_beta1 = 0.9,
                                  .adam_beta2 = 0.999,
                                  .adam_epsilon = 1e-8,
                                  .epochs = 1,
                                  .batch_size = 1,
                                  .accumulation = 1,
                                  .beta = 0.1};
}

static int by_site(const void *a, const void *b)
{
    return ((const struct train_site_plan *)a)->site - ((const struct train_site_plan *)b)->site;
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int parameter(const struct model *m, const char *name)
{
    char path[128];
    const char *dot = strrchr(name, '.');
    snprintf(path, sizeof path, "%.*s", (int)(dot - name), name);
    int index = model_find_parameter(m, path, dot + 1);
    if (index < 0)
        fail_msg("no parameter %s", name);
    return index;
}

struct train_params *lines_params(const struct model *m, const struct lines_plan *plan)
{
    enum { MOST = 16 };
    struct train_site_plan sites[MOST];
    int whole[MOST];
    struct train_plan p = {.sites = sites, .whole = whole};
    struct train_params *out = NULL;
    struct err e;
    for (; plan->sites && plan->sites[p.site_count]; p.site_count++) {
        sites[p.site_count] = (struct train_site_plan){.site = model_find_site(m, plan->sites[p.site_count]),
                                                       .rank = plan->rank,
                                                       .scale = 2,
                                                       .dora = plan->dora};
        assert_true(sites[p.site_count].site >= 0);
    }
    for (; plan->whole && plan->whole[p.whole_count]; p.whole_count++)
        whole[p.whole_count] = parameter(m, plan->whole[p.whole_count]);
    qsort(sites, p.site_count, sizeof *sites, by_site);
    qsort(whole, p.whole_count, sizeof *whole, by_number);
    if (train_params_new(&out, m, &p, 1, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return out;
}

int lines_write(void *arg, const void *data, size_t length, struct err *e)
{
    return buf_append(arg, data, length) == 0 ? 0 : err_memory(e);
}

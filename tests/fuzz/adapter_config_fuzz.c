/* adapter_config.json beside weights that are good: what it says is matched with a base and its tensors. The
 * same as `lora` of a request for training: refused, or a plan within the base whose config says the same
 * again. */
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

#include "adapters/peft/peft.h"
#include "adapters/training/lora_plan.h"
#include "tests/fuzz/support/fuzz.h"

#define ADAPTER(NAME) "tests/fixtures/adapters/llama/" NAME "/adapter_model.safetensors"
static const char *const weights[] = {ADAPTER("r4-qv"), ADAPTER("tokens-both"), ADAPTER("dora")};
enum { COUNT = sizeof weights / sizeof *weights };

static bool is_same(const struct train_plan *a, const struct train_plan *b)
{
    return a->site_count == b->site_count && a->whole_count == b->whole_count &&
           (a->site_count == 0 || memcmp(a->sites, b->sites, a->site_count * sizeof *a->sites) == 0) &&
           (a->whole_count == 0 || memcmp(a->whole, b->whole, a->whole_count * sizeof *a->whole) == 0);
}

static void check_plan(const struct lora_plan *p)
{
    size_t sites, parameters;
    struct lora_plan *again = NULL;
    struct err e;
    model_sites(fuzz_base(), &sites);
    model_parameters(fuzz_base(), &parameters);
    fuzz_check(p->peft.train.site_count + p->peft.train.whole_count > 0);
    fuzz_check(p->dropout >= 0 && p->dropout < 1);
    for (size_t i = 0; i < p->peft.train.site_count; i++) {
        const struct train_site_plan *s = &p->peft.train.sites[i];
        fuzz_check(s->site >= 0 && (size_t)s->site < sites && s->rank >= 1 && s->rank <= DELTA_RANK_MAX);
        fuzz_check(i == 0 || s->site > s[-1].site);
    }
    for (size_t i = 0; i < p->peft.train.whole_count; i++)
        fuzz_check((size_t)p->peft.train.whole[i] < parameters);
    fuzz_check(lora_plan_of_adapter(&again, fuzz_base(), p->config, &e) == 0);
    fuzz_check(is_same(&p->peft.train, &again->peft.train));
    lora_plan_free(again);
}

static void plan(const uint8_t *data, size_t size)
{
    json_t *lora =
        json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    struct lora_plan *p;
    struct err e;
    if (lora && lora_plan_new(&p, fuzz_base(), lora, NULL, &e) == 0) {
        check_plan(p);
        lora_plan_free(p);
    }
    json_decref(lora);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fds[COUNT];
    struct peft *p;
    struct err e;
    int fd = fuzz_file(data, size);
    for (int i = 0; i < COUNT; i++) {
        if (fds[i] == 0)
            fds[i] = open(weights[i], O_RDONLY | O_CLOEXEC);
        fuzz_check(fds[i] > 0);
        if (peft_load(&p, fuzz_base(), fd, fds[i], 0, &e) == 0)
            peft_free(p);
    }
    plan(data, size);
    return 0;
}

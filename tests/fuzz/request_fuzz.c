/* Bodies of POST /infer and of OpenAI's routes: read field by field, as far as the tokens of the prompt. */
#include <string.h>

#include "server/base/fields.h"
#include "server/http/request.h"
#include "server/openai/openai.h"
#include "server/responses/responses.h"
#include "tests/fuzz/support/fuzz.h"

static struct server text, numeric;

static void open_server(struct server *s, const char *directory)
{
    struct err e;
    const struct model_options options = {.threads = 1};
    fuzz_check(model_open(&s->model, directory, &options, &e) == 0);
    s->info = model_info(s->model);
    if (!s->info->numeric)
        fuzz_check(tokenizer_open(&s->tokenizer, directory, TOKENIZER_OF_FILE, &e) == 0 &&
                   chat_open(&s->chat, directory, &e) == 0);
    snprintf(s->model_name, sizeof s->model_name, "base");
}

static void open_servers(void)
{
    struct tenant_row row;
    struct tenant_change change = {.set_default_adapter = true, .default_adapter = "usual"};
    struct err e;
    quota_fill(&change.quota, QUOTA_UNCHANGED);
    open_server(&text, "tests/fixtures/models/llama");
    open_server(&numeric, "tests/fixtures/models/mlp");
    fuzz_check(registry_open(&text.registry, fuzz_directory(), &e) == 0);
    fuzz_check(registry_tenant_create(text.registry, "acme", NULL, &row, &e) == 0);
    fuzz_check(registry_tenant_create(text.registry, "other", &change, &row, &e) == 0);
    numeric.registry = text.registry;
}

static void check_ids(const struct server *s, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fuzz_check(ids[i] >= 0 && ids[i] < s->info->vocab_size);
}

/* There are no adapters: whoever is named, the base answers. */
static int resolve(struct inference *q, struct err *e)
{
    (void)e;
    fuzz_check(q->part_count <= INFERENCE_ADAPTERS_MAX);
    q->part_count = 0;
    return 0;
}

static const struct inference_dialect dialect = {.resolve = resolve};

static void parse(struct server *s, enum role role,
                  int (*form)(struct inference *q, json_t *body, struct err *e), const uint8_t *data,
                  size_t size)
{
    struct err e = {0};
    struct request r = {.server = s, .caller = {.role = role, .tenant_id = "acme"}};
    struct tenant_row row;
    json_t *body = fields_parse((const char *)data, size, &e);
    if (!body)
        return;
    fuzz_check(registry_tenant_find(s->registry, "acme", &row, &e) == 0);
    r.caller.tenant = row.number;
    pthread_mutex_init(&r.lock, NULL);
    struct inference *q = calloc(1, sizeof *q);
    fuzz_check(q);
    q->r = &r;
    q->dialect = &dialect;
    if (form(q, body, &e) == 0) {
        fuzz_check(q->sampling.top_p > 0 && q->sampling.top_p <= 1 && q->sampling.temperature >= 0);
        fuzz_check(q->prompt_count * (q->choices_each > 1 ? q->choices_each : 1) <= INFERENCE_CHOICES_MAX);
        for (int i = 0; i < q->prompt_count; i++)
            check_ids(s, q->prompts[i].tokens.ids, q->prompts[i].tokens.count);
        check_ids(s, q->stop_tokens, (size_t)q->sampling.stop_token_count);
        for (int i = 0; i < q->sampling.bias_count; i++)
            check_ids(s, &q->biases[i].token, 1);
        fuzz_check(q->sampling.ban_count <= SAMPLING_BANS_MAX &&
                   q->sampling.ban_token_count <= SAMPLING_BAN_TOKENS_MAX);
        for (int i = 0; i < q->sampling.ban_count; i++)
            fuzz_check(q->bans[i].count > 0 &&
                       q->bans[i].begin + q->bans[i].count <= q->sampling.ban_token_count);
    } else
        fuzz_check(e.code && e.message[0]);
    inference_free(q);
    json_decref(body);
    pthread_mutex_destroy(&r.lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!text.model)
        open_servers();
    parse(&text, ROLE_TENANT, inference_parse, data, size);
    parse(&text, ROLE_ADMIN, inference_parse, data, size);
    parse(&text, ROLE_ADMIN, openai_parse_completions, data, size);
    parse(&text, ROLE_TENANT, openai_parse_chat, data, size);
    parse(&text, ROLE_TENANT, responses_parse, data, size);
    parse(&numeric, ROLE_TENANT, inference_parse, data, size);
    parse(&numeric, ROLE_TENANT, openai_parse_chat, data, size);
    return 0;
}

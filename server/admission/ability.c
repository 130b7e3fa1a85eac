#include "server/admission/ability.h"

#include <stdio.h>

#include "core/delta/delta.h"
#include "server/http/list.h"

/* One with a head of its own was trained for its labels: what the base's head would make of it, nobody has
 * seen. */
bool ability_has(const struct server *s, const struct version *v, enum ability a)
{
    bool own_head = v && v->task != VERSION_GENERATES;
    switch (a) {
    case ABILITY_GENERATE:
        return s->info->generates && !own_head;
    case ABILITY_EMBED:
        return !s->info->numeric;
    default:
        return own_head || delta_head(NULL, s->model) != NULL;
    }
}

/* "the adapter "x"" or "the model "y"" */
static void name_of(const struct server *s, const struct version *v, char *out, size_t size)
{
    snprintf(out, size, "the %s \"%s\"", v ? "adapter" : "model", v ? v->name : s->model_name);
}

static int refuse_text(const struct server *s, const struct version *v, struct err *e)
{
    char name[192];
    bool labels = ability_has(s, v, ABILITY_CLASSIFY);
    name_of(s, v, name, sizeof name);
    err_set(e, "task_unsupported", "%s gives %s and generates no text", name, labels ? "labels" : "vectors");
    return err_hint(e, labels ? "POST /classify asks for labels" : "POST /v1/embeddings asks for vectors");
}

static int refuse_labels(const struct server *s, const struct version *v, struct err *e)
{
    char name[192];
    name_of(s, v, name, sizeof name);
    err_set(e, "task_unsupported", "%s has no head that gives labels", name);
    return err_hint(e, "adapters trained with task_type SEQ_CLS or TOKEN_CLS have one; GET /v1/models says "
                       "what each can do");
}

int ability_check(const struct server *s, const struct version *v, enum ability a, struct err *e)
{
    if (ability_has(s, v, a))
        return 0;
    if (a == ABILITY_GENERATE)
        return refuse_text(s, v, e);
    if (a == ABILITY_CLASSIFY)
        return refuse_labels(s, v, e);
    return err_set(e, "task_unsupported", "the model \"%s\" takes rows of numbers, not texts", s->model_name);
}

json_t *ability_json(const struct server *s, const struct version *v)
{
    static const char *const names[] = {
        [ABILITY_GENERATE] = "generate", [ABILITY_EMBED] = "embed", [ABILITY_CLASSIFY] = "classify"};
    json_t *list = json_array();
    for (int a = 0; a < ABILITIES; a++)
        if (ability_has(s, v, (enum ability)a))
            list_add(&list, json_string(names[a]));
    return list;
}

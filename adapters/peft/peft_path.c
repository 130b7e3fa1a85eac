/* What the base's modules are called in the network that an adapter was made for. */
#include <string.h>

#include "adapters/peft/peft_stages.h"
#include "core/model/config/families.h"

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Would the tensor be of one of the base's modules with `prefix` in front of its name? */
static bool is_inside(const struct model *m, const char *prefix, const char *name)
{
    size_t count, before = strlen(prefix);
    const char *const *modules = model_modules(m, &count);
    for (size_t i = 0; i < count; i++) {
        const char *rest = begins(modules[i], prefix) ? modules[i] + before : NULL;
        if (rest && begins(name, rest) && name[strlen(rest)] == '.')
            return true;
    }
    return false;
}

void peft_path_find(struct peft_load *l)
{
    const struct family *f = model_family(l->model);
    bool bare = false;
    l->inside = "";
    for (size_t i = 0; !f->numeric && i < safetensors_count(l->weights); i++) {
        const char *name = safetensors_at(l->weights, i)->name;
        if (!begins(name, PEFT_PREFIX))
            continue;
        name += strlen(PEFT_PREFIX);
        if (begins(name, f->prefix))
            return;
        bare |= is_inside(l->model, f->prefix, name);
    }
    if (bare)
        l->inside = f->prefix;
}

const char *peft_path(const struct peft_load *l, const char *path)
{
    return !l->inside ? path : begins(path, l->inside) ? path + strlen(l->inside) : NULL;
}

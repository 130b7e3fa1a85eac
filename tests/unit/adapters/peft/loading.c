#include "tests/unit/adapters/peft/loading.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/system/file.h"
#include "tests/golden/fixture.h"

struct loading_models loading_models;

int loading_set_up(void **state)
{
    (void)state;
    loading_models.llama = fixture_model(fixture_path("models/llama"));
    loading_models.gpt2 = fixture_model(fixture_path("models/gpt2"));
    loading_models.mlp = fixture_model(fixture_path("models/mlp"));
    return 0;
}

int loading_tear_down(void **state)
{
    (void)state;
    model_close(loading_models.llama);
    model_close(loading_models.gpt2);
    model_close(loading_models.mlp);
    return 0;
}

int loading_file(const char *directory, const char *name)
{
    char *path = file_join(directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("cannot open %s", path);
    free(path);
    return fd;
}

int loading_text(const char *text)
{
    int fd = memfd_create("config", MFD_CLOEXEC);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

/* Closes both descriptors. */
struct peft *loading_load(const struct model *m, int config, int weights, int allow_no_effect, struct err *e)
{
    struct peft *p = NULL;
    int result = peft_load(&p, m, config, weights, allow_no_effect, e);
    assert_int_equal(result, p ? 0 : -1);
    if (!p) {
        assert_string_not_equal(e->message, "");
        assert_string_not_equal(e->param, "");
    }
    close(config);
    close(weights);
    return p;
}

struct peft *loading_directory(const struct model *m, const char *directory, struct err *e)
{
    return loading_load(m, loading_file(directory, "adapter_config.json"),
                        loading_file(directory, "adapter_model.safetensors"), 0, e);
}

static void merge(json_t *config, const char *text)
{
    json_error_t error;
    json_t *patch = json_loads(text, 0, &error);
    if (!patch)
        fail_msg("%s: %s", text, error.text);
    json_object_update(config, patch);
    json_decref(patch);
}

/* Load the adapter with its config changed. */
struct peft *loading_patched(const struct model *m, const char *directory, const char *patch,
                             int allow_no_effect, struct err *e)
{
    char *path = file_join(directory, "adapter_config.json");
    json_t *config = fixture_json(path);
    merge(config, patch);
    char *text = json_dumps(config, 0);
    struct peft *p = loading_load(m, loading_text(text), loading_file(directory, "adapter_model.safetensors"),
                                  allow_no_effect, e);
    free(text);
    json_decref(config);
    free(path);
    return p;
}

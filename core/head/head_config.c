/* The head of a base, as its config.json has it. */
#include <stdlib.h>
#include <string.h>

#include "core/format/json_file.h"
#include "core/head/head.h"

enum { CONFIG_BYTES_MAX = 1 << 20, LABELS_DEFAULT = 2 /* of transformers */ };
static const struct json_file file = {
    .name = "config.json", .code = "model_malformed", .bytes_max = CONFIG_BYTES_MAX};

enum head_kind head_of_architecture(const char *name, const char *bare)
{
    static const char *const endings[] = {
        [HEAD_TEXT] = "ForSequenceClassification", [HEAD_TOKENS] = "ForTokenClassification"};
    size_t stem = strlen(bare) - strlen("Model");
    if (strncmp(name, bare, stem) != 0)
        return HEAD_NONE;
    for (int kind = HEAD_TEXT; kind <= HEAD_TOKENS; kind++)
        if (strcmp(name + stem, endings[kind]) == 0)
            return (enum head_kind)kind;
    return HEAD_NONE;
}

static int read_labels(const json_t *root, int *out, struct err *e)
{
    const json_t *names = json_object_get(root, "id2label"), *said = json_object_get(root, "num_labels");
    json_int_t labels = json_is_object(names) ? (json_int_t)json_object_size(names) : LABELS_DEFAULT;
    if (!json_is_object(names) && said && !json_is_null(said))
        labels = json_is_integer(said) ? json_integer_value(said) : 0;
    *out = (int)labels;
    if (labels >= 1 && labels <= HEAD_LABELS_MAX)
        return 0;
    err_set(e, file.code, "%s: id2label and num_labels must make 1 to %d labels", file.name, HEAD_LABELS_MAX);
    return err_param(e, json_is_object(names) ? "id2label" : "num_labels");
}

static int make(struct head **out, enum head_kind kind, const json_t *root, int size, struct err *e)
{
    struct head *h = NULL;
    int labels;
    if (read_labels(root, &labels, e) != 0 || head_new(&h, kind, labels, size, kind == HEAD_TOKENS, e) != 0 ||
        head_describe(h, root, file.name, file.code, e) != 0) {
        head_unref(h);
        return -1;
    }
    *out = h;
    return 0;
}

int head_open(struct head **out, enum head_kind kind, const char *directory, int size, struct err *e)
{
    json_t *root;
    if (json_file_read(&file, directory, true, &root, e) != 0)
        return -1;
    int result = make(out, kind, root, size, e);
    json_decref(root);
    return result;
}

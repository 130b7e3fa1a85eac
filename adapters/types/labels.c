#include "adapters/types/labels.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct labels {
    atomic_uint references;
    char text[];
};

enum { FLAGS = JSON_COMPACT | JSON_SORT_KEYS };

bool label_key_valid(const char *key)
{
    size_t length = strlen(key);
    return length >= 1 && length <= LABEL_KEY_BYTES_MAX &&
           strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

static int append(const char *text, size_t length, void *out)
{
    return buf_append(out, text, length);
}

static int make(const struct labels **out, const json_t *object, struct err *e)
{
    struct buf text = {0};
    struct labels *l = NULL;
    if (json_object_size(object) == 0) {
        *out = NULL;
        return 0;
    }
    if (json_dump_callback(object, append, &text, FLAGS) == 0)
        l = malloc(sizeof *l + text.length + 1);
    if (l) {
        atomic_init(&l->references, 1);
        memcpy(l->text, text.data, text.length + 1);
        *out = l;
    }
    buf_fini(&text);
    return l ? 0 : err_memory(e);
}

int labels_parse(const struct labels **out, const char *text, struct err *e)
{
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    int result = json_is_object(object)
                     ? make(out, object, e)
                     : err_set(e, "registry_malformed", "registry: the labels of an adapter are no object");
    json_decref(object);
    return result;
}

const struct labels *labels_ref(const struct labels *l)
{
    if (l)
        atomic_fetch_add_explicit(&((struct labels *)(uintptr_t)l)->references, 1, memory_order_relaxed);
    return l;
}

void labels_unref(const struct labels *l)
{
    struct labels *mine = (struct labels *)(uintptr_t)l;
    if (mine && atomic_fetch_sub_explicit(&mine->references, 1, memory_order_acq_rel) == 1)
        free(mine);
}

const char *labels_text(const struct labels *l)
{
    return l ? l->text : NULL;
}

static int merge(json_t *object, json_t *change)
{
    const char *key;
    json_t *value;
    json_object_foreach(change, key, value)
    {
        if (!json_is_null(value) && json_object_set(object, key, value) != 0)
            return -1;
        if (json_is_null(value))
            json_object_del(object, key);
    }
    return 0;
}

int labels_merge(const struct labels **out, const struct labels *l, const char *change, struct err *e)
{
    json_t *changes = json_loads(change, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    json_t *object =
        l && json_is_object(changes) ? json_loads(l->text, JSON_REJECT_DUPLICATES, NULL) : json_object();
    int result = -1;
    if (!changes || !object || merge(object, changes) != 0) {
        err_memory(e);
    } else if (json_object_size(object) > LABELS_MAX) {
        err_set(e, "out_of_range", "an adapter may have %d labels at most, this would make %zu", LABELS_MAX,
                json_object_size(object));
        err_param(e, "labels");
    } else {
        result = make(out, object, e);
    }
    json_decref(object);
    json_decref(changes);
    return result;
}

int labels_pattern(const char *label, struct buf *out)
{
    char key[LABEL_KEY_BYTES_MAX + 1];
    const char *colon = strchr(label, ':');
    size_t length = colon ? (size_t)(colon - label) : 0;
    if (!colon || length > LABEL_KEY_BYTES_MAX || strlen(colon + 1) > LABEL_VALUE_BYTES_MAX)
        return -1;
    memcpy(key, label, length);
    key[length] = '\0';
    json_t *pair = label_key_valid(key) ? json_pack("{s:s}", key, colon + 1) : NULL;
    int result = pair ? json_dump_callback(pair, append, out, FLAGS) : -1;
    json_decref(pair);
    if (result != 0)
        return -1;
    out->data[--out->length] = '\0'; /* without the braces: "key":"value" */
    buf_consume(out, 1);
    return 0;
}

/* Quotes within a value are escaped, so what looks like a pair is one. */
bool labels_match(const struct labels *l, const char *pattern)
{
    return l && strstr(l->text, pattern);
}

#include "core/grammar/schema/schema.h"

#include <stdio.h>
#include <string.h>

struct schema_place schema_below(const struct schema_place *at, const char *key)
{
    return (struct schema_place){.up = at, .key = key, .level = at->level};
}

struct schema_place schema_element(const struct schema_place *at, int index)
{
    return (struct schema_place){.up = at, .index = index, .level = at->level};
}

/* As a JSON pointer; the beginning is left out where there is no room. */
static void write_place(const struct schema_place *at, char *out, size_t size)
{
    const struct schema_place *places[64];
    int count = 0;
    for (; at && (at->up || at->key) && count < 64; at = at->up)
        places[count++] = at;
    size_t used = 0;
    out[0] = '\0';
    while (count > 0 && used < size) {
        const struct schema_place *p = places[--count];
        const char *slash = p->key && p->key[0] == '#' ? "" : "/"; /* a $ref is a pointer itself */
        int wrote = p->key ? snprintf(out + used, size - used, "%s%s", slash, p->key)
                           : snprintf(out + used, size - used, "/%d", p->index);
        used += (size_t)wrote;
    }
    if (out[0] == '\0')
        snprintf(out, size, "the root");
}

static int refuse(struct schema *s, const struct schema_place *at, const char *code, const char *keyword,
                  const char *reason)
{
    char place[192];
    if (s->failed)
        return GRAMMAR_BAD;
    s->failed = true;
    write_place(at, place, sizeof place);
    if (keyword[0])
        err_set(s->e, code, "keyword \"%s\" at %s %s", keyword, place, reason);
    else
        err_set(s->e, code, "the schema at %s %s", place, reason);
    return GRAMMAR_BAD;
}

int schema_unsupported(struct schema *s, const struct schema_place *at, const char *keyword,
                       const char *reason)
{
    return refuse(s, at, "schema_unsupported", keyword, reason);
}

int schema_invalid(struct schema *s, const struct schema_place *at, const char *keyword, const char *reason)
{
    return refuse(s, at, "schema_invalid", keyword, reason);
}

int schema_unserved(struct schema *s, const struct schema_place *at, const char *keyword,
                    const struct err *why)
{
    if (strcmp(why->code, "out_of_memory") == 0)
        return schema_no_memory(s);
    return schema_unsupported(s, at, keyword, why->message);
}

int schema_no_memory(struct schema *s)
{
    if (!s->failed)
        err_memory(s->e);
    s->failed = true;
    return GRAMMAR_BAD;
}

int schema_too_large(struct schema *s, const struct schema_place *at)
{
    return refuse(
        s, at, "schema_too_large", "",
        "is within too many others, or one too many: a $ref, allOf or anyOf that multiplies itself?");
}

int schema_count(struct schema *s, const json_t *schema, const struct schema_place *at, const char *keyword,
                 int otherwise, int *out)
{
    const json_t *value = json_object_get(schema, keyword);
    double number = json_number_value(value);
    *out = otherwise;
    if (!value)
        return 0;
    if (!json_is_number(value) || number < 0 || (json_is_real(value) && number != (double)(json_int_t)number))
        return schema_invalid(s, at, keyword, "is a whole number of 0 or more");
    *out = number < GRAMMAR_REPEAT_MAX ? (int)number : GRAMMAR_REPEAT_MAX;
    return 0;
}

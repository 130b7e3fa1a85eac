#include "adapters/peft/config/peft_pattern.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"

enum {
    PATTERN_BYTES_MAX = 64 << 10,
    PATTERN_NESTING_MAX = 50,
    MATCH_LIMIT = 100000,
    DEPTH_LIMIT = 1000,
    HEAP_KIB = 1024,
    STEPS_PER_UPLOAD = 20000000 /* well under a second of one core */
};

bool peft_literal(const char *key)
{
    return key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")] == '\0';
}

bool peft_literal_match(const char *key, const char *path, size_t length)
{
    size_t key_length = strlen(key);
    if (key_length > length)
        return false;
    const char *tail = path + length - key_length;
    if (tail != path && tail[-1] != '.')
        return false;
    for (size_t i = 0; i < key_length; i++)
        if (key[i] != '.' && key[i] != tail[i])
            return false;
    return key_length > 0;
}

/* Called by PCRE2 before each item that it tries. */
static int take_step(pcre2_callout_block *block, void *steps)
{
    (void)block;
    uint32_t *left = steps;
    if (*left == 0)
        return PCRE2_ERROR_CALLOUT;
    (*left)--;
    return 0;
}

int peft_patterns_init(struct peft_patterns *s, struct err *e)
{
    s->steps = STEPS_PER_UPLOAD;
    s->compile = pcre2_compile_context_create(NULL);
    s->match = pcre2_match_context_create(NULL);
    if (!s->compile || !s->match) {
        peft_patterns_fini(s);
        return err_memory(e);
    }
    pcre2_set_max_pattern_length(s->compile, PATTERN_BYTES_MAX);
    pcre2_set_parens_nest_limit(s->compile, PATTERN_NESTING_MAX);
    pcre2_set_match_limit(s->match, MATCH_LIMIT);
    pcre2_set_depth_limit(s->match, DEPTH_LIMIT);
    pcre2_set_heap_limit(s->match, HEAP_KIB);
    pcre2_set_callout(s->match, take_step, &s->steps);
    return 0;
}

void peft_patterns_fini(struct peft_patterns *s)
{
    pcre2_compile_context_free(s->compile);
    pcre2_match_context_free(s->match);
    s->compile = NULL;
    s->match = NULL;
}

/* Python reads "{,3}" as a repetition, this PCRE2 as text: refused rather than misread. */
static int check_dialect(const char *field, const char *text, struct err *e)
{
    if (!strstr(text, "{,"))
        return 0;
    err_set(e, "config_malformed", "%s: the regular expression contains \"{,\"", field);
    err_hint(e, "Write {0,n} for at most n repetitions.");
    return err_param(e, field);
}

static int compile(struct peft_pattern *p, const char *text, size_t length, enum peft_anchor anchor,
                   struct err *e)
{
    /* Without the optimizations whether a limit is hit depends on the expression alone, not on lucky
     * shortcuts. */
    uint32_t options = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT | PCRE2_NO_START_OPTIMIZE |
                       PCRE2_NO_AUTO_POSSESS | PCRE2_ANCHORED | (anchor == PEFT_FULL ? PCRE2_ENDANCHORED : 0);
    int number;
    PCRE2_SIZE place;
    p->code = pcre2_compile((PCRE2_SPTR)text, length, options, &number, &place, p->shared->compile);
    if (!p->code) {
        char reason[160] = "";
        pcre2_get_error_message(number, (PCRE2_UCHAR *)reason, sizeof reason);
        err_set(e, "config_malformed", "%s: the regular expression does not compile: %s (at character %zu)",
                p->field, reason, (size_t)place);
        return err_param(e, p->field);
    }
    p->data = pcre2_match_data_create_from_pattern(p->code, NULL);
    return p->data ? 0 : err_memory(e);
}

int peft_pattern_init(struct peft_pattern *p, struct peft_patterns *s, const char *field, const char *before,
                      const char *text, const char *after, enum peft_anchor anchor, struct err *e)
{
    *p = (struct peft_pattern){.shared = s, .field = field};
    if (check_dialect(field, text, e) != 0)
        return -1;
    struct buf whole = {0};
    int result;
    if (buf_append_string(&whole, before) != 0 || buf_append_string(&whole, text) != 0 ||
        buf_append_string(&whole, after) != 0)
        result = err_memory(e);
    else
        result = compile(p, whole.data ? whole.data : "", whole.length, anchor, e);
    buf_fini(&whole);
    if (result != 0)
        peft_pattern_fini(p);
    return result;
}

void peft_pattern_fini(struct peft_pattern *p)
{
    pcre2_match_data_free(p->data);
    pcre2_code_free(p->code);
    p->data = NULL;
    p->code = NULL;
}

int peft_pattern_match(struct peft_pattern *p, const char *path, struct err *e)
{
    int result =
        pcre2_match(p->code, (PCRE2_SPTR)path, PCRE2_ZERO_TERMINATED, 0, 0, p->data, p->shared->match);
    if (result >= 0)
        return 1;
    if (result == PCRE2_ERROR_NOMATCH)
        return 0;
    if (result == PCRE2_ERROR_NOMEMORY)
        return err_memory(e);
    err_set(e, "config_malformed", "%s: the regular expression takes too many steps on the module %s",
            p->field, path);
    err_hint(e, "Use a simpler expression, or a list of module names.");
    return err_param(e, p->field);
}

long peft_pattern_number(const struct peft_pattern *p, const char *path, const char *name)
{
    int group = pcre2_substring_number_from_name(p->code, (PCRE2_SPTR)name);
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(p->data);
    if (group < 0 || ends[2 * group] == PCRE2_UNSET)
        return -1;
    return strtol(path + ends[2 * group], NULL, 10);
}

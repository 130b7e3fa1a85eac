#include "core/dialogue/call_scan.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/dialogue/call_format.h"

/* ---- calls ---- */

void calls_fini(struct calls *c)
{
    while (c->count)
        calls_drop(c);
    free(c->of);
    *c = (struct calls){0};
}

struct call *calls_add(struct calls *c)
{
    if (c->count == c->capacity) {
        int capacity = c->capacity ? 2 * c->capacity : 4;
        struct call *of = realloc(c->of, (size_t)capacity * sizeof *of);
        if (!of)
            return NULL;
        c->of = of;
        c->capacity = capacity;
    }
    c->of[c->count] = (struct call){.words = c->words, .begin = c->begin};
    return &c->of[c->count++];
}

void calls_drop(struct calls *c)
{
    struct call *last = &c->of[--c->count];
    buf_fini(&last->name);
    buf_fini(&last->arguments);
}

/* ---- values ---- */

bool call_value_feed(struct call_value *v, char byte)
{
    if (v->escaped)
        v->escaped = false;
    else if (v->quoted && byte == '\\')
        v->escaped = true;
    else if (byte == '"')
        v->quoted = !v->quoted;
    else if (!v->quoted && (byte == '{' || byte == '['))
        v->depth++;
    else if (!v->quoted && (byte == '}' || byte == ']'))
        v->depth--;
    return v->depth <= 0 && !v->quoted;
}

/* ---- the scan ---- */

void call_scan_fini(struct call_scan *s)
{
    buf_fini(&s->text);
}

void call_scan_reset(struct call_scan *s)
{
    struct buf text = s->text;
    buf_clear(&text);
    *s = (struct call_scan){
        .name_key = s->name_key, .arguments_key = s->arguments_key, .calls = s->calls, .text = text};
}

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static struct call *present(struct call_scan *s)
{
    return &s->calls->of[s->calls->count - 1];
}

static enum call_scanned go(struct call_scan *s, enum call_state state)
{
    s->state = state;
    return CALL_SCAN_MORE;
}

static enum call_scanned begin_object(struct call_scan *s)
{
    if (s->calls->count == CALL_SCAN_COUNT_MAX)
        return CALL_SCAN_BAD;
    s->named = s->argued = false;
    return calls_add(s->calls) ? go(s, CALL_STATE_KEY) : CALL_SCAN_NO_MEMORY;
}

/* A call without arguments has none to be read. */
static enum call_scanned end_object(struct call_scan *s)
{
    struct call *c = present(s);
    if (!s->named)
        return CALL_SCAN_BAD;
    if (!s->argued && buf_append_string(&c->arguments, "{}") != 0)
        return CALL_SCAN_NO_MEMORY;
    c->known = true;
    s->state = CALL_STATE_LIST;
    return s->listed ? CALL_SCAN_MORE : CALL_SCAN_DONE;
}

/* The text of a JSON string; NULL: it is none, or memory ran out. */
static json_t *decoded(const struct buf *text)
{
    return json_loadb(text->data, text->length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static int put_text(struct buf *out, const json_t *text)
{
    buf_clear(out);
    return buf_append(out, json_string_value(text), json_string_length(text));
}

static void note_known(struct call_scan *s)
{
    if (s->named && s->argued)
        present(s)->known = true;
}

static enum call_scanned end_key(struct call_scan *s)
{
    json_t *key = decoded(&s->text);
    const char *name = json_string_value(key);
    s->member = !name                                               ? CALL_MEMBER_OTHER
                : strcmp(name, s->name_key) == 0 && !s->named       ? CALL_MEMBER_NAME
                : strcmp(name, s->arguments_key) == 0 && !s->argued ? CALL_MEMBER_ARGUMENTS
                                                                    : CALL_MEMBER_OTHER;
    json_decref(key);
    return name ? go(s, CALL_STATE_COLON) : CALL_SCAN_BAD;
}

/* A name, or arguments that are written as a text. */
static enum call_scanned end_text(struct call_scan *s)
{
    bool is_name = s->member == CALL_MEMBER_NAME;
    json_t *text = decoded(&s->text);
    size_t length = json_string_length(text);
    int failed = 0;
    if (!text || (is_name && (length == 0 || length > CALL_NAME_MAX))) {
        json_decref(text);
        return CALL_SCAN_BAD;
    }
    failed = put_text(is_name ? &present(s)->name : &present(s)->arguments, text);
    json_decref(text);
    *(is_name ? &s->named : &s->argued) = true;
    note_known(s);
    return failed ? CALL_SCAN_NO_MEMORY : go(s, CALL_STATE_COMMA);
}

static bool is_kept(const struct call_scan *s)
{
    return s->member == CALL_MEMBER_NAME || (s->member == CALL_MEMBER_ARGUMENTS && s->as_text);
}

static enum call_scanned feed_value(struct call_scan *s, char byte)
{
    struct buf *out = is_kept(s)                           ? &s->text
                      : s->member == CALL_MEMBER_ARGUMENTS ? &present(s)->arguments
                                                           : NULL;
    bool whole = call_value_feed(&s->value, byte);
    if (out && buf_append(out, &byte, 1) != 0)
        return CALL_SCAN_NO_MEMORY;
    if (!whole)
        return CALL_SCAN_MORE;
    return is_kept(s) ? end_text(s) : go(s, CALL_STATE_COMMA);
}

static enum call_scanned begin_value(struct call_scan *s, char byte)
{
    bool text = byte == '"', object = byte == '{';
    s->value = (struct call_value){0};
    s->as_text = text;
    buf_clear(&s->text);
    if (s->member == CALL_MEMBER_NAME        ? !text
        : s->member == CALL_MEMBER_ARGUMENTS ? !text && !object && byte != 'n'
                                             : false)
        return CALL_SCAN_BAD;
    s->state = CALL_STATE_IN_VALUE;
    if (!text && !object && byte != '[')
        s->state = CALL_STATE_IN_PLAIN;
    if (s->member == CALL_MEMBER_ARGUMENTS && object) {
        s->argued = true;
        note_known(s);
    }
    return s->state == CALL_STATE_IN_PLAIN ? CALL_SCAN_MORE : feed_value(s, byte);
}

static enum call_scanned feed_key(struct call_scan *s, char byte)
{
    if (s->text.length > CALL_KEY_MAX || buf_append(&s->text, &byte, 1) != 0)
        return s->text.length > CALL_KEY_MAX ? CALL_SCAN_BAD : CALL_SCAN_NO_MEMORY;
    return call_value_feed(&s->value, byte) ? end_key(s) : CALL_SCAN_MORE;
}

static enum call_scanned begin_key(struct call_scan *s, char byte)
{
    if (byte != '"')
        return byte == '}' ? end_object(s) : CALL_SCAN_BAD;
    s->value = (struct call_value){0};
    buf_clear(&s->text);
    s->state = CALL_STATE_IN_KEY;
    return feed_key(s, byte);
}

static enum call_scanned feed_comma(struct call_scan *s, char byte)
{
    if (byte == ',')
        return go(s, CALL_STATE_KEY);
    return byte == '}' ? end_object(s) : CALL_SCAN_BAD;
}

static enum call_scanned feed_list(struct call_scan *s, char byte)
{
    if (byte == ',')
        return go(s, CALL_STATE_OBJECT);
    return byte == ']' ? CALL_SCAN_DONE : CALL_SCAN_BAD;
}

static enum call_scanned feed_start(struct call_scan *s, char byte)
{
    if (byte == '{')
        return begin_object(s);
    if (byte != '[' || s->listed)
        return CALL_SCAN_BAD;
    s->listed = true;
    return go(s, CALL_STATE_OBJECT);
}

static enum call_scanned feed_plain(struct call_scan *s, char byte)
{
    return byte == ',' || byte == '}' ? feed_comma(s, byte) : CALL_SCAN_MORE;
}

enum call_scanned call_scan_feed(struct call_scan *s, char byte)
{
    bool within = s->state == CALL_STATE_IN_KEY || s->state == CALL_STATE_IN_VALUE;
    if (!within && is_space(byte))
        return CALL_SCAN_MORE;
    switch (s->state) {
    case CALL_STATE_START:
    case CALL_STATE_OBJECT:
        return feed_start(s, byte);
    case CALL_STATE_KEY:
        return begin_key(s, byte);
    case CALL_STATE_IN_KEY:
        return feed_key(s, byte);
    case CALL_STATE_COLON:
        return byte == ':' ? go(s, CALL_STATE_VALUE) : CALL_SCAN_BAD;
    case CALL_STATE_VALUE:
        return begin_value(s, byte);
    case CALL_STATE_IN_VALUE:
        return feed_value(s, byte);
    case CALL_STATE_IN_PLAIN:
        return feed_plain(s, byte);
    case CALL_STATE_COMMA:
        return feed_comma(s, byte);
    default:
        return feed_list(s, byte);
    }
}

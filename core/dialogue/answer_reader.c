#include "core/dialogue/answer_reader.h"

#include <string.h>

/* How a step of the reading ended: something was decided; more text is needed. */
enum step { STEP_DONE, STEP_MORE, STEP_NO_MEMORY };

enum { NAME_HEAD_MAX = 512 /* bytes before the arguments of a NAMED call */ };

void answer_reader_init(struct answer_reader *r, const struct answer_form *form)
{
    const struct call_format *f = form->calls;
    *r = (struct answer_reader){.form = *form};
    r->thought = form->thinking;
    r->state = form->thinking ? ANSWER_THOUGHTS : form->thoughts || f ? ANSWER_START : ANSWER_WORDS;
    r->scan.name_key = f && f->name_key ? f->name_key : "name";
    r->scan.arguments_key = f && f->arguments_key ? f->arguments_key : "arguments";
    r->scan.calls = &r->calls;
}

void answer_reader_fini(struct answer_reader *r)
{
    buf_fini(&r->thoughts);
    buf_fini(&r->words);
    buf_fini(&r->held);
    buf_fini(&r->space);
    calls_fini(&r->calls);
    call_scan_fini(&r->scan);
}

int answer_reader_calls(const struct answer_reader *r)
{
    int count = 0;
    while (count < r->calls.count && r->calls.of[count].known)
        count++;
    return count;
}

/* ---- texts ---- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Where the mark is in the text that is held, or where its beginning may be at the end. */
static size_t find_mark(const struct buf *text, const char *mark, bool *whole)
{
    size_t size = mark ? strlen(mark) : 0, from;
    *whole = false;
    if (size == 0 || text->length == 0)
        return text->length;
    const char *found = memmem(text->data, text->length, mark, size);
    *whole = found != NULL;
    if (found)
        return (size_t)(found - text->data);
    for (from = text->length > size ? text->length - size + 1 : 0; from < text->length; from++)
        if (memcmp(text->data + from, mark, text->length - from) == 0)
            break;
    return from;
}

enum beginning { BEGINS_NOT, BEGINS_PARTLY, BEGINS };

static enum beginning begins_with(const struct buf *text, const char *mark)
{
    size_t size = mark ? strlen(mark) : 0;
    if (size == 0)
        return BEGINS_NOT;
    size_t common = text->length < size ? text->length : size;
    if (common && memcmp(text->data, mark, common) != 0)
        return BEGINS_NOT;
    return common == size ? BEGINS : BEGINS_PARTLY;
}

static size_t leading_space(const struct buf *text)
{
    size_t count = 0;
    while (count < text->length && is_space(text->data[count]))
        count++;
    return count;
}

/* Move the first `length` bytes that are held to `out`; space at their end is kept apart until something
 * follows it. */
static int move(struct answer_reader *r, struct buf *out, size_t length, bool (*apart)(char))
{
    size_t end = length;
    while (end > 0 && apart(r->held.data[end - 1]))
        end--;
    if (end > 0 &&
        (buf_append(out, r->space.data, r->space.length) != 0 || buf_append(out, r->held.data, end) != 0))
        return -1;
    if (end > 0)
        buf_clear(&r->space);
    if (buf_append(&r->space, r->held.data + end, length - end) != 0)
        return -1;
    buf_consume(&r->held, length);
    return 0;
}

static bool is_feed(char c)
{
    return c == '\n';
}

static bool is_none(char c)
{
    (void)c;
    return false;
}

/* Space before a call is no part of the words. */
static int move_words(struct answer_reader *r, size_t length)
{
    return move(r, &r->words, length, r->form.calls ? is_space : is_none);
}

/* ---- thoughts ---- */

static enum step go(struct answer_reader *r, enum answer_state state)
{
    r->state = state;
    return STEP_DONE;
}

static enum step begin_thoughts(struct answer_reader *r, size_t mark_end)
{
    buf_consume(&r->held, mark_end);
    r->thought = true;
    return go(r, ANSWER_THOUGHTS);
}

static enum step read_start(struct answer_reader *r, bool last)
{
    size_t space = leading_space(&r->held);
    if (space == r->held.length && !last)
        return STEP_MORE;
    if (r->form.thoughts) {
        struct buf rest = {.data = r->held.data + space, .length = r->held.length - space};
        enum beginning thoughts = begins_with(&rest, r->form.thoughts->open);
        if (thoughts == BEGINS)
            return begin_thoughts(r, space + strlen(r->form.thoughts->open));
        if (thoughts == BEGINS_PARTLY && !last)
            return STEP_MORE;
    }
    return go(r, ANSWER_BEHIND);
}

static enum step read_thoughts(struct answer_reader *r, bool last)
{
    bool whole;
    const char *close = r->form.thoughts->close;
    size_t at = find_mark(&r->held, close, &whole), skipped = 0;
    while (r->thoughts.length == 0 && skipped < at && is_feed(r->held.data[skipped]))
        skipped++;
    buf_consume(&r->held, skipped);
    if (move(r, &r->thoughts, last && !whole ? r->held.length : at - skipped, is_feed) != 0)
        return STEP_NO_MEMORY;
    r->thoughts_end = r->fed - r->held.length;
    if (!whole)
        return STEP_MORE;
    buf_clear(&r->space);
    buf_consume(&r->held, strlen(close));
    return go(r, ANSWER_BEHIND);
}

/* ---- words ---- */

static enum step begin_call(struct answer_reader *r, bool marked)
{
    r->marked = marked;
    r->begun = r->calls.count;
    r->calls.words = r->words.length;
    r->calls.begin = r->fed - r->held.length;
    r->at = marked ? strlen(r->form.calls->open) : 0;
    call_scan_reset(&r->scan);
    return go(r, ANSWER_CALL);
}

/* Behind thoughts, or at the beginning: line feeds that are no words, and calls without a mark. */
static enum step read_behind(struct answer_reader *r, bool last)
{
    size_t space = leading_space(&r->held), feeds = 0;
    while (r->thought && feeds < space && is_feed(r->held.data[feeds]))
        feeds++;
    buf_consume(&r->held, feeds);
    space -= feeds;
    if (space == r->held.length && !last)
        return STEP_MORE;
    bool bare = r->form.calls && r->form.calls->bare && space < r->held.length &&
                (r->held.data[space] == '{' || r->held.data[space] == '[');
    if (!bare)
        return go(r, ANSWER_WORDS);
    if (move_words(r, space) != 0)
        return STEP_NO_MEMORY;
    return begin_call(r, false);
}

/* Up to the first mark. Those around all calls say nothing. */
static enum step read_words(struct answer_reader *r, bool last)
{
    const struct call_format *f = r->form.calls;
    const char *marks[] = {f ? f->open : NULL, f ? f->begin : NULL, f ? f->end : NULL};
    size_t first = r->held.length, mark = 0;
    bool found = false;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        bool whole;
        size_t at = find_mark(&r->held, marks[i], &whole);
        if (at > first || (at == first && !whole))
            continue;
        first = at;
        found = whole;
        mark = i;
    }
    if (!found && last)
        first = r->held.length;
    if (move_words(r, first) != 0)
        return STEP_NO_MEMORY;
    if (!found)
        return STEP_MORE;
    if (mark == 0)
        return begin_call(r, true);
    buf_consume(&r->held, strlen(marks[mark]));
    return STEP_DONE;
}

/* ---- calls ---- */

/* What was held for a call is words after all: its first byte is, and the rest is looked at again. */
static enum step give_up(struct answer_reader *r)
{
    while (r->calls.count > r->begun)
        calls_drop(&r->calls);
    r->state = ANSWER_WORDS;
    return move_words(r, r->marked ? strlen(r->form.calls->open) : 1) == 0 ? STEP_DONE : STEP_NO_MEMORY;
}

/* Something of it is a call. What is behind it, from r->at on, is not. */
static enum step end_call(struct answer_reader *r)
{
    while (r->calls.count > r->begun && !r->calls.of[r->calls.count - 1].known)
        calls_drop(&r->calls);
    buf_consume(&r->held, r->at);
    buf_clear(&r->space);
    r->at = 0;
    return go(r, ANSWER_TAIL);
}

static enum step read_call(struct answer_reader *r)
{
    while (r->at < r->held.length && is_space(r->held.data[r->at]))
        r->at++;
    if (r->at == r->held.length)
        return STEP_MORE;
    bool json = r->held.data[r->at] == '{' || r->held.data[r->at] == '[';
    if (!json && r->form.calls->body != CALL_NAMED)
        return give_up(r);
    return go(r, json ? ANSWER_JSON : ANSWER_NAME);
}

/* A call without a mark is one only if it calls what there is. */
static bool check_tool(struct answer_reader *r)
{
    struct call *c = r->calls.count > r->begun ? &r->calls.of[r->calls.count - 1] : NULL;
    if (c && c->known && !r->marked && r->form.is_tool)
        c->known = r->form.is_tool(r->form.arg, c->name.data, c->name.length);
    else
        return true;
    return c->known;
}

static bool has_begun(const struct answer_reader *r)
{
    return r->calls.count > r->begun && r->calls.of[r->begun].known;
}

static enum step read_json(struct answer_reader *r)
{
    while (r->at < r->held.length) {
        enum call_scanned scanned = call_scan_feed(&r->scan, r->held.data[r->at]);
        if (scanned == CALL_SCAN_NO_MEMORY)
            return STEP_NO_MEMORY;
        if (scanned == CALL_SCAN_BAD || !check_tool(r))
            return has_begun(r) ? end_call(r) : give_up(r);
        r->at++;
        if (scanned == CALL_SCAN_DONE)
            return has_begun(r) ? end_call(r) : give_up(r);
    }
    if (has_begun(r)) { /* it will not be given up */
        buf_clear(&r->held);
        r->at = 0;
    }
    return STEP_MORE;
}

static size_t name_length(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length && at < CALL_NAME_MAX && !is_space(text[at]) && !strchr("[]{}<>|\"'`,:()", text[at]))
        at++;
    return at;
}

static enum step read_name(struct answer_reader *r)
{
    const char *from = r->held.data + r->at, *before = r->form.calls->before_name;
    size_t length = r->held.length - r->at;
    const char *object = memchr(from, '{', length);
    if (!object)
        return length > NAME_HEAD_MAX ? give_up(r) : STEP_MORE;
    size_t head = (size_t)(object - from), skipped = before ? strlen(before) : 0;
    if (head < skipped || (skipped && memcmp(from, before, skipped) != 0))
        skipped = 0;
    size_t name = name_length(from + skipped, head - skipped);
    if (name == 0 || head > NAME_HEAD_MAX || r->calls.count == CALL_SCAN_COUNT_MAX)
        return give_up(r);
    struct call *c = calls_add(&r->calls);
    if (!c || buf_append(&c->name, from + skipped, name) != 0)
        return STEP_NO_MEMORY;
    c->known = true;
    r->value = (struct call_value){0};
    buf_clear(&r->space);
    buf_consume(&r->held, r->at + head);
    r->at = 0;
    return go(r, ANSWER_ARGUMENTS);
}

static enum step read_arguments(struct answer_reader *r)
{
    size_t count = 0;
    bool whole = false;
    while (count < r->held.length && !whole)
        whole = call_value_feed(&r->value, r->held.data[count++]);
    if (count && buf_append(&r->calls.of[r->calls.count - 1].arguments, r->held.data, count) != 0)
        return STEP_NO_MEMORY;
    buf_consume(&r->held, count);
    return whole ? go(r, ANSWER_TAIL) : STEP_MORE;
}

/* The call is over, and what follows is looked at as words. */
static enum step leave_call(struct answer_reader *r)
{
    r->calls.of[r->calls.count - 1].end = r->fed - r->held.length;
    return go(r, ANSWER_WORDS);
}

/* Up to the closing mark nothing counts. Without one, another call may follow at once. */
static enum step read_tail(struct answer_reader *r)
{
    const struct call_format *f = r->form.calls;
    bool whole;
    if (f->close && r->marked) {
        size_t at = find_mark(&r->held, f->close, &whole);
        buf_consume(&r->held, at + (whole ? strlen(f->close) : 0));
        return whole ? leave_call(r) : STEP_MORE;
    }
    size_t skipped = 0;
    while (f->bare && skipped < r->held.length &&
           (is_space(r->held.data[skipped]) || r->held.data[skipped] == ';'))
        skipped++;
    if (f->bare && skipped == r->held.length)
        return STEP_MORE;
    if (!f->bare || r->held.data[skipped] != '{')
        return leave_call(r);
    buf_consume(&r->held, skipped);
    return begin_call(r, false);
}

/* ---- the whole ---- */

static enum step take_step(struct answer_reader *r, bool last)
{
    switch (r->state) {
    case ANSWER_START:
        return read_start(r, last);
    case ANSWER_THOUGHTS:
        return read_thoughts(r, last);
    case ANSWER_BEHIND:
        return read_behind(r, last);
    case ANSWER_WORDS:
        return read_words(r, last);
    case ANSWER_CALL:
        return read_call(r);
    case ANSWER_JSON:
        return read_json(r);
    case ANSWER_NAME:
        return read_name(r);
    case ANSWER_ARGUMENTS:
        return read_arguments(r);
    default:
        return read_tail(r);
    }
}

static int run(struct answer_reader *r, bool last, struct err *e)
{
    enum step step = STEP_DONE;
    while (step == STEP_DONE && (r->held.length > 0 || r->state == ANSWER_CALL))
        step = take_step(r, last);
    return step == STEP_NO_MEMORY ? err_memory(e) : 0;
}

int answer_reader_feed(struct answer_reader *r, const char *text, size_t length, struct err *e)
{
    r->fed += length;
    if (length && buf_append(&r->held, text, length) != 0)
        return err_memory(e);
    return run(r, false, e);
}

/* A call that has not become one is words, and so is what looked like the beginning of a mark. Space at the
 * end is a part of the words where no call came before it. */
int answer_reader_finish(struct answer_reader *r, struct err *e)
{
    if (run(r, true, e) != 0)
        return -1;
    while (r->state == ANSWER_CALL || r->state == ANSWER_NAME || (r->state == ANSWER_JSON && !has_begun(r)))
        if (give_up(r) == STEP_NO_MEMORY || run(r, true, e) != 0)
            return err_memory(e);
    r->cut = r->state == ANSWER_JSON || r->state == ANSWER_ARGUMENTS;
    if (r->state == ANSWER_JSON)
        end_call(r);
    if (answer_reader_calls(r) == 0 && r->state != ANSWER_THOUGHTS &&
        buf_append(&r->words, r->space.data, r->space.length) != 0)
        return err_memory(e);
    return 0;
}

/* Training files: what is read of them, which tokens are learnt, what is refused and why. */
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/training/dataset/align.h"
#include "adapters/training/dataset/dataset.h"
#include "adapters/training/dataset/jsonl.h"
#include "core/system/file.h"
#include "tests/golden/fixture.h"
#include "tests/unit/support/scratch.h"

static struct tokenizer *tokenizer;
static struct chat *demo_chat;
static const struct model_info demo = {
    .vocab_size = 1024, .context_length = 1024, .eos = {2}, .eos_count = 1};
static const struct model_info mlp = {.numeric = true, .input_size = 16, .vocab_size = 10};

static int set_up(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(tokenizer_open(&tokenizer, "demo/base", TOKENIZER_OF_FILE, &e), 0);
    assert_int_equal(chat_open(&demo_chat, "demo/base", &e), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tokenizer_close(tokenizer);
    chat_close(demo_chat);
    return 0;
}

static struct encode_options options_of(const char *base, const char *method, const char *loss)
{
    return (struct encode_options){.info = strcmp(base, "mlp") == 0 ? &mlp : &demo,
                                   .tokenizer = tokenizer,
                                   .chat = demo_chat,
                                   .method = strcmp(method, "dpo") == 0 ? TRAIN_DPO : TRAIN_SUPERVISED,
                                   .loss = loss && strcmp(loss, "cross_entropy") == 0 ? TRAIN_CROSS_ENTROPY
                                                                                      : TRAIN_MSE};
}

static int file_of(const char *text, size_t length)
{
    int fd = memfd_create("lines", MFD_CLOEXEC);
    assert_int_equal(write(fd, text, length), length);
    return fd;
}

/* As an upload does it, in pieces of `step` bytes. */
static int check(const char *text, size_t length, size_t step, struct dataset_summary *out, struct err *e)
{
    struct dataset_check *c;
    int result = dataset_check_new(&c, e);
    assert_int_equal(result, 0);
    for (size_t at = 0; at < length && result == 0; at += step)
        result = dataset_check_feed(c, text + at, length - at < step ? length - at : step, e);
    if (result == 0)
        result = dataset_check_finish(c, out, e);
    dataset_check_free(c);
    return result;
}

/* As a job does it. */
static int open_text(const char *text, size_t length, const struct encode_options *o, struct dataset **out,
                     struct err *e)
{
    char *directory = scratch_new();
    int fd = file_of(text, length);
    int result = dataset_open(out, fd, directory, o, NULL, e);
    assert_int_equal(scratch_count(directory, "."), 0); /* what it keeps has no name */
    close(fd);
    scratch_remove(directory);
    return result;
}

/* ---- files that are refused, or taken ---- */

/* The line that a message begins with; 0: none. */
static json_int_t line_of(const struct err *e)
{
    unsigned long line;
    return sscanf(e->message, "line %lu: ", &line) == 1 ? (json_int_t)line : 0;
}

static bool line_is_right(const json_t *c, const struct err *e)
{
    json_int_t line = line_of(e);
    if (json_integer_value(json_object_get(c, "line")) == line)
        return true;
    size_t i;
    json_t *other;
    json_array_foreach(json_object_get(c, "line_also"), i,
                       other) if (json_integer_value(other) == line) return true;
    return false;
}

static const char *text_in(const json_t *c, const char *name)
{
    return json_string_value(json_object_get(c, name));
}

static void expect_case(const json_t *c)
{
    const char *file = text_in(c, "file"), *expected = text_in(c, "expect");
    struct encode_options o = options_of(text_in(c, "base"), text_in(c, "method"), text_in(c, "loss"));
    struct dataset_summary summary;
    struct dataset *d = NULL;
    struct buf text = {0};
    struct err e = {0};
    assert_int_equal(file_read(fixture_path("training/bad/%s", file), 1 << 20, &text, &e), 0);
    if (!text.data)
        assert_int_equal(buf_append(&text, "", 0), 0);
    bool at_once = check(text.data, text.length, text.length + 1, &summary, &e) == 0;
    struct err whole = e;
    assert_int_equal(check(text.data, text.length, 7, &summary, &e) == 0, at_once);
    if (!at_once)
        assert_string_equal(e.message, whole.message);
    bool taken = at_once && open_text(text.data, text.length, &o, &d, &e) == 0;
    if (strcmp(text_in(c, "latest_at"), "file") == 0 && at_once != taken)
        fail_msg("%s: taken as a file, refused by the job: %s", file, e.message);
    if (strcmp(expected, "either") != 0 && taken != (strcmp(expected, "accept") == 0))
        fail_msg("%s: expected %s (%s), found: %s", file, expected, text_in(c, "why"),
                 taken ? "taken" : e.message);
    if (taken && strcmp(expected, "accept") == 0) {
        assert_int_equal(summary.examples, json_integer_value(json_object_get(c, "examples")));
        assert_int_equal(d->data.count, summary.examples);
    }
    if (!taken && (strcmp(e.code, "invalid_training_file") != 0 ||
                   (strcmp(expected, "refuse") == 0 && !line_is_right(c, &e))))
        fail_msg("%s: expected line %lld, found %s: %s", file,
                 (long long)json_integer_value(json_object_get(c, "line")), e.code, e.message);
    dataset_close(d);
    buf_fini(&text);
}

static void files_are_refused_with_their_line_or_taken(void **state)
{
    (void)state;
    json_t *cases = fixture_json(fixture_path("training/bad/cases.json")), *c;
    size_t i;
    assert_true(json_array_size(cases) > 60);
    json_array_foreach(cases, i, c) expect_case(c);
    json_decref(cases);
}

/* ---- tokens and labels ---- */

static bool is_either(const json_t *wanted, size_t at)
{
    size_t i;
    json_t *position;
    json_array_foreach(json_object_get(wanted, "either"), i,
                       position) if ((size_t)json_integer_value(position) == at) return true;
    return false;
}

static void expect_line(const struct dataset *d, const char *name, size_t index, const json_t *wanted)
{
    struct err e;
    struct train_line line;
    const json_t *tokens = json_object_get(wanted, "tokens"), *labels = json_object_get(wanted, "labels");
    assert_int_equal(d->data.line(&d->data, index, &line, &e), 0);
    assert_int_equal(line.sequence.count, json_array_size(tokens));
    int targets = 0;
    for (int i = 0; i < line.sequence.count; i++) {
        int token = (int)json_integer_value(json_array_get(tokens, (size_t)i));
        int label = (int)json_integer_value(json_array_get(labels, (size_t)i));
        int found = line.sequence.labels[i];
        assert_int_equal(line.sequence.tokens[i], token);
        if (found != label && !(is_either(wanted, (size_t)i) && (found == token || found == -100)))
            fail_msg("%s, line %zu: label %d is %d, expected %d", name, index + 1, i, found, label);
        targets += i > 0 && found != -100;
    }
    assert_int_equal(line.sequence.targets, targets);
}

static struct dataset *open_fixture(const char *name, const struct encode_options *o)
{
    struct err e;
    struct buf text = {0};
    struct dataset *d;
    assert_int_equal(file_read(fixture_path("training/chat/%s.jsonl", name), 1 << 20, &text, &e), 0);
    if (open_text(text.data, text.length, o, &d, &e) != 0)
        fail_msg("%s: %s", name, e.message);
    buf_fini(&text);
    return d;
}

static void expect_labels(const char *name, const char *template, size_t last_turn_only)
{
    struct err e;
    struct chat *chat = NULL;
    struct encode_options o = options_of("demo", "supervised", NULL);
    if (template) {
        struct buf text = {0};
        char *directory = scratch_new();
        assert_int_equal(file_read(fixture_path("training/chat/%s", template), 1 << 20, &text, &e), 0);
        scratch_write(directory, "chat_template.jinja", text.data, text.length);
        assert_int_equal(chat_open(&chat, directory, &e), 0);
        scratch_remove(directory);
        buf_fini(&text);
        o.chat = chat;
    }
    struct dataset *d = open_fixture(name, &o);
    json_t *lines = fixture_json(fixture_path("training/chat/%s.tokens.json", name));
    assert_int_equal(d->data.count, json_array_size(lines));
    for (size_t i = 0; i < d->data.count; i++)
        expect_line(d, name, i, json_array_get(lines, i));
    assert_int_equal(d->last_turn_only, last_turn_only);
    json_decref(lines);
    dataset_close(d);
    chat_close(chat);
}

static void the_assistants_turns_are_learnt(void **state)
{
    (void)state;
    expect_labels("demo", NULL, 0);
    expect_labels("chatml-generation", "chatml-generation.jinja", 0);
    expect_labels("strip-think", "strip-think.jinja", 1);
    expect_labels("plain", NULL, 0);
}

/* ---- single lines ---- */

#define USER "{\"role\":\"user\",\"content\":\"Hi\"}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\"Hello.\"}"
#define CHAT(messages) "{\"messages\":[" messages "]}"
#define CALL(arguments)                                                                            \
    "{\"role\":\"assistant\",\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"," \
    "\"arguments\":" arguments "}}]}"

static void lines_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *line, *reason;
    } cases[] = {
        {"{\"a\":1,\"a\":2}", "not JSON: duplicate object key"},
        {"{\"text\":\"a\\ud800\"}", "not JSON"},
        {"{\"instruction\":\"a\",\"output\":\"b\"}", "none of the known forms"},
        {"{\"text\":\"a\",\"tokens\":[1],\"labels\":[1]}", "\"text\" and \"tokens\" do not go together"},
        {"{\"text\":null}", "none of the known forms"},
        {CHAT(USER ","
                   "{\"role\":\"Assistant\",\"content\":\"x\"}"),
         "found \"Assistant\""},
        {CHAT(USER ","
                   "{\"role\":\"assistant\\u0000\",\"content\":\"x\"}"),
         "found \"assistant\""},
        {CHAT("{\"role\":\"user\"}," ANSWER), "a message has no content"},
        {CHAT("{\"role\":\"user\",\"content\":null}," ANSWER), "a message has no content"},
        {CHAT("{\"role\":\"user\",\"content\":\"x\",\"weight\":1}," ANSWER), "only the assistant's turns"},
        {CHAT(USER ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":true}"), "must be 0 or 1"},
        {CHAT(USER ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0.5}"), "must be 0 or 1"},
        {CHAT(USER ",{\"role\":\"assistant\",\"content\":[]}"), "is empty"},
        {CHAT(USER ",{\"role\":\"assistant\",\"content\":[\"x\"]}"), "an object with a type"},
        {CHAT(USER ",{\"role\":\"assistant\",\"content\":[{\"type\":\"text\"}]}"), "has no text"},
        {CHAT(USER ",{\"role\":\"assistant\",\"function_call\":{}}"), "\"function_call\" is not read"},
        {CHAT(USER "," CALL("\"{\"")), "not the text of a JSON object"},
        {CHAT(USER "," CALL("\"[]\"")), "not the text of a JSON object"},
        {CHAT(USER "," CALL("1")), "must be an object"},
        {CHAT(USER ",{\"role\":\"assistant\",\"tool_calls\":[1]}"), "needs a function with a name"},
        {CHAT("{\"role\":\"user\",\"content\":\"\",\"tool_calls\":[]}," ANSWER),
         "of a turn of the assistant"},
        {CHAT("{\"role\":\"user\",\"content\":\"x\",\"name\":1}," ANSWER), "\"name\" of a message"},
        {"{\"messages\":[" USER "," ANSWER "],\"tools\":{}}", "\"tools\" must be a list"},
        {"{\"messages\":[" USER "," ANSWER "],\"tools\":[\"f\"]}", "\"tools\" must be a list"},
        {"{\"prompt\":1,\"completion\":\"x\"}", "\"prompt\" must be a text"},
        {"{\"tokens\":[1,2],\"labels\":[-100,4294967298]}", "label 1 is 4294967298"},
        {"{\"tokens\":[1,2],\"labels\":[-100,true]}", "label 1 is no whole number"},
        {"{\"prompt_tokens\":[],\"chosen_tokens\":[1],\"rejected_tokens\":[2]}",
         "\"prompt_tokens\" is empty"},
        {"{\"prompt_tokens\":[1],\"chosen_tokens\":[1],\"rejected_tokens\":[1]}", "none is preferred"},
        {"{\"input\":{\"messages\":[" USER "]},\"preferred_output\":[" ANSWER "]}",
         "\"non_preferred_output\" must be"},
        {"{\"input\":{\"messages\":[]},\"preferred_output\":[" ANSWER "],\"non_preferred_output\":[" ANSWER
         "]}",
         "1 to 4096 entries"},
        {"{\"input\":{\"messages\":[" USER "]},\"preferred_output\":[" USER
         "],\"non_preferred_output\":[" ANSWER "]}",
         "must be a message of the assistant"},
        {"{\"input\":\"x\",\"preferred_output\":[" ANSWER "],\"non_preferred_output\":[" ANSWER "]}",
         "must be an object with \"messages\""},
        {"{\"input\":[],\"target\":1}", "\"input\" is empty"},
        {"{\"input\":[1,\"x\"],\"target\":1}", "entry 1 is none"},
        {"{\"input\":[1e300],\"target\":1}", "too large for a number of 32 bits"},
        {"{\"input\":[1],\"target\":-1}", "a whole number from 0 on"},
        {"{\"input\":[1],\"target\":[]}", "\"target\" is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dataset_summary summary;
        struct err e = {.code = "taken"};
        check(cases[i].line, strlen(cases[i].line), 1000, &summary, &e);
        if (strcmp(e.code, "invalid_training_file") != 0 || !strstr(e.message, cases[i].reason) ||
            line_of(&e) != 1)
            fail_msg("%s: expected \"%s\", found %s: %s", cases[i].line, cases[i].reason, e.code, e.message);
    }
}

static void lines_that_look_odd_are_taken(void **state)
{
    (void)state;
    static const char *const lines[] = {
        CHAT("{\"role\":\"user\",\"content\":\"\"}," ANSWER),
        CHAT("{\"role\":\"user\",\"content\":\"x\",\"weight\":0}," ANSWER),
        CHAT(USER ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":1.0,\"refusal\":null}"),
        CHAT(USER "," CALL("\"{\\\"a\\\":1}\"") "," ANSWER),
        CHAT(USER "," CALL("{}")),
        "{\"messages\":[" USER "," ANSWER "],\"tools\":null,\"id\":7,\"text\":null}",
        "{\"prompt\":\"\",\"completion\":\"\\u0000\"}",
        "{\"tokens\":[0,2147483647],\"labels\":[-100,5]}",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct dataset_summary summary;
        struct err e = {0};
        if (check(lines[i], strlen(lines[i]), 3, &summary, &e) != 0)
            fail_msg("%s: %s", lines[i], e.message);
    }
}

static void a_file_has_one_kind(void **state)
{
    (void)state;
    static const char text[] =
        "\n" CHAT(USER "," ANSWER) "\n{\"text\":\"a\"}\n{\"input\":[1],\"target\":1}\n";
    struct dataset_summary summary;
    struct err e = {0};
    assert_int_equal(check(text, strlen(text), 9, &summary, &e), -1);
    assert_string_equal(e.message, "line 4: this is an example of numbers, but line 2 is an example of an "
                                   "answer: a file has one kind");
}

/* ---- bounds ---- */

static char *repeated(const char *head, const char *body, size_t times, const char *tail, size_t *length)
{
    struct buf text = {0};
    assert_int_equal(buf_append_string(&text, head), 0);
    for (size_t i = 0; i < times; i++)
        assert_int_equal(buf_append_string(&text, body), 0);
    assert_int_equal(buf_append_string(&text, tail), 0);
    *length = text.length;
    return text.data;
}

static void lines_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *head, *body;
        size_t times;
        const char *tail, *reason;
    } cases[] = {
        {"{\"text\":\"", "x", JSONL_LINE_BYTES_MAX, "\"}", "4194304 bytes at most"},
        {"{\"text\":\"", "x", JSONL_LINE_BYTES_MAX, "\"}\n{\"text\":\"a\"}", "4194304 bytes at most"},
        {"{\"messages\":", "[", 100000, "\n", "lists and objects at most"},
        {"{\"messages\":", "[", 50000, "\n", "maximum parsing depth"},
        {"{\"messages\":[", "[],", 70000, "[]]}", "lists and objects at most"},
        {"{\"messages\":[", "{\"role\":\"user\",\"content\":\"x\"},", 4096, ANSWER "]}", "1 to 4096 entries"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length;
        char *text = repeated(cases[i].head, cases[i].body, cases[i].times, cases[i].tail, &length);
        struct dataset_summary summary;
        struct err e = {.code = "taken"};
        check(text, length, 65536, &summary, &e);
        if (strcmp(e.code, "invalid_training_file") != 0 || !strstr(e.message, cases[i].reason))
            fail_msg("case %zu: %s: %s", i, e.code, e.message);
        free(text);
    }
}

static size_t resident(void)
{
    char line[256] = "";
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    fclose(f);
    size_t pages = 0;
    assert_int_equal(sscanf(line, "%*s %zu", &pages), 1);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

#ifdef __SANITIZE_ADDRESS__
enum { GROWTH_BYTES_MAX = 320 << 20 }; /* what was freed waits in a quarantine */
#else
enum { GROWTH_BYTES_MAX = 8 << 20 };
#endif

static void memory_does_not_grow_with_the_file(void **state)
{
    (void)state;
    size_t length;
    static const char line[] = "{\"tokens\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20],\"labels\":"
                               "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}\n";
    char *text = repeated("", line, 200000, "", &length);
    char *directory = scratch_new();
    int fd = file_of(text, length);
    free(text);
    struct encode_options o = options_of("demo", "supervised", NULL);
    struct dataset *d;
    struct train_line read;
    struct err e;
    size_t before = resident();
    assert_int_equal(dataset_open(&d, fd, directory, &o, NULL, &e), 0);
    assert_true(resident() < before + GROWTH_BYTES_MAX);
    assert_int_equal(d->data.count, 200000);
    assert_int_equal(d->data.tokens, 4000000);
    assert_int_equal(d->data.line(&d->data, 199999, &read, &e), 0);
    assert_int_equal(read.sequence.labels[19], 20);
    dataset_close(d);
    close(fd);
    scratch_remove(directory);
}

static void reading_can_be_ended(void **state)
{
    (void)state;
    atomic_bool stop = true;
    struct encode_options o = options_of("demo", "supervised", NULL);
    struct dataset *d;
    struct err e;
    int fd = file_of("{\"text\":\"a b\"}", 14);
    assert_int_equal(dataset_open(&d, fd, "/tmp", &o, &stop, &e), -1);
    assert_string_equal(e.code, "cancelled");
    close(fd);
}

/* ---- what is learnt, as options have it ---- */

/* Which tokens are learnt, as text; other stretches are one "_" each. */
static char *learnt(const struct train_sequence *s)
{
    struct buf text = {0};
    struct err e;
    bool gap = false;
    assert_int_equal(buf_reserve(&text, 1), 0);
    for (int i = 0; i < s->count; i++) {
        if (s->labels[i] == TRAIN_NO_LABEL) {
            if (!gap)
                assert_int_equal(buf_append(&text, "_", 1), 0);
            gap = true;
            continue;
        }
        assert_int_equal(s->labels[i], s->tokens[i]);
        assert_int_equal(tokenizer_bytes(tokenizer, s->tokens[i], &text, &e), 0);
        gap = false;
    }
    assert_int_equal(buf_append(&text, "", 0), 0); /* ends in NUL */
    return text.data;
}

static void expect_learnt(const char *line, const struct encode_options *o, const char *expected,
                          const char *rejected)
{
    struct dataset *d;
    struct train_line read;
    struct err e;
    if (open_text(line, strlen(line), o, &d, &e) != 0)
        fail_msg("%s: %s", line, e.message);
    assert_int_equal(d->data.line(&d->data, 0, &read, &e), 0);
    char *found = learnt(&read.sequence), *other = learnt(&read.rejected);
    assert_string_equal(found, expected);
    assert_string_equal(other, rejected);
    free(found);
    free(other);
    dataset_close(d);
}

static void options_say_what_is_learnt(void **state)
{
    (void)state;
    static const char two[] = CHAT(USER ",{\"role\":\"assistant\",\"content\":\"One.\"}," USER
                                        ",{\"role\":\"assistant\",\"content\":\"Two.\"}");
    struct encode_options o = options_of("demo", "supervised", NULL);
    expect_learnt(two, &o, "_One.<|im_end|>_Two.<|im_end|>_", "");
    o.turns = ENCODE_LAST;
    expect_learnt(two, &o, "_Two.<|im_end|>_", "");
    o.turns = ENCODE_ALL;
    expect_learnt(CHAT(USER "," ANSWER), &o,
                  "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n", "");
    expect_learnt("{\"prompt\":\"Hi \",\"completion\":\"you\"}", &o, "Hi you<|im_end|>", "");
    o.turns = ENCODE_ASSISTANT;
    o.max_length = 4;
    expect_learnt("{\"prompt\":\"Hi \",\"completion\":\"Thank you for all\"}", &o, "_Th", "");
}

static void preferences_learn_both_answers(void **state)
{
    (void)state;
    struct encode_options o = options_of("demo", "dpo", NULL);
    expect_learnt("{\"input\":{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"One.\"}," USER
                  "]},\"preferred_output\":[" ANSWER
                  "],\"non_preferred_output\":[{\"role\":\"assistant\",\"content\":\"No.\"}]}",
                  &o, "_Hello.<|im_end|>_", "_No.<|im_end|>_");
    expect_learnt("{\"prompt_tokens\":[5,6],\"chosen_tokens\":[35,36],\"rejected_tokens\":[37]}", &o, "_AB",
                  "_C");
}

static void numbers_are_kept(void **state)
{
    (void)state;
    static const char classes[] = "{\"input\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,-1.5],\"target\":9}\n";
    static const char lists[] = "{\"input\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15],\"target\":"
                                "[0,1,2,3,4,5,6,7,8,0.25]}\n";
    struct dataset *d;
    struct train_line line;
    struct err e;
    struct encode_options o = options_of("mlp", "supervised", "cross_entropy");
    assert_int_equal(open_text(classes, strlen(classes), &o, &d, &e), 0);
    assert_int_equal(d->data.line(&d->data, 0, &line, &e), 0);
    assert_true(line.input[15] == -1.5f && line.input[3] == 3 && !line.target && line.class == 9);
    dataset_close(d);
    assert_int_equal(open_text(lists, strlen(lists), &o, &d, &e), -1);
    o.loss = TRAIN_MSE;
    assert_int_equal(open_text(classes, strlen(classes), &o, &d, &e), -1);
    assert_int_equal(open_text(lists, strlen(lists), &o, &d, &e), 0);
    assert_int_equal(d->data.line(&d->data, 0, &line, &e), 0);
    assert_true(line.input[15] == 15 && line.target[9] == 0.25f && line.target[0] == 0);
    dataset_close(d);
}

static void expect_job_refuses(const char *line, struct encode_options o, const char *reason)
{
    struct dataset *d;
    struct err e = {.code = "taken"};
    if (open_text(line, strlen(line), &o, &d, &e) == 0 || strcmp(e.code, "invalid_training_file") != 0 ||
        !strstr(e.message, reason))
        fail_msg("%s: expected \"%s\", found %s: %s", line, reason, e.code, e.message);
}

static void what_the_job_cannot_use_is_refused(void **state)
{
    (void)state;
    struct encode_options o = options_of("demo", "supervised", NULL), dpo = options_of("demo", "dpo", NULL);
    dpo.max_length = 2;
    expect_job_refuses("{\"prompt_tokens\":[5,6],\"chosen_tokens\":[35],\"rejected_tokens\":[37,38]}", dpo,
                       "3 tokens, max_length is 2");
    expect_job_refuses("{\"tokens\":[5],\"labels\":[5]}", o, "the file has nothing to learn");
    expect_job_refuses("{\"tokens\":[5,6],\"labels\":[5,-100]}", o, "the file has nothing to learn");
    o.turns = ENCODE_LAST;
    expect_job_refuses(
        CHAT(USER "," ANSWER "," USER ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0}"), o,
        "the last turn of the assistant has the weight 0");
}

/* ---- where tokens stand ---- */

/* Each mark is the first byte of a word that the tokenizers keep whole, or begin a token with. */
static void expect_aligned(const char *directory, const char *text, const char *word)
{
    struct err e;
    struct tokenizer *t;
    struct token_list tokens = {0};
    struct buf decoded = {0};
    struct align_mark mark = {.byte = (size_t)(strstr(text, word) - text)};
    assert_int_equal(tokenizer_open(&t, directory, TOKENIZER_OF_FILE, &e), 0);
    assert_int_equal(tokenizer_encode(t, text, strlen(text), false, &tokens, &e), 0);
    assert_int_equal(align_tokens(t, text, strlen(text), &tokens, &mark, 1, &e), 0);
    assert_true(mark.token < tokens.count);
    assert_int_equal(
        tokenizer_decode(t, tokens.ids + mark.token, tokens.count - mark.token, false, &decoded, &e), 0);
    const char *found = decoded.data;
    while (*found == ' ')
        found++;
    if (strncmp(found, word, strlen(word)) != 0)
        fail_msg("%s: \"%s\" in \"%s\": token %zu begins \"%s\"", directory, word, text, mark.token, found);
    token_list_fini(&tokens);
    buf_fini(&decoded);
    tokenizer_close(t);
}

static void tokens_are_found_in_the_text(void **state)
{
    (void)state;
    static const char *const tokenizers[] = {"gpt2", "llama2", "llama3", "metaspace", "qwen2", "digits"};
    static const char *const texts[] = {"Hello there", "  Hello   there ", "Zoe\xCC\x81 says hi there",
                                        "\xE2\x9A\x93\xE4\xBD\xA0\n\nthere", "a <s> b </s> there"};
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++)
        for (size_t j = 0; j < sizeof texts / sizeof *texts; j++)
            expect_aligned(fixture_path("tokenizers/%s", tokenizers[i]), texts[j], "there");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_refused_with_their_line_or_taken),
        cmocka_unit_test(lines_are_refused_with_a_reason),
        cmocka_unit_test(lines_that_look_odd_are_taken),
        cmocka_unit_test(a_file_has_one_kind),
        cmocka_unit_test(lines_are_bounded),
        cmocka_unit_test(memory_does_not_grow_with_the_file),
        cmocka_unit_test(reading_can_be_ended),
        cmocka_unit_test(the_assistants_turns_are_learnt),
        cmocka_unit_test(options_say_what_is_learnt),
        cmocka_unit_test(preferences_learn_both_answers),
        cmocka_unit_test(numbers_are_kept),
        cmocka_unit_test(what_the_job_cannot_use_is_refused),
        cmocka_unit_test(tokens_are_found_in_the_text),
    };
    return cmocka_run_group_tests_name("dataset", tests, set_up, tear_down);
}

/* Files to train with: an upload refuses or takes them whatever pieces they come in, and what a job makes of
 * a file that was taken is within the base's bounds. */
#include <string.h>

#include "adapters/training/dataset/dataset.h"
#include "tests/fuzz/support/fuzz.h"

enum { CONTEXT = 512 };

static const char template[] =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ m.tool_calls }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

static bool check(const uint8_t *data, size_t size, size_t step, struct dataset_summary *out, struct err *e)
{
    struct dataset_check *c;
    fuzz_check(dataset_check_new(&c, e) == 0);
    int result = 0;
    for (size_t at = 0; at < size && result == 0; at += step)
        result = dataset_check_feed(c, data + at, size - at < step ? size - at : step, e);
    if (result == 0)
        result = dataset_check_finish(c, out, e);
    dataset_check_free(c);
    fuzz_check(result == 0 || strcmp(e->code, "invalid_training_file") == 0);
    return result == 0;
}

static void check_sequence(const struct train_sequence *s, const struct model_info *info)
{
    int targets = 0;
    fuzz_check(s->count >= 0 && s->count <= CONTEXT);
    for (int i = 0; i < s->count; i++) {
        fuzz_check(s->tokens[i] >= 0 && s->tokens[i] < info->vocab_size);
        fuzz_check(s->labels[i] == TRAIN_NO_LABEL || (s->labels[i] >= 0 && s->labels[i] < info->vocab_size));
        targets += i > 0 && s->labels[i] != TRAIN_NO_LABEL;
    }
    fuzz_check(targets == s->targets);
}

static void read_all(int fd, const struct encode_options *o)
{
    struct dataset *d;
    struct train_line line;
    struct err e;
    if (dataset_open(&d, fd, "/tmp", o, NULL, &e) != 0) {
        fuzz_check(strcmp(e.code, "invalid_training_file") == 0);
        return;
    }
    for (size_t i = 0; i < d->data.count; i++) {
        fuzz_check(d->data.line(&d->data, i, &line, &e) == 0);
        check_sequence(&line.sequence, o->info);
        check_sequence(&line.rejected, o->info);
        fuzz_check(line.class < o->info->vocab_size);
    }
    dataset_close(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tokenizer *tokenizer;
    static struct chat *chat;
    static struct model_info language = {.context_length = CONTEXT, .eos = {0}, .eos_count = 1};
    static const struct model_info numbers = {.numeric = true, .input_size = 2, .vocab_size = 3};
    struct dataset_summary whole = {0}, pieces = {0};
    struct err e, other;
    if (!tokenizer) {
        fuzz_check(tokenizer_open(&tokenizer, "tests/fixtures/models/qwen2", TOKENIZER_OF_FILE, &e) == 0);
        fuzz_write("chat_template.jinja", (const uint8_t *)template, sizeof template - 1);
        fuzz_check(chat_open(&chat, fuzz_directory(), &e) == 0);
        language.vocab_size = tokenizer_vocab_size(tokenizer);
    }
    bool taken = check(data, size, size + 1, &whole, &e);
    fuzz_check(check(data, size, 5, &pieces, &other) == taken);
    fuzz_check(taken ? whole.examples == pieces.examples : strcmp(e.message, other.message) == 0);
    struct encode_options o = {.info = whole.kind == EXAMPLE_NUMBERS ? &numbers : &language,
                               .tokenizer = tokenizer,
                               .chat = chat,
                               .method = whole.kind == EXAMPLE_PAIR ? TRAIN_DPO : TRAIN_SUPERVISED,
                               .loss = size % 2 ? TRAIN_CROSS_ENTROPY : TRAIN_MSE,
                               .turns = (enum encode_turns)(size % 3),
                               .max_length = size % 5 ? 0 : 7};
    if (taken)
        read_all(fuzz_file(data, size), &o);
    return 0;
}

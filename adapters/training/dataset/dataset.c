#include "adapters/training/dataset/dataset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/training/dataset/jsonl.h"
#include "adapters/training/dataset/spool.h"

static const char CODE[] = "invalid_training_file";

static int no_examples(struct err *e)
{
    return err_set(e, CODE, "the file has no examples: every line of it is blank");
}

/* ---- the lines as such ---- */

struct dataset_check {
    struct jsonl lines;
    struct dataset_summary summary;
    size_t first; /* line of the first example, which says what the file is of */
};

static int check_kinds(struct dataset_check *c, enum example_kind kind, size_t number, struct err *e)
{
    struct dataset_summary *s = &c->summary;
    if (s->examples == 0) {
        s->kind = kind;
        c->first = number;
    }
    if (kind == s->kind)
        return 0;
    return err_set(e, CODE, "this is %s, but line %zu is %s: a file has one kind", example_kind_name(kind),
                   c->first, example_kind_name(s->kind));
}

static int check_line(void *arg, size_t number, const char *text, size_t length, struct err *e)
{
    struct dataset_check *c = arg;
    struct example x;
    if (example_read(&x, text, length, e) != 0)
        return jsonl_error(e, number);
    int result = check_kinds(c, example_kind(x.form), number, e);
    example_fini(&x);
    c->summary.examples++;
    return result == 0 ? 0 : jsonl_error(e, number);
}

int dataset_check_new(struct dataset_check **out, struct err *e)
{
    struct dataset_check *c = calloc(1, sizeof *c);
    if (!c)
        return err_memory(e);
    c->lines = (struct jsonl){.line = check_line, .arg = c};
    *out = c;
    return 0;
}

int dataset_check_feed(struct dataset_check *c, const void *bytes, size_t length, struct err *e)
{
    return jsonl_feed(&c->lines, bytes, length, e);
}

int dataset_check_finish(struct dataset_check *c, struct dataset_summary *out, struct err *e)
{
    if (jsonl_finish(&c->lines, e) != 0)
        return -1;
    if (c->summary.examples == 0)
        return no_examples(e);
    c->summary.lines = c->lines.ended;
    *out = c->summary;
    return 0;
}

void dataset_check_free(struct dataset_check *c)
{
    if (!c)
        return;
    jsonl_fini(&c->lines);
    free(c);
}

/* ---- what is kept of a line ---- */

/* Followed by tokens and labels, and those of the rejected answer; or by inputs and targets. */
struct record {
    int32_t count, targets;
    int32_t rejected_count, rejected_targets;
    int32_t inputs, outputs, class;
};

struct kept { /* the first member is what callers have */
    struct dataset dataset;
    const struct encode_options *options; /* while it is made */
    const atomic_bool *stop;
    struct encoded encoded;
    struct spool records, index; /* the index: where each record begins, uint64 */
};

static int32_t count_targets(const struct encoded_sequence *s)
{
    int32_t targets = 0;
    for (size_t i = 1; i < s->labels.count; i++)
        targets += s->labels.ids[i] != TRAIN_NO_LABEL;
    return targets;
}

static struct record record_of(const struct encode_options *o, const struct encoded *x)
{
    if (o->info->numeric)
        return (struct record){.inputs = o->info->input_size,
                               .outputs = x->has_target ? o->info->vocab_size : 0,
                               .class = x->class};
    return (struct record){.count = (int32_t)x->sequence.tokens.count,
                           .targets = count_targets(&x->sequence),
                           .rejected_count = (int32_t)x->rejected.tokens.count,
                           .rejected_targets = count_targets(&x->rejected),
                           .class = -1};
}

static int write_sequence(struct spool *s, const struct encoded_sequence *x, struct err *e)
{
    size_t bytes = x->tokens.count * sizeof *x->tokens.ids;
    return bytes == 0 || (spool_write(s, x->tokens.ids, bytes, e) == 0 &&
                          spool_write(s, x->labels.ids, bytes, e) == 0)
               ? 0
               : -1;
}

static int write_record(struct kept *k, const struct record *r, struct err *e)
{
    const struct encoded *x = &k->encoded;
    uint64_t at = k->records.bytes;
    if (spool_write(&k->index, &at, sizeof at, e) != 0 || spool_write(&k->records, r, sizeof *r, e) != 0 ||
        write_sequence(&k->records, &x->sequence, e) != 0 ||
        write_sequence(&k->records, &x->rejected, e) != 0)
        return -1;
    if (r->inputs > 0 && spool_write(&k->records, x->input, (size_t)r->inputs * sizeof *x->input, e) != 0)
        return -1;
    return r->outputs > 0 ? spool_write(&k->records, x->target, (size_t)r->outputs * sizeof *x->target, e)
                          : 0;
}

static void count_record(struct kept *k, const struct record *r, size_t number)
{
    struct dataset *d = &k->dataset;
    d->data.count++;
    d->data.tokens += r->count + r->rejected_count;
    if (r->count > d->data.longest)
        d->data.longest = r->count;
    if (r->rejected_count > d->data.longest)
        d->data.longest = r->rejected_count;
    d->targets += k->options->info->numeric ? 1 : r->targets + r->rejected_targets;
    d->cut += k->encoded.cut;
    if (k->encoded.last_turn_only && d->last_turn_only++ == 0)
        d->last_turn_line = number;
}

static int keep_line(void *arg, size_t number, const char *text, size_t length, struct err *e)
{
    struct kept *k = arg;
    struct example x;
    if (example_read(&x, text, length, e) != 0)
        return jsonl_error(e, number);
    int result = encode_example(k->options, &x, &k->encoded, e);
    example_fini(&x);
    if (result != 0)
        return jsonl_error(e, number);
    struct record r = record_of(k->options, &k->encoded);
    if (write_record(k, &r, e) != 0)
        return -1;
    count_record(k, &r, number);
    return 0;
}

/* ---- reading what was kept ---- */

static struct train_sequence sequence_at(const int32_t *at, int32_t count, int32_t targets)
{
    return (struct train_sequence){.tokens = at, .labels = at + count, .count = count, .targets = targets};
}

static int get_line(const struct train_data *d, size_t index, struct train_line *out, struct err *e)
{
    const struct kept *k = (const struct kept *)d; /* the first member of its first member */
    (void)e;
    const char *at = (const char *)k->records.map + ((const uint64_t *)k->index.map)[index];
    const struct record *r = (const struct record *)at;
    const int32_t *tokens = (const int32_t *)(at + sizeof *r);
    const float *input = (const float *)(at + sizeof *r);
    *out = (struct train_line){
        .sequence = sequence_at(tokens, r->count, r->targets),
        .rejected = sequence_at(tokens + 2 * (size_t)r->count, r->rejected_count, r->rejected_targets),
        .input = r->inputs ? input : NULL,
        .target = r->outputs ? input + r->inputs : NULL,
        .class = r->class};
    return 0;
}

/* ---- from the file ---- */

static int feed_file(struct kept *k, struct jsonl *lines, int fd, char *block, size_t size, struct err *e)
{
    for (off_t at = 0;;) {
        ssize_t got = pread(fd, block, size, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(e, "cannot read a training file");
        if (got == 0)
            return jsonl_finish(lines, e);
        if (k->stop && atomic_load(k->stop))
            return err_set(e, "cancelled", "the reading of a training file was ended");
        if (jsonl_feed(lines, block, (size_t)got, e) != 0)
            return -1;
        at += got;
    }
}

static int read_file(struct kept *k, int fd, struct err *e)
{
    enum { BLOCK_BYTES = 256 << 10 };
    struct jsonl lines = {.line = keep_line, .arg = k};
    char *block = malloc(BLOCK_BYTES);
    int result = block ? feed_file(k, &lines, fd, block, BLOCK_BYTES, e) : err_memory(e);
    free(block);
    jsonl_fini(&lines);
    return result;
}

static int check_whole(const struct dataset *d, struct err *e)
{
    if (d->data.count == 0)
        return no_examples(e);
    return d->targets > 0 ? 0
                          : err_set(e, CODE,
                                    "the file has nothing to learn: no token of it is a target with "
                                    "something before it");
}

static int fill(struct kept *k, int fd, const char *directory, struct err *e)
{
    if (spool_open(&k->records, directory, e) != 0 || spool_open(&k->index, directory, e) != 0 ||
        read_file(k, fd, e) != 0 || check_whole(&k->dataset, e) != 0 || spool_map(&k->records, e) != 0 ||
        spool_map(&k->index, e) != 0)
        return -1;
    k->options = NULL;
    k->stop = NULL;
    encoded_fini(&k->encoded);
    return 0;
}

int dataset_open(struct dataset **out, int fd, const char *directory, const struct encode_options *o,
                 const atomic_bool *stop, struct err *e)
{
    struct kept *k = calloc(1, sizeof *k);
    if (!k)
        return err_memory(e);
    *k = (struct kept){
        .dataset.data.line = get_line, .options = o, .stop = stop, .records.fd = -1, .index.fd = -1};
    if (fill(k, fd, directory, e) != 0) {
        dataset_close(&k->dataset);
        return -1;
    }
    *out = &k->dataset;
    return 0;
}

void dataset_close(struct dataset *d)
{
    if (!d)
        return;
    struct kept *k = (struct kept *)d;
    encoded_fini(&k->encoded);
    spool_close(&k->records);
    spool_close(&k->index);
    free(k);
}

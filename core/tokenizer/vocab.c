#include "core/tokenizer/vocab.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a with a final mix, so that the low bits that choose the slot depend on every byte. */
static uint64_t hash_string(const char *text, size_t length)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001B3u;
    hash ^= hash >> 32;
    hash *= 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

static uint64_t hash_pair(int32_t left, int32_t right)
{
    uint64_t hash = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    hash *= 0xD6E8FEB86659FD93u;
    return hash ^ hash >> 29;
}

/* A power of two that keeps the table at most half full. */
static size_t slots_for(size_t count)
{
    size_t slots = 16;
    while (slots < count * 2)
        slots *= 2;
    return slots;
}

int vocab_init(struct vocab *v, size_t count, size_t size, struct err *e)
{
    *v = (struct vocab){.size = size, .slot_count = slots_for(count)};
    v->entries = malloc((size ? size : 1) * sizeof *v->entries);
    v->slots = malloc(v->slot_count * sizeof *v->slots);
    if (!v->entries || !v->slots) {
        vocab_fini(v);
        return err_memory(e);
    }
    for (size_t i = 0; i < size; i++)
        v->entries[i] = (struct vocab_entry){0, (uint32_t)VOCAB_ABSENT};
    memset(v->slots, 0xFF, v->slot_count * sizeof *v->slots);
    return 0;
}

const char *vocab_string(const struct vocab *v, int32_t id, size_t *length)
{
    if (id < 0 || (size_t)id >= v->size || v->entries[id].length == (uint32_t)VOCAB_ABSENT)
        return NULL;
    *length = v->entries[id].length;
    return v->strings.data + v->entries[id].offset;
}

/* The slot that holds the string, or the free one where it would go. */
static int32_t *find_slot(const struct vocab *v, const char *text, size_t length)
{
    size_t mask = v->slot_count - 1, at = hash_string(text, length) & mask;
    for (;; at = (at + 1) & mask) {
        int32_t id = v->slots[at];
        if (id < 0 || (v->entries[id].length == length &&
                       memcmp(v->strings.data + v->entries[id].offset, text, length) == 0))
            return &v->slots[at];
    }
}

int vocab_add(struct vocab *v, const char *text, size_t length, int64_t id, struct err *e)
{
    if (id < 0 || (uint64_t)id >= v->size)
        return err_set(e, "tokenizer_malformed", "vocab: the id of \"%.*s\" is %lld, expected 0 to %zu",
                       (int)(length < 64 ? length : 64), text, (long long)id, v->size - 1);
    if (v->entries[id].length != (uint32_t)VOCAB_ABSENT)
        return err_set(e, "tokenizer_malformed", "vocab: id %lld is there twice", (long long)id);
    int32_t *slot = find_slot(v, text, length);
    if (*slot >= 0)
        return err_set(e, "tokenizer_malformed", "vocab: \"%.*s\" is there twice",
                       (int)(length < 64 ? length : 64), text);
    size_t offset = v->strings.length;
    if (buf_append(&v->strings, text, length) != 0)
        return err_memory(e);
    v->entries[id] = (struct vocab_entry){(uint32_t)offset, (uint32_t)length};
    *slot = (int32_t)id;
    v->count++;
    if (length > v->longest)
        v->longest = length;
    return 0;
}

int32_t vocab_find(const struct vocab *v, const char *text, size_t length)
{
    return length > v->longest ? -1 : *find_slot(v, text, length);
}

void vocab_fini(struct vocab *v)
{
    buf_fini(&v->strings);
    free(v->entries);
    free(v->slots);
    *v = (struct vocab){0};
}

int merges_init(struct merges *m, size_t count, struct err *e)
{
    m->slot_count = slots_for(count);
    m->slots = malloc(m->slot_count * sizeof *m->slots);
    if (!m->slots)
        return err_memory(e);
    for (size_t i = 0; i < m->slot_count; i++)
        m->slots[i] = (struct merge){.left = -1};
    return 0;
}

static struct merge *merge_slot(const struct merges *m, int32_t left, int32_t right)
{
    size_t mask = m->slot_count - 1, at = hash_pair(left, right) & mask;
    while (m->slots[at].left >= 0 && (m->slots[at].left != left || m->slots[at].right != right))
        at = (at + 1) & mask;
    return &m->slots[at];
}

void merges_add(struct merges *m, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    *merge_slot(m, left, right) = (struct merge){left, right, rank, id};
}

const struct merge *merges_find(const struct merges *m, int32_t left, int32_t right)
{
    const struct merge *slot = merge_slot(m, left, right);
    return slot->left >= 0 ? slot : NULL;
}

void merges_fini(struct merges *m)
{
    free(m->slots);
    *m = (struct merges){0};
}

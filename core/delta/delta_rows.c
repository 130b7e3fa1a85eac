/* Single rows of a matrix in the place of the base's. */
#include <string.h>

#include "core/delta/delta_internal.h"
#include "core/model/model.h"

static size_t row_size(const struct parameter *s, bool bf16)
{
    return (size_t)s->cols * (bf16 ? sizeof(uint16_t) : sizeof(float));
}

/* Earlier rows with the same values, or NULL: the two sides of a tied base have them once in memory. */
static const struct delta_rows *same_before(const struct delta_source *s, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (s->rows[i].values == s->rows[index].values)
            return &s->rows[i];
    return NULL;
}

void delta_rows_size(const struct model *m, const struct delta_source *s, size_t *at)
{
    size_t ignored;
    const struct parameter *parameters = model_parameters(m, &ignored);
    bool bf16 = model_info(m)->precision != PRECISION_EXACT;
    for (size_t i = 0; i < s->rows_count; i++) {
        const struct delta_rows *r = &s->rows[i];
        if (same_before(s, i))
            continue;
        delta_carve(NULL, at, (size_t)r->count * sizeof *r->index);
        delta_carve(NULL, at, (size_t)r->count * row_size(&parameters[r->parameter], bf16));
    }
}

static int fill(struct delta *d, const struct parameter *parameter, const struct delta_rows *r, size_t *at,
                struct err *e)
{
    int32_t *index = delta_carve(d, at, (size_t)r->count * sizeof *index);
    void *values = delta_carve(d, at, (size_t)r->count * row_size(parameter, d->bf16));
    memcpy(index, r->index, (size_t)r->count * sizeof *index);
    if (!delta_put(d, values, 0, r->values, (size_t)r->count * (size_t)parameter->cols))
        return err_set(e, "adapter_not_finite", "%.200s: a value of its rows does not fit bf16",
                       parameter->path);
    d->rows[r->parameter] = (struct own_rows){.index = index,
                                              .values = {.dtype = d->bf16 ? DTYPE_BF16 : DTYPE_F32,
                                                         .rows = r->count,
                                                         .cols = parameter->cols,
                                                         .data = values}};
    return 0;
}

int delta_rows_fill(struct delta *d, const struct model *m, const struct delta_source *s, size_t *at,
                    struct err *e)
{
    size_t ignored;
    const struct parameter *parameters = model_parameters(m, &ignored);
    for (size_t i = 0; i < s->rows_count; i++) {
        const struct delta_rows *r = &s->rows[i], *same = same_before(s, i);
        if (same)
            d->rows[r->parameter] = d->rows[same->parameter];
        else if (fill(d, &parameters[r->parameter], r, at, e) != 0)
            return -1;
    }
    return 0;
}

int own_rows_from(const struct own_rows *r, int index)
{
    int low = 0, high = r->values.rows;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (r->index[middle] < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool delta_row(const struct delta *d, int parameter, int index, float *out)
{
    const struct own_rows *r = delta_own_rows(d, parameter);
    int place = r ? own_rows_from(r, index) : 0;
    if (!r || place == r->values.rows || r->index[place] != index)
        return false;
    matrix_row(&r->values, place, out);
    return true;
}

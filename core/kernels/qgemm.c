#include "core/kernels/qgemm.h"

#include "core/format/half.h"
#include "core/kernels/cpu.h"

static int get(enum qgemm_bits bits, const uint8_t *panel, int lane, int k)
{
    uint8_t byte = panel[r16_byte(bits, lane, k)];
    if (bits == R16_INT8)
        return byte - 128;
    return (k / 4 % 2 ? byte >> 4 : byte & 15) - 8;
}

size_t qgemm_bytes(enum qgemm_bits bits, int rows, int cols)
{
    size_t panels = (size_t)(rows + R16_ROWS - 1) / R16_ROWS, padded = (size_t)r16_pad(cols);
    size_t scales = padded / (size_t)r16_group(bits) * R16_ROWS * sizeof(uint16_t);
    return panels * (r16_panel_bytes(bits, (int)padded) + scales);
}

void qgemm_view(struct packed *out, enum qgemm_bits bits, int rows, int cols, const void *memory)
{
    int panels = (rows + R16_ROWS - 1) / R16_ROWS, padded = r16_pad(cols);
    const uint8_t *q = memory;
    *out = (struct packed){
        .bits = bits, .rows = rows, .cols = cols, .panels = panels, .cols_padded = padded, .q = q};
    out->scale = (const uint16_t *)(q + (size_t)panels * r16_panel_bytes(bits, padded));
}

void qgemm_pack(const struct packed *p, const struct matrix *w, int begin, int end, float *scratch)
{
    const struct qgemm_kernels *k = cpu_kernels()->qgemm;
    for (int row = begin * R16_ROWS; row < end * R16_ROWS; row++) {
        if (row < w->rows)
            matrix_row(w, row, scratch);
        k->pack_row(p, row, row < w->rows ? scratch : NULL);
    }
}

void qgemm_unpack(const struct packed *p, int row, int begin, int end, float *out)
{
    int group = r16_group(p->bits), groups = p->cols_padded / group, panel = row / R16_ROWS,
        lane = row % R16_ROWS;
    const uint8_t *lines = p->q + (size_t)panel * r16_panel_bytes(p->bits, p->cols_padded);
    const uint16_t *scales = p->scale + (size_t)panel * (size_t)groups * R16_ROWS;
    for (int k = begin, next; k < end; k = next) {
        float scale = half_widen(scales[k / group * R16_ROWS + lane]);
        next = (k / group + 1) * group < end ? (k / group + 1) * group : end;
        for (; k < next; k++)
            *out++ = scale * (float)get(p->bits, lines, lane, k);
    }
}

void qgemm_unpack_row(const struct packed *p, int row, float *out)
{
    qgemm_unpack(p, row, 0, p->cols, out);
}

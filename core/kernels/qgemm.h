/* Packing weights into the layout R16 (r16.h), and back. Any thread.
 *
 * A product sums each group in exact integers and adds the groups in order, so a token's result does not
 * depend on how many tokens share the call; the kernels are in the table, cpu_kernels()->qgemm. */
#pragma once
#include "core/kernels/kernels.h"
#include "core/kernels/r16.h"

/* Bytes that a packed matrix takes: its lines, then its scales. */
size_t qgemm_bytes(enum qgemm_bits bits, int rows, int cols);
/* Lay the view over memory of qgemm_bytes, aligned to 64. */
void qgemm_view(struct packed *out, enum qgemm_bits bits, int rows, int cols, const void *memory);
/* Quantize the rows of panels [begin, end) of `w` into the memory under the view. scratch: [w->cols]
 * floats. */
void qgemm_pack(const struct packed *p, const struct matrix *w, int begin, int end, float *scratch);
/* Columns [begin, end) of one row, back as f32; a whole row [cols]. */
void qgemm_unpack(const struct packed *p, int row, int begin, int end, float *out);
void qgemm_unpack_row(const struct packed *p, int row, float *out);

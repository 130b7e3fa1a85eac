/* Numbers as JSON, written without a value for each in memory. */
#include <string.h>

#include "server/http/reply.h"
#include "server/numbers/numbers.h"

int numbers_print(const float *x, size_t count, struct buf *out)
{
    int failed = buf_append_string(out, "[");
    for (size_t i = 0; i < count && !failed; i++)
        failed = buf_printf(out, "%s%.9g", i ? "," : "", (double)x[i]);
    return failed ? -1 : buf_append_string(out, "]");
}

/* ---- base64, RFC 4648 ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Up to three bytes. */
static void encode_group(const uint8_t *in, size_t count, char out[4])
{
    uint32_t bits = (uint32_t)in[0] << 16 | (count > 1 ? (uint32_t)in[1] << 8 : 0) | (count > 2 ? in[2] : 0u);
    for (size_t i = 0; i < 4; i++)
        out[i] = i <= count ? digits[bits >> (18 - 6 * i) & 63] : '=';
}

static int print_base64(const uint8_t *bytes, size_t count, struct buf *out)
{
    char group[4];
    if (buf_reserve(out, count / 3 * 4 + 8) != 0)
        return -1;
    for (size_t at = 0; at < count; at += 3) {
        encode_group(bytes + at, count - at < 3 ? count - at : 3, group);
        if (buf_append(out, group, sizeof group) != 0)
            return -1;
    }
    return 0;
}

int numbers_print_base64(const float *x, size_t count, struct buf *out)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are written as they lie in memory");
    if (buf_append_string(out, "\"") != 0 || print_base64((const uint8_t *)x, count * sizeof *x, out) != 0)
        return -1;
    return buf_append_string(out, "\"");
}

/* ---- the rest of an answer ---- */

static int append(const char *bytes, size_t length, void *out)
{
    return buf_append(out, bytes, length);
}

int numbers_print_json(json_t *value, struct buf *out)
{
    int failed = !value || json_dump_callback(value, append, out, JSON_ENCODE_ANY | REPLY_JSON_FLAGS) != 0;
    json_decref(value);
    return failed ? -1 : 0;
}

int numbers_print_text(const char *text, struct buf *out)
{
    return numbers_print_json(json_string(text), out);
}

int numbers_print_end(const struct inference *q, struct buf *out)
{
    long long tokens = inference_prompt_tokens(q), cached = inference_cached_tokens(q);
    if (buf_append_string(out, ",\"model\":") != 0 ||
        numbers_print_text(q->part_count ? q->parts[0].reference : q->r->server->model_name, out) != 0)
        return -1;
    return buf_printf(out,
                      ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld,"
                      "\"prompt_tokens_details\":{\"cached_tokens\":%lld}}",
                      tokens, tokens, cached);
}

#include "server/wire/strict.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/hex.h"

enum state {
    BEFORE, /* a request; empty lines may stand there */
    BEFORE_LF,
    METHOD,
    TARGET,
    VERSION,
    VERSION_LF,
    LINE, /* the first byte of a header's line, or of a trailer's */
    NAME,
    VALUE,
    VALUE_LF,
    HEAD_LF, /* of the empty line */
    BODY,
    CHUNK_SIZE,
    CHUNK_SPACE, /* which may stand before an extension */
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_CR,
    CHUNK_LF,
    DONE /* nothing is looked at any more */
};

/* RFC 9110, 5.6.2 */
static bool is_token(unsigned char c)
{
    return isalnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* What may stand in a value: no control characters but the tab. */
static bool is_text(unsigned char c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static int problem(struct strict *s, const char *what)
{
    s->problem = what;
    s->problem_of = s->requests ? s->requests : 1;
    return DONE;
}

static int expect(struct strict *s, bool there, int next, const char *what)
{
    return there ? next : problem(s, what);
}

/* ---- heads ---- */

static int begin(struct strict *s, unsigned char c)
{
    s->requests++;
    s->lengths = s->codings = 0;
    s->left = 0;
    s->unclear = s->trailer = false;
    return expect(s, is_token(c), METHOD, "the method is not a token");
}

static int read_target(struct strict *s, unsigned char c)
{
    if (c == ' ')
        return VERSION;
    if (c == '\r')
        return VERSION_LF; /* no version: framing.c refuses it, or the library */
    return expect(s, c > 0x20 && c != 0x7f, TARGET, "the address holds a control character");
}

static int read_line(struct strict *s, unsigned char c)
{
    s->name_length = s->value_length = 0;
    if (c == '\r')
        return HEAD_LF;
    if (c == ' ' || c == '\t')
        return problem(s, "a header is folded over lines");
    s->name[s->name_length++] = (char)c;
    return expect(s, is_token(c), NAME, "the name of a header is not a token");
}

static int read_name(struct strict *s, unsigned char c)
{
    if (c != ':') {
        if (s->name_length < STRICT_TEXT_BYTES)
            s->name[s->name_length] = (char)c;
        s->name_length++;
        return expect(s, is_token(c), NAME, "the name of a header is not a token");
    }
    s->name[s->name_length < STRICT_TEXT_BYTES ? s->name_length : STRICT_TEXT_BYTES] = '\0';
    /* Of all values these alone, which tell nothing of anybody. */
    s->kept = !s->trailer &&
              (strcasecmp(s->name, "Content-Length") == 0 || strcasecmp(s->name, "Transfer-Encoding") == 0);
    return VALUE;
}

static int read_value(struct strict *s, unsigned char c)
{
    if (c == '\r')
        return VALUE_LF;
    if (!is_text(c))
        return problem(
            s, c ? "the value of a header holds a control character, or its line ends in a bare line feed"
                 : "the value of a header holds a NUL");
    if (!s->kept || (s->value_length == 0 && (c == ' ' || c == '\t')))
        return VALUE;
    if (s->value_length < STRICT_TEXT_BYTES)
        s->value[s->value_length] = (char)c;
    s->value_length++;
    return VALUE;
}

static void trim_value(struct strict *s)
{
    if (s->value_length > STRICT_TEXT_BYTES) { /* longer than whatever means something here */
        s->unclear = true;
        s->value_length = 0;
    }
    while (s->value_length && strchr(" \t", s->value[s->value_length - 1]))
        s->value_length--;
    s->value[s->value_length] = '\0';
}

/* The line is complete: does it say how long the body is? */
static int end_value(struct strict *s)
{
    bool length = strcasecmp(s->name, "Content-Length") == 0;
    if (!s->kept)
        return LINE;
    trim_value(s);
    if (length) {
        s->lengths++;
        s->left = strtoull(s->value, NULL, 10);
        s->unclear |=
            !s->value[0] || strspn(s->value, "0123456789") != s->value_length || s->value_length > 18;
    } else {
        s->codings++;
        s->unclear |= strcasecmp(s->value, "chunked") != 0;
    }
    return LINE;
}

static int end_head(struct strict *s)
{
    if (s->trailer)
        return BEFORE;
    if (s->unclear || s->lengths + s->codings > 1)
        return DONE;
    s->digits = 0;
    if (s->codings) {
        s->left = 0;
        return CHUNK_SIZE;
    }
    return s->left ? BODY : BEFORE;
}

/* ---- chunks ---- */

static int read_size(struct strict *s, unsigned char c)
{
    int digit = hex_digit((char)c);
    if (digit >= 0) {
        if (s->left >> 60)
            return DONE; /* no body is that large: the library refuses it */
        s->digits++;
        s->left = 16 * s->left + (uint64_t)digit;
        return CHUNK_SIZE;
    }
    if (s->digits == 0)
        return problem(s, "the size of a chunk is not a number");
    return c == '\r'   ? CHUNK_SIZE_LF
           : c == ';'  ? CHUNK_EXTENSION
           : c == ' '  ? CHUNK_SPACE
           : c == '\t' ? CHUNK_SPACE
                       : problem(s, "the size of a chunk must end in CR LF");
}

static int read_extension(struct strict *s, unsigned char c)
{
    if (c == '\r')
        return CHUNK_SIZE_LF;
    return expect(s, is_text(c), CHUNK_EXTENSION, "the extension of a chunk holds a control character");
}

static int end_size(struct strict *s)
{
    s->digits = 0;
    s->trailer = s->left == 0;
    return s->trailer ? LINE : CHUNK_DATA;
}

/* ---- all of it ---- */

static int step(struct strict *s, unsigned char c)
{
    switch (s->state) {
    case BEFORE:
        return c == '\r' ? BEFORE_LF : begin(s, c);
    case BEFORE_LF:
        return c == '\n' ? BEFORE : begin(s, '\r');
    case METHOD:
        return c == ' ' ? TARGET : expect(s, is_token(c), METHOD, "the method is not a token");
    case TARGET:
        return read_target(s, c);
    case VERSION:
        return c == '\r' ? VERSION_LF : expect(s, is_text(c), VERSION, "the request line must end in CR LF");
    case VERSION_LF:
        return expect(s, c == '\n', LINE, "the request line must end in CR LF");
    case LINE:
        return read_line(s, c);
    case NAME:
        return read_name(s, c);
    case VALUE:
        return read_value(s, c);
    case VALUE_LF:
        return c == '\n' ? end_value(s) : problem(s, "the line of a header must end in CR LF");
    case HEAD_LF:
        return c == '\n' ? end_head(s) : problem(s, "the headers must end in CR LF");
    case CHUNK_SIZE:
        return read_size(s, c);
    case CHUNK_SPACE:
        return c == ' ' || c == '\t'
                   ? CHUNK_SPACE
                   : expect(s, c == ';', CHUNK_EXTENSION, "the size of a chunk must end in CR LF");
    case CHUNK_EXTENSION:
        return read_extension(s, c);
    case CHUNK_SIZE_LF:
        return c == '\n' ? end_size(s) : problem(s, "the size of a chunk must end in CR LF");
    case CHUNK_CR:
        return expect(s, c == '\r', CHUNK_LF, "a chunk is longer than its size says");
    case CHUNK_LF:
        return expect(s, c == '\n', CHUNK_SIZE, "a chunk must end in CR LF");
    default:
        return DONE;
    }
}

/* Of a body or a chunk, up to its end: how many bytes. */
static size_t pass_data(struct strict *s, uint64_t there)
{
    uint64_t count = s->left < there ? s->left : there;
    s->left -= count;
    if (s->left == 0)
        s->state = s->state == BODY ? BEFORE : CHUNK_CR;
    return (size_t)count;
}

/* One byte: what the library is to see of it, or nothing. Versions of it stumble over extensions, which mean
 * nothing here; and over NULs of a request that is refused, whose connection they would close without a
 * word. */
static size_t pass_byte(struct strict *s, char c, char *out)
{
    if (s->state != DONE)
        s->state = step(s, (unsigned char)c);
    *out = s->problem && !c ? '?' : c;
    return s->state != CHUNK_SPACE && s->state != CHUNK_EXTENSION;
}

size_t strict_read(struct strict *s, char *bytes, size_t length)
{
    char *out = bytes;
    for (size_t i = 0; i < length;) {
        if (s->state != BODY && s->state != CHUNK_DATA) {
            out += pass_byte(s, bytes[i++], out);
            continue;
        }
        size_t count = pass_data(s, length - i);
        if (out != bytes + i)
            memmove(out, bytes + i, count);
        out += count;
        i += count;
    }
    return (size_t)(out - bytes);
}

const char *strict_problem(const struct strict *s, uint32_t request)
{
    if (s->problem && request >= s->problem_of)
        return s->problem;
    return s->state != DONE && request > s->requests ? "the request could not be checked" : NULL;
}

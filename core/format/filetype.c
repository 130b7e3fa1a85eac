#include "core/format/filetype.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/base/utf8.h"

/* ---- pickles ---- */

static const char pickle_code[] = "pickle_refused";
static const char pickle_hint[] =
    "Pickles can run code and are never read. Save with model.save_pretrained(directory, "
    "safe_serialization=True), or convert with safetensors.torch.save_file(torch.load(file, "
    "weights_only=True), 'adapter_model.safetensors').";

bool filetype_is_pickle(const char *name)
{
    static const char *const endings[] = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t size = strlen(endings[i]);
        if (length > size && strcasecmp(name + length - size, endings[i]) == 0)
            return true;
    }
    return false;
}

int filetype_refuse_pickle(const char *what, struct err *e)
{
    err_set(e, pickle_code, "%.160s: a pickle; only safetensors are read", what);
    return err_hint(e, "%s", pickle_hint);
}

/* ---- by what a file begins with ---- */

static const char fetch_hint[] =
    "The download led to a page, perhaps a sign-in or an error. Fetch the file itself, signed in, and look "
    "at its size before uploading it.";
static const char unpack_hint[] = "Unpack it and upload the two files that are in it.";
static const char save_hint[] = "Save the adapter with save_pretrained of PEFT.";
static const char gguf_hint[] =
    "A LoRA in GGUF is uploaded without a config; a base is served from safetensors.";
static const char exchanged_hint[] =
    "Are config and weights exchanged? Or was a server's answer saved in the place of the file?";
static const char lfs_hint[] =
    "Its repository was cloned without the large files: run \"git lfs pull\" there, or download the file "
    "itself, and upload that.";

#define MAGIC(text) text, sizeof text - 1
static const struct kind {
    const char *magic;
    size_t length, offset;
    const char *what, *hint;
} kinds[] = {
    {MAGIC("version https://git-lfs.github.com/spec/"), 0, "a Git LFS pointer", lfs_hint},
    {MAGIC("version https://hawser.github.com/spec/"), 0, "a Git LFS pointer", lfs_hint},
    {MAGIC("\x1f\x8b"), 0, "a gzip archive", unpack_hint},
    {MAGIC("\xfd\x37zXZ\0"), 0, "an xz archive", unpack_hint},
    {MAGIC("\x28\xb5\x2f\xfd"), 0, "a zstd archive", unpack_hint},
    {MAGIC("BZh"), 0, "a bzip2 archive", unpack_hint},
    {MAGIC("7z\xbc\xaf\x27\x1c"), 0, "a 7z archive", unpack_hint},
    {MAGIC("Rar!\x1a\x07"), 0, "a RAR archive", unpack_hint},
    {MAGIC("ustar"), 257, "a tar archive", unpack_hint},
    {MAGIC("\x89HDF\r\n\x1a\n"), 0, "an HDF5 file", save_hint},
    {MAGIC("\x93NUMPY"), 0, "a NumPy array", save_hint},
    {MAGIC("GGUF"), 0, "a GGUF file", gguf_hint},
};

struct start {
    const unsigned char *bytes;
    size_t length;
};

static bool has(struct start s, size_t at, const char *magic, size_t length)
{
    return s.length >= at + length && memcmp(s.bytes + at, magic, length) == 0;
}

/* The names in a zip archive begin behind 30 bytes of its first entry. torch.save puts data.pkl there first;
 * what cannot be read is taken for that, too. */
static bool is_torch_zip(struct start s)
{
    if (s.length < 30)
        return true;
    size_t name = s.bytes[26] + 256u * s.bytes[27];
    return name == 0 || s.length - 30 < name || memmem(s.bytes + 30, name, ".pkl", 4);
}

static const char *pickle_kind(struct start s)
{
    if (has(s, 0, "PK\3\4", 4) && is_torch_zip(s))
        return "a zip archive as torch.save writes it";
    bool pickle = s.length >= 2 && s.bytes[0] == 0x80 && s.bytes[1] >= 2 && s.bytes[1] <= 5;
    return pickle ? "a Python pickle" : NULL;
}

static const struct kind *find_kind(struct start s)
{
    static const struct kind zip = {.what = "a zip archive", .hint = unpack_hint};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (has(s, kinds[i].offset, kinds[i].magic, kinds[i].length))
            return &kinds[i];
    return has(s, 0, "PK\3\4", 4) ? &zip : NULL;
}

/* ---- texts ---- */

static struct start skip(struct start s, size_t count)
{
    return (struct start){s.bytes + count, s.length - count};
}

static struct start skip_space(struct start s)
{
    if (has(s, 0, "\xef\xbb\xbf", 3))
        s = skip(s, 3);
    while (s.length > 0 && strchr(" \t\r\n", s.bytes[0]) && s.bytes[0])
        s = skip(s, 1);
    return s;
}

static bool begins(struct start s, const char *word)
{
    size_t length = strlen(word);
    return s.length >= length && strncasecmp((const char *)s.bytes, word, length) == 0;
}

/* A comment may stand before the first element; a declaration of XML before XHTML. */
static const char *markup_kind(struct start s)
{
    static const char *const html[] = {"<!doctype html", "<html", "<head",  "<body",
                                       "<title",         "<meta", "<script"};
    bool xml = begins(s, "<?xml") || begins(s, "<!--") || begins(s, "<error");
    for (size_t at = 0; at < s.length && (at == 0 || xml); at++)
        for (size_t i = 0; i < sizeof html / sizeof *html; i++)
            if (begins(skip(s, at), html[i]))
                return "an HTML page (a web page)";
    return xml ? "an XML document" : NULL;
}

static bool is_text(struct start s)
{
    for (size_t i = 0, size; i < s.length; i += size) {
        enum utf8_kind kind = utf8_next((const char *)s.bytes + i, s.length - i, &size);
        bool control = (s.bytes[i] < 0x20 && !strchr("\t\r\n", s.bytes[i])) || s.bytes[i] == 0x7F;
        if (kind == UTF8_INVALID || control || s.bytes[i] == 0)
            return false;
    }
    return s.length > 0;
}

/* A download that failed leaves the server's words. */
static int refuse_text(struct start s, const char *subject, const char *wanted, const char *code,
                       struct err *e)
{
    enum { QUOTED = 60 };
    bool json = s.bytes[0] == '{' || s.bytes[0] == '[';
    int length = s.length < QUOTED ? (int)s.length : QUOTED;
    err_set(e, code, "%s a %s, not %s; it begins with: %.*s", subject, json ? "JSON text" : "text", wanted,
            length, (const char *)s.bytes);
    return err_hint(e, "%s", json ? exchanged_hint : fetch_hint);
}

int filetype_refuse(const void *start, size_t length, bool text, const char *subject, const char *wanted,
                    const char *code, struct err *e)
{
    struct start s = {start, length < FILETYPE_BYTES ? length : FILETYPE_BYTES}, words = skip_space(s);
    const char *pickle = pickle_kind(s), *markup = markup_kind(words);
    const struct kind *kind = find_kind(s);
    if (pickle) {
        err_set(e, pickle_code, "%s %s, not %s", subject, pickle, wanted);
        return err_hint(e, "%s", pickle_hint);
    }
    if (kind || markup) {
        err_set(e, code, "%s %s, not %s", subject, kind ? kind->what : markup, wanted);
        return err_hint(e, "%s", kind ? kind->hint : fetch_hint);
    }
    return !text && words.length > 0 && is_text(words) ? refuse_text(words, subject, wanted, code, e) : 0;
}

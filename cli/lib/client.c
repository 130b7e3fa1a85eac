#include "cli/lib/client.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "cli/lib/interrupt.h"

enum { CONNECT_SECONDS = 10, CALL_SECONDS = 120, URL_BYTES_MAX = 1024, KEY_BYTES_MAX = 512 };

struct client {
    CURL *curl;
    char *url; /* without a slash at its end */
    struct curl_slist *headers, *json_headers;
    char code[64]; /* of the last refusal */
    char text[CURL_ERROR_SIZE];
};

/* What becomes of one answer's body: collected, or handed on while the status is 2xx. */
struct transfer {
    struct client *client;
    struct answer *answer;
    client_on_data *on_data; /* NULL: collect */
    void *arg;
    struct err *e;
    int failed; /* *e is filled */
};

void answer_fini(struct answer *a)
{
    buf_fini(&a->body);
    json_decref(a->json);
    *a = (struct answer){0};
}

const char *client_url(const struct client *c)
{
    return c->url;
}

static int check_url(const char *url, struct err *e)
{
    CURLU *u = curl_url();
    char *query = NULL, *user = NULL, *fragment = NULL;
    int good = u && (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) &&
               strlen(url) <= URL_BYTES_MAX && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
               curl_url_get(u, CURLUPART_QUERY, &query, 0) != CURLUE_OK &&
               curl_url_get(u, CURLUPART_USER, &user, 0) != CURLUE_OK &&
               curl_url_get(u, CURLUPART_FRAGMENT, &fragment, 0) != CURLUE_OK;
    curl_free(query);
    curl_free(user);
    curl_free(fragment);
    curl_url_cleanup(u);
    if (good)
        return 0;
    err_set(e, "usage", "the daemon's address must look like http://HOST:PORT, not \"%.200s\"", url);
    return err_hint(e, "it comes from --url or ADAPTERD_URL");
}

static int add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);
    if (longer)
        *list = longer;
    return longer ? 0 : -1;
}

static int add_key(struct client *c, const char *key, struct err *e)
{
    char header[KEY_BYTES_MAX + 32];
    size_t length = strlen(key);
    if (length > KEY_BYTES_MAX || strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                              "-._~+/=") != length) {
        err_set(e, "usage", "what was given as the API key is none: it has characters that keys do not have");
        return err_hint(e, "the key comes from --key-file or ADAPTERD_KEY");
    }
    snprintf(header, sizeof header, "Authorization: Bearer %s", key);
    int result = add_header(&c->headers, header) || add_header(&c->json_headers, header) ? err_memory(e) : 0;
    explicit_bzero(header, sizeof header);
    return result;
}

int client_open(struct client **out, const char *url, const char *key, struct err *e)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(e, "internal", "libcurl does not start");
    if (check_url(url, e) != 0)
        return -1;
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return err_memory(e);
    c->curl = curl_easy_init();
    c->url = strdup(url);
    if (!c->curl || !c->url || add_header(&c->json_headers, "Content-Type: application/json") ||
        add_header(&c->json_headers, "Expect:")) {
        client_close(c);
        return err_memory(e);
    }
    for (size_t n = strlen(c->url); n > 0 && c->url[n - 1] == '/'; n--)
        c->url[n - 1] = '\0';
    if (key && add_key(c, key, e) != 0) {
        client_close(c);
        return -1;
    }
    *out = c;
    return 0;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->headers);
    curl_slist_free_all(c->json_headers);
    free(c->url);
    free(c);
    curl_global_cleanup();
}

/* ---- one transfer ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t length = size * count;
    long status = 0;
    curl_easy_getinfo(t->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->on_data && status >= 200 && status < 300)
        t->failed = t->on_data(t->arg, data, length, t->e) != 0;
    else if (t->answer->body.length + length > CLIENT_ANSWER_BYTES_MAX)
        t->failed =
            err_set(t->e, "answer_too_large", "the answer is larger than %d bytes", CLIENT_ANSWER_BYTES_MAX);
    else if (buf_append(&t->answer->body, data, length) != 0)
        t->failed = err_memory(t->e);
    return t->failed ? CURL_WRITEFUNC_ERROR : length;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t total, curl_off_t sent)
{
    const struct client_form *f = arg;
    (void)down_total;
    (void)down;
    if (total > 0)
        f->progress(f->arg, (uint64_t)sent, (uint64_t)total);
    return 0;
}

/* Also called while nothing comes. */
static int on_wait(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    struct transfer *t = arg;
    (void)down_total, (void)down, (void)up_total, (void)up;
    t->failed = t->failed || interrupt_check(t->e) != 0;
    return t->failed;
}

static int begin(struct client *c, const char *path, struct transfer *t)
{
    char url[URL_BYTES_MAX + 4096];
    int length = snprintf(url, sizeof url, "%s%s", c->url, path);
    if (length < 0 || (size_t)length >= sizeof url)
        return err_set(t->e, "usage", "a name is too long");
    curl_easy_reset(c->curl);
    c->text[0] = '\0';
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(c->curl, CURLOPT_USERAGENT, "adapterctl/" ADAPTERD_VERSION);
    curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->text);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers);
    return 0;
}

static int transport_error(struct client *c, CURLcode code, struct err *e)
{
    long system_error = 0;
    curl_easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &system_error);
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST) {
        const char *why =
            code == CURLE_COULDNT_CONNECT && system_error ? strerror((int)system_error) : c->text;
        err_set(e, "unreachable", "cannot reach adapterd at %s: %s", c->url, why);
        return err_hint(e, "is it running there? --url or ADAPTERD_URL names another address");
    }
    return err_set(e, "transport", "talking to adapterd at %s failed: %s", c->url,
                   c->text[0] ? c->text : curl_easy_strerror(code));
}

static int parse_body(struct client *c, struct answer *a, struct err *e)
{
    json_error_t why;
    if (a->body.length == 0)
        return 0;
    a->json = json_loadb(a->body.data, a->body.length,
                         JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    if (a->json)
        return 0;
    err_set(e, "not_json", "%s answered %ld with something that is not JSON", c->url, a->status);
    return err_hint(e, "is that address an adapterd?");
}

/* A whole answer counts even when sending broke off: the daemon may refuse an upload before it has all of
 * it. */
static int perform(struct client *c, struct transfer *t)
{
    CURLcode code = curl_easy_perform(c->curl);
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &t->answer->status);
    if (t->failed)
        return -1;
    int refused_early = t->answer->status >= 400 && t->answer->body.length > 0;
    if (code != CURLE_OK && !refused_early)
        return transport_error(c, code, t->e);
    return parse_body(c, t->answer, t->e);
}

/* ---- refusals ---- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

int client_refusal(struct client *c, const json_t *error, struct err *e)
{
    snprintf(c->code, sizeof c->code, "%s", text_of(error, "code"));
    err_set(e, c->code, "%s", text_of(error, "message"));
    err_hint(e, "%s", text_of(error, "hint"));
    return err_param(e, text_of(error, "param"));
}

/* The daemon's hints name what HTTP clients send; here they name options. */
static void hint_in_own_words(long status, struct err *e)
{
    static const struct {
        const char *code, *hint;
    } hints[] = {
        {"tenant_required", "say whose with --tenant TENANT"},
        {"version_active", "activate another one first, or give --force: then the name means none"},
        {"adapter_no_effect", "was it saved after training, and trained for this base? --allow-no-effect "
                              "takes it as it is"},
    };
    if (status == 401)
        err_hint(e, "give the key with --key-file FILE or in ADAPTERD_KEY");
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (strcmp(e->code, hints[i].code) == 0)
            err_hint(e, "%s", hints[i].hint);
}

static int check_status(struct client *c, const struct answer *a, struct err *e)
{
    if (a->status >= 200 && a->status < 300)
        return 0;
    const json_t *error = json_object_get(a->json, "error");
    if (json_is_object(error) && *text_of(error, "message")) {
        client_refusal(c, error, e);
        hint_in_own_words(a->status, e);
        return -1;
    }
    err_set(e, "refused", "%s answered with HTTP status %ld", c->url, a->status);
    return err_hint(e, "is that address an adapterd?");
}

/* ---- requests ---- */

static int set_body(struct client *c, const char *method, const json_t *body, char **text, struct err *e)
{
    *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body && !*text)
        return err_memory(e);
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
    if (*text) {
        curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->json_headers);
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(*text));
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, *text);
    }
    return 0;
}

static int send_within(struct client *c, const char *method, const char *path, const json_t *body,
                       long seconds, struct answer *a, struct err *e)
{
    char *text = NULL;
    struct transfer t = {.client = c, .answer = a, .e = e};
    *a = (struct answer){0};
    if (begin(c, path, &t) != 0 || set_body(c, method, body, &text, e) != 0)
        return -1;
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, seconds); /* 0: for ever */
    int result = perform(c, &t);
    free(text);
    if (result != 0)
        answer_fini(a);
    return result;
}

int client_send(struct client *c, const char *method, const char *path, const json_t *body, struct answer *a,
                struct err *e)
{
    return send_within(c, method, path, body, CALL_SECONDS, a, e);
}

static int call_within(struct client *c, const char *method, const char *path, const json_t *body,
                       long seconds, struct answer *a, struct err *e)
{
    if (send_within(c, method, path, body, seconds, a, e) != 0)
        return -1;
    if (check_status(c, a, e) == 0)
        return 0;
    answer_fini(a);
    return -1;
}

int client_call(struct client *c, const char *method, const char *path, const json_t *body, struct answer *a,
                struct err *e)
{
    return call_within(c, method, path, body, CALL_SECONDS, a, e);
}

int client_call_long(struct client *c, const char *method, const char *path, const json_t *body,
                     struct answer *a, struct err *e)
{
    return call_within(c, method, path, body, 0, a, e);
}

static int stream(struct client *c, const char *method, const char *path, const json_t *body,
                  client_on_data *on_data, void *arg, struct err *e)
{
    char *text = NULL;
    struct answer a = {0};
    struct transfer t = {.client = c, .answer = &a, .on_data = on_data, .arg = arg, .e = e};
    if (begin(c, path, &t) != 0 || set_body(c, method, body, &text, e) != 0)
        return -1;
    curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION, on_wait);
    curl_easy_setopt(c->curl, CURLOPT_XFERINFODATA, &t);
    int result = perform(c, &t) != 0 || check_status(c, &a, e) != 0 ? -1 : 0;
    free(text);
    answer_fini(&a);
    return result;
}

int client_stream(struct client *c, const char *path, const json_t *body, client_on_data *on_data, void *arg,
                  struct err *e)
{
    return stream(c, "POST", path, body, on_data, arg, e);
}

int client_fetch(struct client *c, const char *path, client_on_data *on_data, void *arg, struct err *e)
{
    return stream(c, "GET", path, NULL, on_data, arg, e);
}

static int add_part(curl_mime *form, const struct client_part *p)
{
    if (!p->text && !p->path)
        return 0;
    curl_mimepart *part = curl_mime_addpart(form);
    if (!part || curl_mime_name(part, p->name) != CURLE_OK)
        return -1;
    if (p->text)
        return curl_mime_data(part, p->text, CURL_ZERO_TERMINATED) == CURLE_OK ? 0 : -1;
    return curl_mime_filedata(part, p->path) == CURLE_OK &&
                   curl_mime_filename(part, p->filename) == CURLE_OK &&
                   curl_mime_type(part, "application/octet-stream") == CURLE_OK
               ? 0
               : -1;
}

static int add_parts(curl_mime *form, const struct client_form *f, struct err *e)
{
    for (size_t i = 0; i < f->count; i++)
        if (add_part(form, &f->parts[i]) != 0)
            return err_set(e, "io_error", "cannot prepare the upload of %s",
                           f->parts[i].path ? f->parts[i].path : f->parts[i].name);
    return 0;
}

int client_send_form(struct client *c, const struct client_form *f, struct answer *a, struct err *e)
{
    struct transfer t = {.client = c, .answer = a, .e = e};
    *a = (struct answer){0};
    if (begin(c, f->path, &t) != 0)
        return -1;
    curl_mime *form = curl_mime_init(c->curl);
    int result = form ? add_parts(form, f, e) : err_memory(e);
    if (result == 0) {
        curl_easy_setopt(c->curl, CURLOPT_MIMEPOST, form);
        if (f->progress) {
            curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, 0L);
            curl_easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
            curl_easy_setopt(c->curl, CURLOPT_XFERINFODATA, f);
        }
        result = perform(c, &t) != 0 || check_status(c, a, e) != 0 ? -1 : 0;
    }
    curl_easy_reset(c->curl); /* it must not point at the form any more */
    curl_mime_free(form);
    if (result != 0)
        answer_fini(a);
    return result;
}

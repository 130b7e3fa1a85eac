/* HTTP to one daemon, by libcurl. Owns the connection and the key; one thread. Never prints, never follows
 * redirects, never uses a proxy: the key goes to the daemon that was named and nowhere else. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum { CLIENT_ANSWER_BYTES_MAX = 64 << 20 };

struct client;

/* `key` may be NULL: none is sent. Errors: "usage" for what is no URL or no key. */
MUST_USE int client_open(struct client **out, const char *url, const char *key, struct err *e);
void client_close(struct client *c); /* NULL is fine */
const char *client_url(const struct client *c);

struct answer {
    long status;
    struct buf body; /* as it came */
    json_t *json;    /* the same, parsed; NULL for an empty body */
};
void answer_fini(struct answer *a);

/* One request with a JSON body (NULL: none). Any answer of the daemon is a success here, refusals too. */
MUST_USE int client_send(struct client *c, const char *method, const char *path, const json_t *body,
                         struct answer *a, struct err *e);
/* The same, and a refusal (status from 300) becomes an error with the daemon's code, message and hint; the
 * code lives as long as the client. */
MUST_USE int client_call(struct client *c, const char *method, const char *path, const json_t *body,
                         struct answer *a, struct err *e);

/* The same for what may take hours. */
MUST_USE int client_call_long(struct client *c, const char *method, const char *path, const json_t *body,
                              struct answer *a, struct err *e);

/* POST whose answer is handed over piece by piece as it comes. A refusal is an error as in client_call. A
 * nonzero return of `on_data`, which must then have filled its error, breaks off. */
typedef int client_on_data(void *arg, const char *data, size_t length, struct err *e);
MUST_USE int client_stream(struct client *c, const char *path, const json_t *body, client_on_data *on_data,
                           void *arg, struct err *e);

/* GET, in the same manner. */
MUST_USE int client_fetch(struct client *c, const char *path, client_on_data *on_data, void *arg,
                          struct err *e);

/* One part of a form: a text, or a file, which is read as it is sent; neither: it is left out. */
struct client_part {
    const char *name, *text;
    const char *path, *filename;
};
struct client_form {
    const char *path; /* of the daemon's address */
    const struct client_part *parts;
    size_t count;
    void (*progress)(void *arg, uint64_t sent, uint64_t total); /* may be NULL */
    void *arg;
};
MUST_USE int client_send_form(struct client *c, const struct client_form *f, struct answer *a, struct err *e);

/* An error object of the daemon ({"code", "message", "hint"}) as an error. Returns -1. */
int client_refusal(struct client *c, const json_t *error, struct err *e);

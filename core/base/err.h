/* Errors that travel from the failing function to the reply. Owns nothing; any thread.
 *
 * A function that can fail returns 0 or -1 and takes `struct err *e` as its last argument, which may not be
 * NULL. It fills `e` when it fails and leaves it alone when it succeeds. `code` is a string literal, stable,
 * and ends up in the HTTP answer; the message names the thing, what was expected and what was found.
 * Libraries never log. */
#pragma once

struct err {
    const char *code;  /* static string: "safetensors_malformed" */
    char message[512]; /* for people */
    char hint[256];    /* what to do about it; may be empty */
    char param[96];    /* the field or file the error is about; may be empty */
};

/* Before a function whose result says whether it failed: the compiler refuses to lose it. */
#define MUST_USE __attribute__((warn_unused_result))

/* Fill code and message; clear hint and param. Returns -1, always. All texts are cut to fit, at a UTF-8
 * boundary; control characters and bytes that are not UTF-8 become '?'. */
int err_set(struct err *e, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Add a hint or the parameter to an error already set. Both return -1, so that they can end a function. */
int err_hint(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
int err_param(struct err *e, const char *param);
/* err_set with strerror(errno) behind the message: code is "storage_full" for ENOSPC and EDQUOT,
 * "out_of_memory" for ENOMEM, otherwise "io_error". */
int err_errno(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The one message for a failed allocation. */
int err_memory(struct err *e);

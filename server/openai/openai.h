/* The routes of OpenAI's clients, dialects for inference_run.c: a body fills the same struct inference as
 * that of POST /infer does, and the answer is written as OpenAI's clients read it. openai_fields.c knows the
 * fields, openai_parse.c reads them, openai_answer.c writes. What a client may send and the daemon does not
 * do is ignored where that cannot change the answer, and refused by name ("unsupported_value",
 * "unknown_field") where it can. Threads: those of inference.h. */
#pragma once
#include "server/inference/inference.h"

enum {
    OPENAI_COMPLETIONS_TOKENS_DEFAULT = 16,
    OPENAI_ECHO_LOGPROBS_MAX = 5 /* at each token of a prompt, of which there are many at once */
};

/* The routes POST /v1/completions, POST /v1/chat/completions. */
void openai_handle_completions(struct request *r);
void openai_handle_chat(struct request *r);

/* The objects that have fields of their own. */
enum {
    OPENAI_COMPLETIONS = 1,
    OPENAI_CHAT = 2,
    OPENAI_BOTH = 3,
    OPENAI_MESSAGE = 4,
    OPENAI_PART = 8, /* of a message's content */
    OPENAI_STREAM_OPTIONS = 16,
    OPENAI_STRUCTURED = 32, /* structured_outputs */
    OPENAI_REASONING = 64,
    OPENAI_EMBEDDINGS = 128
};
/* Refuses what is not known or not done there; takes away what is null or changes nothing. "unknown_field",
 * "unsupported_value" */
MUST_USE int openai_fields_check(json_t *object, unsigned where, struct err *e);

/* Whose request it is and what it goes to: tenant, model, user; the versions are found. */
MUST_USE int openai_parse_who(struct inference *q, const json_t *body, struct err *e);
/* inference_parse_structure, and the same by the names that others have for it. */
MUST_USE int openai_parse_structure(struct inference *q, const json_t *body, struct err *e);
MUST_USE int openai_parse_completions(struct inference *q, json_t *body, struct err *e);
MUST_USE int openai_parse_chat(struct inference *q, json_t *body, struct err *e);
/* "model" names an adapter, or the base where no adapter has its name. "model_not_found" */
MUST_USE int openai_resolve(struct inference *q, struct err *e);

MUST_USE int openai_answer_completions(const struct inference *q, json_t **out, struct err *e);
int openai_answer_completions_event(struct inference *q, struct inference_choice *c, bool last);
int openai_answer_completions_last_event(struct inference *q);
MUST_USE int openai_answer_chat(const struct inference *q, json_t **out, struct err *e);
int openai_answer_chat_event(struct inference *q, struct inference_choice *c, bool last);
int openai_answer_chat_last_event(struct inference *q);
/* Is the prompt a part of the answer's text that is still to come? */
bool openai_echoes(const struct inference_choice *c);
/* Of the tokens from..to of a choice; `offset` goes along. NULL: memory ran out. */
json_t *openai_logprobs_completions(const struct inference_choice *c, size_t from, size_t to,
                                    size_t offset[2]);
json_t *openai_logprobs_chat(const struct inference_choice *c, size_t from, size_t to, size_t offset[2]);
/* What these clients call an error, where it has a name that they know. */
void openai_translate_completions(const struct inference *q, struct err *e);
void openai_translate_chat(const struct inference *q, struct err *e);
void openai_translate_field(const struct inference *q, const char *field, struct err *e);

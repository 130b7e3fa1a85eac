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
    OPENAI_RESPONSES = 4,
    OPENAI_TALK = 6, /* chats and responses */
    OPENAI_ALL = 7,
    OPENAI_MESSAGE = 8,
    OPENAI_PART = 16, /* of a message's content */
    OPENAI_STREAM_OPTIONS = 32,
    OPENAI_STRUCTURED = 64, /* structured_outputs */
    OPENAI_REASONING = 128,
    OPENAI_EMBEDDINGS = 256,
    OPENAI_ITEM = 512, /* of a response's input */
    OPENAI_ITEM_PART = 1024,
    OPENAI_TEXT = 2048 /* of a response */
};
/* Refuses what is not known or not done there; takes away what is null or changes nothing. "unknown_field",
 * "unsupported_value" */
MUST_USE int openai_fields_check(json_t *object, unsigned where, struct err *e);

/* ---- bodies ---- */

/* Whose request it is and what it goes to: tenant, model, user; the versions are found. */
MUST_USE int openai_parse_who(struct inference *q, const json_t *body, struct err *e);
/* inference_parse_structure, and the same by the names that others have for it. */
MUST_USE int openai_parse_structure(struct inference *q, const json_t *body, struct err *e);
MUST_USE int openai_parse_completions(struct inference *q, json_t *body, struct err *e);
MUST_USE int openai_parse_chat(struct inference *q, json_t *body, struct err *e);
/* What all of them have: whose it is, how tokens are chosen, what the answer has to be. */
MUST_USE int openai_parse_common(struct inference *q, json_t *body, int64_t max_tokens, struct err *e);
/* `name`, the text that the model goes on with, is there and this is a model of texts. "input_unsupported",
 * "input_required" */
MUST_USE int openai_check_input(const struct inference *q, const json_t *body, const char *name,
                                struct err *e);
/* messages, with the tools and all that goes into the chat template; behind openai_parse_common. */
MUST_USE int openai_parse_talk(struct inference *q, json_t *body, struct err *e);
/* Those of the adapter's or the model's makers, where they have any. */
struct inference_defaults openai_defaults(const struct inference *q, int64_t max_tokens);
/* "model" names an adapter, or the base where no adapter has its name. "model_not_found" */
MUST_USE int openai_resolve(struct inference *q, struct err *e);

/* ---- tools, thoughts ---- */

enum { OPENAI_TOOL_NAME_MAX = 128, OPENAI_CALL_ID_MAX = 40 };

struct openai_tools {
    json_t *allowed; /* owned: those of q->reading.tools that may be called */
    bool must;       /* one has to be */
    bool several;    /* may be called in one answer */
    bool fewer;      /* than there are are allowed */
};
/* tools, tool_choice, parallel_tool_calls; takes the tools out of the body where none may be called. Fills
 * q->reading but for what the prompt decides. "invalid_type", "unsupported_value", "out_of_range" */
MUST_USE int openai_tools_parse(struct inference *q, json_t *body, struct openai_tools *t, struct err *e);
/* Once the prompt is there and what the answer has to be is read: the grammar that calls, or thoughts before
 * a form, need. */
MUST_USE int openai_tools_hold(struct inference *q, const struct openai_tools *t, struct err *e);
void openai_tools_fini(struct openai_tools *t);

/* Take apart what may be shown and was not yet; `last`: there is no more. */
MUST_USE int openai_message_read(struct inference_choice *c, bool last, struct err *e);
/* What the call is known by to who carries it out; the same each time it is asked for, and in no other
 * answer. */
void openai_message_call_id(const struct inference_choice *c, int call, char out[OPENAI_CALL_ID_MAX + 1]);
/* The message that was read, NULL: memory ran out. */
json_t *openai_message_whole(const struct inference_choice *c);
/* A list of the deltas, each of one member, of what was read and not told yet; NULL: memory ran out. */
json_t *openai_message_news(struct inference_choice *c);
/* Tokens of all answers that are thoughts. */
int64_t openai_message_thought_tokens(const struct inference *q);

/* ---- answers ---- */

/* What the dialects have in common. New references; NULL: memory ran out. What is given is taken over. */
json_t *openai_answer_choice(const struct inference_choice *c, const char *finish);
/* "stop", "length", "tool_calls" */
const char *openai_answer_finish(const struct inference_choice *c);
/* These clients know no answer that ends before its end. */
MUST_USE int openai_answer_check_end(const struct inference *q, struct err *e);
/* The name by which the request's model is known. */
const char *openai_answer_model(const struct inference *q);
/* The whole answer of choices that are finished, or the error that it ends with. */
MUST_USE int openai_answer_whole(const struct inference *q, const char *object, json_t *choices, json_t **out,
                                 struct err *e);
/* Append to q->event. `usage` NULL: it is not known yet. -1: memory ran out. */
int openai_answer_add_chunk(struct inference *q, const char *object, json_t *choices, json_t *usage);
int openai_answer_add_end(struct inference *q, const char *object);

/* Bring the answers to a prompt, of which there are q->choices_each from `first` on, into the order of their
 * tokens' mean log-probability, the best first. */
void openai_best_sort(const struct inference *q, int first, const struct inference_choice **out);

MUST_USE int openai_answer_completions(struct inference *q, json_t **out, struct err *e);
int openai_answer_completions_event(struct inference *q, struct inference_choice *c, bool last);
int openai_answer_completions_last_event(struct inference *q);
MUST_USE int openai_chat_answer(struct inference *q, json_t **out, struct err *e);
int openai_chat_event(struct inference *q, struct inference_choice *c, bool last);
int openai_chat_last_event(struct inference *q);
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

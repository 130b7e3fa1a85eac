/* The forms of OpenAI's routes, for inference.c: a body fills the same struct inference as that of POST
 * /infer does, and the answer is written as OpenAI's clients read it. openai_parse.c reads, openai_answer.c
 * writes. What a client may send and the daemon does not do is ignored where that cannot change the answer,
 * and refused by name
 * ("unsupported_value", "unknown_field") where it can. */
#pragma once
#include "server/inference.h"

enum { OPENAI_COMPLETIONS_TOKENS_DEFAULT = 16 };

int openai_parse_completions(struct inference *q, json_t *body, struct err *e);
int openai_parse_chat(struct inference *q, json_t *body, struct err *e);
/* "model" names an adapter, or the base where no adapter has its name. "model_not_found" */
int openai_resolve(struct inference *q, struct err *e);

int openai_answer_completions(const struct inference *q, json_t **out, struct err *e);
int openai_answer_completions_event(struct inference *q);
int openai_answer_completions_last_event(struct inference *q);
int openai_answer_chat(const struct inference *q, json_t **out, struct err *e);
int openai_answer_chat_event(struct inference *q);
int openai_answer_chat_last_event(struct inference *q);

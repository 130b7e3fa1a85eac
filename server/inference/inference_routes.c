/* POST /infer: a dialect, and inference_run does the rest. */
#include "server/inference/inference.h"

void inference_handle(struct request *r)
{
    static const struct inference_dialect dialect = {
        inference_parse,        inference_resolve,           inference_answer,
        inference_answer_event, inference_answer_last_event, NULL};
    inference_run(r, &dialect);
}

/* How a job trains. Names and meanings are those of transformers' TrainingArguments. Types only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum train_method { TRAIN_SUPERVISED, TRAIN_DPO };
enum train_schedule { TRAIN_CONSTANT, TRAIN_LINEAR, TRAIN_COSINE };
enum train_optimizer { TRAIN_ADAMW, TRAIN_SGD };
enum train_loss { TRAIN_MSE, TRAIN_HALF_MSE, TRAIN_CROSS_ENTROPY }; /* of numeric bases */

struct train_options {
    enum train_method method;
    double beta; /* of DPO */
    enum train_schedule schedule;
    enum train_optimizer optimizer;
    enum train_loss loss;
    double learning_rate, weight_decay, adam_beta1, adam_beta2, adam_epsilon,
        max_grad_norm /* 0: no clipping */, dropout;
    int64_t warmup_steps;
    double epochs;                /* used where max_steps is 0 */
    int64_t max_steps;            /* 0: by epochs */
    int batch_size, accumulation; /* lines of a micro-batch, micro-batches of a step */
    bool shuffle;                 /* each epoch in an order of its own; otherwise as the file has it */
    bool decay_all;               /* weight decay also of magnitudes, norms and biases */
    int64_t eval_steps;           /* 0: at the end only, where there are validation data */
    bool eval_on_start;           /* also before the first step */
    int patience; /* evaluations without a better loss before it stops; 0: never. The best is kept */
    uint64_t seed;
};
